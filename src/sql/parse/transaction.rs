//! `BEGIN`, `COMMIT`, `ROLLBACK`, savepoints, and what kind of transaction is wanted.

use super::cursor::Cursor;
use crate::error::{Error, Result};
use crate::sql::ast::{Isolation, Modes, StatementKind, Transaction};
use datafusion::sql::sqlparser::tokenizer::Token;

pub(super) fn parse(c: &mut Cursor<'_>) -> Result<StatementKind> {
    let statement = if c.word("begin") {
        let _ = c.word("work") || c.word("transaction");
        Transaction::Begin { modes: modes(c)?, tag: "BEGIN" }
    } else if c.words(&["start", "transaction"]) {
        Transaction::Begin { modes: modes(c)?, tag: "START TRANSACTION" }
    } else if c.word("savepoint") {
        Transaction::Savepoint(c.name()?)
    } else if c.word("release") {
        c.word("savepoint");
        Transaction::Release(c.name()?)
    } else if c.word("commit") || c.word("end") {
        if c.is_word("prepared") {
            return Err(prepared(c));
        }
        Transaction::Commit { chain: chain(c)? }
    } else if c.word("rollback") || c.word("abort") {
        if c.is_word("prepared") {
            return Err(prepared(c));
        }
        let _ = c.word("work") || c.word("transaction");
        if c.word("to") {
            c.word("savepoint");
            Transaction::RollbackTo(c.name()?)
        } else {
            Transaction::Rollback { chain: chain(c)? }
        }
    } else {
        return Err(c.error());
    };
    c.expect_end()?;
    Ok(StatementKind::Transaction(statement))
}

fn prepared(c: &Cursor<'_>) -> Error {
    c.refused("two-phase commit is not supported")
}

/// `[WORK | TRANSACTION] [AND [NO] CHAIN]`.
fn chain(c: &mut Cursor<'_>) -> Result<bool> {
    let _ = c.word("work") || c.word("transaction");
    if !c.word("and") {
        return Ok(false);
    }
    let not = c.word("no");
    c.expect_words(&["chain"])?;
    Ok(!not)
}

/// `SET TRANSACTION …`, and for later transactions `SET SESSION CHARACTERISTICS AS TRANSACTION …`: the cursor stands behind these words.
pub(super) fn set(c: &mut Cursor<'_>, session: bool) -> Result<StatementKind> {
    if c.is_word("snapshot") {
        return Err(c.refused("snapshots of other transactions are not supported"));
    }
    if c.at_end() {
        return Err(c.error());
    }
    let modes = modes(c)?;
    c.expect_end()?;
    Ok(StatementKind::Transaction(Transaction::Set { modes, session }))
}

fn modes(c: &mut Cursor<'_>) -> Result<Modes> {
    let mut modes = Modes::default();
    let mut more = !c.at_end();
    while more {
        if c.words(&["isolation", "level"]) {
            modes.isolation = Some(isolation(c)?);
        } else if c.words(&["read", "only"]) {
            modes.read_only = Some(true);
        } else if c.words(&["read", "write"]) {
            modes.read_only = Some(false);
        } else if !(c.word("deferrable") || c.words(&["not", "deferrable"])) {
            // Nothing here ever waits for a lock, so that is true of every transaction.
            return Err(c.error());
        }
        more = c.token(&Token::Comma) || !c.at_end();
    }
    Ok(modes)
}

fn isolation(c: &mut Cursor<'_>) -> Result<Isolation> {
    for level in Isolation::ALL {
        if c.words(&level.name().split(' ').collect::<Vec<_>>()) {
            return Ok(level);
        }
    }
    Err(c.error())
}
