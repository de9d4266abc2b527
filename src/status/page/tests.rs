//! The page made of hand-made reports: what it says, what it must not.

use proptest::prelude::*;
use time::macros::datetime;

use super::*;
use crate::{
    credential::{CredentialId, Delivery, Generation, Record, RegisteredName, SecretRef, State},
    inventory::{Attention, AttentionCode, Leftover, Task, TaskFailure},
    renewal::RenewalPolicy,
    site::Role,
    x509::{KeyAlgorithm, PrivateKey, Profile, Validity},
};

const NOW: OffsetDateTime = datetime!(2026-11-23 10:00 UTC);

fn certificate(from: OffsetDateTime, to: OffsetDateTime) -> Certificate {
    let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
    Certificate::self_signed(&key, "robot", Validity { not_before: from, not_after: to }, Profile::Client).unwrap()
}

fn record(robot: &str, generation: u32, state: State, certificate: Option<Certificate>) -> Record {
    let id = CredentialId { robot: robot.parse().unwrap(), generation: Generation::new(generation).unwrap() };
    Record {
        state,
        registered_name: RegisteredName::of(&id.robot.robot, id.generation),
        role: Role::Reader,
        secret: SecretRef::key("store", &id),
        key_algorithm: KeyAlgorithm::EcdsaP256,
        profile: Profile::Client,
        certificate,
        attempt: None,
        remote_id: None,
        keyed_at: None,
        promoted_at: None,
        delivery: Delivery::Delivered,
        deliver_tries: 0,
        deliver_after: None,
        retire_after: None,
        id,
    }
}

fn line(robot: &str, standing: Standing) -> Line {
    Line {
        id: robot.parse().unwrap(),
        role: Role::Reader,
        standing,
        record: None,
        window: None,
        needs_token: None,
        warns_at: None,
        api_key: None,
        attention: Vec::new(),
        store: None,
        previous: Vec::new(),
        leftovers: Vec::new(),
        configured: true,
        forsaken: false,
    }
}

/// A robot whose credential is valid from some days from now until some days from now.
fn living(robot: &str, standing: Standing, from: i64, to: i64) -> Line {
    let certificate = certificate(NOW + time::Duration::days(from), NOW + time::Duration::days(to));
    let window = RenewalPolicy::default().window(certificate.validity(), certificate.fingerprint());
    Line {
        window: Some(window),
        needs_token: None,
        warns_at: Some(window.warns_at(time::Duration::days(30))),
        record: Some(record(robot, 2, State::Active, Some(certificate))),
        ..line(robot, standing)
    }
}

fn raised(robot: &str, code: AttentionCode, message: &str, hint: Option<&str>) -> Attention {
    let hint = hint.map(ToOwned::to_owned);
    Attention { robot: robot.parse().unwrap(), code, message: message.to_owned(), hint, since: NOW }
}

fn report(lines: Vec<Line>) -> Report {
    Report { at: NOW, lines, sites: vec![], tasks: vec![], runs: vec![], warnings: vec![], unread: vec![] }
}

fn page(report: &Report) -> String {
    let status = Status::of(report, "/etc/robocred/<b>.toml".into(), "/var/lib/robocred".into());
    html(report, &status, None)
}

/// What stands between two texts, once.
#[track_caller]
fn between<'a>(page: &'a str, before: &str, after: &str) -> &'a str {
    let (_, rest) = page.split_once(before).unwrap_or_else(|| panic!("no {before} in {page}"));
    rest.split_once(after).unwrap_or_else(|| panic!("no {after} in {page}")).0
}

#[test]
fn the_policy_is_the_hash_of_the_style_that_is_in_the_page() {
    let page = page(&report(vec![]));
    let style = between(&page, "<style>", "</style>");
    // A browser hashes what it reads, and reads CR LF as LF.
    assert!(!style.contains('\r'));
    let hash = Base64::encode_string(Fingerprint::of(style.as_bytes()).as_bytes());
    let own = format!("default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'");
    assert_eq!(policy(), format!("{own}; frame-ancestors 'none'"));
    assert_eq!(between(&page, "Content-Security-Policy\" content=\"", "\""), own);
    assert!(!page.contains(" style=") && !page.contains("<script") && !style.contains("@import"));
    // The style stands in one element, and nothing in it closes that.
    assert_eq!((page.matches("<style").count(), page.matches("</style").count()), (1, 1));
    assert!(!STYLE.contains("http") && !STYLE.contains("url(h"));
}

#[test]
fn the_whole_in_one_line() {
    let check = |standings: &[Standing], warnings: usize, tone: &str, said: &str| {
        let lines = standings.iter().enumerate();
        let lines = lines.map(|(at, standing)| match standing {
            Standing::Active | Standing::NeedsPerson => living(&format!("plant/r{at}"), *standing, -1, 364),
            Standing::Expired => living(&format!("plant/r{at}"), *standing, -365, -3),
            _ => line(&format!("plant/r{at}"), *standing),
        });
        let warnings = vec!["odd".to_owned(); warnings];
        let page = page(&Report { warnings, ..report(lines.collect()) });
        assert!(
            page.contains(&format!("<h1 class=\"{tone}\">{said}</h1>")),
            "{said}: {}",
            between(&page, "<h1", "</h1>")
        );
        assert!(page.contains(&format!("<title>{said} · robocred</title>")));
    };
    let (active, pending, stuck) = (Standing::Active, Standing::Pending, Standing::NeedsPerson);
    check(&[], 0, "idle", "No robots yet");
    check(&[], 1, "fair", "1 thing for a person to look at");
    check(&[active], 0, "good", "The robot is well, nothing to do");
    check(&[active, active], 0, "good", "All robots are well, nothing to do");
    check(&[active, pending], 0, "fair", "Nothing to do; 1 robot without a credential in use");
    check(&[active, Standing::Absent, pending], 0, "fair", "Nothing to do; 2 robots without a credential in use");
    check(&[active, active], 2, "fair", "2 things for a person to look at");
    check(&[stuck], 0, "bad", "1 robot needs a person");
    check(&[active, stuck, stuck], 1, "bad", "2 of 3 robots need a person");
    check(&[Standing::Expired], 0, "bad", "1 robot has expired");
    check(&[active, Standing::Expired, stuck], 0, "bad", "1 of 3 robots has expired, 1 needs a person");
}

#[test]
fn what_needs_a_person_stands_on_top_worst_first() {
    let mut leaving = living("plant/leaving", Standing::Active, -10, 355);
    leaving.leftovers = vec![Leftover {
        id: CredentialId { robot: leaving.id.clone(), generation: Generation::FIRST },
        registered_name: "leaving".parse().unwrap(),
        fingerprint: None,
        since: NOW,
        reason: "no removal is offered".to_owned(),
    }];
    leaving.attention = vec![raised("plant/leaving", AttentionCode::ClockSkew, "6 minutes", None)];
    let mut stuck = living("plant/stuck", Standing::NeedsPerson, -300, 65);
    stuck.attention =
        vec![raised("plant/stuck", AttentionCode::TokenNeeded, "due", Some("run `robocred token set plant`"))];
    let late = living("plant/late", Standing::Active, -300, 65);
    let ended = living("plant/ended", Standing::Expired, -400, -36);
    let fine = living("plant/fine", Standing::Active, -1, 364);
    let report =
        Report { warnings: vec!["the disk is full".into()], ..report(vec![leaving, stuck, fine, late, ended]) };
    let page = page(&report);
    let items: Vec<_> =
        between(&page, "<ul class=\"wanted\">", "</ul>").lines().filter(|item| !item.is_empty()).collect();
    let due = day(report.lines[3].window.unwrap().due_at);
    let said = [
        ("bad", "expired", 4, format!("its certificate ended on {}", day(NOW - time::Duration::days(36)))),
        (
            "bad",
            "token-needed",
            1,
            "<span>What to do:</span> <bdi>run <code>robocred token set plant</code></bdi>".to_owned(),
        ),
        ("fair", "late", 3, format!("its rotation is due since {due} and is not done")),
        ("fair", "clock-skew", 0, "6 minutes".to_owned()),
        ("fair", "warning", usize::MAX, "the disk is full".to_owned()),
        ("fair", "left behind", 0, "<code>robocred retire plant/leaving --generation 1 --removed</code>".to_owned()),
    ];
    assert_eq!(items.len(), said.len(), "{items:#?}");
    for (item, (tone, what, place, words)) in items.into_iter().zip(said) {
        assert!(item.starts_with(&format!("<li class=\"{tone}\"><p><b class=\"word\">{what}</b>")), "{item}");
        assert!(item.contains(&words), "{words}: {item}");
        assert!(place == usize::MAX || item.contains(&format!("<a href=\"#r{place}\">")), "{item}");
    }
    assert!(!page.contains("<a href=\"#r2\">"), "a robot that is well asks for nobody");
    assert!((0..5).all(|place| page.contains(&format!("<li id=\"r{place}\""))));
}

#[test]
fn many_things_are_one_click_away() {
    let check = |things: usize, open: usize| {
        let page = page(&Report { warnings: vec!["odd".to_owned(); things], ..report(vec![]) });
        let list = between(&page, "<ul class=\"wanted\">", "</ul>");
        assert_eq!(list.matches("<li").count(), open, "{things}");
        assert_eq!(page.contains(&format!("<details><summary>{} more</summary>", things - open)), things > open);
        assert_eq!(page.matches("<bdi>odd</bdi>").count(), things);
    };
    check(1, 1);
    check(11, 11);
    check(12, 10);
    check(1_000, 10);
}

#[test]
fn a_robot_in_words() {
    let check = |line: Line, expected: &[&str]| {
        let page = page(&report(vec![line]));
        let words = between(&page, "<div class=\"words\">", "</div>");
        for expected in expected {
            assert!(words.contains(expected), "{expected}: {words}");
        }
    };
    let end = day(NOW + time::Duration::days(200));
    let mut rotating = living("plant/lucidum", Standing::Active, -165, 200);
    let (earlier, later) = (certificate(NOW - time::Duration::days(200), NOW), certificate(NOW, NOW));
    let mut earlier = record("plant/lucidum", 1, State::Previous, Some(earlier));
    earlier.retire_after = Some(NOW);
    rotating.previous = vec![earlier, record("plant/lucidum", 3, State::Sending, Some(later))];
    rotating.attention = vec![raised("plant/lucidum", AttentionCode::HookFailed, "x", None)];
    let due = day(rotating.window.unwrap().due_at);
    check(
        rotating,
        &[
            "<h4>lucidum</h4> <span class=\"word\">active</span>",
            &format!("<b>200 days left</b>, to <time>{end}</time>, <span class=\"due\">due <time>{due}</time>"),
            "generation 2 (lucidum-g2), reader",
            "generation 1 (lucidum) is still accepted, to be retired after <time>2026-11-23</time>",
            "generation 3 (lucidum-g3) is on its way (sending)",
            "needs a look: hook-failed",
        ],
    );
    check(
        living("p/r", Standing::Expired, -365, -3),
        &["<b>ended 3 days ago</b> on <time>2026-11-20</time>, <span class=\"due\">due since <time>2026-"],
    );
    check(
        living("p/r", Standing::Active, -364, 0),
        &["<b>less than a day left</b>, to <time>2026-11-23</time>, <span class=\"due\">due since"],
    );
    check(living("p/r", Standing::Active, -364, 1), &["<b>1 day left</b>"]);
    let mut pending = line("p/r", Standing::Pending);
    pending.record = Some(record("p/r", 1, State::Planned, None));
    check(pending, &["none in use yet, the first is on its way", "generation 1 (r), planned, reader"]);
    let gone = Line { configured: false, ..line("p/r", Standing::Absent) };
    check(gone, &["absent</span>", "none in use<", "reader, not in the configuration"]);
}

#[test]
fn where_the_bars_lie() {
    let mut rotating = living("plant/lucidum", Standing::Active, -165, 200);
    let earlier = certificate(NOW - time::Duration::days(300), NOW + time::Duration::days(60));
    let mut earlier = record("plant/lucidum", 1, State::Previous, Some(earlier));
    earlier.retire_after = Some(NOW + time::Duration::days(10));
    rotating.previous = vec![earlier];
    let far = living("plant/old", Standing::Expired, -4_000, -3_000);
    let long = living("plant/long", Standing::Active, -1_000, 6_000);
    // From 370 days ago to 370 ahead, and a fiftieth of that more at both ends.
    let place = |days: i64| {
        Axis::around(NOW, [-4_000, 6_000].map(|days| NOW + time::Duration::days(days)))
            .at(NOW + time::Duration::days(days))
    };
    let page = page(&report(vec![rotating, far, long]));
    let bars: Vec<_> =
        page.split("<svg class=\"bars").skip(1).map(|bars| bars.split_once("</svg>").unwrap().0).collect();
    let width = |from, to| axis::Percent(place(to).0 - place(from).0);
    let life = format!("<rect class=\"life\" x=\"{}\" y=\"14\" width=\"{}\"", place(-165), width(-165, 200));
    assert!(bars[0].contains(&life), "{life}: {}", bars[0]);
    let other =
        format!("<rect class=\"other\" x=\"{}\" y=\"30\" width=\"{}\" height=\"4\"", place(-300), width(-300, 10));
    assert!(bars[0].contains(&other), "{other}: {}", bars[0]);
    assert!(bars[0].contains("height=\"40\"") && bars[1].contains("height=\"34\""));
    for class in ["lead", "open", "past"] {
        assert_eq!(bars[0].matches(&format!("class=\"{class}\"")).count(), 1, "{class}");
    }
    assert!(bars[1].contains(&format!("← ended {}", day(NOW - time::Duration::days(3_000)))), "{}", bars[1]);
    assert!(bars[2].contains("<rect class=\"life\" x=\"0.00%\" y=\"14\" width=\"100.00%\""), "{}", bars[2]);
    assert!(bars[2].contains("href=\"#before\"") && bars[2].contains("href=\"#after\""));
}

#[test]
fn how_tasks_went() {
    let row = |failure: Option<&str>, success_at| TaskRow {
        site: "plant".parse().unwrap(),
        task: Task::Rotate,
        at: NOW,
        success_at,
        tries: 2,
        after: None,
        failures: 2,
        failure: failure.map(|message| TaskFailure { code: "hung".into(), message: message.into() }),
    };
    assert_eq!(went(&row(None, Some(NOW))), "rotate last done 2026-11-23");
    assert_eq!(went(&row(Some("it hung"), Some(NOW))), "rotate fails since 2026-11-23");
    assert_eq!(went(&row(Some("it hung"), None)), "rotate has never ended well");
    let tasks = vec![row(None, Some(NOW))];
    let page =
        page(&Report { tasks, ..report(vec![line("other/r", Standing::Absent), line("plant/r", Standing::Absent)]) });
    assert!(
        page.contains("<h3>other</h3>\n")
            && page.contains("<h3>plant</h3> <p class=\"fine\">rotate last done 2026-11-23</p>")
    );
}

#[test]
fn what_lies_ahead() {
    let ids = |count: usize| (0..count).map(|at| format!("plant/r{at}").parse().unwrap()).collect();
    let said = |rotations, tokens| {
        ahead(&forecast::Forecast { rotations: ids(rotations), tokens: ids(tokens), api_keys: Vec::new() })
    };
    assert_eq!(said(0, 0), Vec::<String>::new());
    assert_eq!(said(2, 0), ["Rotation opens within 30 days: plant/r0, plant/r1."]);
    let many = said(10, 9);
    assert!(many[0].ends_with("plant/r7, 2 more.") && many[1].ends_with("plant/r7, 1 more."), "{many:?}");
    assert!(many[1].starts_with("Needs a support token within 30 days: "));
}

#[test]
fn no_robots_is_a_page_with_the_next_step() {
    let page = page(&report(vec![]));
    assert!(page.contains("<code>robocred provision SITE/ROBOT --url https://APPLIANCE</code>"));
    assert!(!page.contains("id=\"robots\"") && !page.contains("id=\"person\""));
    assert!(page.contains("/etc/robocred/&lt;b&gt;.toml"));
}

#[test]
fn it_is_asked_for_again_only_where_wanted() {
    let report = report(vec![]);
    let status = Status::of(&report, "/c".into(), "/s".into());
    let refresh = |after| html(&report, &status, after).contains("<meta http-equiv=\"refresh\" content=\"60\">");
    assert!(refresh(Some(Duration::from_mins(1))) && !refresh(None));
    // Never without a pause.
    assert!(html(&report, &status, Some(Duration::ZERO)).contains("\"refresh\" content=\"1\""));
}

#[test]
fn a_thousand_robots_fit_on_a_page() {
    let one = living("plant/r", Standing::NeedsPerson, -300, 65);
    let lines = (0..1_000).map(|at| {
        let robot = format!("site-{:03}/robot-number-{at:04}", at / 4);
        let hint = "ask the vendor's support for a token, which takes days, then run `robocred token set site-000`";
        let message = "its rotation is due since 2026-07-20 (its certificate holds for 65 days more), and no support token is stored";
        let attention = vec![raised(&robot, AttentionCode::TokenNeeded, message, Some(hint))];
        let previous = one.record.clone().map(|mut record| {
            record.state = State::Previous;
            record
        });
        Line { id: robot.parse().unwrap(), attention, previous: previous.into_iter().collect(), ..one.clone() }
    });
    let report = report(lines.collect());
    let page = page(&report);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert_eq!(page.matches("<svg class=\"bars").count(), 1_000);
}

/// WCAG 2.2, relative luminance and contrast.
fn contrast(one: &str, other: &str) -> f64 {
    let luminance = |colour: &str| {
        let part = |at: usize| {
            let part = f64::from(u8::from_str_radix(&colour[at..at + 2], 16).unwrap()) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * part(1) + 0.7152 * part(3) + 0.0722 * part(5)
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}

#[test]
fn everything_can_be_read_in_light_dark_and_print() {
    assert!(
        (contrast("#ffffff", "#000000") - 21.0).abs() < 0.01 && (contrast("#777777", "#ffffff") - 4.48).abs() < 0.01
    );
    let palettes: Vec<BTreeMap<_, _>> = STYLE
        .split(":root {")
        .skip(1)
        .map(|block| block.split_once('}').unwrap().0)
        .map(|block| block.split(';').filter_map(|line| line.trim().split_once(": ")).collect())
        .collect();
    assert_eq!(palettes.len(), 3, "light, dark, print");
    for palette in palettes {
        let check = |text: &str, ground: &str, least: f64| {
            let ratio = contrast(palette[text], palette[ground]);
            assert!(ratio >= least, "{text} on {ground}: {ratio:.2} in {palette:?}");
        };
        for ground in ["--ground", "--panel"] {
            for text in ["--text", "--muted", "--good", "--fair", "--bad", "--idle", "--now"] {
                check(text, ground, 4.5);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_dates_make_a_page(
        now in -62_000_000_000_i64..253_000_000_000,
        from in -600_000_000_i64..200_000_000_000,
        to in -600_000_000_i64..200_000_000_000,
        due in -62_000_000_000_i64..253_000_000_000,
        warns in -62_000_000_000_i64..253_000_000_000,
        standing in prop::sample::select(vec![Standing::Active, Standing::Expired, Standing::Pending]),
    ) {
        let moment = |second| OffsetDateTime::from_unix_timestamp(second).unwrap();
        let certificate = certificate(moment(from.min(to)), moment(to.max(from)));
        let mut line = line("plant/lucidum", standing);
        let not_after = certificate.validity().not_after;
        line.window = Some(crate::renewal::RenewalWindow { due_at: moment(due), not_after, floor: time::Duration::DAY });
        line.warns_at = Some(moment(warns));
        let mut earlier = record("plant/lucidum", 1, State::Previous, Some(certificate.clone()));
        earlier.retire_after = Some(moment(warns));
        line.previous = vec![earlier];
        line.record = Some(record("plant/lucidum", 2, State::Active, Some(certificate)));
        let page = page(&Report { at: moment(now), ..report(vec![line]) });
        for attribute in page.split('"').filter(|attribute| attribute.ends_with('%') && attribute.len() < 12) {
            let percent: f64 = attribute.trim_end_matches('%').parse().unwrap();
            prop_assert!((0.0..=100.0).contains(&percent), "{}", attribute);
        }
    }

    #[test]
    fn any_text_is_only_text(text in "[\\PC\\x00<>&\"'`]{0,60}") {
        let line = living("plant/lucidum", Standing::NeedsPerson, -10, 355);
        let hostile = |text: &str| {
            let mut line = line.clone();
            line.attention = vec![raised("plant/lucidum", AttentionCode::Frozen, text, Some(text))];
            line.leftovers = vec![Leftover {
                id: CredentialId { robot: line.id.clone(), generation: Generation::FIRST },
                registered_name: "gone".parse().unwrap(),
                fingerprint: None,
                since: NOW,
                reason: text.to_owned(),
            }];
            page(&Report { warnings: vec![text.to_owned()], ..report(vec![line]) })
        };
        // The same tags whatever the text, but for those of its own backticks.
        let tags = |page: &str| {
            let page = page.replace("<code>", "").replace("</code>", "");
            page.split('<').skip(1).map(|tag| tag.split('>').next().unwrap().to_owned()).filter(|tag| !tag.contains('%')).collect::<Vec<_>>()
        };
        prop_assert_eq!(tags(&hostile(&text)), tags(&hostile("calm")));
    }
}
