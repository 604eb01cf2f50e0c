//! Large byte buffers that are used again. A checkpoint's keys and values fill hundreds of megabytes a second; a page that the process touches for the first
//! time costs more than what is written to it, and a buffer that grows by doubling is copied as often as it is filled.
//!
//! Buffers go back to one list for all threads, for those that fill them (workers) are not those that empty them (the checkpoint thread). What the list
//! holds was in use at the last peak; [`settle`] gives back half of what no checkpoint has needed since.

use parking_lot::Mutex;

/// Size of every buffer here.
pub(super) const BYTES: usize = 1 << 20;

struct Spare {
    buffers: Vec<Vec<u8>>,
    /// The fewest there were since `settle`.
    fewest: usize,
    /// Kept at most.
    most: usize,
}

static SPARE: Mutex<Spare> = Mutex::new(Spare { buffers: Vec::new(), fewest: 0, most: 128 });

/// From now on no more than `bytes` are kept for the next `take`: what a checkpoint fills, so that a burst does not stay for ever.
pub(super) fn keep(bytes: usize) {
    SPARE.lock().most = bytes / BYTES;
}

/// An empty buffer of [`BYTES`] bytes.
pub(super) fn take() -> Vec<u8> {
    let mut spare = SPARE.lock();
    let buffer = spare.buffers.pop();
    spare.fewest = spare.fewest.min(spare.buffers.len());
    drop(spare);
    buffer.unwrap_or_else(|| Vec::with_capacity(BYTES))
}

/// Keeps a buffer for the next `take`, if it is one of these.
pub(super) fn give(mut buffer: Vec<u8>) {
    if buffer.capacity() == BYTES {
        buffer.clear();
        let mut spare = SPARE.lock();
        if spare.buffers.len() < spare.most {
            spare.buffers.push(buffer);
        }
    }
}

/// After each checkpoint: half of what was not needed since the last one is given back to the allocator.
pub(super) fn settle() {
    let mut spare = SPARE.lock();
    let (unused, kept) = (spare.fewest, spare.buffers.len());
    let freed = spare.buffers.split_off(kept - unused.div_ceil(2).min(kept));
    spare.fewest = spare.buffers.len();
    drop(spare);
    drop(freed);
}
