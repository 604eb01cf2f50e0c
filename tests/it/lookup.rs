//! Rows found by keys and indexes are those that reading everything finds: after random changes, over several epochs, before and after checkpoints
//! and `kill -9`.

use crate::client::Client;
use crate::random::Random;
use crate::server::Server;

const SETUP: &str = "
CREATE TABLE t (a int, b text, f double precision, n numeric(10,2), d timestamp, ok boolean, PRIMARY KEY (a, b));
CREATE TABLE u (a int, b text, f double precision, ok boolean);
CREATE TABLE l (a int, b text, f double precision) APPEND ONLY;
CREATE MATERIALIZED VIEW g AS SELECT f, a, count(*) AS c, max(b) AS b, bool_or(ok) AS ok FROM t GROUP BY f, a;
CREATE MATERIALIZED VIEW w AS SELECT b, a, f, ok FROM u;
CREATE INDEX t_f ON t (f, d DESC);
CREATE INDEX t_n ON t (n DESC NULLS LAST) INCLUDE (f);
CREATE INDEX t_b ON t (b);
CREATE INDEX u_f ON u (f, b);
CREATE INDEX u_ok ON u (ok DESC, a) INCLUDE (b);
CREATE INDEX l_b ON l (b, f DESC);
CREATE INDEX g_c ON g (c, b DESC);
CREATE INDEX w_f ON w (f) INCLUDE (a)";

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from[random.below(from.len() as u64) as usize]
}

fn int(random: &mut Random) -> &'static str {
    pick(random, &["-3", "0", "1", "2", "3", "2147483647", "NULL::int"])
}

fn text(random: &mut Random) -> &'static str {
    pick(random, &["''", "'a'", "'ab'", "'abc'", "'b'", "'ü'", "NULL::text"])
}

fn float(random: &mut Random) -> &'static str {
    pick(random, &["'-0'::float8", "0::float8", "1.5::float8", "'-1e300'::float8", "'NaN'::float8", "'Infinity'::float8", "NULL::float8"])
}

fn boolean(random: &mut Random) -> &'static str {
    pick(random, &["true", "false", "NULL::boolean"])
}

fn numeric(random: &mut Random) -> &'static str {
    pick(random, &["1.50", "-2", "0", "99999999.99", "NULL::numeric(10,2)"])
}

fn time(random: &mut Random) -> &'static str {
    pick(random, &["'2024-01-01'::timestamp", "'1969-12-31 23:59:59.999999'::timestamp", "'2030-02-03 04:05:06'::timestamp", "NULL::timestamp"])
}

fn not_null(random: &mut Random, value: fn(&mut Random) -> &'static str) -> &'static str {
    loop {
        let text = value(random);
        if !text.starts_with("NULL") {
            return text;
        }
    }
}

/// One random change.
fn change(random: &mut Random) -> String {
    let (a, b, f) = (not_null(random, int), not_null(random, text), float(random));
    let (n, d, ok) = (numeric(random), time(random), boolean(random));
    match random.below(9) {
        0..=3 => format!("INSERT INTO t VALUES ({a}, {b}, {f}, {n}, {d}, {ok}) ON CONFLICT (a, b) DO UPDATE SET f = {f}, n = {n}, d = {d}, ok = {ok}"),
        4 => format!("DELETE FROM t WHERE a = {a} AND b >= {b}"),
        5 => format!("UPDATE t SET f = {f} WHERE b = {b}"),
        6 => format!("INSERT INTO u VALUES ({a}, {b}, {f}, {ok}), ({}, {}, {f}, {ok}), ({a}, {b}, {f}, {ok})", int(random), text(random)),
        7 => format!("DELETE FROM u WHERE a = {a} AND ok IS NOT TRUE"),
        _ => format!("INSERT INTO l VALUES ({a}, {b}, {f}), ({}, {}, {f})", int(random), text(random)),
    }
}

/// A condition on a column that the relation has.
fn condition(random: &mut Random, relation: &str) -> String {
    let columns: &[&str] = match relation {
        "t" => &["a", "b", "f", "n", "d", "ok"],
        "l" => &["a", "b", "f"],
        "g" => &["f", "a", "c", "b", "ok"],
        _ => &["a", "b", "f", "ok"],
    };
    let column = pick(random, columns);
    if column == "ok" {
        return pick(random, &["ok", "NOT ok", "ok IS NULL", "ok = true", "ok IS NOT TRUE"]).to_owned();
    }
    let value = |random: &mut Random| match column {
        "a" => int(random),
        "b" => text(random),
        "f" => float(random),
        "n" => numeric(random),
        "d" => time(random),
        _ => pick(random, &["1", "2", "3", "10000000000"]),
    };
    let operator = pick(random, &["=", "=", "=", "<", "<=", ">", ">=", "IN", "BETWEEN", "IS NULL", "LIKE"]);
    match operator {
        "IN" => format!("{column} IN ({}, {}, {})", value(random), value(random), value(random)),
        "BETWEEN" => format!("{column} BETWEEN {} AND {}", value(random), value(random)),
        "IS NULL" => format!("{column} IS NULL"),
        "LIKE" if column == "b" => format!("b LIKE {}", pick(random, &["'a%'", "'ab_'", "'%b'", "''", "'ü%'"])),
        "LIKE" => format!("({column} = {} OR {column} = {})", value(random), value(random)),
        _ => format!("{column} {operator} {}", value(random)),
    }
}

fn sorted(mut rows: Vec<Vec<String>>) -> Vec<Vec<String>> {
    rows.sort();
    rows
}

/// Compares; tells whether a key or an index was used.
fn check(client: &mut Client, random: &mut Random) -> bool {
    let relation = pick(random, &["t", "u", "l", "g", "w"]);
    let conditions: Vec<String> = (0..1 + random.below(3)).map(|_| condition(random, relation)).collect();
    let filter = conditions.join(" AND ");
    // Behind CASE no condition is seen: everything is read.
    let everything = format!("CASE WHEN {filter} THEN true ELSE false END");
    let columns = match relation {
        "t" => pick(random, &["*", "n, f", "a, b", "f, d"]),
        "u" => pick(random, &["*", "ok, b", "f"]),
        "w" => pick(random, &["*", "a, f"]),
        _ => "*",
    };
    let found = sorted(client.texts(&format!("SELECT {columns} FROM {relation} WHERE {filter}")));
    let expected = sorted(client.texts(&format!("SELECT {columns} FROM {relation} WHERE {everything}")));
    assert_eq!(found, expected, "{columns} of {relation} where {filter}");
    let counted = client.number(&format!("SELECT count(*) FROM {relation} WHERE {filter}"));
    assert_eq!(counted as usize, expected.len(), "the batch engine counts {relation} where {filter}");
    let first = client.texts(&format!("SELECT {columns} FROM {relation} WHERE {filter} LIMIT 2"));
    assert!(first.len() == expected.len().min(2) && first.iter().all(|row| expected.contains(row)), "the first two of {relation} where {filter}");
    let plan = client.texts(&format!("EXPLAIN SELECT {columns} FROM {relation} WHERE {filter}"));
    plan.iter().any(|line| line[0].contains("look-up by") || line[0].contains("range of"))
}

#[test]
fn rows_by_keys_and_indexes_are_those_that_reading_everything_finds() {
    let mut random = Random::from_environment();
    let mut server = Server::with(&[]);
    let mut client = server.connect();
    let (before, after) = SETUP.split_once("CREATE INDEX").unwrap();
    client.run(before);
    // Some rows are there before the indexes, which are built over them.
    (0..30).for_each(|_| client.run(&change(&mut random)));
    client.run(&format!("CREATE INDEX{after}"));
    let mut by_key = 0;
    for round in 0..60 {
        (0..random.below(6)).for_each(|_| client.run(&change(&mut random)));
        if random.below(4) == 0 {
            client.run("FLUSH");
        }
        if round % 20 == 19 {
            server.kill();
            server.restart();
            client = server.connect();
        }
        by_key += (0..8).filter(|_| check(&mut client, &mut random)).count();
    }
    assert!(by_key > 150, "{by_key} of 480 queries found their rows by key or index");
}

/// What a prepared statement finds changes with the rows, and with what names and settings mean.
#[test]
fn prepared_look_ups_follow_rows_and_names() {
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE p (k int, s text, v bigint, PRIMARY KEY (k, s)); INSERT INTO p VALUES (1, 'a', 10), (1, 'b', 20), (2, 'a', 30)");
    let one = client.prepare("SELECT v, s FROM p WHERE k = $1 AND s = $2");
    let few = client.prepare("SELECT s, v FROM p WHERE $1 = k AND v > $2 ORDER BY s DESC LIMIT $3");
    assert_eq!(client.query(&one, &[&1i32, &"b"]), [["20", "b"]]);
    assert_eq!(client.query(&one, &[&3i32, &"b"]), Vec::<Vec<String>>::new());
    assert_eq!(client.query(&one, &[&None::<i32>, &"b"]), Vec::<Vec<String>>::new());
    assert_eq!(client.query(&few, &[&1i32, &5i64, &1i64]), [["b", "20"]]);
    assert_eq!(client.query(&few, &[&1i32, &5i64, &9i64]), [["b", "20"], ["a", "10"]]);
    assert_eq!(client.query(&few, &[&1i32, &15i64, &9i64]), [["b", "20"]]);
    client.run("CREATE INDEX p_kv ON p (k, v DESC) INCLUDE (s)");
    client.run("INSERT INTO p SELECT 7, 's' || i, i % 5000 FROM generate_series(1, 10000) AS g(i)");
    let newest = client.prepare("SELECT s FROM p WHERE k = $1 ORDER BY v DESC, s LIMIT 3");
    assert_eq!(client.query(&newest, &[&7i32]), [["s4999"], ["s9999"], ["s4998"]]);
    assert_eq!(client.texts("SELECT s FROM p WHERE k = 7 AND s > 's5' ORDER BY v DESC, s DESC LIMIT 2 OFFSET 1"), [["s9998"], ["s9997"]]);
    assert_eq!(client.texts("SELECT s FROM p WHERE k = 7 ORDER BY s LIMIT 2"), [["s1"], ["s10"]]);
    assert_eq!(client.number("SELECT count(*) FROM p WHERE k = 7"), 10_000);
    assert_eq!(client.texts("SELECT v FROM p WHERE k = 7 ORDER BY v").len(), 10_000, "more than one batch");
    client.run("UPDATE p SET v = 21 WHERE s = 'b'; DELETE FROM p WHERE k = 2");
    assert_eq!(client.query(&one, &[&1i32, &"b"]), [["21", "b"]]);
    assert_eq!(client.query(&one, &[&2i32, &"a"]), Vec::<Vec<String>>::new());
    client.run("CREATE INDEX p_v ON p (v)");
    assert_eq!(client.query(&one, &[&1i32, &"b"]), [["21", "b"]]);
    client.run("DROP TABLE p; CREATE TABLE p (s text, v bigint, k int PRIMARY KEY); INSERT INTO p VALUES ('b', 5, 1)");
    assert_eq!(client.query(&one, &[&1i32, &"b"]), [["5", "b"]]);
    client.run("DROP TABLE p");
    assert_eq!(client.try_query(&one, &[&1i32, &"b"]).unwrap_err().code, "42P01");
    client.run("CREATE TABLE p (k int PRIMARY KEY, s text, v int)");
    assert_eq!(client.try_query(&one, &[&1i32, &"b"]).unwrap_err().code, "0A000", "another type of result");
}
