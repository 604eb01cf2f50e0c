//! Records out of a stream of bytes: one per line, in CSV also over several lines inside quotes. A record's position is the number of (uncompressed)
//! bytes before it.

use super::connector::Position;
use crate::error::Result;
use std::io::Read;

/// A longer record is set aside: memory must stay bounded whatever a file holds.
const MAX_RECORD: usize = 16 << 20;
/// What is kept of it.
const KEPT_OF_LONG: usize = 4096;
/// Bytes asked for at once.
const CHUNK: usize = 256 << 10;

/// Splits a stream.
pub struct Lines {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    /// Where the unread part of the buffer begins.
    start: usize,
    /// Position of that byte.
    position: Position,
    /// Up to where the unread part is known to hold no record end, and whether that is inside quotes.
    searched: usize,
    quoted: bool,
    quotes: bool,
    /// The long record being skipped: where it began, and its beginning.
    long: Option<(Position, Vec<u8>)>,
}

/// One step of splitting.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A record is at `buffer()[range]`, without its line end, beginning at the position.
    Record(Position, std::ops::Range<usize>),
    /// A record was too long; its beginning.
    TooLong(Position, Vec<u8>),
    /// The input has no more bytes now. What is left is an unfinished record.
    Dry,
}

impl Lines {
    /// `input` stands at `position`. `quotes`: line ends inside quotes are part of the record.
    pub fn new(input: Box<dyn Read + Send>, position: Position, quotes: bool) -> Lines {
        Lines { input, buffer: Vec::new(), start: 0, position, searched: 0, quoted: false, quotes, long: None }
    }

    /// Position of the next record.
    pub fn position(&self) -> Position {
        self.long.as_ref().map_or(self.position, |(p, _)| *p)
    }

    /// Bytes taken from the input so far, from position 0.
    pub fn end(&self) -> Position {
        self.position + (self.buffer.len() - self.start) as i64
    }

    /// The bytes that records point into, until the next call of `next`.
    pub fn buffer(&self) -> &[u8] {
        &self.buffer
    }

    /// The next record. Error: the input cannot be read; calling again goes on.
    pub fn next(&mut self) -> Result<Line> {
        loop {
            if let Some(end) = self.find_end() {
                let range = self.start..end;
                let at = self.advance(end + 1);
                if let Some((position, head)) = self.long.take() {
                    return Ok(Line::TooLong(position, head));
                }
                let range = if self.buffer[range.clone()].ends_with(b"\r") { range.start..range.end - 1 } else { range };
                if !range.is_empty() {
                    return Ok(Line::Record(at, range));
                }
                continue;
            }
            if self.buffer.len() - self.start > MAX_RECORD {
                let head = self.buffer[self.start..self.start + KEPT_OF_LONG].to_vec();
                let at = self.advance(self.buffer.len());
                self.long.get_or_insert((at, head));
            }
            if !self.fill()? {
                return Ok(Line::Dry);
            }
        }
    }

    /// The unfinished record at the end of an input that will not grow.
    pub fn last(&mut self) -> Option<Line> {
        let range = self.start..self.buffer.len();
        let at = self.advance(range.end);
        match self.long.take() {
            Some((position, head)) => Some(Line::TooLong(position, head)),
            None if range.is_empty() => None,
            None => Some(Line::Record(at, range)),
        }
    }

    /// Takes the bytes up to `end` as read; gives the position where they began.
    fn advance(&mut self, end: usize) -> Position {
        let at = self.position;
        self.position += (end - self.start) as i64;
        self.start = end;
        self.searched = end;
        at
    }

    fn find_end(&mut self) -> Option<usize> {
        if !self.quotes {
            let found = memchr::memchr(b'\n', &self.buffer[self.searched..]).map(|i| self.searched + i);
            self.searched = found.unwrap_or(self.buffer.len());
            return found;
        }
        while let Some(i) = memchr::memchr2(b'\n', b'"', &self.buffer[self.searched..]) {
            let at = self.searched + i;
            self.searched = at + 1;
            // A doubled quote toggles twice: inside quotes stays inside.
            if self.buffer[at] == b'"' {
                self.quoted = !self.quoted;
            } else if !self.quoted {
                return Some(at);
            }
        }
        self.searched = self.buffer.len();
        None
    }

    /// Reads more; false: there is nothing now.
    fn fill(&mut self) -> Result<bool> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        let filled = self.buffer.len();
        self.buffer.resize(filled + CHUNK, 0);
        let read = self.input.read(&mut self.buffer[filled..]);
        self.buffer.truncate(filled + read.as_ref().map_or(0, |n| *n));
        Ok(read? > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &'static [u8], quotes: bool) -> Vec<(Position, String)> {
        let mut lines = Lines::new(Box::new(text), 100, quotes);
        let mut out = Vec::new();
        loop {
            let line = match lines.next().unwrap() {
                Line::Dry => lines.last(),
                line => Some(line),
            };
            match line {
                Some(Line::Record(at, range)) => out.push((at, String::from_utf8_lossy(&lines.buffer()[range]).into_owned())),
                Some(other) => panic!("{other:?}"),
                None => return out,
            }
        }
    }

    #[test]
    fn lines_have_positions_and_blank_ones_are_skipped() {
        let expected = [(100, "ab".to_string()), (105, "c".to_string()), (107, "def".to_string())];
        assert_eq!(all(b"ab\n\r\nc\ndef", false), expected);
    }

    #[test]
    fn quotes_hold_line_ends_in_csv() {
        let expected = [(100, "a,\"x\n\"\"y\"".to_string()), (110, "b,c".to_string())];
        assert_eq!(all(b"a,\"x\n\"\"y\"\nb,c\n", true), expected);
    }

    #[test]
    fn a_record_without_end_does_not_fill_memory() {
        struct Endless(usize);
        impl Read for Endless {
            fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
                let n = out.len().min(self.0);
                out[..n].fill(b'x');
                self.0 -= n;
                if n == 0 && self.0 == 0 { Ok(0) } else { Ok(n) }
            }
        }
        let input = Endless(40 << 20).chain(&b"\nnext\n"[..]);
        let mut lines = Lines::new(Box::new(input), 0, false);
        let Line::TooLong(0, head) = lines.next().unwrap() else { panic!("a long record") };
        assert_eq!(head.len(), KEPT_OF_LONG);
        assert!(lines.buffer.capacity() < 40 << 20);
        assert_eq!(lines.next().unwrap(), Line::Record((40 << 20) + 1, lines.start - 5..lines.start - 1));
    }
}
