//! Lost answers and cuts: every connection to the appliance is ended at a byte
//! of what passes in one direction, and the command is run again undisturbed;
//! the invariants are asked after every run.
//!
//! ```text
//! cargo test --test it cuts                                                # some of the records' beginnings and middles
//! ROBOCRED_CUTS=full cargo test --test it cuts                             # and every so many bytes of it
//! ROBOCRED_CUT_CASE=provision/2/to-tool/5+half/reset cargo test --test it cuts    # one case
//! ```
//!
//! A case is named `COMMAND/CONNECTION/DIRECTION/RECORD+BYTE/KIND`. The byte is
//! counted within a TLS record, since the lengths before it differ from run to
//! run. How many records pass is learnt from a run that nothing disturbs. The
//! full list also holds connections that fall silent.

use std::fmt;

use crate::{
    cases::{Playing, full},
    course::{COURSES, Course, Played},
    proxy::{Byte, Cut, Direction, Kind, Lengths},
};

const PLAYING: Playing = Playing { subject: "cuts", replayed_by: "ROBOCRED_CUT_CASE", threads: 32 };

/// So many bytes lie between two cuts of the full list, within a record.
const STRIDE: usize = 240;

struct Case {
    course: Course,
    cut: Cut,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.course.name, self.cut)
    }
}

/// What passes when nothing is cut.
fn undisturbed(course: &Course) -> Vec<Lengths> {
    let (world, proxy) = course.behind_a_proxy(None);
    course.run_under(&world, &[]).expect(0);
    proxy.lengths()
}

/// At these bytes of every record of a length, and behind the last one, each
/// ended in a way of its own.
fn cases(course: Course, passed: &[Lengths], kinds: &[Kind], bytes: impl Fn(usize) -> Vec<Byte>) -> Vec<Case> {
    let mut places = Vec::new();
    for (connection, lengths) in passed.iter().enumerate() {
        for direction in [Direction::ToAppliance, Direction::ToTool] {
            let lengths = &lengths[direction as usize];
            for record in 0..=lengths.len() {
                let bytes = lengths.get(record).map_or(vec![Byte::At(0)], |length| bytes(*length));
                places.extend(bytes.into_iter().map(|byte| (connection, direction, record, byte)));
            }
        }
    }
    let case = |(place, (connection, direction, record, byte))| {
        // So that neither way always meets the same byte of a record.
        let kind = kinds[(place + place / 2) % kinds.len()];
        Case { course, cut: Cut { connection, direction, record, byte, kind } }
    };
    places.into_iter().enumerate().map(case).collect()
}

fn every(course: Course, passed: &[Lengths]) -> Vec<Case> {
    // The long ones first, so that none of them is waited for alone at the end.
    let mut all = cases(course, passed, &[Kind::Hold], |_| vec![Byte::Half]);
    all.extend(cases(course, passed, &[Kind::Reset, Kind::Close], |length| {
        let strides = (0..length).step_by(STRIDE).map(Byte::At);
        [Byte::At(1), Byte::At(5), Byte::Half, Byte::Last].into_iter().chain(strides).collect()
    }));
    all
}

/// A fifth of the records' beginnings and middles.
fn slice(course: Course, passed: &[Lengths]) -> Vec<Case> {
    let cases = cases(course, passed, &[Kind::Reset, Kind::Close], |_| vec![Byte::At(0), Byte::Half]);
    cases.into_iter().step_by(5).collect()
}

/// Whether the byte was reached, and the exit code of the run that was cut.
fn play(case: &Case) -> (bool, i32) {
    let (world, proxy) = case.course.behind_a_proxy(Some(case.cut));
    let (played, cut) = Played::new(case.course, world).run();
    proxy.let_go();
    let struck = proxy.has_struck();
    // Unreachable, or overcome within the run; nothing else was wrong.
    let code = cut.code().unwrap();
    assert!(code == 0 || code == 5 && struck, "{cut:#?}");
    assert!(code != 0 || cut.json()["results"][0]["action"] != "unchanged", "{cut:#?}");
    played.carry_on();
    (struck, code)
}

#[test]
fn cut_anywhere_the_same_command_carries_on() {
    let full = full("ROBOCRED_CUTS");
    let passed: Vec<(Course, Vec<Lengths>)> = COURSES.map(|course| (course, undisturbed(&course))).into();
    let list = |of: fn(Course, &[Lengths]) -> Vec<Case>| passed.iter().flat_map(|(course, p)| of(*course, p)).collect();
    let cases = PLAYING.choose(if full { list(every) } else { list(slice) }, || list(every));
    let played = PLAYING.play(&cases, || play);
    let struck = played.iter().filter(|(struck, _)| *struck).count();
    let overcome = played.iter().filter(|(struck, code)| *struck && *code == 0).count();
    eprintln!("{struck} of them cut, {overcome} of these overcome within the run");
    for (course, passed) in passed {
        eprintln!("{}: lengths of the records to the appliance and back {passed:?}", course.name);
    }
}
