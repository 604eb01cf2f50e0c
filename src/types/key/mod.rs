//! The row codec: columns -> bytes that compare like the rows, and back. These bytes are on disk (version 1, golden bytes in the tests).
//!
//! A row is its fields back to back; no field's encoding is a prefix of another's, so rows compare as Postgres compares them, field by field.
//!
//! ```text
//!   NULL                      0x01 where NULLs come first, 0x03 where they come last; nothing follows
//!   anything else             0x02, then
//!     boolean                 0x00 | 0x01
//!     integers, date, time, timestamps, duration, decimals      big-endian, sign bit turned (unsigned: as is)
//!     real, double            -0.0 made 0.0, every NaN made one that is greatest; negative: all bits turned, else the sign bit
//!     interval                as if 1 month = 30 days and 1 day = 24 hours: nanoseconds, 16 bytes like a decimal
//!     text, bytea             bytes, where 00 becomes 00 FF; then 00 01
//!     fixed size (uuid)       bytes
//!     array                   elements, encoded ascending with NULLs last; then 00, less than any element
//!     struct                  fields, likewise
//! ```
//!
//! A descending field has everything after its first byte inverted. The encoding is canonical: what Postgres calls equal has equal bytes. The price is paid
//! by what is equal and looks different: of an interval only the length is kept (`1 mon` and `30 days` both come back as `30 days`), and -0 comes back as 0.
//! Where rows are kept as what they are and not looked up by value, [`Codec::rows`] keeps every bit instead.
//!
//! Both directions go column by column: sizes first, then every column writes its part of each row into the one buffer.

mod decode;
mod encode;

use crate::error::{Error, Result};
use arrow::array::{Array, ArrayRef, make_array};
use arrow::datatypes::{DataType, IntervalUnit};
use std::borrow::Cow;

/// Rows as bytes, back to back in one buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Rows {
    pub const EMPTY: Rows = Rows { bytes: Vec::new(), ends: Vec::new() };

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    #[inline]
    pub fn row(&self, i: usize) -> &[u8] {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.bytes[start..self.ends[i]]
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|i| self.row(i))
    }

    pub fn push(&mut self, row: &[u8]) {
        self.bytes.extend_from_slice(row);
        self.ends.push(self.bytes.len());
    }

    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.bytes.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

/// How one field orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Hash)]
pub struct Order {
    pub descending: bool,
    pub nulls_first: bool,
}

/// First byte of every field; smaller than 0xFF, so that an escaped zero sorts behind a terminator.
const NULL_FIRST: u8 = 0x01;
const VALUE: u8 = 0x02;
const NULL_LAST: u8 = 0x03;

impl Order {
    fn null_tag(self) -> u8 {
        if self.nulls_first { NULL_FIRST } else { NULL_LAST }
    }

    /// What SQL writes behind the column.
    pub fn suffix(self) -> &'static str {
        match (self.descending, self.nulls_first) {
            (false, false) => "",
            (false, true) => " NULLS FIRST",
            (true, true) => " DESC",
            (true, false) => " DESC NULLS LAST",
        }
    }

    /// What the bytes of a value are combined with by xor.
    fn mask(self) -> u8 {
        if self.descending { 0xFF } else { 0 }
    }
}

/// Encodes and decodes rows of fixed column types.
#[derive(Clone, Debug)]
pub struct Codec {
    fields: Vec<(DataType, Order)>,
    /// By field: the type whose values are kept as the bits that the field's type has.
    as_bits: Vec<Option<DataType>>,
}

impl Codec {
    /// Ascending, NULLs last (as Postgres orders by default).
    pub fn new(types: &[DataType]) -> Result<Codec> {
        Self::ordered(types.iter().map(|t| (t.clone(), Order::default())).collect())
    }

    /// Error: a type that cannot be a stored column.
    pub fn ordered(fields: Vec<(DataType, Order)>) -> Result<Codec> {
        fields.iter().try_for_each(|(t, _)| check(t))?;
        let as_bits = vec![None; fields.len()];
        Ok(Codec { fields, as_bits })
    }

    /// For whole rows: every value comes back as it was (but for what is inside arrays and structs), and rows have no order.
    pub fn rows(types: &[DataType]) -> Result<Codec> {
        types.iter().try_for_each(check)?;
        let (fields, as_bits) = types
            .iter()
            .map(|t| match bits_of(t) {
                Some(bits) => ((bits, Order::default()), Some(t.clone())),
                None => ((t.clone(), Order::default()), None),
            })
            .unzip();
        Ok(Codec { fields, as_bits })
    }

    /// Like [`Codec::rows`], but the leading columns are as [`Codec::ordered`] encodes them: whole rows in the order of these columns.
    pub fn led(leading: &[Order], types: &[DataType]) -> Result<Codec> {
        let mut codec = Codec::rows(types)?;
        for ((field, as_bits), (order, data_type)) in codec.fields.iter_mut().zip(&mut codec.as_bits).zip(leading.iter().zip(types)) {
            (*field, *as_bits) = ((data_type.clone(), *order), None);
        }
        Ok(codec)
    }

    /// Appends one row per row of `columns` (same length each; their types are the codec's) to `rows`.
    /// A codec without fields appends nothing: it cannot know how many rows there are.
    pub fn encode(&self, columns: &[ArrayRef], rows: &mut Rows) -> Result<()> {
        self.encode_with(columns, rows, 0)
    }

    /// Likewise, with four more bytes behind each row: `tail` of its ordinal in `columns`.
    pub fn encode_tailed(&self, columns: &[ArrayRef], tail: &dyn Fn(usize) -> [u8; 4], rows: &mut Rows) -> Result<()> {
        let first = rows.len();
        self.encode_with(columns, rows, 4)?;
        for row in first..rows.len() {
            let end = rows.ends[row];
            rows.bytes[end - 4..end].copy_from_slice(&tail(row - first));
        }
        Ok(())
    }

    fn encode_with(&self, columns: &[ArrayRef], rows: &mut Rows, room: usize) -> Result<()> {
        if columns.len() != self.fields.len() {
            return Err(Error::internal(format!("a codec of {} fields was given {} columns", self.fields.len(), columns.len())));
        }
        let columns = &*self.bits(columns)?;
        for ((expected, _), column) in self.fields.iter().zip(columns) {
            if !same_type(expected, column.data_type()) {
                return Err(Error::internal(format!("a codec field of type {expected} was given a column of type {}", column.data_type())));
            }
        }
        let Some(first) = columns.first() else { return Ok(()) };
        if columns.iter().any(|c| c.len() != first.len()) {
            return Err(Error::internal("a codec was given columns of different lengths"));
        }
        encode::encode(&self.fields, columns, first.len(), rows, room)
    }

    /// Columns from rows that this codec encoded; bytes behind the last field are ignored. Error: damaged bytes.
    pub fn decode(&self, rows: &mut dyn Iterator<Item = &[u8]>) -> Result<Vec<ArrayRef>> {
        let mut rest: Vec<&[u8]> = rows.collect();
        let columns = self.fields.iter().map(|(t, order)| decode::column(t, *order, &mut rest)).collect::<Result<Vec<_>>>()?;
        columns.into_iter().zip(&self.as_bits).map(|(column, shown)| shown.as_ref().map_or(Ok(column.clone()), |t| reinterpreted(&column, t))).collect()
    }

    /// The columns that are kept bit by bit as what has these bits.
    fn bits<'a>(&self, columns: &'a [ArrayRef]) -> Result<Cow<'a, [ArrayRef]>> {
        if self.as_bits.iter().all(Option::is_none) {
            return Ok(Cow::Borrowed(columns));
        }
        let bits = |(column, ((to, _), shown)): (&ArrayRef, (&(DataType, Order), &Option<DataType>))| match shown {
            Some(shown) if same_type(shown, column.data_type()) => reinterpreted(column, to),
            _ => Ok(column.clone()),
        };
        columns.iter().zip(self.fields.iter().zip(&self.as_bits)).map(bits).collect::<Result<Vec<_>>>().map(Cow::Owned)
    }
}

/// What a field begins with that is not NULL: all such fields are in this range, whatever their order.
pub const NOT_NULL: std::ops::Range<[u8; 1]> = [VALUE]..[NULL_LAST];

/// Whether values of the type come back from the encoding bit by bit as they were, so that [`Codec::rows`] orders them as [`Codec::new`] does.
pub fn is_exact(data_type: &DataType) -> bool {
    bits_of(data_type).is_none()
}

/// A type of the same layout whose encoding keeps every bit; `None`: the type's own does.
fn bits_of(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Interval(_) => Some(DataType::FixedSizeBinary(16)),
        DataType::Float64 => Some(DataType::UInt64),
        DataType::Float32 => Some(DataType::UInt32),
        _ => None,
    }
}

fn reinterpreted(column: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(make_array(column.to_data().into_builder().data_type(to.clone()).align_buffers(true).build()?))
}

/// Nested field names and nullability do not matter to the bytes.
fn same_type(a: &DataType, b: &DataType) -> bool {
    a == b || a.equals_datatype(b)
}

fn check(data_type: &DataType) -> Result<()> {
    use DataType as D;
    match data_type {
        D::Null | D::Boolean | D::Int8 | D::Int16 | D::Int32 | D::Int64 | D::UInt8 | D::UInt16 | D::UInt32 | D::UInt64 => Ok(()),
        D::Float32 | D::Float64 | D::Decimal128(..) | D::Decimal256(..) | D::Utf8 | D::Binary | D::FixedSizeBinary(_) => Ok(()),
        D::Date32 | D::Date64 | D::Time32(_) | D::Time64(_) | D::Timestamp(..) | D::Duration(_) => Ok(()),
        D::Interval(IntervalUnit::MonthDayNano) => Ok(()),
        D::List(element) => check(element.data_type()),
        D::Struct(fields) => fields.iter().try_for_each(|f| check(f.data_type())),
        other => Err(Error::not_supported(format!("a column of type {other} cannot be stored")).with_hint("cast it to a type that a table column may have")),
    }
}

/// The hash of a key's bytes (XXH3-64, seed 0): durable, for it places keys in virtual nodes on disk.
#[inline]
pub fn hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// The 9 bytes with which a non-null timestamp (µs) begins: the window part of keys of windowed state tables.
#[inline]
pub fn window_key(micros: i64) -> [u8; 9] {
    let mut key = [VALUE; 9];
    key[1..].copy_from_slice(&((micros as u64) ^ (1 << 63)).to_be_bytes());
    key
}

/// The inverse of [`window_key`]; `None` for other bytes (a NULL window).
#[inline]
pub fn window_of_key(key: &[u8]) -> Option<i64> {
    match key {
        [VALUE, rest @ ..] => rest.first_chunk::<8>().map(|b| (u64::from_be_bytes(*b) ^ (1 << 63)) as i64),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
