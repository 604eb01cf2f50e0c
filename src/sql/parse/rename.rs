//! `ALTER kind [IF EXISTS] name RENAME TO name`.

use super::cursor::Cursor;
use super::drop::object_kind;
use crate::error::Result;
use crate::sql::ast::{ObjectKind, Rename, StatementKind};

/// `None`: another thing is altered.
pub(super) fn parse(c: &mut Cursor<'_>) -> Result<Option<StatementKind>> {
    let behind = c.rest().len();
    if !(1..behind).any(|n| super::is_ahead(c, n, &["rename"])) {
        return Ok(None);
    }
    c.advance();
    let kind = if c.words(&["foreign", "table"]) { Some(ObjectKind::Source) } else { object_kind(c) };
    let Some(kind) = kind else { return Err(c.refused("RENAME of this is not supported")) };
    let if_exists = c.words(&["if", "exists"]);
    let name = c.object_name()?;
    c.expect_words(&["rename"])?;
    if !c.word("to") {
        return Err(c.refused("RENAME of a column or constraint is not supported").with_hint("make a view that gives the column another name"));
    }
    let position = c.position();
    let to = c.name()?;
    c.expect_end()?;
    Ok(Some(StatementKind::Rename(Rename { kind, if_exists, name, to, position })))
}
