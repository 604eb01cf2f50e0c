//! `CREATE SCHEMA [IF NOT EXISTS] name`, `DROP SCHEMA [IF EXISTS] name, … [CASCADE | RESTRICT]`. The first word is behind the cursor.

use super::cursor::Cursor;
use crate::error::Result;
use crate::sql::ast::{CreateSchema, DropSchema, StatementKind};
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn create(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["schema"])?;
    let if_not_exists = c.words(&["if", "not", "exists"]);
    if c.is_word("authorization") {
        return Err(c.refused("CREATE SCHEMA AUTHORIZATION is not supported").with_hint("write CREATE SCHEMA and the name"));
    }
    let position = c.position();
    let name = c.name()?;
    if c.is_word("authorization") {
        return Err(c.refused("CREATE SCHEMA … AUTHORIZATION is not supported").with_hint("a schema belongs to the one who makes it"));
    }
    if c.is_word("create") || c.is_word("grant") {
        return Err(c.refused("objects within CREATE SCHEMA are not supported").with_hint("create them with statements of their own"));
    }
    c.expect_end()?;
    Ok(StatementKind::CreateSchema(CreateSchema { name, position, if_not_exists }))
}

pub(super) fn drop(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["schema"])?;
    let if_exists = c.words(&["if", "exists"]);
    let mut names = Vec::new();
    loop {
        let position = c.position();
        names.push((c.name()?, position));
        if !c.token(&Token::Comma) {
            break;
        }
    }
    let cascade = c.word("cascade");
    if !cascade {
        c.word("restrict");
    }
    c.expect_end()?;
    Ok(StatementKind::DropSchema(DropSchema { names, if_exists, cascade }))
}
