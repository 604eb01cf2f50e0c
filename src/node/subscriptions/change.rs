//! What one epoch changed in a relation, and how a subscriber sees it: epoch and weight in front of the relation's columns.
//!
//! ```text
//!   tw_epoch | tw_weight | columns                                                       WITH (PROGRESS): tw_epoch | tw_progressed | tw_durable_epoch | tw_weight | columns
//!         17 |        -1 | ann, 3                                                              17 | f |      | -1 | ann, 3
//!         17 |         1 | ann, 4                                                              17 | f |      |  1 | ann, 4
//!                                                                                              17 | t |   15 |    | ,
//! ```
//!
//! All subscribers of a relation share one change: it is netted and given its shape once, by the first who asks.

use crate::dataflow::ops::consolidate::consolidate;
use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::time::Epoch;
use arrow::array::{Array, ArrayRef, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use parking_lot::Mutex;
use std::sync::Arc;

/// The columns of a subscription.
#[derive(Clone, Debug)]
pub struct Shape {
    schema: SchemaRef,
    progress: bool,
}

impl Shape {
    pub fn new(columns: &[FieldRef], progress: bool) -> Shape {
        let number = |name: &str| Arc::new(Field::new(name, DataType::Int64, true));
        let mut fields = vec![number("tw_epoch")];
        if progress {
            fields.extend([Arc::new(Field::new("tw_progressed", DataType::Boolean, true)), number("tw_durable_epoch")]);
        }
        fields.push(number("tw_weight"));
        // A row that tells of progress has none of them.
        fields.extend(columns.iter().map(|c| Arc::new(c.as_ref().clone().with_nullable(true))));
        Shape { schema: Arc::new(Schema::new(fields)), progress }
    }

    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub fn columns(&self) -> Vec<FieldRef> {
        self.schema.fields().iter().cloned().collect()
    }

    pub fn has_progress(&self) -> bool {
        self.progress
    }

    /// Rows of one epoch.
    pub fn rows(&self, epoch: Epoch, delta: &Delta) -> Result<RecordBatch> {
        let count = delta.rows();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![epoch.0 as i64; count]))];
        if self.progress {
            columns.extend([Arc::new(BooleanArray::from(vec![false; count])) as ArrayRef, new_null_array(&DataType::Int64, count)]);
        }
        columns.push(Arc::new(Int64Array::from_iter_values((0..count).map(|row| delta.weight(row)))));
        let first = columns.len();
        for (field, column) in self.schema.fields()[first..].iter().zip(delta.batch().columns()) {
            columns.push(if column.data_type() == field.data_type() { column.clone() } else { cast(column, field.data_type())? });
        }
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    /// The row that says: everything up to `epoch` was sent, and what is up to `durable` survives power loss.
    pub fn progressed(&self, epoch: Epoch, durable: Epoch) -> Result<RecordBatch> {
        let number = |epoch: Epoch| Arc::new(Int64Array::from(vec![epoch.0 as i64])) as ArrayRef;
        let mut columns = vec![number(epoch), Arc::new(BooleanArray::from(vec![true])), number(durable)];
        columns.extend(self.schema.fields()[columns.len()..].iter().map(|f| new_null_array(f.data_type(), 1)));
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }
}

/// See the module.
pub struct Change {
    pub epoch: Epoch,
    /// Of its rows, about.
    pub bytes: usize,
    schema: SchemaRef,
    made: Mutex<Made>,
}

struct Made {
    deltas: Vec<Delta>,
    netted: bool,
    /// Rows without and with columns for progress.
    rows: [Option<RecordBatch>; 2],
}

impl Change {
    /// `schema`: of the relation. `deltas`: of all workers.
    pub fn new(epoch: Epoch, schema: SchemaRef, deltas: Vec<Delta>) -> Change {
        let bytes = deltas.iter().map(Delta::size).sum();
        Change { epoch, bytes, schema, made: Mutex::new(Made { deltas, netted: false, rows: [None, None] }) }
    }

    /// No row is in it with two weights that cancel out.
    pub fn delta(&self) -> Result<Delta> {
        self.made.lock().net(&self.schema)
    }

    pub fn rows(&self, shape: &Shape) -> Result<RecordBatch> {
        let mut made = self.made.lock();
        let place = usize::from(shape.progress);
        if let Some(rows) = &made.rows[place] {
            return Ok(rows.clone());
        }
        let rows = shape.rows(self.epoch, &made.net(&self.schema)?)?;
        Ok(made.rows[place].insert(rows).clone())
    }
}

impl Made {
    fn net(&mut self, schema: &SchemaRef) -> Result<Delta> {
        if !self.netted {
            self.deltas = vec![consolidate(schema, &self.deltas)?];
            self.netted = true;
        }
        Ok(self.deltas[0].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::StringArray;

    fn delta(rows: &[(&str, i64)]) -> Delta {
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.0)));
        Delta::new(RecordBatch::try_from_iter([("name", names)]).unwrap(), rows.iter().map(|r| r.1).collect::<Vec<_>>())
    }

    #[test]
    fn rows_of_all_workers_are_netted() {
        let parts = vec![delta(&[("ann", -1), ("bob", 1)]), delta(&[("ann", 1), ("eve", 2)])];
        let change = Change::new(Epoch(17), parts[0].schema(), parts);
        let columns = [Arc::new(Field::new("name", DataType::Utf8, false))];
        let text = |progress| {
            let rows = change.rows(&Shape::new(&columns, progress)).unwrap();
            arrow::util::pretty::pretty_format_batches(&[rows]).unwrap().to_string()
        };
        let plain = text(false);
        assert!(!plain.contains("ann") && plain.contains("| 17       | 1         | bob  |") && plain.contains("| 17       | 2         | eve  |"), "{plain}");
        let progress = text(true);
        assert!(progress.contains("| 17       | false         |                  | 1         | bob  |"), "{progress}");
        let row = Shape::new(&columns, true).progressed(Epoch(18), Epoch(15)).unwrap();
        let row = arrow::util::pretty::pretty_format_batches(&[row]).unwrap().to_string();
        assert!(row.contains("| 18       | true          | 15               |           |      |"), "{row}");
    }
}
