//! Keys in memory: key bytes -> a small dense number. What [`super::keyed`] and [`super::multiset`] share.
//!
//! Finding a key is most of what a stateful operator does, so it is laid out for it. The index is one array of `u64`, open addressing with linear
//! probing: the low 32 bits of the key's hash beside the slot + 1, so a probe costs one cache miss and a wrong slot is hardly ever
//! visited. (The *low* bits, for a worker owns a contiguous range of the high ones.) The slot holds the key itself if it is short. [`Slots::find_all`] goes
//! in two passes over a chunk of keys, so that the misses of one key do not wait for those of another.

use super::paged::Paged;
use crate::types::key::Rows;

pub type Slot = u32;

const NONE: Slot = Slot::MAX;
/// Keys that are looked up side by side: enough to fill the memory's queues, few enough to stay in the first cache.
const CHUNK: usize = 128;
const INLINE: usize = 22;

enum Key {
    Inline(u8, [u8; INLINE]),
    Heap(Box<[u8]>),
}

struct Entry {
    hash: u64,
    key: Key,
}

#[derive(Default)]
pub(super) struct Slots {
    index: Vec<u64>,
    entries: Paged<Entry>,
    /// Bit 0: in use; bit 1: used since the clock's hand passed.
    marks: Vec<u8>,
    free: Vec<Slot>,
    hand: usize,
    heap_bytes: usize,
}

/// Bytes of a key besides its heap: entry, mark, and two cells of the index.
const PER_KEY: usize = size_of::<Entry>() + 1 + 16;

const IN_USE: u8 = 1;
const RECENT: u8 = 2;

impl Key {
    fn new(bytes: &[u8]) -> Key {
        if bytes.len() <= INLINE {
            let mut inline = [0; INLINE];
            inline[..bytes.len()].copy_from_slice(bytes);
            Key::Inline(bytes.len() as u8, inline)
        } else {
            Key::Heap(bytes.into())
        }
    }

    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Key::Inline(length, bytes) => &bytes[..*length as usize],
            Key::Heap(bytes) => bytes,
        }
    }

    fn heap(&self) -> usize {
        match self {
            Key::Inline(..) => 0,
            Key::Heap(bytes) => bytes.len(),
        }
    }
}

impl Slots {
    /// Keys in memory.
    pub(super) fn live(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(super) fn is_live(&self, slot: Slot) -> bool {
        self.marks[slot as usize] & IN_USE != 0
    }

    #[inline]
    pub(super) fn key(&self, slot: Slot) -> &[u8] {
        self.entries[slot as usize].key.bytes()
    }

    pub(super) fn hash(&self, slot: Slot) -> u64 {
        self.entries[slot as usize].hash
    }

    pub(super) fn find(&self, key: &[u8], hash: u64) -> Option<Slot> {
        if self.index.is_empty() {
            return None;
        }
        let mask = self.index.len() - 1;
        let mut at = hash as u32 as usize & mask;
        loop {
            let cell = self.index[at];
            if cell == 0 {
                return None;
            }
            let slot = (cell as u32) - 1;
            if (cell >> 32) as u32 == hash as u32 && self.key(slot) == key {
                return Some(slot);
            }
            at = (at + 1) & mask;
        }
    }

    /// Finds every key of a batch: calls `missing(i)` for those not there, which must insert it and return its slot. Appends the slots in order.
    pub(super) fn find_all(&mut self, keys: &Rows, hashes: &[u64], slots: &mut Vec<Slot>, mut missing: impl FnMut(&mut Slots, usize) -> Slot) {
        assert_eq!(keys.len(), hashes.len(), "one hash per key");
        slots.reserve(hashes.len());
        let mut candidates = [NONE; CHUNK];
        for (chunk, hashes) in hashes.chunks(CHUNK).enumerate() {
            let first = chunk * CHUNK;
            for (candidate, hash) in candidates.iter_mut().zip(hashes) {
                *candidate = self.candidate(*hash as u32);
            }
            for (i, hash) in hashes.iter().enumerate() {
                let (candidate, key) = (candidates[i], keys.row(first + i));
                let slot = if candidate != NONE && self.key(candidate) == key {
                    candidate
                } else {
                    // Rare: new, inserted by this very chunk, or two keys with equal low hashes.
                    self.find(key, *hash).unwrap_or_else(|| missing(self, first + i))
                };
                self.marks[slot as usize] |= RECENT;
                slots.push(slot);
            }
        }
    }

    /// The first slot with this low hash: nearly always the one, if there is one.
    #[inline]
    fn candidate(&self, hash: u32) -> Slot {
        if self.index.is_empty() {
            return NONE;
        }
        let mask = self.index.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let cell = self.index[at];
            if (cell >> 32) as u32 == hash || cell == 0 {
                return (cell as u32).wrapping_sub(1);
            }
            at = (at + 1) & mask;
        }
    }

    /// The key must not be there.
    pub(super) fn insert(&mut self, key: &[u8], hash: u64) -> Slot {
        if (self.live() + 1) * 3 > self.index.len() * 2 {
            self.grow();
        }
        let entry = Entry { hash, key: Key::new(key) };
        self.heap_bytes += entry.key.heap();
        let slot = match self.free.pop() {
            Some(slot) => {
                self.entries[slot as usize] = entry;
                self.marks[slot as usize] = IN_USE | RECENT;
                slot
            }
            None => {
                assert!(self.entries.len() < NONE as usize - 1, "a table holds at most 2^32 keys in memory");
                self.entries.push(entry);
                self.marks.push(IN_USE | RECENT);
                self.entries.len() as Slot - 1
            }
        };
        self.place((hash & 0xFFFF_FFFF) << 32 | (slot as u64 + 1));
        slot
    }

    fn place(&mut self, cell: u64) {
        let mask = self.index.len() - 1;
        let mut at = (cell >> 32) as usize & mask;
        while self.index[at] != 0 {
            at = (at + 1) & mask;
        }
        self.index[at] = cell;
    }

    fn grow(&mut self) {
        let old = std::mem::take(&mut self.index);
        self.index = vec![0; (old.len() * 2).max(16)];
        old.into_iter().filter(|cell| *cell != 0).for_each(|cell| self.place(cell));
    }

    /// Forgets the key; the slot may be given to another.
    pub(super) fn remove(&mut self, slot: Slot) {
        debug_assert!(self.is_live(slot), "a slot is freed once");
        let entry = &mut self.entries[slot as usize];
        self.heap_bytes -= entry.key.heap();
        entry.key = Key::Inline(0, [0; INLINE]);
        let hash = entry.hash as u32;
        self.marks[slot as usize] = 0;
        self.free.push(slot);
        let mask = self.index.len() - 1;
        let mut at = hash as usize & mask;
        while self.index[at] as u32 != slot + 1 {
            at = (at + 1) & mask;
        }
        // Close the gap: move back every following cell that may stand there.
        let mut gap = at;
        loop {
            at = (at + 1) & mask;
            let cell = self.index[at];
            if cell == 0 {
                break;
            }
            let home = (cell >> 32) as usize & mask;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.index[gap] = cell;
                gap = at;
            }
        }
        self.index[gap] = 0;
    }

    /// Moves the clock's hand to the next live slot that was not used since it last passed; `None` after two rounds without one.
    pub(super) fn next_idle(&mut self, mut may_go: impl FnMut(Slot) -> bool) -> Option<Slot> {
        for _ in 0..2 * self.entries.len() {
            self.hand = if self.hand + 1 >= self.entries.len() { 0 } else { self.hand + 1 };
            let mark = &mut self.marks[self.hand];
            if *mark & IN_USE == 0 {
                continue;
            }
            if *mark & RECENT != 0 {
                *mark &= !RECENT;
            } else if may_go(self.hand as Slot) {
                return Some(self.hand as Slot);
            }
        }
        None
    }

    /// Bytes of the keys that are there: what those gave back that are gone is used again.
    pub(super) fn memory(&self) -> usize {
        self.live() * PER_KEY + self.heap_bytes
    }

    /// Bytes that removing this key gives back.
    pub(super) fn freed_by(&self, slot: Slot) -> usize {
        self.entries[slot as usize].key.heap() + PER_KEY
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::key::hash;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use std::collections::HashMap;

    #[test]
    fn agrees_with_a_map_under_random_inserts_and_removals() {
        let mut rng = StdRng::seed_from_u64(3);
        let (mut slots, mut model) = (Slots::default(), HashMap::<Vec<u8>, Slot>::new());
        for _ in 0..300 {
            let mut keys = Rows::default();
            (0..rng.random_range(1..300)).for_each(|_| {
                let key = rng.random_range(0..2000u32).to_string();
                keys.push(key.repeat(rng.random_range(1..3) * 5).as_bytes());
            });
            let hashes: Vec<u64> = keys.iter().map(hash).collect();
            let mut found = Vec::new();
            slots.find_all(&keys, &hashes, &mut found, |slots, i| slots.insert(keys.row(i), hashes[i]));
            for (i, slot) in found.iter().enumerate() {
                assert_eq!(*model.entry(keys.row(i).to_vec()).or_insert(*slot), *slot);
                assert_eq!(slots.key(*slot), keys.row(i));
            }
            for _ in 0..rng.random_range(0..200) {
                let Some(slot) = slots.next_idle(|_| true) else { break };
                assert_eq!(model.remove(slots.key(slot)), Some(slot));
                slots.remove(slot);
            }
            assert_eq!(slots.live(), model.len());
            assert!(model.iter().all(|(key, slot)| slots.find(key, hash(key)) == Some(*slot)));
        }
        let heap: usize = model.keys().filter(|k| k.len() > INLINE).map(Vec::len).sum();
        assert_eq!(slots.heap_bytes, heap);
    }
}
