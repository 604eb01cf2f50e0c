//! Statements of more than one step: all of them, or none.

use super::Context;
use crate::error::Result;
use crate::node::engine_api::Engine;
use crate::node::transaction::{Over, Transaction, undo};
use crate::sql::ast::Isolation;
use crate::types::time::Epoch;
use std::future::Future;
use std::sync::Arc;

/// Runs `work` in the statement's transaction, or else in one of its own. Gives the epoch that shows what it has written.
pub(super) async fn atomically<T, F: Future<Output = Result<T>>>(context: &Context, work: impl FnOnce(Context) -> F) -> Result<(T, Option<Epoch>)> {
    if context.transaction.is_some() {
        return Ok((work(context.clone()).await?, None));
    }
    let transaction = Arc::new(Transaction::new(Isolation::ReadCommitted, context.read_only));
    let unfinished = Unfinished { engine: context.engine.clone(), transaction: transaction.clone() };
    let done = work(Context { transaction: Some(transaction.clone()), ..context.clone() }).await;
    let Over { changes, made, .. } = transaction.end();
    let committed = match &done {
        Ok(_) if changes.is_empty() && made.is_empty() => Ok(None),
        Ok(_) => match context.commitment.commit() {
            Ok(()) => context.engine.commit(&changes, &made.objects()).await.map(|written| Some(written.epoch)),
            Err(e) => Err(e),
        },
        Err(_) => Ok(None),
    };
    drop(unfinished);
    if done.is_err() || committed.is_err() {
        undo(context.engine.as_ref(), made).await?;
    }
    Ok((done?, committed?))
}

/// A statement that is cancelled in the middle leaves nothing.
struct Unfinished {
    engine: Arc<dyn Engine>,
    transaction: Arc<Transaction>,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let created = self.transaction.end().made.created;
        if !created.is_empty() {
            self.engine.let_go(created);
        }
    }
}
