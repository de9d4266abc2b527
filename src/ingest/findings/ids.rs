//! The ids of the devices between one walk and the next: those to be asked for
//! ([`Ids`]), and those that an answer said were gone ([`Gone`]).

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashSet},
    hash::{BuildHasher as _, RandomState},
    io::{self, BufRead as _, BufReader, BufWriter, Seek as _, Write as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::value::RawValue;
use tempfile::{SpooledTempFile, spooled_tempfile};

use crate::{appliance::RemoteId, ingest::sinks::Sink};

/// Ids are kept in memory up to this size: those of 100,000 devices.
const HELD: usize = 4 << 20;

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The ids of a walk, on their way to the requests.
#[derive(Clone)]
pub(super) struct Ids(Arc<Mutex<BufWriter<SpooledTempFile>>>);

impl Ids {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(BufWriter::new(spooled_tempfile(HELD)))))
    }

    /// All of them, in their order.
    pub(super) fn read(self) -> io::Result<impl Iterator<Item = io::Result<RemoteId>>> {
        let written = Arc::into_inner(self.0).expect("the walk has let go of its sink");
        let mut file = written.into_inner().unwrap_or_else(PoisonError::into_inner).into_inner()?;
        file.rewind()?;
        Ok(BufReader::new(file).lines().map(|line| line?.parse().map_err(io::Error::other)))
    }
}

impl Sink for Ids {
    fn record(&mut self, object: &str) -> io::Result<()> {
        writeln!(lock(&self.0), "{}", id_of(object)?)
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

/// Devices that were answered with 404. As a sink for a walk, it counts those that are listed all the same.
#[derive(Clone, Default)]
pub(super) struct Gone(Arc<Mutex<Devices>>);

#[derive(Default)]
struct Devices {
    keys: RandomState,
    /// A hash of each id.
    gone: HashSet<u64>,
    listed: u64,
}

impl Gone {
    pub(super) fn note(&self, id: &RemoteId) {
        let devices = &mut *lock(&self.0);
        devices.gone.insert(devices.keys.hash_one(id.as_str()));
    }

    /// How many a walk met since this was asked for last.
    pub(super) fn listed(&self) -> u64 {
        std::mem::take(&mut lock(&self.0).listed)
    }
}

impl Sink for Gone {
    fn record(&mut self, object: &str) -> io::Result<()> {
        let devices = &mut *lock(&self.0);
        let key = devices.keys.hash_one(id_of(object)?.as_str());
        devices.listed += u64::from(devices.gone.contains(&key));
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        Ok(())
    }
}

fn id_of(object: &str) -> io::Result<String> {
    // As a map, for a key that comes twice: the listing lets it, where both are the same id.
    let device: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_str(object)?;
    let Some(id) = device.get("id") else { return Err(io::ErrorKind::InvalidData.into()) };
    // A number stands for itself.
    Ok(serde_json::from_str(id.get()).unwrap_or_else(|_| id.get().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_went_and_are_listed_are_counted() {
        let gone = Gone::default();
        for id in ["a", "7", "c"] {
            gone.note(&id.parse().unwrap());
        }
        let mut sink: Box<dyn Sink> = Box::new(gone.clone());
        for object in [r#"{"id":"b"}"#, r#"{"id":7}"#, r#"{"id":"\u0061"}"#] {
            sink.record(object).unwrap();
        }
        assert_eq!((gone.listed(), gone.listed()), (2, 0));
    }

    #[test]
    fn ids_come_back_as_they_were_however_many() {
        let check = |objects: &mut dyn Iterator<Item = String>, expected: &mut dyn Iterator<Item = String>| {
            let ids = Ids::new();
            let mut sink: Box<dyn Sink> = Box::new(ids.clone());
            objects.for_each(|object| sink.record(&object).unwrap());
            sink.finish().unwrap();
            let mut read = ids.read().unwrap().map(|id| id.unwrap().to_string());
            assert!(read.by_ref().eq(expected));
        };
        let objects = [r#"{"id":"a/b ü\u00e9\"","name":"x"}"#, r#"{"name":{"id":1},"\u0069d":17,"id":17}"#];
        check(&mut objects.map(str::to_owned).into_iter(), &mut ["a/b üé\"", "17"].map(str::to_owned).into_iter());
        check(&mut std::iter::empty(), &mut std::iter::empty());
        // More than is held in memory.
        let id = |number: u32| format!("{number:036}");
        check(&mut (0..150_000).map(|n| format!(r#"{{"id":"{}"}}"#, id(n))), &mut (0..150_000).map(id));
    }
}
