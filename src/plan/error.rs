//! DataFusion's and Arrow's errors in the words of Postgres: which of them is the user's value (overflow, division by zero, a text
//! that is no number), which the user's SQL, and which our own mistake.

use crate::error::{Error, Kind};
use arrow::error::ArrowError;
use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

impl From<DataFusionError> for Error {
    fn from(e: DataFusionError) -> Self {
        match e {
            DataFusionError::External(inner) => match inner.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(other) => Error::new(Kind::Internal, other.to_string()).caused_by(other),
            },
            DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => Error::from(*inner),
            DataFusionError::Collection(mut all) if !all.is_empty() => Error::from(all.swap_remove(0)),
            DataFusionError::ArrowError(inner, _) => of_arrow(*inner),
            DataFusionError::SchemaError(inner, _) => of_schema(&inner),
            DataFusionError::NotImplemented(message) => Error::not_supported(worded(&message)),
            DataFusionError::Plan(message) => Error::new(Kind::Syntax, worded(&message)),
            DataFusionError::Execution(message) => of_execution(&message),
            DataFusionError::ResourcesExhausted(message) => {
                Error::new(Kind::OutOfMemory, "out of memory").with_detail(message).with_hint("the query needs more than its share of --memory")
            }
            DataFusionError::Shared(inner) => of_shared(&inner),
            other => Error::new(Kind::Internal, other.to_string()).caused_by(other),
        }
    }
}

/// A shared error cannot be taken apart; its root tells the kind.
fn of_shared(e: &DataFusionError) -> Error {
    match e {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => of_shared(inner),
        DataFusionError::Shared(inner) => of_shared(inner),
        DataFusionError::Collection(all) if !all.is_empty() => of_shared(&all[0]),
        DataFusionError::ArrowError(inner, _) => of_arrow_text(inner),
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(ours) => Error::new(ours.kind(), ours.message()),
            None => Error::new(Kind::Internal, inner.to_string()),
        },
        DataFusionError::NotImplemented(message) => Error::not_supported(worded(message)),
        DataFusionError::Plan(message) => Error::new(Kind::Syntax, worded(message)),
        DataFusionError::Execution(message) => of_execution(message),
        DataFusionError::ResourcesExhausted(message) => Error::new(Kind::OutOfMemory, "out of memory").with_detail(message.clone()),
        other => Error::new(Kind::Internal, other.to_string()),
    }
}

/// Lower-case start and no full stop, as Postgres words its messages.
fn worded(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default().trim_end_matches('.');
    let mut letters = line.chars();
    match letters.next() {
        Some(first) if letters.clone().next().is_some_and(char::is_lowercase) => first.to_lowercase().chain(letters).collect(),
        _ => line.to_string(),
    }
}

fn of_schema(e: &SchemaError) -> Error {
    match e {
        SchemaError::FieldNotFound { field, .. } => Error::new(Kind::UndefinedColumn, format!("column \"{}\" does not exist", field.flat_name())),
        SchemaError::AmbiguousReference { field } => Error::new(Kind::AmbiguousColumn, format!("column reference \"{}\" is ambiguous", field.name)),
        SchemaError::DuplicateQualifiedField { name, .. } | SchemaError::DuplicateUnqualifiedField { name } => {
            Error::new(Kind::DuplicateColumn, format!("column \"{name}\" specified more than once"))
        }
    }
}

fn of_execution(message: &str) -> Error {
    if message.contains("more than one row") || message.contains("more than 1 row") {
        return Error::new(Kind::CardinalityViolation, "more than one row returned by a subquery used as an expression");
    }
    of_text(message).unwrap_or_else(|| Error::new(Kind::InvalidParameter, worded(message)))
}

/// Kernels fail on values; the text tells which value and type.
pub(crate) fn of_arrow(e: ArrowError) -> Error {
    if let ArrowError::ExternalError(inner) = e {
        return match inner.downcast::<DataFusionError>() {
            Ok(inner) => Error::from(*inner),
            Err(inner) => match inner.downcast::<Error>() {
                Ok(ours) => *ours,
                Err(other) => Error::new(Kind::Internal, other.to_string()).caused_by(other),
            },
        };
    }
    of_arrow_text(&e).caused_by(e)
}

fn of_arrow_text(e: &ArrowError) -> Error {
    match e {
        ArrowError::DivideByZero => Error::new(Kind::DivisionByZero, "division by zero"),
        ArrowError::ArithmeticOverflow(message) => overflow(message),
        ArrowError::CastError(message) | ArrowError::ParseError(message) | ArrowError::InvalidArgumentError(message) | ArrowError::ComputeError(message) => {
            of_text(message).unwrap_or_else(|| Error::new(Kind::InvalidText, worded(message)))
        }
        ArrowError::MemoryError(message) => Error::new(Kind::OutOfMemory, "out of memory").with_detail(message.clone()),
        other => Error::new(Kind::Internal, other.to_string()),
    }
}

/// `Overflow happened on: A op B`: the true result tells which integer type was left.
fn overflow(message: &str) -> Error {
    let text = message.rsplit(": ").next().unwrap_or_default();
    let mut words = text.split(' ');
    let (left, operator, right) = (words.next().and_then(|w| w.parse::<i128>().ok()), words.next(), words.next().and_then(|w| w.parse::<i128>().ok()));
    let result = match (left, operator, right) {
        (Some(l), Some("+"), Some(r)) => l.checked_add(r),
        (Some(l), Some("-"), Some(r)) => l.checked_sub(r),
        (Some(l), Some("*"), Some(r)) => l.checked_mul(r),
        (Some(l), Some("/"), Some(r)) => l.checked_div(r),
        _ => None,
    };
    let name = match result {
        Some(r) if i32::try_from(r).is_ok() => "smallint",
        Some(r) if i64::try_from(r).is_ok() => "integer",
        Some(_) => "bigint",
        None => return Error::new(Kind::NumericOutOfRange, "value out of range"),
    };
    Error::new(Kind::NumericOutOfRange, format!("{name} out of range"))
}

/// Texts of Arrow's cast and parse kernels.
fn of_text(message: &str) -> Option<Error> {
    if message.contains("Divide by zero") || message.contains("division by zero") {
        return Some(Error::new(Kind::DivisionByZero, "division by zero"));
    }
    if let Some(rest) = message.strip_prefix("Overflow happened on") {
        return Some(overflow(rest));
    }
    if let Some((_, rest)) = message.split_once("Int").filter(|_| message.contains("Array overflow on abs(")) {
        let name = if rest.starts_with("16") {
            "smallint"
        } else if rest.starts_with("32") {
            "integer"
        } else {
            "bigint"
        };
        return Some(Error::new(Kind::NumericOutOfRange, format!("{name} out of range")));
    }
    if message.eq_ignore_ascii_case("timestamp out of range") {
        return Some(Error::new(Kind::DatetimeOverflow, "timestamp out of range"));
    }
    if message.contains("too large to store in a Decimal") || message.contains("too small to store in a Decimal") || message.contains("Overflowing on") {
        return Some(Error::new(Kind::NumericOutOfRange, "numeric field overflow"));
    }
    if let Some(rest) = message.strip_prefix("Cannot cast string '") {
        let (value, rest) = rest.rsplit_once("' to value of ")?;
        let name = sql_name(rest.strip_suffix(" type").unwrap_or(rest));
        return Some(Error::new(Kind::InvalidText, format!("invalid input syntax for type {name}: \"{value}\"")));
    }
    if let Some(rest) = message.strip_prefix("Can't cast value ") {
        let (_, name) = rest.rsplit_once(" to type ")?;
        return Some(Error::new(Kind::NumericOutOfRange, format!("{} out of range", sql_name(name))));
    }
    if let Some(rest) = message.strip_prefix("Cannot cast value '") {
        let (value, _) = rest.split_once("' to value of Boolean")?;
        return Some(Error::new(Kind::InvalidText, format!("invalid input syntax for type boolean: \"{value}\"")));
    }
    let rest = message.strip_prefix("Error parsing timestamp from '")?;
    let (value, _) = rest.rsplit_once("': ")?;
    Some(Error::new(Kind::InvalidDatetime, format!("invalid input syntax for type timestamp: \"{value}\"")))
}

fn sql_name(arrow: &str) -> &str {
    match arrow.split('(').next().unwrap_or(arrow) {
        "Int16" => "smallint",
        "Int32" => "integer",
        "Int64" => "bigint",
        "Float32" => "real",
        "Float64" => "double precision",
        "Decimal128" | "Decimal256" => "numeric",
        "Boolean" => "boolean",
        "Date32" => "date",
        "Time64" => "time",
        "Timestamp" => "timestamp",
        "Interval" => "interval",
        _ => arrow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_texts_become_what_postgres_says() {
        let cases = [
            (ArrowError::DivideByZero, "22012", "division by zero"),
            (ArrowError::ArithmeticOverflow("Overflow happened on: 2147483647 + 1".into()), "22003", "integer out of range"),
            (ArrowError::ArithmeticOverflow("Overflow happened on: 9223372036854775807 * 2".into()), "22003", "bigint out of range"),
            (ArrowError::ArithmeticOverflow("Overflow happened on: 32767 + 1".into()), "22003", "smallint out of range"),
            (ArrowError::CastError("Cannot cast string 'a'b' to value of Int32 type".into()), "22P02", "invalid input syntax for type integer: \"a'b\""),
            (ArrowError::CastError("Can't cast value 70000 to type Int16".into()), "22003", "smallint out of range"),
        ];
        for (arrow, state, message) in cases {
            let error = of_arrow(arrow);
            assert_eq!((error.sqlstate(), error.message()), (state, message));
        }
    }
}
