//! What texts are read as, and what Postgres says about those that cannot be read.

use super::parse;
use crate::catalog::object::Include;
use crate::sql::ast::{Followed, ObjectKind, RelationKind, Show, StatementKind};
use crate::types::direction::Direction;
use std::time::Duration;

fn one(text: &str) -> StatementKind {
    let mut statements = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.pop().unwrap().kind
}

/// SQLSTATE, message, position.
fn error(text: &str) -> (String, String, Option<usize>) {
    let e = parse(text).expect_err(text);
    (e.sqlstate().to_owned(), e.message().to_owned(), e.position())
}

#[test]
fn a_source_with_all_its_clauses() {
    let StatementKind::CreateRelation(create) =
        one("CREATE SOURCE IF NOT EXISTS Bid (auction BIGINT, price numeric(10, 2) NOT NULL, ts TIMESTAMP, d date AS ts::date,
           info struct<a int, b struct<c varchar, d int[]>>[], WATERMARK FOR ts AS ts - INTERVAL '5 seconds')
         INCLUDE partition AS p INCLUDE header 'trace' AS trace INCLUDE offset
         WITH (connector = 'kafka', Topic = 'bid', properties.bootstrap.server = 'host:9092', rate = 5)
         FORMAT PLAIN ENCODE JSON (strict = 'true');")
    else {
        panic!()
    };
    assert_eq!((create.kind, create.name.name.as_str(), create.if_not_exists), (RelationKind::Source, "bid", true));
    let names: Vec<&str> = create.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["auction", "price", "ts", "d", "info", "p", "trace", "offset"]);
    assert!(create.columns[1].not_null);
    assert_eq!(create.columns[3].generated.as_ref().unwrap().sql, "ts::date");
    assert_eq!(create.columns[4].data_type.to_string(), "STRUCT<\"a\" INT, \"b\" STRUCT<\"c\" VARCHAR, \"d\" INT[]>>[]");
    assert_eq!(create.columns[6].include, Some(Include::Header("trace".into())));
    assert_eq!(create.watermark.as_ref().unwrap().expression.sql, "ts - INTERVAL '5 seconds'");
    assert_eq!(create.with["properties.bootstrap.server"], "host:9092");
    assert_eq!((create.with["topic"].as_str(), create.with["rate"].as_str()), ("bid", "5"));
    let format = create.format.unwrap();
    assert_eq!((format.upsert, format.encode.as_str(), format.options["strict"].as_str()), (false, "json", "true"));
}

#[test]
fn a_table_with_keys_and_defaults() {
    let StatementKind::CreateRelation(create) = one(
        "create table public.t (\"Id\" int primary key, b varchar(20) default 'x' || 'y' not null, c timestamptz default now(), e double precision) append only",
    ) else {
        panic!()
    };
    assert_eq!((create.kind, create.append_only), (RelationKind::Table, true));
    assert_eq!(create.primary_key[0].0, "Id");
    assert_eq!(create.columns[1].default.as_ref().unwrap().sql, "'x' || 'y'");
    assert!(create.columns[1].not_null);
    assert_eq!(create.columns[2].default.as_ref().unwrap().sql, "now()");
    assert_eq!(error("create table t (a int primary key, b int, primary key (b))").0, "42P17");
}

#[test]
fn views_keep_their_query_as_typed() {
    let StatementKind::CreateView(view) = one("CREATE MATERIALIZED VIEW m (a, n) WITH (isolated = true) AS SELECT a, count(*) FROM t EMIT ON WINDOW CLOSE")
    else {
        panic!()
    };
    assert!(view.materialized && view.emit_on_window_close);
    assert_eq!(view.columns, ["a", "n"]);
    assert_eq!(view.query_text.sql, "SELECT a, count(*) FROM t");
    assert_eq!(view.with["isolated"], "true");
    assert_eq!(error("CREATE VIEW m AS SELECT 1 EMIT ON WINDOW CLOSE").0, "0A000");
}

#[test]
fn both_spellings_of_windows_read_the_same() {
    let text = |sql: &str| match one(sql) {
        StatementKind::Query(q) => q.to_string(),
        _ => panic!(),
    };
    assert_eq!(
        text("SELECT * FROM TABLE(TUMBLE(TABLE bid, DESCRIPTOR(ts), INTERVAL '10' SECOND)) w"),
        text("SELECT * FROM TUMBLE(bid, ts, INTERVAL '10' SECOND) w")
    );
}

#[test]
fn several_statements_comments_and_nothing() {
    assert_eq!(parse("select 1; -- a\n;; select 2 ;").unwrap().len(), 2);
    assert_eq!(parse("  -- ping\n /* x */ ;").unwrap().len(), 0);
    assert_eq!(parse("select 1;\n  select 2").unwrap()[1].text, "select 2");
}

#[test]
fn small_statements() {
    assert!(
        matches!(one("DROP MATERIALIZED VIEW IF EXISTS a, s.b CASCADE"), StatementKind::Drop(d) if d.kind == ObjectKind::MaterializedView && d.names.len() == 2 && d.cascade && d.if_exists)
    );
    assert!(matches!(one("show create table t"), StatementKind::Show(Show::Create(ObjectKind::Table, _))));
    assert!(matches!(one("SHOW Materialized VIEWS"), StatementKind::Show(Show::Objects(ObjectKind::MaterializedView))));
    assert!(matches!(one("SET TIME ZONE 'UTC'"), StatementKind::Set(s) if s.name == "timezone"));
    assert!(matches!(one("set a.b to 'x', y"), StatementKind::Set(s) if s.name == "a.b" && s.value.as_deref() == Some("x, y")));
    assert!(matches!(one("set datestyle to default"), StatementKind::Set(s) if s.value.is_none()));
    let transaction = |sql: &str| match one(sql) {
        StatementKind::Transaction(t) => format!("{t:?}"),
        other => format!("{other:?}"),
    };
    assert_eq!(
        transaction("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY DEFERRABLE"),
        "Begin { modes: Modes { isolation: Some(RepeatableRead), read_only: Some(true) }, tag: \"BEGIN\" }"
    );
    assert_eq!(transaction("start transaction"), "Begin { modes: Modes { isolation: None, read_only: None }, tag: \"START TRANSACTION\" }");
    assert_eq!(transaction("END WORK AND CHAIN"), "Commit { chain: true }");
    assert_eq!(transaction("rollback"), "Rollback { chain: false }");
    assert_eq!(transaction("abort transaction to s"), "RollbackTo(\"s\")");
    assert_eq!(transaction("release savepoint \"S\""), "Release(\"S\")");
    assert!(transaction("SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE").contains("session: true"));
    assert!(matches!(one("explain create materialized view m as select 1"), StatementKind::Explain(_)));
    assert!(matches!(one("flush"), StatementKind::Flush));
}

/// Each answer was compared with PostgreSQL 15's.
#[test]
fn syntax_errors_are_postgres() {
    let syntax = |text: &str, message: &str, position: usize| {
        assert_eq!(error(text), ("42601".into(), message.into(), Some(position)), "{text}");
    };
    syntax("selec 1", "syntax error at or near \"selec\"", 1);
    syntax("select 1 from", "syntax error at end of input", 14);
    syntax("select * from t where", "syntax error at end of input", 22);
    syntax("select 1;\nselect ä from t whe re", "syntax error at or near \"re\"", 31);
    syntax("create table t (a int,, b int)", "syntax error at or near \",\"", 23);
    syntax("create table t (a int", "syntax error at end of input", 22);
    syntax("drop table", "syntax error at end of input", 11);
    syntax("insert into t values (1,)", "syntax error at or near \")\"", 25);
    syntax("select 'abc", "unterminated quoted string at or near \"'abc\"", 8);
    syntax("select \"abc", "unterminated quoted identifier at or near \"\"abc\"", 8);
}

#[test]
fn what_is_not_acted_on_is_refused() {
    for text in [
        "copy t from '/tmp/file'",
        "copy t from stdin (force_null (a))",
        "declare c scroll cursor for subscribe t",
        "alter table t rename column a to b",
        "create temp table t (a int) on commit drop",
        "refresh materialized view v with no data",
        "comment on database d is 'x'",
        "commit prepared 'x'",
        "alter table t add column b int",
        "create unique index i on t (a)",
        "create index i on t (lower(a))",
        "create index i on t ((a + 1))",
        "create index i on t (a) where a > 3",
        "create index i on t using hash (a)",
        "select * from t for update",
        "select * from t tablesample bernoulli (1)",
        "select a into b from t",
        "create table t (a int unique)",
        "create table t (a int check (a > 0))",
        "create or replace view v as select 1",
        "with d as (delete from t returning *) select * from d",
        "explain analyze select 1",
    ] {
        assert_eq!(error(text).0, "0A000", "{text}");
    }
}

#[test]
fn depth_is_bounded_before_anything_recurses() {
    let chain = format!("select {}1", "1+".repeat(100_000));
    assert_eq!(error(&chain).0, "54001");
    let nested = format!("select {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert_eq!(error(&nested).0, "54001");
    let calls = format!("select {}1{}", "abs(".repeat(200), ")".repeat(200));
    assert_eq!(error(&calls).0, "54001");
    let tables = format!("select * from {}t{}", "(".repeat(90), ")".repeat(90));
    let _ = parse(&tables);
    assert_eq!(error(&format!("select {}", "1,".repeat(1_100_000))).0, "54000");
    assert_eq!(error("select $100000").0, "42P02");
    assert_eq!(error("select $0").0, "42P02");
    assert!(parse(&format!("select '{}', $65535", "1,".repeat(2_000_000))).is_ok());
    // Long is not deep.
    let rows: Vec<String> = (0..20_000).map(|i| format!("({i}, -{i})")).collect();
    assert!(parse(&format!("insert into t values {}", rows.join(","))).is_ok());
}

#[test]
fn no_text_panics() {
    let seeds = [
        "select",
        "(",
        ")",
        "'",
        "\"",
        "$1",
        "table",
        "tumble",
        "descriptor",
        ",",
        "struct",
        "<",
        ">>",
        "create",
        "source",
        "with",
        "=",
        ";",
        "as",
        "ä",
        "\u{0}",
        "emit on window close",
        "1e",
        "::",
        "[",
    ];
    let mut state = 7u64;
    for _ in 0..3000 {
        let mut text = String::new();
        for _ in 0..12 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            text.push_str(seeds[(state >> 33) as usize % seeds.len()]);
            text.push(' ');
        }
        let _ = parse(&text);
    }
}

#[test]
fn subscriptions_say_what_and_from_where() {
    let parsed = |text: &str| {
        let StatementKind::Subscribe(subscribe) = one(text) else { panic!("{text}") };
        let what = match &subscribe.what {
            Followed::Relation(name) => name.quoted(),
            Followed::Query { text, .. } => format!("{} at {}", text.sql, text.position),
        };
        (what, subscribe.snapshot, subscribe.progress, subscribe.as_of)
    };
    assert_eq!(parsed("subscribe T"), ("\"t\"".into(), true, false, None));
    let all = ("\"public\".\"v\"".to_owned(), false, true, Some((17, 67)));
    assert_eq!(parsed("SUBSCRIBE TO public.v WITH (SNAPSHOT = false, PROGRESS)     AS OF 17"), all);
    assert_eq!(parsed("SUBSCRIBE TO public.v AS OF '17' WITH (progress true, snapshot 'off')"), (all.0, false, true, Some((17, 29))));
    assert_eq!(parsed("SUBSCRIBE (SELECT (1))"), ("SELECT (1) at 11".into(), true, false, None));
    assert_eq!(error("SUBSCRIBE t UP TO 3"), ("0A000".into(), "UP TO of SUBSCRIBE is not supported".into(), Some(13)));
    assert_eq!(error("SUBSCRIBE t AS OF AT LEAST 3").2, Some(19));
    assert_eq!(error("SUBSCRIBE t WITH (SNAPSHOT) WITH (PROGRESS)"), ("42601".into(), "syntax error at or near \"WITH\"".into(), Some(29)));
    assert_eq!(error("SUBSCRIBE (SELECT 1").0, "42601");
    let fetch = |text: &str| {
        let StatementKind::Fetch(fetch) = one(text) else { panic!("{text}") };
        (fetch.direction, fetch.timeout)
    };
    assert_eq!(fetch("FETCH 100 c WITH (timeout = '1.5s')"), (Direction::Forward(Some(100)), Some(Duration::from_millis(1500))));
    assert_eq!(fetch("FETCH ALL FROM c WITH (TIMEOUT INTERVAL '1 day')"), (Direction::Forward(None), Some(Duration::from_secs(86_400))));
    assert_eq!(fetch("FETCH PRIOR FROM c").0, Direction::Backward(Some(1)));
    assert_eq!(fetch("MOVE BACKWARD ALL IN c").0, Direction::Backward(None));
    assert_eq!(fetch("FETCH -2 c").0, Direction::Backward(Some(2)));
    assert_eq!(fetch("FETCH LAST c").0, Direction::Absolute(-1));
    assert_eq!(fetch("FETCH RELATIVE -2 FROM c").0, Direction::Relative(-2));
    assert_eq!(error("FETCH 1 c WITH (timeout = '-1s')"), ("22023".into(), "a timeout is a time from 0 up to years".into(), Some(27)));
}
