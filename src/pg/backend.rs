//! The seam between the wire and the database: what a connection asks for, in Arrow terms.

use super::prepared::Statements;
use crate::error::{Error, Kind, Result};
use crate::types::copy::CopyOptions;
use crate::types::direction::Direction;
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// The database as the wire sees it.
#[async_trait]
pub trait Backend: Send + Sync {
    /// A new connection. `parameters` are the start-up parameters (user, database, application_name, options, …). Errors end the connection (3D000, 28P01, 57P03).
    async fn connect(&self, parameters: &BTreeMap<String, String>, peer: Peer) -> Result<Box<dyn Session>>;

    /// What is asked of somebody who says that he is `user`. Error: he is turned away, whatever he can show.
    fn admission(&self, user: &str, origin: &Origin) -> Result<Admission>;

    /// Somebody was turned away.
    fn refused(&self, user: &str, origin: &Origin, error: &Error);
}

/// Where a connection comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub address: SocketAddr,
    pub encrypted: bool,
    /// The common name of the client's certificate, which was verified.
    pub certificate: Option<String>,
}

/// What a client has to show.
#[derive(Clone, PartialEq, Eq)]
pub enum Admission {
    Trusted,
    /// A password. `verifier`: of it; `None`: no password is right, which the client is not to find out from the answers: `seed` makes them.
    Password {
        verifier: Option<String>,
        seed: String,
    },
}

/// Who is at the other end.
pub struct Peer {
    /// The number that cancel requests name.
    pub pid: i32,
    pub address: SocketAddr,
    pub encrypted: bool,
    /// How others stop it.
    pub stop: Arc<dyn Stoppable>,
}

/// A connection, for others.
pub trait Stoppable: Send + Sync {
    /// Ends its statement, if it runs one.
    fn cancel(&self);

    /// Ends it.
    fn terminate(&self);
}

/// One connection's state: settings, prepared names live in the wire layer. Used by one task at a time.
#[async_trait]
pub trait Session: Send {
    /// Splits and parses a query string. Nothing runs if any statement is wrong; empty for an empty or comment-only text.
    async fn parse(&mut self, sql: &str) -> Result<Vec<Arc<dyn Parsed>>>;

    /// Binds for Describe: types of `$n` (`declared[n]` = OID the client gave, 0 = infer) and of the result columns.
    async fn describe(&mut self, statement: &Arc<dyn Parsed>, declared: &[u32]) -> Result<Description>;

    /// Runs it. Dropping the future, or the returned stream, cancels.
    async fn execute(&mut self, statement: &Arc<dyn Parsed>, parameters: &[Parameter]) -> Result<Execution>;

    /// The values of an EXECUTE, of the types that its statement's parameters have.
    async fn arguments(&mut self, statement: &Arc<dyn Parsed>, oids: &[u32]) -> Result<Vec<Parameter>>;

    /// Some of the rows that COPY … FROM STDIN asked for. Nothing of them is in the table before [`Session::copied`].
    async fn copy_rows(&mut self, rows: RecordBatch) -> Result<()>;

    /// All rows have come. Gives how many are in the table now that were not.
    async fn copied(&mut self) -> Result<u64>;

    /// Error: the transaction has failed (25P02), and the statement is none that ends it.
    fn check_not_failed(&self) -> Result<()>;

    /// Notices (and ParameterStatus changes) that arose since the last call.
    fn take_notices(&mut self) -> Vec<Notice>;

    /// Settings that start-up must report (server_version, client_encoding, DateStyle, TimeZone, …) with their values; asked again after SET.
    fn reported_settings(&self) -> Vec<(String, String)>;

    fn setting(&self, name: &str) -> Option<String>;

    /// b'I' idle, b'T' in a transaction, b'E' in a failed one.
    fn transaction_status(&self) -> u8;

    /// Everything is answered: the session waits for its client.
    fn rests(&mut self);

    /// A statement failed: a transaction block turns failed, an implicit one is over, nothing of it done.
    fn failed(&mut self);

    /// Statements from here on are one transaction, until [`Session::end_implicit`], unless they begin and end one themselves.
    fn begin_implicit(&mut self);

    /// Commits what the statements since [`Session::begin_implicit`] did.
    async fn end_implicit(&mut self) -> Result<()>;

    /// The connection's prepared statements, for those who ask what there is.
    fn lists(&mut self, statements: Arc<Statements>);

    /// Whether the statement under way can still be cancelled.
    fn commitment(&self) -> Arc<Commitment>;
}

/// Who comes first: the one who cancels a statement, or the statement, whose work will be done from here on.
#[derive(Debug, Default)]
pub struct Commitment(AtomicU8);

const OPEN: u8 = 0;
const COMMITTED: u8 = 1;
const CANCELED: u8 = 2;

impl Commitment {
    /// A new statement.
    pub fn reset(&self) {
        self.0.store(OPEN, Ordering::Release);
    }

    /// The statement's work will be done. Error: it was cancelled.
    pub fn commit(&self) -> Result<()> {
        match self.0.compare_exchange(OPEN, COMMITTED, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) | Err(COMMITTED) => Ok(()),
            Err(_) => Err(Error::new(Kind::QueryCanceled, "canceling statement due to user request")),
        }
    }

    /// False: too late.
    pub fn cancel(&self) -> bool {
        self.0.compare_exchange(OPEN, CANCELED, Ordering::AcqRel, Ordering::Acquire).is_ok() || self.0.load(Ordering::Acquire) == CANCELED
    }
}

/// A parsed statement; what is behind it is the session's own business.
pub trait Parsed: Send + Sync {
    fn text(&self) -> &str;

    /// What the connection does itself, for it keeps the names; `None`: the session runs the statement.
    fn command(&self) -> Option<&Command>;

    /// The session's own type.
    fn as_any(&self) -> &dyn std::any::Any;
}

/// Statements about names that live in a connection.
pub enum Command {
    /// A cursor is a portal that SQL made; with `hold` it outlives its transaction.
    Declare { name: String, hold: bool, binary: bool, scroll: bool, query: Arc<dyn Parsed> },
    /// How long it waits for rows that are not there yet; `moves`: over them.
    Fetch { name: String, direction: Direction, moves: bool, timeout: Option<Duration> },
    /// A cursor, or all.
    Close(Option<String>),
    /// `types`: OIDs of the first parameters.
    Prepare { name: String, types: Vec<u32>, statement: Arc<dyn Parsed> },
    /// The values come from [`Session::arguments`].
    Execute { name: String },
    /// A prepared statement, or all.
    Deallocate(Option<String>),
}

#[derive(Clone, Debug)]
pub struct Description {
    /// OIDs.
    pub parameters: Vec<u32>,
    /// `None`: no rows.
    pub columns: Option<Vec<ResultColumn>>,
}

#[derive(Clone, Debug)]
pub struct ResultColumn {
    pub name: String,
    /// Arrow type, with `tw.type`/`tw.typmod` metadata.
    pub field: Arc<arrow::datatypes::Field>,
    pub table_oid: u32,
    pub attribute: i16,
}

/// A parameter's value as it came, with the type that `describe` gave it.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub oid: u32,
    /// One value of the type's Arrow array (length 1), decoded from text or binary by the wire layer.
    pub value: arrow::array::ArrayRef,
}

pub enum Execution {
    /// Rows; `tag` gets the row count appended: `SELECT 3`, `INSERT 0 3` (RETURNING). Those of `SUBSCRIBE` have no end.
    Rows { columns: Vec<ResultColumn>, schema: SchemaRef, stream: BoxStream<'static, Result<RecordBatch>>, tag: &'static str },
    /// A command's complete tag: `CREATE TABLE`, `INSERT 0 3`.
    Command(String),
    /// Rows that go to the client as COPY data.
    CopyOut { columns: Vec<ResultColumn>, stream: BoxStream<'static, Result<RecordBatch>>, options: CopyOptions },
    /// Rows of these columns are wanted from the client, by [`Session::copy_rows`], then [`Session::copied`].
    CopyIn { relation: String, columns: Vec<ResultColumn>, options: CopyOptions },
}

#[derive(Clone, Debug)]
pub enum Notice {
    /// severity `NOTICE`, `WARNING`, …
    Message {
        severity: &'static str,
        error: Arc<Error>,
    },
    ParameterStatus {
        name: String,
        value: String,
    },
}
