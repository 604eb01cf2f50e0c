//! What of a state table lies on disk, as far as its worker needs to know: whether a key that is not in memory can be there at all, and what a closed
//! window leaves to delete.
//!
//! A table (or window) is *partial* if the store holds entries that memory does not. Only then is an unknown key looked up. It is not partial from birth in a new
//! table, and becomes so when a stored entry is evicted; after a restart a look at the store tells. A windowed table keeps this per window, so
//! it is in memory again as soon as the windows from before the restart have closed.

use super::checkpoint::{Ops, space};
use super::committed::Committed;
use super::keyed::{Layout, TableContext};
use super::slots::Slot;
use super::store::{Snapshot, after_prefix};
use crate::error::Result;
use crate::types::ids::{TableId, owned_range, virtual_node};
use crate::types::key::{window_key, window_of_key};
use std::collections::BTreeMap;

/// Length of the window part of a key: a window's end, or the one byte of a NULL.
const WINDOW: usize = 9;

#[derive(Default)]
pub(super) struct Window {
    /// Slots of this window. Some may have been evicted, and given to another key, since.
    pub(super) slots: Vec<Slot>,
    stale: usize,
    /// Whether the store may hold entries of it, and whether it holds some that are not in memory.
    stored: bool,
    partial: bool,
}

impl Window {
    /// Whether the store holds entries of it that are not in memory.
    pub(super) fn is_partial(&self) -> bool {
        self.partial
    }
}

pub(super) struct Extent {
    space: u8,
    table: TableId,
    layout: Layout,
    owned: (u8, u8),
    /// Whether the store has been asked what it holds.
    discovered: bool,
    /// Whether the table (windowed layout: what has NULL for a window) is partial.
    partial: bool,
    windows: BTreeMap<i64, Window>,
    /// Windows up to here were taken out.
    closed_upto: Option<i64>,
    /// Ends (first, last) of stored windows that were closed since the last checkpoint began.
    closed: Vec<(i64, i64)>,
    /// Windows up to here were closed before the store could be asked.
    floor: Option<i64>,
}

impl Extent {
    pub(super) fn new(spaces: (u8, u8), table: TableId, layout: Layout, context: &TableContext) -> Extent {
        let space = if layout == Layout::Hash { spaces.0 } else { spaces.1 };
        Extent {
            space,
            table,
            layout,
            owned: owned_range(context.worker, context.workers),
            discovered: context.fresh,
            partial: false,
            windows: BTreeMap::new(),
            closed_upto: None,
            closed: Vec::new(),
            floor: None,
        }
    }

    fn table_prefix(&self) -> Vec<u8> {
        [&[self.space][..], &self.table.0.to_be_bytes()].concat()
    }

    /// Looks once which windows (or whether anything) the store holds: one seek per window.
    pub(super) fn discover(&mut self, store: &Committed) -> Result<()> {
        if self.discovered {
            return Ok(());
        }
        let (_, snapshot) = store.read();
        let prefix = self.table_prefix();
        let end = after_prefix(&prefix);
        let mut from = prefix.clone();
        while let Some(key) = first_key(&*snapshot, &from, &end)? {
            let Some(window) = self.window(&key[prefix.len()..]) else {
                self.partial = true;
                break; // NULLs sort last
            };
            if self.floor.is_none_or(|floor| floor < window) {
                let window = self.windows.entry(window).or_default();
                (window.stored, window.partial) = (true, true);
            }
            from = after_prefix(&[&prefix[..], &window_key(window)].concat());
        }
        self.discovered = true;
        Ok(())
    }

    pub(super) fn window(&self, key: &[u8]) -> Option<i64> {
        if self.layout == Layout::Hash { None } else { window_of_key(key) }
    }

    /// Ends of all windows that are known, ascending.
    pub(super) fn ends(&self) -> Vec<i64> {
        self.windows.keys().copied().collect()
    }

    /// A key is in memory now. Returns whether the store may know it.
    pub(super) fn add(&mut self, key: &[u8], slot: Slot) -> bool {
        let Some(end) = self.window(key) else { return self.partial || !self.discovered };
        let window = self.windows.entry(end).or_default();
        window.slots.push(slot);
        window.partial || (!self.discovered && self.floor.is_none_or(|floor| floor < end))
    }

    /// A checkpoint begins: deletes the windows closed since the last one; the others will have entries in the store.
    pub(super) fn checkpoint(&mut self, ops: &mut Ops) {
        let prefix = self.table_prefix();
        for (first, last) in self.closed.drain(..) {
            let from = [&prefix[..], &window_key(first)].concat();
            let to = after_prefix(&[&prefix[..], &window_key(last)].concat());
            ops.delete_range(&from, &to);
        }
        self.windows.values_mut().for_each(|window| window.stored |= !window.slots.is_empty());
    }

    /// A key of `window` was forgotten; `stored`: the store may know it. `keeps`: whether a slot still holds a key of this window.
    pub(super) fn evicted(&mut self, window: Option<i64>, stored: bool, keeps: impl Fn(Slot) -> bool) {
        let Some(window) = window else {
            self.partial |= stored;
            return;
        };
        if self.is_closed(window) {
            return;
        }
        let window = self.windows.entry(window).or_default();
        window.partial |= stored;
        window.stale += 1;
        if window.stale * 2 > window.slots.len() {
            window.slots.sort_unstable();
            window.slots.dedup();
            window.slots.retain(|s| keeps(*s));
            window.slots.shrink_to_fit();
            window.stale = 0;
        }
    }

    /// Windows up to `upto` close although the store could not be asked which it holds: whatever is there is deleted.
    pub(super) fn close_undiscovered(&mut self, upto: i64) {
        if !self.discovered && self.layout == Layout::Windowed {
            self.floor = self.floor.max(Some(upto));
            self.closed.push((i64::MIN, upto));
        }
    }

    /// Whether the window was taken out: nothing of it is read or written any more.
    pub(super) fn is_closed(&self, window: i64) -> bool {
        self.closed_upto.is_some_and(|upto| window <= upto)
    }

    pub(super) fn first_window(&self) -> Option<i64> {
        self.windows.first_key_value().map(|(end, _)| *end)
    }

    /// Takes out the first window that ends at or before `upto`, and notes what it leaves on disk.
    pub(super) fn close_first(&mut self, upto: i64) -> Option<(i64, Window)> {
        let (&end, _) = self.windows.first_key_value().filter(|(end, _)| **end <= upto)?;
        let (_, mut window) = self.windows.pop_first()?;
        self.closed_upto = self.closed_upto.max(Some(end));
        if window.stale > 0 {
            window.slots.sort_unstable();
            window.slots.dedup();
        }
        if window.stored {
            match self.closed.last_mut() {
                // Whatever lies between two windows that were closed is closed too.
                Some((_, last)) if *last < end => *last = end,
                _ => self.closed.push((end, end)),
            }
        }
        Some((end, window))
    }

    /// What stands before the key (or the rest of it behind the window) on disk, in `out`; returns the length of the window part.
    pub(super) fn head(&self, key: &[u8], hash: u64, out: &mut Vec<u8>) -> usize {
        out.push(self.space);
        out.extend_from_slice(&self.table.0.to_be_bytes());
        let window = match self.layout {
            Layout::Hash => 0,
            Layout::Windowed if window_of_key(key).is_some() => WINDOW,
            Layout::Windowed => key.len().min(1),
        };
        out.extend_from_slice(&key[..window]);
        out.push(virtual_node(hash));
        window
    }

    /// The span of `window` that belongs to this worker, and the length of what stands before the rest of the key.
    pub(super) fn owned_span(&self, window: i64) -> (Vec<u8>, Vec<u8>, usize) {
        let prefix = [&self.table_prefix()[..], &window_key(window)].concat();
        let (first, last) = self.owned;
        let head = prefix.len() + 1;
        ([&prefix[..], &[first]].concat(), after_prefix(&[&prefix[..], &[last]].concat()), head)
    }

    pub(super) fn memory(&self) -> usize {
        self.windows.values().map(|w| w.slots.capacity() * size_of::<Slot>() + 64).sum()
    }
}

fn first_key(snapshot: &dyn Snapshot, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>> {
    let mut first = None;
    snapshot.scan(from, to, &mut |key, _| {
        first = Some(key.to_vec());
        false
    })?;
    Ok(first)
}

/// The two key spaces of each kind of table: hash layout, windowed layout.
pub(super) const KEYED: (u8, u8) = (space::KEYED, space::KEYED_WINDOWED);
pub(super) const MULTISET: (u8, u8) = (space::MULTISET, space::MULTISET_WINDOWED);
