//! `COMMENT ON kind name IS 'text' | NULL`.

use super::cursor::Cursor;
use super::drop::object_kind;
use crate::error::Result;
use crate::sql::ast::{Comment, CommentOn, Name, StatementKind};
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn parse(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["comment", "on"])?;
    let on = if c.word("column") {
        column(c)?
    } else {
        match object_kind(c) {
            Some(kind) => CommentOn::Object(kind, c.object_name()?),
            None => return Err(c.refused("COMMENT ON this is not supported").with_hint("tables, sources, views, indexes, sinks and columns have comments")),
        }
    };
    c.expect_words(&["is"])?;
    let text = if c.word("null") { None } else { Some(c.string()?) };
    c.expect_end()?;
    Ok(StatementKind::Comment(Comment { on, text: text.filter(|t| !t.is_empty()) }))
}

/// `relation.column`, `schema.relation.column`.
fn column(c: &mut Cursor<'_>) -> Result<CommentOn> {
    let position = c.position();
    let mut parts = vec![c.name()?];
    while c.token(&Token::Period) {
        parts.push(c.name()?);
    }
    let column = parts.pop().unwrap_or_default();
    let Some(name) = parts.pop() else { return Err(c.error()) };
    Ok(CommentOn::Column(Name { schema: parts.pop(), name, position }, column))
}
