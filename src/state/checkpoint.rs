//! What goes into the store in one atomic commit: a list of operations in one arena, and the key space they live in.
//!
//! ```text
//!   space  kind of table            key after the space byte                            value
//!   0x10   keyed (hash)             table u32 BE, virtual node u8, key                  accumulators
//!   0x11   keyed (windowed)         table u32 BE, window 9 bytes, virtual node u8, key  accumulators
//!   0x20   multiset                 table u32 BE, virtual node u8, hash u64 BE, key length u32 BE, key, row   weight (merge)
//!   0x21   multiset (windowed)      table u32 BE, window 9 bytes, virtual node u8, hash u64 BE, key length u32 BE, key, row   weight (merge)
//!   0x30   view rows                table u32 BE, view key                              row or weight
//!   0x40   epoch log                epoch u64 BE                                        cut
//!   0x41   table log                table u32 BE, position u64 BE                       delta
//!   0x42   isolated log             view u32 BE, epoch u64 BE                            what the view has to take in
//!   0x43   outbox                   sink u32 BE, position u64 BE, chunk u32 BE           records that are to be published
//!   0x44   marks                    object u32 BE                                       what was told last: a view's epoch, a sink's position
//!   0x45   history                  relation u32 BE, epoch u64 BE                       what the epoch changed in the relation
//!   0x46   history marks            relation u32 BE, epoch u64 BE                       clock and bytes: see state/history.rs
//!   0x50   catalog                  object id u32 BE                                    definition
//!   0x51   system relations         relation u8, sequence u64 BE                        row
//!   0x52   records of the node      name                                                value
//! ```

use super::arena::{Arena, At};
use crate::error::{Error, Kind, Result};
use std::ops::ControlFlow;

/// Number of a checkpoint; rises by one with each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(pub u32);

/// What a worker gives of its state for one checkpoint, in pieces: state tables add to it until a piece is full, and nothing is owed any more once all were
/// asked and it is not. It begins full.
#[derive(Debug, Default)]
pub struct HandOver {
    ops: Ops,
    /// Operations that this piece may still take, about.
    left: usize,
}

impl HandOver {
    /// Another piece, of about so many operations: `ask` has all add what they are owed. `Break`: nothing is owed any more; all operations there were.
    pub fn piece(mut self, operations: usize, ask: impl FnOnce(&mut HandOver)) -> ControlFlow<Ops, HandOver> {
        self.left = operations;
        ask(&mut self);
        if self.is_full() { ControlFlow::Continue(self) } else { ControlFlow::Break(self.ops) }
    }

    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    pub fn left(&self) -> usize {
        self.left
    }

    /// For what counts as part of the piece: at most `left()` operations.
    pub fn add(&mut self, operations: usize) -> &mut Ops {
        self.left -= operations;
        self.ops.reserve(operations);
        &mut self.ops
    }

    /// What is written already.
    pub fn append(&mut self, ops: Ops) {
        self.ops.append(ops);
    }

    /// Everything in one piece.
    #[cfg(test)]
    pub fn whole(ask: impl FnOnce(&mut HandOver)) -> Ops {
        HandOver::default().piece(usize::MAX, ask).break_value().expect("no piece is so large")
    }
}

/// Operations on the store, in the order they were added. Of several on one key, all apply in order; a range deletion
/// applies before every other operation of the same `Ops`.
#[derive(Clone, Debug, Default)]
pub struct Ops {
    /// Each key and its value, back to back.
    arena: Arena,
    items: Vec<Item>,
    ranges: Vec<(Vec<u8>, Vec<u8>)>,
}

#[derive(Clone, Copy, Debug)]
struct Item {
    at: At,
    key: u32,
    value: u32,
    action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Put,
    /// Adds an `i64` weight (little-endian value).
    Merge,
    Delete,
}

impl Ops {
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.push(Action::Put, &[key], value);
    }

    pub fn merge(&mut self, key: &[u8], weight: i64) {
        self.push(Action::Merge, &[key], &weight.to_le_bytes());
    }

    pub fn delete(&mut self, key: &[u8]) {
        self.push(Action::Delete, &[key], &[]);
    }

    /// Deletes every key with `from <= key < to` that was in the store before these operations.
    pub fn delete_range(&mut self, from: &[u8], to: &[u8]) {
        self.ranges.push((from.to_vec(), to.to_vec()));
    }

    /// The general form: the key is the concatenation of `key_parts`.
    pub fn push(&mut self, action: Action, key_parts: &[&[u8]], value: &[u8]) {
        let key = key_parts.iter().map(|part| part.len()).sum::<usize>() as u32;
        let at = self.arena.push(key_parts, value);
        self.items.push(Item { at, key, value: value.len() as u32, action });
    }

    /// Makes room for `items` more operations.
    pub fn reserve(&mut self, items: usize) {
        self.items.reserve(items);
    }

    /// Moves all of `other` behind these.
    pub fn append(&mut self, mut other: Ops) {
        self.ranges.append(&mut other.ranges);
        if other.size() < COPIED {
            for item in &other.items {
                let at = self.arena.push(&[other.arena.get(item.at, (item.key + item.value) as usize)], &[]);
                self.items.push(Item { at, ..*item });
            }
            return;
        }
        let moved = self.arena.append(std::mem::take(&mut other.arena));
        other.items.iter_mut().for_each(|item| item.at = moved(item.at));
        if self.items.is_empty() {
            self.items = other.items;
        } else {
            self.items.append(&mut other.items);
        }
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty() && self.ranges.is_empty()
    }

    /// Bytes of keys and values.
    pub fn size(&self) -> usize {
        self.arena.bytes()
    }

    pub fn ranges(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.ranges
    }

    /// In the order of addition: action, key, value.
    pub fn iter(&self) -> impl Iterator<Item = (Action, &[u8], &[u8])> {
        self.items.iter().map(|i| self.item(i))
    }

    /// Orders the operations by key, keeping the order of those on one key. Sorted writes are three times as fast.
    pub fn sort(&mut self) {
        let mut order: Vec<([u64; 2], u32)> = self.items.iter().enumerate().map(|(i, item)| (prefix(self.key(item)), i as u32)).collect();
        self.sort_from(&mut order, 0);
        self.items = order.into_iter().map(|(_, i)| self.items[i as usize]).collect();
    }

    /// Orders keys that are equal before `depth`: by the [`PREFIX`] bytes from there on, side by side in the array that is sorted, then those that are equal by the next ones.
    fn sort_from(&self, order: &mut [([u64; 2], u32)], depth: usize) {
        order.sort_unstable();
        let key = |i: u32| self.key(&self.items[i as usize]);
        let next = depth + PREFIX;
        for run in order.chunk_by_mut(|a, b| a.0 == b.0).filter(|run| run.len() > 1) {
            // A key that ends here looks like one with zeros behind it.
            if run.len() <= SMALL_RUN || depth >= DEEPEST || run.iter().any(|(_, i)| key(*i).len() <= next) {
                run.sort_unstable_by(|(_, i), (_, j)| key(*i)[depth..].cmp(&key(*j)[depth..]).then(i.cmp(j)));
                continue;
            }
            run.iter_mut().for_each(|(bytes, i)| *bytes = prefix(&key(*i)[next..]));
            self.sort_from(run, next);
        }
    }

    /// Of sorted operations: one per key, with the effect of all on that key; those that cancel out are left out.
    pub fn each_combined(&self, each: &mut dyn FnMut(Action, &[u8], &[u8]) -> Result<()>) -> Result<()> {
        let mut at = 0;
        while at < self.items.len() {
            let (mut action, key, mut value) = self.item(&self.items[at]);
            let mut sum;
            at += 1;
            while at < self.items.len() && self.key(&self.items[at]) == key {
                let (next, _, more) = self.item(&self.items[at]);
                at += 1;
                if next != Action::Merge {
                    (action, value) = (next, more);
                    continue;
                }
                let before = if action == Action::Delete { 0 } else { weight(value)? };
                sum = before.wrapping_add(weight(more)?).to_le_bytes();
                value = &sum;
                action = if action == Action::Merge { Action::Merge } else { Action::Put };
            }
            if action != Action::Merge || weight(value)? != 0 {
                each(action, key, value)?;
            }
        }
        Ok(())
    }

    fn key(&self, item: &Item) -> &[u8] {
        self.arena.get(item.at, item.key as usize)
    }

    fn item(&self, i: &Item) -> (Action, &[u8], &[u8]) {
        let (key, value) = self.arena.get(i.at, (i.key + i.value) as usize).split_at(i.key as usize);
        (i.action, key, value)
    }
}

/// A stored weight. Error: damaged bytes.
pub fn weight(value: &[u8]) -> Result<i64> {
    let bytes = value.try_into().map_err(|_| Error::new(Kind::DataCorrupted, "a stored weight is damaged"))?;
    Ok(i64::from_le_bytes(bytes))
}

/// Whether this is a weight of zero, which reads as absent. Weights live in multisets and in views; a view's rows begin with a
/// tag of the row codec, never with a zero byte, so the two cannot be confused.
pub fn is_zero_weight(key: &[u8], value: &[u8]) -> bool {
    value == [0; 8] && matches!(key.first(), Some(&(space::MULTISET | space::MULTISET_WINDOWED | space::VIEW)))
}

/// Operations of fewer bytes than this are copied when they are appended: buffers taken over would stay half empty.
const COPIED: usize = 1 << 20;
/// Bytes of keys that are compared at once.
const PREFIX: usize = 16;
/// So few keys with an equal beginning are compared as they are.
const SMALL_RUN: usize = 8;
/// Bytes after which keys are compared as they are: a bound of the recursion.
const DEEPEST: usize = 64 * PREFIX;

/// The first bytes of a key as numbers that order like them.
fn prefix(key: &[u8]) -> [u64; 2] {
    let mut bytes = [0; PREFIX];
    let length = key.len().min(PREFIX);
    bytes[..length].copy_from_slice(&key[..length]);
    let prefix = u128::from_be_bytes(bytes);
    [(prefix >> 64) as u64, prefix as u64]
}

/// First byte of every key: which kind of table it belongs to.
pub mod space {
    pub const KEYED: u8 = 0x10;
    pub const KEYED_WINDOWED: u8 = 0x11;
    pub const MULTISET: u8 = 0x20;
    pub const MULTISET_WINDOWED: u8 = 0x21;
    pub const VIEW: u8 = 0x30;
    pub const EPOCH_LOG: u8 = 0x40;
    pub const TABLE_LOG: u8 = 0x41;
    pub const ISOLATED_LOG: u8 = 0x42;
    pub const OUTBOX: u8 = 0x43;
    pub const MARK: u8 = 0x44;
    pub const HISTORY: u8 = 0x45;
    pub const HISTORY_MARK: u8 = 0x46;
    pub const CATALOG: u8 = 0x50;
    pub const SYSTEM: u8 = 0x51;
    pub const RECORD: u8 = 0x52;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn combined(ops: &mut Ops) -> Vec<(Action, Vec<u8>, Vec<u8>)> {
        ops.sort();
        let mut all = Vec::new();
        ops.each_combined(&mut |action, key, value| {
            all.push((action, key.to_vec(), value.to_vec()));
            Ok(())
        })
        .unwrap();
        all
    }

    #[test]
    fn operations_on_one_key_combine_in_order() {
        let one = |n: i64| n.to_le_bytes().to_vec();
        let mut ops = Ops::default();
        ops.merge(b"sum", 2);
        ops.merge(b"gone", 1);
        ops.delete(b"again");
        ops.put(b"put", &one(5));
        ops.merge(b"sum", 3);
        ops.merge(b"gone", -1);
        ops.merge(b"again", 4);
        ops.merge(b"put", 1);
        ops.put(b"replaced", b"old");
        ops.put(b"replaced", b"new");
        ops.put(b"deleted", b"old");
        ops.delete(b"deleted");
        let expected = [
            (Action::Put, b"again".to_vec(), one(4)),
            (Action::Delete, b"deleted".to_vec(), vec![]),
            (Action::Put, b"put".to_vec(), one(6)),
            (Action::Put, b"replaced".to_vec(), b"new".to_vec()),
            (Action::Merge, b"sum".to_vec(), one(5)),
        ];
        assert_eq!(combined(&mut ops), expected);
    }

    #[test]
    fn sorting_agrees_with_a_stable_sort_of_the_keys() {
        let mut ops = Ops::default();
        // Equal beginnings of all lengths, zeros at ends, keys that are equal, and long ones that differ late.
        let tail = |i: u32| [0, 0, 1, 255][(i * 31 % 4) as usize];
        let mut keys: Vec<Vec<u8>> = (0..500u32).map(|i| vec![b'k'; 10 + (i * 7919 % 13) as usize]).collect();
        keys.extend((0..2000u32).map(|i| [vec![b'k'; (i * 7919 % 57) as usize], vec![tail(i); (i * 17 % 5) as usize]].concat()));
        keys.extend((0..50u32).map(|i| [vec![b'k'; 3000], (i * 7919 % 31).to_be_bytes().to_vec()].concat()));
        keys.iter().enumerate().for_each(|(i, key)| ops.put(key, &i.to_be_bytes()));
        let mut expected: Vec<_> = keys.iter().enumerate().collect();
        expected.sort_by_key(|(_, key)| *key);
        ops.sort();
        assert!(ops.iter().map(|(_, key, value)| (key.to_vec(), value.to_vec())).eq(expected.iter().map(|(i, key)| (key.to_vec(), i.to_be_bytes().to_vec()))));
    }
}
