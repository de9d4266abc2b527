//! Roots: those of the operating system, and those of a CA file.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};

use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    client::{WantsClientCert, WebPkiServerVerifier},
    pki_types::{CertificateDer, pem::PemObject},
};
use zeroize::Zeroizing;

use super::Error;

/// The largest CA file that is read, in bytes; a whole system's roots are a fifth of it.
const MOST_BYTES: u64 = 1024 * 1024;

/// How the first line of a private key ends, whatever its form (RFC 7468).
const KEY_MARK: &[u8] = b"PRIVATE KEY-----";

/// Judges by the operating system's roots, with rustls' own verifier. Roots
/// that cannot be read are left out, as long as one is left.
pub(super) fn system(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let found = rustls_native_certs::load_native_certs();
    let problems = found.errors.iter().map(ToString::to_string).collect();
    Ok(builder.with_root_certificates(usable(found.certs, problems)?))
}

fn usable(certificates: Vec<CertificateDer<'static>>, problems: Vec<String>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() { Err(Error::NoRoots { problems }) } else { Ok(roots) }
}

/// The certificates of a CA file: at least one, each usable as a root, and
/// rustls' verifier over them.
pub(super) struct CaFile {
    pub(super) certificates: Vec<CertificateDer<'static>>,
    pub(super) verifier: Arc<WebPkiServerVerifier>,
}

/// Reads a CA file. All of it must be usable: a person wrote down its name, and
/// a certificate silently left out would be looked for at the wrong place.
/// Sections of other kinds are passed over, but for private keys: a file with one is refused.
pub(super) fn read(path: &Path) -> Result<CaFile, Error> {
    let unreadable = |source| Error::CaFileUnreadable { path: path.to_owned(), source };
    // Wiped, since it may turn out to hold a private key.
    let mut text = Zeroizing::new(Vec::with_capacity(usize::try_from(MOST_BYTES).unwrap_or_default() + 1));
    open(path).map_err(unreadable)?.take(MOST_BYTES + 1).read_to_end(&mut text).map_err(unreadable)?;
    if text.len() as u64 > MOST_BYTES {
        return Err(Error::CaFileTooLarge { path: path.to_owned(), limit: MOST_BYTES });
    }

    // In any form, encrypted ones too; the PEM reader passes over those it does not know.
    if text.windows(KEY_MARK.len()).any(|part| part == KEY_MARK) {
        return Err(Error::CaFileHoldsKey { path: path.to_owned() });
    }
    let mut certificates = Vec::new();
    let mut roots = RootCertStore::empty();
    for section in CertificateDer::pem_slice_iter(&text) {
        let number = certificates.len() + 1;
        let damaged = |source| Error::CaFileDamaged { path: path.to_owned(), number, source };
        let certificate = section.map_err(|problem| damaged(problem.into()))?;
        roots.add(certificate.clone()).map_err(|problem| damaged(problem.into()))?;
        certificates.push(certificate);
    }
    if certificates.is_empty() {
        return Err(Error::CaFileEmpty { path: path.to_owned() });
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&super::PROVIDER))
        .build()
        .expect("there is a root, and no revocation list that could be wrong");
    Ok(CaFile { certificates, verifier })
}

fn open(path: &Path) -> io::Result<File> {
    // Asked before opening, since opening a named pipe would wait for a writer.
    if path.metadata()?.is_file() { File::open(path) } else { Err(io::Error::other("it is not a regular file")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_without_roots_says_what_it_met() {
        let error = usable(Vec::new(), vec!["no such directory".to_owned()]).unwrap_err();
        assert!(matches!(&error, Error::NoRoots { problems } if problems == &["no such directory"]), "{error:?}");
        let unreadable = CertificateDer::from(vec![0; 10]);
        assert!(matches!(usable(vec![unreadable], Vec::new()), Err(Error::NoRoots { .. })));
    }
}
