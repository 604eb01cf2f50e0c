//! `DECLARE`, `FETCH`, `MOVE`, `CLOSE`, and `PREPARE`, `EXECUTE`, `DEALLOCATE`: names that live in a connection.

use super::cursor::Cursor;
use super::{source::Source, statement};
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{Declare, Execute, Fetch, Prepare, StatementKind};
use crate::types::direction::Direction;
use crate::types::text::interval::parse_interval;
use datafusion::sql::sqlparser::tokenizer::Token;
use std::sync::Arc;
use std::time::Duration;

const NANOSECONDS_OF_DAY: i128 = 86_400_000_000_000;

/// `DECLARE name [BINARY] [[NO] SCROLL] CURSOR [WITH | WITHOUT HOLD] FOR query`.
pub(super) fn declare(source: &Arc<Source>, c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["declare"])?;
    let name = c.name()?;
    let (mut binary, mut scroll) = (false, false);
    loop {
        if c.word("binary") {
            binary = true;
        } else if c.word("scroll") {
            scroll = true;
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
    match &query.kind {
        StatementKind::Query(_) => {}
        StatementKind::Subscribe(_) if scroll => {
            return Err(c.refused("a subscription cannot go back").with_hint("declare its cursor without SCROLL"));
        }
        StatementKind::Subscribe(_) => {}
        _ => return Err(c.error()),
    }
    Ok(StatementKind::Declare(Declare { name, hold, binary, scroll, query: Arc::new(query) }))
}

/// `FETCH` and `MOVE`; `WITH (timeout = '1s')`.
pub(super) fn fetch(c: &mut Cursor<'_>) -> Result<StatementKind> {
    let moves = !c.word("fetch");
    if moves {
        c.expect_words(&["move"])?;
    }
    let direction = direction(c)?;
    let _ = c.word("from") || c.word("in");
    let name = c.name()?;
    let timeout = if c.word("with") { Some(timeout(c)?) } else { None };
    c.expect_end()?;
    Ok(StatementKind::Fetch(Fetch { name, direction, moves, timeout }))
}

fn direction(c: &mut Cursor<'_>) -> Result<Direction> {
    let steps = |count: i64| {
        let rows = Some(count.unsigned_abs());
        if count < 0 { Direction::Backward(rows) } else { Direction::Forward(rows) }
    };
    if c.word("next") {
        return Ok(Direction::Forward(Some(1)));
    }
    for (word, direction) in [("prior", Direction::Backward(Some(1))), ("first", Direction::Absolute(1)), ("last", Direction::Absolute(-1))] {
        if c.word(word) {
            return Ok(direction);
        }
    }
    if c.word("absolute") {
        return number(c).map(Direction::Absolute);
    }
    if c.word("relative") {
        return number(c).map(Direction::Relative);
    }
    let backward = c.word("backward");
    if !backward {
        c.word("forward");
    }
    if c.word("all") {
        return Ok(if backward { Direction::Backward(None) } else { Direction::Forward(None) });
    }
    let counted = matches!(c.peek().token, Token::Number(..) | Token::Minus);
    let count = if counted { number(c)? } else { 1 };
    Ok(steps(if backward { -count } else { count }))
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

fn number(c: &mut Cursor<'_>) -> Result<i64> {
    let negative = c.token(&Token::Minus);
    let Token::Number(text, _) = &c.peek().token else { return Err(c.error()) };
    let number: i64 = text.parse().map_err(|_| c.error())?;
    c.advance();
    Ok(if negative { -number } else { number })
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
