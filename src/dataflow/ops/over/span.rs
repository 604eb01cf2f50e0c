//! Spans: the stretches of partitions that an epoch's changes reach, with every row's weight before and after.

use super::axis::{Axis, Towards};
use super::marks::{Marks, Prefix};
use super::reach::{Amount, Reach, Walk};
use crate::dataflow::ops::ordered::RowCodec;
use crate::error::{Error, Result};
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;
use crate::types::key::Rows;
use std::ops::Range;
use std::sync::Arc;

/// Rows of all spans, one span behind the other, each in the order of its partition. A row that two spans look at is there twice.
#[derive(Default)]
pub(super) struct Spans {
    pub rows: Rows,
    pub old: Vec<i64>,
    pub new: Vec<i64>,
    pub spans: Vec<Span>,
}

/// Ordinals of [`Spans::rows`]: what is looked at, and of these what is computed anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub rows: Range<usize>,
    pub wanted: Range<usize>,
    /// What the partition's rows before these came to, where marks are kept; elsewhere they are all here that matter.
    pub prefix: Arc<Prefix>,
    /// Of the partition's marks, if there are any.
    pub marks: Slot,
}

/// A row's net change in one epoch.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub row: &'a [u8],
    pub weight: i64,
}

/// Finds the spans of one partition after its changes (distinct rows in order) were made.
pub(super) struct Collector<'a> {
    pub reach: Reach,
    pub codec: &'a RowCodec,
    pub axis: Option<&'a Axis>,
    pub found: &'a mut Spans,
    /// With how far is looked back before the nearest is looked for.
    pub marks: Option<(Marks<'a>, Amount)>,
}

impl Collector<'_> {
    pub fn collect(&mut self, table: &mut Multiset, slot: Slot, changes: &[Change<'_>]) -> Result<()> {
        let mut rest = changes;
        while let Some(first) = rest.first() {
            let start = self.found.rows.len();
            let (wanted, prefix) = self.before(table, slot, first.row)?;
            let walk = Walk::new(self.reach.back, Towards::End, self.codec, self.axis, first.row)?;
            let mut onward = Onward { walk, reach: self.reach, found: &mut *self.found, rest, wanted, near: true, stopped: false, failed: None };
            table.forward(slot, first.row, &mut |row, weight| onward.visit(row, weight))?;
            if !onward.stopped {
                onward.gone(None);
            }
            if let Some(error) = onward.failed {
                return Err(error);
            }
            let wanted = wanted..onward.wanted;
            rest = onward.rest;
            let marks = self.marks.as_ref().map_or(0, |(marks, _)| marks.slot);
            self.found.spans.push(Span { rows: start..self.found.rows.len(), wanted, prefix, marks });
        }
        Ok(())
    }

    /// Appends the rows before `first`, and tells from where on they are computed anew (those that look ahead to it), and what those before all of them came to.
    fn before(&mut self, table: &mut Multiset, slot: Slot, first: &[u8]) -> Result<(usize, Arc<Prefix>)> {
        let back = self.marks.as_ref().map_or(self.reach.back, |(_, look)| *look);
        let (mut rows, mut weights) = (Rows::default(), Vec::new());
        let mut walk = Walk::new(self.reach.ahead, Towards::Start, self.codec, self.axis, first)?;
        let (mut wanted, mut near, mut result) = (0, true, Ok(()));
        table.backward(slot, first, &mut |row, weight| {
            if weight <= 0 {
                return true;
            }
            if near && !walk.takes(row, weight) {
                near = false;
                let from = rows.len().checked_sub(1).map_or(first, |last| rows.row(last));
                result = walk.restart(back, from);
                if result.is_err() || !walk.takes(row, weight) {
                    return false;
                }
            } else if !near && !walk.takes(row, weight) {
                return false;
            }
            rows.push(row);
            weights.push(weight);
            wanted += usize::from(near);
            true
        })?;
        result?;
        let mut prefix = Arc::default();
        if let Some((marks, _)) = &mut self.marks {
            let from = rows.len().checked_sub(1).map_or(first, |last| rows.row(last)).to_vec();
            let mark = marks.cut(&from)?;
            let mark = mark.map(|(row, came_to)| {
                prefix = Arc::new(came_to);
                row
            });
            table.backward(slot, &from, &mut |row, weight| {
                let behind = mark.as_deref().is_none_or(|mark| mark < row);
                if behind && weight > 0 {
                    rows.push(row);
                    weights.push(weight);
                }
                behind
            })?;
        }
        for i in (0..rows.len()).rev() {
            self.found.push(rows.row(i), weights[i], weights[i]);
        }
        Ok((self.found.rows.len() - wanted, prefix))
    }
}

impl Spans {
    fn push(&mut self, row: &[u8], old: i64, new: i64) {
        self.rows.push(row);
        self.old.push(old.max(0));
        self.new.push(new.max(0));
    }
}

/// The walk from the first change on: rows and further changes, until neither is near.
struct Onward<'a, 'c> {
    walk: Walk<'a>,
    reach: Reach,
    found: &'a mut Spans,
    rest: &'c [Change<'c>],
    /// Where the rows that are computed anew end, so far.
    wanted: usize,
    /// Whether the next row may be one of them; else it is only looked at.
    near: bool,
    stopped: bool,
    failed: Option<Error>,
}

impl Onward<'_, '_> {
    fn visit(&mut self, row: &[u8], weight: i64) -> bool {
        self.gone(Some(row));
        match self.rest.split_first() {
            Some((change, rest)) if change.row == row => {
                self.rest = rest;
                self.changed(row, weight - change.weight, weight);
            }
            _ if weight <= 0 => {}
            _ => self.stopped = !self.unchanged(row, weight),
        }
        self.stopped |= self.failed.is_some();
        !self.stopped
    }

    /// Takes the changes before `row` (all, if there is none): rows that are not there any more.
    fn gone(&mut self, row: Option<&[u8]>) {
        while let Some((change, rest)) = self.rest.split_first()
            && row.is_none_or(|row| change.row < row)
        {
            self.rest = rest;
            self.changed(change.row, -change.weight, 0);
        }
    }

    fn changed(&mut self, row: &[u8], old: i64, new: i64) {
        self.found.push(row, old, new);
        self.wanted = self.found.rows.len();
        self.near = true;
        self.restart(self.reach.back, row);
    }

    /// Whether the row is within reach.
    fn unchanged(&mut self, row: &[u8], weight: i64) -> bool {
        let mut takes = self.walk.takes(row, weight);
        if self.near && !takes {
            self.near = false;
            let from = self.found.rows.row(self.found.rows.len() - 1).to_vec();
            self.restart(self.reach.ahead, &from);
            takes = self.walk.takes(row, weight);
        }
        if takes {
            self.found.push(row, weight, weight);
            self.wanted = if self.near { self.found.rows.len() } else { self.wanted };
        }
        takes
    }

    fn restart(&mut self, amount: Amount, from: &[u8]) {
        if let Err(error) = self.walk.restart(amount, from) {
            self.failed = Some(error);
        }
    }
}
