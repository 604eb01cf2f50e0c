//! Cursors that go back (`DECLARE … SCROLL CURSOR`). Rows are kept as they are read, so that any of them can be had again; how much that may
//! be is bounded. A position is a row's number, from 1; 0 is before the first one, and behind the last one is its number and 1.

use super::encode::{RowEncoder, prepare};
use super::portal::RowStream;
use super::wire::{FLUSH_BYTES, Interrupts, Stop, Wire};
use crate::error::{Error, Kind, Result};
use crate::types::direction::Direction;
use arrow::array::ArrayRef;

/// What the rows of one cursor may take.
const MAX_BYTES: usize = 256 << 20;

/// The rows of a cursor that have been read, and where it stands.
pub struct Scroll {
    stream: RowStream,
    /// The number of each batch's last row, and its columns.
    batches: Vec<(u64, Vec<ArrayRef>)>,
    bytes: usize,
    position: u64,
    /// All rows are read.
    ended: bool,
}

/// Rows that a FETCH gives, from one to the other, and where the cursor stands then.
#[derive(Debug, PartialEq, Eq)]
struct Reach {
    from: u64,
    /// Below `from`: they come backwards.
    to: u64,
    position: u64,
}

impl Scroll {
    pub fn new(stream: RowStream) -> Scroll {
        Scroll { stream, batches: Vec::new(), bytes: 0, position: 0, ended: false }
    }

    /// Moves, and sends the rows on the way unless `to` is none. Gives how many they are.
    pub async fn fetch(&mut self, wire: &mut Wire, interrupts: &mut Interrupts, to: Option<&RowEncoder>, direction: Direction) -> Result<u64, Stop> {
        self.read(wire, interrupts, needed(direction, self.position)).await?;
        let Some(reach) = reach(direction, self.position, self.read_rows()) else { return Ok(0) };
        self.position = reach.position;
        let count = if reach.from == 0 { 0 } else { reach.from.abs_diff(reach.to) + 1 };
        let Some(encoder) = to else { return Ok(count) };
        let backwards = reach.to < reach.from;
        for i in 0..count {
            self.write(wire, encoder, if backwards { reach.from - i } else { reach.from + i })?;
            if wire.pending() >= FLUSH_BYTES {
                interrupts.flush(wire).await?;
            }
        }
        Ok(count)
    }

    fn read_rows(&self) -> u64 {
        self.batches.last().map_or(0, |(last, _)| *last)
    }

    /// Reads until there is a row of this number, if there ever is.
    async fn read(&mut self, wire: &mut Wire, interrupts: &mut Interrupts, number: u64) -> Result<(), Stop> {
        while !self.ended && self.read_rows() < number {
            match self.stream.batch(wire, interrupts).await? {
                Some(batch) => {
                    self.bytes += batch.get_array_memory_size();
                    if self.bytes > MAX_BYTES {
                        let error = Error::new(Kind::OutOfMemory, format!("the rows of a scrolling cursor take more than {} MiB", MAX_BYTES >> 20));
                        return Err(error.with_hint("declare it NO SCROLL").into());
                    }
                    if batch.num_rows() > 0 {
                        self.batches.push((self.read_rows() + batch.num_rows() as u64, prepare(&batch)?));
                    }
                }
                None => self.ended = true,
            }
        }
        Ok(())
    }

    fn write(&self, wire: &mut Wire, encoder: &RowEncoder, number: u64) -> Result<()> {
        let at = self.batches.partition_point(|(last, _)| *last < number);
        let before = at.checked_sub(1).map_or(0, |at| self.batches[at].0);
        encoder.rows(&self.batches[at].1)?.write((number - before - 1) as usize, &mut wire.out)
    }
}

/// The number of the last row that has to be known.
fn needed(direction: Direction, position: u64) -> u64 {
    match direction {
        Direction::Forward(count) => count.map_or(u64::MAX, |n| position.saturating_add(n)),
        Direction::Backward(_) => 0,
        Direction::Absolute(number) => u64::try_from(number).unwrap_or(u64::MAX),
        Direction::Relative(steps) => position.saturating_add_signed(steps),
    }
}

/// `rows`: how many there are, or are known. `None`: the cursor stays, and there is no row where it stands.
fn reach(direction: Direction, position: u64, rows: u64) -> Option<Reach> {
    let one = |number: u64| match number {
        0 => Reach { from: 0, to: 0, position: 0 },
        n if n > rows => Reach { from: 0, to: 0, position: rows + 1 },
        n => Reach { from: n, to: n, position: n },
    };
    match direction {
        Direction::Forward(Some(0)) | Direction::Backward(Some(0)) | Direction::Relative(0) => (1..=rows).contains(&position).then(|| one(position)),
        Direction::Forward(count) => {
            let from = position.saturating_add(1);
            let to = count.map_or(u64::MAX, |n| position.saturating_add(n));
            Some(match (from > rows, to > rows) {
                (true, _) => one(rows + 1),
                (false, true) => Reach { from, to: rows, position: rows + 1 },
                (false, false) => Reach { from, to, position: to },
            })
        }
        Direction::Backward(count) => {
            let position = position.min(rows + 1);
            let to = count.map_or(0, |n| position.saturating_sub(n));
            Some(if position <= 1 { one(0) } else { Reach { from: position - 1, to: to.max(1), position: to } })
        }
        Direction::Absolute(number) => Some(one(match u64::try_from(number) {
            Ok(number) => number,
            Err(_) => (rows + 1).saturating_sub(number.unsigned_abs()),
        })),
        Direction::Relative(steps) => Some(one(position.min(rows + 1).saturating_add_signed(steps))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_stand_before_on_and_behind_rows() {
        let at = |direction, position| reach(direction, position, 5).map(|r| (r.from, r.to, r.position));
        assert_eq!(at(Direction::Forward(Some(2)), 0), Some((1, 2, 2)));
        assert_eq!(at(Direction::Forward(Some(9)), 2), Some((3, 5, 6)));
        assert_eq!(at(Direction::Forward(None), 6), Some((0, 0, 6)));
        assert_eq!(at(Direction::Backward(Some(1)), 6), Some((5, 5, 5)));
        assert_eq!(at(Direction::Backward(Some(2)), 5), Some((4, 3, 3)));
        assert_eq!(at(Direction::Backward(None), 3), Some((2, 1, 0)));
        assert_eq!(at(Direction::Backward(Some(1)), 1), Some((0, 0, 0)));
        assert_eq!(at(Direction::Absolute(-1), 0), Some((5, 5, 5)));
        assert_eq!(at(Direction::Absolute(-9), 3), Some((0, 0, 0)));
        assert_eq!(at(Direction::Absolute(9), 3), Some((0, 0, 6)));
        assert_eq!(at(Direction::Relative(-2), 5), Some((3, 3, 3)));
        assert_eq!(at(Direction::Relative(0), 6), None);
        assert_eq!(at(Direction::Backward(Some(0)), 2), Some((2, 2, 2)));
    }
}
