//! The seam between the wire and the database: what a connection asks for, in Arrow terms.

use crate::error::{Error, Result};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The database as the wire sees it.
#[async_trait]
pub trait Backend: Send + Sync {
    /// A new connection. `parameters` are the start-up parameters (user, database, application_name, options, …). Errors end the connection (3D000, 28P01, 57P03).
    async fn connect(&self, parameters: &BTreeMap<String, String>) -> Result<Box<dyn Session>>;
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

    /// Notices (and ParameterStatus changes) that arose since the last call.
    fn take_notices(&mut self) -> Vec<Notice>;

    /// Settings that start-up must report (server_version, client_encoding, DateStyle, TimeZone, …) with their values; asked again after SET.
    fn reported_settings(&self) -> Vec<(String, String)>;

    fn setting(&self, name: &str) -> Option<String>;

    /// b'I' idle, b'T' in a transaction, b'E' in a failed one.
    fn transaction_status(&self) -> u8;

    /// A statement failed: inside a transaction block it turns failed.
    fn failed(&mut self);
}

/// A parsed statement; what is behind it is the session's own business.
pub trait Parsed: Send + Sync {
    fn text(&self) -> &str;
    /// The session's own type.
    fn as_any(&self) -> &dyn std::any::Any;
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
    /// Rows; `tag` gets the row count appended: `SELECT 3`, `INSERT 0 3` (RETURNING).
    Rows { columns: Vec<ResultColumn>, schema: SchemaRef, stream: BoxStream<'static, Result<RecordBatch>>, tag: &'static str },
    /// A command's complete tag: `CREATE TABLE`, `INSERT 0 3`.
    Command(String),
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
