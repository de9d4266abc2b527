//! Interleavings of what changes a robot in the middle of its life: rotations
//! forced and by schedule, confirmations and retirements, and readers beside them.

use std::{collections::BTreeMap, process::Command};

use robocred::{
    credential::{Event, State},
    inventory::audit::{self, Entry},
};

use super::{Actor, Codes, PLAYING, codes, play_seeds, together};
use crate::{
    cases::Playing,
    course::{Played, RETIRE, ROTATE, records},
    rotate::{FORCED, with_token},
    seed::Seed,
    world::World,
};

const ROTATIONS: Playing = Playing { subject: "interleavings of rotations", ..PLAYING };

/// Who may take part beside one forced rotation. A retirement finds nothing it
/// may take out of use before the first rotation has ended, and says 12; what
/// is locked says 10.
const ACTORS: [(&[&str], &[i32]); 7] = [
    (&FORCED, &[0, 10]),
    (&FORCED, &[0, 10]),
    (&["--json", "rotate", "--due", "--token-stdin"], &[0, 10]),
    (&["--json", "status"], &[0]),
    (&["--json", "verify", "plant/reader"], &[0]),
    (&["--json", "export", "plant/reader", "--confirm"], &[0, 10]),
    (&["--json", "retire", "plant/reader", "-n", "--token-stdin"], &[0, 10, 12]),
];

fn play(number: u64) -> Codes {
    let mut seed = Seed::new(number);
    let world = World::new();
    (ROTATE.prepare)(&world);
    let command = |arguments: &[&str]| -> Command { world.command(arguments) };
    let mut actors: Vec<Actor> = vec![(command(&FORCED), &[0, 10], "rotate --force")];
    for _ in 0..=1 + seed.below(3) {
        let (arguments, codes) = ACTORS[seed.below(ACTORS.len())];
        let name = match arguments {
            [_, "rotate", .., "--force", _] => "rotate --force",
            [_, "rotate", ..] => "rotate --due",
            [_, name, ..] => name,
            _ => unreachable!("every one names a command"),
        };
        actors.push((command(arguments), codes, name));
    }
    let ended = together(&mut seed, actors);
    let rotated = ended.iter().filter(|(name, ran)| *name == "rotate --force" && ran.code() == Some(0)).count();
    let last = with_token(&world, &["--json", "rotate", "plant/reader", "--token-stdin"]).expect(0);
    let world = Played::new(ROTATE, world).checked(&last).world;

    let inventory = world.inventory().unwrap();
    let entries = world.runtime.block_on(inventory.audit()).unwrap();
    audit::verify(&entries).unwrap();
    assert_eq!(promotions(&entries), 1 + rotated, "{entries:#?}");
    assert_eq!(world.posts(), 1 + rotated, "{:#?}", world.simulator.requests());
    let held = |state| matches!(state, State::Active | State::Previous);
    let (held, left): (Vec<_>, Vec<_>) = records(&world).into_iter().partition(|record| held(record.state));
    assert!(left.iter().all(|record| record.state == State::Retired), "{left:#?}");
    assert_eq!(world.simulator.robots().len(), held.len(), "{held:#?}");
    // Whatever the order was, the one in use can be alone.
    if rotated > 0 {
        Played::new(RETIRE, world).carry_on();
    }
    codes(&ended)
}

/// How often a generation was promoted. On the way there each generation is
/// planned once, higher than all before it, and never beside another.
fn promotions(entries: &[Entry]) -> usize {
    let (mut states, mut highest, mut promotions) = (BTreeMap::<i64, State>::new(), 0, 0);
    for entry in entries {
        let Some(generation) = entry.generation else { continue };
        let state = match entry.action.parse() {
            Ok(event) => states[&generation].after(event).unwrap(),
            Err(_) if entry.action == "planned" => {
                assert!(generation > highest, "generation {generation} again: {entry:#?}");
                highest = generation;
                State::Planned
            }
            Err(_) => continue,
        };
        states.insert(generation, state);
        promotions += usize::from(entry.action == Event::Promoted.as_str());
        assert!(states.values().filter(|state| state.is_pending()).count() <= 1, "two on their way: {entry:#?}");
    }
    promotions
}

#[test]
fn rotations_at_once_end_as_one_after_the_other_would() {
    play_seeds(&ROTATIONS, play);
}
