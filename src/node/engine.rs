//! The running system as statements see it: the catalog, published epochs, and requests to the scheduler and the writer.

use super::engine_api::{Engine, Resolve, Snapshot, When, Written};
use super::listings;
use super::sample::{self, Sample};
use super::shared::{Command, Shared};
use super::writer::{Writer, shutting_down};
use crate::catalog::catalog::Catalog;
use crate::catalog::object::Object;
use crate::error::{Error, Kind, Result};
use crate::plan::{Relation, ViewPlan};
use crate::types::ids::{ObjectId, TableId};
use crate::types::time::{Clock, Epoch};
use crate::views::path::Paths;
use crate::views::provider::RowsTable;
use crate::views::published::Published;
use crate::views::stored::RelationRows;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use crossbeam_channel::Sender;
use datafusion::catalog::TableProvider;
use std::sync::Arc;
use tokio::sync::oneshot;

pub struct NodeEngine {
    pub shared: Arc<Shared>,
    pub commands: Sender<Command>,
    pub writer: Writer,
}

/// One epoch, as a statement reads it.
struct EpochSnapshot {
    published: Arc<Published>,
    shared: Arc<Shared>,
}

#[async_trait]
impl Snapshot for EpochSnapshot {
    fn epoch(&self) -> Epoch {
        self.published.epoch
    }

    fn provider(&self, relation: ObjectId) -> Result<Arc<dyn TableProvider>> {
        let ready = self.published.relations.get(&relation).filter(|r| r.ready);
        match ready {
            Some(rows) => Ok(Arc::new(RowsTable { paths: self.paths(relation, rows) })),
            None => Err(self.unreadable(relation)),
        }
    }

    async fn rows_by_key(&self, table: ObjectId, keys: &RecordBatch) -> Result<RecordBatch> {
        let rows = self.published.relations.get(&table).ok_or_else(|| self.unreadable(table))?;
        rows.by_key(self.published.snapshot.as_ref(), keys)
    }
}

impl EpochSnapshot {
    fn paths(&self, relation: ObjectId, rows: &RelationRows) -> Paths {
        Paths { snapshot: self.published.snapshot.clone(), relation: rows.clone(), indexes: self.published.indexes_on(relation) }
    }

    fn unreadable(&self, relation: ObjectId) -> Error {
        let catalog = self.shared.catalog.load();
        let Some(object) = catalog.get(relation) else {
            return Error::new(Kind::UndefinedTable, format!("relation with OID {relation} does not exist"));
        };
        match self.shared.system.building().get(&relation) {
            Some(progress) => Error::new(Kind::NotReady, format!("materialized view \"{}\" is still being built", object.name))
                .with_detail(progress.to_string())
                .with_hint("see tidewater.jobs"),
            None if matches!(object.body, crate::catalog::object::Body::Source(_)) => {
                Error::new(Kind::WrongObjectType, format!("source \"{}\" keeps no rows that could be read", object.name))
                    .with_hint(format!("create a materialized view over it: CREATE MATERIALIZED VIEW v AS SELECT * FROM {}", object.name))
            }
            None => Error::new(Kind::NotReady, format!("{} \"{}\" is not ready yet", object.kind_name(), object.name)),
        }
    }
}

impl NodeEngine {
    fn current(&self) -> Arc<dyn Snapshot> {
        Arc::new(EpochSnapshot { published: self.shared.published(), shared: self.shared.clone() })
    }

    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<Result<T>>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).map_err(|_| shutting_down())?;
        answer.await.map_err(|_| shutting_down())?
    }

    /// A clean checkpoint, then nothing runs any more.
    pub async fn stop(&self) -> Result<()> {
        self.ask(|reply| Command::Stop { reply }).await
    }
}

#[async_trait]
impl Engine for NodeEngine {
    fn catalog(&self) -> Arc<Catalog> {
        self.shared.catalog.load_full()
    }

    fn relation(&self, id: ObjectId) -> Option<Arc<Relation>> {
        self.shared.known.load().get(&id).cloned()
    }

    async fn snapshot(&self, wait_for: Option<Epoch>) -> Result<Arc<dyn Snapshot>> {
        if let Some(epoch) = wait_for {
            let mut epochs = self.shared.epochs();
            epochs.wait_for(|now| *now >= epoch).await.map_err(|_| shutting_down())?;
        }
        Ok(self.current())
    }

    async fn create(&self, object: Object, plan: Option<ViewPlan>, answer: When) -> Result<()> {
        self.ask(|reply| Command::Create { object: Box::new(object), plan: plan.map(Box::new), answer, reply }).await
    }

    async fn settle(&self) -> Result<()> {
        self.ask(|reply| Command::Settle { reply }).await
    }

    async fn drop_objects(&self, ids: &[ObjectId]) -> Result<()> {
        self.ask(|reply| Command::Drop { ids: ids.to_vec(), reply }).await
    }

    async fn write(&self, table: ObjectId, resolve: Resolve) -> Result<Written> {
        self.writer.write(table, || self.current(), resolve).await
    }

    async fn flush(&self) -> Result<()> {
        self.ask(|reply| Command::Flush { reply }).await
    }

    fn allocate_object(&self) -> Result<ObjectId> {
        self.shared.allocate_object()
    }

    fn allocate_table(&self) -> Result<TableId> {
        self.shared.allocate_table()
    }

    fn system_relations(&self) -> Vec<(&'static str, SchemaRef)> {
        listings::all().into_iter().map(|l| (l.name, l.schema)).collect()
    }

    fn system_rows(&self, name: &str) -> Result<RecordBatch> {
        listings::rows(name, &self.shared)
    }

    async fn sample(&self, relation: ObjectId, max: usize) -> Result<Sample> {
        let shared = self.shared.clone();
        let sampled = tokio::task::spawn_blocking(move || sample::sample(&shared, relation, max)).await;
        sampled.map_err(|e| Error::internal(format!("the sample failed: {e}")))?
    }

    fn clock(&self) -> Arc<dyn Clock> {
        self.shared.clock.clone()
    }
}
