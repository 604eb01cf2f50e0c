//! The rows of one group in memory: row bytes -> weight, never at weight 0, in ascending byte order when somebody looks.
//!
//! Most groups of most queries have one row, few have thousands; and many are added to far more often than looked at (the other side of a join). So:
//!
//! ```text
//!   Empty -> One   a box
//!         -> Pile  sorted rows, then a tail of rows as they came, in one arena. `settle` sorts the tail in; it is called before each look, and
//!                  when the tail is as long as what is sorted, so a row costs an append and, over time, log n moves, one after the other in memory
//!         -> Tree  a large group that is looked at between few additions: there a pile would be merged for each
//! ```

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::btree_map::{self, Entry as TreeEntry};
use std::ops::Bound;

/// A shorter tail is not worth sorting before somebody looks.
const SHORT_TAIL: usize = 32;
/// So few rows are put in one by one; more are merged.
const FEW: usize = 8;
/// A pile this large becomes a tree when it is settled for a tail of less than an eighth of it.
const LARGE: usize = 512;
/// The arena's offsets are 32 bits wide; a larger group becomes a tree.
const PILE_BYTES: usize = 1 << 30;

#[derive(Default)]
pub(super) enum RowSet {
    #[default]
    Empty,
    One(Box<[u8]>, i64),
    Pile(Box<Pile>),
    Tree(Box<Tree>),
}

#[derive(Default)]
pub(super) struct Pile {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// How many entries are sorted, distinct and not 0.
    sorted: usize,
    /// Bytes of rows that are gone.
    garbage: usize,
    /// Sum of all weights: at 0 the group is likely to be empty, which somebody may wait for.
    total: i64,
}

#[derive(Clone, Copy)]
pub(super) struct Entry {
    start: u32,
    length: u32,
    weight: i64,
}

impl RowSet {
    /// Exact when settled; else a group may be empty that is not known to be.
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
                    let mut pile = Pile::default();
                    pile.push(one, *sum);
                    pile.push(row, weight);
                    pile.settle();
                    *self = RowSet::Pile(Box::new(pile));
                }
            }
            RowSet::Pile(pile) => {
                pile.push(row, weight);
                if pile.total == 0 || pile.tail() > pile.sorted.max(SHORT_TAIL) || pile.bytes.len() > PILE_BYTES {
                    self.settle();
                }
            }
            RowSet::Tree(tree) => {
                tree.add(row, weight);
                if tree.rows.is_empty() {
                    *self = RowSet::Empty;
                }
            }
        }
    }

    /// Brings the rows in order: required before looking at them.
    pub(super) fn settle(&mut self) {
        let RowSet::Pile(pile) = self else { return };
        let tail = pile.tail();
        if tail == 0 {
            return;
        }
        pile.settle();
        if pile.entries.is_empty() {
            *self = RowSet::Empty;
        } else if (pile.sorted > LARGE && tail * 8 < pile.sorted) || pile.bytes.len() > PILE_BYTES {
            let mut tree = Tree::default();
            pile.entries.iter().for_each(|e| tree.add(pile.row(e), e.weight));
            *self = RowSet::Tree(Box::new(tree));
        }
    }

    pub(super) fn iter(&self) -> RowIter<'_> {
        self.after(None)
    }

    /// Rows behind `bound`; all, if there is none. The set must be settled.
    pub(super) fn after(&self, bound: Option<&[u8]>) -> RowIter<'_> {
        match self {
            RowSet::Empty => RowIter::One(None),
            RowSet::One(row, weight) => RowIter::One(Some((&**row, *weight)).filter(|(row, _)| bound.is_none_or(|b| b < *row))),
            RowSet::Pile(pile) => {
                assert_eq!(pile.tail(), 0, "rows are settled before they are looked at");
                let from = bound.map_or(0, |b| pile.entries.partition_point(|e| pile.row(e) <= b));
                RowIter::Pile(pile, pile.entries[from..].iter())
            }
            RowSet::Tree(tree) => {
                let from = bound.map_or(Bound::Unbounded, |b| Bound::Excluded(TreeKey::new(b)));
                RowIter::Tree(tree.rows.range((from, Bound::Unbounded)))
            }
        }
    }

    /// `row`, if it is there, and the rows behind it. The set must be settled.
    pub(super) fn from(&self, row: &[u8]) -> RowIter<'_> {
        match self {
            RowSet::Empty => RowIter::One(None),
            RowSet::One(one, weight) => RowIter::One(Some((&**one, *weight)).filter(|(one, _)| *one >= row)),
            RowSet::Pile(pile) => {
                assert_eq!(pile.tail(), 0, "rows are settled before they are looked at");
                RowIter::Pile(pile, pile.entries[pile.entries.partition_point(|e| pile.row(e) < row)..].iter())
            }
            RowSet::Tree(tree) => RowIter::Tree(tree.rows.range(TreeKey::new(row)..)),
        }
    }

    /// Rows before `bound`, the nearest first. The set must be settled.
    pub(super) fn before(&self, bound: &[u8]) -> std::iter::Rev<RowIter<'_>> {
        let rows = match self {
            RowSet::Empty => RowIter::One(None),
            RowSet::One(row, weight) => RowIter::One(Some((&**row, *weight)).filter(|(row, _)| *row < bound)),
            RowSet::Pile(pile) => {
                assert_eq!(pile.tail(), 0, "rows are settled before they are looked at");
                RowIter::Pile(pile, pile.entries[..pile.entries.partition_point(|e| pile.row(e) < bound)].iter())
            }
            RowSet::Tree(tree) => RowIter::Tree(tree.rows.range(..TreeKey::new(bound))),
        };
        rows.rev()
    }

    /// Bytes of heap.
    pub(super) fn heap(&self) -> usize {
        match self {
            RowSet::Empty => 0,
            RowSet::One(row, _) => row.len(),
            RowSet::Pile(pile) => size_of::<Pile>() + pile.entries.capacity() * size_of::<Entry>() + pile.bytes.capacity(),
            RowSet::Tree(tree) => tree.bytes,
        }
    }
}

impl Pile {
    fn row(&self, entry: &Entry) -> &[u8] {
        &self.bytes[entry.start as usize..(entry.start + entry.length) as usize]
    }

    fn tail(&self) -> usize {
        self.entries.len() - self.sorted
    }

    fn push(&mut self, row: &[u8], weight: i64) {
        self.entries.push(Entry { start: self.bytes.len() as u32, length: row.len() as u32, weight });
        self.bytes.extend_from_slice(row);
        self.total += weight;
    }

    fn settle(&mut self) {
        let mut tail: Vec<(u128, Entry)> = self.entries.drain(self.sorted..).map(|e| (0, e)).collect();
        for (prefix, entry) in &mut tail {
            *prefix = prefix_of(self.row(entry));
        }
        if tail.len() <= FEW {
            tail.into_iter().for_each(|(_, entry)| self.put_in(entry));
        } else {
            tail.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| self.row(&a.1).cmp(self.row(&b.1))));
            self.merge(tail);
        }
        self.sorted = self.entries.len();
        if self.garbage * 2 > self.bytes.len() {
            self.compact();
        }
    }

    /// Puts one entry in its place.
    fn put_in(&mut self, entry: Entry) {
        match self.entries.binary_search_by(|e| self.row(e).cmp(self.row(&entry))) {
            Err(at) => self.entries.insert(at, entry),
            Ok(at) => {
                self.garbage += entry.length as usize;
                self.entries[at].weight += entry.weight;
                if self.entries[at].weight == 0 {
                    self.garbage += entry.length as usize;
                    self.entries.remove(at);
                }
            }
        }
    }

    /// Merges sorted entries, which may repeat, with those there.
    fn merge(&mut self, tail: Vec<(u128, Entry)>) {
        let old = std::mem::take(&mut self.entries);
        let mut merged: Vec<Entry> = Vec::with_capacity(old.len() + tail.len());
        let mut garbage = 0;
        let mut take = |entry: Entry, rows: &Pile| {
            if let Some(last) = merged.last_mut().filter(|last| rows.row(last) == rows.row(&entry)) {
                last.weight += entry.weight;
                garbage += entry.length as usize;
                return;
            }
            // The one before is complete now.
            if let Some(gone) = merged.pop_if(|last| last.weight == 0) {
                garbage += gone.length as usize;
            }
            merged.push(entry);
        };
        let mut old = old.into_iter().peekable();
        for (_, entry) in tail {
            while let Some(before) = old.next_if(|e| self.row(e).cmp(self.row(&entry)) != Ordering::Greater) {
                take(before, self);
            }
            take(entry, self);
        }
        old.for_each(|entry| take(entry, self));
        if let Some(gone) = merged.pop_if(|last| last.weight == 0) {
            garbage += gone.length as usize;
        }
        self.entries = merged;
        self.garbage += garbage;
    }

    fn compact(&mut self) {
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

/// The first 16 bytes as a number, which orders nearly all pairs of rows without a look at their bytes.
fn prefix_of(row: &[u8]) -> u128 {
    match row.first_chunk::<16>() {
        Some(bytes) => u128::from_be_bytes(*bytes),
        None => {
            let mut bytes = [0; 16];
            bytes[..row.len()].copy_from_slice(row);
            u128::from_be_bytes(bytes)
        }
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TreeKey {
    prefix: u128,
    row: Box<[u8]>,
}

impl TreeKey {
    fn new(row: &[u8]) -> TreeKey {
        TreeKey { prefix: prefix_of(row), row: row.into() }
    }
}

#[derive(Default)]
pub(super) struct Tree {
    rows: BTreeMap<TreeKey, i64>,
    bytes: usize,
}

/// What a row costs in the tree beside its bytes: key, weight, its share of half-full nodes.
const TREE_OVERHEAD: usize = 64;

impl Tree {
    fn add(&mut self, row: &[u8], weight: i64) {
        match self.rows.entry(TreeKey::new(row)) {
            TreeEntry::Vacant(place) => {
                place.insert(weight);
                self.bytes += row.len() + TREE_OVERHEAD;
            }
            TreeEntry::Occupied(mut sum) => {
                *sum.get_mut() += weight;
                if *sum.get() == 0 {
                    sum.remove();
                    self.bytes -= row.len() + TREE_OVERHEAD;
                }
            }
        }
    }
}

pub(super) enum RowIter<'a> {
    One(Option<(&'a [u8], i64)>),
    Pile(&'a Pile, std::slice::Iter<'a, Entry>),
    Tree(btree_map::Range<'a, TreeKey, i64>),
}

impl<'a> Iterator for RowIter<'a> {
    type Item = (&'a [u8], i64);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            RowIter::One(row) => row.take(),
            RowIter::Pile(pile, entries) => entries.next().map(|e| (pile.row(e), e.weight)),
            RowIter::Tree(rows) => rows.next().map(|(key, weight)| (&*key.row, *weight)),
        }
    }
}

impl DoubleEndedIterator for RowIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            RowIter::One(row) => row.take(),
            RowIter::Pile(pile, entries) => entries.next_back().map(|e| (pile.row(e), e.weight)),
            RowIter::Tree(rows) => rows.next_back().map(|(key, weight)| (&*key.row, *weight)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn every_shape_agrees_with_a_map() {
        let mut trees = 0;
        for (seed, domain, look_every) in [(1, 3, 1), (2, 70, 5), (3, 200, 40), (4, 3000, 3), (5, 3000, 1000)] {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut set, mut model) = (RowSet::default(), BTreeMap::<Vec<u8>, i64>::new());
            for step in 0..20_000 {
                let row = format!("{:020}{}", rng.random_range(0..domain / 3 + 1), rng.random_range(0..3)).into_bytes();
                let weight = if step / 5000 % 2 == 0 { rng.random_range(1..3) } else { -model.get(&row).copied().unwrap_or(1) };
                set.add(&row, weight);
                *model.entry(row.clone()).or_default() += weight;
                if model[&row] == 0 {
                    model.remove(&row);
                }
                if rng.random_range(0..look_every) == 0 {
                    set.settle();
                    let bound = Bound::Excluded(row.clone());
                    assert!(set.after(Some(&row)).take(5).eq(model.range((bound, Bound::Unbounded)).take(5).map(|(r, w)| (&r[..], *w))));
                    assert!(set.before(&row).take(5).eq(model.range(..row.clone()).rev().take(5).map(|(r, w)| (&r[..], *w))));
                    assert_eq!(set.is_empty(), model.is_empty());
                    trees += usize::from(matches!(set, RowSet::Tree(_)));
                }
            }
            set.settle();
            assert!(set.iter().eq(model.iter().map(|(r, w)| (&r[..], *w))));
        }
        assert!(trees > 0, "large groups that are looked at become trees");
    }

    #[test]
    fn rows_that_come_and_go_unseen_do_not_pile_up() {
        let mut set = RowSet::default();
        set.add(b"stays", 1);
        for n in 0..100_000u32 {
            set.add(&n.to_be_bytes(), 1);
            set.add(&n.to_be_bytes(), -1);
        }
        assert!(set.heap() < 4096, "{}", set.heap());
    }
}
