//! What one epoch of the live lane gives an isolated view to take in: the changes of the relations that it reads, and the cut's clock and watermarks.
//!
//! ```text
//!   in the log:   version u8 = 1, length of the header u32 LE, header (JSON), then per delta of the header: length u32 LE, delta (as in a table's log)
//! ```

use crate::error::{Error, Kind, Result};
use crate::node::writer;
use crate::state::log::Logs;
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::time::{Epoch, Step, Watermarks};
use arrow::datatypes::SchemaRef;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const VERSION: u8 = 1;

/// What is to be taken in.
#[derive(Clone)]
pub(super) struct Taken {
    pub step: Step,
    /// What the epoch read of sources, for `tidewater.late_rows`.
    pub source_positions: String,
    pub changes: BTreeMap<ObjectId, Vec<Delta>>,
}

impl Taken {
    /// The first `rows` rows, and the rest. Only where rows are added and none withdrawn: their order is then no matter.
    pub fn split(self, rows: usize) -> (Taken, Option<Taken>) {
        let all: usize = self.changes.values().flatten().map(Delta::rows).sum();
        if all <= rows || self.changes.values().flatten().any(|d| d.weights().is_some_and(|w| w.iter().any(|w| *w < 1))) {
            return (self, None);
        }
        let (mut first, mut rest, mut left) = (BTreeMap::<_, Vec<Delta>>::new(), BTreeMap::<_, Vec<Delta>>::new(), rows);
        for (relation, deltas) in self.changes {
            for delta in deltas {
                let here = left.min(delta.rows());
                left -= here;
                for (part, offset, length) in [(&mut first, 0, here), (&mut rest, here, delta.rows() - here)] {
                    if length > 0 {
                        part.entry(relation).or_default().push(delta.slice(offset, length));
                    }
                }
            }
        }
        let (step, source_positions) = (self.step.clone(), self.source_positions.clone());
        (Taken { step, source_positions, changes: first }, Some(Taken { step: self.step, source_positions: self.source_positions, changes: rest }))
    }
}

/// One epoch, in memory, in the log, or both.
pub(super) struct Entry {
    pub epoch: Epoch,
    pub bytes: usize,
    /// `None`: it is in the log alone.
    pub taken: Option<Taken>,
    /// Its bytes in the log, if it is there.
    pub logged: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    epoch: Epoch,
    clock: i64,
    before: Watermarks,
    after: Watermarks,
    source_positions: String,
    /// Of each relation, how many deltas.
    relations: Vec<(ObjectId, usize)>,
}

impl Entry {
    pub fn new(taken: Taken) -> Entry {
        const FIXED: usize = 512;
        let bytes = FIXED + taken.changes.values().flatten().map(Delta::bytes).sum::<usize>();
        Entry { epoch: taken.step.epoch, bytes, taken: Some(taken), logged: None }
    }

    /// One that an earlier run of the server has logged.
    pub fn in_log(epoch: Epoch, bytes: usize) -> Entry {
        Entry { epoch, bytes, taken: None, logged: Some(bytes as u64) }
    }

    /// It is in the log when this returns: how many bytes that has added.
    pub fn log(&mut self, view: ObjectId, logs: &Logs) -> Result<u64> {
        let Some(taken) = self.taken.as_ref().filter(|_| self.logged.is_none()) else { return Ok(0) };
        let bytes = encode(taken)?;
        logs.append_isolated(view, self.epoch, &bytes)?;
        self.logged = Some(bytes.len() as u64);
        Ok(bytes.len() as u64)
    }

    pub fn read(&self, view: ObjectId, logs: &Logs, schema: &dyn Fn(ObjectId) -> Result<SchemaRef>) -> Result<Taken> {
        if let Some(taken) = &self.taken {
            return Ok(taken.clone());
        }
        let bytes = logs.isolated_entry(view, self.epoch)?.ok_or_else(|| damaged(format!("epoch {} is missing", self.epoch)))?;
        decode(&bytes, schema)
    }
}

fn encode(taken: &Taken) -> Result<Vec<u8>> {
    let Taken { step, source_positions, changes } = taken;
    let header = Header {
        epoch: step.epoch,
        clock: step.clock,
        before: step.before.clone(),
        after: step.after.clone(),
        source_positions: source_positions.clone(),
        relations: changes.iter().map(|(r, deltas)| (*r, deltas.len())).collect(),
    };
    let header = serde_json::to_vec(&header).expect("a header has only numbers, texts and maps with number keys");
    let mut out = vec![VERSION];
    let mut part = |bytes: &[u8]| {
        out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(bytes);
    };
    part(&header);
    for delta in changes.values().flatten() {
        part(&writer::encode(delta)?);
    }
    Ok(out)
}

fn damaged(detail: impl Into<String>) -> Error {
    Error::new(Kind::DataCorrupted, "the log of an isolated view is damaged").with_detail(detail)
}

fn decode(bytes: &[u8], schema: &dyn Fn(ObjectId) -> Result<SchemaRef>) -> Result<Taken> {
    let Some((&VERSION, mut rest)) = bytes.split_first() else { return Err(damaged("unknown format version")) };
    let mut part = || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let (part, behind) = behind.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        rest = behind;
        Some(part)
    };
    let header: Header = part().and_then(|bytes| serde_json::from_slice(bytes).ok()).ok_or_else(|| damaged("its header cannot be read"))?;
    let mut changes = BTreeMap::new();
    for (relation, count) in header.relations {
        let schema = schema(relation)?;
        let deltas = (0..count).map(|_| writer::decode(part().ok_or_else(|| damaged("a change is cut off"))?, &schema));
        changes.insert(relation, deltas.collect::<Result<Vec<Delta>>>()?);
    }
    let step = Step { epoch: header.epoch, clock: header.clock, before: header.before, after: header.after };
    Ok(Taken { step, source_positions: header.source_positions, changes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use std::sync::Arc;

    #[test]
    fn what_is_logged_comes_back() {
        let batch =
            RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1, 2])) as _), ("b", Arc::new(StringArray::from(vec!["x", "y"])) as _)]).unwrap();
        let marks = |at| Watermarks(BTreeMap::from([(ObjectId(7), at)]));
        let step = Step { epoch: Epoch(12), clock: 99, before: marks(5), after: marks(6) };
        let deltas = vec![Delta::inserts(batch.clone()), Delta::new(batch.clone(), vec![-1, 2])];
        let taken = Taken { step, source_positions: "s 0:[1,2)".into(), changes: BTreeMap::from([(ObjectId(7), deltas)]) };
        let bytes = encode(&taken).unwrap();
        let back = decode(&bytes, &|_| Ok(batch.schema())).unwrap();
        assert_eq!((back.step.epoch, back.step.clock), (Epoch(12), 99));
        assert_eq!([&back.step.before, &back.step.after], [&marks(5), &marks(6)]);
        assert_eq!(back.source_positions, taken.source_positions);
        let weights = |t: &BTreeMap<ObjectId, Vec<Delta>>| t[&ObjectId(7)].iter().flat_map(|d| [d.weight(0), d.weight(1)]).collect::<Vec<_>>();
        assert_eq!(weights(&back.changes), [1, 1, -1, 2]);
        assert!(back.changes[&ObjectId(7)].iter().all(|d| *d.batch() == batch));
        // Something is withdrawn: it is taken in whole.
        assert!(back.split(1).1.is_none());
        let (first, rest) = Taken { changes: BTreeMap::from([(ObjectId(7), vec![Delta::inserts(batch.clone()); 2])]), ..taken }.split(3);
        assert_eq!([&first.changes, &rest.unwrap().changes].map(|c| c[&ObjectId(7)].iter().map(Delta::rows).sum::<usize>()), [3, 1]);
        for cut in [0, 1, 3, 20, bytes.len() - 1] {
            assert!(decode(&bytes[..cut], &|_| Ok(batch.schema())).is_err(), "{cut} bytes");
        }
    }
}
