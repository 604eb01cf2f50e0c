//! Sessions: what the wire asks for, in terms of statements. A session keeps its settings, the epoch of its last write (so
//! that it reads what it wrote), its transaction (`blocks.rs`), and notices; everything else is the statement's.

use super::audit::Event;
use super::blocks::Block;
use super::config::Limits;
use super::engine_api::Engine;
use super::identity::{Door, Identity, role_of};
use super::pool::{Pool, Pools};
use super::sessions::{Place, Sessions, State};
use super::settings::{Settings, boolean};
use super::statement::lookup::{Lookup, Reach};
use super::statement::{self, Answer, Context, Copied, Shape, temporary};
use super::transaction::undo;
use crate::catalog::catalog::DATABASE;
use crate::catalog::roles::OWNER_NAME;
use crate::error::{Error, Kind, Result};
use crate::pg::backend::{Admission, Backend, Command, Commitment, Description, Execution, Notice, Origin, Parameter, Parsed, Peer, ResultColumn, Session};
use crate::pg::prepared::Statements;
use crate::pg::types::{field_of, oid_of};
use crate::plan::arithmetic::CheckedArithmetic;
use crate::plan::optimize::with_sound_rules;
use crate::sql::ast::{Isolation, Modes, ROLE, SESSION_AUTHORIZATION, Set, Statement, StatementKind};
use crate::sql::bind::Binder;
use crate::sql::{parse, style};
use crate::types::time::Epoch;
use arrow::array::RecordBatch;
use arrow::datatypes::FieldRef;
use async_trait::async_trait;
use datafusion::common::ScalarValue;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::optimizer::Optimizer;
use futures::StreamExt;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::Arc;

/// A binder with the rules of the house. `partitions`: threads that one query may use.
pub fn binder(partitions: usize, runtime: Arc<RuntimeEnv>) -> Result<Binder> {
    let optimizer = Optimizer::with_rules(with_sound_rules(Optimizer::new().rules));
    Binder::new(vec![Arc::new(CheckedArithmetic)], optimizer, runtime, partitions)
}

/// What readers' queries share: `limits.reader_bytes` of memory. What can (sorts, groups) goes to files in `limits.spill` when its fair share is used up;
/// what cannot (hash joins) ends alone, with 53200.
pub fn runtime(limits: &Limits) -> Result<Arc<RuntimeEnv>> {
    let pool = TrackConsumersPool::new(FairSpillPool::new(limits.reader_bytes), LARGEST_TOLD);
    let mode = limits.spill.as_ref().map_or(DiskManagerMode::OsTmpDirectory, |folder| DiskManagerMode::Directories(vec![folder.clone()]));
    let files = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(limits.spill_bytes);
    Ok(RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_disk_manager_builder(files.with_max_spill_merge_fan_in(MERGED_AT_ONCE)).build_arc()?)
}

/// Files of a sort that are merged at once. A merge takes what it needs for them and cannot give it back: many would starve the sorts beside it.
const MERGED_AT_ONCE: usize = 4;
/// Consumers of memory that an error names, the largest first.
const LARGEST_TOLD: NonZeroUsize = NonZeroUsize::new(3).expect("three is not zero");

/// The database, for the wire.
pub struct SessionBackend {
    engine: Arc<dyn Engine>,
    binder: Arc<Binder>,
    pools: Arc<Pools>,
    sessions: Arc<Sessions>,
    door: Door,
}

impl SessionBackend {
    pub fn new(engine: Arc<dyn Engine>, binder: Arc<Binder>, pools: Arc<Pools>, door: Door) -> SessionBackend {
        let sessions = Sessions::new(engine.clock().now());
        SessionBackend { engine, binder, pools, sessions, door }
    }
}

#[async_trait]
impl Backend for SessionBackend {
    async fn connect(&self, parameters: &BTreeMap<String, String>, peer: Peer) -> Result<Box<dyn Session>> {
        let user = parameters.get("user").map_or(OWNER_NAME, String::as_str);
        // A client that names no database means the one of the user's name; we have one database for all.
        let database = parameters.get("database").map_or(DATABASE, String::as_str);
        if database != DATABASE && database != user {
            return Err(
                Error::new(Kind::InvalidCatalogName, format!("database \"{database}\" does not exist")).with_hint(format!("the database is \"{DATABASE}\""))
            );
        }
        let catalog = self.engine.catalog();
        let role = role_of(&catalog, user)?;
        self.sessions.check_limit(role)?;
        let mut settings = Settings::default();
        settings.authorize(Identity::of(role));
        for (name, value) in parameters {
            match name.as_str() {
                "user" | "database" | "replication" => {}
                "options" => start_options(&mut settings, value)?,
                _ if name.starts_with("_pq_.") => {}
                _ => settings.start_with(name, value)?,
            }
        }
        let application_name = settings.get("application_name").unwrap_or_default();
        let place = self.sessions.enter(peer, role, application_name, self.engine.clock().now());
        self.engine.audit().note(place.event(self.engine.clock().now(), "login"));
        Ok(Box::new(ClientSession {
            place,
            engine: self.engine.clone(),
            binder: self.binder.clone(),
            pools: self.pools.clone(),
            settings: Arc::new(settings),
            notices: Vec::new(),
            last_write: None,
            block: None,
            commitment: Arc::default(),
            copied: None,
            statements: Arc::default(),
        }))
    }

    fn admission(&self, user: &str, origin: &Origin) -> Result<Admission> {
        self.door.admission(&self.engine.catalog(), user, origin, self.engine.clock().now())
    }

    fn refused(&self, user: &str, origin: &Origin, error: &Error) {
        tracing::info!(user, address = %origin.address, sqlstate = error.sqlstate(), "a connection was refused");
        self.engine.audit().note(Event {
            at: self.engine.clock().now(),
            user: user.to_owned(),
            address: Some(origin.address.ip().to_string()),
            event: "login failed".to_owned(),
            outcome: error.sqlstate().to_owned(),
            ..Event::default()
        });
    }
}

/// `-c name=value --name=value`, blanks escaped by a backslash.
fn start_options(settings: &mut Settings, options: &str) -> Result<()> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut characters = options.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => word.extend(characters.next()),
            c if c.is_whitespace() => words.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    words.push(word);
    let mut words = words.into_iter().filter(|w| !w.is_empty());
    while let Some(word) = words.next() {
        let setting = if word == "-c" { words.next() } else { word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).map(str::to_owned) };
        let invalid = || Error::new(Kind::Syntax, format!("invalid command-line argument for server process: {word}"));
        let setting = setting.ok_or_else(invalid)?;
        let (name, value) = setting.split_once('=').ok_or_else(invalid)?;
        settings.start_with(&name.replace('-', "_"), value)?;
    }
    Ok(())
}

/// See the module.
pub struct ClientSession {
    place: Place,
    pub(super) engine: Arc<dyn Engine>,
    binder: Arc<Binder>,
    pools: Arc<Pools>,
    pub(super) settings: Arc<Settings>,
    pub(super) notices: Vec<Notice>,
    pub(super) last_write: Option<Epoch>,
    pub(super) block: Option<Block>,
    pub(super) commitment: Arc<Commitment>,
    /// Of a COPY FROM under way.
    copied: Option<Box<Copied>>,
    statements: Arc<Statements>,
}

impl Drop for ClientSession {
    /// What an open transaction has created goes with it.
    fn drop(&mut self) {
        self.engine.audit().note(self.place.event(self.engine.clock().now(), "logout"));
        let made = self.block.take().map(|b| b.transaction.end().made).unwrap_or_default();
        let (engine, pid) = (self.engine.clone(), self.place.pid());
        if made.is_empty() && !temporary::exist(&engine.catalog(), pid) {
            return;
        }
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                if let Err(error) = undo(engine.as_ref(), made).await {
                    tracing::warn!(%error, "objects of a lost connection's transaction stay until the server is started anew");
                }
                if let Err(error) = temporary::drop_all(engine.as_ref(), pid).await {
                    tracing::warn!(%error, "temporary tables of a lost connection stay until the server is started anew");
                }
            })),
            Err(_) => tracing::warn!("objects of a lost connection stay until the server is started anew"),
        }
    }
}

/// A parsed statement on its way through the wire layer.
struct ParsedStatement {
    statement: Arc<Statement>,
    command: Option<Command>,
    /// Since Describe, if it is one.
    lookup: Mutex<Option<Arc<Lookup>>>,
}

impl Parsed for ParsedStatement {
    fn text(&self) -> &str {
        &self.statement.text
    }

    fn command(&self) -> Option<&Command> {
        self.command.as_ref()
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn parsed(statement: Arc<Statement>) -> Result<Arc<dyn Parsed>> {
    let command = command(&statement)?;
    Ok(Arc::new(ParsedStatement { statement, command, lookup: Mutex::default() }))
}

/// What the connection does with it, for it keeps cursors and prepared statements.
fn command(statement: &Statement) -> Result<Option<Command>> {
    Ok(Some(match &statement.kind {
        StatementKind::Declare(d) => {
            Command::Declare { name: d.name.clone(), hold: d.hold, binary: d.binary, scroll: d.scroll, query: parsed(d.query.clone())? }
        }
        StatementKind::Fetch(f) => Command::Fetch { name: f.name.clone(), direction: f.direction, moves: f.moves, timeout: f.timeout },
        StatementKind::Close(name) => Command::Close(name.clone()),
        StatementKind::Prepare(p) => {
            let types = p.types.iter().map(|t| oid_of(&crate::sql::types::cast_field(t)?)).collect::<Result<_>>()?;
            Command::Prepare { name: p.name.clone(), types, statement: parsed(p.statement.clone())? }
        }
        StatementKind::Execute(e) => Command::Execute { name: e.name.clone() },
        StatementKind::Deallocate(name) => Command::Deallocate(name.clone()),
        _ => return Ok(None),
    }))
}

fn own(parsed: &Arc<dyn Parsed>) -> Result<&ParsedStatement> {
    parsed.as_any().downcast_ref::<ParsedStatement>().ok_or_else(|| Error::internal("a statement of another session kind"))
}

/// Types of parameters as the client declares them; 0: not.
fn declared(oids: impl Iterator<Item = u32>) -> Vec<Option<FieldRef>> {
    oids.map(|oid| if oid == 0 { None } else { field_of(oid).map(Arc::new) }).collect()
}

impl ClientSession {
    fn context(&self, pool: Arc<Pool>) -> Context {
        let transaction = self.block.as_ref().map(|b| b.transaction.clone());
        let now = self.engine.clock().now();
        Context {
            engine: self.engine.clone(),
            binder: self.binder.clone(),
            pool,
            settings: self.settings.clone(),
            wait_for: self.last_write,
            // All statements of a block have one time.
            now: self.block.as_ref().map_or(now, |b| b.began),
            read_only: transaction.as_ref().map_or_else(|| self.settings.is_on("default_transaction_read_only"), |t| t.is_read_only()),
            transaction,
            sessions: self.place.sessions.clone(),
            pid: self.place.pid(),
            path: Arc::default(),
            sets: Arc::default(),
            commitment: self.commitment.clone(),
            parameter_types: Arc::default(),
            statements: self.statements.clone(),
        }
    }

    /// Runs a statement's work on the sessions' threads.
    async fn run<T: Send + 'static>(&self, context: &Context, work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
        context.pool.run(style::scope(context.style(), work)).await
    }

    /// How a described statement looks its rows up, if it does; made again if names or settings have changed.
    async fn lookup(&self, parsed: &ParsedStatement, context: &Context, parameters: &[Parameter]) -> Result<Option<Arc<Lookup>>> {
        let Some(lookup) = parsed.lookup.lock().clone() else { return Ok(None) };
        if lookup.holds(context) {
            return Ok(Some(lookup));
        }
        let types = declared(parameters.iter().map(|p| p.oid));
        let shape = self.run(context, statement::describe(context.clone(), parsed.statement.clone(), types)).await?;
        let lookup = shape.lookup.map(Arc::new);
        parsed.lookup.lock().clone_from(&lookup);
        Ok(lookup)
    }

    async fn perform(&mut self, parsed: &ParsedStatement, parameters: &[Parameter]) -> Result<Execution> {
        let statement = parsed.statement.clone();
        self.place.begins(&statement, self.engine.clock().now(), self.block.as_ref().map(|b| b.began));
        if let StatementKind::Transaction(kind) = &statement.kind {
            return self.transaction(kind).await.map(Execution::Command);
        }
        self.enter(&statement).await?;
        if matches!(statement.kind, StatementKind::DiscardAll) && self.block.is_none() {
            temporary::drop_all(self.engine.as_ref(), self.place.pid()).await?;
        }
        if let Some(result) = self.own(&statement) {
            return result.map(Execution::Command);
        }
        let values = parameters.iter().map(|p| Ok(ScalarValue::try_from_array(&p.value, 0)?)).collect::<Result<Vec<_>>>()?;
        let context = self.context(self.pools.of(&statement));
        if let Some(lookup) = self.lookup(parsed, &context, parameters).await?
            && let Some(batch) = look_up(&context, &lookup, &values).await?
        {
            let stream = futures::stream::iter([Ok(batch.clone())]).boxed();
            return Ok(Execution::Rows { columns: result_columns(lookup.columns.clone()), schema: batch.schema(), stream, tag: "SELECT" });
        }
        let context = Context { parameter_types: declared(parameters.iter().map(|p| p.oid)).into(), ..context };
        let sets = context.sets.clone();
        let outcome = self.run(&context, statement::execute(context.clone(), statement, values)).await?;
        let sets = std::mem::take(&mut *sets.lock());
        sets.iter().try_for_each(|set| self.set(set))?;
        Ok(match self.noted(outcome) {
            Answer::Command(tag) => Execution::Command(tag),
            Answer::CopyOut { results, options } => Execution::CopyOut { columns: result_columns(results.columns), stream: results.stream, options },
            Answer::CopyIn { relation, columns, options, rows } => {
                self.copied = Some(rows);
                Execution::CopyIn { relation, columns: result_columns(columns), options }
            }
            Answer::Rows(rows) => Execution::Rows { columns: result_columns(rows.columns), schema: rows.schema, stream: rows.stream, tag: rows.tag },
        })
    }

    /// What a statement left for the session.
    fn noted(&mut self, outcome: statement::Outcome) -> Answer {
        self.last_write = outcome.written.or(self.last_write);
        self.notices.extend(outcome.notices.into_iter().map(|n| Notice::Message { severity: "NOTICE", error: Arc::new(n) }));
        outcome.answer
    }

    /// Statements that change the session only; `None`: another.
    fn own(&mut self, statement: &Statement) -> Option<Result<String>> {
        let result = match &statement.kind {
            StatementKind::Set(set) => self.set(set).map(|()| "SET".to_owned()),
            StatementKind::Reset(Some(name)) => self.set(&Set { name: name.clone(), value: None, local: false }).map(|()| "RESET".to_owned()),
            StatementKind::Reset(None) => {
                self.reset_all();
                Ok("RESET".to_owned())
            }
            StatementKind::DiscardAll if self.block.is_some() => Err(Error::new(Kind::ActiveTransaction, "DISCARD ALL cannot run inside a transaction block")),
            StatementKind::DiscardAll => self.take_on(SESSION_AUTHORIZATION, None, false).map(|()| {
                self.reset_all();
                "DISCARD ALL".to_owned()
            }),
            StatementKind::Nothing(tag) => Ok((*tag).to_owned()),
            _ => return None,
        };
        Some(result)
    }

    fn set(&mut self, set: &Set) -> Result<()> {
        let Set { name, value, local } = set;
        if let Some(modes) = transaction_mode(name, value.as_deref()) {
            return self.set_modes(modes?, false).map(drop);
        }
        if [ROLE, SESSION_AUTHORIZATION].iter().any(|own| name.eq_ignore_ascii_case(own)) && !(*local && self.block.is_none()) {
            return self.take_on(&name.to_lowercase(), value.as_deref(), *local);
        }
        if *local && self.block.is_none() {
            self.warn(Kind::NoActiveTransaction, "SET LOCAL can only be used in transaction blocks");
            return Ok(());
        }
        let before = self.settings.clone();
        let settings = Arc::make_mut(&mut self.settings);
        if *local {
            settings.set_local(name, value.as_deref())?
        } else {
            settings.set(name, value.as_deref())?
        };
        self.tell_changes(&before);
        Ok(())
    }

    fn reset_all(&mut self) {
        let before = self.settings.clone();
        Arc::make_mut(&mut self.settings).reset_all();
        self.tell_changes(&before);
    }

    /// Clients are told of settings that have other values than `before`.
    pub(super) fn tell_changes(&mut self, before: &Settings) {
        let name = self.settings.get("application_name");
        if name != before.get("application_name") {
            self.place.rename(name.unwrap_or_default());
        }
        let before = before.reported();
        let now = self.settings.reported().into_iter().filter(|setting| !before.contains(setting));
        self.notices.extend(now.map(|(name, value)| Notice::ParameterStatus { name, value }));
    }
}

/// `SET transaction_isolation = …` is `SET TRANSACTION ISOLATION LEVEL …`.
fn transaction_mode(name: &str, value: Option<&str>) -> Option<Result<Modes>> {
    let invalid = || Error::new(Kind::InvalidParameter, format!("invalid value for parameter \"{name}\": \"{}\"", value.unwrap_or("default")));
    if name.eq_ignore_ascii_case("transaction_isolation") {
        let isolation = Isolation::ALL.into_iter().find(|l| value.is_some_and(|v| v.eq_ignore_ascii_case(l.name())));
        return Some(isolation.ok_or_else(invalid).map(|i| Modes { isolation: Some(i), read_only: None }));
    }
    if name.eq_ignore_ascii_case("transaction_read_only") {
        let read_only = value.and_then(boolean);
        return Some(read_only.ok_or_else(invalid).map(|r| Modes { isolation: None, read_only: Some(r) }));
    }
    None
}

/// Single rows are read right here, for the way to another thread takes longer than they do; `None`: it takes the long way.
async fn look_up(context: &Context, lookup: &Arc<Lookup>, values: &[ScalarValue]) -> Result<Option<RecordBatch>> {
    let snapshot = context.snapshot(&[lookup.relation()]).await?;
    if let Some(batch) = lookup.run(snapshot.as_ref(), values, Reach::Keys)? {
        return Ok(Some(batch));
    }
    let (lookup, values) = (lookup.clone(), values.to_vec());
    context.pool.run(async move { lookup.run(snapshot.as_ref(), &values, Reach::Ranges) }).await
}

fn no_copy() -> Error {
    Error::internal("rows came where no COPY is")
}

fn result_columns(columns: Vec<FieldRef>) -> Vec<ResultColumn> {
    let column = |field: FieldRef| {
        let (table_oid, attribute) = statement::origin(&field).map_or((0, 0), |(relation, column)| (relation.0, column));
        ResultColumn { name: field.name().clone(), field, table_oid, attribute }
    };
    columns.into_iter().map(column).collect()
}

#[async_trait]
impl Session for ClientSession {
    async fn parse(&mut self, sql: &str) -> Result<Vec<Arc<dyn Parsed>>> {
        let text = sql.to_owned();
        let statements = self.pools.of_text(sql).run(async move { parse::parse(&text) }).await?;
        statements.into_iter().map(|s| parsed(Arc::new(s))).collect()
    }

    async fn describe(&mut self, statement: &Arc<dyn Parsed>, declared: &[u32]) -> Result<Description> {
        let parsed = own(statement)?;
        if !matches!(parsed.statement.kind, StatementKind::Transaction(_)) {
            self.check_block()?;
        }
        let types = self::declared(declared.iter().copied());
        let context = self.context(self.pools.of(&parsed.statement));
        let Shape { parameters, columns, lookup } = self.run(&context, statement::describe(context.clone(), parsed.statement.clone(), types)).await?;
        *parsed.lookup.lock() = lookup.map(Arc::new);
        let parameters = parameters.iter().map(|f| oid_of(f)).collect::<Result<_>>()?;
        Ok(Description { parameters, columns: columns.map(result_columns) })
    }

    async fn execute(&mut self, statement: &Arc<dyn Parsed>, parameters: &[Parameter]) -> Result<Execution> {
        let parsed = own(statement)?;
        let mut noted = self.place.noted(&self.engine, &parsed.statement);
        let outcome = self.perform(parsed, parameters).await;
        noted.ended(outcome.as_ref().err());
        outcome
    }

    async fn arguments(&mut self, statement: &Arc<dyn Parsed>, oids: &[u32]) -> Result<Vec<Parameter>> {
        let StatementKind::Execute(execute) = &own(statement)?.statement.kind else { return Err(Error::internal("values of a statement that is no EXECUTE")) };
        let (given, wanted) = (execute.values.len(), oids.len());
        if given != wanted {
            let message = format!("wrong number of parameters for prepared statement \"{}\"", execute.name);
            return Err(Error::new(Kind::Syntax, message).with_detail(format!("Expected {wanted} parameters but got {given}.")));
        }
        let context = self.context(self.pools.queries());
        let fields = declared(oids.iter().copied());
        let list: Vec<(String, Option<FieldRef>)> = execute.values.iter().map(|v| v.sql.clone()).zip(fields).collect();
        let style = context.style();
        let values = self.pools.queries().run(style::scope(style, async move { statement::values(&context, &list).await })).await?;
        Ok(oids.iter().zip(values).map(|(oid, value)| Parameter { oid: *oid, value }).collect())
    }

    async fn copy_rows(&mut self, rows: RecordBatch) -> Result<()> {
        let mut copied = self.copied.take().ok_or_else(no_copy)?;
        let context = self.context(self.pools.queries());
        let inner = context.clone();
        self.copied = Some(self.run(&context, async move { copied.take(&inner, rows).await.map(|()| copied) }).await?);
        Ok(())
    }

    async fn copied(&mut self) -> Result<u64> {
        let copied = self.copied.take().ok_or_else(no_copy)?;
        let (context, count) = (self.context(self.pools.queries()), copied.count());
        let inner = context.clone();
        let outcome = self.run(&context, async move { copied.written(&inner).await }).await?;
        self.noted(outcome);
        Ok(count)
    }

    fn check_not_failed(&self) -> Result<()> {
        self.check_block()
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        if self.notices.is_empty() {
            return Vec::new();
        }
        let wanted = self.settings.get("client_min_messages").unwrap_or_default().to_lowercase();
        let hidden: &[&str] = match wanted.as_str() {
            "warning" => &["NOTICE"],
            "error" => &["NOTICE", "WARNING"],
            _ => &[],
        };
        let mut notices = std::mem::take(&mut self.notices);
        notices.retain(|notice| !matches!(notice, Notice::Message { severity, .. } if hidden.contains(severity)));
        notices
    }

    fn reported_settings(&self) -> Vec<(String, String)> {
        self.settings.reported()
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name)
    }

    fn transaction_status(&self) -> u8 {
        match &self.block {
            Some(block) if block.explicit && block.failed => b'E',
            Some(block) if block.explicit => b'T',
            _ => b'I',
        }
    }

    fn rests(&mut self) {
        let state = match self.transaction_status() {
            b'T' => State::InTransaction,
            b'E' => State::Failed,
            _ => State::Idle,
        };
        self.place.rests(state, self.block.as_ref().map(|b| b.began));
    }

    fn failed(&mut self) {
        self.copied = None;
        self.fail_block();
    }

    fn begin_implicit(&mut self) {
        self.open_implicit();
    }

    async fn end_implicit(&mut self) -> Result<()> {
        self.end_block().await
    }

    fn lists(&mut self, statements: Arc<Statements>) {
        self.statements = statements;
    }

    fn commitment(&self) -> Arc<Commitment> {
        self.commitment.clone()
    }
}
