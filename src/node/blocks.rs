//! A session's transactions: blocks that BEGIN opens, and those that several statements of one message are.

use super::session::ClientSession;
use super::settings::Settings;
use super::transaction::{Made, Over, Transaction, undo};
use crate::catalog::catalog::Catalog;
use crate::catalog::object::Body;
use crate::error::{Error, Kind, Result};
use crate::pg::backend::Notice;
use crate::sql::ast::{self, Isolation, Modes, Statement, StatementKind};
use crate::types::ids::ObjectId;
use std::sync::Arc;

/// A transaction of a session.
pub struct Block {
    pub transaction: Arc<Transaction>,
    /// It was begun by BEGIN.
    pub explicit: bool,
    pub failed: bool,
    /// The clock at its begin, µs.
    pub began: i64,
    modes: Modes,
    /// What ROLLBACK goes back to, and ROLLBACK TO, by savepoint.
    settings: Arc<Settings>,
    savepoints: Vec<Arc<Settings>>,
}

/// Statements that commit what stands before them in their message, and themselves: a block that nobody wrote must not keep a view from being built, or a name from
/// being free again.
fn commits_alone(kind: &StatementKind) -> bool {
    matches!(
        kind,
        StatementKind::CreateRelation(_)
            | StatementKind::CreateView(_)
            | StatementKind::CreateIndex(_)
            | StatementKind::CreateSink(_)
            | StatementKind::Drop(_)
            | StatementKind::Comment(_)
            | StatementKind::Rename(_)
            | StatementKind::CreateTableAs(_)
            | StatementKind::CreateSchema(_)
            | StatementKind::DropSchema(_)
            | StatementKind::Security(_)
            | StatementKind::DiscardTemporary
            | StatementKind::Flush
    )
}

impl ClientSession {
    pub(super) fn warn(&mut self, kind: Kind, message: &str) {
        self.notices.push(Notice::Message { severity: "WARNING", error: Arc::new(Error::new(kind, message)) });
    }

    fn open(&mut self, modes: Modes, explicit: bool) {
        let isolation =
            modes.isolation.or_else(|| Isolation::ALL.into_iter().find(|l| Some(l.name()) == self.settings.get("default_transaction_isolation").as_deref()));
        let isolation = isolation.unwrap_or(Isolation::ReadCommitted);
        let read_only = modes.read_only.unwrap_or_else(|| self.settings.is_on("default_transaction_read_only"));
        let transaction = Arc::new(Transaction::new(isolation, read_only));
        let began = self.engine.clock().now();
        self.block = Some(Block { transaction, explicit, failed: false, began, modes, settings: self.settings.clone(), savepoints: Vec::new() });
        self.show_modes();
    }

    /// `transaction_isolation` and `transaction_read_only` tell of the transaction under way.
    fn show_modes(&mut self) {
        let Some(block) = &self.block else { return };
        let (isolation, read_only) = (block.transaction.isolation().name(), block.transaction.is_read_only());
        Arc::make_mut(&mut self.settings).show_transaction(isolation, read_only);
    }

    /// `BEGIN`, `COMMIT` and their like. Gives the tag.
    pub async fn transaction(&mut self, statement: &ast::Transaction) -> Result<String> {
        match statement {
            ast::Transaction::Begin { modes, tag } => self.begin(*modes, tag),
            ast::Transaction::Commit { chain } => self.end(true, *chain).await,
            ast::Transaction::Rollback { chain } => self.end(false, *chain).await,
            ast::Transaction::Savepoint(name) => {
                let settings = self.settings.clone();
                let block = self.in_block("SAVEPOINT")?;
                block.check_not_failed()?;
                block.transaction.savepoint(name.clone());
                block.savepoints.push(settings);
                Ok("SAVEPOINT".into())
            }
            ast::Transaction::Release(name) => {
                let block = self.in_block("RELEASE SAVEPOINT")?;
                block.check_not_failed()?;
                let left = block.transaction.release(name)?;
                block.savepoints.truncate(left);
                Ok("RELEASE".into())
            }
            ast::Transaction::RollbackTo(name) => self.rollback_to(name).await,
            ast::Transaction::Set { modes, session } => self.set_modes(*modes, *session),
        }
    }

    fn begin(&mut self, modes: Modes, tag: &str) -> Result<String> {
        match &mut self.block {
            Some(block) if block.explicit => {
                block.check_not_failed()?;
                self.warn(Kind::ActiveTransaction, "there is already a transaction in progress");
            }
            // What the message did so far belongs to it.
            Some(block) => {
                block.explicit = true;
                block.modes = modes;
                block.transaction.set_modes(modes.isolation, modes.read_only)?;
                self.show_modes();
            }
            None => self.open(modes, true),
        }
        Ok(tag.to_owned())
    }

    fn in_block(&mut self, what: &str) -> Result<&mut Block> {
        let outside = || Error::new(Kind::NoActiveTransaction, format!("{what} can only be used in transaction blocks"));
        self.block.as_mut().filter(|b| b.explicit).ok_or_else(outside)
    }

    async fn rollback_to(&mut self, name: &str) -> Result<String> {
        let block = self.in_block("ROLLBACK TO SAVEPOINT")?;
        let (at, made) = block.transaction.rollback_to(name)?;
        block.savepoints.truncate(at + 1);
        block.failed = false;
        let settings = block.savepoints.get(at).cloned();
        self.undo(made).await?;
        self.settings_back(settings);
        Ok("ROLLBACK".into())
    }

    async fn end(&mut self, commit: bool, chain: bool) -> Result<String> {
        let tag = |commit: bool| if commit { "COMMIT" } else { "ROLLBACK" }.to_owned();
        if self.block.as_ref().is_none_or(|b| !b.explicit) {
            self.warn(Kind::NoActiveTransaction, "there is no transaction in progress");
        }
        let Some(block) = self.block.take() else { return Ok(tag(commit)) };
        let commit = commit && !block.failed;
        let (modes, explicit) = (block.modes, block.explicit);
        if commit {
            self.commit(block).await?
        } else {
            self.rollback(block).await?
        }
        if chain || !explicit {
            self.open(modes, explicit);
        }
        Ok(tag(commit))
    }

    async fn commit(&mut self, block: Block) -> Result<()> {
        let before = block.settings.clone();
        let Over { changes, made, dropped } = block.transaction.end();
        let done = async {
            check_droppable(&self.engine.catalog(), &dropped)?;
            if !changes.is_empty() || !made.is_empty() {
                self.commitment.commit()?;
                self.last_write = Some(self.engine.commit(&changes, &made.objects()).await?.epoch);
            }
            if !dropped.is_empty() {
                let catalog = self.engine.catalog();
                self.commitment.commit()?;
                self.engine.drop_objects(&catalog.with_dependants(&catalog.present(&dropped))).await?;
            }
            Ok(())
        };
        let done = done.await;
        if done.is_err() {
            self.settings_back(Some(before));
            self.undo(made).await?;
        }
        self.end_local();
        done
    }

    async fn rollback(&mut self, block: Block) -> Result<()> {
        let made = block.transaction.end().made;
        self.settings_back(Some(block.settings));
        self.end_local();
        self.undo(made).await
    }

    async fn undo(&self, made: Made) -> Result<()> {
        undo(self.engine.as_ref(), made).await
    }

    fn settings_back(&mut self, before: Option<Arc<Settings>>) {
        let Some(before) = before else { return };
        let now = std::mem::replace(&mut self.settings, before);
        self.tell_changes(&now);
    }

    /// What SET LOCAL said is over, and the transaction's own modes.
    fn end_local(&mut self) {
        if self.settings.has_local() {
            let now = self.settings.clone();
            Arc::make_mut(&mut self.settings).end_local();
            self.tell_changes(&now);
        }
    }

    pub(super) fn set_modes(&mut self, modes: Modes, session: bool) -> Result<String> {
        if session {
            let settings = Arc::make_mut(&mut self.settings);
            if let Some(isolation) = modes.isolation {
                settings.set("default_transaction_isolation", Some(isolation.name()))?;
            }
            if let Some(read_only) = modes.read_only {
                settings.set("default_transaction_read_only", Some(if read_only { "on" } else { "off" }))?;
            }
            return Ok("SET".into());
        }
        match &mut self.block {
            Some(block) => {
                block.check_not_failed()?;
                block.transaction.set_modes(modes.isolation, modes.read_only)?;
                self.show_modes();
            }
            None => self.warn(Kind::NoActiveTransaction, "SET TRANSACTION can only be used in transaction blocks"),
        }
        Ok("SET".into())
    }

    /// Before a statement that is not about transactions. Error: the block has failed (25P02).
    pub async fn enter(&mut self, statement: &Statement) -> Result<()> {
        self.check_block()?;
        let implicit = self.block.as_ref().is_some_and(|b| !b.explicit);
        if implicit && commits_alone(&statement.kind) { self.end_block().await } else { Ok(()) }
    }

    /// Error: the block has failed (25P02).
    pub fn check_block(&self) -> Result<()> {
        self.block.as_ref().map_or(Ok(()), Block::check_not_failed)
    }

    /// The statement has failed.
    pub fn fail_block(&mut self) {
        match &mut self.block {
            Some(block) if block.explicit => block.failed = true,
            // It holds no objects: CREATE commits alone in it.
            Some(_) => {
                let settings = self.block.take().map(|b| b.settings);
                self.settings_back(settings);
            }
            None => {}
        }
    }

    pub fn open_implicit(&mut self) {
        if self.block.is_none() {
            self.open(Modes::default(), false);
        }
    }

    /// Commits a block that no BEGIN opened.
    pub async fn end_block(&mut self) -> Result<()> {
        match self.block.take_if(|b| !b.explicit) {
            Some(block) => self.commit(block).await,
            None => Ok(()),
        }
    }
}

/// Others may have made something over it meanwhile. Error: they have (2BP01).
fn check_droppable(catalog: &Catalog, dropped: &[ObjectId]) -> Result<()> {
    let there = catalog.present(dropped);
    catalog.check_droppable(&there)?;
    for schema in there.iter().filter_map(|id| catalog.get(*id)).filter(|o| matches!(o.body, Body::Schema)) {
        if let Some(object) = catalog.objects().find(|o| o.schema == schema.name) {
            let name = &schema.name;
            return Err(Error::new(Kind::DependentObjectsExist, format!("cannot drop schema {name} because other objects depend on it"))
                .with_detail(format!("{} {name}.{} depends on schema {name}", object.kind_name(), object.name))
                .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
        }
    }
    Ok(())
}

impl Block {
    fn check_not_failed(&self) -> Result<()> {
        if !self.failed {
            return Ok(());
        }
        Err(Error::new(Kind::InFailedTransaction, "current transaction is aborted, commands ignored until end of transaction block"))
    }
}
