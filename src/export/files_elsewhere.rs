//! The files of one credential where there are no links and no modes: plain
//! files, each replaced by one rename. Not tried on a real machine; who may
//! read the directory is the directory's own access list.

use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use zeroize::Zeroizing;

use super::{Contents, Error};
use crate::{credential::Generation, site::ExportTarget};

pub(super) fn write(target: &ExportTarget, generation: Generation, contents: &Contents<'_>) -> Result<bool, Error> {
    if holds(target, generation, contents) {
        return Ok(false);
    }
    let at = |path: &Path, step| {
        let path = path.to_owned();
        move |source| Error::Io { path, step, source }
    };
    fs::create_dir_all(&target.dir).map_err(at(&target.dir, "create"))?;
    for (name, bytes) in contents.each() {
        let temporary = target.dir.join(format!(".{name}.tmp"));
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&temporary, "remove")(error)),
            _ => {}
        }
        let mut file = fs::File::create_new(&temporary).map_err(at(&temporary, "create"))?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all()).map_err(at(&temporary, "write"));
        drop(file);
        let done = written.and_then(|()| {
            let name = target.dir.join(name);
            fs::rename(&temporary, &name).map_err(at(&name, "rename to"))
        });
        if let Err(error) = done {
            let _ = fs::remove_file(&temporary);
            return Err(error);
        }
    }
    Ok(true)
}

pub(super) fn holds(target: &ExportTarget, _: Generation, contents: &Contents<'_>) -> bool {
    contents
        .each()
        .all(|(name, bytes)| fs::read(target.dir.join(name)).map(Zeroizing::new).is_ok_and(|have| **have == *bytes))
}

pub(super) fn forget(target: &ExportTarget, _: Generation, certificate: &[u8]) -> Result<(), Error> {
    let there = fs::read(target.dir.join("cert.pem")).is_ok_and(|have| have == certificate);
    // The certificate last: it is by what a run that was killed here knows its files again.
    for name in ["key.pem", "combined.pem", "cert.pem"].into_iter().filter(|_| there) {
        let path = target.dir.join(name);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Io { path, step: "remove", source });
            }
            _ => {}
        }
    }
    Ok(())
}
