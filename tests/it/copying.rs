//! COPY, cursors and prepared statements of SQL, as PostgreSQL answers the same statements.

use crate::client::{Client, SqlError};
use crate::postgres::Postgres;
use crate::random::Random;
use crate::server::Server;
use std::time::Instant;

fn both() -> (Server, Postgres, Client, Client) {
    let (server, postgres) = (Server::start(), Postgres::start());
    postgres.fresh_database();
    let (ours, theirs) = (server.connect(), Client::connect(postgres.port).unwrap());
    (server, postgres, ours, theirs)
}

const COLUMNS: &str = "id INT PRIMARY KEY, name VARCHAR(8), amount NUMERIC(8,2), at TIMESTAMPTZ, ok BOOLEAN DEFAULT true, raw BYTEA, tags TEXT[], doc JSONB";
const OPTIONS: [&str; 7] = [
    "",
    "(FORMAT csv)",
    "(FORMAT csv, HEADER, DELIMITER ';', NULL 'nil', QUOTE '''')",
    "CSV HEADER",
    "WITH DELIMITER '|' NULL AS ''",
    "(FORMAT csv, ESCAPE '\\')",
    "(FORMAT binary)",
];

/// What a COPY says, and about which value of which line. (Of what is wrong with a whole row PostgreSQL shows the row; here that is found when all have come.)
fn said(result: Result<u64, SqlError>) -> String {
    match result {
        Ok(rows) => format!("{rows} rows"),
        Err(e) => {
            let place = if e.context.contains(", column") { e.context.as_str() } else { "" };
            format!("{} {} [{place}]", e.code, e.message)
        }
    }
}

#[test]
fn what_goes_out_and_comes_in_is_what_postgres_writes_and_reads() {
    let (_server, _postgres, mut ours, mut theirs) = both();
    let rows = "(1, 'plain', 1.50, '2026-02-28 12:00:00+00', true, '\\x00ff', '{a,NULL,\"b c\"}', '{\"a\": [1, null]}'), \
                (2, E'tab\\there', NULL, '1999-12-31 23:59:59.123456+02', false, NULL, '{}', NULL), \
                (3, E'li\\nne', -0.01, NULL, NULL, '', NULL, '\"x\"'), (4, 'a,b;c|d', 0, NULL, NULL, NULL, NULL, NULL), \
                (5, 'q\"u''o', 999999.99, NULL, NULL, NULL, NULL, NULL), (6, '', NULL, NULL, NULL, NULL, NULL, NULL), (7, '\\N', 1, NULL, NULL, NULL, '{\\\\,\"\"}', NULL), \
                (8, 'nil', NULL, NULL, NULL, NULL, NULL, NULL), (9, E'\\\\.', NULL, NULL, NULL, NULL, NULL, NULL), (10, 'ünï', NULL, NULL, NULL, NULL, NULL, NULL)";
    for client in [&mut ours, &mut theirs] {
        client.run(&format!("CREATE TABLE t ({COLUMNS}); CREATE TABLE back ({COLUMNS}); INSERT INTO t VALUES {rows}"));
    }
    for options in OPTIONS {
        let query = format!("COPY (SELECT * FROM t ORDER BY id) TO STDOUT {options}");
        let (mine, expected) = (ours.copy_out(&query).unwrap(), theirs.copy_out(&query).unwrap());
        assert_eq!(String::from_utf8_lossy(&mine), String::from_utf8_lossy(&expected), "{options}");
        theirs.run("DELETE FROM back");
        theirs.copy_in(&format!("COPY back FROM STDIN {options}"), &expected, 4096).unwrap();
        // In pieces that end anywhere.
        for size in [1, 7, 4096] {
            ours.run("DELETE FROM back");
            let copied = ours.copy_in(&format!("COPY back FROM STDIN {options}"), &expected, size);
            assert_eq!(said(copied), "10 rows", "{options}, pieces of {size}");
            assert_eq!(ours.texts("SELECT * FROM back ORDER BY id"), theirs.texts("SELECT * FROM back ORDER BY id"), "{options}, pieces of {size}");
        }
        let query = format!("COPY t (name, id) TO STDOUT {options}");
        assert_eq!(sorted(&ours.copy_out(&query).unwrap()), sorted(&theirs.copy_out(&query).unwrap()), "{options}");
    }
}

/// A table has no order.
fn sorted(rows: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<Vec<u8>> = rows.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    lines.sort();
    lines
}

#[test]
fn rows_that_are_wrong_are_told_as_postgres_tells_them_and_load_nothing() {
    let (server, postgres, mut ours, mut theirs) = both();
    for client in [&mut ours, &mut theirs] {
        client.run("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(4), n NUMERIC(6,2) DEFAULT 7)");
        client.run("INSERT INTO t VALUES (1, 'one', 1)");
    }
    for (copy, data) in [
        ("COPY t FROM STDIN", "2\ttwo\t2\n3\tthree\t3\n"),
        ("COPY t FROM STDIN", "2\ttwo\t2\nx\tthr\t3\n"),
        ("COPY t FROM STDIN", "2\ttwo\n"),
        ("COPY t FROM STDIN", "2\ttwo\t2\t\n"),
        ("COPY t FROM STDIN", "2\ttwo\t1e9\n"),
        ("COPY t FROM STDIN", "\\N\ttwo\t2\n"),
        ("COPY t FROM STDIN", "2\ttwo\t2\n\\.\n"),
        ("COPY t FROM STDIN", "12\ttw\\x6f\t2\\062\n13\ta\\tb\t2"),
        ("COPY t FROM STDIN", ""),
        ("COPY t (id) FROM STDIN", "20\n21\n"),
        ("COPY t (name, id) FROM STDIN (FORMAT csv, HEADER)", "whatever,it says\n\"a\nb\",30\n,31\n\"\",32\n"),
        ("COPY t FROM STDIN CSV", "40,\"x\n"),
        ("COPY t FROM STDIN CSV", "41,abc,\n"),
        ("COPY t FROM STDIN CSV", "42,\"a\"\"b\",3\n43,\"a\"b,4\n"),
        ("COPY t FROM STDIN (FORMAT binary)", "PGCOPX\n\x7f\r\n\0\0\0\0\0\0\0\0\0"),
        ("COPY nowhere FROM STDIN", ""),
        ("COPY t (id, nothing) FROM STDIN", ""),
        ("COPY t (id, id) FROM STDIN", ""),
        ("COPY t FROM STDIN (FORMAT xml)", ""),
        ("COPY t FROM STDIN (DELIMITER 'ab')", ""),
        ("COPY t FROM STDIN (QUOTE 'x')", ""),
        ("COPY t FROM STDIN (FORMAT csv, DELIMITER '\"')", ""),
    ] {
        // The driver gives a connection up on which COPY was refused at once.
        (ours, theirs) = (server.connect(), Client::connect(postgres.port).unwrap());
        let (mine, expected) = (ours.copy_in(copy, data.as_bytes(), 5), theirs.copy_in(copy, data.as_bytes(), 5));
        (ours, theirs) = (server.connect(), Client::connect(postgres.port).unwrap());
        assert_eq!(said(mine), said(expected), "{copy}: {data:?}");
        assert_eq!(ours.texts("SELECT * FROM t ORDER BY id"), theirs.texts("SELECT * FROM t ORDER BY id"), "{copy}: {data:?}");
    }
    let twice = ours.copy_in("COPY t FROM STDIN", b"2\tx\t1\n1\ty\t1\n", 100).unwrap_err();
    assert_eq!(twice.code, "23505");
    assert_eq!(ours.one("SELECT count(*) FROM t WHERE id = 2 AND name = 'x'"), "0");
    ours.run("BEGIN");
    ours.copy_in("COPY t FROM STDIN", b"90\tx\t1\n", 100).unwrap();
    assert_eq!(ours.one("SELECT count(*) FROM t WHERE id = 90"), "1");
    ours.run("ROLLBACK");
    assert_eq!(ours.one("SELECT count(*) FROM t WHERE id = 90"), "0");
    ours.run("CREATE MATERIALIZED VIEW sums AS SELECT count(*) AS n, sum(n) AS n_sum FROM t; CREATE VIEW plain AS SELECT * FROM t");
    ours.copy_in("COPY t FROM STDIN", b"91\tx\t1.5\n", 100).unwrap();
    assert_eq!(String::from_utf8(ours.copy_out("COPY sums TO STDOUT").unwrap()).unwrap(), ours.texts("SELECT * FROM sums")[0].join("\t") + "\n");
    assert_eq!(server.connect().copy_out("COPY plain TO STDOUT").unwrap_err().code, "42809");
    assert_eq!(server.connect().copy_in("COPY sums FROM STDIN", b"", 1).unwrap_err().code, "42809");
    assert_eq!(server.connect().copy_out("COPY t TO '/tmp/x'").unwrap_err().code, "0A000");
}

#[test]
fn many_rows_go_in_and_out() {
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE many (id BIGINT PRIMARY KEY, name TEXT); CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n, sum(id) AS s FROM many");
    let rows: String = (0..200_000).map(|i| format!("{i}\tname of {i}\n")).collect();
    let start = Instant::now();
    assert_eq!(said(client.copy_in("COPY many FROM STDIN", rows.as_bytes(), 65536)), "200000 rows");
    println!("in: {:?}", start.elapsed());
    assert_eq!(client.texts("SELECT * FROM n"), [["200000", "19999900000"]]);
    let start = Instant::now();
    assert_eq!(client.copy_out("COPY (SELECT * FROM many ORDER BY id) TO STDOUT").unwrap(), rows.as_bytes());
    println!("out: {:?}", start.elapsed());
}

/// Statements in random order give what PostgreSQL gives: rows, or the error's code.
#[test]
fn cursors_and_prepared_statements_answer_as_in_postgres() {
    let (_server, _postgres, mut ours, mut theirs) = both();
    for client in [&mut ours, &mut theirs] {
        client.run("CREATE TABLE t (k INT PRIMARY KEY, v TEXT); INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 10) AS g(i)");
    }
    let mut random = Random::from_environment();
    let mut said = Vec::new();
    for _ in 0..800 {
        let (n, c) = (1 + random.below(5), random.below(3));
        let hold = ["", "WITHOUT HOLD ", "WITH HOLD "][random.below(3) as usize];
        let sql = match random.below(19) {
            0 | 1 => "BEGIN".to_string(),
            2 => "COMMIT".into(),
            3 => "ROLLBACK".into(),
            4..=6 => format!("DECLARE c{c} NO SCROLL CURSOR {hold}FOR SELECT k, v FROM t WHERE k > {n} ORDER BY k"),
            7 | 8 => format!("FETCH {n} FROM c{c}"),
            9 => format!("FETCH c{c}"),
            10 => format!("FETCH ALL IN c{c}"),
            11 => format!("MOVE FORWARD {n} FROM c{c}"),
            12 => format!("CLOSE c{c}"),
            13 => "CLOSE ALL".into(),
            14 => format!("PREPARE p{c} (INT, TEXT) AS SELECT k + $1, v || $2, $3 || '.' FROM t WHERE k <= $1 ORDER BY k"),
            15 => format!("EXECUTE p{c} ({n}, 'x', upper('y'))"),
            16 => format!("EXECUTE p{c} ({n})"),
            17 => format!("DEALLOCATE p{c}"),
            _ => "DISCARD ALL".into(),
        };
        said.push(sql.clone());
        let answer = |client: &mut Client| client.try_rows(&sql).map_err(|e| e.code);
        assert_eq!(answer(&mut ours), answer(&mut theirs), "after\n{}", said.join(";\n"));
    }
}
