//! The changes of a multiset that are not known to be in the store: an append-only log, one segment per round, dropped when the round is committed.
//!
//! It serves twice. After a checkpoint has begun, the segment that it closed becomes merges, a piece at a time. And a group that is read back must see what the store does not have yet: the changes of
//! one group are chained, newest first, so they are found without a search structure, and adding costs an append.

use super::arena::{Arena, At};
use super::paged::Paged;
use super::slots::Slot;
use std::collections::VecDeque;

/// Where a change stands in the log, counted from 1 for ever; 0: nowhere.
pub(super) type Position = u64;

struct Change {
    previous: Position,
    at: At,
    weight: i64,
    slot: Slot,
    length: u32,
}

struct Segment {
    round: u32,
    /// Position of its first change.
    first: Position,
    changes: Paged<Change>,
    rows: Arena,
}

impl Segment {
    fn new(round: u32, first: Position) -> Segment {
        Segment { round, first, changes: Paged::default(), rows: Arena::default() }
    }

    fn row(&self, change: &Change) -> &[u8] {
        self.rows.get(change.at, change.length as usize)
    }

    fn end(&self) -> Position {
        self.first + self.changes.len() as u64
    }
}

pub(super) struct Changes {
    /// Rounds handed over and not committed, oldest first.
    handed_over: VecDeque<Segment>,
    current: Segment,
    /// The first change that is not written; of those handed over, the ones from here on are owed.
    unwritten: Position,
}

impl Changes {
    pub(super) fn new(round: u32) -> Changes {
        Changes { handed_over: VecDeque::new(), current: Segment::new(round, 1), unwritten: 1 }
    }

    /// Where the next change will stand.
    pub(super) fn end(&self) -> Position {
        self.current.end()
    }

    /// `previous`: the group's newest change so far. Returns the new one.
    pub(super) fn push(&mut self, slot: Slot, previous: Position, row: &[u8], weight: i64) -> Position {
        let position = self.current.end();
        let at = self.current.rows.push(&[], row);
        self.current.changes.push(Change { previous, at, weight, slot, length: row.len() as u32 });
        position
    }

    /// Whether the change at `position` may not be in the store yet.
    pub(super) fn holds(&self, position: Position) -> bool {
        position >= self.handed_over.front().unwrap_or(&self.current).first
    }

    /// Changes of one group made in rounds after `round`, newest first.
    pub(super) fn chain(&self, newest: Position, round: u32) -> impl Iterator<Item = (&[u8], i64)> {
        let mut position = newest;
        std::iter::from_fn(move || {
            let segment = self.segment(position)?;
            if segment.round <= round {
                return None;
            }
            let change = &segment.changes[(position - segment.first) as usize];
            position = change.previous;
            Some((segment.row(change), change.weight))
        })
    }

    fn segment(&self, position: Position) -> Option<&Segment> {
        if position >= self.current.first {
            return Some(&self.current);
        }
        self.handed_over.iter().rev().find(|s| position >= s.first)
    }

    /// Handed-over changes that are not written, in order: position, slot, row, weight.
    pub(super) fn owed(&self) -> impl Iterator<Item = (Position, Slot, &[u8], i64)> {
        (self.unwritten..self.current.first).filter_map(|position| {
            let segment = self.segment(position)?;
            let change = &segment.changes[(position - segment.first) as usize];
            Some((position, change.slot, segment.row(change), change.weight))
        })
    }

    /// Number of them.
    pub(super) fn owed_len(&self) -> usize {
        (self.current.first - self.unwritten) as usize
    }

    /// The first so many of them are written.
    pub(super) fn written(&mut self, count: usize) {
        self.unwritten += count as u64;
    }

    /// Those of one group, newest first.
    pub(super) fn owed_of(&self, newest: Position) -> impl Iterator<Item = (&[u8], i64)> {
        let mut position = newest;
        std::iter::from_fn(move || {
            loop {
                let segment = self.segment(position).filter(|_| position >= self.unwritten)?;
                let change = &segment.changes[(position - segment.first) as usize];
                let owed = position < self.current.first;
                position = change.previous;
                if owed {
                    return Some((segment.row(change), change.weight));
                }
            }
        })
    }

    pub(super) fn hand_over(&mut self, next_round: u32) {
        let first = self.current.end();
        self.handed_over.push_back(std::mem::replace(&mut self.current, Segment::new(next_round, first)));
    }

    /// Drops rounds up to `round`.
    pub(super) fn commit(&mut self, round: u32) {
        while self.handed_over.front().is_some_and(|s| s.round <= round) {
            self.handed_over.pop_front();
        }
    }

    pub(super) fn memory(&self) -> usize {
        self.handed_over.iter().chain([&self.current]).map(|s| s.changes.len() * size_of::<Change>() + s.rows.bytes()).sum()
    }
}
