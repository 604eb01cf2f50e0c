//! SQL types and the Arrow fields that hold them: one table, used for declared columns, casts in expressions, and the
//! names that clients read. Types that share an Arrow type (jsonb and text) are told apart by the field's metadata.

use crate::error::{Error, Kind, Result};
use crate::types::text::{TYPE_KEY, TYPMOD_KEY, is_vector, item_of, list_of};
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use datafusion::sql::sqlparser::ast::{self, ArrayElemTypeDef, CharacterLength, ExactNumberInfo, TimezoneInfo};
use std::collections::HashMap;
use std::sync::Arc;

/// `numeric` without a precision: 29 digits before the point, 9 behind it.
pub const NUMERIC: DataType = DataType::Decimal128(38, 9);
/// Mark of a cast to `numeric` without a precision, which keeps the digits there are.
const ANY_NUMERIC_KEY: &str = "tw.any_numeric";
/// Limits of Postgres are wider; these are Decimal256's.
const MAX_PRECISION: u64 = 76;
/// Lengths of varchar that Postgres takes.
const MAX_LENGTH: u64 = 10_485_760;

/// timestamptz.
pub fn timestamptz() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// timestamp.
pub const TIMESTAMP: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

/// The nullable field of a type, with the name Postgres gives it (`numeric(10,2)`).
pub fn field(name: &str, sql_type: &ast::DataType) -> Result<(Field, String)> {
    use ast::DataType as T;
    let plain = |data_type: DataType, type_name: &str| Ok((Field::new(name, data_type, true), type_name.to_owned()));
    let marked = |data_type: DataType, key: &str, mark: &str, type_name: &str| {
        let metadata = HashMap::from([(key.to_owned(), mark.to_owned())]);
        Ok((Field::new(name, data_type, true).with_metadata(metadata), type_name.to_owned()))
    };
    match sql_type {
        T::Bool | T::Boolean => plain(DataType::Boolean, "boolean"),
        T::SmallInt(None) | T::Int2(None) => plain(DataType::Int16, "smallint"),
        T::Int(None) | T::Integer(None) | T::Int4(None) => plain(DataType::Int32, "integer"),
        T::BigInt(None) | T::Int8(None) => plain(DataType::Int64, "bigint"),
        T::Real | T::Float4 => plain(DataType::Float32, "real"),
        T::Float(ExactNumberInfo::Precision(p)) if *p <= 24 => plain(DataType::Float32, "real"),
        T::Float(ExactNumberInfo::None | ExactNumberInfo::Precision(25..=53)) | T::DoublePrecision | T::Float8 => plain(DataType::Float64, "double precision"),
        T::Double(ExactNumberInfo::None) => plain(DataType::Float64, "double precision"),
        T::Numeric(info) | T::Decimal(info) | T::Dec(info) => numeric(name, info),
        T::Text | T::String(None) => plain(DataType::Utf8, "text"),
        T::Varchar(length) | T::CharacterVarying(length) | T::CharVarying(length) => characters(name, "character varying", length.as_ref(), None),
        T::Char(length) | T::Character(length) => characters(name, "character", length.as_ref(), Some(1)),
        T::Bytea => plain(DataType::Binary, "bytea"),
        T::Date => plain(DataType::Date32, "date"),
        T::Time(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) if is_micros(precision) => {
            plain(DataType::Time64(TimeUnit::Microsecond), "time without time zone")
        }
        T::Timestamp(precision, TimezoneInfo::None | TimezoneInfo::WithoutTimeZone) if is_micros(precision) => plain(TIMESTAMP, "timestamp without time zone"),
        T::Timestamp(precision, TimezoneInfo::WithTimeZone | TimezoneInfo::Tz) if is_micros(precision) => plain(timestamptz(), "timestamp with time zone"),
        T::Interval { fields: None, precision } if is_micros(precision) => plain(DataType::Interval(IntervalUnit::MonthDayNano), "interval"),
        T::Uuid => marked(DataType::FixedSizeBinary(16), TYPE_KEY, "uuid", "uuid"),
        T::JSONB => marked(DataType::Utf8, TYPE_KEY, "jsonb", "jsonb"),
        T::JSON => marked(DataType::Utf8, TYPE_KEY, "json", "json"),
        T::Array(ArrayElemTypeDef::SquareBracket(element, _) | ArrayElemTypeDef::AngleBracket(element)) => array(name, element),
        T::Struct(fields, _) => structure(name, fields),
        T::Custom(type_name, modifiers) => custom(name, type_name, modifiers),
        other => Err(refused(other)),
    }
}

fn is_micros(precision: &Option<u64>) -> bool {
    matches!(precision, None | Some(6))
}

fn refused(sql_type: &ast::DataType) -> Error {
    let text = sql_type.to_string().to_lowercase();
    let error = Error::not_supported(format!("type {text} is not supported"));
    match sql_type {
        ast::DataType::Timestamp(Some(_), _) | ast::DataType::Time(Some(_), _) => {
            error.with_hint("times have microseconds; write the type without a precision")
        }
        ast::DataType::Time(_, _) => error.with_hint("use timestamptz, or time without a zone"),
        _ => error,
    }
}

fn numeric(name: &str, info: &ExactNumberInfo) -> Result<(Field, String)> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => return Ok((Field::new(name, NUMERIC, true), "numeric".into())),
        ExactNumberInfo::Precision(p) => (*p, 0),
        ExactNumberInfo::PrecisionAndScale(p, s) => (*p, *s),
    };
    if precision == 0 || precision > 1000 {
        return Err(Error::new(Kind::InvalidParameter, format!("NUMERIC precision {precision} must be between 1 and 1000")));
    }
    if precision > MAX_PRECISION || scale < 0 || scale as u64 > precision {
        return Err(Error::not_supported(format!("type numeric({precision},{scale}) is not supported"))
            .with_hint(format!("the precision is at most {MAX_PRECISION}, the scale between 0 and the precision")));
    }
    let data_type = if precision <= 38 { DataType::Decimal128(precision as u8, scale as i8) } else { DataType::Decimal256(precision as u8, scale as i8) };
    // The typmod tells numeric(38,9) from numeric, which look alike in Arrow.
    let typmod = ((precision << 16) | scale as u64) + 4;
    let metadata = HashMap::from([(TYPMOD_KEY.to_owned(), typmod.to_string())]);
    Ok((Field::new(name, data_type, true).with_metadata(metadata), format!("numeric({precision},{scale})")))
}

fn characters(name: &str, type_name: &str, length: Option<&CharacterLength>, default: Option<u64>) -> Result<(Field, String)> {
    let length = match length {
        Some(CharacterLength::IntegerLength { length, .. }) => Some(*length),
        Some(CharacterLength::Max) => return Err(Error::not_supported(format!("type {type_name}(max) is not supported")).with_hint("use text")),
        None => default,
    };
    let Some(length) = length else { return Ok((Field::new(name, DataType::Utf8, true).with_metadata(varchar(None)), type_name.to_owned())) };
    if length == 0 || length > MAX_LENGTH {
        return Err(Error::new(Kind::InvalidParameter, format!("length for type {type_name} must be between 1 and {MAX_LENGTH}")));
    }
    Ok((Field::new(name, DataType::Utf8, true).with_metadata(varchar(Some(length))), format!("{type_name}({length})")))
}

fn varchar(length: Option<u64>) -> HashMap<String, String> {
    let mut metadata = HashMap::from([(TYPE_KEY.to_owned(), "varchar".to_owned())]);
    if let Some(length) = length {
        metadata.insert(TYPMOD_KEY.to_owned(), (length + 4).to_string());
    }
    metadata
}

fn array(name: &str, element: &ast::DataType) -> Result<(Field, String)> {
    let (item, type_name) = field("item", element)?;
    // Postgres does not tell dimensions apart; int[][] is a list of lists here.
    Ok((list_of(name, item), format!("{type_name}[]")))
}

fn structure(name: &str, fields: &[ast::StructField]) -> Result<(Field, String)> {
    let mut members = Vec::new();
    let mut names = Vec::new();
    for member in fields {
        let Some(ident) = &member.field_name else { return Err(Error::new(Kind::Syntax, "a field of a struct needs a name")) };
        let member_name = folded(ident);
        let (member_field, type_name) = field(&member_name, &member.field_type)?;
        names.push(format!("{member_name} {type_name}"));
        members.push(member_field);
    }
    Ok((Field::new(name, DataType::Struct(members.into()), true), format!("struct<{}>", names.join(", "))))
}

/// An identifier as Postgres folds it.
pub fn folded(ident: &ast::Ident) -> String {
    if ident.quote_style.is_some() { ident.value.clone() } else { ident.value.to_lowercase() }
}

/// Names that the parser does not know, among them `pg_catalog.int4`.
fn custom(name: &str, type_name: &ast::ObjectName, modifiers: &[String]) -> Result<(Field, String)> {
    let parts: Vec<String> = type_name.0.iter().filter_map(|p| p.as_ident()).map(folded).collect();
    let last = match parts.as_slice() {
        [schema, last] if schema == "pg_catalog" => last.as_str(),
        [last] => last.as_str(),
        _ => "",
    };
    use ast::DataType as T;
    let standard = match last {
        "int2" => T::Int2(None),
        "int4" => T::Int4(None),
        "int8" => T::Int8(None),
        "float4" => T::Float4,
        "float8" => T::Float8,
        "bool" => T::Bool,
        "text" => T::Text,
        "name" | "oid" | "char" => return Ok(of_catalog(name, last)),
        "varchar" => T::Varchar(None),
        "bpchar" => T::Text,
        "bytea" => T::Bytea,
        "timestamptz" => T::Timestamp(None, TimezoneInfo::Tz),
        "numeric" => T::Numeric(ExactNumberInfo::None),
        "jsonb" => T::JSONB,
        "json" => T::JSON,
        "uuid" => T::Uuid,
        "serial" | "bigserial" | "smallserial" => {
            return Err(Error::not_supported(format!("type {last} is not supported")).with_hint("use bigint and give the values"));
        }
        _ => return Err(Error::new(Kind::UndefinedObject, format!("type \"{}\" does not exist", parts.join(".")))),
    };
    if !modifiers.is_empty() {
        return Err(Error::not_supported(format!("a modifier on type {last} is not supported")));
    }
    field(name, &standard)
}

/// Types of the catalog's columns.
fn of_catalog(name: &str, type_name: &str) -> (Field, String) {
    let data_type = if type_name == "oid" { DataType::Int64 } else { DataType::Utf8 };
    let shown = if type_name == "char" { "\"char\"" } else { type_name };
    (Field::new(name, data_type, true).with_metadata(HashMap::from([(TYPE_KEY.to_owned(), type_name.to_owned())])), shown.to_owned())
}

/// The field that an expression is cast to: as of a column, but `numeric` on its own is marked.
pub fn cast_field(sql_type: &ast::DataType) -> Result<Field> {
    let (field, type_name) = field("", sql_type)?;
    if type_name != "numeric" {
        return Ok(field);
    }
    Ok(field.with_metadata(HashMap::from([(ANY_NUMERIC_KEY.to_owned(), String::new())])))
}

/// The field of a quoted literal beside a value of `data_type`: a numeric keeps the digits that are written.
pub fn literal_field(data_type: &DataType) -> Field {
    let field = Field::new("", data_type.clone(), true);
    match data_type {
        DataType::Decimal128(..) => field.with_metadata(HashMap::from([(ANY_NUMERIC_KEY.to_owned(), String::new())])),
        _ => field,
    }
}

/// Whether [`cast_field`] or [`literal_field`] marked it.
pub fn is_any_numeric(field: &Field) -> bool {
    field.metadata().contains_key(ANY_NUMERIC_KEY)
}

/// The name of a field's type, as Postgres prints it.
pub fn sql_type(field: &Field) -> String {
    if let Some(item) = item_of(field).filter(|_| !is_vector(field)) {
        return format!("{}[]", sql_type(&item));
    }
    let mark = field.metadata().get(TYPE_KEY).map(String::as_str);
    let typmod = field.metadata().get(TYPMOD_KEY).and_then(|t| t.parse::<u64>().ok());
    match (field.data_type(), mark) {
        (_, Some(json @ ("jsonb" | "json"))) => json.into(),
        (_, Some("uuid")) | (DataType::FixedSizeBinary(16), _) => "uuid".into(),
        (DataType::Utf8, Some("varchar")) => match typmod {
            Some(typmod) => format!("character varying({})", typmod.saturating_sub(4)),
            None => "character varying".into(),
        },
        (_, Some("char")) => "\"char\"".into(),
        (_, Some(named @ ("name" | "oid" | "regclass" | "regtype" | "regproc" | "regnamespace" | "regrole" | "int2vector" | "oidvector"))) => named.into(),
        (DataType::Boolean, _) => "boolean".into(),
        (DataType::Int8 | DataType::Int16 | DataType::UInt8, _) => "smallint".into(),
        (DataType::Int32 | DataType::UInt16, _) => "integer".into(),
        (DataType::Int64 | DataType::UInt32, _) => "bigint".into(),
        (DataType::Float32, _) => "real".into(),
        (DataType::Float64, _) => "double precision".into(),
        (DataType::Decimal128(p, s) | DataType::Decimal256(p, s), _) if typmod.is_some() => format!("numeric({p},{s})"),
        (DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::UInt64, _) => "numeric".into(),
        (DataType::Binary | DataType::LargeBinary | DataType::BinaryView, _) => "bytea".into(),
        (DataType::Date32 | DataType::Date64, _) => "date".into(),
        (DataType::Time32(_) | DataType::Time64(_), _) => "time without time zone".into(),
        (DataType::Timestamp(_, None), _) => "timestamp without time zone".into(),
        (DataType::Timestamp(_, Some(_)), _) => "timestamp with time zone".into(),
        (DataType::Interval(_) | DataType::Duration(_), _) => "interval".into(),
        (DataType::Struct(fields), _) => {
            let members: Vec<String> = fields.iter().map(|f| format!("{} {}", f.name(), sql_type(f))).collect();
            format!("struct<{}>", members.join(", "))
        }
        _ => "text".into(),
    }
}

/// The type that a computed column has towards clients and in views: what DataFusion computes with and Postgres has no type for becomes the nearest.
pub fn settled(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Null | DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Int8 | DataType::UInt8 => DataType::Int16,
        DataType::UInt16 => DataType::Int32,
        DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 => DataType::Float32,
        DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Microsecond),
        DataType::Timestamp(_, None) => TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => timestamptz(),
        DataType::Duration(_) | DataType::Interval(_) => DataType::Interval(IntervalUnit::MonthDayNano),
        DataType::Decimal32(p, s) | DataType::Decimal64(p, s) => DataType::Decimal128(*p, *s),
        DataType::Dictionary(_, value) => settled(value),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            DataType::List(Arc::new(item.as_ref().clone().with_data_type(settled(item.data_type())).with_name("item").with_nullable(true)))
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::ast::StatementKind;
    use crate::sql::parse::parse;

    fn of(text: &str) -> Result<(Field, String)> {
        match parse(&format!("create table t (c {text})"))?.pop().map(|s| s.kind) {
            Some(StatementKind::CreateRelation(create)) => field("c", &create.columns[0].data_type),
            _ => panic!("{text}"),
        }
    }

    #[test]
    fn every_type_of_the_dialect_has_a_field_and_its_postgres_name() {
        for (text, name) in [
            ("boolean", "boolean"),
            ("smallint", "smallint"),
            ("int", "integer"),
            ("int8", "bigint"),
            ("real", "real"),
            ("float", "double precision"),
            ("double precision", "double precision"),
            ("numeric", "numeric"),
            ("decimal(10, 2)", "numeric(10,2)"),
            ("numeric(50,5)", "numeric(50,5)"),
            ("text", "text"),
            ("varchar", "character varying"),
            ("character varying(7)", "character varying(7)"),
            ("bytea", "bytea"),
            ("date", "date"),
            ("time", "time without time zone"),
            ("timestamp", "timestamp without time zone"),
            ("timestamptz", "timestamp with time zone"),
            ("timestamp with time zone", "timestamp with time zone"),
            ("interval", "interval"),
            ("uuid", "uuid"),
            ("jsonb", "jsonb"),
            ("json", "json"),
            ("int[]", "integer[]"),
            ("varchar(3)[]", "character varying(3)[]"),
            ("struct<a int, b varchar>", "struct<a integer, b character varying>"),
        ] {
            let (field, sql_name) = of(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(sql_name, name, "{text}");
            assert_eq!(sql_type(&field), name, "{text}");
            assert_eq!(settled(field.data_type()), *field.data_type(), "{text}");
        }
    }

    #[test]
    fn what_is_no_type_is_told_apart_from_what_we_lack() {
        assert_eq!(of("foo").unwrap_err().sqlstate(), "42704");
        assert_eq!(of("timestamp(3)").unwrap_err().sqlstate(), "0A000");
        assert_eq!(of("numeric(0)").unwrap_err().sqlstate(), "22023");
        assert_eq!(of("serial").unwrap_err().sqlstate(), "0A000");
    }
}
