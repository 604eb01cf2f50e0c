//! `SET`, `RESET`, `DISCARD` and the words around transactions. Statements run in autocommit: a transaction block is
//! refused at its BEGIN, so that nobody believes in a ROLLBACK that does nothing.

use super::cursor::Cursor;
use crate::error::{Error, Result};
use crate::sql::ast::{Set, StatementKind};
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn set(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["set"])?;
    if c.words(&["session", "characteristics", "as", "transaction"]) || c.word("transaction") {
        return characteristics(c);
    }
    if c.words(&["session", "authorization"]) || c.word("role") {
        if !(c.word("default") || c.word("none")) {
            return Err(c.refused("roles are not supported"));
        }
        c.expect_end()?;
        return Ok(StatementKind::Nothing("SET"));
    }
    let local = c.word("local");
    if !local {
        c.word("session");
    }
    let set = if c.words(&["time", "zone"]) {
        Set { name: "timezone".into(), value: zone(c)? }
    } else if c.word("names") {
        Set { name: "client_encoding".into(), value: value(c)? }
    } else {
        let mut name = c.name()?;
        while c.token(&Token::Period) {
            name = format!("{name}.{}", c.name()?);
        }
        if !(c.token(&Token::Eq) || c.word("to")) {
            return Err(c.error());
        }
        Set { name, value: value(c)? }
    };
    c.expect_end()?;
    // SET LOCAL outside a transaction block changes nothing, in Postgres too.
    Ok(if local { StatementKind::Nothing("SET") } else { StatementKind::Set(set) })
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

/// Isolation levels: a statement reads one epoch whatever is said; READ ONLY is refused, for we would not keep it.
fn characteristics(c: &mut Cursor<'_>) -> Result<StatementKind> {
    while !c.at_end() {
        c.token(&Token::Comma);
        let known = c.words(&["isolation", "level", "read", "committed"])
            || c.words(&["isolation", "level", "read", "uncommitted"])
            || c.words(&["read", "write"])
            || c.words(&["not", "deferrable"]);
        if !known {
            let isolation = c.is_word("isolation") || c.is_word("read") || c.is_word("deferrable") || c.is_word("snapshot");
            return Err(if isolation { c.refused("transaction modes other than READ COMMITTED, READ WRITE are not supported") } else { c.error() });
        }
    }
    Ok(StatementKind::Nothing("SET"))
}

pub(super) fn reset(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["reset"])?;
    let name = if c.word("all") {
        None
    } else if c.words(&["time", "zone"]) {
        Some("timezone".to_owned())
    } else if c.words(&["session", "authorization"]) {
        return c.expect_end().map(|()| StatementKind::Nothing("RESET"));
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

/// What poolers send when they take a connection back. There are no SQL-level cursors, prepared statements or listeners to give up.
pub(super) fn discard(c: &mut Cursor<'_>) -> Result<StatementKind> {
    let kind = if c.words(&["discard", "all"]) {
        StatementKind::DiscardAll
    } else if c.word("discard") {
        if !["plans", "sequences", "temp", "temporary"].iter().any(|w| c.word(w)) {
            return Err(c.error());
        }
        StatementKind::Nothing("DISCARD")
    } else if c.words(&["deallocate", "all"]) || c.words(&["deallocate", "prepare", "all"]) {
        StatementKind::Nothing("DEALLOCATE ALL")
    } else if c.words(&["close", "all"]) {
        StatementKind::Nothing("CLOSE CURSOR ALL")
    } else if c.words(&["unlisten"]) {
        c.advance();
        StatementKind::Nothing("UNLISTEN")
    } else {
        return Err(c.refused("cursors and prepared statements of SQL are not supported").with_hint("use the driver's prepared statements"));
    };
    c.expect_end()?;
    Ok(kind)
}

pub(super) fn transaction(c: &mut Cursor<'_>) -> Result<StatementKind> {
    let ends = [("commit", "COMMIT"), ("end", "COMMIT"), ("rollback", "ROLLBACK"), ("abort", "ROLLBACK")];
    if let Some((_, tag)) = ends.iter().find(|(word, _)| c.is_word(word)) {
        c.advance();
        let _ = c.word("work") || c.word("transaction");
        if c.at_end() {
            return Ok(StatementKind::EndTransaction(tag));
        }
    }
    Err(Error::not_supported("transaction blocks are not supported").with_hint("each statement commits by itself; turn autocommit on").at(c.position()))
}
