//! What a statement says, after parsing and before any name is looked up. Queries and DML are sqlparser's trees; all
//! that Postgres does not have (sources, watermarks, `EMIT ON WINDOW CLOSE`) or that we store as text has a shape here.

use super::parse::source::Source;
use super::security::Security;
use crate::catalog::object::Include;
use crate::types::copy::CopyOptions;
use crate::types::direction::Direction;
use datafusion::sql::sqlparser::ast;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One statement of a query string.
#[derive(Clone, Debug)]
pub struct Statement {
    pub kind: StatementKind,
    /// The statement alone, as typed, without the semicolon.
    pub text: String,
    /// The whole query string: spans in `kind` and error positions count from its start.
    pub source: Arc<Source>,
}

#[derive(Clone, Debug)]
pub enum StatementKind {
    Query(Box<ast::Query>),
    Insert(Box<ast::Insert>),
    Update(Box<ast::Update>),
    Delete(Box<ast::Delete>),
    CreateRelation(Box<CreateRelation>),
    CreateView(Box<CreateView>),
    CreateIndex(Box<CreateIndex>),
    CreateSink(Box<CreateSink>),
    CreateTableAs(Box<CreateTableAs>),
    Drop(Drop),
    Rename(Rename),
    Truncate(Vec<Name>),
    /// `REFRESH MATERIALIZED VIEW`.
    Refresh(Name),
    CreateSchema(CreateSchema),
    DropSchema(DropSchema),
    Show(Show),
    Describe(Name),
    Explain(Box<Statement>),
    /// `EXPLAIN (STATE) CREATE MATERIALIZED VIEW …`.
    ExplainState(Box<Statement>),
    Set(Set),
    /// `RESET name`; `None`: `RESET ALL`.
    Reset(Option<String>),
    Flush,
    DiscardAll,
    /// `DISCARD TEMP`.
    DiscardTemporary,
    Transaction(Transaction),
    Declare(Declare),
    Fetch(Fetch),
    /// `CLOSE`; `None`: all cursors.
    Close(Option<String>),
    Prepare(Prepare),
    Execute(Execute),
    /// `None`: all prepared statements.
    Deallocate(Option<String>),
    Copy(Copy),
    Subscribe(Box<Subscribe>),
    Comment(Comment),
    Security(Box<Security>),
    /// Accepted because it changes nothing here (`DISCARD PLANS`, `UNLISTEN *`); the tag.
    Nothing(&'static str),
}

/// A possibly qualified name, folded; `position` is 1-based, in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub schema: Option<String>,
    pub name: String,
    pub position: usize,
}

impl Name {
    /// As SQL that means this name and no other.
    pub fn quoted(&self) -> String {
        let quote = |part: &str| format!("\"{}\"", part.replace('"', "\"\""));
        self.schema.iter().map(String::as_str).chain([self.name.as_str()]).map(quote).collect::<Vec<_>>().join(".")
    }
}

/// An expression or query kept as text, checked to parse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    pub sql: String,
    pub position: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelationKind {
    Source,
    Table,
}

/// `CREATE SOURCE` and `CREATE TABLE`: they share all their clauses.
#[derive(Clone, Debug)]
pub struct CreateRelation {
    pub kind: RelationKind,
    /// Of the session alone.
    pub temporary: bool,
    pub name: Name,
    pub if_not_exists: bool,
    pub columns: Vec<ColumnDef>,
    /// Names and positions; column-level and table-level `PRIMARY KEY` alike.
    pub primary_key: Vec<(String, usize)>,
    pub append_only: bool,
    pub watermark: Option<WatermarkDef>,
    pub with: Options,
    pub format: Option<FormatDef>,
}

#[derive(Clone, Debug)]
pub struct CreateTableAs {
    pub name: Name,
    pub temporary: bool,
    pub if_not_exists: bool,
    /// Names of the first columns.
    pub columns: Vec<String>,
    pub query: Box<ast::Query>,
    /// Otherwise it stays empty.
    pub with_data: bool,
}

/// `WITH (…)`: names lower-cased.
pub type Options = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub struct ColumnDef {
    pub name: String,
    pub position: usize,
    pub data_type: ast::DataType,
    pub type_position: usize,
    pub not_null: bool,
    pub default: Option<Text>,
    pub generated: Option<Text>,
    pub include: Option<Include>,
}

#[derive(Clone, Debug)]
pub struct WatermarkDef {
    pub column: String,
    pub position: usize,
    pub expression: Text,
}

#[derive(Clone, Debug)]
pub struct FormatDef {
    pub upsert: bool,
    /// Lower-cased.
    pub encode: String,
    pub options: Options,
    pub position: usize,
}

#[derive(Clone, Debug)]
pub struct CreateView {
    pub name: Name,
    pub materialized: bool,
    pub if_not_exists: bool,
    pub columns: Vec<String>,
    pub with: Options,
    pub query: Box<ast::Query>,
    pub query_text: Text,
    pub emit_on_window_close: bool,
}

#[derive(Clone, Debug)]
pub struct CreateIndex {
    /// `None`: one is made up.
    pub name: Option<Name>,
    pub if_not_exists: bool,
    pub on: Name,
    pub columns: Vec<IndexColumn>,
    /// Names and positions of `INCLUDE`.
    pub include: Option<Vec<(String, usize)>>,
}

#[derive(Clone, Debug)]
pub struct IndexColumn {
    pub name: String,
    pub position: usize,
    pub descending: bool,
    pub nulls_first: bool,
}

#[derive(Clone, Debug)]
pub struct CreateSink {
    pub name: Name,
    pub if_not_exists: bool,
    /// `FROM relation` is `SELECT * FROM relation`.
    pub query: Text,
    pub with: Options,
    pub format: Option<FormatDef>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    Source,
    Table,
    View,
    MaterializedView,
    Index,
    Sink,
}

impl ObjectKind {
    /// As messages and command tags name it, lower case.
    pub fn name(self) -> &'static str {
        match self {
            ObjectKind::Source => "source",
            ObjectKind::Table => "table",
            ObjectKind::View => "view",
            ObjectKind::MaterializedView => "materialized view",
            ObjectKind::Index => "index",
            ObjectKind::Sink => "sink",
        }
    }
}

#[derive(Clone, Debug)]
pub struct Drop {
    pub kind: ObjectKind,
    pub if_exists: bool,
    pub names: Vec<Name>,
    pub cascade: bool,
}

/// `ALTER … RENAME TO`.
#[derive(Clone, Debug)]
pub struct Rename {
    pub kind: ObjectKind,
    pub if_exists: bool,
    pub name: Name,
    pub to: String,
    /// Of the new name.
    pub position: usize,
}

#[derive(Clone, Debug)]
pub struct CreateSchema {
    pub name: String,
    pub position: usize,
    pub if_not_exists: bool,
}

#[derive(Clone, Debug)]
pub struct DropSchema {
    /// Names and positions.
    pub names: Vec<(String, usize)>,
    pub if_exists: bool,
    pub cascade: bool,
}

#[derive(Clone, Debug)]
pub enum Show {
    Objects(ObjectKind),
    /// Of one relation, or all.
    Indexes(Option<Name>),
    Schemas,
    Databases,
    Columns(Name),
    Create(ObjectKind, Name),
    Setting(String),
    AllSettings,
}

/// The settings that say whose rights a session has.
pub const ROLE: &str = "role";
pub const SESSION_AUTHORIZATION: &str = "session_authorization";

#[derive(Clone, Debug)]
pub struct Set {
    pub name: String,
    /// `None`: `DEFAULT`.
    pub value: Option<String>,
    /// Until the transaction ends.
    pub local: bool,
}

#[derive(Clone, Debug)]
pub struct Declare {
    pub name: String,
    /// It outlives its transaction.
    pub hold: bool,
    pub binary: bool,
    /// It may go back.
    pub scroll: bool,
    pub query: Arc<Statement>,
}

#[derive(Clone, Debug)]
pub struct Fetch {
    pub name: String,
    pub direction: Direction,
    /// `MOVE`: the rows are not wanted.
    pub moves: bool,
    /// How long it waits for rows that are not there yet.
    pub timeout: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct Prepare {
    pub name: String,
    /// Of the first parameters.
    pub types: Vec<ast::DataType>,
    pub statement: Arc<Statement>,
}

#[derive(Clone, Debug)]
pub struct Execute {
    pub name: String,
    pub values: Vec<Text>,
}

#[derive(Clone, Debug)]
pub struct Comment {
    pub on: CommentOn,
    /// `None`: no comment any more.
    pub text: Option<String>,
}

#[derive(Clone, Debug)]
pub enum CommentOn {
    Object(ObjectKind, Name),
    /// A relation's.
    Column(Name, String),
}

#[derive(Clone, Debug)]
pub struct Copy {
    pub what: CopyWhat,
    /// From the client; otherwise to it.
    pub from: bool,
    pub options: CopyOptions,
}

#[derive(Clone, Debug)]
pub enum CopyWhat {
    /// Names and positions of columns; `None`: all.
    Relation {
        name: Name,
        columns: Option<Vec<(String, usize)>>,
    },
    Query(Arc<Statement>),
}

/// `SUBSCRIBE`: a relation's changes as they come.
#[derive(Clone, Debug)]
pub struct Subscribe {
    pub what: Followed,
    /// Its rows first.
    pub snapshot: bool,
    /// Rows that say up to which epoch everything was sent.
    pub progress: bool,
    /// Changes behind this epoch, and where that stands.
    pub as_of: Option<(u64, usize)>,
}

#[derive(Clone, Debug)]
pub enum Followed {
    Relation(Name),
    Query { query: Box<ast::Query>, text: Text },
}

/// What begins, ends or cuts a transaction.
#[derive(Clone, Debug)]
pub enum Transaction {
    Begin {
        modes: Modes,
        tag: &'static str,
    },
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    Savepoint(String),
    Release(String),
    RollbackTo(String),
    /// Of this transaction, or of those that the session begins later.
    Set {
        modes: Modes,
        session: bool,
    },
}

/// What kind of transaction is wanted; `None`: the session's default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Modes {
    pub isolation: Option<Isolation>,
    pub read_only: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    ReadUncommitted,
    ReadCommitted,
    RepeatableRead,
    Serializable,
}

impl Isolation {
    pub const ALL: [Isolation; 4] = [Isolation::ReadUncommitted, Isolation::ReadCommitted, Isolation::RepeatableRead, Isolation::Serializable];

    /// As settings show it.
    pub fn name(self) -> &'static str {
        match self {
            Isolation::ReadUncommitted => "read uncommitted",
            Isolation::ReadCommitted => "read committed",
            Isolation::RepeatableRead => "repeatable read",
            Isolation::Serializable => "serializable",
        }
    }

    /// Whether all statements of a transaction read the same epoch.
    pub fn is_pinned(self) -> bool {
        matches!(self, Isolation::RepeatableRead | Isolation::Serializable)
    }
}
