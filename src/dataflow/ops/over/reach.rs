//! How far a change reaches, and how far a row looks.
//!
//! A row at place q with the frame `a PRECEDING .. b FOLLOWING` looks at q-a .. q+b. So a change at place p reaches the rows p-b .. p+a, and to compute
//! those anew takes the rows p-b-a .. p+a+b:
//!
//! ```text
//!       read        computed anew, old and new        read
//!   |----- a -----|------ b ----- p ------ a ------|----- b -----|
//! ```
//!
//! | | looks back | looks ahead |
//! | --- | --- | --- |
//! | `lag(x, k)`, `lead(x, k)` | k rows, 0 | 0, k rows |
//! | `row_number`, `rank`, `dense_rank` | all | 0 |
//! | `percent_rank`, `cume_dist`, `ntile` | all | all |
//! | a frame of ROWS, GROUPS, RANGE | rows, groups, a distance of values; all where UNBOUNDED | likewise |
//! | IGNORE NULLS of lag or lead | all, 0 | 0, all |
//!
//! Of several functions in one operator the furthest counts. "All" back means: from the partition's start to be read, from the change on to be
//! computed. Distances of doubles are not bounded (rounding has no inverse), and count as all.

use super::axis::{Axis, Towards};
use crate::dataflow::ops::ordered::{RowCodec, order_part};
use crate::error::Result;

/// How far, in one direction. Rows, groups or a distance: whichever is further.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub all: bool,
    pub rows: u64,
    /// 0: the row's own peers.
    pub groups: Option<u64>,
    pub range: Option<i128>,
}

impl Amount {
    pub const ALL: Amount = Amount { all: true, rows: 0, groups: None, range: None };

    pub fn rows(rows: u64) -> Amount {
        Amount { rows, ..Amount::default() }
    }

    pub fn groups(groups: u64) -> Amount {
        Amount { groups: Some(groups), ..Amount::default() }
    }

    /// Peers count as near whatever their distance: NULLs have none.
    pub fn range(range: Option<i128>) -> Amount {
        match range {
            Some(range) => Amount { groups: Some(0), range: Some(range), ..Amount::default() },
            None => Amount::ALL,
        }
    }

    pub fn or(self, other: Amount) -> Amount {
        Amount { all: self.all || other.all, rows: self.rows.max(other.rows), groups: self.groups.max(other.groups), range: self.range.max(other.range) }
    }
}

/// What one row looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Reach {
    pub back: Amount,
    pub ahead: Amount,
}

impl Reach {
    pub fn or(self, other: Reach) -> Reach {
        Reach { back: self.back.or(other.back), ahead: self.ahead.or(other.ahead) }
    }
}

/// A walk away from a row, as long as rows are within an amount of it.
pub(super) struct Walk<'a> {
    amount: Amount,
    towards: Towards,
    codec: &'a RowCodec,
    axis: Option<&'a Axis>,
    rows: u64,
    groups: u64,
    /// The ORDER BY part of the row before.
    last: Vec<u8>,
    /// Of the furthest value that is within the distance.
    limit: Option<Vec<u8>>,
}

impl<'a> Walk<'a> {
    pub fn new(amount: Amount, towards: Towards, codec: &'a RowCodec, axis: Option<&'a Axis>, from: &[u8]) -> Result<Walk<'a>> {
        let mut walk = Walk { amount, towards, codec, axis, rows: 0, groups: 0, last: Vec::new(), limit: None };
        walk.restart(amount, from)?;
        Ok(walk)
    }

    /// Begins anew at this row.
    pub fn restart(&mut self, amount: Amount, from: &[u8]) -> Result<()> {
        (self.amount, self.rows, self.groups) = (amount, 0, 0);
        self.last.clear();
        self.last.extend_from_slice(order_part(from));
        self.limit = match (self.axis, amount.range) {
            (Some(axis), Some(range)) if !amount.all => self.limit_of(axis, range)?,
            _ => None,
        };
        Ok(())
    }

    fn limit_of(&self, axis: &Axis, range: i128) -> Result<Option<Vec<u8>>> {
        let column = self.codec.decode_order(&mut std::iter::once(&self.last[..]))?.swap_remove(0);
        let Some(value) = axis.values(&column)?[0] else { return Ok(None) };
        let limit = match self.towards {
            Towards::Start => value.saturating_sub(range),
            Towards::End => value.saturating_add(range),
        };
        Ok(Some(self.codec.encode_order(&[axis.column(limit, self.towards)?])?.row(0).to_vec()))
    }

    /// Whether the next row is within the amount; the walk goes on behind it.
    pub fn takes(&mut self, row: &[u8], weight: i64) -> bool {
        if self.amount.all {
            return true;
        }
        let order = order_part(row);
        if order != self.last {
            self.groups += 1;
            self.last.clear();
            self.last.extend_from_slice(order);
        }
        let by_rows = self.rows < self.amount.rows;
        self.rows = self.rows.saturating_add(weight.unsigned_abs());
        let by_groups = self.amount.groups.is_some_and(|groups| self.groups <= groups);
        let by_range = self.limit.as_deref().is_some_and(|limit| if self.towards == Towards::Start { order >= limit } else { order <= limit });
        by_rows || by_groups || by_range
    }
}
