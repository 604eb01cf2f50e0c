//! Interval join: a join whose condition bounds the time between partners, so that rows are forgotten with the watermark.
//!
//! ```text
//!   b.ts BETWEEN a.ts AND a.ts + 10 min          says        a.ts + 10 min >= b.ts        and        b.ts - 0 >= a.ts
//!
//!   a row of a is dead   once  a.ts + 10 min <= watermark of b.ts      no row of b that is still to come can be its partner
//!   a row of b is dead   once  b.ts - 0      <= watermark of a.ts
//! ```
//!
//! Each inequality is the [`Expiry`] of one side; the two may speak of different columns (`b.ts BETWEEN a.ts AND a.until`), and one alone bounds one side. The inequalities only bound
//! state: the condition itself is the residual, evaluated on every pair.
//!
//! *Late*: a row whose time is at or behind its side's watermark before the epoch, if that watermark drops rows of the other side: partners may be gone. It is listed, and not joined. A
//! row that is dead on arrival and not late meets the partners that came before it, and is not kept. A NULL time matches nothing and is never late.
//!
//! *Outer joins, semi, anti and mark*: what comes out of a row that has no partner yet comes at once and is corrected when the first partner comes; it stays when the row is dropped.
//! *Retraction*: of inner joins only, and from a side that drops the other's rows only as long as its watermark is before the row's time (windows that are open), so that all its
//! partners are still there. One of a row that is dead on arrival finds them too; the row itself stays in its bucket until that is dropped, and meets nobody.
//!
//! *State*: rows by (bucket of time, key), and the unmatched among them where the kind asks for it. A bucket is half as long as the interval, so that a row's partners lie in three of them; a
//! whole bucket is dropped by one range deletion when all rows in it are dead. A side without expiry is kept by key, for ever.

mod arrival;
#[cfg(test)]
mod tests;

use super::pairs::Pairing;
use super::side::Side;
use super::{Join, JoinTables};
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::dataflow::ops::windowed::WindowBound;
use crate::error::Result;
use crate::state::kept::Kept;
use crate::state::keyed::Layout;
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, TableId};
use crate::types::time::{Step, WATERMARK_END, Watermarks};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// The least length of a bucket, µs: shorter intervals share buckets.
const LEAST_BUCKET: i64 = 1_000_000;
/// The length of a bucket where the interval is open on one side, µs.
const OPEN_BUCKET: i64 = 600_000_000;

/// What bounds one side's rows: its partners have `other <= column + offset`, and rows of the other side come behind a watermark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// A timestamp of this side.
    pub column: usize,
    /// µs.
    pub offset: i64,
    /// A timestamp of the other side, which carries event time.
    pub other: usize,
    /// Of `other`.
    pub bound: WindowBound,
}

impl Expiry {
    /// Whether no partner of a row with this time can come any more.
    fn is_dead(&self, value: i64, watermarks: &Watermarks) -> bool {
        self.bound.closed_upto(watermarks).is_some_and(|closed| value.saturating_add(self.offset) <= closed)
    }

    /// Buckets that end here or before hold dead rows only.
    fn closed_upto(&self, watermarks: &Watermarks) -> Option<i64> {
        self.bound.closed_upto(watermarks).map(|closed| match closed {
            WATERMARK_END => WATERMARK_END,
            closed => closed.saturating_sub(self.offset).saturating_add(1),
        })
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct IntervalJoin {
    /// What is joined; inputs retract as the module says. Its tables hold the rows.
    pub join: Join,
    /// Left, right; at least one is there.
    pub expiry: [Option<Expiry>; 2],
    /// Unmatched rows, of sides of which something comes out for themselves.
    pub unmatched: [Option<TableId>; 2],
}

impl IntervalJoin {
    /// `join` comes without tables ([`Join::shaped`]).
    pub fn new(join: Join, expiry: [Option<Expiry>; 2], allocate: &mut dyn FnMut() -> TableId) -> IntervalJoin {
        let kind = join.kind;
        let rows = [0, 1].map(|side| (kind.pairs() || kind.preserves(1 - side).is_some()).then(&mut *allocate));
        let unmatched = [0, 1].map(|side| kind.preserves(side).is_some().then(&mut *allocate));
        IntervalJoin { join: Join { tables: JoinTables { rows, counts: [None, None] }, ..join }, expiry, unmatched }
    }

    /// The length of this side's buckets: two times both offsets bound the interval if they speak of the same columns.
    fn bucket(&self, side: usize) -> i64 {
        let (Some(own), other) = (&self.expiry[side], &self.expiry[1 - side]) else { return OPEN_BUCKET };
        match other {
            Some(other) if other.other == own.column && other.column == own.other => (own.offset.saturating_add(other.offset) / 2).max(LEAST_BUCKET),
            _ => OPEN_BUCKET,
        }
    }

    fn bounded_by(&self, side: usize) -> Bound {
        if self.expiry[side].is_some() { Bound::Watermark } else { Bound::Nothing }
    }
}

impl Spec for IntervalJoin {
    fn name(&self) -> &'static str {
        "IntervalJoin"
    }

    fn details(&self) -> String {
        let schemas = [&self.join.left, &self.join.right];
        let leaves = |side: usize| {
            let expiry = self.expiry[side].as_ref()?;
            let (name, other) = (schemas[side].field(expiry.column).name(), schemas[1 - side].field(expiry.other).name());
            let seconds = expiry.offset as f64 / 1e6;
            Some(format!("; {} rows until {name} + {seconds} s <= watermark of {other}", ["left", "right"][side]))
        };
        format!("{}{}", self.join.details(), [0, 1].into_iter().filter_map(leaves).collect::<String>())
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.join.schema)
    }

    fn distribution(&self) -> Vec<Distribution> {
        self.join.distribution()
    }

    fn append_only(&self, inputs: &[bool]) -> bool {
        self.join.append_only(inputs)
    }

    fn state_tables(&self) -> Vec<StateTable> {
        let schemas = [&self.join.left, &self.join.right];
        let keys = [&self.join.left_keys, &self.join.right_keys];
        let mut tables = Vec::new();
        for side in 0..2 {
            let time = self.expiry[side].iter().map(|e| e.column);
            let columns = time.chain(keys[side].iter().copied()).map(|k| schemas[side].field(k).name().as_str()).collect::<Vec<_>>().join(", ");
            let name = ["left", "right"][side];
            let table = |id, what| StateTable { id, what, bounded_by: self.bounded_by(side) };
            tables.extend(self.join.tables.rows[side].map(|id| table(id, format!("{name} rows by ({columns})"))));
            tables.extend(self.unmatched[side].map(|id| table(id, format!("unmatched {name} rows by ({columns})"))));
        }
        tables
    }

    fn watermarks(&self) -> Vec<ObjectId> {
        let mut sources = self.expiry.iter().flatten().flat_map(|e| e.bound.sources.iter().copied()).collect::<Vec<_>>();
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        let join = &self.join;
        let side = |side: usize, table: Option<TableId>| {
            let schema = [&join.left, &join.right][side];
            let layout = if self.expiry[side].is_some() { Layout::Windowed } else { Layout::Hash };
            Side::new(schema, join.keys(side), join.null_equals_null, layout, (table, None), context)
        };
        let (rows, unmatched) = (join.tables.rows, self.unmatched);
        Ok(Box::new(Running {
            rows: [side(0, rows[0])?, side(1, rows[1])?],
            unmatched: [side(0, unmatched[0])?, side(1, unmatched[1])?],
            pairing: Pairing { schema: join.pair_schema(), residual: join.residual.clone() },
            buckets: [self.bucket(0), self.bucket(1)],
            closed: [None, None],
            spec: self.clone(),
        }))
    }
}

struct Running {
    spec: IntervalJoin,
    rows: [Side; 2],
    unmatched: [Side; 2],
    pairing: Pairing,
    /// Lengths of both sides' buckets, µs.
    buckets: [i64; 2],
    /// Buckets up to these ends are closed.
    closed: [Option<i64>; 2],
}

impl Running {
    fn close(&mut self, step: &Step) -> Result<()> {
        for side in 0..2 {
            let Some(upto) = self.spec.expiry[side].as_ref().and_then(|e| e.closed_upto(&step.after)) else { continue };
            if self.closed[side].is_none_or(|closed| closed < upto) {
                self.closed[side] = Some(upto);
                self.rows[side].close(upto)?;
                self.unmatched[side].close(upto)?;
            }
        }
        Ok(())
    }

    fn sides(&mut self) -> impl Iterator<Item = &mut Side> {
        self.rows.iter_mut().chain(&mut self.unmatched)
    }
}

impl Operator for Running {
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        // The right side's rows meet the left ones that were there, then the left side's rows meet all right ones: each pair once.
        for side in [1, 0] {
            let deltas = std::mem::take(&mut inputs[side]);
            if let Some(delta) = self.in_time(side, deltas, step, out)? {
                self.arrive(side, delta, step, out)?;
            }
        }
        self.close(step)?;
        self.sides().for_each(Side::trim);
        Ok(())
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        self.sides().for_each(|side| side.state(each));
    }
}
