//! `CREATE SINK [IF NOT EXISTS] name {FROM relation | AS query} WITH (connector = '…', …) [FORMAT {PLAIN | UPSERT} ENCODE JSON]`.

use super::create_relation::{format, options};
use super::cursor::{Cursor, delegate};
use super::refuse;
use crate::error::Result;
use crate::sql::ast::{CreateSink, StatementKind, Text};
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn parse(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["sink"])?;
    let if_not_exists = c.words(&["if", "not", "exists"]);
    let name = c.object_name()?;
    if c.is_word("into") {
        return Err(c.refused("CREATE SINK … INTO a table is not supported").with_hint("make a materialized view: it is a table that follows its query"));
    }
    let position = c.position();
    let query = if c.word("from") {
        let position = c.position();
        let relation = c.object_name()?;
        Text { sql: format!("SELECT * FROM {}", relation.quoted()), position }
    } else {
        c.expect_words(&["as"])?;
        let tokens = &c.rest()[..before_options(c)];
        let next = c.peek_nth(tokens.len());
        let query = delegate(c.source, tokens, next, |p| p.parse_query())?;
        refuse::query(c.source, &query)?;
        let text = Text { sql: c.source.slice(tokens).to_owned(), position };
        (0..tokens.len()).for_each(|_| c.advance());
        text
    };
    c.expect_words(&["with"])?;
    let with = options(c)?;
    let format = if c.is_word("format") { Some(format(c)?) } else { None };
    c.expect_end()?;
    Ok(StatementKind::CreateSink(Box::new(CreateSink { name, if_not_exists, query, with, format })))
}

/// How many of the tokens left come before the last `WITH (` outside of all parentheses: those are the query's, whose own `WITH` names a
/// subquery first.
fn before_options(c: &Cursor<'_>) -> usize {
    let rest = c.rest();
    let (mut depth, mut last) = (0usize, rest.len());
    for (i, token) in rest.iter().enumerate() {
        match &token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            Token::Word(w) if depth == 0 && w.value.eq_ignore_ascii_case("with") && rest.get(i + 1).is_some_and(|t| t.token == Token::LParen) => last = i,
            _ => {}
        }
    }
    last
}
