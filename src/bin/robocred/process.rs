//! What holds for the whole process before anything is read.

use std::panic;

/// Files made by this process are its owner's alone, a crash leaves no memory
/// behind, and a panic prints where it happened but no values.
pub fn protect() {
    panic::set_hook(Box::new(|info| {
        // The payload may hold values, among them secrets: only the place is told.
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        eprintln!("robocred: internal error at {place}");
    }));
    #[cfg(unix)]
    {
        use rustix::{
            fs::Mode,
            process::{Resource, Rlimit, setrlimit, umask},
        };
        umask(Mode::from_raw_mode(0o077));
        // A limit that cannot be lowered is no reason to refuse work.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}
