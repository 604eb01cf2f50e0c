//! `CREATE [MATERIALIZED] VIEW [IF NOT EXISTS] name [(columns)] [WITH (…)] AS query [EMIT ON WINDOW CLOSE]`.

use super::create_relation::options;
use super::cursor::{Cursor, delegate};
use super::refuse;
use crate::error::Result;
use crate::sql::ast::{CreateView, Options, StatementKind, Text};
use datafusion::sql::sqlparser::tokenizer::Token;

/// What ends a query whose rows appear when their window closes.
const EMIT: [&str; 4] = ["emit", "on", "window", "close"];

pub(super) fn parse(c: &mut Cursor<'_>) -> Result<StatementKind> {
    let materialized = c.word("materialized");
    c.expect_words(&["view"])?;
    let if_not_exists = c.words(&["if", "not", "exists"]);
    let name = c.object_name()?;
    let columns = if c.peek().token == Token::LParen { c.list(|c| c.name())? } else { Vec::new() };
    let with = if materialized && c.word("with") { options(c)? } else { Options::new() };
    c.expect_words(&["as"])?;
    // EMIT would be read as the alias of the last table: it is taken off before the query is parsed.
    let (tokens, emit_on_window_close) = split_emit(c);
    let position = c.position();
    let next = c.peek_nth(tokens);
    let query_tokens = &c.rest()[..tokens];
    let query = delegate(c.source, query_tokens, next, |p| p.parse_query())?;
    refuse::query(c.source, &query)?;
    if emit_on_window_close && !materialized {
        return Err(c.refused("EMIT ON WINDOW CLOSE is for materialized views").with_hint("write CREATE MATERIALIZED VIEW"));
    }
    let query_text = Text { sql: c.source.slice(query_tokens).to_owned(), position };
    Ok(StatementKind::CreateView(Box::new(CreateView { name, materialized, if_not_exists, columns, with, query, query_text, emit_on_window_close })))
}

/// How many of the tokens left are the query's, and whether EMIT stands behind them.
fn split_emit(c: &Cursor<'_>) -> (usize, bool) {
    let rest = c.rest();
    let Some(query) = rest.len().checked_sub(EMIT.len()) else { return (rest.len(), false) };
    let emits = rest[query..].iter().zip(EMIT).all(|(token, word)| matches!(&token.token, Token::Word(w) if w.value.eq_ignore_ascii_case(word)));
    if emits { (query, true) } else { (rest.len(), false) }
}
