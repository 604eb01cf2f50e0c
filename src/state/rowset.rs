//! The rows of one group in memory: row bytes -> weight, in ascending byte order, never at weight 0.
//!
//! Most groups of most queries have one row, few have thousands; so there are three shapes. One: a box. Few: sorted entries over an arena. Many: a tree.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Bound;

/// Where a sorted array begins to cost more than a tree: moving 64 entries of 16 bytes is two dozen cache lines.
const FEW: usize = 64;

#[derive(Default)]
pub(super) enum RowSet {
    #[default]
    Empty,
    One(Box<[u8]>, i64),
    Few(Box<Few>),
    Many(Box<Many>),
}

#[derive(Default)]
pub(super) struct Few {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// Bytes of rows that are gone.
    garbage: usize,
}

#[derive(Clone, Copy)]
pub(super) struct Entry {
    start: u32,
    length: u32,
    weight: i64,
}

#[derive(Default)]
pub(super) struct Many {
    rows: BTreeMap<Box<[u8]>, i64>,
    bytes: usize,
}

impl RowSet {
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, RowSet::Empty)
    }

    /// Adds to a row's weight; a row at weight 0 is gone.
    pub(super) fn add(&mut self, row: &[u8], weight: i64) {
        match self {
            RowSet::Empty => *self = RowSet::One(row.into(), weight),
            RowSet::One(one, sum) => {
                if **one == *row {
                    *sum += weight;
                    if *sum == 0 {
                        *self = RowSet::Empty;
                    }
                } else {
                    let mut few = Few::default();
                    few.add(one, *sum);
                    few.add(row, weight);
                    *self = RowSet::Few(Box::new(few));
                }
            }
            RowSet::Few(few) => {
                few.add(row, weight);
                if few.entries.is_empty() {
                    *self = RowSet::Empty;
                } else if few.entries.len() > FEW {
                    let mut many = Many::default();
                    few.iter(0).for_each(|(row, weight)| many.add(row, weight));
                    *self = RowSet::Many(Box::new(many));
                }
            }
            RowSet::Many(many) => {
                many.add(row, weight);
                if many.rows.is_empty() {
                    *self = RowSet::Empty;
                }
            }
        }
    }

    pub(super) fn iter(&self) -> RowIter<'_> {
        self.after(None)
    }

    /// Rows behind `bound`; all, if there is none.
    pub(super) fn after(&self, bound: Option<&[u8]>) -> RowIter<'_> {
        match self {
            RowSet::Empty => RowIter::One(None),
            RowSet::One(row, weight) => RowIter::One(Some((&**row, *weight)).filter(|(row, _)| bound.is_none_or(|b| b < *row))),
            RowSet::Few(few) => {
                let from = bound.map_or(0, |b| few.entries.partition_point(|e| few.row(e) <= b));
                RowIter::Few(few, few.entries[from..].iter())
            }
            RowSet::Many(many) => {
                let from = bound.map_or(Bound::Unbounded, Bound::Excluded);
                RowIter::Many(many.rows.range::<[u8], _>((from, Bound::Unbounded)))
            }
        }
    }

    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        match self {
            RowSet::Empty => 0,
            RowSet::One(row, _) => row.len(),
            RowSet::Few(few) => size_of::<Few>() + few.entries.capacity() * size_of::<Entry>() + few.bytes.capacity(),
            RowSet::Many(many) => many.bytes,
        }
    }
}

impl Few {
    fn row(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.start as usize..(entry.start + entry.length) as usize]
    }

    fn iter(&self, from: usize) -> impl Iterator<Item = (&[u8], i64)> {
        self.entries[from..].iter().map(|e| (self.row(e), e.weight))
    }

    fn add(&mut self, row: &[u8], weight: i64) {
        match self.entries.binary_search_by(|e| self.row(e).cmp(row)) {
            Ok(at) => {
                let entry = &mut self.entries[at];
                entry.weight += weight;
                if entry.weight == 0 {
                    self.garbage += entry.length as usize;
                    self.entries.remove(at);
                    self.compact();
                }
            }
            Err(at) => {
                let entry = Entry { start: self.bytes.len() as u32, length: row.len() as u32, weight };
                self.bytes.extend_from_slice(row);
                self.entries.insert(at, entry);
            }
        }
    }

    /// Rewrites the arena when more than half of it is garbage, so a row is moved once per removal at most.
    fn compact(&mut self) {
        if self.garbage * 2 <= self.bytes.len() {
            return;
        }
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.garbage);
        for entry in &mut self.entries {
            let start = bytes.len() as u32;
            bytes.extend_from_slice(&self.bytes[entry.start as usize..(entry.start + entry.length) as usize]);
            entry.start = start;
        }
        self.bytes = bytes;
        self.garbage = 0;
    }
}

/// What a row costs in the tree beside its bytes: pointer, weight, its share of nodes.
const TREE_OVERHEAD: usize = 48;

impl Many {
    fn add(&mut self, row: &[u8], weight: i64) {
        if let Some(sum) = self.rows.get_mut(row) {
            *sum += weight;
            if *sum == 0 {
                self.rows.remove(row);
                self.bytes -= row.len() + TREE_OVERHEAD;
            }
        } else {
            self.rows.insert(row.into(), weight);
            self.bytes += row.len() + TREE_OVERHEAD;
        }
    }
}

pub(super) enum RowIter<'a> {
    One(Option<(&'a [u8], i64)>),
    Few(&'a Few, std::slice::Iter<'a, Entry>),
    Many(btree_map::Range<'a, Box<[u8]>, i64>),
}

impl<'a> Iterator for RowIter<'a> {
    type Item = (&'a [u8], i64);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            RowIter::One(row) => row.take(),
            RowIter::Few(few, entries) => entries.next().map(|e| (few.row(e), e.weight)),
            RowIter::Many(rows) => rows.next().map(|(row, weight)| (&**row, *weight)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn every_shape_agrees_with_a_tree() {
        for (seed, domain) in [(1, 3), (2, 70), (3, 200)] {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut set, mut model) = (RowSet::default(), BTreeMap::<Vec<u8>, i64>::new());
            for step in 0..5000 {
                let row = format!("row {}", rng.random_range(0..domain)).into_bytes();
                let weight = if step / 500 % 2 == 0 { rng.random_range(1..3) } else { -model.get(&row).copied().unwrap_or(1) };
                set.add(&row, weight);
                *model.entry(row.clone()).or_default() += weight;
                model.retain(|_, w| *w != 0);
                assert!(set.after(Some(&row)).eq(model.iter().filter(|(r, _)| **r > row).map(|(r, w)| (&r[..], *w))));
                assert_eq!(set.is_empty(), model.is_empty());
            }
            assert!(set.iter().eq(model.iter().map(|(r, w)| (&r[..], *w))));
        }
    }
}
