//! The seam between bytes and columns: a decoder takes records as bytes and gives typed columns of the declared schema.

use crate::error::Result;
use arrow::array::ArrayRef;

/// Records as received: their bytes back to back in one buffer, so that a batch costs two allocations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payloads {
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
    /// Records that have no payload (Kafka's null), rising; rare.
    nulls: Vec<usize>,
}

impl Payloads {
    pub fn with_capacity(records: usize, bytes: usize) -> Self {
        Payloads { bytes: Vec::with_capacity(bytes), ends: Vec::with_capacity(records), nulls: Vec::new() }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All bytes of all records.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn push(&mut self, record: Option<&[u8]>) {
        match record {
            Some(bytes) => self.bytes.extend_from_slice(bytes),
            None => self.nulls.push(self.ends.len()),
        }
        self.ends.push(self.bytes.len());
    }

    /// `None`: a null payload.
    pub fn get(&self, record: usize) -> Option<&[u8]> {
        if !self.nulls.is_empty() && self.nulls.binary_search(&record).is_ok() {
            return None;
        }
        Some(self.raw(record))
    }

    /// The bytes of a record; a null payload has none.
    pub fn raw(&self, record: usize) -> &[u8] {
        let start = if record == 0 { 0 } else { self.ends[record - 1] };
        &self.bytes[start..self.ends[record]]
    }

    /// Whether no record is null.
    pub fn all_present(&self) -> bool {
        self.nulls.is_empty()
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.nulls.clear();
    }
}

/// What a batch of records became.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// One per declared column, over the good records in order.
    pub columns: Vec<ArrayRef>,
    /// The others: ordinal in the batch, rising, and what is wrong, worded for the person who sent it.
    pub bad: Vec<(usize, String)>,
}

/// Decodes records of one declared schema; one per reader, it keeps its buffers.
///
/// Every declared column is checked in every record (kind, range, syntax). A missing field is the record's error unless the
/// format's option `missing_fields = 'null'` says otherwise; an explicit null is NULL in a nullable column and an error in
/// another; fields that are not declared are ignored.
pub trait Decoder: Send {
    /// Whether the input begins with a record that names the columns; it then goes to [`Decoder::header`], not to `decode`.
    fn wants_header(&self) -> bool {
        false
    }

    /// Error: the header does not fit the declared columns.
    fn header(&mut self, _record: &[u8]) -> Result<()> {
        Ok(())
    }

    /// An error is our own mistake, never a bad record.
    fn decode(&mut self, records: &Payloads) -> Result<Decoded>;
}
