//! The independent judges of the tests: programs that may not be installed.

use std::{env, ffi::OsString, path::PathBuf, process::Command};

/// Whether the program is installed. If not, the test says so and ends, or
/// fails where skipping is not allowed (`ROBOCRED_TEST_NO_SKIP=1`).
pub fn need(program: &str, package: &str) -> bool {
    let found = find(program).is_some();
    if !found {
        skip(&format!("{program} is not installed (apt-get install {package})"));
    }
    found
}

/// Says loudly what is missing, or fails where skipping is not allowed.
pub fn skip(missing: &str) {
    assert_ne!(env::var_os("ROBOCRED_TEST_NO_SKIP"), Some(OsString::from("1")), "{missing}");
    eprintln!("SKIPPED: {missing}");
}

/// The Python whose packages judge: named by `ROBOCRED_TEST_PYTHON`, else `python3`.
/// `None`, said loudly, if it has not all of `modules`, which `package` brings.
pub fn python(modules: &[&str], package: &str) -> Option<PathBuf> {
    let python = env::var_os("ROBOCRED_TEST_PYTHON").map_or_else(|| PathBuf::from("python3"), PathBuf::from);
    let imports = format!("import {}", modules.join(", "));
    let found = Command::new(&python).args(["-c", &imports]).output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skip(&format!("{package} is not installed (pip install {package}; ROBOCRED_TEST_PYTHON names its python)"));
    None
}

/// Where the program is: in `PATH`, or with the servers that an ordinary user's `PATH` leaves out.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
