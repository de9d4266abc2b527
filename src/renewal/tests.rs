//! The policy by tables and by property.

use proptest::prelude::*;
use time::macros::datetime;

use super::*;

const NOW: OffsetDateTime = datetime!(2026-11-22 10:00:00.75 UTC);

/// A fingerprint whose spread is `head / 2^32` of its range.
fn fingerprint(head: u32) -> Fingerprint {
    format!("{head:08x}{}", "0".repeat(56)).parse().unwrap()
}

#[test]
fn reads_and_writes_durations_and_fractions() {
    #[track_caller]
    fn check(text: &str, expected: RenewBefore, written: &str) {
        let read: RenewBefore = text.parse().unwrap();
        assert_eq!(read, expected);
        assert_eq!(read.to_string(), written);
        assert_eq!(written.parse::<RenewBefore>(), Ok(expected));
    }
    let fraction = |numerator, denominator| RenewBefore::Fraction { numerator, denominator };
    check("1/3", fraction(1, 3), "1/3");
    check(" 2 / 5 ", fraction(2, 5), "2/5");
    check("90d", RenewBefore::Fixed(Duration::days(90)), "90d");
    check("36h", RenewBefore::Fixed(Duration::hours(36)), "36h");
    check("48h", RenewBefore::Fixed(Duration::days(2)), "2d");
    check("90m", RenewBefore::Fixed(Duration::minutes(90)), "90m");
    check(" 45s ", RenewBefore::Fixed(Duration::seconds(45)), "45s");
    check("36525d", RenewBefore::Fixed(Duration::days(36_525)), "36525d");
}

#[test]
fn refuses_what_is_neither() {
    for text in [
        "",
        " ",
        "d",
        "90",
        "0d",
        "-1d",
        "+1d",
        "1.5d",
        "1w",
        "1 d",
        "36526d",
        "9223372036854775807d",
        "٣d",
        "9é",
        "1/1",
        "0/3",
        "3/1",
        "/3",
        "1/",
        "1/0",
        "+1/3",
        "-1/3",
        "1/3/9",
        "1/4294967296",
    ] {
        assert_eq!(text.parse::<RenewBefore>(), Err(Error::Syntax { given: text.to_owned() }), "{text:?}");
    }
}

#[test]
fn refuses_a_window_that_never_closes() {
    #[track_caller]
    fn check(renew_before: &str, days: u16, quiet: bool) {
        let renew_before: RenewBefore = renew_before.parse().unwrap();
        let refused = Err(Error::NeverQuiet { renew_before, days });
        let made = RenewalPolicy::new(renew_before, days);
        assert_eq!(made.is_ok(), quiet, "{renew_before} of {days} days");
        assert!(quiet || made == refused);
    }
    check("1/3", 1, true);
    check("1/3", 365, true);
    check("90d", 365, true);
    check("90d", 90, false);
    check("400d", 365, false);
    // 365 days less 18.25 for the spread, less one day for the floor, less the last second.
    check("345d", 365, true);
    check("346d", 365, false);
    // One day: 24 h less 1.2 h for the spread, less 2.4 h for the floor, to the second.
    check("20h", 1, true);
    check("73439s", 1, false);
    check("73438s", 1, true);
    check("84/100", 1, true);
    check("85/100", 1, false);
    check("1/3", 0, false);
}

#[test]
fn refuses_a_window_that_no_text_could_ask_for() {
    for renew_before in [
        RenewBefore::Fixed(Duration::ZERO),
        RenewBefore::Fixed(Duration::MIN),
        RenewBefore::Fraction { numerator: 0, denominator: 3 },
        RenewBefore::Fraction { numerator: 0, denominator: 0 },
    ] {
        assert_eq!(
            RenewalPolicy::new(renew_before, 365),
            Err(Error::Syntax { given: renew_before.to_string() }),
            "{renew_before:?}"
        );
    }
    for renew_before in [
        RenewBefore::Fixed(Duration::MAX),
        RenewBefore::Fraction { numerator: u32::MAX, denominator: 0 },
        RenewBefore::Fraction { numerator: u32::MAX, denominator: 1 },
    ] {
        assert!(matches!(RenewalPolicy::new(renew_before, u16::MAX), Err(Error::NeverQuiet { .. })));
    }
}

#[test]
fn the_default_is_due_after_two_thirds_and_up_to_a_twentieth_earlier() {
    let validity = Validity::of_days(NOW, 365).unwrap();
    let policy = RenewalPolicy::new(RenewBefore::default(), 365).unwrap();
    let third = Duration::days(365) / 3;
    assert_eq!(policy.window(validity, fingerprint(0)).due_at, validity.not_after - third);
    // All but one 2^32nd of 18.25 days, in whole seconds.
    let earliest = validity.not_after - third - Duration::days(365) / 20 + Duration::SECOND;
    assert_eq!(policy.window(validity, fingerprint(u32::MAX)).due_at, earliest);
    assert_eq!(policy.window(validity, fingerprint(0)).floor, Duration::DAY);
}

#[test]
fn calendars_hold_no_surprises() {
    #[track_caller]
    fn check(made: OffsetDateTime, days: u16, renew_before: &str, due_at: OffsetDateTime, not_after: OffsetDateTime) {
        let validity = Validity::of_days(made, days).unwrap();
        let policy = RenewalPolicy::new(renew_before.parse().unwrap(), days).unwrap();
        let window = policy.window(validity, fingerprint(0));
        assert_eq!((window.due_at, window.not_after), (due_at, not_after));
    }
    // Over the 29th of February, made and due on one, and in a century that has none.
    check(
        datetime!(2027-09-01 0:00 UTC),
        365,
        "90d",
        datetime!(2028-05-31 23:59:59 UTC),
        datetime!(2028-08-29 23:59:59 UTC),
    );
    check(
        datetime!(2028-02-29 12:00 UTC),
        365,
        "1/5",
        datetime!(2028-12-16 11:59:59 UTC),
        datetime!(2029-02-27 11:59:59 UTC),
    );
    check(
        datetime!(2028-02-10 0:00 UTC),
        30,
        "9d",
        datetime!(2028-02-29 23:59:59 UTC),
        datetime!(2028-03-09 23:59:59 UTC),
    );
    check(
        datetime!(2100-02-02 0:00 UTC),
        30,
        "1d",
        datetime!(2100-03-01 23:59:59 UTC),
        datetime!(2100-03-02 23:59:59 UTC),
    );
    // Over the end of 32-bit time, 2038-01-19 03:14:07.
    check(
        datetime!(2038-01-18 3:14:08 UTC),
        2,
        "12h",
        datetime!(2038-01-19 10:26:07 UTC),
        datetime!(2038-01-19 22:26:07 UTC),
    );
    check(
        datetime!(2037-06-01 0:00 UTC),
        365,
        "1/3",
        datetime!(2038-01-29 7:59:59 UTC),
        datetime!(2038-05-30 23:59:59 UTC),
    );
}

#[test]
fn a_needed_token_is_asked_for_that_long_before() {
    let due_at = datetime!(2027-01-31 0:00 UTC);
    let window = RenewalWindow { due_at, not_after: datetime!(2027-06-01 0:00 UTC), floor: Duration::DAY };
    assert_eq!(window.warns_at(Duration::days(30)), datetime!(2027-01-01 0:00 UTC));
    assert_eq!(window.warns_at(Duration::ZERO), due_at);
    // Longer than any certificate lives, and longer than time is counted.
    assert_eq!(window.warns_at(Duration::days(36_525)), datetime!(1927-01-31 0:00 UTC));
    assert!(window.warns_at(Duration::MAX) < due_at);
}

#[test]
fn the_floor_is_kept_whatever_is_due() {
    #[track_caller]
    fn check(since_promotion: Option<Duration>, may: bool) {
        let now = datetime!(2027-03-01 0:00 UTC);
        let not_after = now + Duration::days(30);
        let window = RenewalWindow { due_at: now, not_after, floor: Duration::hours(5) };
        assert_eq!(window.may_reissue(since_promotion.map(|passed| now - passed), now), may);
    }
    check(None, true);
    check(Some(Duration::ZERO), false);
    check(Some(Duration::hours(5) - Duration::SECOND), false);
    check(Some(Duration::hours(5)), true);
    check(Some(Duration::days(365)), true);
    // Written down by a clock that was ahead: by little it counts, by much it says nothing.
    check(Some(-Duration::hours(1)), false);
    check(Some(-Duration::days(3650)), true);
}

#[test]
fn what_came_into_use_late_does_not_rest_until_it_has_ended() {
    const PROMOTED: OffsetDateTime = datetime!(2027-03-01 0:00 UTC);
    #[track_caller]
    fn check(left: Duration, rests: Duration) {
        let promoted = PROMOTED;
        let not_after = promoted + left;
        let window = RenewalWindow { due_at: promoted - Duration::DAY, not_after, floor: Duration::hours(5) };
        assert_eq!(window.reissue_at(Some(promoted)), (promoted + rests).max(window.due_at));
        assert!(window.may_reissue(Some(promoted), promoted + rests));
        assert!(rests.is_zero() || !window.may_reissue(Some(promoted), promoted + rests - Duration::SECOND));
    }
    check(Duration::days(30), Duration::hours(5));
    check(Duration::hours(10), Duration::hours(5));
    check(Duration::hours(9), Duration::minutes(270));
    check(Duration::minutes(2), Duration::MINUTE);
    check(Duration::ZERO, Duration::ZERO);
    check(-Duration::HOUR, Duration::ZERO);
    let later = RenewalWindow { due_at: PROMOTED, not_after: PROMOTED + Duration::DAY, floor: Duration::HOUR };
    assert_eq!(later.reissue_at(None), PROMOTED);
}

#[test]
fn days_left_are_rounded_down_and_negative_exactly_when_expired() {
    #[track_caller]
    fn check(until_the_end: Duration, days_left: i64) {
        let not_after = datetime!(2027-01-01 0:00 UTC);
        let window = RenewalWindow { due_at: not_after, not_after, floor: Duration::DAY };
        let now = not_after - until_the_end;
        assert_eq!(window.days_left(now), days_left);
        assert_eq!(window.is_expired(now), days_left < 0);
    }
    let instant = Duration::NANOSECOND;
    check(Duration::days(2), 2);
    check(Duration::days(2) - Duration::SECOND, 1);
    check(Duration::days(1), 1);
    check(Duration::days(1) - Duration::SECOND, 0);
    check(Duration::SECOND, 0);
    check(Duration::ZERO, 0);
    check(-(Duration::SECOND - instant), 0); // within the last second, which still counts
    check(-Duration::SECOND, -1);
    check(-Duration::days(1), -1);
    check(-Duration::days(1) - Duration::SECOND, -2);
}

#[test]
fn a_certificate_made_elsewhere_never_overflows() {
    let policy = RenewalPolicy::new("90d".parse().unwrap(), 365).unwrap();
    let earliest = datetime!(-9999-01-01 0:00 UTC);
    let latest = datetime!(9999-12-31 23:59:59 UTC);
    let day = Validity { not_before: NOW - Duration::DAY, not_after: NOW };
    assert!(policy.window(day, fingerprint(0)).is_due(day.not_before));
    for (not_before, not_after) in [(earliest, latest), (latest, earliest), (earliest, earliest)] {
        let window = policy.window(Validity { not_before, not_after }, fingerprint(u32::MAX));
        assert!(window.due_at <= not_after);
        assert!(window.floor >= Duration::ZERO);
        let _ = (window.days_left(latest), window.days_left(earliest));
    }
}

fn renew_before() -> impl Strategy<Value = RenewBefore> {
    prop_oneof![
        (1..1000u32, 2..1000u32)
            .prop_filter("below one", |(numerator, denominator)| numerator < denominator)
            .prop_map(|(numerator, denominator)| RenewBefore::Fraction { numerator, denominator }),
        (1..400 * 86_400i64).prop_map(|seconds| RenewBefore::Fixed(Duration::seconds(seconds))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn due_lies_inside_the_validity_after_the_floor_and_only_ever_early(
        renew_before in renew_before(),
        days in 1..=365u16,
        head in any::<u32>(),
        seconds in 0..4_000_000_000i64,
        nanoseconds in 0..1_000_000_000i64,
    ) {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds) + Duration::nanoseconds(nanoseconds);
        let validity = Validity::of_days(now, days).unwrap();
        let lifetime = Duration::days(days.into());
        let Ok(policy) = RenewalPolicy::new(renew_before, days) else {
            // Refused only where the latest start, less the whole spread, is not after the floor.
            let room = lifetime - Duration::SECOND - lifetime / 20 - floor(lifetime);
            prop_assert!(window(renew_before, lifetime) >= room);
            return Ok(());
        };
        let renewal = policy.window(validity, fingerprint(head));
        prop_assert!(validity.not_before < renewal.due_at && renewal.due_at < validity.not_after);
        prop_assert!(renewal.due_at > validity.not_before + renewal.floor);
        prop_assert!(renewal.due_at <= validity.not_after - window(renew_before, lifetime));
        prop_assert!(renewal.due_at > validity.not_after - window(renew_before, lifetime) - lifetime / 20);
        prop_assert_eq!(renewal.due_at.nanosecond(), 0);
        prop_assert!(renewal.is_due(renewal.due_at) && !renewal.is_due(renewal.due_at - Duration::NANOSECOND));
        prop_assert!(!renewal.is_expired(renewal.due_at));
        prop_assert_eq!(renewal, policy.window(validity, fingerprint(head)));
        // The warning comes before what it warns of, and the floor never lasts past the end.
        prop_assert!(renewal.warns_at(Duration::seconds(seconds)) <= renewal.due_at);
        prop_assert!(!renewal.may_reissue(Some(now), now) && renewal.may_reissue(Some(now), renewal.not_after));
        // A new credential is never due at once, so that nothing turns in circles.
        prop_assert!(validity.contains(now) && !renewal.is_due(validity.not_before + renewal.floor));
    }

    #[test]
    fn what_is_written_is_read_back(renew_before in renew_before()) {
        prop_assert_eq!(renew_before.to_string().parse::<RenewBefore>(), Ok(renew_before));
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,24}") {
        let _ = text.parse::<RenewBefore>();
    }

    #[test]
    fn days_left_agree_with_expiry(offset in -40_000_000_000_000_000i64..40_000_000_000_000_000) {
        let not_after = datetime!(2027-01-01 0:00 UTC);
        let window = RenewalWindow { due_at: not_after, not_after, floor: Duration::DAY };
        let now = not_after + Duration::nanoseconds(offset);
        prop_assert_eq!(window.days_left(now) < 0, window.is_expired(now));
    }
}
