//! Ranks: a walk over a partition's rows in order gives those within the limit; the difference of two walks is what changed.

use super::Ranking;
use crate::types::key::Rows;
use std::cmp::Ordering;

/// Rows in order with their ranks (0 where ranks do not matter) and weights.
#[derive(Default)]
pub(super) struct Ranked {
    pub rows: Rows,
    pub ranks: Vec<i64>,
    pub weights: Vec<i64>,
    /// The limit was reached: rows behind the last one are out.
    pub full: bool,
}

/// Which ranks are asked for.
#[derive(Clone, Copy)]
pub(super) struct Window {
    first: i64,
    last: i64,
    ranking: Ranking,
    rank_column: bool,
}

/// A walk under way.
pub(super) struct Walk {
    window: Window,
    found: Ranked,
    /// Rows passed so far, the rank of the last one, and its ORDER BY part.
    passed: i64,
    rank: i64,
    tie: Vec<u8>,
}

impl Ranked {
    fn push(&mut self, row: &[u8], rank: i64, weight: i64) {
        self.rows.push(row);
        self.ranks.push(rank);
        self.weights.push(weight);
    }

    pub fn last_row(&self) -> Option<&[u8]> {
        self.rows.len().checked_sub(1).map(|i| self.rows.row(i))
    }
}

impl Window {
    pub fn new(limit: Option<u64>, offset: u64, ranking: Ranking, rank_column: bool) -> Window {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let limit = limit.map_or(i64::MAX, |l| i64::try_from(l).unwrap_or(i64::MAX));
        Window { first: offset.saturating_add(1), last: offset.saturating_add(limit), ranking, rank_column }
    }

    pub fn walk(self) -> Walk {
        Walk { window: self, found: Ranked::default(), passed: 0, rank: 0, tie: Vec::new() }
    }
}

impl Walk {
    /// Takes the next row; false: no later row is within the limit.
    pub fn visit(&mut self, row: &[u8], weight: i64) -> bool {
        if weight <= 0 {
            return true;
        }
        match self.window.ranking {
            Ranking::RowNumber => self.number(row, weight),
            Ranking::Rank | Ranking::DenseRank => self.rank(row, weight),
        }
    }

    pub fn finish(self) -> Ranked {
        self.found
    }

    fn number(&mut self, row: &[u8], weight: i64) -> bool {
        let from = (self.passed + 1).max(self.window.first);
        self.passed = self.passed.saturating_add(weight);
        let to = self.passed.min(self.window.last);
        if self.window.rank_column {
            (from..=to).for_each(|rank| self.found.push(row, rank, 1));
        } else if from <= to {
            self.found.push(row, 0, to - from + 1);
        }
        self.found.full = self.passed >= self.window.last;
        !self.found.full
    }

    fn rank(&mut self, row: &[u8], weight: i64) -> bool {
        let order = order_part(row);
        if self.rank == 0 || order != self.tie {
            self.rank = if self.window.ranking == Ranking::Rank { self.passed + 1 } else { self.rank + 1 };
            self.tie.clear();
            self.tie.extend_from_slice(order);
        }
        self.passed = self.passed.saturating_add(weight);
        if self.rank > self.window.last {
            self.found.full = true;
            return false;
        }
        if self.rank >= self.window.first {
            self.found.push(row, if self.window.rank_column { self.rank } else { 0 }, weight);
        }
        true
    }
}

/// The ORDER BY columns of a stored row: its last 4 bytes are their length.
fn order_part(row: &[u8]) -> &[u8] {
    let length = row.last_chunk().map_or(0, |bytes: &[u8; 4]| u32::from_be_bytes(*bytes) as usize);
    &row[..length.min(row.len())]
}

/// Appends to `changes` what leads from `before` to `after`: a merge of two lists in order of (row, rank).
pub(super) fn difference(before: &Ranked, after: &Ranked, changes: &mut Ranked) {
    let (mut a, mut b) = (0, 0);
    while a < before.ranks.len() || b < after.ranks.len() {
        let order = match (a < before.ranks.len(), b < after.ranks.len()) {
            (true, true) => before.rows.row(a).cmp(after.rows.row(b)).then(before.ranks[a].cmp(&after.ranks[b])),
            (true, false) => Ordering::Less,
            _ => Ordering::Greater,
        };
        match order {
            Ordering::Less => changes.push(before.rows.row(a), before.ranks[a], -before.weights[a]),
            Ordering::Greater => changes.push(after.rows.row(b), after.ranks[b], after.weights[b]),
            Ordering::Equal if before.weights[a] != after.weights[b] => {
                changes.push(after.rows.row(b), after.ranks[b], after.weights[b] - before.weights[a]);
            }
            Ordering::Equal => {}
        }
        a += usize::from(order != Ordering::Greater);
        b += usize::from(order != Ordering::Less);
    }
}
