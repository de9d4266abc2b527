//! The plant at this moment, and what is counted while it is read.
//!
//! Owns devices that were added or touched, and the counters of pages,
//! requests and time. Leaves out the facts of a device (`devices`). Nothing
//! here can fail.

use super::Shared;
use crate::simulator::devices::{self, Device, Plant};
use http::{HeaderMap, HeaderValue};
use std::{
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

impl Shared {
    /// The plant of the moment.
    pub(in crate::simulator) fn plant(&self) -> Plant {
        Plant { added: self.added.load(Ordering::Relaxed), ..self.plant }
    }

    /// A device as it is now.
    pub(in crate::simulator) fn device(&self, index: usize) -> Device {
        let touched = self.touched.read().unwrap_or_else(PoisonError::into_inner).get(&index).copied();
        Device { touched, ..self.plant().device(index) }
    }

    /// One more device; its number.
    pub(in crate::simulator) fn add_device(&self) -> usize {
        let index = self.plant.count + self.added.fetch_add(1, Ordering::Relaxed);
        self.touch(index);
        index
    }

    /// Something about a device changes now.
    pub(in crate::simulator) fn touch(&self, index: usize) {
        let now = devices::micros(self.now());
        self.touched.write().unwrap_or_else(PoisonError::into_inner).insert(index, now);
        self.listings.forget();
        self.rows.clear();
    }

    // -- counting --

    /// Counts the time that a reply took, and says it in the reply.
    pub(in crate::simulator) fn spent(&self, time: Duration, headers: &mut HeaderMap) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.busy_nanos.fetch_add(nanos, Ordering::Relaxed);
        if let Ok(value) = HeaderValue::from_str(&format!("total;dur={:.3}", time.as_secs_f64() * 1_000.0)) {
            headers.insert("server-timing", value);
        }
    }

    /// Counts a page; how many there were before.
    pub(in crate::simulator) fn count_page(&self) -> usize {
        self.pages.fetch_add(1, Ordering::Relaxed)
    }

    /// How many pages there were.
    pub(in crate::simulator) fn pages_so_far(&self) -> usize {
        self.pages.load(Ordering::Relaxed)
    }

    /// Counts a request; how many there are with it.
    pub(in crate::simulator) fn count_request(&self) -> usize {
        self.requests.fetch_add(1, Ordering::Relaxed) + 1
    }
}
