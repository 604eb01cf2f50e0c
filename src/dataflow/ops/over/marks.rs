//! Marks: what running functions (`row_number`, `sum(…) OVER (ORDER BY …)`, frames from the partition's start to the current row) had come to behind some
//! rows of a partition. With them a change is computed from the mark before it on, not from the partition's start: a row that is appended to a million reads
//! some dozens.
//!
//! ```text
//!   rows    a b c d | e f g h | i j        a mark behind every EVERY rows or more, always behind a whole group of peers
//!   change                      ^ k        the nearest mark before its group is where reading begins; marks from its group on are made anew
//! ```
//!
//! State: of each partition a multiset of `row | what it came to | length of that`, so that marks lie in the order of the rows.

use super::call::{WindowCall, WindowFunction};
use super::frame::{Bound, Frame};
use super::moment::{Moment, Part};
use super::reach::{Amount, Reach};
use crate::dataflow::agg::bytes::{Reader, put_bytes, put_integer};
use crate::dataflow::agg::function::Function;
use crate::error::Result;
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;

/// Rows between two marks, at least.
const EVERY: usize = if cfg!(test) { 3 } else { 64 };
const LENGTH: usize = 4;

/// What the rows of a partition before a span came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prefix {
    pub rows: i64,
    /// Of peers.
    pub groups: i64,
    /// Of each call what it needs to go on; empty: as at the partition's start.
    pub values: Vec<Vec<u8>>,
}

impl Prefix {
    pub fn value(&self, call: usize) -> &[u8] {
        self.values.get(call).map_or(&[], Vec::as_slice)
    }
}

impl WindowCall {
    /// Whether its value behind a row follows from its value behind an earlier one and the rows between.
    pub(super) fn is_running(&self) -> bool {
        let running = self.frame.is_running();
        match &self.function {
            WindowFunction::RowNumber | WindowFunction::Rank | WindowFunction::DenseRank => true,
            WindowFunction::First(_) | WindowFunction::Last(_) => running && !self.ignore_nulls,
            WindowFunction::Aggregate(call) => running && !matches!(call.function, Function::StringAgg | Function::ArrayAgg),
            _ => false,
        }
    }
}

/// How far is looked back from a change before the nearest mark is looked for, if marks help these calls: whoever looks back to the start is running, and
/// nobody looks ahead to the end.
pub(super) fn look_back(calls: &[WindowCall], reach: impl Fn(&WindowCall) -> Reach) -> Option<Amount> {
    let of_call = |call: &WindowCall| if call.is_running() { Amount::groups(0) } else { reach(call).back };
    let back = calls.iter().map(of_call).fold(Amount::default(), Amount::or);
    let all = calls.iter().map(reach).fold(Reach::default(), Reach::or);
    (all.back.all && !all.ahead.all && !back.all).then_some(back)
}

/// The marks of one partition.
pub(super) struct Marks<'a> {
    pub table: &'a mut Multiset,
    pub slot: Slot,
}

impl Marks<'_> {
    /// Gives the nearest mark before `row`, with what its row came to, and takes away all from `row` on.
    pub fn cut(&mut self, row: &[u8]) -> Result<Option<(Vec<u8>, Prefix)>> {
        let mut outdated = Vec::new();
        self.table.forward(self.slot, row, &mut |mark, weight| {
            outdated.push((mark.to_vec(), weight));
            true
        })?;
        outdated.iter().for_each(|(mark, weight)| self.table.add(self.slot, mark, -weight));
        let mut nearest = None;
        self.table.backward(self.slot, row, &mut |mark, weight| {
            nearest = (weight > 0).then(|| mark.to_vec());
            nearest.is_none()
        })?;
        nearest.map(|mark| decode(&mark)).transpose()
    }
}

fn decode(mark: &[u8]) -> Result<(Vec<u8>, Prefix)> {
    let (rest, length) = mark.split_last_chunk::<LENGTH>().unwrap_or((&[], &[0; LENGTH]));
    let (row, prefix) = rest.split_at(rest.len().saturating_sub(u32::from_be_bytes(*length) as usize));
    let mut reader = Reader::new(prefix);
    let (rows, groups) = (reader.i64()?, reader.i64()?);
    let mut values = Vec::new();
    while !reader.is_empty() {
        values.push(reader.bytes()?.to_vec());
    }
    Ok((row.to_vec(), Prefix { rows, groups, values }))
}

/// Appends a mark behind `row` to `out`.
fn encode(row: &[u8], prefix: &Prefix, out: &mut Vec<u8>) {
    out.extend_from_slice(row);
    put_integer(out, i128::from(prefix.rows));
    put_integer(out, i128::from(prefix.groups));
    prefix.values.iter().for_each(|value| put_bytes(out, value));
    out.extend_from_slice(&((out.len() - row.len()) as u32).to_be_bytes());
}

/// Marks that are to be made at one moment, in the order of its rows.
#[derive(Default)]
pub(super) struct NewMarks {
    /// Ordinals of the moment's rows, and of those that are asked for.
    pub rows: Vec<usize>,
    pub wanted: Vec<usize>,
    parts: Vec<usize>,
    prefixes: Vec<Prefix>,
}

impl NewMarks {
    /// Where marks belong among the rows that are computed anew.
    pub fn places(moment: &Moment) -> NewMarks {
        let (mut marks, mut wanted) = (NewMarks::default(), 0);
        for (number, part) in moment.parts.iter().enumerate() {
            let mut last = part.rows.start;
            for row in part.wanted.clone() {
                let ends = row + 1 == part.rows.end || moment.group(row + 1) != moment.group(row);
                if ends && row + 1 - last >= EVERY {
                    last = row + 1;
                    marks.rows.push(row);
                    marks.wanted.push(wanted + row - part.wanted.start);
                    marks.parts.push(number);
                    marks.prefixes.push(prefix_at(moment, part, row));
                }
            }
            wanted += part.wanted.len();
        }
        marks
    }

    /// What one more call came to at each.
    pub fn add(&mut self, values: Vec<Vec<u8>>) {
        self.prefixes.iter_mut().zip(values).for_each(|(prefix, value)| prefix.values.push(value));
    }

    /// Stores them; `slots` are those of the parts, `row` gives the bytes of a moment's row.
    pub fn store<'r>(&self, table: &mut Multiset, slots: &[Slot], row: impl Fn(usize) -> &'r [u8]) {
        let mut bytes = Vec::new();
        for ((at, part), prefix) in self.rows.iter().zip(&self.parts).zip(&self.prefixes) {
            bytes.clear();
            encode(row(*at), prefix, &mut bytes);
            table.add(slots[*part], &bytes, 1);
        }
    }
}

fn prefix_at(moment: &Moment, part: &Part, row: usize) -> Prefix {
    Prefix {
        rows: part.prefix.rows + (row + 1 - part.rows.start) as i64,
        groups: part.prefix.groups + i64::from(moment.group(row) - moment.group(part.rows.start)) + 1,
        values: Vec::new(),
    }
}

impl Frame {
    /// From the partition's start to the current row.
    pub(super) fn is_running(&self) -> bool {
        self.start == Bound::Unbounded && self.end == Bound::CurrentRow
    }
}
