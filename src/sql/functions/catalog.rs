//! Functions that tell of the catalog and of the session: they know the facts of one statement, so each statement makes its own.
//!
//! `tw_regclass(x)` and its like are the casts to names of things: an oid, marked with its type. `tw_named(x)` puts the name beside such an oid, for
//! whoever prints it.

use super::table::external;
use crate::catalog::object::TEMPORARY;
use crate::catalog::pg::{self, Facts, Reg};
use crate::error::{Error, Kind, Result};
use crate::types::text::{TYPE_KEY, list_of};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListBuilder, StringArray, StringBuilder, StructArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type, TimeUnit};
use datafusion::common::{Result as DataFusionResult, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What the functions of one statement know.
pub struct Known {
    pub facts: Arc<Facts>,
    /// The schemas that names without one are looked up in, pg_catalog apart.
    pub path: Vec<String>,
    /// The session's process number.
    pub pid: i32,
    /// `current_setting`; the flag: no such setting gives `None`.
    pub setting: Arc<dyn Fn(&str, bool) -> Result<Option<String>> + Send + Sync>,
    /// Cancels or ends another session; false: there is none of that number. Error: it may not be (42501).
    pub signal: Arc<dyn Fn(i32, Signal) -> Result<bool> + Send + Sync>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Cancel,
    Terminate,
}

impl fmt::Debug for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "facts of a statement")
    }
}

/// An argument, a value.
#[derive(Clone, Debug, PartialEq)]
enum Value {
    Null,
    Boolean(bool),
    Integer(i64),
    Text(String),
    Texts(Vec<String>),
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Value {
        text.map_or(Value::Null, Value::Text)
    }
}

/// What a function gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gives {
    Text,
    Texts,
    Names,
    Name,
    Boolean,
    Integer,
    Bigint,
    Oid,
    /// µs since 1970.
    Time,
    Reg(Reg),
    /// An oid with its name.
    Named,
}

type Body = fn(&Known, &[Value]) -> Result<Value>;

/// Name, result, whether a NULL argument gives NULL, what it does.
type Row = (&'static str, Gives, bool, Body);

const NOTHING: Body = |_, _| Ok(Value::Null);
const YES: Body = |_, _| Ok(Value::Boolean(true));
const NO: Body = |_, _| Ok(Value::Boolean(false));
const ZERO: Body = |_, _| Ok(Value::Integer(0));

const FUNCTIONS: &[Row] = &[
    ("format_type", Gives::Text, false, format_type),
    ("pg_get_expr", Gives::Text, true, |_, a| Ok(a[0].clone())),
    ("pg_get_viewdef", Gives::Text, true, |k, a| Ok(pg::view_definition(&k.facts, k.relation(&a[0])?).into())),
    ("pg_get_indexdef", Gives::Text, true, |k, a| Ok(pg::index_definition(&k.facts, oid(&a[0])?, integer(a.get(1))?, boolean(a.get(2))).into())),
    ("pg_get_constraintdef", Gives::Text, true, |k, a| Ok(pg::constraint_definition(&k.facts, oid(&a[0])?).into())),
    ("pg_get_userbyid", Gives::Name, true, |k, a| Ok(Value::Text(pg::user_name(&k.facts, oid(&a[0])?)))),
    ("pg_get_function_result", Gives::Text, true, |k, a| Ok(pg::function_result(&k.facts, oid(&a[0])?).into())),
    ("pg_get_function_arguments", Gives::Text, true, |k, a| Ok(pg::function_arguments(&k.facts, oid(&a[0])?).into())),
    ("pg_get_function_identity_arguments", Gives::Text, true, |k, a| Ok(pg::function_arguments(&k.facts, oid(&a[0])?).into())),
    ("pg_get_functiondef", Gives::Text, true, NOTHING),
    ("pg_get_function_sqlbody", Gives::Text, true, NOTHING),
    ("pg_get_serial_sequence", Gives::Text, true, NOTHING),
    ("pg_get_partkeydef", Gives::Text, true, NOTHING),
    ("pg_get_ruledef", Gives::Text, true, |k, a| Ok(pg::rule_definition(&k.facts, oid(&a[0])?).into())),
    ("pg_get_triggerdef", Gives::Text, true, NOTHING),
    ("pg_get_statisticsobjdef_columns", Gives::Text, true, NOTHING),
    ("pg_get_partition_constraintdef", Gives::Text, true, NOTHING),
    ("pg_describe_object", Gives::Text, true, NOTHING),
    ("obj_description", Gives::Text, true, |k, a| Ok(pg::description(&k.facts, oid(&a[0])?, &text(a.get(1)), 0).into())),
    ("shobj_description", Gives::Text, true, NOTHING),
    ("col_description", Gives::Text, true, |k, a| Ok(pg::description(&k.facts, oid(&a[0])?, "pg_class", integer(a.get(1))?).into())),
    ("pg_tablespace_location", Gives::Text, true, |_, _| Ok(Value::Text(String::new()))),
    ("pg_encoding_to_char", Gives::Name, true, |_, a| Ok(Value::Text(if integer(a.first())? == UTF8 { "UTF8" } else { "" }.into()))),
    ("pg_char_to_encoding", Gives::Integer, true, |_, a| Ok(Value::Integer(if is_utf8(&text(a.first())) { UTF8.into() } else { -1 }))),
    ("getdatabaseencoding", Gives::Name, true, |_, _| Ok(Value::Text("UTF8".into()))),
    ("pg_client_encoding", Gives::Name, true, |_, _| Ok(Value::Text("UTF8".into()))),
    ("pg_is_in_recovery", Gives::Boolean, true, NO),
    ("pg_is_other_temp_schema", Gives::Boolean, true, NO),
    ("pg_my_temp_schema", Gives::Oid, true, ZERO),
    ("pg_relation_is_publishable", Gives::Boolean, true, NO),
    ("pg_relation_is_updatable", Gives::Integer, true, ZERO),
    ("pg_backend_pid", Gives::Integer, true, |k, _| Ok(Value::Integer(k.pid.into()))),
    ("pg_postmaster_start_time", Gives::Time, true, |k, _| Ok(Value::Integer(k.facts.started_at))),
    ("pg_conf_load_time", Gives::Time, true, |k, _| Ok(Value::Integer(k.facts.started_at))),
    ("pg_cancel_backend", Gives::Boolean, true, |k, a| k.signal(a, Signal::Cancel)),
    ("pg_terminate_backend", Gives::Boolean, true, |k, a| k.signal(a, Signal::Terminate)),
    ("pg_advisory_unlock_all", Gives::Text, true, |_, _| Ok(Value::Text(String::new()))),
    ("pg_table_size", Gives::Bigint, true, NOTHING),
    ("pg_relation_size", Gives::Bigint, true, NOTHING),
    ("pg_total_relation_size", Gives::Bigint, true, NOTHING),
    ("pg_indexes_size", Gives::Bigint, true, NOTHING),
    ("pg_database_size", Gives::Bigint, true, NOTHING),
    ("pg_tablespace_size", Gives::Bigint, true, NOTHING),
    ("pg_size_pretty", Gives::Text, true, |_, a| Ok(Value::Text(pretty_size(integer64(a.first())?)))),
    ("pg_stat_get_numscans", Gives::Bigint, true, ZERO),
    ("inet_server_addr", Gives::Text, true, NOTHING),
    ("inet_client_addr", Gives::Text, true, NOTHING),
    ("inet_server_port", Gives::Integer, true, NOTHING),
    ("has_table_privilege", Gives::Boolean, true, |k, a| k.may(2, a, Known::on_relation)),
    ("has_schema_privilege", Gives::Boolean, true, |k, a| k.may(2, a, Known::on_schema)),
    ("has_database_privilege", Gives::Boolean, true, |k, a| k.may(2, a, |k, role, _, text| pg::privileges::on_database(&k.facts, role, text).map(Some))),
    ("has_column_privilege", Gives::Boolean, true, |k, a| k.may(3, a, Known::on_relation)),
    ("has_any_column_privilege", Gives::Boolean, true, |k, a| k.may(2, a, Known::on_relation)),
    ("has_function_privilege", Gives::Boolean, true, YES),
    ("has_sequence_privilege", Gives::Boolean, true, YES),
    ("has_tablespace_privilege", Gives::Boolean, true, YES),
    ("has_type_privilege", Gives::Boolean, true, YES),
    ("pg_has_role", Gives::Boolean, true, |k, a| k.may(2, a, Known::on_role)),
    ("pg_table_is_visible", Gives::Boolean, true, |k, a| k.visible("pg_class", a)),
    ("pg_type_is_visible", Gives::Boolean, true, |k, a| k.visible("pg_type", a)),
    ("pg_function_is_visible", Gives::Boolean, true, |k, a| k.visible("pg_proc", a)),
    ("pg_operator_is_visible", Gives::Boolean, true, YES),
    ("pg_opclass_is_visible", Gives::Boolean, true, YES),
    ("pg_opfamily_is_visible", Gives::Boolean, true, YES),
    ("pg_collation_is_visible", Gives::Boolean, true, YES),
    ("pg_conversion_is_visible", Gives::Boolean, true, YES),
    ("pg_statistics_obj_is_visible", Gives::Boolean, true, YES),
    ("pg_ts_config_is_visible", Gives::Boolean, true, YES),
    ("pg_ts_dict_is_visible", Gives::Boolean, true, YES),
    ("pg_ts_parser_is_visible", Gives::Boolean, true, YES),
    ("pg_ts_template_is_visible", Gives::Boolean, true, YES),
    ("current_schema", Gives::Name, true, |k, _| Ok(k.path.iter().find(|s| *s != PG_CATALOG && !s.starts_with(TEMPORARY)).cloned().into())),
    ("current_schemas", Gives::Names, true, |k, a| Ok(Value::Texts(k.schemas(boolean(a.first()))))),
    ("current_setting", Gives::Text, true, current_setting),
    ("format", Gives::Text, false, |_, a| formatted(a)),
    ("parse_ident", Gives::Texts, true, |_, a| Ok(Value::Texts(pg::split_name(&text(a.first()))?))),
    ("tw_regclass", Gives::Reg(Reg::Class), true, |k, a| k.named(Reg::Class, &a[0])),
    ("tw_regtype", Gives::Reg(Reg::Type), true, |k, a| k.named(Reg::Type, &a[0])),
    ("tw_regproc", Gives::Reg(Reg::Proc), true, |k, a| k.named(Reg::Proc, &a[0])),
    ("tw_regprocedure", Gives::Reg(Reg::Procedure), true, |k, a| k.named(Reg::Procedure, &a[0])),
    ("tw_regoperator", Gives::Reg(Reg::Operator), true, |k, a| k.named(Reg::Operator, &a[0])),
    ("tw_regnamespace", Gives::Reg(Reg::Namespace), true, |k, a| k.named(Reg::Namespace, &a[0])),
    ("tw_regrole", Gives::Reg(Reg::Role), true, |k, a| k.named(Reg::Role, &a[0])),
    ("to_regclass", Gives::Reg(Reg::Class), true, |k, a| Ok(k.named(Reg::Class, &a[0]).unwrap_or(Value::Null))),
    ("to_regtype", Gives::Reg(Reg::Type), true, |k, a| Ok(k.named(Reg::Type, &a[0]).unwrap_or(Value::Null))),
    ("to_regproc", Gives::Reg(Reg::Proc), true, |k, a| Ok(k.named(Reg::Proc, &a[0]).unwrap_or(Value::Null))),
    ("to_regnamespace", Gives::Reg(Reg::Namespace), true, |k, a| Ok(k.named(Reg::Namespace, &a[0]).unwrap_or(Value::Null))),
    ("to_regrole", Gives::Reg(Reg::Role), true, |k, a| Ok(k.named(Reg::Role, &a[0]).unwrap_or(Value::Null))),
    (NAMED, Gives::Named, true, |_, a| Ok(a[0].clone())),
];

/// Whether it is one of these.
pub fn is_one(name: &str) -> bool {
    FUNCTIONS.iter().any(|(n, ..)| *n == name)
}

/// The function that puts names beside oids.
pub const NAMED: &str = "tw_named";

/// It is looked in before all others.
const PG_CATALOG: &str = "pg_catalog";

/// Number of the encoding UTF8.
const UTF8: i32 = 6;

fn is_utf8(name: &str) -> bool {
    ["utf8", "utf-8", "unicode"].contains(&name.to_lowercase().as_str())
}

/// The function of that name; `None`: it is none of these.
pub fn function(name: &str, known: Arc<Known>) -> Option<Arc<ScalarUDF>> {
    let (name, gives, strict, body) = FUNCTIONS.iter().find(|(n, ..)| *n == name)?;
    let signature = Signature::user_defined(if name.ends_with("_backend") { Volatility::Volatile } else { Volatility::Stable });
    Some(Arc::new(ScalarUDF::new_from_impl(Told { name, gives: *gives, strict: *strict, body: *body, known, signature })))
}

struct Told {
    name: &'static str,
    gives: Gives,
    strict: bool,
    body: Body,
    known: Arc<Known>,
    signature: Signature,
}

impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Told {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.known, &other.known)
    }
}

impl Eq for Told {}

impl Hash for Told {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

fn marked(name: &str, data_type: DataType, mark: &str) -> Field {
    Field::new(name, data_type, true).with_metadata(HashMap::from([(TYPE_KEY.to_owned(), mark.to_owned())]))
}

/// An oid and its name; the mark is that of the oid's type.
fn named_fields() -> Fields {
    Fields::from(vec![marked("oid", DataType::Int64, "oid"), Field::new("name", DataType::Utf8, true)])
}

/// The type whose values have names, if a field is of one.
pub fn reg_of(field: &Field) -> Option<Reg> {
    if *field.data_type() != DataType::Int64 {
        return None;
    }
    reg_named(field.metadata().get(TYPE_KEY)?)
}

const REGS: [(&str, Reg); 7] = [
    ("regclass", Reg::Class),
    ("regtype", Reg::Type),
    ("regproc", Reg::Proc),
    ("regprocedure", Reg::Procedure),
    ("regoperator", Reg::Operator),
    ("regnamespace", Reg::Namespace),
    ("regrole", Reg::Role),
];

pub fn reg_named(name: &str) -> Option<Reg> {
    REGS.iter().find(|(n, _)| *n == name).map(|(_, reg)| *reg)
}

fn reg_name(reg: Reg) -> &'static str {
    REGS.iter().find(|(_, r)| *r == reg).map_or("oid", |(name, _)| name)
}

/// Whether a name is one of these functions.
pub fn is_function(name: &str) -> bool {
    FUNCTIONS.iter().any(|(n, ..)| *n == name)
}

impl ScalarUDFImpl for Told {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        Ok(types.iter().map(plain).collect())
    }

    fn return_type(&self, _arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(self.field(None).data_type().clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(self.field(arguments.arg_fields.first())))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let rows = arguments.number_rows;
        let constant = arguments.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let count = if constant { 1 } else { rows };
        let columns = arguments.args.iter().map(|a| a.to_array(count)).collect::<DataFusionResult<Vec<_>>>()?;
        let values = (0..count).map(|row| self.call(&columns, row)).collect::<Result<Vec<_>>>().map_err(external)?;
        let reg = arguments.arg_fields.first().and_then(|f| reg_of(f));
        let array = self.array(&values, reg).map_err(external)?;
        Ok(if constant { ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?) } else { ColumnarValue::Array(array) })
    }
}

/// Arguments are texts, whole numbers and booleans.
fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Boolean => DataType::Boolean,
        t if t.is_integer() || t.is_decimal() => DataType::Int64,
        _ => DataType::Utf8,
    }
}

impl Told {
    fn field(&self, argument: Option<&FieldRef>) -> Field {
        match self.gives {
            Gives::Text => Field::new(self.name, DataType::Utf8, true),
            Gives::Texts => Field::new(self.name, DataType::List(Arc::new(Field::new("item", DataType::Utf8, true))), true),
            Gives::Names => list_of(self.name, marked("item", DataType::Utf8, "name")),
            Gives::Name => marked(self.name, DataType::Utf8, "name"),
            Gives::Boolean => Field::new(self.name, DataType::Boolean, true),
            Gives::Integer => Field::new(self.name, DataType::Int32, true),
            Gives::Bigint => Field::new(self.name, DataType::Int64, true),
            Gives::Oid => marked(self.name, DataType::Int64, "oid"),
            Gives::Time => Field::new(self.name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Gives::Reg(reg) => marked(self.name, DataType::Int64, reg_name(reg)),
            Gives::Named => {
                let mark = argument.and_then(|f| f.metadata().get(TYPE_KEY)).map_or("oid", String::as_str);
                marked(self.name, DataType::Struct(named_fields()), mark)
            }
        }
    }

    fn call(&self, columns: &[ArrayRef], row: usize) -> Result<Value> {
        let values = columns.iter().map(|c| value(c, row)).collect::<Result<Vec<_>>>()?;
        if self.strict && values.contains(&Value::Null) {
            return Ok(Value::Null);
        }
        (self.body)(&self.known, &values)
    }

    fn array(&self, values: &[Value], reg: Option<Reg>) -> Result<ArrayRef> {
        let integers = || {
            values.iter().map(|v| match v {
                Value::Integer(n) => Some(*n),
                _ => None,
            })
        };
        Ok(match self.gives {
            Gives::Texts | Gives::Names => {
                let mut lists = ListBuilder::new(StringBuilder::new());
                for value in values {
                    match value {
                        Value::Texts(texts) => {
                            texts.iter().for_each(|t| lists.values().append_value(t));
                            lists.append(true);
                        }
                        _ => lists.append(false),
                    }
                }
                Arc::new(lists.finish())
            }
            Gives::Text | Gives::Name => Arc::new(
                values
                    .iter()
                    .map(|v| match v {
                        Value::Text(text) => Some(text.as_str()),
                        _ => None,
                    })
                    .collect::<StringArray>(),
            ),
            Gives::Boolean => Arc::new(
                values
                    .iter()
                    .map(|v| match v {
                        Value::Boolean(b) => Some(*b),
                        _ => None,
                    })
                    .collect::<BooleanArray>(),
            ),
            Gives::Integer => Arc::new(integers().map(|n| n.and_then(|n| i32::try_from(n).ok())).collect::<arrow::array::Int32Array>()),
            Gives::Bigint | Gives::Oid | Gives::Reg(_) => Arc::new(integers().collect::<Int64Array>()),
            Gives::Time => Arc::new(integers().collect::<TimestampMicrosecondArray>().with_timezone("UTC")),
            Gives::Named => {
                let oids: Int64Array = integers().collect();
                let name = |oid: i64| {
                    let oid = u32::try_from(oid).unwrap_or(0);
                    reg.and_then(|reg| pg::name_of(&self.known.facts, reg, oid, &self.known.path)).unwrap_or_else(|| oid.to_string())
                };
                let names: StringArray = integers().map(|oid| oid.map(name)).collect();
                let nulls = oids.nulls().cloned();
                Arc::new(StructArray::try_new(named_fields(), vec![Arc::new(oids), Arc::new(names)], nulls)?)
            }
        })
    }
}

fn value(column: &ArrayRef, row: usize) -> Result<Value> {
    if column.is_null(row) {
        return Ok(Value::Null);
    }
    Ok(match column.data_type() {
        DataType::Boolean => Value::Boolean(column.as_boolean().value(row)),
        DataType::Int64 => Value::Integer(column.as_primitive::<Int64Type>().value(row)),
        _ => Value::Text(column.as_string::<i32>().value(row).to_owned()),
    })
}

fn oid(value: &Value) -> Result<u32> {
    match value {
        Value::Integer(n) => Ok(u32::try_from(*n).unwrap_or(0)),
        Value::Text(text) => text.trim().parse().map_err(|_| Error::new(Kind::InvalidText, format!("invalid input syntax for type oid: \"{text}\""))),
        _ => Ok(0),
    }
}

fn integer64(value: Option<&Value>) -> Result<i64> {
    match value {
        Some(Value::Integer(n)) => Ok(*n),
        Some(Value::Text(text)) => text.trim().parse().map_err(|_| Error::new(Kind::InvalidText, format!("invalid input syntax for type bigint: \"{text}\""))),
        _ => Ok(0),
    }
}

fn integer(value: Option<&Value>) -> Result<i32> {
    Ok(i32::try_from(integer64(value)?).unwrap_or(0))
}

fn boolean(value: Option<&Value>) -> bool {
    matches!(value, Some(Value::Boolean(true)))
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    }
}

fn format_type(known: &Known, arguments: &[Value]) -> Result<Value> {
    let modifier = match arguments.get(1) {
        Some(Value::Null) | None => None,
        given => Some(integer(given)?),
    };
    Ok(match &arguments[0] {
        Value::Null => Value::Null,
        given => Value::Text(pg::format_type(&known.facts, oid(given)?, modifier)),
    })
}

fn current_setting(known: &Known, arguments: &[Value]) -> Result<Value> {
    Ok((known.setting)(&text(arguments.first()), boolean(arguments.get(1)))?.into())
}

/// `%s`, `%I`, `%L`, `%%`, and `%2$s`.
fn formatted(arguments: &[Value]) -> Result<Value> {
    let Value::Text(pattern) = &arguments[0] else { return Ok(Value::Null) };
    let wrong = |what: String| Error::new(Kind::InvalidParameter, what);
    let (mut out, mut next, mut letters) = (String::new(), 1, pattern.chars().peekable());
    while let Some(letter) = letters.next() {
        if letter != '%' {
            out.push(letter);
            continue;
        }
        let mut digits = number_of(&mut letters);
        if !digits.is_empty() && letters.next_if_eq(&'$').is_some() {
            next = digits.parse().map_err(|_| wrong("argument number is out of range".into()))?;
            digits = String::new();
        }
        let to_left = digits.is_empty() && letters.next_if_eq(&'-').is_some();
        if digits.is_empty() {
            digits = number_of(&mut letters);
        }
        if letters.next_if_eq(&'*').is_some() {
            return Err(Error::not_supported("a width in format() that is an argument is not supported").with_hint("use lpad() or rpad()"));
        }
        let kind = letters.next().ok_or_else(|| wrong("unterminated format() type specifier".into()))?;
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = arguments.get(next).filter(|_| next > 0).ok_or_else(|| wrong("too few arguments for format()".into()))?;
        next += 1;
        let text = match (kind, value) {
            ('s', Value::Null) => String::new(),
            ('s', value) => shown(value),
            ('I', Value::Null) => return Err(wrong("null values cannot be formatted as an SQL identifier".into())),
            ('I', value) => pg::quoted(&shown(value)).into_owned(),
            ('L', Value::Null) => "NULL".to_owned(),
            ('L', value) => {
                let text = shown(value);
                let (mark, doubled) = if text.contains('\\') { (" E", text.replace('\\', "\\\\")) } else { ("", text) };
                format!("{mark}'{}'", doubled.replace('\'', "''"))
            }
            (other, _) => return Err(wrong(format!("unrecognized format() type specifier \"{other}\""))),
        };
        let width = if digits.is_empty() { 0 } else { digits.parse::<u16>().map_err(|_| wrong("number is out of range".into()))?.into() };
        out.push_str(&if to_left { format!("{text:<width$}") } else { format!("{text:>width$}") });
    }
    Ok(Value::Text(out))
}

fn number_of(letters: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    std::iter::from_fn(|| letters.next_if(char::is_ascii_digit)).collect()
}

fn shown(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Integer(n) => n.to_string(),
        Value::Boolean(b) => if *b { "t" } else { "f" }.into(),
        Value::Texts(texts) => texts.join(","),
        Value::Null => String::new(),
    }
}

/// `12 kB`: the largest unit of which there are at least ten, rounded half up.
fn pretty_size(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let (mut size, mut unit) = (i128::from(bytes), 0);
    while unit + 1 < UNITS.len() && size.abs() >= 10 * 1024 {
        size /= if unit == 0 { 512 } else { 1024 };
        unit += 1;
    }
    if unit > 0 {
        size = (size + size.signum()) / 2;
    }
    format!("{size} {}", UNITS[unit])
}

impl Known {
    /// The path; `implicit`: with the schema that is looked in without being named.
    fn schemas(&self, implicit: bool) -> Vec<String> {
        let catalog = (implicit && !self.path.iter().any(|s| s == PG_CATALOG)).then(|| PG_CATALOG.to_owned());
        catalog.into_iter().chain(self.path.iter().filter(|s| implicit || !s.starts_with(TEMPORARY)).cloned()).collect()
    }

    /// A relation, by oid or name.
    fn relation(&self, value: &Value) -> Result<u32> {
        match self.named(Reg::Class, value)? {
            Value::Integer(n) => Ok(u32::try_from(n).unwrap_or(0)),
            _ => Ok(0),
        }
    }

    /// The oid of a name; an oid is one already.
    fn named(&self, reg: Reg, value: &Value) -> Result<Value> {
        match value {
            Value::Text(text) => Ok(Value::Integer(pg::oid_of(&self.facts, reg, text, &self.path)?.into())),
            other => Ok(other.clone()),
        }
    }

    /// `([user,] thing, …, privilege)`: `count` arguments without the user. A thing that is not there is NULL.
    fn may(&self, count: usize, arguments: &[Value], ask: fn(&Known, u32, &Value, &str) -> Result<Option<bool>>) -> Result<Value> {
        let (role, rest) = match arguments.len().checked_sub(count) {
            Some(0) => (self.facts.role, arguments),
            Some(1) => (self.role(&arguments[0])?, &arguments[1..]),
            _ => return Err(Error::new(Kind::UndefinedFunction, "a privilege is asked for with other arguments")),
        };
        let privilege = text(rest.last());
        Ok(ask(self, role, &rest[0], &privilege)?.map_or(Value::Null, Value::Boolean))
    }

    fn role(&self, value: &Value) -> Result<u32> {
        match value {
            Value::Text(name) => pg::privileges::role_named(&self.facts, name),
            other => oid(other),
        }
    }

    fn on_relation(&self, role: u32, thing: &Value, privilege: &str) -> Result<Option<bool>> {
        pg::privileges::on_relation(&self.facts, role, self.relation(thing)?, privilege)
    }

    fn on_schema(&self, role: u32, thing: &Value, privilege: &str) -> Result<Option<bool>> {
        let schema = match thing {
            Value::Text(name) => pg::privileges::schema_named(&self.facts, name)?,
            other => oid(other)?,
        };
        pg::privileges::on_schema(&self.facts, role, schema, privilege)
    }

    fn on_role(&self, role: u32, thing: &Value, privilege: &str) -> Result<Option<bool>> {
        pg::privileges::on_role(&self.facts, role, self.role(thing)?, privilege).map(Some)
    }

    fn visible(&self, class: &str, arguments: &[Value]) -> Result<Value> {
        Ok(pg::is_visible(&self.facts, class, oid(&arguments[0])?, &self.path).map_or(Value::Null, Value::Boolean))
    }

    fn signal(&self, arguments: &[Value], signal: Signal) -> Result<Value> {
        (self.signal)(integer(arguments.first())?, signal).map(Value::Boolean)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_as_postgres_rounds_them() {
        for (bytes, text) in [(0, "0 bytes"), (10239, "10239 bytes"), (10240, "10 kB"), (10_752, "11 kB"), (10_485_760, "10 MB"), (-20480, "-20 kB")] {
            assert_eq!(pretty_size(bytes), text);
        }
    }
}
