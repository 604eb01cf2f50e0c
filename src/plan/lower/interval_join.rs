//! Joins whose condition bounds the time between partners: which side's rows die by which watermark (`plan/bounds.rs` reads the condition).
//!
//! ```text
//!   a.ts + most  >= b.ts    and b.ts carries a watermark    rows of a are dropped by it
//!   b.ts - least >= a.ts    and a.ts carries a watermark    rows of b are dropped by it
//! ```
//! Both inputs must be append-only: a retraction would have to find what is gone.

use super::join::Sides;
use crate::dataflow::ops::join::interval::Expiry;
use crate::plan::bounds::{Bounds, add, bounds};
use crate::plan::time::bound;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;

/// What bounds the rows of each side; `None`: nothing does. `filter` is bound to left columns, then right columns.
pub(super) fn expiry(sides: &Sides, filter: Option<(&Expr, &DFSchema)>, null_equals_null: bool) -> Option<[Option<Expiry>; 2]> {
    if !sides.left.append_only || !sides.right.append_only {
        return None;
    }
    let split = sides.left.schema.fields().len();
    let mut all = filter.map_or_else(Vec::new, |(filter, schema)| bounds(filter, schema, split));
    if !null_equals_null {
        let equal = sides.left_keys.iter().zip(&sides.right_keys).filter(|(l, r)| is_time(&sides.left.schema, **l) && is_time(&sides.right.schema, **r));
        equal.for_each(|(l, r)| add(&mut all, Bounds { left: *l, right: split + r, least: Some(0), most: Some(0) }));
    }
    let of_left = |b: &Bounds| {
        let (column, other) = (b.left, b.right - split);
        Some(Expiry { column, offset: b.most?, other, bound: bound(sides.right.time(other)?) })
    };
    let of_right = |b: &Bounds| {
        let (column, other) = (b.right - split, b.left);
        Some(Expiry { column, offset: b.least?.checked_neg()?, other, bound: bound(sides.left.time(other)?) })
    };
    // A pair of columns that bounds both sides makes the narrowest look-ups.
    let both = all.iter().find_map(|b| Some([Some(of_left(b)?), Some(of_right(b)?)]));
    both.or_else(|| Some([all.iter().find_map(of_left), all.iter().find_map(of_right)])).filter(|sides| sides.iter().any(Option::is_some))
}

fn is_time(schema: &SchemaRef, column: usize) -> bool {
    matches!(schema.field(column).data_type(), DataType::Timestamp(..))
}
