//! The states of a credential and the only changes between them.
//!
//! Owns the table of docs/ARCHITECTURE.md; a test renders the table and
//! compares. Leaves out when a change happens (`plan`) and how it is made
//! durable (`inventory`).

use std::{fmt, str::FromStr};

macro_rules! closed {
    ($(#[$doc:meta])* $type:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $type { $($(#[$vdoc])* $variant),+ }

        impl $type {
            /// Every value, in the order of a credential's life.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The word used in the database, in JSON and in the documentation.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl FromStr for $type {
            type Err = Unknown;

            fn from_str(word: &str) -> Result<Self, Unknown> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word).ok_or_else(|| Unknown(word.to_owned()))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

/// A word that names no state or event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no state or event")]
pub struct Unknown(String);

closed! {
    /// Where a credential stands.
    State {
        /// A row names the generation and the slot of its key; nothing else exists yet.
        Planned = "planned",
        /// The key is stored and read back, the certificate is recorded.
        Keyed = "keyed",
        /// A POST may have been sent; whether it took effect is not known.
        Sending = "sending",
        /// The appliance accepts it; not yet proven from stored state.
        Registered = "registered",
        /// Proven, and the one in use.
        Active = "active",
        /// Superseded, still registered and still in the store.
        Previous = "previous",
        /// Its removal has begun.
        Retiring = "retiring",
        /// Removed from the appliance, key destroyed.
        Retired = "retired",
        /// May still be on the appliance; a person has to remove it there.
        RetireManual = "retire-manual",
        /// Given up before it was ever in use.
        Abandoned = "abandoned",
    }
}

closed! {
    /// What can happen to a credential.
    Event {
        /// Key stored and read back, certificate recorded (again, if it waited too long).
        KeyStored = "key-stored",
        /// About to POST (the intent), for the first or a later time.
        SendBegun = "send-begun",
        /// The POST certainly had no effect.
        NotDone = "not-done",
        /// The appliance accepts the certificate.
        Accepted = "accepted",
        /// Proven from stored state; becomes the one in use.
        Promoted = "promoted",
        /// Made elsewhere, now stored here and proven; becomes the one in use.
        Imported = "imported",
        /// Another generation was promoted.
        Superseded = "superseded",
        /// Made the one in use again.
        RolledBack = "rolled-back",
        /// Its removal begins.
        RetireBegun = "retire-begun",
        /// Gone from the appliance, key destroyed.
        RetireDone = "retire-done",
        /// Its removal is called off: it works where its successor does not.
        Spared = "spared",
        /// Nobody but a person can remove it.
        RetireImpossible = "retire-impossible",
        /// A leftover is gone from the appliance after all.
        Removed = "removed",
        /// Given up.
        GivenUp = "given-up",
        /// Given up after a POST: the appliance may hold its name.
        LeftBehind = "left-behind",
    }
}

/// The only changes there are: in this state, on this event, to that state.
pub const TRANSITIONS: &[(State, Event, State)] = &[
    (State::Planned, Event::KeyStored, State::Keyed),
    (State::Planned, Event::Imported, State::Active),
    (State::Planned, Event::GivenUp, State::Abandoned),
    (State::Keyed, Event::KeyStored, State::Keyed),
    (State::Keyed, Event::SendBegun, State::Sending),
    (State::Keyed, Event::GivenUp, State::Abandoned),
    (State::Sending, Event::SendBegun, State::Sending),
    (State::Sending, Event::NotDone, State::Keyed),
    (State::Sending, Event::Accepted, State::Registered),
    (State::Sending, Event::GivenUp, State::Abandoned),
    (State::Registered, Event::Promoted, State::Active),
    (State::Registered, Event::GivenUp, State::Abandoned),
    (State::Active, Event::Superseded, State::Previous),
    (State::Previous, Event::RolledBack, State::Active),
    (State::Previous, Event::RetireBegun, State::Retiring),
    (State::Active, Event::RetireBegun, State::Retiring),
    (State::Retiring, Event::RetireDone, State::Retired),
    (State::Retiring, Event::Spared, State::Previous),
    (State::Retiring, Event::RetireImpossible, State::RetireManual),
    (State::RetireManual, Event::Removed, State::Retired),
    (State::Abandoned, Event::LeftBehind, State::RetireManual),
];

/// An event that cannot happen in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a credential that is {state} cannot be {event}")]
pub struct Impossible {
    /// The state it is in.
    pub state: State,
    /// The event that was to happen.
    pub event: Event,
}

impl State {
    /// The state after `event`.
    ///
    /// # Errors
    /// [`Impossible`] if [`TRANSITIONS`] has no such row.
    pub fn after(self, event: Event) -> Result<Self, Impossible> {
        TRANSITIONS
            .iter()
            .find(|(from, on, _)| *from == self && *on == event)
            .map(|(_, _, to)| *to)
            .ok_or(Impossible { state: self, event })
    }

    /// On its way to become active.
    #[must_use]
    pub fn is_pending(self) -> bool {
        matches!(self, Self::Planned | Self::Keyed | Self::Sending | Self::Registered)
    }

    /// Superseded and not yet out of use.
    #[must_use]
    pub fn is_previous(self) -> bool {
        matches!(self, Self::Previous | Self::Retiring)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_back() {
        for state in State::ALL {
            assert_eq!(state.as_str().parse(), Ok(*state));
        }
        for event in Event::ALL {
            assert_eq!(event.as_str().parse(), Ok(*event));
        }
        assert!("gone".parse::<State>().is_err());
    }

    #[test]
    fn every_pair_is_either_in_the_table_once_or_refused() {
        for &state in State::ALL {
            for &event in Event::ALL {
                let rows = TRANSITIONS.iter().filter(|(from, on, _)| (*from, *on) == (state, event)).count();
                assert!(rows <= 1, "{state} on {event} stands {rows} times");
                assert_eq!(state.after(event).is_ok(), rows == 1);
            }
        }
    }

    #[test]
    fn nothing_leaves_an_end() {
        assert!(TRANSITIONS.iter().all(|(from, ..)| *from != State::Retired));
    }

    #[test]
    fn a_key_comes_before_the_appliance_hears_of_it() {
        // Invariant 8: the only way into `sending` is from a stored key.
        for (from, _, to) in TRANSITIONS {
            if *to == State::Sending {
                assert!(matches!(from, State::Keyed | State::Sending));
            }
        }
    }
}
