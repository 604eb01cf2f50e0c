//! DataFusion's answers to wrong SQL in the words, codes and places of Postgres. What the rest of the house knows how to word
//! (values, schema errors) is left to it; here are the texts that only binding gives.

use super::functions;
use super::names::{function_name, shown};
use super::over::UNKNOWN_WINDOW;
use super::parse::source::Source;
use super::types::sql_type;
use super::walk::{self, Read};
use crate::error::{Error, Kind};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Diagnostic, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::{self, Expr, Spanned, TableFactor, Value, ValueWithSpan, Visit};
use datafusion::sql::sqlparser::tokenizer::Location;
use std::ops::ControlFlow;

/// What Postgres says when no function or operator takes the arguments.
const NO_MATCH: &str = "No function matches the given name and argument types. You might need to add explicit type casts.";
const NO_OPERATOR: &str = "No operator matches the given name and argument types. You might need to add explicit type casts.";

/// The error of binding `tree`, part of `source`.
pub fn translate(error: DataFusionError, source: Option<&Source>, tree: &impl Visit) -> Error {
    let diagnosed = diagnostic(&error).and_then(|d| d.span).map(|span| Location { line: span.start.line, column: span.start.column });
    let mut translated = untranslated(error);
    let Some(source) = source else { return translated };
    if translated.position().is_some() {
        return translated;
    }
    let relation = missing_relation(&translated, tree);
    let found = match translated.kind() {
        Kind::UndefinedFunction => {
            let name = quoted_function(translated.message());
            let place = name.as_ref().and_then(|name| find_function(tree, name));
            // What its arguments are is told where they say it themselves.
            if let Some(signature) = name.and_then(|name| signature(tree, &name)).filter(|_| translated.message().ends_with(" does not exist")) {
                let message = translated.message().to_owned();
                translated = translated.with_texts(|text| if text == message { format!("function {signature} does not exist") } else { text.to_owned() });
            }
            place
        }
        Kind::UndefinedTable => quoted(translated.message()).and_then(|name| find_relation(tree, name)),
        Kind::InvalidText | Kind::InvalidDatetime | Kind::DatetimeOverflow | Kind::NumericOutOfRange => {
            quoted_last(translated.message()).and_then(|text| find_literal(tree, text))
        }
        Kind::UndefinedObject => quoted(translated.message()).and_then(|name| find_type(tree, name)),
        Kind::UndefinedColumn | Kind::AmbiguousColumn | Kind::Grouping => quoted(translated.message()).and_then(|name| find_column(tree, name)),
        _ => None,
    };
    let translated = match relation {
        Some(name) => Error::new(Kind::UndefinedTable, format!("missing FROM-clause entry for table \"{name}\"")),
        None => translated,
    };
    match found.or(diagnosed).and_then(|place| source.position(place)) {
        Some(position) => translated.at(position),
        None => translated,
    }
}

/// The relation before a column's name that no FROM has.
fn missing_relation(error: &Error, tree: &impl Visit) -> Option<String> {
    struct Named<'a>(&'a str, bool);
    impl Read for Named<'_> {
        fn table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
            let name = match factor {
                TableFactor::Derived { alias: Some(alias), .. }
                | TableFactor::Table { alias: Some(alias), .. }
                | TableFactor::Function { alias: Some(alias), .. } => Some(super::types::folded(&alias.name)),
                TableFactor::Table { name, .. } | TableFactor::Function { name, .. } => {
                    name.0.last().and_then(|part| part.as_ident()).map(super::types::folded)
                }
                _ => None,
            };
            // What other items of FROM are called is not told.
            self.1 |= name.is_none_or(|name| name == self.0);
            ControlFlow::Continue(())
        }
    }
    let column = error.message().strip_prefix("column ").filter(|_| error.kind() == Kind::UndefinedColumn)?.strip_suffix(" does not exist")?;
    let (relation, _) = column.rsplit_once('.').filter(|(relation, _)| !relation.contains(['.', '"']) && *relation != "excluded")?;
    let mut named = Named(relation, false);
    walk::read(tree, &mut named);
    (!named.1).then(|| relation.to_owned())
}

/// An error of planning what was bound from `tree`: at the function that it names, if it names one.
pub fn placed(error: Error, source: &Source, tree: &impl Visit) -> Error {
    if error.position().is_some() {
        return error;
    }
    let named = error.message().split(' ').find_map(|word| word.strip_suffix("()"));
    let windowed = ["window function", "RANGE ", "frame starting"].iter().any(|part| error.message().contains(part));
    let found = find(tree, |e| match e {
        Expr::Function(f) if windowed && f.over.is_some() => Some(f.name.span().start),
        Expr::Function(f) if named.is_some() && function_name(&f.name).as_deref() == named => Some(f.name.span().start),
        Expr::Subquery(_) | Expr::InSubquery { .. } | Expr::Exists { .. } if error.message().starts_with("a subquery") => Some(e.span().start),
        _ => None,
    });
    let in_time = || error.message().contains("ASOF JOIN") || error.message().contains("FOR SYSTEM_TIME AS OF");
    let found = found.or_else(|| in_time().then(|| super::asof::place(tree)).flatten());
    match found.and_then(|place| source.position(place)) {
        Some(position) => error.at(position),
        None => error,
    }
}

/// `name(integer, unknown)`, if its arguments are constants and casts.
fn signature(tree: &impl Visit, name: &str) -> Option<String> {
    let mut arguments = None;
    find(tree, |e| match e {
        Expr::Function(f) if function_name(&f.name).as_deref() == Some(name) => {
            let ast::FunctionArguments::List(list) = &f.args else { return None };
            arguments =
                list.args.iter().map(|a| if let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(e)) = a { constant_type(e) } else { None }).collect();
            Some(f.name.span().start)
        }
        _ => None,
    })?;
    arguments.map(|types: Vec<String>| format!("{name}({})", types.join(", ")))
}

fn constant_type(expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) if text.parse::<i32>().is_ok() => "integer".to_owned(),
        Expr::Value(ValueWithSpan { value: Value::Number(text, _), .. }) if text.parse::<i64>().is_ok() => "bigint".to_owned(),
        Expr::Value(ValueWithSpan { value: Value::Number(..), .. }) => "numeric".to_owned(),
        Expr::Value(ValueWithSpan { value: Value::Boolean(_), .. }) => "boolean".to_owned(),
        Expr::Value(ValueWithSpan { value: Value::Placeholder(_), .. }) => return None,
        Expr::Value(_) => "unknown".to_owned(),
        Expr::Cast { data_type, .. } => sql_type(&super::types::cast_field(data_type).ok()?),
        Expr::Nested(inner) => return constant_type(inner),
        _ => return None,
    })
}

fn diagnostic(error: &DataFusionError) -> Option<&Diagnostic> {
    match error {
        DataFusionError::Diagnostic(diagnostic, _) => Some(diagnostic),
        DataFusionError::Context(_, inner) => diagnostic(inner),
        DataFusionError::Collection(all) => all.first().and_then(diagnostic),
        DataFusionError::Shared(inner) => diagnostic(inner),
        _ => None,
    }
}

/// Without a place.
pub fn untranslated(error: DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => untranslated(*inner),
        DataFusionError::Collection(mut all) if !all.is_empty() => untranslated(all.swap_remove(0)),
        DataFusionError::Plan(message) => plan(&message).unwrap_or_else(|| Error::from(DataFusionError::Plan(message))),
        DataFusionError::SchemaError(inner, backtrace) => match inner.as_ref() {
            SchemaError::FieldNotFound { field, .. } => undefined_column(field.relation.as_ref().map(|r| r.to_string()).as_deref(), &field.name),
            _ => Error::from(DataFusionError::SchemaError(inner, backtrace)),
        },
        DataFusionError::Internal(message) => plan(&message).unwrap_or_else(|| Error::from(DataFusionError::Internal(message))),
        DataFusionError::Execution(message) => plan(&message).unwrap_or_else(|| Error::from(DataFusionError::Execution(message))),
        other => {
            let error = Error::from(other);
            // A pattern is read when it runs.
            if error.message().contains("regex parse error") { functions::regular::invalid(error.message()) } else { error }
        }
    }
}

fn undefined_column(relation: Option<&str>, name: &str) -> Error {
    let name = shown(name);
    match relation {
        Some(relation) if relation.trim_matches('"') == UNKNOWN_WINDOW => {
            Error::new(Kind::UndefinedObject, format!("window \"{name}\" does not exist, or cannot be changed in this way"))
        }
        Some(relation) => Error::new(Kind::UndefinedColumn, format!("column {relation}.{name} does not exist")),
        None => Error::new(Kind::UndefinedColumn, format!("column \"{name}\" does not exist")),
    }
}

/// Texts of the binder and of type coercion.
fn plan(message: &str) -> Option<Error> {
    let text = message.strip_prefix("Error during planning: ").unwrap_or(message);
    if let Some(rest) = text.strip_prefix("Invalid function '") {
        let name = rest.split('\'').next()?;
        return Some(Error::new(Kind::UndefinedFunction, format!("function {name} does not exist")).with_hint(NO_MATCH));
    }
    if let Some(rest) = text.strip_prefix("table function '") {
        let name = rest.split('\'').next()?;
        return Some(Error::new(Kind::UndefinedFunction, format!("function {name} does not exist")).with_hint(NO_MATCH));
    }
    if text.contains("must appear in the GROUP BY clause") || text.contains("must be in GROUP BY") {
        let column = quoted(text).unwrap_or("?");
        return Some(Error::new(
            Kind::Grouping,
            format!("column \"{}\" must appear in the GROUP BY clause or be used in an aggregate function", shown(column)),
        ));
    }
    if let Some(rest) = after(text, "Cannot coerce arithmetic expression ").or_else(|| after(text, "Cannot infer common argument type for ")) {
        return Some(operator(rest));
    }
    if let Some(rest) =
        after(text, "Failed to coerce arguments to satisfy a call to '").or_else(|| after(text, "Failed to coerce arguments to satisfy a call to \""))
    {
        let name = rest.split(['\'', '"']).next()?;
        return Some(Error::new(Kind::UndefinedFunction, format!("function {name} does not exist for these arguments")).with_hint(NO_MATCH));
    }
    if text.starts_with("Function '")
        || text.contains("does not support zero arguments")
        || text.contains("No function matches the given name and argument types")
    {
        let name = text.split('\'').nth(1).unwrap_or("?").split('(').next().unwrap_or("?");
        return Some(Error::new(Kind::UndefinedFunction, format!("function {name} does not exist for these arguments")).with_hint(NO_MATCH));
    }
    if text.contains("calls cannot be nested") {
        return Some(Error::new(Kind::Grouping, "aggregate function calls cannot be nested"));
    }
    if text.to_lowercase().contains("aggregate") && (text.contains("WHERE") || text.contains("Filter")) {
        return Some(Error::new(Kind::Grouping, "aggregate functions are not allowed in WHERE"));
    }
    if text.contains("Cannot run range queries on datatype") {
        return Some(
            Error::not_supported("RANGE with offset PRECEDING/FOLLOWING is not supported for this type")
                .with_hint("order by one number, date or timestamp, or count rows with ROWS"),
        );
    }
    if text.contains("UNION queries have different number of columns") || text.contains("have different number of columns") {
        return Some(Error::new(Kind::Syntax, "each UNION, INTERSECT or EXCEPT query must have the same number of columns"));
    }
    if text.contains("Inconsistent data length") || text.contains("Inconsistent data type across values list") {
        return Some(Error::new(Kind::Syntax, "VALUES lists must all be the same length and have matching types"));
    }
    if text.contains("Correlated scalar subquery must be aggregated") || text.contains("correlated") && text.contains("not supported") {
        return Some(Error::not_supported("this correlated subquery is not supported").with_hint("write it as a join, or aggregate in the subquery"));
    }
    if text.contains("Cannot create filter with non-boolean predicate") {
        return Some(Error::new(Kind::DatatypeMismatch, "argument of WHERE must be type boolean"));
    }
    if text.contains("Projections require unique expression names") {
        let column = quoted(text).unwrap_or("?");
        return Some(Error::new(Kind::DuplicateColumn, format!("column \"{}\" specified more than once", shown(column))));
    }
    if text.contains("table name") && text.contains("more than once") {
        return Some(Error::new(Kind::DuplicateAlias, text.to_owned()));
    }
    clause(text)
}

/// What is wrong with a clause.
fn clause(text: &str) -> Option<Error> {
    if text.starts_with("LIMIT must be >= 0") {
        return Some(Error::new(Kind::InvalidLimit, "LIMIT must not be negative"));
    }
    if let Some(rest) = after(text, "Order by column out of bounds, specified: ") {
        let place = rest.split(',').next()?;
        return Some(Error::new(Kind::InvalidColumnReference, format!("ORDER BY position {place} is not in select list")));
    }
    if let Some(found) = after(text, "Join condition must be boolean type, but got ") {
        let found = arrow_type(found).unwrap_or_else(|| found.to_lowercase());
        return Some(Error::new(Kind::DatatypeMismatch, format!("argument of JOIN/ON must be type boolean, not type {found}")));
    }
    if let Some(found) = after(text, "Unary operator 'NOT' requires a boolean expression, got ") {
        let found = arrow_type(found).unwrap_or_else(|| found.to_lowercase());
        return Some(Error::new(Kind::DatatypeMismatch, format!("argument of NOT must be type boolean, not type {found}")));
    }
    if text.starts_with("WITH query name") {
        return Some(Error::new(Kind::DuplicateAlias, text.to_owned()));
    }
    if text.contains("tep cannot be zero") {
        return Some(Error::new(Kind::InvalidParameter, "step size cannot equal zero"));
    }
    None
}

fn after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    text.find(prefix).map(|at| &text[at + prefix.len()..])
}

/// "Utf8 + Int64 to valid types", "comparison operation Boolean = Int32".
fn operator(text: &str) -> Error {
    if let Some(operands) = text.strip_prefix("logical boolean operation ") {
        let mut words = operands.split(' ');
        if let (Some(left), Some(name), Some(right)) = (words.next(), words.next(), words.next()) {
            let wrong = arrow_type(if left == "Boolean" { right } else { left }).unwrap_or_else(|| "unknown".to_owned());
            return Error::new(Kind::DatatypeMismatch, format!("argument of {name} must be type boolean, not type {wrong}"));
        }
    }
    let text = text.trim_start_matches("comparison operation ").trim_start_matches("regex operation ").split(" to valid types").next().unwrap_or(text);
    let words: Vec<String> = text.split(' ').map(|word| arrow_type(word).unwrap_or_else(|| word.trim_end_matches(['.', ','].as_slice()).to_owned())).collect();
    Error::new(Kind::UndefinedFunction, format!("operator does not exist: {}", words.join(" "))).with_hint(NO_OPERATOR)
}

fn arrow_type(word: &str) -> Option<String> {
    let data_type = match word.split('(').next()? {
        "Utf8" | "Utf8View" | "LargeUtf8" => DataType::Utf8,
        "Boolean" => DataType::Boolean,
        "Int16" => DataType::Int16,
        "Int32" => DataType::Int32,
        "Int64" => DataType::Int64,
        "Float32" => DataType::Float32,
        "Float64" => DataType::Float64,
        "Date32" => DataType::Date32,
        "Decimal128" | "Decimal256" => return Some("numeric".into()),
        "Timestamp" if word.contains("UTC") => crate::sql::types::timestamptz(),
        "Timestamp" => crate::sql::types::TIMESTAMP,
        "Interval" => return Some("interval".into()),
        "Binary" => DataType::Binary,
        _ => return None,
    };
    Some(sql_type(&Field::new("", data_type, true)))
}

/// The first text between double quotes.
fn quoted(message: &str) -> Option<&str> {
    message.split('"').nth(1).or_else(|| message.strip_prefix("column ").and_then(|rest| rest.split(' ').next()))
}

fn quoted_function(message: &str) -> Option<String> {
    message.strip_prefix("function ")?.split(' ').next().map(str::to_lowercase)
}

/// The first expression that `matches` gives a place for.
struct Find<'a> {
    matches: &'a mut dyn FnMut(&Expr) -> Option<Location>,
    found: Option<Location>,
}

impl Read for Find<'_> {
    fn expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        self.found = (self.matches)(expr);
        if self.found.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

fn find(tree: &impl Visit, mut matches: impl FnMut(&Expr) -> Option<Location>) -> Option<Location> {
    let mut find = Find { matches: &mut matches, found: None };
    walk::read(tree, &mut find);
    find.found
}

fn find_function(tree: &impl Visit, name: &str) -> Option<Location> {
    find(tree, |e| match e {
        Expr::Function(f) if function_name(&f.name).as_deref() == Some(name) => Some(f.name.span().start),
        _ => None,
    })
}

/// The last thing between quotes, at the end: the value that an error is about.
fn quoted_last(message: &str) -> Option<&str> {
    let (before, _) = message.rsplit_once('"')?;
    Some(before.split_once('"')?.1)
}

fn find_literal(tree: &impl Visit, text: &str) -> Option<Location> {
    find(tree, |e| match e {
        Expr::Value(ValueWithSpan { value: Value::SingleQuotedString(literal), span }) if literal == text => Some(span.start),
        _ => None,
    })
}

fn find_type(tree: &impl Visit, name: &str) -> Option<Location> {
    find(tree, |e| match e {
        Expr::Cast { data_type: ast::DataType::Custom(given, _), .. } if given.to_string().eq_ignore_ascii_case(name) => Some(given.span().start),
        _ => None,
    })
}

/// `name` may be qualified: `t.a`.
fn find_column(tree: &impl Visit, name: &str) -> Option<Location> {
    let parts: Vec<&str> = name.split('.').collect();
    let same = |ident: &datafusion::sql::sqlparser::ast::Ident, name: &str| super::types::folded(ident) == name;
    find(tree, |e| match e {
        Expr::Identifier(ident) if same(ident, parts.last()?) => Some(ident.span.start),
        Expr::CompoundIdentifier(idents) if idents.len() >= parts.len() && idents.iter().rev().zip(parts.iter().rev()).all(|(i, p)| same(i, p)) => {
            idents.first().map(|i| i.span.start)
        }
        _ => None,
    })
}

fn find_relation(tree: &impl Visit, name: &str) -> Option<Location> {
    let mut relations = Relations { name, found: None };
    walk::read(tree, &mut relations);
    relations.found
}

struct Relations<'a> {
    name: &'a str,
    found: Option<Location>,
}

impl Read for Relations<'_> {
    fn relation(&mut self, relation: &datafusion::sql::sqlparser::ast::ObjectName) -> ControlFlow<()> {
        let parts: Vec<String> = relation.0.iter().filter_map(|p| p.as_ident()).map(super::types::folded).collect();
        if parts.join(".") == self.name || parts.last().is_some_and(|last| last == self.name) {
            self.found = Some(relation.span().start);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
}
