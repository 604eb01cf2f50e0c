//! Frames: which rows around a row its window function looks at.
//!
//! ```text
//!   ROWS      counts rows               2 PRECEDING .. CURRENT ROW       a b [c d E] f
//!   GROUPS    counts groups of peers    1 PRECEDING .. CURRENT ROW       a [b b | C C] d        rows that tie in ORDER BY are peers
//!   RANGE     measures values           INTERVAL '5' PRECEDING ..        rows whose ORDER BY value is at most that far away
//! ```
//!
//! CURRENT ROW takes in all peers in RANGE and GROUPS, and only the row itself in ROWS. Under RANGE a NULL is near to other NULLs only. From row to
//! row both ends of a frame only move forward, which is what [`super::aggregates`] lives on.

use super::axis::{Axis, Towards};
use super::moment::{Moment, Part};
use std::ops::Range;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    Rows,
    Range,
    Groups,
}

/// How far a bound is from the current row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Distance {
    /// Rows or groups.
    Count(u64),
    /// A number at the scale of the ORDER BY column.
    Number(i128),
    Real(f64),
    /// A day has 24 hours.
    Interval {
        months: i32,
        micros: i64,
    },
}

/// One end of a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// The partition's own: its start at a frame's start, its end at the end.
    Unbounded,
    Preceding(Distance),
    CurrentRow,
    Following(Distance),
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Frame {
    pub units: Units,
    pub start: Bound,
    pub end: Bound,
}

/// Which end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Start,
    Stop,
}

impl Frame {
    /// The whole partition.
    pub const ALL: Frame = Frame { units: Units::Rows, start: Bound::Unbounded, end: Bound::Unbounded };

    /// Whether the ORDER BY values themselves are measured.
    pub fn measures(&self) -> bool {
        let is_far = |bound: &Bound| matches!(bound, Bound::Preceding(_) | Bound::Following(_));
        self.units == Units::Range && (is_far(&self.start) || is_far(&self.end))
    }

    /// The frames of the rows that are asked for, as ordinals of `moment`; `values` are on the axis, if the frame measures.
    pub(super) fn of(&self, moment: &Moment, axis: Option<(&Axis, &[Option<i128>])>) -> Vec<Range<usize>> {
        let mut frames = Vec::with_capacity(moment.wanted());
        for part in &moment.parts {
            let measured = axis.map(|(axis, values)| Measured::new(axis, values, part));
            for row in part.wanted.clone() {
                let start = self.end_of(End::Start, moment, part, row, measured.as_ref());
                let stop = self.end_of(End::Stop, moment, part, row, measured.as_ref());
                frames.push(start..stop.max(start));
            }
        }
        frames
    }

    fn end_of(&self, end: End, moment: &Moment, part: &Part, row: usize, measured: Option<&Measured<'_>>) -> usize {
        let bound = if end == End::Start { self.start } else { self.end };
        let steps = match bound {
            Bound::Unbounded => return if end == End::Start { part.rows.start } else { part.rows.end },
            Bound::CurrentRow if self.units == Units::Range => return peers_end(end, moment, row),
            Bound::CurrentRow => 0,
            Bound::Preceding(Distance::Count(n)) => -i64::try_from(n).unwrap_or(i64::MAX),
            Bound::Following(Distance::Count(n)) => i64::try_from(n).unwrap_or(i64::MAX),
            Bound::Preceding(far) => return measured.map_or(row, |m| m.end_of(end, moment, row, far, Towards::Start)),
            Bound::Following(far) => return measured.map_or(row, |m| m.end_of(end, moment, row, far, Towards::End)),
        };
        match self.units {
            Units::Rows => {
                let behind = i64::from(end == End::Stop);
                let at = (row as i64).saturating_add(steps).saturating_add(behind);
                at.clamp(part.rows.start as i64, part.rows.end as i64) as usize
            }
            Units::Range | Units::Groups => moment.group_end(part, row, steps, end == End::Stop),
        }
    }
}

fn peers_end(end: End, moment: &Moment, row: usize) -> usize {
    let peers = moment.peers(row);
    if end == End::Start { peers.start } else { peers.end }
}

/// The values of one partition's rows: NULLs stand at one of its ends, the others rise.
struct Measured<'a> {
    axis: &'a Axis,
    values: &'a [Option<i128>],
    known: Range<usize>,
}

impl<'a> Measured<'a> {
    fn new(axis: &'a Axis, values: &'a [Option<i128>], part: &Part) -> Self {
        let rows = part.rows.clone();
        let start = rows.clone().find(|i| values[*i].is_some()).unwrap_or(rows.end);
        let end = rows.clone().rev().find(|i| values[*i].is_some()).map_or(start, |i| i + 1);
        Measured { axis, values, known: start..end }
    }

    fn end_of(&self, end: End, moment: &Moment, row: usize, far: Distance, towards: Towards) -> usize {
        let Some(value) = self.values[row] else { return peers_end(end, moment, row) };
        let limit = self.axis.moved(value, far, towards);
        let known = &self.values[self.known.clone()];
        let before = match end {
            End::Start => known.partition_point(|v| v.is_some_and(|v| v < limit)),
            End::Stop => known.partition_point(|v| v.is_some_and(|v| v <= limit)),
        };
        self.known.start + before
    }
}
