//! Rows as state that is kept in an order: ORDER BY columns, then all the others, so that bytes compare as the query orders rows and ties always
//! resolve alike, by the whole row (design D14).
//!
//! ```text
//!   | ORDER BY columns | the other columns | floats and intervals bit by bit, their length | length of the first part |
//! ```
//!
//! The last 4 bytes are a length by which ties are told. The third part is there only where there are such columns, so that rows come back as they were: what compares
//! equal has equal bytes, and of `1 mon` and `30 days`, or -0 and 0, only that would be left.

use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::key::{Codec, Order, Rows};
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Schema};
use std::sync::Arc;

/// See the module.
pub(crate) struct RowCodec {
    /// Input ordinals in stored order; the first `ordered` of them are the ORDER BY columns.
    stored: Vec<usize>,
    ordered: usize,
    order: Codec,
    rest: Codec,
    row: Codec,
    /// Input ordinals of what is kept bit by bit as well.
    exact: Vec<usize>,
    exact_codec: Codec,
}

const LENGTH: usize = 4;

impl RowCodec {
    /// A column that `order` names twice counts where it comes first.
    pub fn new(input: &Schema, order: &[(usize, Order)]) -> Result<RowCodec> {
        let mut columns: Vec<(usize, Order)> = Vec::new();
        for (column, order) in order {
            if !columns.iter().any(|(c, _)| c == column) {
                columns.push((*column, *order));
            }
        }
        let ordered = columns.len();
        for column in 0..input.fields().len() {
            if !columns.iter().any(|(c, _)| *c == column) {
                columns.push((column, Order::default()));
            }
        }
        let data_type = |column: usize| input.field(column).data_type().clone();
        let fields = columns.iter().map(|(c, order)| (data_type(*c), *order)).collect::<Vec<_>>();
        let loses = |t: &DataType| matches!(t, DataType::Float32 | DataType::Float64 | DataType::Interval(_));
        let exact = (0..input.fields().len()).filter(|c| loses(&data_type(*c))).collect::<Vec<_>>();
        Ok(RowCodec {
            ordered,
            order: Codec::ordered(fields[..ordered].to_vec())?,
            rest: Codec::ordered(fields[ordered..].to_vec())?,
            row: Codec::ordered(fields)?,
            stored: columns.into_iter().map(|(c, _)| c).collect(),
            exact_codec: Codec::rows(&exact.iter().map(|c| data_type(*c)).collect::<Vec<_>>())?,
            exact,
        })
    }

    pub fn encode(&self, delta: &Delta) -> Result<Rows> {
        let columns = self.stored.iter().map(|c| Arc::clone(delta.column(*c))).collect::<Vec<ArrayRef>>();
        let order = part(&self.order, &columns[..self.ordered], delta.rows())?;
        let rest = part(&self.rest, &columns[self.ordered..], delta.rows())?;
        let exact = part(&self.exact_codec, &self.exact.iter().map(|c| Arc::clone(delta.column(*c))).collect::<Vec<_>>(), delta.rows())?;
        let (mut rows, mut row) = (Rows::default(), Vec::new());
        for ((order, rest), exact) in order.iter().zip(rest.iter()).zip(exact.iter()) {
            row.clear();
            row.extend_from_slice(order);
            row.extend_from_slice(rest);
            if !self.exact.is_empty() {
                row.extend_from_slice(exact);
                row.extend_from_slice(&(exact.len() as u32).to_be_bytes());
            }
            row.extend_from_slice(&(order.len() as u32).to_be_bytes());
            rows.push(&row);
        }
        Ok(rows)
    }

    /// The input's columns.
    pub fn decode(&self, rows: &Rows) -> Result<Vec<ArrayRef>> {
        let stored = self.row.decode(&mut rows.iter())?;
        let mut columns = stored.clone();
        self.stored.iter().zip(stored).for_each(|(ordinal, column)| columns[*ordinal] = column);
        if !self.exact.is_empty() {
            let exact = self.exact_codec.decode(&mut rows.iter().map(exact_part))?;
            self.exact.iter().zip(exact).for_each(|(ordinal, column)| columns[*ordinal] = column);
        }
        Ok(columns)
    }

    /// The ORDER BY columns of rows that were cut to [`order_part`], in that order.
    pub fn decode_order(&self, parts: &mut dyn Iterator<Item = &[u8]>) -> Result<Vec<ArrayRef>> {
        self.order.decode(parts)
    }

    /// What [`order_part`] gives of rows with these ORDER BY columns.
    pub fn encode_order(&self, columns: &[ArrayRef]) -> Result<Rows> {
        let mut rows = Rows::default();
        self.order.encode(columns, &mut rows)?;
        Ok(rows)
    }
}

fn part(codec: &Codec, columns: &[ArrayRef], count: usize) -> Result<Rows> {
    let mut rows = Rows::default();
    if columns.is_empty() {
        (0..count).for_each(|_| rows.push(&[]));
    } else {
        codec.encode(columns, &mut rows)?;
    }
    Ok(rows)
}

/// The ORDER BY columns of a stored row.
pub(crate) fn order_part(row: &[u8]) -> &[u8] {
    let length = length_before(row, row.len());
    &row[..length.min(row.len())]
}

/// Of a row with such a part. Damaged bytes give something shorter, which does not decode.
fn exact_part(row: &[u8]) -> &[u8] {
    let end = row.len().saturating_sub(2 * LENGTH);
    let length = length_before(row, row.len().saturating_sub(LENGTH));
    &row[end.saturating_sub(length)..end]
}

fn length_before(row: &[u8], end: usize) -> usize {
    row[..end].last_chunk().map_or(0, |bytes: &[u8; LENGTH]| u32::from_be_bytes(*bytes) as usize)
}
