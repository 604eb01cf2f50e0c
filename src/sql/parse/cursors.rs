//! `DECLARE`, `FETCH`, `MOVE`, `CLOSE`, and `PREPARE`, `EXECUTE`, `DEALLOCATE`: names that live in a connection.

use super::cursor::Cursor;
use super::{source::Source, statement};
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{Declare, Execute, Fetch, Prepare, StatementKind};
use crate::types::text::interval::parse_interval;
use datafusion::sql::sqlparser::tokenizer::Token;
use std::sync::Arc;
use std::time::Duration;

const NANOSECONDS_OF_DAY: i128 = 86_400_000_000_000;

/// `DECLARE name [BINARY] [[NO] SCROLL] CURSOR [WITH | WITHOUT HOLD] FOR query`.
pub(super) fn declare(source: &Arc<Source>, c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["declare"])?;
    let name = c.name()?;
    let mut binary = false;
    loop {
        if c.is_word("scroll") {
            return Err(c.refused("cursors that go back are not supported").with_hint("declare it without SCROLL, and again to read from the beginning"));
        }
        if c.word("binary") {
            binary = true;
        } else if !(c.word("insensitive") || c.word("asensitive") || c.words(&["no", "scroll"])) {
            break;
        }
    }
    c.expect_words(&["cursor"])?;
    let hold = c.words(&["with", "hold"]);
    if !hold {
        c.words(&["without", "hold"]);
    }
    c.expect_words(&["for"])?;
    let query = statement(source, c.rest())?;
    if !matches!(query.kind, StatementKind::Query(_) | StatementKind::Subscribe(_)) {
        return Err(c.error());
    }
    Ok(StatementKind::Declare(Declare { name, hold, binary, query: Arc::new(query) }))
}

/// `FETCH` and `MOVE`, forward only; `WITH (timeout = '1s')`.
pub(super) fn fetch(c: &mut Cursor<'_>) -> Result<StatementKind> {
    let moves = !c.word("fetch");
    if moves {
        c.expect_words(&["move"])?;
    }
    let back = |c: &Cursor<'_>| {
        let error = Error::new(Kind::NotReady, "cursor can only scan forward").at(c.position());
        error.with_hint("cursors that go back are not supported; declare it again to read from the beginning")
    };
    let mut count = Some(1);
    if ["prior", "backward", "first", "last", "absolute", "relative"].iter().any(|w| c.is_word(w)) {
        return Err(back(c));
    }
    if c.word("next") {
    } else if c.word("all") {
        count = None;
    } else if c.word("forward") {
        if c.word("all") {
            count = None;
        } else if matches!(c.peek().token, Token::Number(..)) {
            count = Some(number(c)?);
        }
    } else if matches!(c.peek().token, Token::Minus) {
        return Err(back(c));
    } else if matches!(c.peek().token, Token::Number(..)) {
        count = Some(number(c)?);
    }
    if count == Some(0) {
        // The row before the next one, once more.
        return Err(back(c));
    }
    let _ = c.word("from") || c.word("in");
    let name = c.name()?;
    let timeout = if c.word("with") { Some(timeout(c)?) } else { None };
    c.expect_end()?;
    Ok(StatementKind::Fetch(Fetch { name, count, moves, timeout }))
}

/// `(timeout = interval)`
fn timeout(c: &mut Cursor<'_>) -> Result<Duration> {
    c.expect(&Token::LParen)?;
    c.expect_words(&["timeout"])?;
    c.token(&Token::Eq);
    c.word("interval");
    let position = c.position();
    let interval = parse_interval(&c.string()?).map_err(|e| e.at(position))?;
    c.expect(&Token::RParen)?;
    let nanoseconds = i128::from(interval.nanoseconds) + i128::from(interval.days) * NANOSECONDS_OF_DAY;
    let fits = u64::try_from(nanoseconds).ok().filter(|_| interval.months == 0);
    let invalid = || Error::new(Kind::InvalidParameter, "a timeout is a time from 0 up to years").at(position);
    fits.map(Duration::from_nanos).ok_or_else(invalid)
}

fn number(c: &mut Cursor<'_>) -> Result<u64> {
    let Token::Number(text, _) = &c.peek().token else { return Err(c.error()) };
    let number = text.parse().map_err(|_| c.error())?;
    c.advance();
    Ok(number)
}

/// `CLOSE name | ALL`.
pub(super) fn close(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["close"])?;
    let name = if c.word("all") { None } else { Some(c.name()?) };
    c.expect_end()?;
    Ok(StatementKind::Close(name))
}

/// `PREPARE name [(type, …)] AS statement`.
pub(super) fn prepare(source: &Arc<Source>, c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["prepare"])?;
    let name = c.name()?;
    let types = if c.peek().token == Token::LParen { c.list(|c| c.standard_type())? } else { Vec::new() };
    c.expect_words(&["as"])?;
    let inner = statement(source, c.rest())?;
    match &inner.kind {
        StatementKind::Query(_) | StatementKind::Insert(_) | StatementKind::Update(_) | StatementKind::Delete(_) => {
            Ok(StatementKind::Prepare(Prepare { name, types, statement: Arc::new(inner) }))
        }
        _ => Err(c.error()),
    }
}

/// `EXECUTE name [(value, …)]`.
pub(super) fn execute(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["execute"])?;
    let name = c.name()?;
    let values = if c.peek().token == Token::LParen { c.list(|c| c.expression(&[]))? } else { Vec::new() };
    c.expect_end()?;
    Ok(StatementKind::Execute(Execute { name, values }))
}

/// `DEALLOCATE [PREPARE] name | ALL`.
pub(super) fn deallocate(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["deallocate"])?;
    c.word("prepare");
    let name = if c.word("all") { None } else { Some(c.name()?) };
    c.expect_end()?;
    Ok(StatementKind::Deallocate(name))
}
