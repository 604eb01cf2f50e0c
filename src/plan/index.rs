//! The plan of an index: a copy of a relation's rows under another key, kept like a view of it.
//!
//! ```text
//!   CREATE INDEX ON t (b DESC)      t (a PRIMARY KEY, b, c)      Materialize key (b DESC, a)          b, a, c
//!                                   t (a, b, c) without a key    Materialize key: the whole row       b, a, c
//! ```
//!
//! With a unique key, the index columns and that key are the index's key, so that a change of a row overwrites. Without one the whole row is, with a weight,
//! the index columns first. There their encoding keeps what Postgres calls equal together and forgets the rest (-0.0, `1 mon`): such a column is stored
//! once more behind them, bit by bit.

use super::node::{Emit, Planner, Stream, nullable};
use super::{Relation, ViewKey, ViewPlan, expr};
use crate::dataflow::ops::materialize::{Materialize, RowKey};
use crate::error::Result;
use crate::types::ids::TableId;
use crate::types::key::{Order, is_exact};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// How the rows of an index are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexKey {
    /// By stored column: the column of the relation.
    pub columns: Vec<usize>,
    /// Of the leading ones, which make the order.
    pub orders: Vec<Order>,
    /// Whether these are unique; else the whole row is the key.
    pub unique: bool,
}

impl IndexKey {
    /// `key`: the index columns. `include`: those that are kept beside them; `None`: all.
    fn new(relation: &Relation, key: &[(usize, Order)], include: Option<&[usize]>) -> IndexKey {
        let unique = !relation.append_only && !relation.key.is_empty();
        let (mut columns, mut orders): (Vec<usize>, Vec<Order>) = key.iter().copied().unzip();
        for column in relation.key.iter().filter(|_| unique) {
            if !columns.contains(column) {
                columns.push(*column);
                orders.push(Order::default());
            }
        }
        let wanted: Vec<usize> = match include {
            Some(include) => key.iter().map(|(c, _)| *c).chain(include.iter().copied()).collect(),
            None => (0..relation.schema.fields().len()).collect(),
        };
        let leading = columns.len();
        for column in wanted {
            let is_there = |(at, c): (usize, &usize)| *c == column && (unique || at >= leading || is_exact(relation.schema.field(column).data_type()));
            if !columns.iter().enumerate().any(is_there) {
                columns.push(column);
            }
        }
        IndexKey { columns, orders, unique }
    }
}

/// See the module.
pub fn index(relation: &Relation, key: &[(usize, Order)], include: Option<&[usize]>, allocate: &mut dyn FnMut() -> TableId) -> Result<ViewPlan> {
    let stored = IndexKey::new(relation, key, include);
    let mut planner = Planner::new(Emit::Changes, allocate);
    let input = planner.relation(relation.id);
    let rows = Stream { input, schema: Arc::clone(&relation.schema), append_only: relation.append_only, key: None, event_time: Vec::new() };
    let fields = relation.schema.fields();
    let exprs = stored.columns.iter().map(|c| expr::column(*c, fields[*c].name(), fields[*c].data_type())).collect();
    let schema: SchemaRef = nullable(stored.columns.iter().map(|c| &fields[*c]));
    let (input, append_only) = planner.project(&rows, exprs, &schema)?;
    let projected = Stream { input, schema: Arc::clone(&schema), append_only, ..rows };
    let rows = planner.table();
    let row_key = if stored.unique { RowKey::Unique((0..stored.orders.len()).collect()) } else { RowKey::Row };
    let spec = Materialize { rows, key: row_key, leading: stored.orders.clone(), schema: Arc::clone(&schema) };
    planner.add("Materialize".to_string(), &[&projected], |_| Ok(Arc::new(spec)))?;
    let (fragment, inputs) = planner.finish();
    Ok(ViewPlan { fragment, schema, key: ViewKey::Index(stored), append_only, event_time: Vec::new(), inputs, rows: Some(rows) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::ids::ObjectId;
    use arrow::datatypes::{DataType, Field, Schema};

    fn stored(unique: bool, key: &[usize], include: Option<&[usize]>) -> (Vec<usize>, usize) {
        let fields = [("a", DataType::Int32), ("b", DataType::Utf8), ("c", DataType::Float64)];
        let schema = Schema::new(fields.map(|(name, t)| Field::new(name, t, true)).to_vec());
        let key_of_relation = if unique { vec![0] } else { Vec::new() };
        let relation = Relation {
            id: ObjectId(1),
            name: "t".into(),
            schema: schema.into(),
            append_only: false,
            key: key_of_relation,
            event_time: Vec::new(),
            processing_time: Vec::new(),
        };
        let key: Vec<(usize, Order)> = key.iter().map(|c| (*c, Order { descending: true, nulls_first: true })).collect();
        let found = IndexKey::new(&relation, &key, include);
        (found.columns, found.orders.len())
    }

    #[test]
    fn an_index_holds_its_columns_the_unique_key_and_what_is_wanted() {
        assert_eq!(stored(true, &[1], None), (vec![1, 0, 2], 2));
        assert_eq!(stored(true, &[2, 0], Some(&[])), (vec![2, 0], 2));
        assert_eq!(stored(true, &[1], Some(&[2])), (vec![1, 0, 2], 2));
        assert_eq!(stored(false, &[1], Some(&[1])), (vec![1], 1));
        // A double in a whole row that is a key comes once in its order and once as it is.
        assert_eq!(stored(false, &[2, 1], None), (vec![2, 1, 0, 2], 2));
        assert_eq!(stored(false, &[2], Some(&[1])), (vec![2, 2, 1], 1));
    }
}
