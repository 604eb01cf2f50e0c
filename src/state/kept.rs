//! What all state has in common, whatever it is for: a checkpoint is handed what has changed, and memory is given back.

use super::checkpoint::{Generation, HandOver};
use super::keyed::{Keyed, SlotValues};

/// A part of an operator's state that is kept from epoch to epoch. All of this is called between steps.
pub trait Kept {
    /// A checkpoint begins: everything changed since the last one, as it is now, is owed to it. All that the last one was owed has been handed over.
    fn checkpoint(&mut self, generation: Generation);

    /// Adds what is owed until the piece is full. It stays in memory until `committed(generation)`.
    fn hand_over(&mut self, piece: &mut HandOver);

    /// What was owed to this generation and all before is in the store.
    fn committed(&mut self, generation: Generation);

    /// Bytes of memory held.
    fn memory(&self) -> usize;

    /// Gives back about `bytes` of clean state; may give less.
    fn evict(&mut self, bytes: usize);
}

/// A keyed table with its values.
pub struct KeyedWith<'a>(pub &'a mut Keyed, pub &'a mut dyn SlotValues);

impl Kept for KeyedWith<'_> {
    fn checkpoint(&mut self, generation: Generation) {
        self.0.checkpoint(generation);
    }

    fn hand_over(&mut self, piece: &mut HandOver) {
        self.0.hand_over(self.1, piece);
    }

    fn committed(&mut self, generation: Generation) {
        self.0.committed(generation);
    }

    fn memory(&self) -> usize {
        self.0.memory(self.1)
    }

    fn evict(&mut self, bytes: usize) {
        self.0.evict(bytes, self.1);
    }
}

/// Bytes of memory that all together hold; `state` visits them.
pub fn memory(state: impl FnOnce(&mut dyn FnMut(&mut dyn Kept))) -> usize {
    let mut bytes = 0;
    state(&mut |kept| bytes += kept.memory());
    bytes
}

/// Has all together give back about `bytes`, each in proportion to what it holds; `state` visits them.
pub fn evict(bytes: usize, mut state: impl FnMut(&mut dyn FnMut(&mut dyn Kept))) {
    let total = memory(&mut state).max(1);
    state(&mut |kept| {
        let share = (bytes as u128 * kept.memory() as u128 / total as u128) as usize;
        if share > 0 {
            kept.evict(share);
        }
    });
}
