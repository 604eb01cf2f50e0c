//! How most functions of ours are written: a name and its overloads, each with the types it takes, the type it gives and a body
//! over whole columns. As in Postgres the overload that needs the fewest conversions is taken, a quoted literal takes the type
//! that the overload wants, and a NULL argument gives NULL without the body being asked.

use crate::error::{Error, Kind, Result};
use crate::sql::semantics::constant;
use crate::sql::types::{TIMESTAMP, sql_type, timestamptz};
use crate::types::text::TYPE_KEY;
use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array};
use arrow::compute::{filter, take};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

const NO_MATCH: &str = "No function matches the given name and argument types. You might need to add explicit type casts.";

/// Types in signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Boolean,
    Integer,
    Bigint,
    Double,
    /// As an argument any precision and scale; as a result the scale that is named.
    Numeric(i8),
    Text,
    Texts,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    Interval,
    Jsonb,
    /// Its text as written.
    Json,
}

/// One way to call a function.
#[derive(Debug)]
pub(crate) struct Overload {
    pub(crate) takes: &'static [Type],
    pub(crate) gives: Type,
    /// Columns of the types taken, of equal length; a row with a NULL is not asked for.
    pub(crate) run: fn(&[ArrayRef]) -> Result<ArrayRef>,
}

/// A function as a table of its overloads; the name tells functions apart.
#[derive(Debug)]
pub(crate) struct Table {
    name: &'static str,
    aliases: Vec<String>,
    overloads: &'static [Overload],
    signature: Signature,
}

impl PartialEq for Table {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Table {}

impl Hash for Table {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

pub(crate) fn external(error: impl Into<Error>) -> DataFusionError {
    DataFusionError::External(Box::new(error.into()))
}

/// A function whose result depends on its arguments alone.
pub(crate) fn function(name: &'static str, overloads: &'static [Overload]) -> Arc<ScalarUDF> {
    with_aliases(name, &[], overloads)
}

pub(crate) fn with_aliases(name: &'static str, aliases: &[&str], overloads: &'static [Overload]) -> Arc<ScalarUDF> {
    let aliases = aliases.iter().map(|a| (*a).to_owned()).collect();
    Arc::new(ScalarUDF::new_from_impl(Table { name, aliases, overloads, signature: Signature::user_defined(Volatility::Immutable) }))
}

impl Type {
    fn data_type(self) -> DataType {
        match self {
            Type::Boolean => DataType::Boolean,
            Type::Integer => DataType::Int32,
            Type::Bigint => DataType::Int64,
            Type::Double => DataType::Float64,
            Type::Numeric(scale) => DataType::Decimal128(38, scale),
            Type::Text | Type::Jsonb | Type::Json => DataType::Utf8,
            Type::Texts => DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))),
            Type::Bytes => DataType::Binary,
            Type::Date => DataType::Date32,
            Type::Time => DataType::Time64(TimeUnit::Microsecond),
            Type::Timestamp => TIMESTAMP,
            Type::TimestampTz => timestamptz(),
            Type::Interval => DataType::Interval(IntervalUnit::MonthDayNano),
        }
    }

    fn field(self, name: &str) -> Field {
        let field = Field::new(name, self.data_type(), true);
        let mark = match self {
            Type::Jsonb => "jsonb",
            Type::Json => "json",
            _ => return field,
        };
        field.with_metadata(HashMap::from([(TYPE_KEY.to_owned(), mark.to_owned())]))
    }

    /// The type that a value of `from` is cast to.
    fn target(self, from: &DataType) -> DataType {
        match (self, from) {
            (Type::Numeric(_), DataType::Decimal128(..)) => from.clone(),
            (Type::Numeric(_), _) => DataType::Decimal128(if from.is_integer() { 20 } else { 38 }, 0),
            _ => self.data_type(),
        }
    }

    /// How far `from` is; `None`: it is not converted by itself.
    fn distance(self, from: &DataType) -> Option<u32> {
        use DataType as D;
        let small = matches!(from, D::Int8 | D::Int16 | D::UInt8 | D::UInt16);
        match (self, from) {
            (_, D::Null) => Some(0),
            (Type::Boolean, D::Boolean) | (Type::Integer, D::Int32) | (Type::Bigint, D::Int64) | (Type::Double, D::Float64) => Some(0),
            (Type::Bigint, D::Int32 | D::UInt32) => Some(1),
            (Type::Bigint, _) if small => Some(2),
            (Type::Integer, _) if small => Some(1),
            (Type::Numeric(_), D::Decimal128(..)) => Some(0),
            (Type::Numeric(_), t) if t.is_integer() => Some(3),
            (Type::Double, D::Float16 | D::Float32) => Some(1),
            (Type::Double, D::Decimal128(..) | D::Decimal256(..)) => Some(3),
            (Type::Double, t) if t.is_integer() => Some(2),
            (Type::Text | Type::Jsonb | Type::Json, D::Utf8 | D::LargeUtf8 | D::Utf8View) => Some(0),
            (Type::Texts, D::List(item)) if *item.data_type() == D::Utf8 => Some(0),
            (Type::Bytes, D::Binary | D::LargeBinary | D::BinaryView) => Some(0),
            (Type::Date, D::Date32) | (Type::Time, D::Time64(_)) => Some(0),
            (Type::Timestamp, D::Timestamp(_, None)) | (Type::TimestampTz, D::Timestamp(_, Some(_))) => Some(0),
            (Type::TimestampTz, D::Date32 | D::Timestamp(_, None)) => Some(1),
            (Type::Timestamp, D::Date32) => Some(2),
            (Type::Interval, D::Interval(_) | D::Duration(_)) => Some(0),
            _ => None,
        }
    }
}

/// An argument as far as the choice of an overload looks at it.
#[derive(Clone)]
pub(crate) struct Argument {
    pub(crate) data_type: DataType,
    /// A quoted literal, which has no type yet.
    pub(crate) untyped: bool,
}

impl Table {
    fn resolve(&self, arguments: &[Argument]) -> Result<&'static Overload> {
        let distance = |overload: &Overload| -> Option<u32> {
            if overload.takes.len() != arguments.len() {
                return None;
            }
            overload.takes.iter().zip(arguments).try_fold(0, |sum, (taken, argument)| {
                let one = match (argument.untyped, taken) {
                    (true, Type::Text) => 0,
                    (true, _) => 1,
                    (false, taken) => taken.distance(&argument.data_type)?,
                };
                Some(sum + one)
            })
        };
        let nearest = self.overloads.iter().filter_map(|o| Some((distance(o)?, o))).min_by_key(|(distance, _)| *distance);
        nearest.map(|(_, overload)| overload).ok_or_else(|| {
            let name_of = |a: &Argument| if a.untyped { "unknown".to_owned() } else { sql_type(&Field::new("", a.data_type.clone(), true)) };
            let types: Vec<String> = arguments.iter().map(name_of).collect();
            Error::new(Kind::UndefinedFunction, format!("function {}({}) does not exist", self.name, types.join(", "))).with_hint(NO_MATCH)
        })
    }

    /// The arguments with quoted literals as values of the types that the nearest overload takes.
    pub(crate) fn typed(&self, arguments: Vec<Expr>, types: &[Argument]) -> DataFusionResult<Vec<Expr>> {
        let overload = self.resolve(types).map_err(external)?;
        arguments
            .into_iter()
            .zip(overload.takes)
            .map(|(argument, taken)| match &argument {
                Expr::Literal(ScalarValue::Utf8(Some(text)), _) if *taken != Type::Text => constant(text, &taken.field("")),
                _ => Ok(argument),
            })
            .collect()
    }

    /// Where only types are known a text may be a quoted literal and a bigint a small number; [`Table::typed`] looks closer.
    fn resolve_types(&self, types: &[DataType]) -> Result<&'static Overload> {
        let exact: Vec<Argument> = types.iter().map(|t| Argument { data_type: t.clone(), untyped: false }).collect();
        let lenient = |a: &Argument| match a.data_type {
            DataType::Int64 => Argument { data_type: DataType::Int32, untyped: false },
            _ => Argument { data_type: a.data_type.clone(), untyped: a.data_type == DataType::Utf8 },
        };
        self.resolve(&exact).or_else(|error| self.resolve(&exact.iter().map(lenient).collect::<Vec<_>>()).map_err(|_| error))
    }
}

impl ScalarUDFImpl for Table {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let overload = self.resolve_types(types).map_err(external)?;
        Ok(overload.takes.iter().zip(types).map(|(taken, from)| taken.target(from)).collect())
    }

    fn return_type(&self, types: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.resolve_types(types).map_err(external)?.gives.data_type())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        let types: Vec<DataType> = arguments.arg_fields.iter().map(|f| f.data_type().clone()).collect();
        Ok(Arc::new(self.resolve_types(&types).map_err(external)?.gives.field(self.name)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let types: Vec<DataType> = arguments.args.iter().map(|a| a.data_type()).collect();
        let overload = self.resolve_types(&types).map_err(external)?;
        let scalar = arguments.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if scalar { 1 } else { arguments.number_rows };
        let columns = arguments.args.iter().map(|a| a.to_array(rows)).collect::<DataFusionResult<Vec<_>>>()?;
        let result = without_nulls(&columns, rows, overload).map_err(external)?;
        if scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?));
        }
        Ok(ColumnarValue::Array(result))
    }
}

/// The body over the rows that have all arguments; the others are NULL.
fn without_nulls(columns: &[ArrayRef], rows: usize, overload: &Overload) -> Result<ArrayRef> {
    let columns: Vec<ArrayRef> = columns
        .iter()
        .zip(overload.takes)
        .map(|(column, taken)| match taken.target(column.data_type()) {
            same if same == *column.data_type() => Ok(column.clone()),
            other => arrow::compute::cast(column, &other),
        })
        .collect::<arrow::error::Result<_>>()?;
    if columns.iter().all(|c| c.null_count() == 0) {
        return (overload.run)(&columns);
    }
    let whole: BooleanArray = (0..rows).map(|row| Some(columns.iter().all(|c| c.is_valid(row)))).collect();
    let dense = columns.iter().map(|c| filter(c, &whole)).collect::<arrow::error::Result<Vec<_>>>()?;
    let result = (overload.run)(&dense)?;
    let mut next = 0u32;
    let places: UInt32Array = whole
        .iter()
        .map(|present| {
            (present == Some(true)).then(|| {
                next += 1;
                next - 1
            })
        })
        .collect();
    Ok(take(&result, &places, None)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int32Array, StringArray};
    use arrow::datatypes::Int32Type;

    fn twice() -> Table {
        Table { name: "twice", aliases: vec![], overloads: &OVERLOADS, signature: Signature::user_defined(Volatility::Immutable) }
    }

    const OVERLOADS: [Overload; 2] = [
        Overload { takes: &[Type::Integer], gives: Type::Integer, run: |c| Ok(Arc::new(c[0].as_primitive::<Int32Type>().unary::<_, Int32Type>(|v| v * 2))) },
        Overload { takes: &[Type::Text], gives: Type::Text, run: |c| Ok(c[0].clone()) },
    ];

    fn argument(data_type: DataType, untyped: bool) -> Vec<Argument> {
        vec![Argument { data_type, untyped }]
    }

    #[test]
    fn the_nearest_overload_is_taken() {
        assert_eq!(twice().resolve(&argument(DataType::Int16, false)).unwrap().gives, Type::Integer);
        assert_eq!(twice().resolve(&argument(DataType::Utf8, true)).unwrap().gives, Type::Text);
        let error = twice().resolve(&argument(DataType::Boolean, false)).unwrap_err();
        assert_eq!((error.sqlstate(), error.message()), ("42883", "function twice(boolean) does not exist"));
    }

    #[test]
    fn a_null_argument_is_null_and_the_body_does_not_see_it() {
        let column: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        let result = without_nulls(&[column], 3, &OVERLOADS[0]).unwrap();
        assert_eq!(result.as_ref(), &Int32Array::from(vec![Some(2), None, Some(6)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        assert_eq!(without_nulls(&[texts], 1, &OVERLOADS[1]).unwrap().null_count(), 1);
    }
}
