//! The panes of sessions in state: (partition, pane number) -> first and last time in it.

use crate::dataflow::agg::accumulator::grow;
use crate::dataflow::agg::bytes::{Reader, put_integer};
use crate::error::Result;
use crate::state::kept::{Kept, KeyedWith};
use crate::state::keyed::{Keyed, Slot, SlotValues};
use crate::types::key::{Rows, hash, window_key};

/// The first and the last time of a pane, or the bounds of what is being put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub first: i64,
    pub last: i64,
}

impl Span {
    pub fn at(time: i64) -> Span {
        Span { first: time, last: time }
    }

    pub fn with(self, other: Span) -> Span {
        Span { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// The bytes of a pane's key: the partition's, then the number, which has a fixed length.
pub(super) fn pane_key(partition: &[u8], pane: i64, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(partition);
    out.extend_from_slice(&window_key(pane));
}

/// See the module.
pub(super) struct Panes {
    pub keyed: Keyed,
    pub spans: Spans,
}

/// By slot; `None`: no rows.
#[derive(Default)]
pub(super) struct Spans(Vec<Option<Span>>);

impl SlotValues for Spans {
    fn load(&mut self, slot: Slot, stored: Option<&[u8]>) -> Result<()> {
        let read = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            Ok::<_, crate::error::Error>(Span { first: reader.i64()?, last: reader.i64()? })
        };
        *grow(&mut self.0, slot) = stored.map(read).transpose()?;
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) -> bool {
        let Some(span) = self.0[slot as usize] else { return false };
        put_integer(out, i128::from(span.first));
        put_integer(out, i128::from(span.last));
        true
    }

    fn clear(&mut self, slot: Slot) {
        self.0[slot as usize] = None;
    }

    fn width(&self) -> usize {
        size_of::<Option<Span>>()
    }
}

impl Panes {
    /// What the asked panes (of partitions by number) hold. Slots stay valid until the next `trim` or `evict`.
    pub fn look(&mut self, partitions: &Rows, asked: &[(u32, i64)]) -> Result<Vec<(Slot, Option<Span>)>> {
        let (mut keys, mut key) = (Rows::default(), Vec::new());
        for (partition, pane) in asked {
            pane_key(partitions.row(*partition as usize), *pane, &mut key);
            keys.push(&key);
        }
        let hashes = keys.iter().map(hash).collect::<Vec<_>>();
        let mut slots = Vec::with_capacity(asked.len());
        self.keyed.resolve(&keys, &hashes, &mut self.spans, &mut slots)?;
        Ok(slots.into_iter().map(|slot| (slot, self.spans.0[slot as usize])).collect())
    }

    pub fn set(&mut self, slot: Slot, span: Option<Span>) {
        self.spans.0[slot as usize] = span;
        self.keyed.touch(slot);
    }

    pub fn trim(&mut self) {
        self.keyed.trim(&mut self.spans);
    }

    pub fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        each(&mut KeyedWith(&mut self.keyed, &mut self.spans));
    }
}
