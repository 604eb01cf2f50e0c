//! What a named object is, as the catalog keeps it. Everything here is durable (JSON, format version 1).

use super::access::Access;
use super::catalog::PUBLIC;
use crate::types::ids::{ObjectId, TableId};
use arrow::datatypes::{Field, Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One object. `sql` is the statement that made it, as typed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Object {
    pub id: ObjectId,
    pub schema: String,
    pub name: String,
    pub sql: String,
    /// Relations it reads: it cannot outlive them.
    pub depends_on: Vec<ObjectId>,
    pub body: Body,
    /// Schemas in which names of its query that have none were looked for, and are looked for again at a restart.
    #[serde(default = "public")]
    pub path: Vec<String>,
    /// The time zone of the session that made it, in which its query was read; `None`: UTC.
    #[serde(default)]
    pub zone: Option<String>,
    /// Of a transaction that has not come to its end: a crash takes it away.
    #[serde(default)]
    pub uncommitted: bool,
    /// What an open transaction is about to do with it.
    #[serde(default)]
    pub pending: Pending,
    /// `COMMENT ON`: 0 is the object itself, n its column with that number, from 1.
    #[serde(default)]
    pub comments: BTreeMap<i32, String>,
    /// Its owner, and the grants on it.
    #[serde(default)]
    pub access: Access,
}

/// What the names of sessions' own schemas begin with; the session's number follows.
pub const TEMPORARY: &str = "pg_temp_";

/// A change of an object that its transaction may take back.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Pending {
    /// The object before the transaction, if that goes on: ROLLBACK and a crash bring it back.
    pub before: Option<Box<Object>>,
    /// Gone when the transaction commits, and nobody finds it until then.
    pub dropped: bool,
}

/// The path of objects that were made when there was one schema.
fn public() -> Vec<String> {
    vec![PUBLIC.to_owned()]
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Body {
    /// Append-only events from outside; holds no rows of its own.
    Source(Source),
    /// Rows that are kept: written by DML, or fed by a connector.
    Table(Table),
    /// A name for a query.
    View(View),
    /// A maintained query.
    MaterializedView(MaterializedView),
    /// The rows of a table or materialized view under another key.
    Index(Index),
    /// A maintained query whose changes go elsewhere; holds no rows of its own.
    Sink(Sink),
    /// A room for names; it stands in no schema itself.
    Schema,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    /// Arrow type and metadata (`tw.type`, `tw.typmod`) as `sql::types` gives them for the declared SQL type.
    pub field: Field,
    /// The type as Postgres names it: `numeric(10,2)`.
    pub sql_type: String,
    pub not_null: bool,
    /// DEFAULT expression, SQL.
    pub default: Option<String>,
    /// `GENERATED ALWAYS AS (expr)` / `AS expr`, SQL over the other columns.
    pub generated: Option<String>,
    /// Metadata column: `INCLUDE key | partition | offset | timestamp | header 'x' | payload`.
    pub include: Option<Include>,
}

/// The option of a materialized view that gives it a dataflow of its own: `true` or `false`.
pub const ISOLATED: &str = "isolated";

/// A generated column of this text is dated by the epoch that takes a row in, not where the row is read.
pub const PROCESSING_TIME: &str = "proctime()";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Include {
    Key,
    Partition,
    Offset,
    Timestamp,
    Header(String),
    Payload,
}

/// `WATERMARK FOR column AS expression`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watermark {
    pub column: usize,
    /// SQL over the source's columns, for instance `ts - INTERVAL '5 seconds'`.
    pub expression: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Feed {
    pub connector: String,
    /// `WITH` options as written, names lower-cased, checked at CREATE.
    pub options: BTreeMap<String, String>,
    /// `FORMAT PLAIN | UPSERT`, `ENCODE JSON | CSV`; `None` for generators.
    pub format: Option<Format>,
    pub watermark: Option<Watermark>,
    /// Where reading begins, per partition, resolved once at CREATE; partitions found later begin at 0.
    pub start: BTreeMap<u32, i64>,
    /// The clock at CREATE, µs: generators derive event times from it.
    pub created_at: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Format {
    pub upsert: bool,
    /// `json` or `csv`.
    pub encode: String,
    pub options: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Source {
    pub columns: Vec<Column>,
    pub feed: Feed,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Table {
    pub columns: Vec<Column>,
    /// Ordinals of the primary key; empty: none, equal rows may repeat.
    pub primary_key: Vec<usize>,
    pub append_only: bool,
    /// Only for append-only tables, and tables with a connector.
    pub watermark: Option<Watermark>,
    /// Fed by a connector instead of (and beside) DML.
    pub feed: Option<Feed>,
    /// State tables handed out to it: the rows, and the upsert state.
    pub state: Vec<TableId>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct View {
    /// The query's SQL.
    pub query: String,
    pub columns: Vec<Column>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MaterializedView {
    pub query: String,
    pub columns: Vec<Column>,
    pub emit_on_window_close: bool,
    /// `WITH (…)` options of the view.
    pub options: BTreeMap<String, String>,
    /// State tables in the order in which the planner asked for them; a re-plan must ask for the same.
    pub state: Vec<TableId>,
    /// EXPLAIN of the incremental plan that built the state: a different plan must not run over it.
    pub plan: String,
    /// Its history is not yet all in: a start goes on with it.
    #[serde(default)]
    pub building: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Index {
    pub on: ObjectId,
    pub key: Vec<IndexColumn>,
    /// Columns kept beside the key, `INCLUDE`; `None`: all.
    pub include: Option<Vec<usize>>,
    pub state: Vec<TableId>,
    /// As of a materialized view.
    pub plan: String,
    /// As of a materialized view.
    #[serde(default)]
    pub building: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sink {
    pub query: String,
    pub columns: Vec<Column>,
    /// `WITH` options as written, names lower-cased, checked at CREATE; the connector among them.
    pub options: BTreeMap<String, String>,
    /// How its rows are published; `None`: they are not.
    #[serde(default)]
    pub format: Option<SinkFormat>,
    /// With the first name, what the other side knows this sink by, and no other of any server.
    #[serde(default)]
    pub token: String,
    /// The name that it was made with, if it has another by now.
    #[serde(default)]
    pub first_name: Option<String>,
    /// As of a materialized view.
    pub state: Vec<TableId>,
    /// As of a materialized view.
    pub plan: String,
    /// As of a materialized view.
    #[serde(default)]
    pub building: bool,
}

/// `FORMAT {PLAIN | UPSERT} ENCODE JSON` of a sink.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SinkFormat {
    pub upsert: bool,
    /// Columns of the records' key as the user named them; empty: those that the query is known to be unique in.
    pub key: Vec<usize>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct IndexColumn {
    pub column: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

impl Object {
    /// One that reads nothing, is of no transaction, and has no owner yet.
    pub fn new(id: ObjectId, schema: String, name: String, sql: String, body: Body) -> Object {
        Object {
            id,
            schema,
            name,
            sql,
            depends_on: Vec::new(),
            body,
            path: Vec::new(),
            zone: None,
            uncommitted: false,
            pending: Pending::default(),
            comments: BTreeMap::new(),
            access: Access::default(),
        }
    }

    /// The columns a query sees, in order.
    pub fn columns(&self) -> &[Column] {
        match &self.body {
            Body::Source(s) => &s.columns,
            Body::Table(t) => &t.columns,
            Body::View(v) => &v.columns,
            Body::MaterializedView(v) => &v.columns,
            Body::Index(_) | Body::Schema => &[],
            Body::Sink(s) => &s.columns,
        }
    }

    /// The query that it is a name for, or that it maintains, as SQL.
    pub fn query_mut(&mut self) -> Option<&mut String> {
        match &mut self.body {
            Body::View(view) => Some(&mut view.query),
            Body::MaterializedView(view) => Some(&mut view.query),
            Body::Sink(sink) => Some(&mut sink.query),
            Body::Source(_) | Body::Table(_) | Body::Index(_) | Body::Schema => None,
        }
    }

    /// An object of one session: nobody else's, and gone when that ends.
    pub fn is_temporary(&self) -> bool {
        let name = if matches!(self.body, Body::Schema) { &self.name } else { &self.schema };
        name.starts_with(TEMPORARY)
    }

    /// The name, with its schema if that is not the one which every session has.
    pub fn shown_name(&self) -> String {
        if self.schema == PUBLIC { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }

    /// The columns as an Arrow schema.
    pub fn arrow_schema(&self) -> SchemaRef {
        Arc::new(Schema::new(self.columns().iter().map(|c| c.field.clone().with_name(&c.name)).collect::<Vec<_>>()))
    }

    /// Ordinals of the primary key; empty: none.
    pub fn primary_key(&self) -> &[usize] {
        match &self.body {
            Body::Table(table) => &table.primary_key,
            _ => &[],
        }
    }

    pub fn feed(&self) -> Option<&Feed> {
        match &self.body {
            Body::Source(s) => Some(&s.feed),
            Body::Table(t) => t.feed.as_ref(),
            _ => None,
        }
    }

    /// What it is if it is an index.
    pub fn index(&self) -> Option<&Index> {
        match &self.body {
            Body::Index(index) => Some(index),
            _ => None,
        }
    }

    /// A materialized view that is maintained by a dataflow of its own.
    pub fn is_isolated(&self) -> bool {
        matches!(&self.body, Body::MaterializedView(view) if view.options.get(ISOLATED).is_some_and(|on| on == "true"))
    }

    /// A materialized view, index or sink whose history is not yet all in.
    pub fn is_building(&self) -> bool {
        match &self.body {
            Body::MaterializedView(view) => view.building,
            Body::Index(index) => index.building,
            Body::Sink(sink) => sink.building,
            _ => false,
        }
    }

    /// The same object, building or built; other kinds are as they are.
    pub fn with_building(mut self, building: bool) -> Object {
        match &mut self.body {
            Body::MaterializedView(view) => view.building = building,
            Body::Index(index) => index.building = building,
            Body::Sink(sink) => sink.building = building,
            _ => {}
        }
        self
    }

    /// As Postgres names the kind in messages.
    pub fn kind_name(&self) -> &'static str {
        match &self.body {
            Body::Source(_) => "source",
            Body::Table(_) => "table",
            Body::View(_) => "view",
            Body::MaterializedView(_) => "materialized view",
            Body::Index(_) => "index",
            Body::Sink(_) => "sink",
            Body::Schema => "schema",
        }
    }
}
