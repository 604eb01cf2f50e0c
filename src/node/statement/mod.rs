//! Statements run here: one file per statement. Each binds against the catalog of this moment, checks, and asks the
//! engine for what it needs; none knows how the engine works.

mod access;
mod assign;
mod atomic;
mod change;
mod comment;
mod conflict;
mod copied;
mod copy;
mod create_index;
mod create_relation;
mod create_sink;
mod create_table_as;
mod create_view;
mod drop;
mod explain;
mod explain_state;
mod grants;
mod insert;
mod known;
pub mod lookup;
mod maintenance;
mod rename;
pub mod replan;
mod returning;
mod roles;
mod schema;
mod scope;
mod secrets;
mod select;
mod show;
mod subscribe;
mod target;
pub mod temporary;
#[cfg(test)]
mod tests;

pub use assign::values_text;
pub use copied::Copied;
pub use select::{Results, Shape, origin, values};

use crate::catalog::access::Access;
use crate::catalog::object::Object;
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::{Engine, Parts, Resolve, Snapshot, When};
use crate::node::pool::Pool;
use crate::node::sessions::Sessions;
use crate::node::settings::Settings;
use crate::node::transaction::Transaction;
use crate::pg::backend::Commitment;
use crate::pg::prepared::Statements;
use crate::plan::ViewPlan;
use crate::sql::ast::{Set, Statement, StatementKind};
use crate::sql::bind::Binder;
use crate::types::copy::CopyOptions;
use crate::types::ids::{ObjectId, TableId};
use crate::types::text::{TextStyle, Zone};
use crate::types::time::Epoch;
use arrow::datatypes::FieldRef;
use datafusion::common::ScalarValue;
use futures::{StreamExt, TryStreamExt, future, stream};
use parking_lot::Mutex;
use std::sync::{Arc, OnceLock};

/// What a statement runs with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    pub engine: Arc<dyn Engine>,
    pub binder: Arc<Binder>,
    pub pool: Arc<Pool>,
    pub settings: Arc<Settings>,
    /// The session's last write: what it reads must show it.
    pub wait_for: Option<Epoch>,
    /// The statement's time, µs.
    pub now: i64,
    /// The transaction that it is part of; `None`: it is one by itself.
    pub transaction: Option<Arc<Transaction>>,
    pub read_only: bool,
    /// The session that runs it, and all others.
    pub sessions: Arc<Sessions>,
    pub pid: i32,
    /// The schemas of `search_path`, once somebody has asked.
    pub path: Arc<OnceLock<Vec<String>>>,
    /// What `set_config` asks for, done behind the statement.
    pub sets: Arc<Mutex<Vec<Set>>>,
    /// Asked before something is made true that cannot be taken back.
    pub commitment: Arc<Commitment>,
    /// Types of the statement's parameters, as far as they are known.
    pub parameter_types: Arc<[Option<FieldRef>]>,
    /// What the session has prepared.
    pub statements: Arc<Statements>,
}

impl Context {
    /// How the session reads and writes values.
    pub fn style(&self) -> TextStyle {
        let zone = self.settings.get("TimeZone").and_then(|name| Zone::parse(&name).ok());
        TextStyle { timezone: zone.unwrap_or(Zone::Utc) }
    }

    /// What the statement reads. `reads`: the relations.
    pub async fn snapshot(&self, reads: &[ObjectId]) -> Result<Arc<dyn Snapshot>> {
        match &self.transaction {
            Some(transaction) => transaction.snapshot(self.engine.as_ref(), self.wait_for, reads).await,
            None => self.engine.snapshot(self.wait_for, reads).await,
        }
    }

    /// See [`Engine::write`]; in a transaction the change waits for its end. Gives the epoch that shows it.
    async fn write(&self, verb: &str, table: &Object, resolve: Resolve) -> Result<Option<Epoch>> {
        self.check_writable(verb)?;
        let Some(transaction) = &self.transaction else {
            let commitment = self.commitment.clone();
            let committed: Resolve = Box::new(move |snapshot| {
                Box::pin(async move {
                    let delta = resolve(snapshot).await?;
                    commitment.commit()?;
                    Ok(delta)
                })
            });
            return Ok(Some(self.engine.write(table.id, committed).await?.epoch));
        };
        transaction.check_there(table)?;
        transaction.write(self.engine.as_ref(), self.wait_for, table.id, resolve).await?;
        Ok(None)
    }

    /// See [`Engine::load`]; in no transaction.
    async fn load(&self, table: &Object, parts: Parts) -> Result<Option<Epoch>> {
        let commitment = self.commitment.clone();
        let committed: Parts = Box::new(move |snapshot| {
            let end = stream::iter([()]).map(move |()| commitment.commit()).try_filter_map(|()| future::ready(Ok(None)));
            parts(snapshot).chain(end).boxed()
        });
        Ok(Some(self.engine.load(table.id, committed).await?.epoch))
    }

    /// See [`Engine::create`]; the object of a transaction is taken away again if it does not commit.
    async fn create(&self, object: Object, plan: Option<ViewPlan>, answer: When) -> Result<()> {
        // An index is its table's owner's.
        let owner = object.index().and_then(|index| self.engine.catalog().get(index.on).map(|table| table.access.owner));
        let object = Object { access: Access::of(owner.unwrap_or(self.role())), ..object };
        let kind = object.kind_name().to_uppercase();
        self.check_writable(&format!("CREATE {kind}"))?;
        temporary::check_lasting(&self.engine.catalog(), &object)?;
        let uncommitted = self.transaction.is_some() || object.is_temporary();
        let id = object.id;
        self.engine.create(Object { uncommitted, ..object }, plan, answer).await?;
        self.transaction.iter().for_each(|transaction| transaction.created(id));
        Ok(())
    }

    /// See [`Engine::drop_objects`]; in a transaction they go when it commits, and are not found until then.
    async fn drop_objects(&self, ids: &[ObjectId]) -> Result<()> {
        self.check_writable("DROP")?;
        let Some(transaction) = &self.transaction else { return self.engine.drop_objects(ids).await };
        let catalog = self.engine.catalog();
        let half_made = |id: &ObjectId| transaction.has_created(*id) && catalog.get(*id).is_some_and(|o| o.is_building());
        let (now, later): (Vec<ObjectId>, Vec<ObjectId>) = ids.iter().partition(|id| half_made(id));
        if !now.is_empty() {
            self.engine.drop_objects(&now).await?;
        }
        // Schemas keep their names until then.
        let named: Vec<ObjectId> = later.iter().copied().filter(|id| catalog.get(*id).is_some_and(|o| !o.schema.is_empty() && !o.pending.dropped)).collect();
        if !named.is_empty() {
            self.alter(rename::set_aside(self, &named)?).await?;
        }
        transaction.dropped(&later);
        Ok(())
    }

    /// See [`Engine::alter`]; what a transaction alters is as it was again if it does not commit.
    async fn alter(&self, objects: Vec<Object>) -> Result<()> {
        self.check_writable("ALTER")?;
        let catalog = self.engine.catalog();
        let before: Vec<Arc<Object>> = objects.iter().filter_map(|o| catalog.get(o.id).cloned()).collect();
        let is_own = |id: ObjectId| self.transaction.as_ref().is_some_and(|t| t.has_altered(id));
        let marked = |object: Object| match catalog.get(object.id) {
            Some(now) => rename::marked(object, now, is_own(now.id), self.transaction.is_some()),
            None => Ok(object),
        };
        self.engine.alter(objects.into_iter().map(marked).collect::<Result<_>>()?).await?;
        self.transaction.iter().for_each(|transaction| before.iter().for_each(|object| transaction.altered(object.clone())));
        Ok(())
    }

    fn check_writable(&self, verb: &str) -> Result<()> {
        if !self.read_only {
            return Ok(());
        }
        Err(Error::new(Kind::ReadOnlyTransaction, format!("cannot execute {verb} in a read-only transaction")))
    }
}

/// What a statement gives.
pub struct Outcome {
    pub answer: Answer,
    pub notices: Vec<Error>,
    /// The epoch that shows what it wrote.
    pub written: Option<Epoch>,
}

pub enum Answer {
    Rows(Results),
    /// The complete tag.
    Command(String),
    CopyOut {
        results: Results,
        options: CopyOptions,
    },
    /// Rows of these columns are wanted for `rows`.
    CopyIn {
        relation: String,
        columns: Vec<FieldRef>,
        options: CopyOptions,
        rows: Box<Copied>,
    },
}

impl Outcome {
    fn answer(answer: Answer) -> Outcome {
        Outcome { answer, notices: Vec::new(), written: None }
    }

    fn command(tag: impl Into<String>) -> Outcome {
        Outcome::answer(Answer::Command(tag.into()))
    }

    fn rows(results: Results) -> Outcome {
        Outcome::answer(Answer::Rows(results))
    }

    fn notice(mut self, notice: Error) -> Outcome {
        self.notices.push(notice);
        self
    }
}

/// Numbers of state tables for a planner, which cannot fail on its own: [`StateTables::finish`] tells afterwards.
struct StateTables<'a> {
    engine: &'a dyn Engine,
    handed: Vec<TableId>,
    failed: Option<Error>,
}

impl<'a> StateTables<'a> {
    fn new(context: &'a Context) -> Self {
        StateTables { engine: context.engine.as_ref(), handed: Vec::new(), failed: None }
    }

    fn next(&mut self) -> TableId {
        let id = self.engine.allocate_table().unwrap_or_else(|e| {
            self.failed = Some(e);
            TableId(0)
        });
        self.handed.push(id);
        id
    }

    fn finish(self) -> Result<Vec<TableId>> {
        self.failed.map_or(Ok(self.handed), Err)
    }
}

/// Runs one statement. One arm per statement; those that only change the session never come here.
pub async fn execute(context: Context, statement: Arc<Statement>, parameters: Vec<ScalarValue>) -> Result<Outcome> {
    match &statement.kind {
        StatementKind::Query(query) => select::execute(&context, &statement, query, &parameters).await,
        StatementKind::Insert(insert) => insert::execute(&context, &statement, insert, &parameters).await,
        StatementKind::Update(update) => change::update(&context, &statement, update, &parameters).await,
        StatementKind::Delete(delete) => change::delete(&context, &statement, delete, &parameters).await,
        StatementKind::CreateRelation(create) => without_secrets(&context, create_relation::execute(&context, &statement, create).await),
        StatementKind::CreateView(create) => create_view::execute(&context, &statement, create).await,
        StatementKind::CreateIndex(create) => create_index::execute(&context, &statement, create).await,
        StatementKind::CreateSink(create) => without_secrets(&context, create_sink::execute(&context, &statement, create).await),
        StatementKind::CreateTableAs(create) => create_table_as::execute(&context, &statement, create).await,
        StatementKind::Drop(drop) => drop::execute(&context, drop).await,
        StatementKind::Rename(rename) => rename::execute(&context, rename).await,
        StatementKind::Truncate(names) => maintenance::truncate(&context, names).await,
        StatementKind::Refresh(name) => maintenance::refresh(&context, name).await,
        StatementKind::DiscardTemporary => {
            let catalog = context.engine.catalog();
            context.drop_objects(&catalog.with_dependants(&temporary::tables(&catalog, context.pid))).await?;
            Ok(Outcome::command("DISCARD TEMP"))
        }
        StatementKind::CreateSchema(create) => schema::create(&context, &statement, create).await,
        StatementKind::DropSchema(drop) => schema::drop(&context, drop).await,
        StatementKind::Explain(inner) => explain::execute(&context, inner).await,
        StatementKind::ExplainState(inner) => explain_state::execute(&context, inner).await,
        StatementKind::Show(show) => show::execute(&context, show),
        StatementKind::Describe(name) => show::columns(&context, name),
        StatementKind::Flush => {
            context.engine.flush().await?;
            Ok(Outcome::command("FLUSH"))
        }
        StatementKind::Comment(comment) => comment::execute(&context, comment).await,
        StatementKind::Copy(copy) => copy::execute(&context, &statement, copy).await,
        StatementKind::Security(security) => roles::execute(&context, security).await,
        StatementKind::Subscribe(subscribe) => subscribe::execute(&context, &statement, subscribe).await,
        _ => Err(Error::internal("a statement of the session came to the engine")),
    }
}

/// What a connector says of its options may repeat the value of a secret that is one.
fn without_secrets(context: &Context, outcome: Result<Outcome>) -> Result<Outcome> {
    outcome.map_err(|e| e.with_texts(|text| context.engine.secrets().hidden(text)))
}

/// Types of parameters and result columns, without running anything.
pub async fn describe(context: Context, statement: Arc<Statement>, declared: Vec<Option<FieldRef>>) -> Result<Shape> {
    match &statement.kind {
        StatementKind::Query(query) => select::describe(&context, &statement, query, &declared),
        StatementKind::Insert(insert) => insert::describe(&context, &statement, insert, &declared),
        StatementKind::Update(update) => change::describe_update(&context, &statement, update, &declared),
        StatementKind::Delete(delete) => change::describe_delete(&context, &statement, delete, &declared),
        StatementKind::Explain(_) => Ok(Shape::fixed(explain::shape())),
        StatementKind::ExplainState(_) => Ok(Shape::fixed(explain_state::shape())),
        StatementKind::Show(show) => Ok(Shape::fixed(show::shape(show))),
        StatementKind::Describe(_) => Ok(Shape::fixed(show::column_shape())),
        StatementKind::Subscribe(subscribe) => subscribe::describe(&context, &statement, subscribe),
        _ => Ok(Shape::default()),
    }
}
