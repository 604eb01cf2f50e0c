//! What statements ask of the running system. The engine implements it; tests of statements put a small one in its
//! place. Statements never see threads, cuts or state: they bind, check and resolve, the engine runs.

use crate::catalog::catalog::Catalog;
use crate::catalog::object::Object;
use crate::catalog::roles::Roles;
use crate::error::{Error, Result};
use crate::node::audit::Audit;
use crate::node::sample::Sample;
use crate::node::secrets::Secrets;
use crate::node::subscriptions::Wanted;
use crate::node::subscriptions::stream::Subscription;
use crate::node::transaction::Changes;
use crate::plan::{Relation, ViewPlan};
use crate::state::run::Run;
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, TableId};
use crate::types::time::{Clock, Epoch};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::TableProvider;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::collections::BTreeMap;
use std::sync::Arc;

/// All relations at one epoch; reading from it never waits for, and never sees, later epochs.
#[async_trait]
pub trait Snapshot: Send + Sync {
    fn epoch(&self) -> Epoch;

    /// The rows of a table or materialized view, columns as in the catalog. Error: `NotReady` (55000) with the progress while it is backfilled.
    fn provider(&self, relation: ObjectId) -> Result<Arc<dyn TableProvider>>;

    /// Rows of a table whose primary key is one of `keys` (columns: the key's, in its order). A point look-up, not a scan.
    async fn rows_by_key(&self, table: ObjectId, keys: &RecordBatch) -> Result<RecordBatch>;

    /// A netted change of a table as readers take it in; `appended`: rows of the transaction's changes before it. `None`: [`Snapshot::with_changes`] needs none.
    fn run_of(&self, table: ObjectId, delta: &Delta, appended: u64) -> Result<Option<Run>>;

    /// The same epoch with a transaction's own changes.
    fn with_changes(&self, changes: &Changes) -> Result<Arc<dyn Snapshot>>;
}

/// Turns a DML statement into rows against the newest state of its table: retracted rows at -1, new ones at +1.
pub type Resolve = Box<dyn FnOnce(Arc<dyn Snapshot>) -> BoxFuture<'static, Result<Delta>> + Send>;

/// The same in parts, one after the other; each part's rows are new.
pub type Parts = Box<dyn FnOnce(Arc<dyn Snapshot>) -> BoxStream<'static, Result<Delta>> + Send>;

/// Decides a change of roles and grants. Error: it cannot be, and nothing is changed.
pub type Secure = Box<dyn FnOnce(&Catalog) -> Result<Secured> + Send>;

/// What is to be true from now on.
#[derive(Default)]
pub struct Secured {
    /// `None`: they stay as they are.
    pub roles: Option<Roles>,
    /// In the place of those with their ids: owners and grants are others.
    pub objects: Vec<Object>,
    pub notices: Vec<Error>,
}

/// A write that is durable and visible, in views too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The first epoch that shows it. The session's next read waits for it.
    pub epoch: Epoch,
}

/// When CREATE of a materialized view is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// When its history is in.
    Built,
    /// When it is certain that it will be: `background_ddl`.
    Begun,
}

/// The running system.
#[async_trait]
pub trait Engine: Send + Sync {
    /// The newest catalog; immutable, swapped by DDL.
    fn catalog(&self) -> Arc<Catalog>;

    /// What the planner knows of a relation (source, table or materialized view).
    fn relation(&self, id: ObjectId) -> Option<Arc<Relation>>;

    /// The newest epoch that all of `reads` show; with `wait_for`, the first published one at or after it. Error: `NotReady`, if isolated views have come to none together.
    async fn snapshot(&self, wait_for: Option<Epoch>, reads: &[ObjectId]) -> Result<Arc<dyn Snapshot>>;

    /// Adds an object whose id came from [`Engine::allocate_object`]; returns when it is durable and usable (a view: backfilled, unless `answer` says otherwise).
    /// `plan`: of views and tables. Errors: the name was taken meanwhile (42P07), something it reads is gone (42P01), or is being built (55000).
    /// Dropping the future gives the object up.
    async fn create(&self, object: Object, plan: Option<ViewPlan>, answer: When) -> Result<()>;

    /// Puts objects, all or none, in the place of those that have their ids: names, comments and the text of queries may be others. Error: a name is taken (42P07), or an object is gone.
    async fn alter(&self, objects: Vec<Object>) -> Result<()>;

    /// Decides a change of roles and grants on the newest catalog, makes it durable, and returns what is to be remarked. Such changes come one after the other.
    async fn secure(&self, change: Secure) -> Result<Vec<Error>>;

    /// Values of secrets.
    fn secrets(&self) -> &Secrets;

    /// The options of a connector, with the values of the secrets that they name.
    fn revealed(&self, options: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>> {
        self.secrets().revealed(self.catalog().roles(), options)
    }

    fn audit(&self) -> &Audit;

    /// Returns when nothing is left of objects that were given up before the call: their names are free.
    async fn settle(&self) -> Result<()>;

    /// Removes objects and their state; `ids` holds everything that depends on them as well, readers first.
    async fn drop_objects(&self, ids: &[ObjectId]) -> Result<()>;

    /// Runs `resolve` in the serial writer against the newest state, applies what it gives as one epoch, and returns when that is durable and visible.
    /// An empty delta writes nothing. An error of `resolve` writes nothing and is handed back.
    async fn write(&self, table: ObjectId, resolve: Resolve) -> Result<Written>;

    /// [`Engine::write`] of more than may be in memory at once: readers see all parts at once, subscribers and sinks get them over several epochs.
    async fn load(&self, table: ObjectId, parts: Parts) -> Result<Written>;

    /// Applies a transaction: all its changes as one epoch, durable together, and `objects`, which it created or altered, are no longer marked as its own.
    /// Error: rows that the changes were made from are others by now (40001); then nothing is written.
    async fn commit(&self, changes: &Changes, objects: &[ObjectId]) -> Result<Written>;

    /// Begins to follow a relation. Errors: it is being built (55000), or was dropped meanwhile; what came behind an epoch is not known any more (72000).
    async fn subscribe(&self, wanted: Wanted) -> Result<Subscription>;

    /// Drops objects without anybody who waits for it.
    fn let_go(&self, ids: Vec<ObjectId>);

    /// Returns when all input accepted so far is visible and durable (`FLUSH`).
    async fn flush(&self) -> Result<()>;

    /// A number for a new object, never used again.
    fn allocate_object(&self) -> Result<ObjectId>;

    /// A number for a new state table, never used again.
    fn allocate_table(&self) -> Result<TableId>;

    /// Relations of the schema `tidewater`, by name: sources, dead_letters, late_rows, view_errors, …
    fn system_relations(&self) -> Vec<(&'static str, SchemaRef)>;

    /// The rows of one of them, now.
    fn system_rows(&self, name: &str) -> Result<RecordBatch>;

    /// About `max` of the first rows of a source, table or view, for estimates.
    async fn sample(&self, relation: ObjectId, max: usize) -> Result<Sample>;

    fn clock(&self) -> Arc<dyn Clock>;
}
