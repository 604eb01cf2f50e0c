//! A join with the nearest row in time: keys and times as columns of both sides, and what watermarks let it forget.

use super::columns::Columns;
use crate::dataflow::ops::join::asof::{AsofJoin, AsofTables, Expiry};
use crate::error::Result;
use crate::plan::EventTime;
use crate::plan::asof;
use crate::plan::node::{Emit, Planner, Stream, both, nullable};
use crate::plan::time::{bound, is_instant};
use std::sync::Arc;

impl Planner<'_> {
    pub(super) fn asof_join(&mut self, node: &asof::AsofJoin) -> Result<Stream> {
        let [left_plan, right_plan] = node.sides();
        let (left, right) = (self.lower(left_plan)?, self.lower(right_plan)?);
        let (left_width, right_width) = (left.schema.fields().len(), right.schema.fields().len());
        let (mut left, mut right) = (Columns::beside(left, left_plan.schema()), Columns::beside(right, right_plan.schema()));
        let left_keys = node.keys().iter().map(|(l, _)| left.place(l)).collect::<Result<Vec<_>>>()?;
        let right_keys = node.keys().iter().map(|(_, r)| right.place(r)).collect::<Result<Vec<_>>>()?;
        let times = [left.place(&node.times().0)?, right.place(&node.times().1)?];
        let ((left, _), (right, _)) = (left.finish(self)?, right.finish(self)?);
        let (nearest, padded) = (node.nearest(), node.is_padded());
        let wide = left.schema.fields().len();
        let output = (0..left_width).chain((0..right_width).map(|c| wide + c)).collect::<Vec<_>>();
        let expiry = expiry(&left, &right, times);
        let what = format!("AsofJoin {left_keys:?} {right_keys:?} {times:?} {nearest:?} {padded} {expiry:?} {output:?}");
        let schema = nullable(node_fields(node));
        let (inputs, to, forgets) = ([Arc::clone(&left.schema), Arc::clone(&right.schema)], Arc::clone(&schema), expiry.clone());
        let (input, append_only) = self.add(what, &[&left, &right], |allocate| {
            let rows = [allocate(), allocate()];
            let tables = AsofTables { rows, moments: forgets.is_some().then(allocate) };
            let keys = [left_keys, right_keys];
            Ok(Arc::new(AsofJoin { inputs, keys, times, nearest, padded, output, schema: to, expiry: forgets, tables }))
        })?;
        let mut event_time = settled(&left, &right, times, &expiry).filter(|_| !nearest.is_later()).into_iter().collect::<Vec<_>>();
        if self.emit == Emit::OnWindowClose {
            let others = left.event_time.iter().filter(|t| event_time.iter().all(|known| known.column != t.column)).cloned().collect::<Vec<_>>();
            event_time.extend(others);
        }
        event_time.retain(|t| t.column < left_width);
        // A left row meets one right row at most.
        let key = left.key.filter(|key| key.iter().all(|c| *c < left_width));
        Ok(Stream { input, schema, append_only, key, event_time })
    }
}

fn node_fields(node: &asof::AsofJoin) -> impl Iterator<Item = &arrow::datatypes::FieldRef> {
    datafusion::logical_expr::UserDefinedLogicalNodeCore::schema(node).fields().iter()
}

/// By which watermarks rows are forgotten: of inputs that never take a row back, if that of the right side's time is known.
fn expiry(left: &Stream, right: &Stream, times: [usize; 2]) -> Option<Expiry> {
    let of = |side: &Stream, column: usize| side.time(column).filter(|t| is_instant(&t.kind)).map(bound);
    let right_bound = of(right, times[1]).filter(|_| left.append_only && right.append_only)?;
    Some(Expiry { left: of(left, times[0]), right: right_bound })
}

/// The left side's time, if rows behind both watermarks never change.
fn settled(left: &Stream, right: &Stream, times: [usize; 2], expiry: &Option<Expiry>) -> Option<EventTime> {
    expiry.as_ref().filter(|e| e.left.is_some())?;
    let (l, r) = (left.time(times[0])?, right.time(times[1])?);
    Some(EventTime { column: times[0], sources: both(&l.sources, &r.sources), kind: l.kind })
}
