//! `tests/slt/*.slt` through a real Postgres client: each file against a server of its own.
//!
//! The formats are sqllogictest's: `statement ok`, `statement error REGEX`, `query T...` with the expected rows. A
//! file that grows wrong is rewritten by `UPDATE_EXPECT=1 cargo test --release --test it slt` and read in the diff.

use crate::client::{Client, SqlError};
use crate::postgres::Postgres;
use crate::server::Server;
use sqllogictest::{DB, DBOutput, DefaultColumnType, Runner};
use std::path::{Path, PathBuf};

struct Connection(Client);

impl DB for Connection {
    type Error = SqlError;
    type ColumnType = DefaultColumnType;

    fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, SqlError> {
        let (columns, rows) = self.0.try_table(sql)?;
        let Some(columns) = columns else { return Ok(DBOutput::StatementComplete(0)) };
        let types = vec![DefaultColumnType::Any; columns];
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

const FIRST_LINE_OF_JUDGED: &str = "# judged by PostgreSQL as well";

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "slt")).collect();
    files.sort();
    assert!(!files.is_empty());
    let only = std::env::var("SLT").ok();
    files.retain(|f| only.as_ref().is_none_or(|o| f.to_string_lossy().contains(o)));
    files
}

fn run_all(files: &[PathBuf], mut run: impl FnMut(&Path) -> Result<(), String>) {
    let failed: Vec<String> = files.iter().filter_map(|f| run(f).err().map(|why| format!("{}:\n{why}", f.display()))).collect();
    assert!(failed.is_empty(), "{} of {} files failed\n{}", failed.len(), files.len(), failed.join("\n"));
}

#[test]
fn slt_files_give_the_expected_rows() {
    run_all(&files(), |file| {
        let server = Server::start();
        let port = server.sql_port;
        let mut runner = Runner::new(|| async { Client::connect(port).map(Connection) });
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            // The connection blocks inside sqllogictest's futures, which this executor, unlike tokio's, allows.
            let update =
                runner.update_test_file(file, " ", sqllogictest::default_validator, sqllogictest::default_normalizer, sqllogictest::default_column_validator);
            return futures::executor::block_on(update).map_err(|e| e.to_string());
        }
        runner.run_file(file).map_err(|e| e.display(false).to_string())
    });
}

/// What has no streaming part must be true of PostgreSQL too: the expected rows of these files are its, not ours.
#[test]
fn slt_files_without_streaming_agree_with_postgres() {
    let judged: Vec<PathBuf> = files().into_iter().filter(|f| std::fs::read_to_string(f).unwrap().starts_with(FIRST_LINE_OF_JUDGED)).collect();
    let postgres = Postgres::start();
    run_all(&judged, |file| {
        postgres.fresh_database();
        // PostgreSQL does not maintain its materialized views; a plain view gives what a maintained one must.
        let text = std::fs::read_to_string(file).unwrap().replace("MATERIALIZED VIEW", "VIEW");
        let port = postgres.port;
        let mut runner = Runner::new(|| async { Client::connect(port).map(Connection) });
        runner.run_script(&text).map_err(|e| e.display(false).to_string())
    });
}
