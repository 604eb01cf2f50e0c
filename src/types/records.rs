//! Records for the outside: a key and a value each, as bytes, in chunks of about a megabyte; and who makes them of rows.

use crate::error::{Error, Kind, Result};
use arrow::array::RecordBatch;
use std::fmt::Debug;

/// One record: its key, `None` where it has none, and its value, `None` where it says that the key is gone.
pub type Record<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

/// Records in the order in which they are to be published. A chunk holds whole records, each as two lengths (u32, little-endian; [`NONE`] of what is not there),
/// the key and the value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Records {
    chunks: Vec<Vec<u8>>,
    count: u64,
}

/// The length of what is not there.
const NONE: u32 = u32::MAX;
/// A chunk of so many bytes takes no further record.
const CHUNK: usize = 1 << 20;

impl Records {
    pub fn push(&mut self, (key, value): Record<'_>) {
        if self.chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK) {
            self.chunks.push(Vec::new());
        }
        let Some(chunk) = self.chunks.last_mut() else { return };
        for part in [key, value] {
            chunk.extend_from_slice(&part.map_or(NONE, |bytes| bytes.len() as u32).to_le_bytes());
        }
        [key, value].into_iter().flatten().for_each(|bytes| chunk.extend_from_slice(bytes));
        self.count += 1;
    }

    pub fn append(&mut self, mut other: Records) {
        self.chunks.append(&mut other.chunks);
        self.count += other.count;
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub fn bytes(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum()
    }

    /// As they are stored.
    pub fn chunks(&self) -> &[Vec<u8>] {
        &self.chunks
    }

    /// The records of a stored chunk. Error: damaged bytes.
    pub fn of_chunk(chunk: &[u8]) -> Result<Vec<Record<'_>>> {
        let damaged = || Error::new(Kind::DataCorrupted, "stored records of a sink are damaged");
        let (mut records, mut rest) = (Vec::new(), chunk);
        while !rest.is_empty() {
            let mut take = |length: u32| -> Result<Option<&[u8]>> {
                if length == NONE {
                    return Ok(None);
                }
                let (taken, left) = rest.split_at_checked(length as usize).ok_or_else(damaged)?;
                rest = left;
                Ok(Some(taken))
            };
            let mut length = || take(4)?.and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes).ok_or_else(damaged);
            let (key, value) = (length()?, length()?);
            records.push((take(key)?, take(value)?));
        }
        Ok(records)
    }
}

/// Makes records of rows. Which rows a record is made of, and in which order, is the caller's to say.
pub trait RecordEncoder: Debug + Send + Sync {
    /// Appends one record per entry of `rows`: row number, and whether the row is there; where it is not, the record says that its key is gone.
    fn encode(&self, batch: &RecordBatch, rows: &[(usize, bool)], out: &mut Records) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_from_their_chunks() {
        let mut records = Records::default();
        let long = vec![b'x'; CHUNK];
        let given: [Record<'_>; 5] = [(None, Some(b"v")), (Some(b"k"), None), (Some(b""), Some(b"")), (Some(b"k"), Some(&long)), (None, Some(b"last"))];
        given.iter().for_each(|record| records.push(*record));
        assert_eq!(records.chunks().len(), 2, "a full chunk takes no further record");
        let back: Vec<Record<'_>> = records.chunks().iter().flat_map(|chunk| Records::of_chunk(chunk).unwrap()).collect();
        assert_eq!(back, given);
        assert!(Records::of_chunk(&records.chunks()[0][..20]).is_err());
    }
}
