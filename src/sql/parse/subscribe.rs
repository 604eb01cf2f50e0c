//! `SUBSCRIBE [TO] relation | (query) [WITH (SNAPSHOT [= bool], PROGRESS [= bool])] [AS OF epoch]`.

use super::cursor::Cursor;
use super::{source::Source, statement};
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{Followed, StatementKind, Subscribe, Text};
use datafusion::sql::sqlparser::tokenizer::Token;
use std::sync::Arc;

pub(super) fn parse(source: &Arc<Source>, c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["subscribe"])?;
    c.word("to");
    let what = if c.peek().token == Token::LParen { query(source, c)? } else { Followed::Relation(c.object_name()?) };
    let mut subscribe = Subscribe { what, snapshot: true, progress: false, as_of: None };
    let (mut options, mut from) = (false, false);
    while !c.at_end() {
        if !options && c.word("with") {
            c.list(|c| option(c, &mut subscribe))?;
            options = true;
        } else if !from && c.words(&["as", "of"]) {
            subscribe.as_of = Some(epoch(c)?);
            from = true;
        } else {
            return Err(other(c));
        }
    }
    Ok(StatementKind::Subscribe(Box::new(subscribe)))
}

fn query(source: &Arc<Source>, c: &mut Cursor<'_>) -> Result<Followed> {
    let position = c.position();
    let inner = statement(source, c.parenthesized()?)?;
    match inner.kind {
        StatementKind::Query(query) => Ok(Followed::Query { query, text: Text { sql: inner.text, position } }),
        _ => Err(Error::not_supported("SUBSCRIBE takes a relation or a query").at(position)),
    }
}

fn option(c: &mut Cursor<'_>, subscribe: &mut Subscribe) -> Result<()> {
    let position = c.position();
    let name = c.name_of_option()?;
    let given = c.token(&Token::Eq) || !matches!(c.peek().token, Token::Comma | Token::RParen);
    let on = if given { c.boolean()? } else { true };
    match name.as_str() {
        "snapshot" => subscribe.snapshot = on,
        "progress" => subscribe.progress = on,
        _ => {
            let unknown = Error::new(Kind::InvalidParameter, format!("unrecognized parameter \"{name}\"")).at(position);
            return Err(unknown.with_hint("SUBSCRIBE has two options: SNAPSHOT and PROGRESS"));
        }
    }
    Ok(())
}

/// A number, or its text.
fn epoch(c: &mut Cursor<'_>) -> Result<(u64, usize)> {
    let position = c.position();
    if c.words(&["at", "least"]) {
        return Err(Error::not_supported("AS OF AT LEAST is not supported")
            .with_hint("write AS OF and the epoch up to which everything has come")
            .at(position));
    }
    let number = match &c.peek().token {
        Token::Number(number, _) | Token::SingleQuotedString(number) => number.parse(),
        _ => return Err(c.error()),
    };
    c.advance();
    let invalid = || Error::new(Kind::InvalidParameter, "AS OF takes the number of an epoch").at(position);
    number.ok().filter(|n| i64::try_from(*n).is_ok()).map(|n| (n, position)).ok_or_else(invalid)
}

/// Clauses that Materialize has, and what is no clause.
fn other(c: &Cursor<'_>) -> Error {
    let clauses = [
        ("envelope", "ENVELOPE of SUBSCRIBE is not supported", "an update comes as the old row with weight -1 and the new one with +1, in one epoch"),
        ("within", "WITHIN TIMESTAMP ORDER BY is not supported", "rows come in the order of epochs; order those of one epoch where they are read"),
        ("up", "UP TO of SUBSCRIBE is not supported", "stop reading at that epoch"),
    ];
    match clauses.iter().find(|(word, ..)| c.is_word(word)) {
        Some((_, what, hint)) => c.refused(what).with_hint(*hint),
        None => c.error(),
    }
}
