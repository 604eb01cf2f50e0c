//! Explicit casts as Postgres makes them, where Arrow's differ:
//!
//! | cast | here |
//! | --- | --- |
//! | anything -> text | Postgres' text of the value |
//! | text -> anything | Postgres' reading of the text (22P02, 22007, 22008 if it is none) |
//! | float -> integer | rounded half to even, 22003 out of range |
//! | numeric -> integer | rounded half away from zero; the elements of arrays, too |
//! | time <-> interval | the time since midnight, within a day |
//! | -> varchar(n) | cut to n characters |
//! | struct -> struct | field by field, by position; another number of fields is 42846 |
//!
//! All other casts are Arrow's own.

use super::table::external;
use crate::error::{Error, Kind};
use crate::sql::style;
use crate::types::text::calendar::MICROS_PER_DAY;
use crate::types::text::{Column, Reader, TYPE_KEY, TYPMOD_KEY, TextStyle, canonical_array};
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringArray, StringBuilder, StructArray};
use arrow::compute::{CastOptions, cast, cast_with_options};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, FieldRef, Float64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType,
};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, exec_err};
use datafusion::logical_expr::{ColumnarValue, Expr, ExprSchemable, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Way {
    ToText,
    FromText,
    Round,
    /// [`Way::Round`] of each element.
    Items,
    /// A time of day and the interval since midnight.
    Clock,
    Fields,
    /// Only the field says something else.
    Same,
}

/// One cast; the target tells casts of one way apart.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Cast {
    way: Way,
    target: FieldRef,
    /// Of the session that wrote it.
    style: TextStyle,
    name: String,
    signature: Signature,
}

/// `expr`, of type `from`, cast to `target`; `None`: Arrow's cast is right.
pub fn call(expr: Expr, from: &Field, target: &FieldRef) -> std::result::Result<Expr, Expr> {
    let is_text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let is_json = |f: &Field| f.metadata().get(TYPE_KEY).is_some_and(|t| t == "jsonb");
    // Texts that must be read to be of the target's type: whole documents, the text of which is kept (json) or not (jsonb).
    let is_document = |f: &Field| f.metadata().get(TYPE_KEY).is_some_and(|t| t == "json");
    let plain_text = |f: &Field| is_text(f.data_type()) && !is_json(f);
    let is_integer = |t: &DataType| matches!(t, DataType::Int16 | DataType::Int32 | DataType::Int64);
    let rounds_to = |t: &DataType| matches!(t, DataType::Float32 | DataType::Float64 | DataType::Decimal128(..));
    let way = match from.data_type() {
        DataType::Null => return Err(expr),
        _ if is_text(target.data_type()) && is_document(target) && plain_text(from) && !is_document(from) => Way::FromText,
        _ if is_text(target.data_type())
            && !is_json(target)
            && (!plain_text(from) || target.metadata().contains_key(TYPMOD_KEY) || from.metadata().get(TYPE_KEY) != target.metadata().get(TYPE_KEY)) =>
        {
            Way::ToText
        }
        _ if is_text(from.data_type()) && !is_text(target.data_type()) => Way::FromText,
        _ if plain_text(from) && is_json(target) => Way::FromText,
        number if rounds_to(number) && is_integer(target.data_type()) => Way::Round,
        DataType::List(item) if rounds_to(item.data_type()) && matches!(target.data_type(), DataType::List(to) if is_integer(to.data_type())) => Way::Items,
        DataType::Time64(_) if matches!(target.data_type(), DataType::Interval(_)) => Way::Clock,
        DataType::Interval(_) if matches!(target.data_type(), DataType::Time64(_)) => Way::Clock,
        DataType::Struct(_) if matches!(target.data_type(), DataType::Struct(_)) && from.data_type() != target.data_type() => Way::Fields,
        _ => return Err(expr),
    };
    let name = format!("tw_cast_{}", crate::sql::types::sql_type(target).replace(' ', "_"));
    let function =
        ScalarUDF::new_from_impl(Cast { way, target: target.clone(), style: style::current(), name, signature: Signature::any(1, Volatility::Immutable) });
    Ok(function.call(vec![expr]))
}

/// `expr` as a value of `target`, which has its Arrow type.
pub fn same(expr: Expr, target: FieldRef) -> Expr {
    let name = format!("tw_as_{}", crate::sql::types::sql_type(&target).replace(' ', "_"));
    let signature = Signature::any(1, Volatility::Immutable);
    ScalarUDF::new_from_impl(Cast { way: Way::Same, target, style: TextStyle::UTC, name, signature }).call(vec![expr])
}

/// Whether `expr` is what [`same`] gave.
pub fn is_same(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.inner().downcast_ref::<Cast>().is_some_and(|c| c.way == Way::Same))
}

/// A cast to text of an oid that is a name: of the name, which `named` puts beside it.
pub fn with_names(expr: Expr, schema: &DFSchema, named: &Arc<ScalarUDF>) -> Transformed<Expr> {
    let Expr::ScalarFunction(mut call) = expr else { return Transformed::no(expr) };
    let to_text = call.func.inner().downcast_ref::<Cast>().is_some_and(|c| c.way == Way::ToText);
    if !to_text || !call.args.iter().any(|a| a.to_field(schema).is_ok_and(|(_, f)| super::catalog::reg_of(&f).is_some())) {
        return Transformed::no(Expr::ScalarFunction(call));
    }
    call.args = call.args.into_iter().map(|a| named.call(vec![a])).collect();
    Transformed::yes(Expr::ScalarFunction(call))
}

impl ScalarUDFImpl for Cast {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.target.data_type().clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let nullable = arguments.arg_fields.first().is_none_or(|f| f.is_nullable());
        Ok(Arc::new(self.target.as_ref().clone().with_name(self.name()).with_nullable(nullable)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let ([value], [field]) = (arguments.args.as_slice(), arguments.arg_fields.as_slice()) else { return exec_err!("a cast takes one value") };
        let rows = arguments.number_rows;
        let (array, scalar) = match value {
            ColumnarValue::Array(array) => (array.clone(), false),
            ColumnarValue::Scalar(value) => (value.to_array()?, true),
        };
        let column = match self.way {
            Way::ToText => to_text(field, &array, max_length(&self.target), &self.style),
            Way::FromText => from_text(&array, &self.target, &self.style),
            Way::Round => round(&array, self.target.data_type()),
            Way::Items => items(&array, &self.target),
            Way::Clock => clock(&array),
            Way::Fields => fields(&array, &self.target),
            Way::Same => return Ok(value.clone()),
        }
        .map_err(external)?;
        if scalar && rows > 0 {
            return Ok(ColumnarValue::Scalar(datafusion::common::ScalarValue::try_from_array(&column, 0)?));
        }
        Ok(ColumnarValue::Array(column))
    }
}

/// n of `varchar(n)`.
pub fn max_length(field: &Field) -> Option<usize> {
    if *field.data_type() != DataType::Utf8 {
        return None;
    }
    field.metadata().get(TYPMOD_KEY)?.parse::<usize>().ok()?.checked_sub(4)
}

/// Postgres' text of each value, cut to `length` characters. A boolean is spelt out, unlike on the wire.
pub fn to_text(field: &Field, array: &ArrayRef, length: Option<usize>, style: &TextStyle) -> crate::error::Result<ArrayRef> {
    let array = canonical_array(array)?;
    if let Some(booleans) = array.as_boolean_opt() {
        return Ok(Arc::new(booleans.iter().map(|b| b.map(|b| if b { "true" } else { "false" })).collect::<StringArray>()));
    }
    let field = field.clone().with_data_type(array.data_type().clone());
    let column = Column::new(&field, array.as_ref(), style)?;
    let mut texts = StringBuilder::with_capacity(array.len(), array.len() * 8);
    let mut bytes = Vec::new();
    for row in 0..array.len() {
        if column.is_null(row) {
            texts.append_null();
            continue;
        }
        bytes.clear();
        column.write(row, &mut bytes);
        let text = std::str::from_utf8(&bytes).map_err(|_| Error::internal("a value printed as bytes that are no text"))?;
        texts.append_value(cut(text, length));
    }
    Ok(Arc::new(texts.finish()))
}

fn cut(text: &str, length: Option<usize>) -> &str {
    match length.and_then(|n| text.char_indices().nth(n)) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

fn from_text(array: &ArrayRef, target: &Field, style: &TextStyle) -> crate::error::Result<ArrayRef> {
    let texts = cast(array, &DataType::Utf8)?;
    let texts = texts.as_string::<i32>();
    let mut reader = Reader::new(target, style)?;
    for text in texts {
        reader.append(text)?;
    }
    Ok(reader.finish())
}

fn fields(array: &ArrayRef, target: &Field) -> crate::error::Result<ArrayRef> {
    let (given, wanted) = match (array.as_struct_opt(), target.data_type()) {
        (Some(given), DataType::Struct(wanted)) if given.num_columns() == wanted.len() => (given, wanted),
        _ => {
            let message = format!(
                "cannot cast type {} to {}",
                crate::sql::types::sql_type(&Field::new("", array.data_type().clone(), true)),
                crate::sql::types::sql_type(target)
            );
            return Err(Error::new(Kind::CannotCoerce, message));
        }
    };
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = given.columns().iter().zip(wanted).map(|(column, field)| Ok(cast_with_options(column, field.data_type(), &options)?));
    let columns = columns.collect::<crate::error::Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(wanted.clone(), columns, given.nulls().cloned(), given.len())?))
}

fn round(array: &ArrayRef, target: &DataType) -> crate::error::Result<ArrayRef> {
    let wide: Int64Array = match array.data_type() {
        DataType::Decimal128(_, scale) => {
            let unit = 10i128.pow(u32::from(scale.unsigned_abs()));
            array.as_primitive::<Decimal128Type>().try_unary(|v| {
                let up = v.unsigned_abs() % unit.unsigned_abs() * 2 >= unit.unsigned_abs() && unit > 1;
                i64::try_from(v / unit + if up { v.signum() } else { 0 }).map_err(|_| out_of_range(target))
            })?
        }
        _ => {
            let floats: Float64Array = cast(array, &DataType::Float64)?.as_primitive::<Float64Type>().clone();
            // 2^63 is the first float that no bigint reaches.
            floats.try_unary(|v| {
                let rounded = v.round_ties_even();
                if (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) { Ok(rounded as i64) } else { Err(out_of_range(target)) }
            })?
        }
    };
    Ok(match target {
        DataType::Int16 => Arc::new(wide.try_unary::<_, arrow::datatypes::Int16Type, _>(|v| i16::try_from(v).map_err(|_| out_of_range(target)))?) as ArrayRef,
        DataType::Int32 => Arc::new(wide.try_unary::<_, arrow::datatypes::Int32Type, _>(|v| i32::try_from(v).map_err(|_| out_of_range(target)))?),
        _ => Arc::new(wide),
    })
}

fn items(array: &ArrayRef, target: &Field) -> crate::error::Result<ArrayRef> {
    let (Some(lists), DataType::List(item)) = (array.as_list_opt::<i32>(), target.data_type()) else { return Err(Error::internal("an array is no list")) };
    let rounded = round(lists.values(), item.data_type())?;
    Ok(Arc::new(ListArray::try_new(item.clone(), lists.offsets().clone(), rounded, lists.nulls().cloned())?))
}

/// An interval's days and months are no part of a time of day.
fn clock(array: &ArrayRef) -> crate::error::Result<ArrayRef> {
    if let Some(times) = array.as_primitive_opt::<Time64MicrosecondType>() {
        return Ok(Arc::new(times.unary::<_, IntervalMonthDayNanoType>(|micros| IntervalMonthDayNano::new(0, 0, micros * 1000))));
    }
    let intervals = cast(array, &DataType::Interval(IntervalUnit::MonthDayNano))?;
    let intervals = intervals.as_primitive::<IntervalMonthDayNanoType>();
    Ok(Arc::new(intervals.unary::<_, Time64MicrosecondType>(|i| (i.nanoseconds / 1000).rem_euclid(MICROS_PER_DAY))))
}

fn out_of_range(target: &DataType) -> Error {
    let name = match target {
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        _ => "bigint",
    };
    Error::new(Kind::NumericOutOfRange, format!("{name} out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal128Array, Int16Array, Int32Array};

    #[test]
    fn floats_round_to_even_and_numerics_away_from_zero() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.5, 1.5, -2.5, 2.4]));
        assert_eq!(round(&floats, &DataType::Int32).unwrap().as_ref(), &Int32Array::from(vec![0, 2, -2, 2]));
        let numerics: ArrayRef = Arc::new(Decimal128Array::from(vec![5, 15, -25, 24]).with_precision_and_scale(10, 1).unwrap());
        assert_eq!(round(&numerics, &DataType::Int16).unwrap().as_ref(), &Int16Array::from(vec![1, 2, -3, 2]));
        let large: ArrayRef = Arc::new(Float64Array::from(vec![1e10]));
        assert_eq!(round(&large, &DataType::Int32).unwrap_err().message(), "integer out of range");
        assert!(round(&(Arc::new(Float64Array::from(vec![f64::NAN])) as ArrayRef), &DataType::Int64).is_err());
    }

    #[test]
    fn a_boolean_is_spelt_out_and_varchar_is_cut() {
        let field = Field::new("b", DataType::Boolean, true);
        let booleans: ArrayRef = Arc::new(arrow::array::BooleanArray::from(vec![Some(true), None]));
        assert_eq!(to_text(&field, &booleans, None, &TextStyle::UTC).unwrap().as_ref(), &StringArray::from(vec![Some("true"), None]));
        let field = Field::new("t", DataType::Utf8, true);
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["äbc"]));
        assert_eq!(to_text(&field, &texts, Some(2), &TextStyle::UTC).unwrap().as_ref(), &StringArray::from(vec!["äb"]));
    }
}
