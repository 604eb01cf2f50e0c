//! The running system as statements see it: the catalog, published epochs, and requests to the scheduler and the writer.

use super::audit::Audit;
use super::engine_api::{Engine, Parts, Resolve, Secure, Snapshot, When, Written};
use super::listings;
use super::sample::{self, Sample};
use super::secrets::Secrets;
use super::shared::{Command, Shared};
use super::subscriptions::Wanted;
use super::subscriptions::stream::Subscription;
use super::transaction::Changes;
use super::writer::{Writer, shutting_down};
use crate::catalog::catalog::Catalog;
use crate::catalog::object::Object;
use crate::error::{Error, Kind, Result};
use crate::plan::{Relation, ViewPlan};
use crate::state::run::Run;
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, TableId};
use crate::types::time::{Clock, Epoch};
use crate::views::path::Paths;
use crate::views::provider::RowsTable;
use crate::views::published::{Indexes, Kept, KeptEpochs, Published};
use crate::views::stored::RelationRows;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use crossbeam_channel::Sender;
use datafusion::catalog::TableProvider;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

pub struct NodeEngine {
    pub shared: Arc<Shared>,
    pub commands: Sender<Command>,
    pub writer: Writer,
}

/// How long a statement waits for an isolated view to come to an epoch that it can be read at: after a start, or when others are read for the first time with it.
const ISOLATED_PATIENCE: Duration = Duration::from_secs(10);

/// One epoch, as a statement reads it.
struct EpochSnapshot {
    published: Arc<Published>,
    /// With the rows of isolated views, where the statement reads some.
    kept: Option<Arc<Kept>>,
    shared: Arc<Shared>,
}

#[async_trait]
impl Snapshot for EpochSnapshot {
    fn epoch(&self) -> Epoch {
        self.published.epoch
    }

    fn provider(&self, relation: ObjectId) -> Result<Arc<dyn TableProvider>> {
        if let Some((rows, snapshot)) = self.kept.as_ref().and_then(|kept| kept.isolated.get(&relation)) {
            return Ok(Arc::new(RowsTable { paths: Paths { snapshot: snapshot.clone(), relation: rows.clone(), indexes: Indexes::default() } }));
        }
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

    fn run_of(&self, table: ObjectId, delta: &Delta, appended: u64) -> Result<Option<Run>> {
        let rows = self.published.relations.get(&table).ok_or_else(|| self.unreadable(table))?;
        rows.change(delta, appended).map(Some)
    }

    fn with_changes(&self, changes: &Changes) -> Result<Arc<dyn Snapshot>> {
        let published = Arc::new(self.published.with_changes(&changes.runs()));
        Ok(Arc::new(EpochSnapshot { published, kept: self.kept.clone(), shared: self.shared.clone() }))
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
            None if object.is_isolated() => {
                Error::not_supported(format!("the isolated materialized view \"{}\" cannot be read by a statement that changes rows", object.name))
                    .with_detail("It may show an older epoch than the one that is changed.")
                    .with_hint("read it with SELECT and write what it gave, or create the view without isolated = true")
            }
            None => Error::new(Kind::NotReady, format!("{} \"{}\" is not ready yet", object.kind_name(), object.name)),
        }
    }
}

impl NodeEngine {
    fn current(&self) -> Arc<dyn Snapshot> {
        Arc::new(EpochSnapshot { published: self.shared.published(), kept: None, shared: self.shared.clone() })
    }

    /// The newest epoch that all of `views`, which are isolated, have come to; what else is read (`reads`) is there as well, if it is there now.
    async fn isolated(&self, wait_for: Option<Epoch>, views: &[ObjectId], reads: &[ObjectId]) -> Result<Arc<dyn Snapshot>> {
        let now = self.shared.published();
        let others: Vec<ObjectId> = reads.iter().copied().filter(|r| now.is_ready(*r)).collect();
        let has = |kept: &Kept| wait_for.is_none_or(|epoch| kept.published.epoch >= epoch) && others.iter().all(|r| kept.published.is_ready(*r));
        let fits = |all: &KeptEpochs| all.newest_of(views).filter(|kept| has(kept)).cloned();
        let gone = |all: &KeptEpochs| views.iter().any(|v| !all.views.contains(v));
        let mut changes = self.shared.kept_changes();
        let found = changes.wait_for(|all| fits(all).is_some() || gone(all));
        let found = match wait_for {
            // A session reads what it wrote, however long that takes.
            Some(_) => found.await,
            None => tokio::time::timeout(ISOLATED_PATIENCE, found).await.map_err(|_| self.apart(views))?,
        };
        let kept = fits(&found.map_err(|_| shutting_down())?.clone());
        Ok(match kept {
            Some(kept) => Arc::new(EpochSnapshot { published: kept.published.clone(), kept: Some(kept), shared: self.shared.clone() }),
            None => self.current(),
        })
    }

    /// There is no epoch that all of these views can be read at.
    fn apart(&self, views: &[ObjectId]) -> Error {
        let (catalog, kept) = (self.shared.catalog.load(), self.shared.kept());
        let shown = |view: &ObjectId| {
            let name = catalog.get(*view).map_or("", |o| o.name.as_str());
            kept.newest_of(&[*view])
                .map_or(format!("\"{name}\" has not caught up since the start of the server"), |k| format!("\"{name}\" shows epoch {}", k.published.epoch))
        };
        Error::new(Kind::NotReady, "there is no epoch yet that everything in this statement has come to")
            .with_detail(views.iter().map(shown).collect::<Vec<_>>().join("\n"))
            .with_hint("see lag_seconds in tidewater.views; try again, or read them one by one")
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

    async fn snapshot(&self, wait_for: Option<Epoch>, reads: &[ObjectId]) -> Result<Arc<dyn Snapshot>> {
        let kept = self.shared.kept();
        let isolated: Vec<ObjectId> = reads.iter().copied().filter(|r| kept.views.contains(r)).collect();
        if !isolated.is_empty() {
            return self.isolated(wait_for, &isolated, reads).await;
        }
        if let Some(epoch) = wait_for {
            let mut epochs = self.shared.epochs();
            epochs.wait_for(|now| *now >= epoch).await.map_err(|_| shutting_down())?;
        }
        Ok(self.current())
    }

    async fn create(&self, object: Object, plan: Option<ViewPlan>, answer: When) -> Result<()> {
        self.ask(|reply| Command::Create { object: Box::new(object), plan: plan.map(Box::new), answer, reply }).await
    }

    async fn alter(&self, objects: Vec<Object>) -> Result<()> {
        self.ask(|reply| Command::Alter { objects, reply }).await
    }

    async fn secure(&self, change: Secure) -> Result<Vec<Error>> {
        self.ask(|reply| Command::Secure { change, reply }).await
    }

    fn secrets(&self) -> &Secrets {
        &self.shared.secrets
    }

    fn audit(&self) -> &Audit {
        &self.shared.audit
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

    async fn load(&self, table: ObjectId, parts: Parts) -> Result<Written> {
        self.writer.load(table, || self.current(), parts).await
    }

    async fn commit(&self, changes: &Changes, objects: &[ObjectId]) -> Result<Written> {
        self.writer.commit(changes, objects).await
    }

    async fn subscribe(&self, wanted: Wanted) -> Result<Subscription> {
        let now = EpochSnapshot { published: self.shared.published(), kept: None, shared: self.shared.clone() };
        if !now.published.is_ready(wanted.relation) {
            return Err(now.unreadable(wanted.relation));
        }
        self.ask(|reply| Command::Subscribe { wanted, reply }).await
    }

    fn let_go(&self, ids: Vec<ObjectId>) {
        // Where no scheduler is left, a start takes away what nobody committed.
        let _ = self.commands.send(Command::Drop { ids, reply: oneshot::channel().0 });
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
