//! Golden plans: every `tests/plans/*.txt` holds queries and what becomes of them. `UPDATE_EXPECT=1` writes the files anew; read the diff.
//!
//! ```text
//!   # what is shown
//!   SELECT … [EMIT ON WINDOW CLOSE]
//!   ----
//!   incremental plan, graph                     or: ERROR 0A000: message, HINT: …
//!   ====
//! ```
//! Relations are those of the oracle (`oracle/world.rs`).

use super::oracle::Judge;
use super::{Request, explain, incremental, relation};
use crate::error::Result;
use crate::types::ids::TableId;
use std::path::PathBuf;

fn planned(judge: &Judge, sql: &str) -> Result<String> {
    let (query, emit) = match sql.trim().strip_suffix("EMIT ON WINDOW CLOSE") {
        Some(query) => (query, true),
        None => (sql, false),
    };
    let bound = judge.bind(query)?;
    let mut next = 0;
    let mut allocate = || {
        next += 1;
        TableId(next)
    };
    let plan = incremental(Request { query: &bound, emit_on_window_close: emit, allocate: &mut allocate })?;
    Ok(format!("{}{}", explain::tree(&plan, &relation::names(&bound)), explain::graph(&plan)))
}

fn answer(judge: &Judge, sql: &str) -> String {
    match planned(judge, sql) {
        Ok(text) => text,
        Err(e) => format!("ERROR {}: {}\n{}", e.sqlstate(), e.message(), e.hint().map_or(String::new(), |h| format!("HINT: {h}\n"))),
    }
}

fn regenerated(judge: &Judge, file: &str) -> String {
    let block = |block: &str| {
        let query = block.split("\n----\n").next().unwrap_or(block).trim();
        let sql = query.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n");
        format!("{query}\n----\n{}", answer(judge, &sql))
    };
    file.split("====\n").filter(|b| !b.trim().is_empty()).map(block).collect::<Vec<_>>().join("====\n")
}

#[test]
fn golden_plans() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/plans");
    let update = std::env::var_os("UPDATE_EXPECT").is_some();
    let judge = Judge::new();
    let mut files = std::fs::read_dir(&folder).unwrap().map(|f| f.unwrap().path()).collect::<Vec<_>>();
    files.sort();
    assert!(!files.is_empty(), "no golden plans");
    for path in files {
        let file = std::fs::read_to_string(&path).unwrap();
        let found = regenerated(&judge, &file);
        if update {
            std::fs::write(&path, found).unwrap();
        } else {
            assert!(file == found, "{}: the plan differs; found\n{found}\nrun with UPDATE_EXPECT=1 and read the diff", path.display());
        }
    }
}
