//! Joins whose condition bounds the time between partners: which side's rows die by which watermark (`plan/bounds.rs` reads the condition).
//!
//! ```text
//!   a.ts + most  >= b.ts    and b.ts carries a watermark    rows of a are dropped by it
//!   b.ts - least >= a.ts    and a.ts carries a watermark    rows of b are dropped by it
//! ```
//! A side that drops rows of the other must not change behind its watermark: a retraction there would have to find partners that are gone. Rows that only come are late then; and
//! aggregates by windows change no more once their windows have closed (Nexmark q7 joins bids with the highest price of their window). Changing sides take inner joins only.

use super::join::Sides;
use crate::dataflow::ops::join::JoinKind;
use crate::dataflow::ops::join::interval::Expiry;
use crate::plan::bounds::{Bounds, add, bounds};
use crate::plan::node::Stream;
use crate::plan::time::bound;
use crate::plan::{EventTime, TimeKind};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;

/// What bounds the rows of each side; `None`: nothing does. `filter` is bound to left columns, then right columns.
pub(super) fn expiry(kind: JoinKind, sides: &Sides, filter: Option<(&Expr, &DFSchema)>, null_equals_null: bool) -> Option<[Option<Expiry>; 2]> {
    let only_come = sides.left.append_only && sides.right.append_only;
    if kind != JoinKind::Inner && !only_come {
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
        Some(Expiry { column, offset: b.most?, other, bound: bound(settled(&sides.right, other)?) })
    };
    let of_right = |b: &Bounds| {
        let (column, other) = (b.right - split, b.left);
        Some(Expiry { column, offset: b.least?.checked_neg()?, other, bound: bound(settled(&sides.left, other)?) })
    };
    // A pair of columns that bounds both sides makes the narrowest look-ups.
    let both = all.iter().find_map(|b| Some([Some(of_left(b)?), Some(of_right(b)?)]));
    if both.is_some() || !only_come {
        // Beside a side that changes without an end, rows are not called late for the sake of half of the state.
        return both;
    }
    Some([all.iter().find_map(of_left), all.iter().find_map(of_right)]).filter(|sides| sides.iter().any(Option::is_some))
}

/// The column's event time, if no row changes any more once the watermark has passed its value there.
fn settled(side: &Stream, column: usize) -> Option<&EventTime> {
    let ends = side.event_time.iter().filter(|t| t.kind == TimeKind::WindowEnd).count();
    let starts = side.event_time.iter().filter(|t| matches!(t.kind, TimeKind::WindowStart { .. })).count();
    // Of several windows one closes the rows, and it is not told here which.
    let is_of_one_window = ends <= 1 && starts <= 1;
    side.time(column).filter(|t| side.append_only || (is_of_one_window && t.kind != TimeKind::Event))
}

fn is_time(schema: &SchemaRef, column: usize) -> bool {
    matches!(schema.field(column).data_type(), DataType::Timestamp(..))
}
