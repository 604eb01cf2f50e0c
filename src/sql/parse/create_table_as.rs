//! `CREATE [TEMPORARY] TABLE [IF NOT EXISTS] name [(columns)] [ON COMMIT PRESERVE ROWS] AS query [WITH [NO] DATA]`. The cursor stands behind the name.

use super::cursor::{Cursor, delegate};
use super::refuse;
use crate::error::Result;
use crate::sql::ast::{CreateTableAs, Name, StatementKind};
use datafusion::sql::sqlparser::tokenizer::Token;

/// Whether a query follows, and not the definitions of columns.
pub(super) fn follows(c: &Cursor<'_>) -> bool {
    let mut depth = 0usize;
    let behind_list = c.rest().iter().position(|t| {
        match t.token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    });
    let at = if c.peek().token == Token::LParen { behind_list.map_or(0, |end| end + 1) } else { 0 };
    super::is_ahead(c, at, &["as"]) || super::is_ahead(c, at, &["on", "commit"]) && (at + 3..at + 6).any(|n| super::is_ahead(c, n, &["as"]))
}

pub(super) fn parse(c: &mut Cursor<'_>, name: Name, temporary: bool, if_not_exists: bool) -> Result<StatementKind> {
    let columns = if c.peek().token == Token::LParen { c.list(|c| c.name())? } else { Vec::new() };
    on_commit(c)?;
    c.expect_words(&["as"])?;
    let (tokens, with_data) = split_data(c);
    let next = c.peek_nth(tokens);
    let query = delegate(c.source, &c.rest()[..tokens], next, |p| p.parse_query())?;
    refuse::query(c.source, &query)?;
    Ok(StatementKind::CreateTableAs(Box::new(CreateTableAs { name, temporary, if_not_exists, columns, query, with_data })))
}

/// `ON COMMIT PRESERVE ROWS` is how it is anyway.
pub(super) fn on_commit(c: &mut Cursor<'_>) -> Result<()> {
    if c.words(&["on", "commit"]) && !c.words(&["preserve", "rows"]) {
        return Err(c.refused("ON COMMIT is only supported with PRESERVE ROWS").with_hint("DROP the table, or DELETE its rows, before COMMIT"));
    }
    Ok(())
}

/// How many of the tokens left are the query's, and whether its rows are wanted.
fn split_data(c: &Cursor<'_>) -> (usize, bool) {
    let left = c.rest().len();
    for (words, with_data) in [(&["with", "no", "data"][..], false), (&["with", "data"], true)] {
        if let Some(query) = left.checked_sub(words.len()).filter(|n| super::is_ahead(c, *n, words)) {
            return (query, with_data);
        }
    }
    (left, true)
}
