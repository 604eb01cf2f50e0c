//! `SHOW …` and `DESCRIBE name`.

use super::cursor::Cursor;
use super::drop::object_kind;
use crate::error::Result;
use crate::sql::ast::{ObjectKind, Show, StatementKind};
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn parse(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["show"])?;
    let show = what(c)?;
    c.expect_end()?;
    Ok(StatementKind::Show(show))
}

fn what(c: &mut Cursor<'_>) -> Result<Show> {
    if c.words(&["materialized", "views"]) {
        return Ok(Show::Objects(ObjectKind::MaterializedView));
    }
    for (word, show) in [
        ("sources", Show::Objects(ObjectKind::Source)),
        ("tables", Show::Objects(ObjectKind::Table)),
        ("views", Show::Objects(ObjectKind::View)),
        ("sinks", Show::Objects(ObjectKind::Sink)),
        ("schemas", Show::Schemas),
        ("databases", Show::Databases),
        ("all", Show::AllSettings),
    ] {
        if c.word(word) {
            return Ok(show);
        }
    }
    if c.word("indexes") || c.word("indices") {
        return if c.word("from") || c.word("on") { c.object_name().map(|n| Show::Indexes(Some(n))) } else { Ok(Show::Indexes(None)) };
    }
    if c.words(&["columns", "from"]) {
        return c.object_name().map(Show::Columns);
    }
    if c.word("create") {
        let Some(kind) = object_kind(c) else { return Err(c.error()) };
        return c.object_name().map(|name| Show::Create(kind, name));
    }
    if c.words(&["time", "zone"]) {
        return Ok(Show::Setting("timezone".into()));
    }
    if c.words(&["transaction", "isolation", "level"]) {
        return Ok(Show::Setting("transaction_isolation".into()));
    }
    let mut name = c.name()?;
    while c.token(&Token::Period) {
        name = format!("{name}.{}", c.name()?);
    }
    Ok(Show::Setting(name))
}

pub(super) fn describe(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.advance();
    let name = c.object_name()?;
    c.expect_end()?;
    Ok(StatementKind::Describe(name))
}
