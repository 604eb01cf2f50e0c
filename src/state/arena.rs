//! Byte strings behind each other in chunks of memory that are used again ([`super::buffers`]): nothing moves as they grow, and nothing is freed one by one.

use super::buffers;

/// Bytes of the first chunk.
const FIRST_CHUNK: usize = 256;

/// Where a byte string begins.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    chunk: u32,
    start: u32,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Arena {
    /// Each byte string stands in one of them.
    chunks: Vec<Vec<u8>>,
    bytes: usize,
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.chunks.drain(..).for_each(buffers::give);
    }
}

impl Arena {
    /// Adds the concatenation of `parts` and `tail`.
    pub(super) fn push(&mut self, parts: &[&[u8]], tail: &[u8]) -> At {
        let size = parts.iter().map(|part| part.len()).sum::<usize>() + tail.len();
        let at = self.chunk_for(size);
        let chunk = &mut self.chunks[at];
        let start = chunk.len() as u32;
        parts.iter().for_each(|part| chunk.extend_from_slice(part));
        chunk.extend_from_slice(tail);
        self.bytes += size;
        At { chunk: at as u32, start }
    }

    /// `length` bytes from there on.
    #[inline]
    pub(super) fn get(&self, at: At, length: usize) -> &[u8] {
        let start = at.start as usize;
        &self.chunks[at.chunk as usize][start..start + length]
    }

    /// A chunk with room for `size` more bytes: the first ones are small, for most arenas are.
    fn chunk_for(&mut self, size: usize) -> usize {
        if self.chunks.last().is_none_or(|c| c.capacity() - c.len() < size) {
            let wanted = (self.bytes * 2).max(FIRST_CHUNK).max(size);
            self.chunks.push(match wanted {
                _ if size > buffers::BYTES => Vec::with_capacity(size),
                _ if wanted >= buffers::BYTES => buffers::take(),
                _ => Vec::with_capacity(wanted),
            });
        }
        self.chunks.len() - 1
    }

    /// Moves all of `other` behind these; what stood at `at` there stands at the result of the function here.
    pub(super) fn append(&mut self, mut other: Arena) -> impl Fn(At) -> At + use<> {
        let shift = self.chunks.len() as u32;
        self.chunks.append(&mut other.chunks);
        self.bytes += other.bytes;
        move |at| At { chunk: at.chunk + shift, ..at }
    }

    /// Bytes of all strings.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_of_all_sizes_stay_where_they_are() {
        let string = |i: usize| vec![i as u8; [0, 1, 100, 4000, buffers::BYTES, buffers::BYTES + 1][i % 6]];
        let mut arena = Arena::default();
        let first: Vec<At> = (0..20).map(|i| arena.push(&[], &string(i))).collect();
        let mut other = Arena::default();
        let second: Vec<At> = (0..20).map(|i| other.push(&[b"x"], &string(i))).collect();
        let bytes = arena.bytes() + other.bytes();
        let moved = arena.append(other);
        assert_eq!(arena.bytes(), bytes);
        for i in 0..20 {
            assert_eq!(arena.get(first[i], string(i).len()), string(i));
            assert_eq!(arena.get(moved(second[i]), string(i).len() + 1)[1..], string(i));
        }
    }
}
