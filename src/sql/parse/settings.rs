//! `SET`, `RESET` and `DISCARD`.

use super::cursor::Cursor;
use super::transaction;
use crate::error::Result;
use crate::sql::ast::{ROLE, SESSION_AUTHORIZATION, Set, StatementKind};
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn set(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["set"])?;
    if c.words(&["session", "characteristics", "as", "transaction"]) {
        return transaction::set(c, true);
    }
    if c.word("transaction") || c.words(&["local", "transaction"]) || c.words(&["session", "transaction"]) {
        return transaction::set(c, false);
    }
    let local = c.word("local");
    if !local && !super::is_ahead(c, 0, &["session", "authorization"]) {
        c.word("session");
    }
    let set = if c.words(&["session", "authorization"]) {
        Set { name: SESSION_AUTHORIZATION.into(), value: role(c)?, local }
    } else if c.is_word("role") && !matches!(c.peek_nth(1).token, Token::Eq) && !super::is_ahead(c, 1, &["to"]) {
        c.advance();
        Set { name: ROLE.into(), value: role(c)?, local }
    } else if c.words(&["time", "zone"]) {
        Set { name: "timezone".into(), value: zone(c)?, local }
    } else if c.word("names") {
        Set { name: "client_encoding".into(), value: value(c)?, local }
    } else {
        let mut name = c.name()?;
        while c.token(&Token::Period) {
            name = format!("{name}.{}", c.name()?);
        }
        if !(c.token(&Token::Eq) || c.word("to")) {
            return Err(c.error());
        }
        Set { name, value: value(c)?, local }
    };
    c.expect_end()?;
    Ok(StatementKind::Set(set))
}

/// A role's name, or a string; `None`: DEFAULT, NONE.
fn role(c: &mut Cursor<'_>) -> Result<Option<String>> {
    if c.word("default") || c.word("none") {
        return Ok(None);
    }
    if matches!(c.peek().token, Token::Word(_)) { c.name().map(Some) } else { c.string().map(Some) }
}

fn zone(c: &mut Cursor<'_>) -> Result<Option<String>> {
    if c.word("local") { Ok(None) } else { value(c) }
}

/// `DEFAULT`, or values separated by commas.
fn value(c: &mut Cursor<'_>) -> Result<Option<String>> {
    if c.word("default") {
        return Ok(None);
    }
    let mut values = vec![one_value(c)?];
    while c.token(&Token::Comma) {
        values.push(one_value(c)?);
    }
    Ok(Some(values.join(", ")))
}

fn one_value(c: &mut Cursor<'_>) -> Result<String> {
    let sign = if c.token(&Token::Minus) { "-" } else { "" };
    let value = match &c.peek().token {
        Token::Number(n, _) => format!("{sign}{n}"),
        Token::Word(w) if w.quote_style.is_some() => w.value.clone(),
        Token::Word(w) => w.value.to_lowercase(),
        _ => return c.string(),
    };
    c.advance();
    Ok(value)
}

pub(super) fn reset(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["reset"])?;
    let name = if c.word("all") {
        None
    } else if c.words(&["time", "zone"]) {
        Some("timezone".to_owned())
    } else if c.words(&["session", "authorization"]) {
        Some(SESSION_AUTHORIZATION.to_owned())
    } else {
        let mut name = c.name()?;
        while c.token(&Token::Period) {
            name = format!("{name}.{}", c.name()?);
        }
        Some(name)
    };
    c.expect_end()?;
    Ok(StatementKind::Reset(name))
}

/// What poolers send when they take a connection back; there are no listeners to give up.
pub(super) fn discard(c: &mut Cursor<'_>) -> Result<StatementKind> {
    let kind = if c.words(&["discard", "all"]) {
        StatementKind::DiscardAll
    } else if c.word("discard") {
        if c.word("temp") || c.word("temporary") {
            StatementKind::DiscardTemporary
        } else if c.word("plans") || c.word("sequences") {
            StatementKind::Nothing("DISCARD")
        } else {
            return Err(c.error());
        }
    } else {
        c.expect_words(&["unlisten"])?;
        c.advance();
        StatementKind::Nothing("UNLISTEN")
    };
    c.expect_end()?;
    Ok(kind)
}
