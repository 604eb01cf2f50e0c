//! min and max.
//!
//! Append-only input: only the value, in a native column where the type has one. Retracting input: a multiset of the values per group beside it, in
//! the order that puts the result first; the current result is kept with the group, so that the multiset is read only when the
//! result itself was taken back, and then no further than its first row.

use super::accumulator::{Accumulator, Results, Touched, Update, grow};
use super::bytes::{Reader, put_bytes};
use crate::error::Result;
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;
use crate::types::key::{Codec, Order, Rows};
use arrow::array::{ArrayRef, ArrowNativeTypeOp, ArrowPrimitiveType, AsArray, PrimitiveArray, new_null_array};
use arrow::buffer::NullBuffer;
use arrow::compute::take;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, ToByteSlice,
};
use std::sync::Arc;

/// Which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Min,
    Max,
}

/// The accumulator over append-only input.
pub fn growing(end: End, data_type: &DataType) -> Result<Box<dyn Accumulator>> {
    Ok(match data_type {
        DataType::Int16 => Native::<Int16Type>::boxed(end, data_type),
        DataType::Int32 => Native::<Int32Type>::boxed(end, data_type),
        DataType::Int64 => Native::<Int64Type>::boxed(end, data_type),
        DataType::Decimal128(..) => Native::<Decimal128Type>::boxed(end, data_type),
        DataType::Date32 => Native::<Date32Type>::boxed(end, data_type),
        DataType::Time64(TimeUnit::Microsecond) => Native::<Time64MicrosecondType>::boxed(end, data_type),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Native::<TimestampMicrosecondType>::boxed(end, data_type),
        _ => Box::new(Encoded::new(end, data_type)?),
    })
}

/// The accumulator over input that retracts; it needs a multiset.
pub fn retracting(end: End, data_type: &DataType) -> Result<Box<dyn Accumulator>> {
    Ok(Box::new(Encoded::new(end, data_type)?))
}

/// Values of a type whose order is that of its native integers.
struct Native<T: ArrowPrimitiveType> {
    end: End,
    data_type: DataType,
    present: Vec<bool>,
    values: Vec<T::Native>,
}

impl<T: ArrowPrimitiveType> Native<T>
where
    T::Native: Integer,
{
    fn boxed(end: End, data_type: &DataType) -> Box<dyn Accumulator> {
        Box::new(Native::<T> { end, data_type: data_type.clone(), present: Vec::new(), values: Vec::new() })
    }
}

/// A native integer from its stored bytes.
trait Integer: ArrowNativeTypeOp {
    fn read(reader: &mut Reader<'_>) -> Result<Self>;
}

impl Integer for i16 {
    fn read(reader: &mut Reader<'_>) -> Result<i16> {
        Ok(i16::from_le_bytes(reader.array()?))
    }
}

impl Integer for i32 {
    fn read(reader: &mut Reader<'_>) -> Result<i32> {
        Ok(i32::from_le_bytes(reader.array()?))
    }
}

impl Integer for i64 {
    fn read(reader: &mut Reader<'_>) -> Result<i64> {
        Ok(i64::from_le_bytes(reader.array()?))
    }
}

impl Integer for i128 {
    fn read(reader: &mut Reader<'_>) -> Result<i128> {
        Ok(i128::from_le_bytes(reader.array()?))
    }
}

impl<T: ArrowPrimitiveType> Accumulator for Native<T>
where
    T::Native: Integer,
{
    fn load(&mut self, slot: Slot, stored: Option<&mut Reader<'_>>) -> Result<()> {
        let value = match stored {
            Some(reader) => (reader.byte()? == 1).then(|| T::Native::read(reader)).transpose()?,
            None => None,
        };
        *grow(&mut self.present, slot) = value.is_some();
        *grow(&mut self.values, slot) = value.unwrap_or_default();
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) {
        let present = self.present[slot as usize];
        out.push(u8::from(present));
        if present {
            out.extend_from_slice(self.values[slot as usize].to_byte_slice());
        }
    }

    fn update(&mut self, rows: &Update<'_>, columns: &[ArrayRef], _table: Option<&mut Multiset>) -> Result<()> {
        let column = columns[0].as_primitive::<T>().values();
        let (present, values, end) = (&mut self.present, &mut self.values, self.end);
        rows.each_valid(&columns[0], |i, slot, _| {
            let (new, old) = (column[i], values[slot]);
            let better = match end {
                End::Min => new.is_lt(old),
                End::Max => new.is_gt(old),
            };
            if better || !present[slot] {
                (present[slot], values[slot]) = (true, new);
            }
        });
        Ok(())
    }

    fn result(&mut self, groups: &Touched<'_>, _table: Option<&mut Multiset>) -> Result<Results> {
        let values = groups.slots.iter().map(|s| self.values[*s as usize]).collect::<Vec<_>>();
        let present = groups.slots.iter().map(|s| self.present[*s as usize]).collect::<NullBuffer>();
        let array = PrimitiveArray::<T>::new(values.into(), Some(present)).with_data_type(self.data_type.clone());
        Ok((Arc::new(array) as ArrayRef).into())
    }
}

/// Values of any type as bytes that compare like them; the least bytes are the result at either end.
struct Encoded {
    data_type: DataType,
    codec: Codec,
    values: Vec<Option<Box<[u8]>>>,
}

impl Encoded {
    fn new(end: End, data_type: &DataType) -> Result<Self> {
        let order = Order { descending: end == End::Max, nulls_first: false };
        Ok(Encoded { data_type: data_type.clone(), codec: Codec::ordered(vec![(data_type.clone(), order)])?, values: Vec::new() })
    }

    fn improve(&mut self, slot: usize, row: &[u8]) {
        let value = &mut self.values[slot];
        if value.as_ref().is_none_or(|v| row < &v[..]) {
            *value = Some(row.into());
        }
    }

    /// Adds the rows to the multiset and finds the new result of the slots whose result was taken back.
    fn keep(&mut self, update: &Update<'_>, column: &ArrayRef, rows: &Rows, table: &mut Multiset) -> Result<()> {
        let mut groups = Vec::new();
        table.resolve(update.touched.keys, update.touched.hashes, &mut groups);
        let mut stale = Vec::new();
        update.each_valid(column, |i, slot, weight| {
            let row = rows.row(i);
            let group = update.groups[i] as usize;
            table.add(groups[group], row, weight);
            if weight > 0 {
                self.improve(slot, row);
            } else if self.values[slot].as_ref().is_some_and(|v| row <= &v[..]) {
                stale.push((slot, groups[group]));
            }
        });
        stale.sort_unstable();
        stale.dedup();
        for (slot, group) in stale {
            let mut first = None;
            table.first(group, &mut |row, weight| {
                if weight > 0 {
                    first = Some(row.into());
                }
                weight <= 0
            })?;
            self.values[slot] = first;
        }
        Ok(())
    }
}

impl Accumulator for Encoded {
    fn load(&mut self, slot: Slot, stored: Option<&mut Reader<'_>>) -> Result<()> {
        let value = match stored {
            Some(reader) => (reader.byte()? == 1).then(|| reader.bytes()).transpose()?,
            None => None,
        };
        *grow(&mut self.values, slot) = value.map(Into::into);
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) {
        match &self.values[slot as usize] {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                put_bytes(out, value);
            }
        }
    }

    fn clear(&mut self, slot: Slot) {
        self.values[slot as usize] = None;
    }

    fn bytes(&self, slot: Slot) -> usize {
        self.values[slot as usize].as_ref().map_or(0, |v| v.len())
    }

    fn update(&mut self, update: &Update<'_>, columns: &[ArrayRef], table: Option<&mut Multiset>) -> Result<()> {
        let mut rows = Rows::default();
        self.codec.encode(&columns[..1], &mut rows)?;
        match table {
            Some(table) => self.keep(update, &columns[0], &rows, table),
            None => {
                update.each_valid(&columns[0], |i, slot, _| self.improve(slot, rows.row(i)));
                Ok(())
            }
        }
    }

    fn result(&mut self, groups: &Touched<'_>, _table: Option<&mut Multiset>) -> Result<Results> {
        let value = |slot: &Slot| self.values[*slot as usize].as_deref();
        if groups.slots.iter().all(|s| value(s).is_none()) {
            return Ok(new_null_array(&self.data_type, groups.slots.len()).into());
        }
        let decoded = self.codec.decode(&mut groups.slots.iter().filter_map(value))?.remove(0);
        let mut next = 0;
        let indices = groups.slots.iter().map(|slot| {
            value(slot).map(|_| {
                next += 1;
                next - 1
            })
        });
        let indices = indices.collect::<arrow::array::UInt32Array>();
        Ok(take(&decoded, &indices, None)?.into())
    }
}
