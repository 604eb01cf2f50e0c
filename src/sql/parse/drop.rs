//! `DROP {SOURCE | TABLE | VIEW | MATERIALIZED VIEW | INDEX | SINK} [IF EXISTS] name, … [CASCADE | RESTRICT]`.

use super::cursor::Cursor;
use super::refuse;
use super::schema;
use crate::error::Result;
use crate::sql::ast::{Drop, ObjectKind, StatementKind};
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn parse(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["drop"])?;
    if c.is_word("schema") {
        return schema::drop(c);
    }
    let Some(kind) = object_kind(c) else { return Err(refuse::drop(c)) };
    let if_exists = c.words(&["if", "exists"]);
    let mut names = vec![c.object_name()?];
    while c.token(&Token::Comma) {
        names.push(c.object_name()?);
    }
    let cascade = c.word("cascade");
    if !cascade {
        c.word("restrict");
    }
    c.expect_end()?;
    Ok(StatementKind::Drop(Drop { kind, if_exists, names, cascade }))
}

pub(super) fn object_kind(c: &mut Cursor<'_>) -> Option<ObjectKind> {
    if c.word("source") {
        Some(ObjectKind::Source)
    } else if c.word("table") {
        Some(ObjectKind::Table)
    } else if c.word("view") {
        Some(ObjectKind::View)
    } else if c.words(&["materialized", "view"]) {
        Some(ObjectKind::MaterializedView)
    } else if c.word("index") {
        Some(ObjectKind::Index)
    } else if c.word("sink") {
        Some(ObjectKind::Sink)
    } else {
        None
    }
}
