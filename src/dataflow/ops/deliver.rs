//! Deliver: the last node of a sink that publishes. It nets the epoch's change and makes records of it.
//!
//! ```text
//!   delta --consolidate--> rows: append-only: a record each
//!                                by key:      the key's new row, or that it is gone
//! ```
//!
//! *A retraction* of a key's row is a record that says so, unless the same epoch has a new row of that key. Without a key there are none: the planner refuses
//! such a sink over rows that are taken back. *State*: none here; what is not yet published is in the sink's outbox, which the node keeps.

use super::consolidate::consolidate;
use super::groups::Groups;
use crate::dataflow::operator::{BuildContext, Distribution, Operator, Output, Spec, Sunk};
use crate::error::{Error, Result};
use crate::types::delta::Delta;
use crate::types::key::{Codec, Rows};
use crate::types::records::{RecordEncoder, Records};
use crate::types::time::Step;
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub struct Deliver {
    /// Columns that are unique in the rows: the newest row of each key counts. Empty: rows are only ever added.
    pub key: Vec<usize>,
    pub encoder: Arc<dyn RecordEncoder>,
    pub schema: SchemaRef,
}

impl Spec for Deliver {
    fn name(&self) -> &'static str {
        "Deliver"
    }

    fn details(&self) -> String {
        let names: Vec<&str> = self.key.iter().map(|c| self.schema.field(*c).name().as_str()).collect();
        if names.is_empty() { "append-only".to_string() } else { format!("upsert, key ({})", names.join(", ")) }
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Changes of one key must meet: a record says what becomes of it.
    fn distribution(&self) -> Vec<Distribution> {
        vec![if self.key.is_empty() { Distribution::Any } else { Distribution::Hash(self.key.clone()) }]
    }

    fn build(&self, _context: &BuildContext) -> Result<Box<dyn Operator>> {
        let types: Vec<_> = self.key.iter().map(|c| self.schema.field(*c).data_type().clone()).collect();
        Ok(Box::new(DeliverOp { spec: self.clone(), codec: Codec::rows(&types)? }))
    }
}

struct DeliverOp {
    spec: Deliver,
    /// Of the key.
    codec: Codec,
}

impl Operator for DeliverOp {
    fn apply(&mut self, _step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        let delta = consolidate(&self.spec.schema, &std::mem::take(&mut inputs[0]))?;
        if delta.is_empty() {
            return Ok(());
        }
        let sunk = Sunk::of(&delta);
        let rows = if self.spec.key.is_empty() { added(&delta)? } else { self.newest(&delta)? };
        let mut records = Records::default();
        self.spec.encoder.encode(delta.batch(), &rows, &mut records)?;
        (out.sunk, out.records) = (Some(sunk), records);
        Ok(())
    }
}

/// Every row as often as it comes.
fn added(delta: &Delta) -> Result<Vec<(usize, bool)>> {
    let mut rows = Vec::with_capacity(delta.rows());
    for row in 0..delta.rows() {
        let times = usize::try_from(delta.weight(row)).map_err(|_| Error::internal("a row of an append-only sink is taken back"))?;
        rows.extend(std::iter::repeat_n((row, true), times));
    }
    Ok(rows)
}

impl DeliverOp {
    /// One row per key, in the order of the keys' first change: the one that is there now, or one that says which key is gone.
    fn newest(&self, delta: &Delta) -> Result<Vec<(usize, bool)>> {
        let columns: Vec<ArrayRef> = self.spec.key.iter().map(|c| delta.column(*c).clone()).collect();
        let mut keys = Rows::default();
        self.codec.encode(&columns, &mut keys)?;
        let groups = Groups::of_rows(&keys);
        let mut newest: Vec<(usize, bool)> = groups.first.iter().map(|row| (*row as usize, false)).collect();
        for (row, group) in groups.of_row.iter().enumerate().filter(|(row, _)| delta.weight(*row) > 0) {
            newest[*group as usize] = (row, true);
        }
        Ok(newest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};

    /// A record is `key` and `value` as texts.
    #[derive(Debug)]
    struct Plain;

    impl RecordEncoder for Plain {
        fn encode(&self, batch: &RecordBatch, rows: &[(usize, bool)], out: &mut Records) -> Result<()> {
            let text = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row).to_string();
            rows.iter().for_each(|(row, there)| out.push((Some(text(0, *row).as_bytes()), there.then_some(text(1, *row).as_bytes()))));
            Ok(())
        }
    }

    fn run(key: Vec<usize>, rows: &[(i64, i64, i64)]) -> (Vec<String>, Option<Sunk>) {
        let schema = Arc::new(Schema::new(vec![Field::new("k", DataType::Int64, false), Field::new("v", DataType::Int64, false)]));
        let column = |of: fn(&(i64, i64, i64)) -> i64| Arc::new(Int64Array::from_iter_values(rows.iter().map(of))) as ArrayRef;
        let batch = RecordBatch::try_new(schema.clone(), vec![column(|r| r.0), column(|r| r.1)]).unwrap();
        let delta = Delta::new(batch, rows.iter().map(|r| r.2).collect::<Vec<_>>());
        let spec = Deliver { key, encoder: Arc::new(Plain), schema };
        let types: Vec<DataType> = spec.key.iter().map(|_| DataType::Int64).collect();
        let (mut operator, mut out) = (DeliverOp { codec: Codec::rows(&types).unwrap(), spec }, Output::default());
        operator.apply(&Step::default(), &mut [vec![delta]], &mut out).unwrap();
        let text = |bytes: Option<&[u8]>| bytes.map_or("-".to_string(), |b| String::from_utf8(b.to_vec()).unwrap());
        let records = out.records.chunks().iter().flat_map(|c| Records::of_chunk(c).unwrap()).map(|(k, v)| format!("{}={}", text(k), text(v)));
        (records.collect(), out.sunk)
    }

    #[test]
    fn a_key_that_changes_often_in_an_epoch_is_one_record() {
        let (records, sunk) = run(vec![0], &[(1, 10, -1), (1, 11, 1), (2, 20, -1), (3, 30, 1), (4, 40, 1), (4, 40, -1), (1, 11, -1), (1, 12, 1)]);
        assert_eq!(records, ["1=12", "2=-", "3=30"]);
        assert_eq!(sunk, Some(Sunk { inserted: 2, retracted: 2 }));
        assert_eq!(run(vec![0], &[(4, 40, 1), (4, 40, -1)]), (vec![], None), "what cancels out says nothing");
    }

    #[test]
    fn without_a_key_every_row_is_a_record() {
        assert_eq!(run(vec![], &[(1, 10, 1), (1, 10, 2)]).0, ["1=10", "1=10", "1=10"]);
    }
}
