//! Records as rows: which columns each stream has, and where a record holds them.
//!
//! Owns the columns of every stream ([`Columns::of`], frozen by a test against
//! docs/RECORDS.md) and finding their values in whatever shape the appliance
//! sent: GraphQL's connections (`{"nodes": […]}`), the bare lists of REST,
//! keys that older and newer releases name differently. Leaves out what a
//! format does with a value (`sinks`).
//!
//! A record is read in place: what no column wants is skipped, and values are
//! borrowed from the record's text.
//!
//! Promises: any JSON object gives a row, with a value or null for each
//! column; what a column cannot hold is null and counted ([`Row::flagged`]).

mod places;
mod tables;
mod value;

use std::io;

pub use value::{Kind, Value};

use crate::site::Stream;
use places::Places;

/// One column of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name: the API's own, with dots where the value is nested.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Where a record may hold it; the first place that has something counts.
    places: &'static [&'static str],
}

/// The columns of one stream, ready to read records.
#[derive(Debug)]
pub struct Columns {
    list: Vec<Column>,
    places: Places,
}

/// What the columns of one record hold.
#[derive(Debug)]
pub struct Row<'a> {
    /// One for each column, in their order.
    pub values: Vec<Option<Value<'a>>>,
    /// How many values were not of their column's type.
    pub flagged: u64,
}

impl Columns {
    /// The columns of `stream`, with the free-form details as the last one if wanted (events have none).
    #[must_use]
    pub fn of(stream: Stream, with_details: bool) -> Self {
        let mut list = tables::of(stream).to_vec();
        list.extend(tables::details(stream).filter(|_| with_details));
        let places = Places::of(&list);
        Self { list, places }
    }

    /// The columns, in their order.
    #[must_use]
    pub fn list(&self) -> &[Column] {
        &self.list
    }

    /// Reads one record, which is one JSON object.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] if it is not.
    pub fn read<'a>(&self, record: &'a str) -> io::Result<Row<'a>> {
        let (found, mut flagged) = self.places.find(record, self.list.len())?;
        let mut values = Vec::with_capacity(self.list.len());
        for (column, found) in self.list.iter().zip(found) {
            let (value, fits) = column.kind.value(found);
            values.push(value);
            flagged += u64::from(!fits);
        }
        Ok(Row { values, flagged })
    }
}

#[cfg(test)]
mod tests;
