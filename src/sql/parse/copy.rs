//! `COPY … TO STDOUT` and `COPY … FROM STDIN`.

use super::cursor::Cursor;
use super::{source::Source, statement};
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{Copy, CopyWhat, StatementKind};
use crate::types::copy::{CopyFormat, CopyOptions, ForceQuote};
use datafusion::sql::sqlparser::tokenizer::Token;
use std::sync::Arc;

pub(super) fn parse(source: &Arc<Source>, c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["copy"])?;
    let what = if c.peek().token == Token::LParen { CopyWhat::Query(Arc::new(query(source, c)?)) } else { relation(c)? };
    let from = if c.word("from") {
        true
    } else {
        c.expect_words(&["to"])?;
        false
    };
    if from && matches!(what, CopyWhat::Query(_)) {
        return Err(c.error());
    }
    if !c.word(if from { "stdin" } else { "stdout" }) {
        if matches!(c.peek().token, Token::SingleQuotedString(_)) || c.is_word("program") {
            return Err(c
                .refused("COPY of files and programs on the server is not supported")
                .with_hint("use COPY … FROM STDIN or TO STDOUT (in psql: \\copy), or CREATE SOURCE … WITH (connector = 'file', …)"));
        }
        return Err(c.error());
    }
    let options = options(c)?;
    if c.is_word("where") {
        return Err(c.refused("COPY … WHERE is not supported"));
    }
    c.expect_end()?;
    options.check()?;
    if from && options.force_quote != ForceQuote::Nothing {
        return Err(Error::not_supported("COPY force quote only available using COPY TO"));
    }
    Ok(StatementKind::Copy(Copy { what, from, options }))
}

fn relation(c: &mut Cursor<'_>) -> Result<CopyWhat> {
    let name = c.object_name()?;
    let columns = if c.peek().token == Token::LParen {
        Some(c.list(|c| {
            let position = c.position();
            Ok((c.name()?, position))
        })?)
    } else {
        None
    };
    Ok(CopyWhat::Relation { name, columns })
}

/// `( query )`: the statement between the parentheses.
fn query(source: &Arc<Source>, c: &mut Cursor<'_>) -> Result<crate::sql::ast::Statement> {
    let position = c.position();
    let inner = statement(source, c.parenthesized()?)?;
    if !matches!(inner.kind, StatementKind::Query(_) | StatementKind::Subscribe(_)) {
        return Err(Error::not_supported("COPY of a statement that is no query is not supported").at(position));
    }
    Ok(inner)
}

/// `[WITH] (FORMAT csv, HEADER, …)`, or the older `[WITH] [BINARY | CSV] [HEADER] [DELIMITER 'x'] …`.
fn options(c: &mut Cursor<'_>) -> Result<CopyOptions> {
    let mut options = CopyOptions::default();
    c.word("with");
    if c.peek().token == Token::LParen {
        c.list(|c| option(c, &mut options))?;
        return Ok(options);
    }
    while !c.at_end() && !c.is_word("where") {
        if c.word("binary") {
            options.format = CopyFormat::Binary;
        } else if c.word("csv") {
            options.format = CopyFormat::Csv;
        } else if c.word("header") {
            options.header = true;
        } else if c.is_word("delimiter") || c.is_word("null") || c.is_word("quote") || c.is_word("escape") {
            let name = c.name_of_option()?;
            c.word("as");
            set(c, &mut options, &name)?;
        } else {
            return Err(c.error());
        }
    }
    Ok(options)
}

fn option(c: &mut Cursor<'_>, options: &mut CopyOptions) -> Result<()> {
    let name = c.name_of_option()?;
    match name.as_str() {
        "format" => {
            let position = c.position();
            let format = if matches!(c.peek().token, Token::SingleQuotedString(_)) { c.string()? } else { c.name_of_option()? };
            options.format = match format.to_lowercase().as_str() {
                "text" => CopyFormat::Text,
                "csv" => CopyFormat::Csv,
                "binary" => CopyFormat::Binary,
                _ => return Err(Error::new(Kind::InvalidParameter, format!("COPY format \"{format}\" not recognized")).at(position)),
            };
            Ok(())
        }
        "header" => {
            options.header = on(c)?;
            Ok(())
        }
        "freeze" => on(c).map(drop),
        "encoding" => {
            let position = c.position();
            let encoding = c.string()?;
            if ["utf8", "utf-8", "unicode"].contains(&encoding.to_lowercase().as_str()) {
                return Ok(());
            }
            Err(Error::not_supported(format!("encoding \"{encoding}\" is not supported")).with_hint("texts are UTF8").at(position))
        }
        "delimiter" | "null" | "quote" | "escape" => set(c, options, &name),
        "force_quote" if c.token(&Token::Mul) => {
            options.force_quote = ForceQuote::All;
            Ok(())
        }
        "force_quote" => {
            options.force_quote = ForceQuote::Columns(c.list(|c| c.name())?);
            Ok(())
        }
        "force_not_null" | "force_null" | "default" => Err(c.refused(&format!("COPY option {} is not supported", name.to_uppercase()))),
        _ => Err(Error::new(Kind::Syntax, format!("option \"{name}\" not recognized"))),
    }
}

/// A boolean, true if there is none.
fn on(c: &mut Cursor<'_>) -> Result<bool> {
    if matches!(c.peek().token, Token::Comma | Token::RParen) || c.at_end() {
        return Ok(true);
    }
    let position = c.position();
    let word = match &c.peek().token {
        Token::Number(n, _) => n.clone(),
        Token::Word(w) => w.value.to_lowercase(),
        _ => c.string()?,
    };
    if matches!(c.peek().token, Token::Number(..) | Token::Word(_)) {
        c.advance();
    }
    match word.as_str() {
        "true" | "on" | "1" => Ok(true),
        "false" | "off" | "0" => Ok(false),
        "match" => Err(Error::not_supported("HEADER MATCH is not supported").at(position)),
        _ => Err(Error::new(Kind::Syntax, "a Boolean value was expected").at(position)),
    }
}

fn set(c: &mut Cursor<'_>, options: &mut CopyOptions, name: &str) -> Result<()> {
    let position = c.position();
    let value = c.string()?;
    if name == "null" {
        options.null = Some(value);
        return Ok(());
    }
    let &[byte] = value.as_bytes() else {
        return Err(Error::not_supported(format!("COPY {name} must be a single one-byte character")).at(position));
    };
    match name {
        "delimiter" => options.delimiter = Some(byte),
        "quote" => options.quote = Some(byte),
        _ => options.escape = Some(byte),
    }
    Ok(())
}
