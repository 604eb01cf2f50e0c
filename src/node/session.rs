//! Sessions: what the wire asks for, in terms of statements. A session keeps its settings, the epoch of its last write (so
//! that it reads what it wrote), and notices; everything else is the statement's.

use super::config::Limits;
use super::engine_api::Engine;
use super::pool::Pool;
use super::settings::{Settings, is_reported};
use super::statement::lookup::{Lookup, Reach};
use super::statement::{self, Answer, Context, Shape};
use crate::catalog::catalog::DATABASE;
use crate::error::{Error, Kind, Result};
use crate::pg::backend::{Backend, Description, Execution, Notice, Parameter, Parsed, ResultColumn, Session};
use crate::pg::types::{field_of, oid_of};
use crate::plan::arithmetic::CheckedArithmetic;
use crate::plan::optimize::with_sound_rules;
use crate::sql::ast::{Statement, StatementKind};
use crate::sql::bind::Binder;
use crate::sql::parse;
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
    pool: Arc<Pool>,
}

impl SessionBackend {
    pub fn new(engine: Arc<dyn Engine>, binder: Arc<Binder>, pool: Arc<Pool>) -> SessionBackend {
        SessionBackend { engine, binder, pool }
    }
}

#[async_trait]
impl Backend for SessionBackend {
    async fn connect(&self, parameters: &BTreeMap<String, String>) -> Result<Box<dyn Session>> {
        let user = parameters.get("user").map_or("tidewater", String::as_str);
        // A client that names no database means the one of the user's name; we have one database for all.
        let database = parameters.get("database").map_or(DATABASE, String::as_str);
        if database != DATABASE && database != user {
            return Err(
                Error::new(Kind::InvalidCatalogName, format!("database \"{database}\" does not exist")).with_hint(format!("the database is \"{DATABASE}\""))
            );
        }
        let mut settings = Settings::default();
        settings.authorize(user);
        for (name, value) in parameters {
            match name.as_str() {
                "user" | "database" | "replication" => {}
                "options" => start_options(&mut settings, value)?,
                _ if name.starts_with("_pq_.") => {}
                _ => settings.start_with(name, value)?,
            }
        }
        Ok(Box::new(ClientSession {
            engine: self.engine.clone(),
            binder: self.binder.clone(),
            pool: self.pool.clone(),
            settings: Arc::new(settings),
            notices: Vec::new(),
            last_write: None,
        }))
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

struct ClientSession {
    engine: Arc<dyn Engine>,
    binder: Arc<Binder>,
    pool: Arc<Pool>,
    settings: Arc<Settings>,
    notices: Vec<Notice>,
    last_write: Option<Epoch>,
}

/// A parsed statement on its way through the wire layer.
struct ParsedStatement {
    statement: Arc<Statement>,
    /// Since Describe, if it is one.
    lookup: Mutex<Option<Arc<Lookup>>>,
}

impl Parsed for ParsedStatement {
    fn text(&self) -> &str {
        &self.statement.text
    }

    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

fn own(parsed: &Arc<dyn Parsed>) -> Result<&ParsedStatement> {
    parsed.as_any().downcast_ref::<ParsedStatement>().ok_or_else(|| Error::internal("a statement of another session kind"))
}

/// Types of parameters as the client declares them; 0: not.
fn declared(oids: impl Iterator<Item = u32>) -> Vec<Option<FieldRef>> {
    oids.map(|oid| if oid == 0 { None } else { field_of(oid).map(Arc::new) }).collect()
}

impl ClientSession {
    fn context(&self) -> Context {
        Context {
            engine: self.engine.clone(),
            binder: self.binder.clone(),
            pool: self.pool.clone(),
            settings: self.settings.clone(),
            wait_for: self.last_write,
            now: self.engine.clock().now(),
        }
    }

    /// How a described statement looks its rows up, if it does; made again if names or settings have changed.
    async fn lookup(&self, parsed: &ParsedStatement, context: &Context, parameters: &[Parameter]) -> Result<Option<Arc<Lookup>>> {
        let Some(lookup) = parsed.lookup.lock().clone() else { return Ok(None) };
        if lookup.holds(context) {
            return Ok(Some(lookup));
        }
        let types = declared(parameters.iter().map(|p| p.oid));
        let shape = self.pool.run(statement::describe(context.clone(), parsed.statement.clone(), types)).await?;
        let lookup = shape.lookup.map(Arc::new);
        parsed.lookup.lock().clone_from(&lookup);
        Ok(lookup)
    }

    /// Statements that change the session only; `None`: another.
    fn own(&mut self, statement: &Statement) -> Option<Result<String>> {
        let result = match &statement.kind {
            StatementKind::Set(set) => self.set(&set.name, set.value.as_deref()).map(|()| "SET".to_owned()),
            StatementKind::Reset(Some(name)) => self.set(name, None).map(|()| "RESET".to_owned()),
            StatementKind::Reset(None) => {
                self.reset_all();
                Ok("RESET".to_owned())
            }
            StatementKind::DiscardAll => {
                self.reset_all();
                Ok("DISCARD ALL".to_owned())
            }
            StatementKind::EndTransaction(tag) => {
                let warning = Error::new(Kind::NoActiveTransaction, "there is no transaction in progress");
                self.notices.push(Notice::Message { severity: "WARNING", error: Arc::new(warning) });
                Ok((*tag).to_owned())
            }
            StatementKind::Nothing(tag) => Ok((*tag).to_owned()),
            _ => return None,
        };
        Some(result)
    }

    fn set(&mut self, name: &str, value: Option<&str>) -> Result<()> {
        let shown = Arc::make_mut(&mut self.settings).set(name, value)?;
        if is_reported(&shown) {
            let value = self.settings.get(&shown).unwrap_or_default();
            self.notices.push(Notice::ParameterStatus { name: shown, value });
        }
        Ok(())
    }

    fn reset_all(&mut self) {
        let before = self.settings.reported();
        Arc::make_mut(&mut self.settings).reset_all();
        for (name, value) in self.settings.reported() {
            if !before.contains(&(name.clone(), value.clone())) {
                self.notices.push(Notice::ParameterStatus { name, value });
            }
        }
    }
}

/// Single rows are read right here, for the way to another thread takes longer than they do; `None`: it takes the long way.
async fn look_up(context: &Context, lookup: &Arc<Lookup>, values: &[ScalarValue]) -> Result<Option<RecordBatch>> {
    let snapshot = context.engine.snapshot(context.wait_for, &[lookup.relation()]).await?;
    if let Some(batch) = lookup.run(snapshot.as_ref(), values, Reach::Keys)? {
        return Ok(Some(batch));
    }
    let (lookup, values) = (lookup.clone(), values.to_vec());
    context.pool.run(async move { lookup.run(snapshot.as_ref(), &values, Reach::Ranges) }).await
}

fn result_columns(columns: Vec<FieldRef>) -> Vec<ResultColumn> {
    columns.into_iter().map(|field| ResultColumn { name: field.name().clone(), field, table_oid: 0, attribute: 0 }).collect()
}

#[async_trait]
impl Session for ClientSession {
    async fn parse(&mut self, sql: &str) -> Result<Vec<Arc<dyn Parsed>>> {
        let text = sql.to_owned();
        let statements = self.pool.run(async move { parse::parse(&text) }).await?;
        let parsed = |s| Arc::new(ParsedStatement { statement: Arc::new(s), lookup: Mutex::default() }) as Arc<dyn Parsed>;
        Ok(statements.into_iter().map(parsed).collect())
    }

    async fn describe(&mut self, statement: &Arc<dyn Parsed>, declared: &[u32]) -> Result<Description> {
        let parsed = own(statement)?;
        let types = self::declared(declared.iter().copied());
        let Shape { parameters, columns, lookup } = self.pool.run(statement::describe(self.context(), parsed.statement.clone(), types)).await?;
        *parsed.lookup.lock() = lookup.map(Arc::new);
        let parameters = parameters.iter().map(|f| oid_of(f)).collect::<Result<_>>()?;
        Ok(Description { parameters, columns: columns.map(result_columns) })
    }

    async fn execute(&mut self, statement: &Arc<dyn Parsed>, parameters: &[Parameter]) -> Result<Execution> {
        let parsed = own(statement)?;
        let statement = parsed.statement.clone();
        if let Some(result) = self.own(&statement) {
            return result.map(Execution::Command);
        }
        let values = parameters.iter().map(|p| Ok(ScalarValue::try_from_array(&p.value, 0)?)).collect::<Result<Vec<_>>>()?;
        let context = self.context();
        if let Some(lookup) = self.lookup(parsed, &context, parameters).await?
            && let Some(batch) = look_up(&context, &lookup, &values).await?
        {
            let stream = futures::stream::iter([Ok(batch.clone())]).boxed();
            return Ok(Execution::Rows { columns: result_columns(lookup.columns.clone()), schema: batch.schema(), stream, tag: "SELECT" });
        }
        let outcome = self.pool.run(statement::execute(context, statement, values)).await?;
        self.last_write = outcome.written.or(self.last_write);
        self.notices.extend(outcome.notices.into_iter().map(|n| Notice::Message { severity: "NOTICE", error: Arc::new(n) }));
        Ok(match outcome.answer {
            Answer::Command(tag) => Execution::Command(tag),
            Answer::Rows(rows) => Execution::Rows { columns: result_columns(rows.columns), schema: rows.schema, stream: rows.stream, tag: rows.tag },
        })
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn reported_settings(&self) -> Vec<(String, String)> {
        self.settings.reported()
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name)
    }

    fn transaction_status(&self) -> u8 {
        b'I'
    }

    fn failed(&mut self) {}
}
