//! `tests/slt/*.slt` through a real Postgres client: each file against a server of its own.
//!
//! The formats are sqllogictest's: `statement ok`, `statement error REGEX`, `query T...` with the expected rows. A
//! file that grows wrong is rewritten by `UPDATE_EXPECT=1 cargo test --release --test it slt` and read in the diff.

use crate::client::{Client, SqlError};
use crate::server::Server;
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};
use std::path::{Path, PathBuf};

struct Connection(Client);

impl DB for Connection {
    type Error = SqlError;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, SqlError> {
        let rows = self.0.try_rows(sql)?;
        let Some(first) = rows.first() else { return Ok(DBOutput::StatementComplete(0)) };
        let types = vec![DefaultColumnType::Any; first.len()];
        let text = |value: Option<String>| match value {
            None => "NULL".to_string(),
            Some(text) if text.is_empty() => "(empty)".to_string(),
            Some(text) => text,
        };
        Ok(DBOutput::Rows { types, rows: rows.into_iter().map(|r| r.into_iter().map(text).collect()).collect() })
    }

    fn engine_name(&self) -> &str {
        "tidewater"
    }

    fn error_sql_state(error: &SqlError) -> Option<String> {
        Some(error.code.clone())
    }
}

#[test]
fn slt_files_give_the_expected_rows() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "slt")).collect();
    files.sort();
    assert!(!files.is_empty());
    let only = std::env::var("SLT").ok();
    let mut failed = Vec::new();
    for file in files.iter().filter(|f| only.as_ref().is_none_or(|o| f.to_string_lossy().contains(o))) {
        if let Err(why) = run_file(file) {
            failed.push(format!("{}:\n{why}", file.file_name().unwrap().to_string_lossy()));
        }
    }
    assert!(failed.is_empty(), "{} files failed\n{}", failed.len(), failed.join("\n"));
}

fn run_file(file: &Path) -> Result<(), String> {
    let server = Server::start();
    let port = server.sql_port;
    let mut runner = Runner::new(|| async { Client::connect(port).map(Connection) });
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        // sqllogictest is asynchronous inside; the connection blocks, which its executor allows.
        let update = runner.update_test_file(file, " ", sqllogictest::default_validator, sqllogictest::default_normalizer, sqllogictest::default_column_validator);
        return futures::executor::block_on(update).map_err(|e| e.to_string());
    }
    runner.run_file(file).map_err(|e| e.display(false).to_string())
}
