//! `CREATE INDEX [CONCURRENTLY] [[IF NOT EXISTS] name] ON relation [USING btree] (column [ASC | DESC] [NULLS FIRST | LAST], …) [INCLUDE (column, …)]`.

use super::cursor::Cursor;
use crate::error::Result;
use crate::sql::ast::{CreateIndex, IndexColumn, StatementKind};
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn parse(c: &mut Cursor<'_>) -> Result<StatementKind> {
    if c.is_word("unique") {
        return Err(c.refused("unique indexes are not supported").with_hint("declare the columns as PRIMARY KEY of the table, or leave UNIQUE out"));
    }
    c.expect_words(&["index"])?;
    // An index is always built while everything goes on.
    c.word("concurrently");
    let if_not_exists = c.words(&["if", "not", "exists"]);
    let name = if !if_not_exists && c.is_word("on") { None } else { Some(c.object_name()?) };
    c.expect_words(&["on"])?;
    let on = c.object_name()?;
    if c.word("using") && !c.word("btree") {
        return Err(c.refused("this index method is not supported").with_hint("indexes are btree: leave USING out"));
    }
    let columns = c.list(column)?;
    let include = if c.word("include") { Some(c.list(|c| Ok((c.position(), c.name()?)))?) } else { None };
    for (word, what, hint) in [
        ("where", "partial indexes are not supported", "create a materialized view with this WHERE, and an index on it"),
        ("with", "options of indexes are not supported", "leave WITH out"),
        ("tablespace", "tablespaces are not supported", "leave TABLESPACE out"),
        ("distributed", "DISTRIBUTED BY is not supported", "leave it out: an index is kept by all worker threads"),
        ("nulls", "NULLS [NOT] DISTINCT is not supported", "leave it out: no index is unique"),
    ] {
        if c.is_word(word) {
            return Err(c.refused(what).with_hint(hint));
        }
    }
    c.expect_end()?;
    let include = include.map(|list| list.into_iter().map(|(position, name)| (name, position)).collect());
    Ok(StatementKind::CreateIndex(Box::new(CreateIndex { name, if_not_exists, on, columns, include })))
}

fn column(c: &mut Cursor<'_>) -> Result<IndexColumn> {
    let position = c.position();
    if c.peek().token == Token::LParen || matches!(c.peek_nth(1).token, Token::LParen) {
        return Err(c
            .refused("indexes on expressions are not supported")
            .with_hint("create a materialized view with the expression as a column, and an index on it"));
    }
    let name = c.name()?;
    if c.is_word("collate") {
        return Err(c.refused("collations of indexes are not supported").with_hint("texts are ordered by their bytes: leave COLLATE out"));
    }
    let descending = !c.word("asc") && c.word("desc");
    let nulls_first = if c.words(&["nulls", "first"]) {
        true
    } else if c.words(&["nulls", "last"]) {
        false
    } else {
        descending
    };
    Ok(IndexColumn { name, position, descending, nulls_first })
}
