//! Arrow fields as Postgres types, and back: what a client reads in RowDescription and sends in Bind.
//!
//! The Arrow type says most of it. Where Postgres has several types for one of Arrow's (text, varchar, jsonb, name over
//! Utf8; int8, oid over Int64), the field's metadata names the one that is meant ([`TYPE_KEY`], [`TYPMOD_KEY`]).

use super::backend::ResultColumn;
use crate::error::Result;
use crate::types::text::{ROW_KEY, TYPE_KEY, TYPMOD_KEY, canonical_type, is_vector, item_of, list_of};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use std::collections::HashMap;
use std::sync::Arc;

/// One row of the table of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PgType {
    pub oid: u32,
    /// OID of the type of its arrays.
    pub array: u32,
    /// The name in pg_type and in field metadata.
    pub name: &'static str,
    /// Bytes of a value, -1 if it varies, -2 for C strings.
    pub size: i16,
}

const fn row(oid: u32, array: u32, name: &'static str, size: i16) -> PgType {
    PgType { oid, array, name, size }
}

pub const BOOL: PgType = row(16, 1000, "bool", 1);
pub const BYTEA: PgType = row(17, 1001, "bytea", -1);
pub const CHAR: PgType = row(18, 1002, "char", 1);
pub const NAME: PgType = row(19, 1003, "name", 64);
pub const INT8: PgType = row(20, 1016, "int8", 8);
pub const INT2: PgType = row(21, 1005, "int2", 2);
pub const INT2VECTOR: PgType = row(22, 1006, "int2vector", -1);
pub const INT4: PgType = row(23, 1007, "int4", 4);
pub const REGPROC: PgType = row(24, 1008, "regproc", 4);
pub const TEXT: PgType = row(25, 1009, "text", -1);
pub const OID: PgType = row(26, 1028, "oid", 4);
pub const OIDVECTOR: PgType = row(30, 1013, "oidvector", -1);
pub const JSON: PgType = row(114, 199, "json", -1);
pub const FLOAT4: PgType = row(700, 1021, "float4", 4);
pub const FLOAT8: PgType = row(701, 1022, "float8", 8);
pub const UNKNOWN: PgType = row(705, 0, "unknown", -2);
pub const BPCHAR: PgType = row(1042, 1014, "bpchar", -1);
pub const VARCHAR: PgType = row(1043, 1015, "varchar", -1);
pub const DATE: PgType = row(1082, 1182, "date", 4);
pub const TIME: PgType = row(1083, 1183, "time", 8);
pub const TIMESTAMP: PgType = row(1114, 1115, "timestamp", 8);
pub const TIMESTAMPTZ: PgType = row(1184, 1185, "timestamptz", 8);
pub const INTERVAL: PgType = row(1186, 1187, "interval", 16);
pub const NUMERIC: PgType = row(1700, 1231, "numeric", -1);
pub const REGCLASS: PgType = row(2205, 2210, "regclass", 4);
pub const REGTYPE: PgType = row(2206, 2211, "regtype", 4);
pub const REGNAMESPACE: PgType = row(4089, 4090, "regnamespace", 4);
pub const REGROLE: PgType = row(4096, 4097, "regrole", 4);
pub const RECORD: PgType = row(2249, 2287, "record", -1);
pub const UUID: PgType = row(2950, 2951, "uuid", 16);
pub const JSONB: PgType = row(3802, 3807, "jsonb", -1);

/// Every type that the wire knows.
pub const TYPES: [PgType; 31] = [
    BOOL,
    BYTEA,
    CHAR,
    NAME,
    INT8,
    INT2,
    INT2VECTOR,
    INT4,
    REGPROC,
    TEXT,
    OID,
    OIDVECTOR,
    JSON,
    FLOAT4,
    FLOAT8,
    UNKNOWN,
    BPCHAR,
    VARCHAR,
    DATE,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    INTERVAL,
    NUMERIC,
    REGCLASS,
    REGTYPE,
    REGNAMESPACE,
    REGROLE,
    RECORD,
    UUID,
    JSONB,
];

/// The type of a column as RowDescription tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireType {
    pub oid: u32,
    pub size: i16,
    pub modifier: i32,
}

/// What a result column is called on the wire. A numeric's precision is told for columns of tables only: elsewhere it
/// is what the planner derived, and Postgres tells nothing there.
pub fn of_column(column: &ResultColumn) -> Result<WireType> {
    let (oid, size) = match item_of(&column.field) {
        Some(_) => (oid_of(&column.field)?, -1),
        None => {
            let t = scalar(&column.field)?;
            (t.oid, t.size)
        }
    };
    let declared = column.field.metadata().get(TYPMOD_KEY).and_then(|m| m.parse().ok());
    let derived = match column.field.data_type() {
        DataType::Decimal128(precision, scale) if column.table_oid != 0 && *precision < 38 => numeric_modifier(*precision, *scale),
        _ => -1,
    };
    Ok(WireType { oid, size, modifier: declared.unwrap_or(derived) })
}

/// The OID of a field's type.
pub fn oid_of(field: &Field) -> Result<u32> {
    match innermost(field) {
        Some(_) if is_vector(field) => Ok(if field.metadata().get(TYPE_KEY).is_some_and(|t| t == INT2VECTOR.name) { INT2VECTOR } else { OIDVECTOR }.oid),
        Some(item) => Ok(scalar(&item)?.array),
        None => Ok(scalar(field)?.oid),
    }
}

fn numeric_modifier(precision: u8, scale: i8) -> i32 {
    (((precision as i32) << 16) | (scale as i32 & 0x7ff)) + 4
}

/// The innermost item of a list: Postgres has one array type for all dimensions.
fn innermost(field: &Field) -> Option<FieldRef> {
    let item = item_of(field)?;
    Some(innermost(&item).unwrap_or(item))
}

fn scalar(field: &Field) -> Result<PgType> {
    let data_type = canonical_type(field.data_type())?;
    let named = field.metadata().get(TYPE_KEY).and_then(|name| TYPES.iter().find(|t| t.name == name));
    if let Some(named) = named {
        return Ok(*named);
    }
    let row = field.metadata().get(ROW_KEY).and_then(|mark| mark.split_once(','));
    if let (DataType::Struct(_), Some((oid, array))) = (&data_type, row.and_then(|(oid, array)| oid.parse().ok().zip(array.parse().ok()))) {
        return Ok(PgType { oid, array, ..RECORD });
    }
    Ok(match data_type {
        DataType::Boolean => BOOL,
        DataType::Int16 => INT2,
        DataType::Int32 => INT4,
        DataType::Int64 => INT8,
        DataType::Float32 => FLOAT4,
        DataType::Float64 => FLOAT8,
        DataType::Decimal128(..) | DataType::Decimal256(..) => NUMERIC,
        DataType::Utf8 if field.metadata().contains_key(TYPMOD_KEY) => VARCHAR,
        DataType::Binary => BYTEA,
        DataType::FixedSizeBinary(_) => UUID,
        DataType::Date32 => DATE,
        DataType::Time64(_) => TIME,
        DataType::Timestamp(_, None) => TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => TIMESTAMPTZ,
        DataType::Interval(_) => INTERVAL,
        DataType::Struct(_) => RECORD,
        _ => TEXT,
    })
}

/// The type of that OID; an array's OID gives its items' type and true.
pub fn by_oid(oid: u32) -> Option<(PgType, bool)> {
    let scalar = TYPES.iter().find(|t| t.oid == oid).map(|t| (*t, false));
    scalar.or_else(|| TYPES.iter().find(|t| t.array == oid && oid != 0).map(|t| (*t, true)))
}

/// The arrow field that holds values of an OID: what a parameter declared so is decoded into. `None` if the type is not
/// known here. A numeric's scale is that of the value, so 9 stands here only for one without a value.
pub fn field_of(oid: u32) -> Option<Field> {
    let (scalar, is_array) = by_oid(oid)?;
    let data_type = match scalar {
        BOOL => DataType::Boolean,
        BYTEA => DataType::Binary,
        INT8 | OID | REGPROC | REGCLASS | REGTYPE | REGNAMESPACE | REGROLE => DataType::Int64,
        INT2VECTOR | OIDVECTOR => return vector(scalar),
        INT2 => DataType::Int16,
        INT4 => DataType::Int32,
        FLOAT4 => DataType::Float32,
        FLOAT8 => DataType::Float64,
        DATE => DataType::Date32,
        TIME => DataType::Time64(TimeUnit::Microsecond),
        TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        NUMERIC => DataType::Decimal128(38, 9),
        UUID => DataType::FixedSizeBinary(16),
        RECORD => return None,
        _ => DataType::Utf8,
    };
    let named = matches!(scalar, CHAR | NAME | OID | REGPROC | REGCLASS | REGTYPE | REGNAMESPACE | REGROLE | JSON | JSONB | BPCHAR | VARCHAR | UUID);
    let metadata = if named { HashMap::from([(TYPE_KEY.to_string(), scalar.name.to_string())]) } else { HashMap::new() };
    let field = Field::new("item", data_type, true).with_metadata(metadata);
    Some(if is_array { list_of("item", field) } else { field })
}

fn vector(of: PgType) -> Option<Field> {
    let mark = |name: &str| HashMap::from([(TYPE_KEY.to_string(), name.to_string())]);
    let item = if of == INT2VECTOR { Field::new("item", DataType::Int16, true) } else { Field::new("item", DataType::Int64, true).with_metadata(mark("oid")) };
    Some(Field::new("item", DataType::List(Arc::new(item)), true).with_metadata(mark(of.name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(field: Field, table_oid: u32) -> ResultColumn {
        ResultColumn { name: "c".into(), field: Arc::new(field), table_oid, attribute: 0 }
    }

    fn field(data_type: DataType) -> Field {
        Field::new("c", data_type, true)
    }

    #[test]
    fn fields_become_types_with_size_and_modifier() {
        let money = field(DataType::Decimal128(12, 2));
        assert_eq!(of_column(&column(money.clone(), 7)).unwrap(), WireType { oid: 1700, size: -1, modifier: ((12 << 16) | 2) + 4 });
        assert_eq!(of_column(&column(money, 0)).unwrap().modifier, -1);
        let varchar = field(DataType::Utf8).with_metadata(HashMap::from([(TYPMOD_KEY.to_string(), "14".to_string())]));
        assert_eq!(of_column(&column(varchar, 0)).unwrap(), WireType { oid: 1043, size: -1, modifier: 14 });
        let nested = DataType::List(Arc::new(field(DataType::List(Arc::new(field(DataType::Int32))))));
        assert_eq!(of_column(&column(field(nested), 0)).unwrap(), WireType { oid: 1007, size: -1, modifier: -1 });
        assert_eq!(oid_of(&field(DataType::Utf8View)).unwrap(), 25);
        assert_eq!(oid_of(&field(DataType::Null)).unwrap(), 25);
        let json = field(DataType::Utf8).with_metadata(HashMap::from([(TYPE_KEY.to_string(), "jsonb".to_string())]));
        assert_eq!(oid_of(&field(DataType::List(Arc::new(json)))).unwrap(), 3807);
    }

    #[test]
    fn the_field_of_an_oid_has_that_oid() {
        for t in TYPES {
            for oid in [t.oid, t.array] {
                // An array of vectors has no form here.
                let vectors = oid == t.array && matches!(t, INT2VECTOR | OIDVECTOR);
                if let Some(field) = field_of(oid).filter(|_| t != UNKNOWN && !vectors) {
                    assert_eq!(oid_of(&field).unwrap(), oid, "{}", t.name);
                }
            }
        }
        assert_eq!(by_oid(0), None);
        assert_eq!(field_of(600), None);
    }
}
