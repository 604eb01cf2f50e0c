//! string_agg and array_agg: all values of the group in order, from a multiset of (ORDER BY columns, then the arguments) per group.
//! Rows that tie in ORDER BY stand in the order of their encoded values (design D14), so the result does not depend on arrival. A retraction
//! removes the row from the multiset; the result is put together anew for touched groups, at a cost of the group's size.

use super::accumulator::{Accumulator, Results, Touched, Update};
use super::bytes::Reader;
use crate::error::{Error, Result};
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;
use crate::types::key::{Codec, Order, Rows};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringBuilder, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, FieldRef};
use std::sync::Arc;

/// What is made of the values.
#[derive(Clone, Debug)]
pub enum Collected {
    /// Values separated by the second argument of each but the first; NULLs left out.
    Text,
    /// A list with this element field, NULLs included.
    List(FieldRef),
}

/// See the module. All it remembers is in the multiset.
pub struct Ordered {
    collected: Collected,
    codec: Codec,
    arguments: usize,
}

impl Ordered {
    /// `arguments`: types of the arguments; `order`: of the ORDER BY columns.
    pub fn new(collected: Collected, arguments: &[DataType], order: &[(DataType, Order)]) -> Result<Self> {
        let fields = order.iter().cloned().chain(arguments.iter().map(|t| (t.clone(), Order::default()))).collect();
        Ok(Ordered { collected, codec: Codec::ordered(fields)?, arguments: arguments.len() })
    }

    fn text(&self, columns: &[ArrayRef], repeats: &[(usize, i64)]) -> Result<ArrayRef> {
        let texts = columns.iter().map(|c| Ok(cast(c, &DataType::Utf8)?)).collect::<Result<Vec<_>>>()?;
        let (values, separators) = (texts[0].as_string::<i32>(), texts.get(1).map(|s| s.as_string::<i32>()));
        let mut out = StringBuilder::new();
        let (mut row, mut text) = (0, String::new());
        for (rows, _) in repeats_by_group(repeats) {
            text.clear();
            let mut first = true;
            for (_, times) in rows {
                for _ in 0..*times {
                    if let Some(separators) = separators.filter(|s| !first && s.is_valid(row)) {
                        text.push_str(separators.value(row));
                    }
                    text.push_str(values.value(row));
                    first = false;
                }
                row += 1;
            }
            out.append_option((!first).then_some(&text));
        }
        Ok(Arc::new(out.finish()))
    }

    fn list(&self, field: &FieldRef, values: &ArrayRef, repeats: &[(usize, i64)]) -> Result<ArrayRef> {
        let (mut indices, mut lengths, mut valid, mut row) = (Vec::new(), Vec::new(), Vec::new(), 0u32);
        for (rows, _) in repeats_by_group(repeats) {
            let before = indices.len();
            for (_, times) in rows {
                indices.extend(std::iter::repeat_n(row, *times as usize));
                row += 1;
            }
            lengths.push(indices.len() - before);
            valid.push(indices.len() > before);
        }
        let values = take(values, &UInt32Array::from(indices), None)?;
        Ok(Arc::new(ListArray::try_new(Arc::clone(field), OffsetBuffer::from_lengths(lengths), values, Some(NullBuffer::from(valid)))?))
    }
}

/// Splits `(group, times)` entries, ordered by group, where each group ends with an entry of 0 times.
fn repeats_by_group(repeats: &[(usize, i64)]) -> impl Iterator<Item = (&[(usize, i64)], usize)> {
    repeats.split_inclusive(|(_, times)| *times == 0).map(|part| (&part[..part.len() - 1], part[part.len() - 1].0))
}

impl Accumulator for Ordered {
    fn load(&mut self, _slot: Slot, _stored: Option<&mut Reader<'_>>) -> Result<()> {
        Ok(())
    }

    fn store(&self, _slot: Slot, _out: &mut Vec<u8>) {}

    fn update(&mut self, update: &Update<'_>, columns: &[ArrayRef], table: Option<&mut Multiset>) -> Result<()> {
        collect(table.ok_or_else(no_table)?, &self.codec, update, columns.split_at(self.arguments), matches!(self.collected, Collected::Text))
    }

    fn result(&mut self, touched: &Touched<'_>, table: Option<&mut Multiset>) -> Result<Results> {
        let table = table.ok_or_else(no_table)?;
        let mut groups = Vec::new();
        table.resolve(touched.keys, touched.hashes, &mut groups);
        table.load(&groups)?;
        let (mut rows, mut repeats) = (Vec::new(), Vec::new());
        for (ordinal, group) in groups.iter().enumerate() {
            for (row, weight) in table.rows(*group).filter(|(_, w)| *w > 0) {
                rows.push(row);
                repeats.push((ordinal, weight));
            }
            repeats.push((ordinal, 0));
        }
        let columns = self.codec.decode(&mut rows.into_iter())?;
        let arguments = &columns[columns.len() - self.arguments..];
        Ok(match &self.collected {
            Collected::Text => self.text(arguments, &repeats)?,
            Collected::List(field) => self.list(field, &arguments[0], &repeats)?,
        }
        .into())
    }
}

/// Keeps the rows of arguments by their groups, in the order of the order columns. `skip_nulls`: not those whose first argument is NULL.
pub(super) fn collect(
    table: &mut Multiset,
    codec: &Codec,
    update: &Update<'_>,
    (arguments, order): (&[ArrayRef], &[ArrayRef]),
    skip_nulls: bool,
) -> Result<()> {
    let stored = order.iter().chain(arguments).cloned().collect::<Vec<_>>();
    let mut rows = Rows::default();
    codec.encode(&stored, &mut rows)?;
    let mut groups = Vec::new();
    table.resolve(update.touched.keys, update.touched.hashes, &mut groups);
    let nulls = arguments[0].logical_nulls().filter(|_| skip_nulls);
    for (i, group) in update.groups.iter().enumerate() {
        if nulls.as_ref().is_none_or(|n| n.is_valid(i)) {
            table.add(groups[*group as usize], rows.row(i), update.weight(i));
        }
    }
    Ok(())
}

pub(super) fn no_table() -> Error {
    Error::internal("an ordered aggregate has no multiset")
}
