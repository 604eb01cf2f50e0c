//! The seam of aggregate functions: an accumulator holds one value per slot in columns of its own, takes a batch of rows at
//! once, and can take every row back.

use super::bytes::Reader;
use crate::error::{Error, Kind, Result};
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;
use crate::types::key::Rows;
use arrow::array::ArrayRef;

/// One aggregate function over all groups of one worker. Pure: the same multiset of rows gives the same result, whatever the order
/// in which they came and whatever was retracted in between.
pub trait Accumulator: Send {
    /// The slot was assigned: its value is what `stored` holds, or that of no rows.
    fn load(&mut self, slot: Slot, stored: Option<&mut Reader<'_>>) -> Result<()>;

    /// Appends what `load` reads.
    fn store(&self, slot: Slot, out: &mut Vec<u8>);

    /// Frees what the slot holds on the heap.
    fn clear(&mut self, _slot: Slot) {}

    /// Bytes of heap that the slot holds.
    fn bytes(&self, _slot: Slot) -> usize {
        0
    }

    /// Takes rows in (weight > 0) and back (weight < 0). `columns` are the function's arguments, then its ORDER BY columns, one value per row.
    fn update(&mut self, rows: &Update<'_>, columns: &[ArrayRef], table: Option<&mut Multiset>) -> Result<()>;

    /// One value per group.
    fn result(&mut self, groups: &Touched<'_>, table: Option<&mut Multiset>) -> Result<Results>;
}

/// The groups that a batch touches: distinct keys, their hashes and slots.
#[derive(Clone, Copy)]
pub struct Touched<'a> {
    pub keys: &'a Rows,
    pub hashes: &'a [u64],
    pub slots: &'a [Slot],
}

/// Rows for an accumulator.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    /// Of each row, the slot of its group.
    pub slots: &'a [Slot],
    /// Of each row, its group's ordinal in `touched`.
    pub groups: &'a [u32],
    /// `None`: every row is at +1.
    pub weights: Option<&'a [i64]>,
    pub touched: Touched<'a>,
}

impl Update<'_> {
    pub fn weight(&self, row: usize) -> i64 {
        self.weights.map_or(1, |w| w[row])
    }

    /// Calls `each(row, slot, weight)` for the rows where `column` is not NULL.
    pub fn each_valid(&self, column: &ArrayRef, mut each: impl FnMut(usize, usize, i64)) {
        let nulls = column.logical_nulls().filter(|n| n.null_count() > 0);
        match (&nulls, self.weights) {
            (None, None) => self.slots.iter().enumerate().for_each(|(i, slot)| each(i, *slot as usize, 1)),
            _ => {
                for (i, slot) in self.slots.iter().enumerate() {
                    if nulls.as_ref().is_none_or(|n| n.is_valid(i)) {
                        each(i, *slot as usize, self.weight(i));
                    }
                }
            }
        }
    }
}

/// A column of results. A value that cannot be given (an overflow) is NULL in it and named in `bad`: that group is an evaluation error (design D15).
#[derive(Debug)]
pub struct Results {
    pub values: ArrayRef,
    pub bad: Vec<(u32, Error)>,
}

impl From<ArrayRef> for Results {
    fn from(values: ArrayRef) -> Self {
        Results { values, bad: Vec::new() }
    }
}

/// SQLSTATE 22003, as Postgres words it.
pub fn out_of_range(sql_type: &str) -> Error {
    Error::new(Kind::NumericOutOfRange, format!("{sql_type} out of range"))
}

/// Makes room for `slot` in a column.
pub fn grow<T: Clone + Default>(column: &mut Vec<T>, slot: Slot) -> &mut T {
    let at = slot as usize;
    if column.len() <= at {
        column.resize((at + 1).next_power_of_two().max(64), T::default());
    }
    &mut column[at]
}
