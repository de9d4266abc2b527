//! The scanner for secrets: what to look for, in every encoding, and where: in
//! bytes, and in all memory of a live process.
//!
//! A secret is looked for in pieces of 24 bytes of each of its forms, so that
//! what is left of a half overwritten copy is found too: any 47 bytes of a
//! form. What cannot be looked for is a number in Montgomery form, which a
//! crypto library makes of it for its own arithmetic: that is not a way of
//! writing the number but another number. Linux only, as far as processes go.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
    fs::{self, File},
    ops::Range,
    os::unix::fs::FileExt as _,
};

use base64ct::{Base64, Encoding as _};
use robocred::x509::{KeyAlgorithm, PrivateKey};

/// Every form in which a secret may have been written down, with its name.
pub fn forms(secret: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut texts = Vec::new();
    // Base64 of anything that holds the secret, wherever it begins: the edges depend on what stands beside it.
    for offset in 0..3 {
        let text = Base64::encode_string(&[vec![0; offset].as_slice(), secret].concat());
        let whole = &text[if offset == 0 { 0 } else { 4 }..(secret.len() + offset) / 3 * 4];
        texts.push((format!("base64 at {offset}"), whole.to_owned()));
        texts.push((format!("base64url at {offset}"), whole.replace('+', "-").replace('/', "_")));
    }
    let joined = |separator: &str, upper: bool| {
        let bytes: Vec<_> =
            secret.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") }).collect();
        bytes.join(separator)
    };
    for separator in ["", ":", " "] {
        texts.push((format!("hex with {separator:?}"), joined(separator, false)));
        texts.push((format!("HEX with {separator:?}"), joined(separator, true)));
    }
    let numbers = secret.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte},");
        text
    });
    texts.push(("numbers".to_owned(), numbers.trim_end_matches(',').to_owned()));
    if let Ok(text) = std::str::from_utf8(secret) {
        texts.push(("text".to_owned(), text.to_owned()));
    }
    let mut forms = vec![("raw".to_owned(), secret.to_vec())];
    for (name, text) in texts {
        forms.extend(written(&name, &text));
    }
    forms
}

/// A text in the encodings that texts have.
fn written(name: &str, text: &str) -> [(String, Vec<u8>); 3] {
    [
        (name.to_owned(), text.as_bytes().to_vec()),
        (format!("{name}, UTF-16"), text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        (format!("{name}, UTF-16BE"), text.encode_utf16().flat_map(u16::to_be_bytes).collect()),
    ]
}

/// The secret numbers of a private key, big-endian, with their names.
pub fn numbers(key: &PrivateKey) -> Vec<(&'static str, Vec<u8>)> {
    places(key).into_iter().map(|(name, place)| (name, key.expose_der()[place].to_vec())).collect()
}

/// Where the secret numbers stand in a key's PKCS#8.
fn places(key: &PrivateKey) -> Vec<(&'static str, Range<usize>)> {
    let der = key.expose_der();
    let parts = elements(der, 0..der.len());
    // PrivateKeyInfo: version, algorithm, and the octets of the key itself.
    let info = elements(der, parts[0].clone());
    let octets = info[2].clone();
    match key.algorithm() {
        KeyAlgorithm::Rsa2048 | KeyAlgorithm::Rsa3072 | KeyAlgorithm::Rsa4096 => {
            let rsa = elements(der, elements(der, octets)[0].clone());
            let names = [(3, "d"), (4, "p"), (5, "q"), (6, "dP"), (7, "dQ"), (8, "qInv")];
            let without_sign = |place: Range<usize>| {
                let zeros = der[place.clone()].iter().take_while(|byte| **byte == 0).count();
                place.start + zeros..place.end
            };
            names.map(|(nth, name)| (name, without_sign(rsa[nth].clone()))).into()
        }
        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::EcdsaP384 => {
            vec![("scalar", elements(der, elements(der, octets)[0].clone())[1].clone())]
        }
        KeyAlgorithm::Ed25519 => vec![("seed", elements(der, octets)[0].clone())],
    }
}

/// The contents of the DER elements that stand one after the other in a part of `der`.
fn elements(der: &[u8], within: Range<usize>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = within.start;
    while at < within.end {
        let (length, head) = match der[at + 1] {
            short @ 0..0x80 => (usize::from(short), 2),
            long => {
                let bytes = usize::from(long & 0x7f);
                let length =
                    der[at + 2..at + 2 + bytes].iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
                (length, 2 + bytes)
            }
        };
        found.push(at + head..at + head + length);
        at += head + length;
    }
    found
}

/// The bytes of a form that are looked for at once.
const PIECE: usize = 24;

/// The bytes in a line of PEM, and how many of a piece of one must be secret: the rest is in every such file.
const LINE: usize = 48;
const TELLING: usize = 8;

/// Pieces of the PEM lines of a DER, those that hold something of its secret places.
fn pem_pieces(der: &[u8], secret: &[Range<usize>]) -> Vec<String> {
    let mut pieces = Vec::new();
    for (nth, line) in der.chunks(LINE).enumerate() {
        let text = Base64::encode_string(line);
        let last = text.len().saturating_sub(PIECE);
        for at in (0..last).step_by(PIECE).chain([last]) {
            let piece = &text[at..text.len().min(at + PIECE)];
            let from = nth * LINE + at / 4 * 3;
            let held = |place: &Range<usize>| {
                (from + piece.len() / 4 * 3).min(place.end).saturating_sub(from.max(place.start))
            };
            if secret.iter().map(held).sum::<usize>() >= TELLING {
                pieces.push(piece.to_owned());
            }
        }
    }
    pieces
}

/// What is looked for: pieces of the forms of secrets.
#[derive(Default)]
pub struct Needles {
    /// Which secret in which form.
    names: Vec<String>,
    /// By its first eight bytes: the whole piece, and of which form it is.
    pieces: HashMap<[u8; 8], Vec<(Vec<u8>, usize)>>,
    begins: Vec<u64>,
}

/// How often each form was found, by its name; what was not found is not named.
pub type Hits = BTreeMap<String, usize>;

impl Needles {
    /// A token, or anything else that may not be found.
    pub fn with(mut self, name: &str, secret: &[u8]) -> Self {
        for (form, bytes) in forms(secret) {
            let form = self.form(format!("{name}: {form}"));
            let last = bytes.len().saturating_sub(PIECE);
            for at in (0..last).step_by(PIECE).chain([last]) {
                self.add(form, &bytes[at..bytes.len().min(at + PIECE)]);
            }
        }
        self
    }

    /// A private key: its numbers, and the files that hold them.
    pub fn with_key(mut self, name: &str, key: &PrivateKey) -> Self {
        for (number, bytes) in numbers(key) {
            let little: Vec<u8> = bytes.iter().rev().copied().collect();
            self = self
                .with(&format!("{name}: {number}"), &bytes)
                .with(&format!("{name}: {number} little-endian"), &little);
        }
        let (der, secret) = (key.expose_der(), places(key));
        let secret: Vec<Range<usize>> = secret.into_iter().map(|(_, place)| place).collect();
        let info = elements(der, 0..der.len())[0].clone();
        // What stands inside PKCS#8 is a file of its own: PKCS#1, SEC 1.
        let inner = elements(der, info)[2].clone();
        let within: Vec<_> = secret.iter().map(|place| place.start - inner.start..place.end - inner.start).collect();
        let files = [("PKCS#8", pem_pieces(der, &secret)), ("PKCS#1 or SEC 1", pem_pieces(&der[inner], &within))];
        for (form, pieces) in files {
            for piece in pieces {
                for (encoding, bytes) in written(&format!("{name}: PEM line of {form}"), &piece) {
                    let form = self.form(encoding);
                    self.add(form, &bytes);
                }
            }
        }
        self
    }

    fn form(&mut self, name: String) -> usize {
        self.names.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.names.push(name);
            self.names.len() - 1
        })
    }

    fn add(&mut self, form: usize, piece: &[u8]) {
        assert!(piece.len() >= 12, "{} is so short that it may stand anywhere", self.names[form]);
        self.begins.resize(1 << 10, 0);
        let begin = usize::from(u16::from_le_bytes([piece[0], piece[1]]));
        self.begins[begin / 64] |= 1 << (begin % 64);
        let known = self.pieces.entry(piece[..8].try_into().unwrap()).or_default();
        if !known.iter().any(|(known, of)| known == piece && *of == form) {
            known.push((piece.to_vec(), form));
        }
    }

    /// The secrets and forms that are looked for.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// What these bytes hold.
    pub fn in_bytes(&self, bytes: &[u8]) -> Hits {
        let mut hits = Hits::new();
        self.look(bytes, &mut hits);
        hits
    }

    fn look(&self, bytes: &[u8], hits: &mut Hits) {
        let begins = &self.begins[..];
        for (at, pair) in bytes.windows(8).enumerate() {
            let begin = usize::from(u16::from_le_bytes([pair[0], pair[1]]));
            if begins[begin / 64] >> (begin % 64) & 1 == 0 {
                continue;
            }
            for (piece, which) in self.pieces.get(pair).into_iter().flatten() {
                if bytes[at..].starts_with(piece) {
                    *hits.entry(self.names[*which].clone()).or_default() += 1;
                }
            }
        }
    }

    /// What the readable memory of a process holds, and how many bytes that was.
    pub fn in_process(&self, process: u32) -> (Hits, usize) {
        let (mut hits, mut looked) = (Hits::new(), 0);
        memory(&process.to_string(), "r", |bytes| {
            looked += bytes.len();
            self.look(bytes, &mut hits);
        });
        (hits, looked)
    }
}

/// Shows every mapping of a process (`self`, or its number) whose mode begins so.
pub fn memory(process: &str, mode: &str, mut look: impl FnMut(&mut [u8])) {
    let file = File::open(format!("/proc/{process}/mem")).unwrap();
    for line in fs::read_to_string(format!("/proc/{process}/maps")).unwrap().lines() {
        let mut words = line.split_whitespace();
        let (range, has) = (words.next().unwrap(), words.next().unwrap());
        if !has.starts_with(mode) {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        let mut read = 0;
        // A mapping may be gone by now, and some are the kernel's own: what can be read is shown.
        while let Ok(more @ 1..) = file.read_at(&mut bytes[read..], from + read as u64) {
            read += more;
        }
        look(&mut bytes[..read]);
    }
}

/// What other processes see of a process: its arguments and its environment.
#[cfg(feature = "simulator")]
pub fn seen_by_others(process: u32) -> Vec<Vec<u8>> {
    ["cmdline", "environ"].iter().filter_map(|file| fs::read(format!("/proc/{process}/{file}")).ok()).collect()
}

/// The processes whose parent this one is, and theirs.
pub fn descendants(process: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(child) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        // The name in brackets may hold anything; after it: state, parent.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (parent, child)));
    }
    let mut found = vec![process];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(of, _)| *of == parent).map(|(_, child)| *child));
        at += 1;
    }
    found.split_off(1)
}

/// Sends a signal to a process, which may be gone by now.
pub fn signal(process: u32, signal: rustix::process::Signal) {
    let process = i32::try_from(process).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    // Gone is what it may be.
    let _gone = rustix::process::kill_process(process, signal);
}

#[cfg(test)]
mod tests;
