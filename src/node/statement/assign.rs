//! Assignment: how a value gets into a column. Postgres casts more freely here than in expressions, and less than for `::`: a text does
//! not become an integer, but an integer becomes a text; a number is rounded to the column's scale; a varchar that is
//! too long is an error and not cut.

use super::target::Target;
use crate::catalog::object::Column;
use crate::error::{About, Error, Kind, Result};
use crate::sql::functions::cast::{max_length, to_text};
use crate::sql::style;
use crate::sql::types;
use crate::types::text::{TYPMOD_KEY, is_jsonb};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::logical_expr::{Cast, Expr};
use std::sync::Arc;

/// Whether Postgres puts a value of `from` into a column of `to`. `literal`: a quoted constant, which has no type yet.
pub(super) fn assignable(from: &Field, to: &Field, literal: bool) -> bool {
    let number = |t: &DataType| t.is_numeric();
    let text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let time = |t: &DataType| matches!(t, DataType::Timestamp(..) | DataType::Date32);
    match (from.data_type(), to.data_type()) {
        (DataType::Null, _) => true,
        (f, t) if text(f) && text(t) => literal || is_jsonb(from) == is_jsonb(to) || is_jsonb(from),
        (f, _) if text(f) => literal,
        (_, t) if text(t) => !is_jsonb(to),
        (f, t) if number(f) && number(t) => true,
        (f, t) if time(f) && time(t) => true,
        (DataType::Timestamp(..), DataType::Time64(_)) => true,
        (DataType::List(f), DataType::List(t)) => assignable(f, t, true),
        (DataType::Struct(f), DataType::Struct(t)) => f.len() == t.len() && f.iter().zip(t).all(|(f, t)| assignable(f, t, true)),
        (f, t) => f == t || (f.is_binary() && t.is_binary()) || matches!((f, t), (DataType::Interval(_) | DataType::Duration(_), DataType::Interval(_))),
    }
}

/// `expr`, which has the type `from`, as a value of the column. Error: 42804.
pub(super) fn assign(expr: Expr, from: &Field, column: &Column) -> Result<Expr> {
    let literal = matches!(&expr, Expr::Literal(..) | Expr::Placeholder(_));
    if !assignable(from, &column.field, literal) {
        let message = format!("column \"{}\" is of type {} but expression is of type {}", column.name, column.sql_type, types::sql_type(from));
        return Err(Error::new(Kind::DatatypeMismatch, message).with_hint("You will need to rewrite or cast the expression."));
    }
    Ok(Expr::Cast(Cast { expr: Box::new(expr), field: assigned_field(column) }))
}

/// The column's field without its length: a value that is too long must fail, and a cast would cut it.
pub(super) fn assigned_field(column: &Column) -> FieldRef {
    let mut field = column.field.clone().with_name("").with_nullable(true);
    if *field.data_type() == DataType::Utf8 {
        let metadata = field.metadata().iter().filter(|(key, _)| *key != TYPMOD_KEY).map(|(k, v)| (k.clone(), v.clone())).collect();
        field.set_metadata(metadata);
    }
    Arc::new(field)
}

/// Rows of the table's columns as the table stores them: lengths and NOT NULL checked, fields as declared.
pub(super) fn checked(target: &Target, rows: &RecordBatch) -> Result<RecordBatch> {
    let mut arrays = Vec::new();
    for (i, (column, array)) in target.columns().iter().zip(rows.columns()).enumerate() {
        let array = if array.data_type() == column.field.data_type() { array.clone() } else { arrow::compute::cast(array, column.field.data_type())? };
        check_length(column, &array)?;
        if column.not_null && array.null_count() > 0 {
            let row = (0..array.len()).find(|&r| array.is_null(r)).unwrap_or_default();
            let message = format!("null value in column \"{}\" of relation \"{}\" violates not-null constraint", target.columns()[i].name, target.name());
            let about = About {
                schema: Some(target.object.schema.clone()),
                table: Some(target.name().to_owned()),
                column: Some(column.name.clone()),
                constraint: None,
            };
            return Err(Error::new(Kind::NotNullViolation, message).with_detail(format!("Failing row contains ({}).", row_text(rows, row)?)).about(about));
        }
        arrays.push(array);
    }
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(target.schema(), arrays, &options)?)
}

fn check_length(column: &Column, array: &ArrayRef) -> Result<()> {
    let (Some(length), Some(texts)) = (max_length(&column.field), array.as_string_opt::<i32>()) else { return Ok(()) };
    // Blanks behind the end may go, says the standard; we keep them out of the question by counting what is not blank.
    let too_long = |t: &str| t.trim_end_matches(' ').chars().count() > length;
    if texts.iter().flatten().any(too_long) {
        return Err(Error::new(Kind::StringTruncation, format!("value too long for type {}", column.sql_type)));
    }
    Ok(())
}

/// One row's values as Postgres shows them in details of errors.
pub(super) fn row_text(rows: &RecordBatch, row: usize) -> Result<String> {
    let indices: Vec<usize> = (0..rows.num_columns()).collect();
    values_text(rows, &indices, row)
}

/// The values of some columns of one row, separated by commas.
pub fn values_text(rows: &RecordBatch, columns: &[usize], row: usize) -> Result<String> {
    let texts: Vec<String> = columns
        .iter()
        .map(|&i| {
            let value = rows.column(i).slice(row, 1);
            let printed = to_text(rows.schema().field(i), &value, None, &style::current())?;
            let printed: &StringArray = printed.as_string();
            Ok(if printed.is_null(0) { "null".to_owned() } else { printed.value(0).to_owned() })
        })
        .collect::<Result<_>>()?;
    Ok(texts.join(", "))
}
