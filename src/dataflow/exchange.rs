//! The exchange: workers hand each other the rows whose keys the other owns, in memory, once per edge and epoch.
//!
//! All workers run the same nodes in the same order, so the k-th exchange of one is the k-th of all. Each deposits its parts, waits
//! at a barrier, and takes what is addressed to it:
//!
//! ```text
//!   worker 0   deposit k -> |barrier| -> take k ... deposit k+1 -> |barrier| -> take k+1
//!   worker 1   deposit k -> |barrier| -> take k ... deposit k+1 -> |barrier| -> take k+1
//! ```
//!
//! Two sets of mailboxes, used in turn, are enough: nobody deposits k+2 before everybody has deposited k+1, and so has taken k.

use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::ids::{owner, virtual_node};
use crate::types::key::{Codec, Rows, hash};
use arrow::array::{ArrayRef, UInt32Array};
use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use std::sync::{Arc, Barrier};

/// Mailboxes between a fixed number of workers.
pub struct Exchange {
    workers: usize,
    barrier: Barrier,
    /// `[turn][receiver]`
    mailboxes: [Vec<Mutex<Vec<Delta>>>; 2],
}

impl Exchange {
    pub fn new(workers: usize) -> Arc<Self> {
        let boxes = || (0..workers).map(|_| Mutex::new(Vec::new())).collect();
        Arc::new(Exchange { workers, barrier: Barrier::new(workers), mailboxes: [boxes(), boxes()] })
    }

    pub fn workers(&self) -> usize {
        self.workers
    }

    /// Gives `parts[receiver]` away and returns what is for `worker`. `turn` counts this worker's exchanges. Blocks until every worker has come here.
    pub fn swap(&self, worker: usize, turn: u64, parts: Vec<Vec<Delta>>) -> Vec<Delta> {
        let boxes = &self.mailboxes[(turn % 2) as usize];
        for (receiver, part) in parts.into_iter().enumerate() {
            if !part.is_empty() {
                boxes[receiver].lock().extend(part);
            }
        }
        self.barrier.wait();
        std::mem::take(&mut *boxes[worker].lock())
    }
}

/// Splits deltas by the owner of their key columns.
pub struct Partitioner {
    columns: Vec<usize>,
    codec: Codec,
    workers: usize,
    rows: Rows,
}

impl Partitioner {
    /// `columns` of `schema` are the key; none: all rows go to the owner of the empty key.
    pub fn new(schema: &SchemaRef, columns: &[usize], workers: usize) -> Result<Self> {
        let types: Vec<_> = columns.iter().map(|&c| schema.field(c).data_type().clone()).collect();
        Ok(Partitioner { columns: columns.to_vec(), codec: Codec::new(&types)?, workers, rows: Rows::default() })
    }

    /// One list of deltas per worker.
    pub fn split(&mut self, deltas: Vec<Delta>) -> Result<Vec<Vec<Delta>>> {
        let mut parts: Vec<Vec<Delta>> = vec![Vec::new(); self.workers];
        if self.columns.is_empty() {
            parts[owner(virtual_node(hash(&[])), self.workers)] = deltas;
            return Ok(parts);
        }
        for delta in deltas {
            let keys: Vec<ArrayRef> = self.columns.iter().map(|&c| delta.column(c).clone()).collect();
            self.rows.clear();
            self.codec.encode(&keys, &mut self.rows)?;
            let mut indices: Vec<Vec<u32>> = vec![Vec::with_capacity(delta.rows() / self.workers + 16); self.workers];
            for row in 0..delta.rows() {
                indices[owner(virtual_node(hash(self.rows.row(row))), self.workers)].push(row as u32);
            }
            for (receiver, rows) in indices.into_iter().enumerate() {
                if rows.len() == delta.rows() {
                    parts[receiver].push(delta.clone());
                } else if !rows.is_empty() {
                    parts[receiver].push(delta.take(&UInt32Array::from(rows))?);
                }
            }
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    #[test]
    fn every_row_reaches_the_owner_of_its_key_once() {
        let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, true)]));
        let exchange = Exchange::new(3);
        let received: Vec<Vec<i64>> = std::thread::scope(|scope| {
            let handles: Vec<_> = (0..3)
                .map(|worker| {
                    let (exchange, schema) = (exchange.clone(), schema.clone());
                    scope.spawn(move || {
                        let mut partitioner = Partitioner::new(&schema, &[0], 3).expect("an int64 key");
                        let mut all = Vec::new();
                        for turn in 0..50u64 {
                            let values = Int64Array::from_iter_values((0..10).map(|i| worker as i64 * 1000 + turn as i64 * 10 + i));
                            let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(values)]).expect("one column");
                            let parts = partitioner.split(vec![Delta::inserts(batch)]).expect("keys encode");
                            for delta in exchange.swap(worker, turn, parts) {
                                let column = delta.column(0).as_any().downcast_ref::<Int64Array>().expect("int64").clone();
                                all.extend(column.values().iter().copied());
                            }
                        }
                        all
                    })
                })
                .collect();
            handles.into_iter().map(|h| h.join().expect("a worker")).collect()
        });
        let mut sum: Vec<i64> = received.iter().flatten().copied().collect();
        sum.sort_unstable();
        let mut expected: Vec<i64> = (0..3).flat_map(|w| (0..500).map(move |i| w * 1000 + i)).collect();
        expected.sort_unstable();
        assert_eq!(sum, expected);
    }
}
