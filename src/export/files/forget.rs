//! Removing the files of a generation that is out of use.

use rustix::{
    fs::{self, AtFlags},
    io::Errno,
};

use super::{CURRENT, Error, FILES, Folder, name_of};
use crate::{credential::Generation, site::ExportTarget};

/// Removes `.gN` of `target` if its certificate is `certificate`, and what
/// points to it. That nothing is there is success; the folder of another pair
/// is left alone.
pub(in crate::export) fn forget(
    target: &ExportTarget,
    generation: Generation,
    certificate: &[u8],
) -> Result<(), Error> {
    let Some(folder) = Folder::find(target)? else { return Ok(()) };
    let name = name_of(generation);
    // A run that was killed here may have removed it without its sync.
    let Some(pair) = folder.pair(&name)? else { return folder.sync() };
    match pair.look("cert.pem", certificate) {
        Ok(_) => {}
        Err(Error::OtherPair { .. }) => return Ok(()),
        Err(error) => return Err(error),
    }
    if folder.current()?.as_deref() == Some(name.as_str()) {
        for file in FILES {
            if folder.file_link(file)?.is_some() {
                folder.remove(file)?;
            }
        }
        folder.remove(CURRENT)?;
        folder.sync()?;
    }
    // The certificate last: it is by what a run that was killed here knows the folder again.
    for file in FILES.into_iter().filter(|file| *file != "cert.pem").chain(["cert.pem"]) {
        pair.remove(&format!(".{file}.tmp"))?;
        pair.remove(file)?;
        if file != "cert.pem" {
            pair.sync()?;
        }
    }
    match fs::unlinkat(&folder.handle, &name, AtFlags::REMOVEDIR) {
        // What somebody else put into it is theirs; no key of ours is left in it.
        Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => folder.sync(),
        Err(error) => Err(folder.fault(&name, "remove", error)),
    }
}
