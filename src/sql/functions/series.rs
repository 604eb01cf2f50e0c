//! Arrays of what set-returning functions give: `generate_series` and the numbers of rows. `unnest` makes rows of them.

use super::table::external;
use crate::error::{Error, Kind, Result};
use crate::sql::types::{TIMESTAMP, sql_type, timestamptz};
use crate::types::text::calendar::MICROS_PER_SECOND;
use crate::types::text::{Zone, is_vector};
use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Fields, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimestampMicrosecondType,
};
use arrow::temporal_conversions::timestamp_us_to_datetime;
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

/// Rows of one series: what a statement may hold at once.
const LONGEST: usize = 10_000_000;
/// Elements of a series that a plan holds as one array.
const SHORT: u128 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Which {
    Series,
    Ordinals,
    Subscripts,
    Expanded,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct OfRows {
    which: Which,
    /// On whose clock the days and months of a step are.
    zone: Zone,
    signature: Signature,
}

/// `tw_series(from, to[, step])`: what `generate_series` gives; `tw_ordinals(array, …)`: 1 to the length of the longest;
/// `tw_subscripts(array)`: the same, from 0 of a vector of the catalog.
pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    vec![series(), counting(Which::Ordinals), counting(Which::Subscripts), counting(Which::Expanded)]
}

pub fn series() -> Arc<ScalarUDF> {
    series_in(Zone::Utc)
}

/// A series of instants in a zone.
pub fn series_in(zone: Zone) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(OfRows { which: Which::Series, zone, signature: Signature::user_defined(Volatility::Immutable) }))
}

fn counting(which: Which) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(OfRows { which, zone: Zone::Utc, signature: Signature::variadic_any(Volatility::Immutable) }))
}

/// Whether a series between constants has few elements, so that a plan may hold them.
pub fn is_short(arguments: &[ScalarValue]) -> bool {
    let number = |v: &ScalarValue| match v {
        ScalarValue::Int16(v) => v.map(i128::from),
        ScalarValue::Int32(v) => v.map(i128::from),
        ScalarValue::Int64(v) | ScalarValue::TimestampMicrosecond(v, _) => v.map(i128::from),
        ScalarValue::IntervalMonthDayNano(Some(v)) => Some(micros(v.months, v.days, v.nanoseconds)),
        _ => None,
    };
    let ([from, to] | [from, to, _]) = arguments else { return false };
    let (Some(from), Some(to), step) = (number(from), number(to), arguments.get(2).map_or(Some(1), number)) else { return false };
    step.filter(|s| *s != 0).is_some_and(|step| (to - from).unsigned_abs() / step.unsigned_abs() < SHORT)
}

/// The length of an interval, months as 30 days.
fn micros(months: i32, days: i32, nanos: i64) -> i128 {
    (i128::from(months) * 30 + i128::from(days)) * 86_400_000_000 + i128::from(nanos) / 1000
}

impl ScalarUDFImpl for OfRows {
    fn name(&self) -> &str {
        match self.which {
            Which::Series => "tw_series",
            Which::Ordinals => "tw_ordinals",
            Which::Subscripts => "tw_subscripts",
            Which::Expanded => "tw_expandarray",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        types(arguments).ok_or_else(|| external(undefined(arguments)))
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        let item = match self.which {
            Which::Ordinals => DataType::Int64,
            Which::Subscripts => DataType::Int32,
            Which::Expanded => match arguments.first() {
                Some(DataType::List(item)) => DataType::Struct(expanded_fields(item)),
                _ => return Err(external(Error::new(Kind::UndefinedFunction, "function information_schema._pg_expandarray takes an array"))),
            },
            Which::Series => types(arguments).ok_or_else(|| external(undefined(arguments)))?.swap_remove(0),
        };
        Ok(DataType::List(Arc::new(Field::new("item", item, true))))
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let scalar = arguments.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { arguments.number_rows };
        let columns = arguments.args.iter().map(|a| a.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let lists = match self.which {
            Which::Series => series_of(&columns, self.zone),
            Which::Ordinals => ordinals_of(&columns, rows, 1),
            Which::Expanded => expanded(&columns[0]),
            Which::Subscripts => ordinals_of(&columns, rows, i64::from(!is_vector(&arguments.arg_fields[0]))).and_then(|lists| {
                let int = DataType::List(Arc::new(Field::new("item", DataType::Int32, true)));
                Ok(cast(&lists, &int)?.as_list::<i32>().clone())
            }),
        };
        let lists = lists.map_err(external)?;
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&lists, 0)?));
        }
        Ok(ColumnarValue::Array(Arc::new(lists)))
    }
}

fn undefined(arguments: &[DataType]) -> Error {
    let names: Vec<String> = arguments.iter().map(|t| sql_type(&Field::new("", t.clone(), true))).collect();
    Error::new(Kind::UndefinedFunction, format!("function generate_series({}) does not exist", names.join(", ")))
        .with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")
}

/// What the arguments are taken as: one type for bounds and step, or times and an interval.
fn types(arguments: &[DataType]) -> Option<Vec<DataType>> {
    let ([from, to] | [from, to, _]) = arguments else { return None };
    let step = arguments.get(2);
    let is_time = |t: &DataType| matches!(t, DataType::Timestamp(..) | DataType::Date32 | DataType::Null);
    if is_time(from) && is_time(to) && !(from.is_null() && to.is_null()) {
        let zoned = [from, to].iter().any(|t| matches!(t, DataType::Timestamp(_, Some(_))));
        let time = if zoned || *from == DataType::Date32 { timestamptz() } else { TIMESTAMP };
        let time = if !zoned && *from == DataType::Date32 && *to == DataType::Date32 { timestamptz() } else { time };
        matches!(step?, DataType::Interval(_) | DataType::Utf8 | DataType::Null).then_some(())?;
        return Some(vec![time.clone(), time, DataType::Interval(IntervalUnit::MonthDayNano)]);
    }
    let number = |t: &DataType| match t {
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 | DataType::Null => Some(0),
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Some(1),
        DataType::Decimal128(..) => Some(2),
        _ => None,
    };
    let widest = arguments.iter().map(number).collect::<Option<Vec<_>>>()?.into_iter().max()?;
    let scale = arguments.iter().map(|t| if let DataType::Decimal128(_, scale) = t { *scale } else { 0 }).max()?;
    let one = match widest {
        0 => DataType::Int32,
        1 => DataType::Int64,
        _ => DataType::Decimal128(38, scale),
    };
    Some(vec![one; arguments.len()])
}

fn ordinals_of(columns: &[ArrayRef], rows: usize, first: i64) -> Result<ListArray> {
    let length = |row: usize| {
        let of = |c: &ArrayRef| c.as_list_opt::<i32>().filter(|l| l.is_valid(row)).map_or(0, |l| l.value_length(row) as usize);
        columns.iter().map(of).max().unwrap_or(0)
    };
    let lengths: Vec<usize> = (0..rows).map(length).collect();
    let values: Int64Array = lengths.iter().flat_map(|n| first..first + *n as i64).collect();
    Ok(ListArray::try_new(Arc::new(Field::new("item", DataType::Int64, true)), OffsetBuffer::from_lengths(lengths), Arc::new(values), None)?)
}

fn expanded_fields(item: &FieldRef) -> Fields {
    Fields::from(vec![item.as_ref().clone().with_name("x"), Field::new("n", DataType::Int32, true)])
}

/// Each element with its number.
fn expanded(array: &ArrayRef) -> Result<ListArray> {
    let lists = array.as_list_opt::<i32>().ok_or_else(|| Error::internal("an array is no list"))?;
    let DataType::List(item) = array.data_type() else { return Err(Error::internal("an array is no list")) };
    let offsets = lists.value_offsets();
    let (first, last) = (offsets[0] as usize, offsets[lists.len()] as usize);
    let numbers: arrow::array::Int32Array = (0..lists.len()).flat_map(|row| 1..=lists.value_length(row)).collect();
    let fields = expanded_fields(item);
    let values = StructArray::try_new(fields.clone(), vec![lists.values().slice(first, last - first), Arc::new(numbers)], None)?;
    let lengths = (0..lists.len()).map(|row| lists.value_length(row) as usize);
    let item = Arc::new(Field::new("item", DataType::Struct(fields), true));
    Ok(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), Arc::new(values), lists.nulls().cloned())?)
}

/// Rows with a NULL give no elements, as a function that is not called.
fn series_of(columns: &[ArrayRef], zone: Zone) -> Result<ListArray> {
    let whole = |row: usize| columns.iter().all(|c| c.is_valid(row));
    let rows = columns[0].len();
    let item = columns[0].data_type().clone();
    let mut lengths = Vec::with_capacity(rows);
    let mut wide: Vec<i128> = Vec::new();
    for row in 0..rows {
        let before = wide.len();
        if whole(row) {
            match &item {
                DataType::Timestamp(..) => times(columns, row, zone, &mut wide)?,
                _ => numbers(columns, row, &mut wide)?,
            }
        }
        lengths.push(wide.len() - before);
    }
    let values: ArrayRef = match &item {
        DataType::Int32 => Arc::new(wide.iter().map(|v| *v as i32).collect::<arrow::array::Int32Array>()),
        DataType::Int64 => Arc::new(wide.iter().map(|v| *v as i64).collect::<Int64Array>()),
        DataType::Decimal128(precision, scale) => {
            Arc::new(wide.into_iter().collect::<arrow::array::Decimal128Array>().with_precision_and_scale(*precision, *scale)?)
        }
        times => cast(&wide.iter().map(|v| *v as i64).collect::<Int64Array>(), times)?,
    };
    Ok(ListArray::try_new(Arc::new(Field::new("item", item, true)), OffsetBuffer::from_lengths(lengths), values, None)?)
}

fn number(column: &ArrayRef, row: usize) -> i128 {
    match column.data_type() {
        DataType::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        _ => column.as_primitive::<Decimal128Type>().value(row),
    }
}

fn zero_step() -> Error {
    Error::new(Kind::InvalidParameter, "step size cannot equal zero")
}

fn too_long() -> Error {
    Error::new(Kind::TooComplex, "the series is too long").with_hint("write a shorter one, or several")
}

fn numbers(columns: &[ArrayRef], row: usize, out: &mut Vec<i128>) -> Result<()> {
    let one = if let DataType::Decimal128(_, scale) = columns[0].data_type() { 10i128.pow(scale.unsigned_abs().into()) } else { 1 };
    let (from, to) = (number(&columns[0], row), number(&columns[1], row));
    let step = columns.get(2).map_or(one, |c| number(c, row));
    if step == 0 {
        return Err(zero_step());
    }
    let (mut next, start) = (Some(from), out.len());
    while let Some(value) = next.filter(|v| if step > 0 { *v <= to } else { *v >= to }) {
        if out.len() - start >= LONGEST {
            return Err(too_long());
        }
        out.push(value);
        next = value.checked_add(step);
    }
    Ok(())
}

fn times(columns: &[ArrayRef], row: usize, zone: Zone, out: &mut Vec<i128>) -> Result<()> {
    let at = |c: &ArrayRef| c.as_primitive::<TimestampMicrosecondType>().value(row);
    let (from, to) = (at(&columns[0]), at(&columns[1]));
    let step = columns[2].as_primitive::<IntervalMonthDayNanoType>().value(row);
    let (months, days, nanos) = IntervalMonthDayNanoType::to_parts(step);
    let length = micros(months, days, nanos);
    if length == 0 {
        return Err(zero_step());
    }
    let (mut next, start) = (Some(from), out.len());
    while let Some(value) = next.filter(|v| if length > 0 { *v <= to } else { *v >= to }) {
        if out.len() - start >= LONGEST {
            return Err(too_long());
        }
        out.push(value.into());
        next = later(value, months, days, nanos / 1000, zone);
    }
    Ok(())
}

/// A time and an interval, as Postgres adds them: months first, to the last day of a shorter one.
fn later(time: i64, months: i32, days: i32, micros: i64, zone: Zone) -> Option<i64> {
    if (months, days) == (0, 0) {
        return time.checked_add(micros);
    }
    let at = timestamp_us_to_datetime(time.checked_add(i64::from(zone.offset_at(time)) * MICROS_PER_SECOND)?)?;
    let moved = match months {
        0 => at,
        m if m > 0 => at.checked_add_months(chrono::Months::new(m.unsigned_abs()))?,
        m => at.checked_sub_months(chrono::Months::new(m.unsigned_abs()))?,
    };
    let days = chrono::TimeDelta::try_days(days.into())?;
    let local = moved.checked_add_signed(days)?.and_utc().timestamp_micros();
    local.checked_sub(i64::from(zone.offset_at_local(local)) * MICROS_PER_SECOND)?.checked_add(micros)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int32Array;

    fn of(columns: [Vec<Option<i32>>; 3]) -> Result<ListArray> {
        series_of(&columns.map(|c| Arc::new(Int32Array::from(c)) as ArrayRef), Zone::Utc)
    }

    #[test]
    fn a_series_includes_its_end_and_a_null_gives_nothing() {
        let lists = of([vec![Some(1), Some(5), Some(1)], vec![Some(5), Some(1), None], vec![Some(2), Some(-2), Some(1)]]).unwrap();
        let expected =
            ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), Some(3), Some(5)]), Some(vec![Some(5), Some(3), Some(1)]), Some(vec![])]);
        assert_eq!(lists, expected);
        assert_eq!(of([vec![Some(1)], vec![Some(5)], vec![Some(0)]]).unwrap_err().sqlstate(), "22023");
    }

    #[test]
    fn months_end_where_they_end() {
        let day = |m: u32, d: u32| chrono::NaiveDate::from_ymd_opt(2024, m, d).unwrap().and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp_micros();
        assert_eq!(later(day(1, 31), 1, 0, 0, Zone::Utc), Some(day(2, 29)));
        assert_eq!(later(day(2, 29), 0, 1, 1, Zone::Utc), Some(day(3, 1) + 1));
    }
}
