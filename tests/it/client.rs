//! A blocking Postgres client over tokio-postgres: text in, text out, as psql would show it.

use futures::{SinkExt, StreamExt};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_postgres::error::DbError;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, NoTls, SimpleQueryMessage, Statement};

pub type Row = Vec<Option<String>>;

/// What the server said no with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    pub code: String,
    pub message: String,
    pub detail: String,
    pub hint: String,
    /// Where it happened: the line of a COPY.
    pub context: String,
}

impl std::fmt::Display for SqlError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        if self.hint.is_empty() { Ok(()) } else { write!(f, "; hint: {}", self.hint) }
    }
}

impl std::error::Error for SqlError {}

impl From<tokio_postgres::Error> for SqlError {
    fn from(e: tokio_postgres::Error) -> Self {
        match e.as_db_error() {
            Some(db) => SqlError::said(db),
            None => SqlError { code: "lost".to_string(), message: e.to_string(), detail: String::new(), hint: String::new(), context: String::new() },
        }
    }
}

impl SqlError {
    fn said(db: &DbError) -> SqlError {
        let text = |part: Option<&str>| part.unwrap_or_default().to_string();
        SqlError {
            code: db.code().code().to_string(),
            message: db.message().to_string(),
            detail: text(db.detail()),
            hint: text(db.hint()),
            context: text(db.where_()),
        }
    }
}

pub struct Client {
    runtime: Runtime,
    inner: tokio_postgres::Client,
    notices: Arc<Mutex<Vec<SqlError>>>,
}

impl Client {
    pub fn connect(port: u16) -> Result<Client, SqlError> {
        Client::connect_as(port, "tidewater", "tidewater")
    }

    pub fn connect_as(port: u16, user: &str, database: &str) -> Result<Client, SqlError> {
        Client::connect_with(port, &format!("user={user} dbname={database}"))
    }

    /// With these words of a connection string: `user=ann password=x`.
    pub fn connect_with(port: u16, words: &str) -> Result<Client, SqlError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let settings = format!("host=127.0.0.1 port={port} connect_timeout=10 {words}");
        let (inner, mut connection) = runtime.block_on(tokio_postgres::connect(&settings, NoTls))?;
        let notices: Arc<Mutex<Vec<SqlError>>> = Arc::default();
        let kept = notices.clone();
        runtime.spawn(async move {
            while let Some(Ok(message)) = futures::future::poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notice(notice) = message {
                    kept.lock().unwrap().push(SqlError::said(&notice));
                }
            }
        });
        Ok(Client { runtime, inner, notices })
    }

    /// What the server has remarked since the last call.
    pub fn notices(&mut self) -> Vec<SqlError> {
        std::mem::take(&mut self.notices.lock().unwrap())
    }

    /// What psql does at Ctrl-C, for use beside a statement that runs: a call ends the statement of that moment.
    pub fn canceller(&self) -> impl Fn() + Send + 'static {
        let (token, runtime) = (self.inner.cancel_token(), self.runtime.handle().clone());
        move || runtime.block_on(token.cancel_query(NoTls)).unwrap()
    }

    /// One or more statements; the rows of all of them.
    pub fn try_rows(&mut self, sql: &str) -> Result<Vec<Row>, SqlError> {
        Ok(self.try_table(sql)?.1)
    }

    /// The same with the number of columns, if a statement has any.
    pub fn try_table(&mut self, sql: &str) -> Result<(Option<usize>, Vec<Row>), SqlError> {
        let messages = self.runtime.block_on(self.inner.simple_query(sql))?;
        let (mut columns, mut rows) = (None, Vec::new());
        for message in &messages {
            match message {
                SimpleQueryMessage::RowDescription(described) => columns = Some(described.len()),
                SimpleQueryMessage::Row(row) => rows.push((0..row.len()).map(|i| row.get(i).map(str::to_string)).collect()),
                _ => {}
            }
        }
        Ok((columns, rows))
    }

    /// One query whose rows are too many to keep; NULL is `NULL`.
    pub fn each_row(&mut self, sql: &str, mut each: impl FnMut(&[&str])) -> Result<(), SqlError> {
        self.runtime.block_on(async {
            let mut messages = std::pin::pin!(self.inner.simple_query_raw(sql).await?);
            while let Some(message) = messages.next().await {
                if let SimpleQueryMessage::Row(row) = message? {
                    let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("NULL")).collect();
                    each(&values);
                }
            }
            Ok(())
        })
    }

    /// One query over the extended protocol; texts and whole numbers.
    pub fn each_typed_row(&mut self, sql: &str, mut each: impl FnMut(&tokio_postgres::Row)) -> Result<(), SqlError> {
        self.runtime.block_on(async {
            let parameters: [&(dyn ToSql + Sync); 0] = [];
            let mut rows = std::pin::pin!(self.inner.query_raw(sql, parameters).await?);
            while let Some(row) = rows.next().await {
                each(&row?);
            }
            Ok(())
        })
    }

    /// The data of a `COPY … TO STDOUT`, as it comes.
    pub fn each_piece(&mut self, sql: &str, mut each: impl FnMut(&[u8])) -> Result<(), SqlError> {
        self.runtime.block_on(async {
            let mut pieces = std::pin::pin!(self.inner.copy_out(sql).await?);
            while let Some(piece) = pieces.next().await {
                each(&piece?);
            }
            Ok(())
        })
    }

    /// The data of a `COPY … TO STDOUT`.
    pub fn copy_out(&mut self, sql: &str) -> Result<Vec<u8>, SqlError> {
        let mut data = Vec::new();
        self.each_piece(sql, |piece| data.extend_from_slice(piece))?;
        Ok(data)
    }

    /// Gives `data` to a `COPY … FROM STDIN`, so many bytes at a time.
    pub fn copy_in(&mut self, sql: &str, data: &[u8], size: usize) -> Result<u64, SqlError> {
        self.copy_pieces(sql, data.chunks(size).map(<[u8]>::to_vec))
    }

    /// Gives pieces to a `COPY … FROM STDIN`, each when the one before it was taken.
    pub fn copy_pieces(&mut self, sql: &str, pieces: impl Iterator<Item = Vec<u8>>) -> Result<u64, SqlError> {
        self.runtime.block_on(async {
            let mut sink = std::pin::pin!(self.inner.copy_in::<_, bytes::Bytes>(sql).await?);
            for piece in pieces {
                if sink.send(piece.into()).await.is_err() {
                    break;
                }
            }
            Ok(sink.finish().await?)
        })
    }

    pub fn prepare(&mut self, sql: &str) -> Statement {
        self.runtime.block_on(self.inner.prepare(sql)).unwrap_or_else(|e| panic!("{}\nin: {sql}", SqlError::from(e)))
    }

    /// The rows of a prepared statement, of texts and whole numbers.
    pub fn try_query(&mut self, statement: &Statement, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Vec<String>>, SqlError> {
        let rows = self.runtime.block_on(self.inner.query(statement, parameters))?;
        let value = |row: &tokio_postgres::Row, i: usize| match *row.columns()[i].type_() {
            Type::INT4 => row.get::<_, Option<i32>>(i).map(|v| v.to_string()),
            Type::INT8 => row.get::<_, Option<i64>>(i).map(|v| v.to_string()),
            _ => row.get::<_, Option<String>>(i),
        };
        Ok(rows.iter().map(|row| (0..row.len()).map(|i| value(row, i).unwrap_or_else(|| "NULL".to_string())).collect()).collect())
    }

    pub fn query(&mut self, statement: &Statement, parameters: &[&(dyn ToSql + Sync)]) -> Vec<Vec<String>> {
        self.try_query(statement, parameters).unwrap_or_else(|e| panic!("{e}"))
    }

    pub fn rows(&mut self, sql: &str) -> Vec<Row> {
        self.try_rows(sql).unwrap_or_else(|e| panic!("{e}\nin: {sql}"))
    }

    /// Rows with NULL as `NULL`.
    pub fn texts(&mut self, sql: &str) -> Vec<Vec<String>> {
        self.rows(sql).into_iter().map(|r| r.into_iter().map(|v| v.unwrap_or_else(|| "NULL".to_string())).collect()).collect()
    }

    pub fn run(&mut self, sql: &str) {
        self.rows(sql);
    }

    /// The first column of the only row.
    pub fn one(&mut self, sql: &str) -> String {
        let rows = self.texts(sql);
        assert!(rows.len() == 1 && !rows[0].is_empty(), "{} rows from {sql}", rows.len());
        rows[0][0].clone()
    }

    pub fn number(&mut self, sql: &str) -> i64 {
        let text = self.one(sql);
        if text == "NULL" { 0 } else { text.parse().unwrap_or_else(|_| panic!("{text} is no whole number: {sql}")) }
    }

    pub fn fails(&mut self, sql: &str) -> SqlError {
        match self.try_rows(sql) {
            Ok(rows) => panic!("{} rows instead of an error from {sql}", rows.len()),
            Err(e) => e,
        }
    }

    /// Asks until the answer is `expected`.
    pub fn until(&mut self, sql: &str, expected: &str, timeout: Duration) {
        let start = Instant::now();
        loop {
            let answer = match self.try_rows(sql) {
                Ok(rows) => rows.first().and_then(|r| r.first()).and_then(Clone::clone).unwrap_or_else(|| "NULL".to_string()),
                Err(e) => e.to_string(),
            };
            if answer == expected {
                return;
            }
            assert!(start.elapsed() < timeout, "{sql}\nstill answers {answer} instead of {expected} after {timeout:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks until it is answered at all, as it is not while something is not ready.
    pub fn until_answered(&mut self, sql: &str, timeout: Duration) -> Vec<Vec<String>> {
        let start = Instant::now();
        loop {
            match self.try_rows(sql) {
                Ok(rows) => return rows.into_iter().map(|r| r.into_iter().map(|v| v.unwrap_or_else(|| "NULL".to_string())).collect()).collect(),
                Err(e) => assert!(e.code == "55000" && start.elapsed() < timeout, "{e}\nin: {sql}"),
            }
        }
    }

    /// A statement over the extended protocol, parameters as text.
    pub fn prepared(&mut self, sql: &str, parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)]) -> Result<Vec<tokio_postgres::Row>, SqlError> {
        Ok(self.runtime.block_on(self.inner.query(sql, parameters))?)
    }
}
