//! A backend that serves canned answers, told what to do by the statement's text:
//!
//! | statement | answer |
//! | --- | --- |
//! | `rows N` | N rows of (i int4, t text), in batches of 1000 |
//! | `wide N` | N rows of (int8, text, float8, timestamp, numeric), the same 8192 again and again |
//! | `types` | one row of every type, and one of NULLs |
//! | `echo T1 T2 …` | the parameters, of these types unless declared |
//! | `forever`, `stuck`, `hang` | rows without end; a stream that never yields; an execute that never ends |
//! | `fail`, `late` | an error; one row, then an error |
//! | `panic`, `notice`, `set K V` | what they say |
//! | `begin`, `commit`, `rollback` | the transaction status |
//! | `do X` | a command with the tag X |

use crate::error::{Error, Kind, Result};
use crate::pg::backend::{Admission, Backend, Command, Commitment, Description, Execution, Notice, Origin, Parameter, Parsed, Peer, ResultColumn, Session};
use crate::pg::prepared::Statements;
use crate::pg::server::{PgStats, Server};
use crate::pg::types::{self, field_of};
use crate::types::text::{TextStyle, parse_value};
use arrow::array::{
    ArrayRef, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, RecordBatchOptions, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::sync::watch;

/// Streams that are alive: a cancelled statement must drop its own.
#[derive(Default)]
pub struct FakeBackend {
    pub live: Arc<AtomicUsize>,
}

struct FakeSession {
    live: Arc<AtomicUsize>,
    status: u8,
    notices: Vec<Notice>,
    settings: BTreeMap<String, String>,
}

struct FakeStatement(String);

impl Parsed for FakeStatement {
    fn text(&self) -> &str {
        &self.0
    }
    fn command(&self) -> Option<&Command> {
        None
    }
    fn as_any(&self) -> &dyn std::any::Any {
        self
    }
}

#[async_trait]
impl Backend for FakeBackend {
    async fn connect(&self, parameters: &BTreeMap<String, String>, _peer: Peer) -> Result<Box<dyn Session>> {
        match parameters.get("database").map(String::as_str) {
            Some("tidewater") | None => {}
            Some(other) => return Err(Error::new(Kind::InvalidCatalogName, format!("database \"{other}\" does not exist"))),
        }
        let settings = [("server_version", "15.18 (Tidewater)"), ("client_encoding", "UTF8"), ("DateStyle", "ISO, MDY"), ("TimeZone", "UTC")];
        let settings = settings.map(|(k, v)| (k.to_string(), v.to_string())).into();
        Ok(Box::new(FakeSession { live: self.live.clone(), status: b'I', notices: Vec::new(), settings }))
    }

    fn admission(&self, _user: &str, _origin: &Origin) -> Result<Admission> {
        Ok(Admission::Trusted)
    }

    fn refused(&self, _user: &str, _origin: &Origin, _error: &Error) {}
}

#[async_trait]
impl Session for FakeSession {
    async fn parse(&mut self, sql: &str) -> Result<Vec<Arc<dyn Parsed>>> {
        let statements = sql.split(';').map(str::trim).filter(|s| !s.is_empty() && !s.starts_with("--"));
        let parsed = statements.map(|s| {
            if s.starts_with("syntax") {
                return Err(Error::new(Kind::Syntax, "syntax error at or near \"syntax\"").at(1));
            }
            // Clients send their own BEGIN and COMMIT in capitals.
            let (verb, rest) = split(s);
            Ok(Arc::new(FakeStatement(format!("{} {rest}", verb.to_lowercase()).trim().to_string())) as Arc<dyn Parsed>)
        });
        parsed.collect()
    }

    async fn describe(&mut self, statement: &Arc<dyn Parsed>, declared: &[u32]) -> Result<Description> {
        let (verb, rest) = split(statement.text());
        Ok(match verb {
            "echo" => {
                let named = rest.split_whitespace().enumerate().map(|(i, name)| match declared.get(i) {
                    Some(oid) if *oid != 0 => *oid,
                    _ => types::TYPES.iter().find(|t| t.name == name).map_or(25, |t| t.oid),
                });
                let parameters: Vec<u32> = named.collect();
                Description { columns: Some(parameters.iter().map(|oid| column("echo", oid_field(*oid))).collect()), parameters }
            }
            "wide" => Description { parameters: vec![], columns: Some(columns_of(&wide(0))) },
            "types" => Description { parameters: vec![], columns: Some(columns_of(&every_type())) },
            "rows" | "forever" | "stuck" | "late" => Description { parameters: vec![], columns: Some(columns_of(&numbers(0, 0))) },
            _ => Description { parameters: vec![], columns: None },
        })
    }

    async fn execute(&mut self, statement: &Arc<dyn Parsed>, parameters: &[Parameter]) -> Result<Execution> {
        let (verb, rest) = split(statement.text());
        if self.status == b'E' && !matches!(verb, "rollback" | "commit") {
            return Err(Error::new(Kind::InFailedTransaction, "current transaction is aborted, commands ignored until end of transaction block"));
        }
        match verb {
            "rows" => Ok(self.rows(numbers(0, 0).schema(), counted(rest.parse().unwrap_or(0)).boxed())),
            "wide" => Ok(self.rows(wide(0).schema(), repeated(rest.parse().unwrap_or(0)).boxed())),
            "types" => {
                let batch = every_type();
                Ok(self.rows(batch.schema(), stream::iter([Ok(batch)]).boxed()))
            }
            "echo" => echo(parameters).map(|batch| self.rows(batch.schema(), stream::iter([Ok(batch)]).boxed())),
            "forever" => Ok(self.rows(numbers(0, 0).schema(), stream::repeat_with(|| Ok(numbers(0, 1000))).boxed())),
            "stuck" => Ok(self.rows(numbers(0, 0).schema(), stream::iter([Ok(numbers(0, 1))]).chain(stream::pending()).boxed())),
            "late" => {
                let batches = [Ok(numbers(0, 1)), Err(Error::new(Kind::DivisionByZero, "division by zero"))];
                Ok(self.rows(numbers(0, 0).schema(), stream::iter(batches).boxed()))
            }
            "hang" => futures::future::pending().await,
            "panic" => panic!("told to"),
            "fail" => Err(Error::new(Kind::UndefinedTable, "relation \"x\" does not exist").with_hint("create it").with_detail("none").at(9)),
            _ => Ok(Execution::Command(self.command(verb, rest))),
        }
    }

    async fn arguments(&mut self, _statement: &Arc<dyn Parsed>, _oids: &[u32]) -> Result<Vec<Parameter>> {
        Ok(Vec::new())
    }

    async fn copy_rows(&mut self, _rows: RecordBatch) -> Result<()> {
        Ok(())
    }

    async fn copied(&mut self) -> Result<u64> {
        Ok(0)
    }

    fn check_not_failed(&self) -> Result<()> {
        Ok(())
    }

    fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    fn reported_settings(&self) -> Vec<(String, String)> {
        self.settings.clone().into_iter().collect()
    }

    fn setting(&self, name: &str) -> Option<String> {
        self.settings.get(name).cloned()
    }

    fn transaction_status(&self) -> u8 {
        self.status
    }

    fn failed(&mut self) {
        if self.status == b'T' {
            self.status = b'E';
        }
    }

    fn rests(&mut self) {}

    fn begin_implicit(&mut self) {}

    async fn end_implicit(&mut self) -> Result<()> {
        Ok(())
    }

    fn lists(&mut self, _statements: Arc<Statements>) {}

    fn commitment(&self) -> Arc<Commitment> {
        Arc::default()
    }
}

impl FakeSession {
    fn command(&mut self, verb: &str, rest: &str) -> String {
        match verb {
            "begin" => self.status = b'T',
            "commit" | "rollback" => {
                let failed = std::mem::replace(&mut self.status, b'I') == b'E';
                return if failed { "ROLLBACK".into() } else { verb.to_uppercase() };
            }
            "notice" => {
                let error = Arc::new(Error::new(Kind::DuplicateTable, "relation \"v\" already exists, skipping"));
                self.notices.push(Notice::Message { severity: "NOTICE", error });
            }
            "set" => {
                let (name, value) = split(rest);
                self.settings.insert(name.to_string(), value.to_string());
            }
            "do" => return rest.to_string(),
            _ => {}
        }
        verb.to_uppercase()
    }

    fn rows(&self, schema: SchemaRef, batches: BoxStream<'static, Result<RecordBatch>>) -> Execution {
        struct Alive(Arc<AtomicUsize>);
        impl Drop for Alive {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        self.live.fetch_add(1, SeqCst);
        let alive = Alive(self.live.clone());
        let stream = batches.map(move |b| {
            let _ = &alive;
            b
        });
        let columns = schema.fields().iter().map(|f| column(f.name(), f.as_ref().clone())).collect();
        Execution::Rows { columns, schema, stream: stream.boxed(), tag: "SELECT" }
    }
}

fn split(text: &str) -> (&str, &str) {
    text.split_once(' ').unwrap_or((text, ""))
}

fn column(name: &str, field: Field) -> ResultColumn {
    ResultColumn { name: name.to_string(), field: Arc::new(field), table_oid: 0, attribute: 0 }
}

fn columns_of(batch: &RecordBatch) -> Vec<ResultColumn> {
    batch.schema().fields().iter().map(|f| column(f.name(), f.as_ref().clone())).collect()
}

fn oid_field(oid: u32) -> Field {
    field_of(oid).unwrap_or_else(|| Field::new("c", DataType::Utf8, true))
}

fn echo(parameters: &[Parameter]) -> Result<RecordBatch> {
    let fields: Vec<Field> = parameters.iter().map(|p| oid_field(p.oid).with_data_type(p.value.data_type().clone())).collect();
    let arrays = parameters.iter().map(|p| p.value.clone()).collect();
    Ok(RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), arrays, &RecordBatchOptions::new().with_row_count(Some(1)))?)
}

/// Rows `first..first + count`.
pub fn numbers(first: i32, count: i32) -> RecordBatch {
    let schema = Schema::new(vec![Field::new("i", DataType::Int32, false), Field::new("t", DataType::Utf8, true)]);
    let texts: Vec<Option<String>> = (first..first + count).map(|i| if i % 7 == 3 { None } else { Some(format!("row {i}")) }).collect();
    let arrays: Vec<ArrayRef> = vec![Arc::new(Int32Array::from_iter_values(first..first + count)), Arc::new(StringArray::from(texts))];
    RecordBatch::try_new(Arc::new(schema), arrays).unwrap()
}

fn counted(rows: i32) -> impl futures::Stream<Item = Result<RecordBatch>> + Send + 'static {
    stream::iter((0..rows).step_by(1000).map(move |first| Ok(numbers(first, 1000.min(rows - first)))))
}

fn wide(rows: usize) -> RecordBatch {
    let of = |name: &str, t: DataType| Field::new(name, t, false);
    let timestamp = DataType::Timestamp(TimeUnit::Microsecond, None);
    let fields = vec![
        of("id", DataType::Int64),
        of("name", DataType::Utf8),
        of("score", DataType::Float64),
        of("at", timestamp),
        of("price", DataType::Decimal128(12, 2)),
    ];
    let numbers = 0..rows as i64;
    let arrays: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(numbers.clone().map(|i| i * 1_000_003))),
        Arc::new(StringArray::from_iter_values(numbers.clone().map(|i| format!("customer {i}")))),
        Arc::new(Float64Array::from_iter_values(numbers.clone().map(|i| i as f64 / 7.0))),
        Arc::new(TimestampMicrosecondArray::from_iter_values(numbers.clone().map(|i| 1_700_000_000_000_000 + i * 1_234_567))),
        Arc::new(Decimal128Array::from_iter_values(numbers.map(|i| i as i128 * 101)).with_precision_and_scale(12, 2).unwrap()),
    ];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

fn repeated(rows: usize) -> impl futures::Stream<Item = Result<RecordBatch>> + Send + 'static {
    let batch = wide(8192);
    stream::iter((0..rows).step_by(8192).map(move |first| Ok(batch.slice(0, 8192.min(rows - first)))))
}

/// Every type with a value as its text, by OID.
pub const VALUES: [(u32, &str); 29] = [
    (16, "t"),
    (17, "\\x00ff"),
    (19, "pg_class"),
    (20, "-9223372036854775808"),
    (21, "-7"),
    (23, "42"),
    (25, "a 'b' é"),
    (26, "4294967295"),
    (114, "{\"b\" : 1}"),
    (700, "1e+06"),
    (701, "1e+300"),
    (1043, "varying"),
    (1082, "0044-03-15 BC"),
    (1083, "04:05:06.789"),
    (1114, "2024-02-29 12:30:00.5"),
    (1184, "2024-02-29 12:30:00+00"),
    (1186, "1 year 2 mons 3 days 04:05:06.789"),
    (1700, "-12345.678900000"),
    (2950, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    (3802, "{\"a\": 1, \"b\": [1, 2]}"),
    (1000, "{t,NULL,f}"),
    (1007, "{1,NULL,3}"),
    (1009, "{a,NULL,\"b c\",\"\"}"),
    (1016, "{}"),
    (1022, "{1.5,-0}"),
    (1115, "{\"2024-02-29 12:30:00\"}"),
    (1231, "{1.500000000,NULL}"),
    (2951, "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"),
    (3807, "{\"{\\\"a\\\": 1}\"}"),
];

pub fn every_type() -> RecordBatch {
    let fields: Vec<Field> = VALUES.iter().map(|(oid, _)| oid_field(*oid).with_name(format!("c{oid}"))).collect();
    let arrays = fields.iter().zip(VALUES).map(|(field, (_, text))| {
        let value = parse_value(field, Some(text), &TextStyle::UTC).unwrap();
        arrow::compute::concat(&[value.as_ref(), new_null_array(field.data_type(), 1).as_ref()]).unwrap()
    });
    let arrays = arrays.collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// A server over the fake backend on a port of its own, in a runtime of its own; dropping it shuts it down.
pub struct TestServer {
    pub port: u16,
    pub stats: Arc<PgStats>,
    pub live: Arc<AtomicUsize>,
    shutdown: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl TestServer {
    pub fn start() -> TestServer {
        TestServer::with_limit(50)
    }

    pub fn with_limit(max_connections: usize) -> TestServer {
        let backend = FakeBackend::default();
        let live = backend.live.clone();
        let server = Server::new(Arc::new(backend), None, max_connections);
        let (shutdown, ending) = watch::channel(false);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let stats = server.stats();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async { server.serve(tokio::net::TcpListener::from_std(listener).unwrap(), ending).await });
        });
        TestServer { port, stats, live, shutdown, thread: Some(thread) }
    }

    /// Shuts down and waits for the end.
    pub fn stop(&mut self) {
        let _ = self.shutdown.send(true);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.stop();
    }
}
