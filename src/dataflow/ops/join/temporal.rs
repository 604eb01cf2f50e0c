//! Temporal join: each row of an append-only stream with the rows that the other side has under its key in the epoch in which the row comes
//! (`FOR SYSTEM_TIME AS OF PROCTIME()`): an order with the price of that moment.
//!
//! ```text
//!   right delta  ->  right rows by key
//!   left delta   ->  looked up in them, after the epoch's changes  ->  out, and forgotten
//! ```
//!
//! Later changes of the right side change nothing that was given out, so the output never retracts. INNER gives matched pairs, LEFT also rows without a match, padded with NULLs. *Retraction*: of
//! the right side's rows, for later look-ups; none comes in on the left. *State*: the right side's rows by key; nothing of the left side.

use super::pairs::Pairing;
use super::preserved::{Preserved, shown};
use super::side::Side;
use super::{Join, JoinKind, JoinTables, project};
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::error::Result;
use crate::state::kept::Kept;
use crate::state::keyed::Layout;
use crate::types::delta::Delta;
use crate::types::ids::TableId;
use crate::types::time::{Step, Watermarks};
use arrow::array::BooleanArray;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub struct TemporalJoin {
    /// INNER or LEFT; the left input never retracts.
    join: Join,
    rows: TableId,
}

impl TemporalJoin {
    /// `join` comes without tables ([`Join::shaped`]).
    pub fn new(join: Join, allocate: &mut dyn FnMut() -> TableId) -> TemporalJoin {
        let rows = allocate();
        TemporalJoin { join: Join { tables: JoinTables::default(), ..join }, rows }
    }
}

impl Spec for TemporalJoin {
    fn name(&self) -> &'static str {
        "TemporalJoin"
    }

    fn details(&self) -> String {
        format!("{}; right rows as of processing time", self.join.details())
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.join.schema)
    }

    fn distribution(&self) -> Vec<Distribution> {
        self.join.distribution()
    }

    fn append_only(&self, inputs: &[bool]) -> bool {
        inputs[0]
    }

    fn state_tables(&self) -> Vec<StateTable> {
        let keys = self.join.right_keys.iter().map(|k| self.join.right.field(*k).name().as_str()).collect::<Vec<_>>().join(", ");
        vec![StateTable { id: self.rows, what: format!("right rows by ({keys})"), bounded_by: Bound::Rows("rows of the right side") }]
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        let join = &self.join;
        let side = |side: usize, rows: Option<TableId>| {
            Side::new([&join.left, &join.right][side], join.keys(side), join.null_equals_null, Layout::Hash, (rows, None), context)
        };
        Ok(Box::new(Running {
            left: side(0, None)?,
            right: side(1, Some(self.rows))?,
            pairing: Pairing { schema: join.pair_schema(), residual: join.residual.clone() },
            join: join.clone(),
        }))
    }
}

struct Running {
    join: Join,
    /// Keeps no rows: it knows where the key is.
    left: Side,
    right: Side,
    pairing: Pairing,
}

impl Operator for Running {
    fn apply(&mut self, _step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        if !inputs[1].is_empty() {
            let change = self.right.change(&mut inputs[1], None, &Watermarks::default(), out)?;
            self.right.add(&change)?;
        }
        if !inputs[0].is_empty() {
            let rows = self.left.change(&mut inputs[0], None, &Watermarks::default(), out)?;
            let mut matched = vec![false; rows.delta.rows()];
            let join = &self.join;
            self.pairing.probe(0, &rows, &mut self.right, out, |out, found| {
                found.own.values().iter().for_each(|row| matched[*row as usize] = true);
                out.push(project(&join.output, &join.schema, &found.rows)?);
                Ok(())
            })?;
            if join.kind == JoinKind::Left {
                let padded = shown(Preserved::Padded, 0, &rows.delta, BooleanArray::from(matched), &self.pairing.schema)?;
                if !padded.is_empty() {
                    out.push(project(&join.output, &join.schema, &padded)?);
                }
            }
        }
        self.right.trim();
        Ok(())
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        self.right.state(each);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataflow::harness::{Bag, EpochInput, Trial, Value, add, random_epochs, schema, total};
    use crate::dataflow::ops::join::tests::reference;
    use arrow::datatypes::{DataType, Schema};

    fn trial(kind: JoinKind) -> Trial {
        let left = schema(&[("k", DataType::Int32), ("v", DataType::Int64)]);
        let right = schema(&[("k", DataType::Int32), ("u", DataType::Utf8)]);
        let fields = left.fields().iter().chain(right.fields()).cloned().collect::<Vec<_>>();
        let join = Join::shaped(kind, (left.clone(), right.clone()), (vec![0], vec![0]), false, None, None, None, Arc::new(Schema::new(fields))).unwrap();
        let spec = TemporalJoin::new(join, &mut || TableId(1));
        Trial { spec: Arc::new(spec), inputs: vec![(left, true), (right, false)], forgets: false }
    }

    /// Every epoch's left rows with the right rows that there were at its end.
    fn expected(kind: JoinKind, epochs: &[EpochInput]) -> Bag {
        let mut all = Bag::new();
        for n in 0..epochs.len() {
            let left = total(&epochs[n..=n], 0);
            let matches = |l: &crate::dataflow::harness::Row, r: &crate::dataflow::harness::Row| l[0] == r[0] && l[0] != Value::Null;
            reference(kind, (2, 2), &matches, &left, &total(&epochs[..=n], 1)).into_iter().for_each(|(row, weight)| add(&mut all, row, weight));
        }
        all
    }

    #[test]
    fn a_row_meets_what_is_there_when_it_comes_and_keeps_it() {
        for kind in [JoinKind::Inner, JoinKind::Left] {
            let trial = trial(kind);
            trial.check(&|random| random_epochs(random, &trial.inputs, 5), &|epochs| expected(kind, epochs));
        }
    }

    #[test]
    fn later_changes_change_nothing() {
        let trial = trial(JoinKind::Left);
        let left = |k: i128, v: i128| (vec![Value::Int(k), Value::Int(v)], 1);
        let right = |k: i128, u: &str, weight: i64| (vec![Value::Int(k), Value::Text(u.to_string())], weight);
        let epoch = |l: Vec<(Vec<Value>, i64)>, r: Vec<(Vec<Value>, i64)>| EpochInput { ports: vec![l, r], watermark: i64::MIN };
        let steps = [
            // Both come in one epoch: the row is seen.
            epoch(vec![left(1, 10), left(2, 20)], vec![right(1, "old", 1)]),
            epoch(vec![], vec![right(1, "old", -1), right(1, "new", 1), right(2, "late", 1)]),
            epoch(vec![left(1, 11), left(2, 21)], vec![right(2, "late", -1)]),
        ];
        let row = |k: i128, v: i128, r: Option<&str>| match r {
            Some(u) => vec![Value::Int(k), Value::Int(v), Value::Int(k), Value::Text(u.to_string())],
            None => vec![Value::Int(k), Value::Int(v), Value::Null, Value::Null],
        };
        let bag = |rows: &[Vec<Value>]| rows.iter().map(|r| (r.clone(), 1)).collect::<Bag>();
        let found = trial.outputs(&steps).into_iter().map(|(rows, _)| rows).collect::<Vec<_>>();
        assert_eq!(found, [bag(&[row(1, 10, Some("old")), row(2, 20, None)]), bag(&[]), bag(&[row(1, 11, Some("new")), row(2, 21, None)])]);
    }
}
