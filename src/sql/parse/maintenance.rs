//! `TRUNCATE [TABLE] name, … [CONTINUE IDENTITY] [RESTRICT]`, `REFRESH MATERIALIZED VIEW [CONCURRENTLY] name [WITH DATA]`.

use super::cursor::Cursor;
use crate::error::Result;
use crate::sql::ast::StatementKind;
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn truncate(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["truncate"])?;
    c.word("table");
    c.word("only");
    let mut names = vec![c.object_name()?];
    while c.token(&Token::Comma) {
        names.push(c.object_name()?);
    }
    // There are neither sequences nor foreign keys that the other words would reach.
    let _ = c.words(&["continue", "identity"]) || c.words(&["restart", "identity"]);
    let _ = c.word("restrict") || c.word("cascade");
    c.expect_end()?;
    Ok(StatementKind::Truncate(names))
}

pub(super) fn refresh(c: &mut Cursor<'_>) -> Result<StatementKind> {
    c.expect_words(&["refresh", "materialized", "view"])?;
    c.word("concurrently");
    let name = c.object_name()?;
    if c.words(&["with", "no", "data"]) {
        return Err(c.refused("REFRESH … WITH NO DATA is not supported").with_hint("a materialized view always has its rows"));
    }
    c.words(&["with", "data"]);
    c.expect_end()?;
    Ok(StatementKind::Refresh(name))
}
