//! Where there are no process groups nothing is run: a hook that hangs could
//! not be ended with everything it started.

use std::{io, path::PathBuf, time::Duration};

use super::{Error, Facts};

#[allow(clippy::unused_async, reason = "the same signature as where hooks are run")]
pub(super) async fn run(program: PathBuf, _: &[String], _: &Facts, _: Duration) -> Result<String, Error> {
    Err(Error::Start { program, source: io::Error::new(io::ErrorKind::Unsupported, "hooks need a Unix system") })
}
