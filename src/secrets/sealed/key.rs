//! Where the sealing key comes from: a systemd credential, a key file, a passphrase.
//!
//! Owns the order in which it is looked for, what is checked before it is read, and
//! its making at first use. Never makes one where one is configured.

use std::path::{Path, PathBuf};

use argon2::{Algorithm, Argon2, Block, Params, Version};
use zeroize::Zeroizing;

use super::{
    super::Error,
    files::{self, Guard},
    format::{KEY_LEN, SealKey, hex, random},
};

/// The largest passphrase file in bytes.
const LARGEST_PASSPHRASE: usize = 8 * 1024;

/// Where the sealing key is looked for, first found, and where sealed files rest.
#[derive(Clone, Debug)]
pub struct SealPlaces {
    /// `$CREDENTIALS_DIRECTORY/robocred.seal`; used if the file is there.
    pub credential: Option<PathBuf>,
    /// `seal_key_file`; once configured, the file must be there.
    pub key_file: Option<PathBuf>,
    /// `seal_passphrase_file`; once configured, the file must be there.
    pub passphrase_file: Option<PathBuf>,
    /// Used without the others; made by the first `put`. Outside the state directory.
    pub default_key_file: PathBuf,
    /// `STATE/secrets`; made by the first `put`.
    pub secrets_dir: PathBuf,
}

impl SealPlaces {
    /// The file that [`make`] would make.
    pub(in super::super) fn to_make(&self) -> PathBuf {
        if self.passphrase_file.is_some() { self.derivation_file() } else { self.default_key_file.clone() }
    }

    /// The file of an anchor.
    ///
    /// # Errors
    /// [`Error::Failed`] where the default key file lies inside the state directory: whatever is kept there is
    /// copied and restored with it.
    pub(super) fn anchor_file(&self, store_id: &str) -> Result<PathBuf, Error> {
        let path = self.default_key_file.with_file_name(format!("anchor-{store_id}.json"));
        // Names that lead to one directory by different ways count too.
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match (path.parent().map(real), self.secrets_dir.parent().map(real)) {
            (Some(directory), Some(state)) if directory.starts_with(&state) => Err(Error::Failed {
                step: "keep an anchor",
                source: format!("{} is inside the state directory", path.display()).into(),
            }),
            _ => Ok(path),
        }
    }

    fn derivation_file(&self) -> PathBuf {
        self.secrets_dir.join("kdf")
    }
}

/// The sealing key, if there is one yet.
pub(super) fn find(places: &SealPlaces) -> Result<Option<SealKey>, Error> {
    let missing = |path: &Path| Error::SealKeyMissing { path: path.to_owned() };
    if let Some(path) = &places.credential
        && let Some(key) = read_key(path, Guard::Systemd)?
    {
        return Ok(Some(key));
    }
    if let Some(path) = &places.key_file {
        return read_key(path, Guard::Ours)?.ok_or_else(|| missing(path)).map(Some);
    }
    if let Some(path) = &places.passphrase_file {
        let passphrase = read_passphrase(path)?.ok_or_else(|| missing(path))?;
        let Some(derivation) = Derivation::read(&places.derivation_file())? else { return Ok(None) };
        return derivation.key(&passphrase).map(Some);
    }
    let key = read_key(&places.default_key_file, Guard::Ours)?;
    if key.is_some() {
        // Where the directory cannot be written to, nothing was left by a run of ours either.
        let _ = files::tidy(&places.default_key_file);
    }
    Ok(key)
}

/// Makes what [`find`] found missing: the default key file, or the salt for a passphrase.
pub(super) fn make(places: &SealPlaces) -> Result<(), Error> {
    if places.passphrase_file.is_some() {
        return files::create_once(&places.derivation_file(), Derivation::random()?.to_line().as_bytes());
    }
    let path = &places.default_key_file;
    if let Some(directory) = path.parent() {
        files::create_directory(directory)?;
    }
    let mut key = Zeroizing::new([0; KEY_LEN]);
    random(&mut *key)?;
    files::create_once(path, &*key)
}

fn read_key(path: &Path, guard: Guard) -> Result<Option<SealKey>, Error> {
    let Some(content) = files::read(path, guard, KEY_LEN)? else { return Ok(None) };
    SealKey::new(&content).map(Some).ok_or_else(|| Error::SealKeyMalformed {
        path: path.to_owned(),
        length: content.len(),
        wanted: "the 32 bytes of a sealing key",
    })
}

/// The first line of the file, without its end.
fn read_passphrase(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let Some(mut content) = files::read(path, Guard::Ours, LARGEST_PASSPHRASE)? else { return Ok(None) };
    let length = content.len();
    if content.ends_with(b"\n") {
        content.pop();
    }
    if content.ends_with(b"\r") {
        content.pop();
    }
    if content.is_empty() || length > LARGEST_PASSPHRASE || content.contains(&b'\n') {
        let wanted = "a passphrase on one line of at most 8 KiB";
        return Err(Error::SealKeyMalformed { path: path.to_owned(), length, wanted });
    }
    Ok(Some(content))
}

/// How a passphrase becomes a key: Argon2id version 0x13 (RFC 9106) with these parameters.
#[derive(Debug, PartialEq, Eq)]
struct Derivation {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: [u8; 16],
}

impl Derivation {
    /// RFC 9106's second recommendation has four lanes; one is for machines with one
    /// core, and costs an attacker no less.
    fn random() -> Result<Self, Error> {
        let mut salt = [0; 16];
        random(&mut salt)?;
        Ok(Self { memory_kib: 64 * 1024, passes: 3, lanes: 1, salt })
    }

    fn read(path: &Path) -> Result<Option<Self>, Error> {
        let Some(content) = files::read(path, Guard::Ours, 200)? else { return Ok(None) };
        let parsed = std::str::from_utf8(&content).ok().and_then(Self::parse);
        parsed.map(Some).ok_or_else(|| Error::Damaged { path: path.to_owned() })
    }

    fn to_line(&self) -> String {
        let Self { memory_kib, passes, lanes, salt } = self;
        format!("robocred-kdf-1 argon2id m={memory_kib} t={passes} p={lanes} salt={}\n", hex(salt))
    }

    /// `None` for anything else than [`to_line`](Self::to_line) writes, or beyond 1 GiB, 64 passes, 16 lanes.
    fn parse(line: &str) -> Option<Self> {
        let fields = line.strip_suffix('\n')?.strip_prefix("robocred-kdf-1 argon2id ")?;
        let mut fields = fields.split(' ');
        let mut field = |name: &str| fields.next()?.strip_prefix(name)?.strip_prefix('=');
        let memory_kib = field("m")?.parse().ok()?;
        let passes = field("t")?.parse().ok()?;
        let lanes = field("p")?.parse().ok()?;
        let digits = field("salt")?;
        let mut salt = [0; 16];
        if digits.len() != 32 || !digits.is_ascii() {
            return None;
        }
        for (at, byte) in salt.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
        }
        let bearable = memory_kib <= 1024 * 1024 && (1..=64).contains(&passes) && (1..=16).contains(&lanes);
        let parsed = Self { memory_kib, passes, lanes, salt };
        (bearable && parsed.to_line() == line).then_some(parsed)
    }

    fn key(&self, passphrase: &[u8]) -> Result<SealKey, Error> {
        let failed = |source: argon2::Error| Error::Failed {
            step: "derive a key from the passphrase",
            source: source.to_string().into(),
        };
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(KEY_LEN)).map_err(failed)?;
        let mut key = Zeroizing::new([0; KEY_LEN]);
        // The key can be computed from the last of these blocks.
        let mut memory = Zeroizing::new(vec![Block::new(); params.block_count()]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(passphrase, &self.salt, &mut *key, memory.as_mut_slice())
            .map_err(failed)?;
        Ok(SealKey::new(&*key).expect("the array is as long as a key"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_derivation_survives_its_line() {
        let made = Derivation::random().unwrap();
        assert_eq!(Derivation::parse(&made.to_line()), Some(made));
    }

    #[test]
    fn lines_that_are_refused() {
        let good = "robocred-kdf-1 argon2id m=65536 t=3 p=1 salt=000102030405060708090a0b0c0d0e0f\n";
        assert!(Derivation::parse(good).is_some());
        for (from, to) in [
            ("kdf-1", "kdf-2"),
            ("argon2id", "argon2i"),
            ("m=65536", "m=99999999"),
            ("m=65536", "m=-1"),
            ("m=65536", "m=+65536"),
            ("t=3", "t=0"),
            ("p=1", "p=17"),
            ("salt=00", "salt="),
            ("salt=00", "salt=+0"),
            ("salt=00", "salt=é"),
            ("0f\n", "0f"),
            ("0f\n", "0f\n\n"),
            (" p=1", ""),
        ] {
            let line = good.replacen(from, to, 1);
            assert_eq!(Derivation::parse(&line), None, "{line:?}");
        }
    }
}
