//! Ranks: a walk over a partition's rows in order gives those within the limit; the difference of two walks is what changed.

use super::Ranking;
use crate::types::key::Rows;
use std::cmp::Ordering;
use std::ops::Range;

/// Rows in order with their ranks (0 where ranks do not matter) and weights: of several partitions, one behind the other.
#[derive(Default)]
pub(super) struct Ranked {
    pub rows: Rows,
    pub ranks: Vec<i64>,
    pub weights: Vec<i64>,
    /// Where each partition ends, and whether it reached the limit: then rows behind its last one are out.
    partitions: Vec<(usize, bool)>,
}

/// Which ranks are asked for.
#[derive(Clone, Copy)]
pub(super) struct Window {
    first: i64,
    last: i64,
    ranking: Ranking,
    rank_column: bool,
}

/// A walk over one partition.
pub(super) struct Walk<'a> {
    window: Window,
    found: &'a mut Ranked,
    full: bool,
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

    pub fn clear(&mut self) {
        self.rows.clear();
        self.ranks.clear();
        self.weights.clear();
        self.partitions.clear();
    }

    fn range(&self, partition: usize) -> Range<usize> {
        let start = partition.checked_sub(1).map_or(0, |before| self.partitions[before].0);
        start..self.partitions[partition].0
    }

    /// The last row of a partition that reached the limit.
    pub fn boundary(&self, partition: usize) -> Option<&[u8]> {
        let range = self.range(partition);
        (self.partitions[partition].1 && !range.is_empty()).then(|| self.rows.row(range.end - 1))
    }
}

impl Window {
    pub fn new(limit: Option<u64>, offset: u64, ranking: Ranking, rank_column: bool) -> Window {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let limit = limit.map_or(i64::MAX, |l| i64::try_from(l).unwrap_or(i64::MAX));
        Window { first: offset.saturating_add(1), last: offset.saturating_add(limit), ranking, rank_column }
    }

    /// Appends the rows of one more partition to `found`.
    pub fn walk(self, found: &mut Ranked) -> Walk<'_> {
        Walk { window: self, found, full: false, passed: 0, rank: 0, tie: Vec::new() }
    }

    /// How many of these ORDER BY parts, the first of a partition in order with the rows' weights, may belong to rows within the limit: ties count as one.
    pub fn within<'r>(self, orders: impl Iterator<Item = (&'r [u8], i64)>) -> usize {
        let (mut count, mut passed, mut rank) = (0, 0i64, 0i64);
        let mut tie: Option<&[u8]> = None;
        for (order, weight) in orders {
            if tie != Some(order) {
                rank = if self.ranking == Ranking::DenseRank { rank + 1 } else { passed.saturating_add(1) };
                tie = Some(order);
            }
            if rank > self.last {
                break;
            }
            passed = passed.saturating_add(weight);
            count += 1;
        }
        count
    }

    /// Whether `row` cannot come out, nor move what comes out, of a partition with this boundary.
    pub fn is_beyond(self, row: &[u8], boundary: &[u8]) -> bool {
        match self.ranking {
            Ranking::RowNumber => row > boundary,
            Ranking::Rank | Ranking::DenseRank => order_part(row) > order_part(boundary),
        }
    }
}

impl Walk<'_> {
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

    pub fn finish(self) {
        self.found.partitions.push((self.found.ranks.len(), self.full));
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
        self.full = self.passed >= self.window.last;
        !self.full
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
            self.full = true;
            return false;
        }
        if self.rank >= self.window.first {
            self.found.push(row, if self.window.rank_column { self.rank } else { 0 }, weight);
        }
        true
    }
}

/// The ORDER BY columns of a stored row: its last 4 bytes are their length.
pub(super) fn order_part(row: &[u8]) -> &[u8] {
    let length = row.last_chunk().map_or(0, |bytes: &[u8; 4]| u32::from_be_bytes(*bytes) as usize);
    &row[..length.min(row.len())]
}

/// Appends to `changes` what leads from `before` to `after` in one partition: a merge of two lists in order of (row, rank).
pub(super) fn difference(before: &Ranked, after: &Ranked, partition: usize, changes: &mut Ranked) {
    let (a, b) = (before.range(partition), after.range(partition));
    let (mut i, mut k) = (a.start, b.start);
    while i < a.end || k < b.end {
        let order = match (i < a.end, k < b.end) {
            (true, true) => before.rows.row(i).cmp(after.rows.row(k)).then(before.ranks[i].cmp(&after.ranks[k])),
            (true, false) => Ordering::Less,
            _ => Ordering::Greater,
        };
        match order {
            Ordering::Less => changes.push(before.rows.row(i), before.ranks[i], -before.weights[i]),
            Ordering::Greater => changes.push(after.rows.row(k), after.ranks[k], after.weights[k]),
            Ordering::Equal if before.weights[i] != after.weights[k] => {
                changes.push(after.rows.row(k), after.ranks[k], after.weights[k] - before.weights[i]);
            }
            Ordering::Equal => {}
        }
        i += usize::from(order != Ordering::Greater);
        k += usize::from(order != Ordering::Less);
    }
}
