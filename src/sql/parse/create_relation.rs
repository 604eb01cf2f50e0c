//! `CREATE SOURCE` and `CREATE TABLE`.
//!
//! ```text
//! CREATE {SOURCE | [TEMPORARY] TABLE} [IF NOT EXISTS] name (
//!     column type [NOT NULL] [DEFAULT e] [PRIMARY KEY] [[GENERATED ALWAYS] AS (e)],
//!     WATERMARK FOR column AS e, PRIMARY KEY (column, …)
//! ) [APPEND ONLY] [INCLUDE key | partition | offset | timestamp | header 'h' | payload [AS name]]…
//!   [WITH (option = 'value', …)] [FORMAT {PLAIN | UPSERT} ENCODE {JSON | CSV} [(option = 'value', …)]]
//! ```

use super::create_table_as;
use super::cursor::Cursor;
use super::types::data_type;
use crate::catalog::object::Include;
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{ColumnDef, CreateRelation, FormatDef, Options, RelationKind, StatementKind, WatermarkDef};
use crate::types::secret::reference;
use datafusion::sql::sqlparser::ast::{BinaryLength, DataType, TimezoneInfo};
use datafusion::sql::sqlparser::tokenizer::Token;

/// Words that end an expression in a column definition.
const STOPS: [&str; 9] = ["not", "null", "primary", "default", "generated", "as", "constraint", "unique", "check"];

pub(super) fn parse(c: &mut Cursor<'_>) -> Result<StatementKind> {
    let temporary = ["temp", "temporary"].iter().any(|word| c.words(&["local", word]) || c.word(word));
    let kind = if c.word("source") { RelationKind::Source } else { RelationKind::Table };
    c.word("table");
    let if_not_exists = c.words(&["if", "not", "exists"]);
    let name = c.object_name()?;
    if kind == RelationKind::Table && create_table_as::follows(c) {
        return create_table_as::parse(c, name, temporary, if_not_exists);
    }
    let mut create = CreateRelation {
        kind,
        temporary,
        name,
        if_not_exists,
        columns: vec![],
        primary_key: vec![],
        append_only: false,
        watermark: None,
        with: Options::new(),
        format: None,
    };
    elements(c, &mut create)?;
    if temporary {
        create_table_as::on_commit(c)?;
    }
    while !c.at_end() {
        clause(c, &mut create)?;
    }
    Ok(StatementKind::CreateRelation(Box::new(create)))
}

/// Whether `TEMPORARY TABLE` stands at this token.
pub(super) fn is_temporary(c: &Cursor<'_>, at: usize) -> bool {
    let at = if super::is_ahead(c, at, &["local"]) { at + 1 } else { at };
    ["temp", "temporary"].iter().any(|word| super::is_ahead(c, at, &[word, "table"]))
}

/// The parenthesized list; a source may have none and live from INCLUDE alone.
fn elements(c: &mut Cursor<'_>, create: &mut CreateRelation) -> Result<()> {
    c.expect(&Token::LParen)?;
    if c.token(&Token::RParen) {
        return Ok(());
    }
    loop {
        element(c, create)?;
        if !c.token(&Token::Comma) {
            return c.expect(&Token::RParen);
        }
    }
}

fn element(c: &mut Cursor<'_>, create: &mut CreateRelation) -> Result<()> {
    if c.words(&["watermark", "for"]) {
        let position = c.position();
        let column = c.name()?;
        c.expect_words(&["as"])?;
        let expression = c.expression(&[])?;
        if create.watermark.replace(WatermarkDef { column, position, expression }).is_some() {
            return Err(Error::not_supported("a relation has at most one watermark").at(position));
        }
        return Ok(());
    }
    if c.words(&["constraint"]) {
        c.name()?;
        if !c.is_word("primary") {
            return Err(constraint(c));
        }
    }
    if c.is_word("primary") && matches!(&c.peek_nth(1).token, Token::Word(w) if w.value.eq_ignore_ascii_case("key")) {
        let position = c.position();
        c.expect_words(&["primary", "key"])?;
        let key = c.list(|c| Ok((c.position(), c.name()?)))?;
        return set_key(create, key.into_iter().map(|(position, name)| (name, position)).collect(), position);
    }
    if ["unique", "check", "foreign", "exclude", "like"].iter().any(|w| c.is_word(w)) {
        return Err(constraint(c));
    }
    let (column, key_position) = column(c)?;
    if let Some(position) = key_position {
        set_key(create, vec![(column.name.clone(), column.position)], position)?;
    }
    create.columns.push(column);
    Ok(())
}

fn set_key(create: &mut CreateRelation, key: Vec<(String, usize)>, position: usize) -> Result<()> {
    if !create.primary_key.is_empty() {
        let message = format!("multiple primary keys for table \"{}\" are not allowed", create.name.name);
        return Err(Error::new(Kind::InvalidObjectDefinition, message).at(position));
    }
    create.primary_key = key;
    Ok(())
}

fn constraint(c: &Cursor<'_>) -> Error {
    c.refused("this constraint is not supported").with_hint("tables have NOT NULL, DEFAULT, GENERATED ALWAYS AS and PRIMARY KEY")
}

/// The column, and where `PRIMARY KEY` stands if it has it.
fn column(c: &mut Cursor<'_>) -> Result<(ColumnDef, Option<usize>)> {
    let position = c.position();
    let name = c.name()?;
    let type_position = c.position();
    let mut column = ColumnDef { name, position, data_type: data_type(c)?, type_position, not_null: false, default: None, generated: None, include: None };
    let mut key = None;
    loop {
        let at = c.position();
        if c.words(&["not", "null"]) {
            column.not_null = true;
        } else if c.words(&["primary", "key"]) {
            key = Some(at);
        } else if c.word("null") {
            // The default; said for clarity.
        } else if c.word("default") {
            column.default = Some(c.expression(&STOPS)?);
        } else if c.words(&["generated", "always", "as"]) || c.word("as") {
            column.generated = Some(c.expression(&STOPS)?);
            c.word("stored");
        } else if matches!(c.peek().token, Token::Comma | Token::RParen) {
            return Ok((column, key));
        } else if ["unique", "check", "references", "collate", "constraint", "generated"].iter().any(|w| c.is_word(w)) {
            return Err(constraint(c));
        } else {
            return Err(c.error());
        }
    }
}

/// One clause behind the column list.
fn clause(c: &mut Cursor<'_>, create: &mut CreateRelation) -> Result<()> {
    if c.is_word("append") && create.kind == RelationKind::Table {
        c.expect_words(&["append", "only"])?;
        create.append_only = true;
    } else if c.word("include") {
        let column = include(c)?;
        create.columns.push(column);
    } else if c.word("with") {
        create.with = options(c)?;
    } else if c.is_word("format") {
        create.format = Some(format(c)?);
    } else if c.is_word("on") || c.is_word("row") {
        return Err(c.refused("this clause is not supported").with_hint("clauses are APPEND ONLY, INCLUDE, WITH and FORMAT … ENCODE …"));
    } else {
        return Err(c.error());
    }
    Ok(())
}

/// `INCLUDE what [AS name]`; without a name the column is called as in RisingWave, `_rw_kafka_offset`-like names shortened to the word.
fn include(c: &mut Cursor<'_>) -> Result<ColumnDef> {
    let position = c.position();
    let Token::Word(word) = &c.peek().token else { return Err(c.error()) };
    let word = word.value.to_lowercase();
    let timestamp = DataType::Timestamp(None, TimezoneInfo::WithTimeZone);
    let (include, data_type) = match word.as_str() {
        "key" => (Include::Key, DataType::Bytea),
        "partition" => (Include::Partition, DataType::Int(None)),
        "offset" => (Include::Offset, DataType::BigInt(None)),
        "timestamp" => (Include::Timestamp, timestamp),
        "header" => (Include::Header(String::new()), DataType::Varbinary(None::<BinaryLength>)),
        "payload" => (Include::Payload, DataType::Bytea),
        _ => return Err(c.error()),
    };
    c.advance();
    let (include, data_type) = match include {
        Include::Header(_) => (Include::Header(c.string()?), DataType::Bytea),
        other => (other, data_type),
    };
    let name = if c.word("as") { c.name()? } else { word };
    Ok(ColumnDef { name, position, data_type, type_position: position, not_null: false, default: None, generated: None, include: Some(include) })
}

pub(super) fn format(c: &mut Cursor<'_>) -> Result<FormatDef> {
    let position = c.position();
    c.expect_words(&["format"])?;
    let upsert = match c.name()?.as_str() {
        "plain" => false,
        "upsert" => true,
        other => {
            return Err(Error::not_supported(format!("format {} is not supported", other.to_uppercase()))
                .with_hint("formats are PLAIN and UPSERT")
                .at(position));
        }
    };
    c.expect_words(&["encode"])?;
    let at = c.position();
    let encode = c.name()?;
    if !matches!(encode.as_str(), "json" | "csv") {
        return Err(Error::not_supported(format!("encoding {} is not supported", encode.to_uppercase())).with_hint("encodings are JSON and CSV").at(at));
    }
    let options = if c.peek().token == Token::LParen { options(c)? } else { Options::new() };
    Ok(FormatDef { upsert, encode, options, position })
}

/// `(a.b.c = 'value', d = 5)`.
pub(super) fn options(c: &mut Cursor<'_>) -> Result<Options> {
    let mut options = Options::new();
    for (name, value, position) in c.list(option)? {
        if options.insert(name.clone(), value).is_some() {
            return Err(Error::new(Kind::Syntax, format!("option \"{name}\" is given twice")).at(position));
        }
    }
    Ok(options)
}

fn option(c: &mut Cursor<'_>) -> Result<(String, String, usize)> {
    let position = c.position();
    let mut name = option_word(c)?;
    // Kafka's own names have dashes in places.
    while matches!(c.peek().token, Token::Period | Token::Minus) {
        name.push(if c.peek().token == Token::Period { '.' } else { '-' });
        c.advance();
        name.push_str(&option_word(c)?);
    }
    c.expect(&Token::Eq)?;
    if c.is_word("secret") && matches!(c.peek_nth(1).token, Token::Word(_)) {
        c.advance();
        return Ok((name, reference(&c.name()?), position));
    }
    let value = match &c.peek().token {
        Token::Number(n, _) => n.clone(),
        Token::Word(w) => w.value.clone(),
        Token::Minus => match &c.peek_nth(1).token {
            Token::Number(n, _) => format!("-{n}"),
            _ => return Err(c.error()),
        },
        _ => return c.string().map(|value| (name, value, position)),
    };
    c.token(&Token::Minus);
    c.advance();
    Ok((name, value, position))
}

fn option_word(c: &mut Cursor<'_>) -> Result<String> {
    let word = match &c.peek().token {
        Token::Word(w) => w.value.to_lowercase(),
        Token::Number(n, _) => n.clone(),
        _ => return Err(c.error()),
    };
    c.advance();
    Ok(word)
}
