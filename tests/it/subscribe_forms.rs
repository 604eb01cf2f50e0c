//! The ways in which a subscription is read (rows, COPY, a cursor, a driver), how it ends, and what is refused.

use crate::client::{Client, SqlError};
use crate::server::Server;
use crate::subscribe::PATIENCE;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

fn start(setup: &str) -> (Server, Client) {
    let server = Server::start();
    let mut client = server.connect();
    client.run(setup);
    (server, client)
}

/// A statement without an end, on a thread of its own.
struct Running {
    pieces: Receiver<String>,
    cancel: Box<dyn Fn() + Send>,
    thread: JoinHandle<SqlError>,
}

impl Running {
    fn of(mut client: Client, run: impl FnOnce(&mut Client, Sender<String>) -> Result<(), SqlError> + Send + 'static) -> Running {
        let cancel = Box::new(client.canceller());
        let (sender, pieces) = channel();
        let thread = std::thread::spawn(move || run(&mut client, sender).expect_err("a subscription has no end"));
        Running { pieces, cancel, thread }
    }

    fn rows(server: &Server, sql: &str) -> Running {
        let sql = sql.to_owned();
        Running::of(server.connect(), move |client, sender| client.each_row(&sql, |values| drop(sender.send(values.join("|")))))
    }

    /// The next one, without its epoch.
    fn next(&self) -> String {
        let piece = self.pieces.recv_timeout(PATIENCE).expect("nothing comes");
        piece.split_once('|').unwrap().1.to_owned()
    }

    /// The next ones, sorted.
    fn some(&self, count: usize) -> Vec<String> {
        let mut some: Vec<String> = (0..count).map(|_| self.next()).collect();
        some.sort();
        some
    }

    fn ended(self) -> SqlError {
        let start = Instant::now();
        while !self.thread.is_finished() {
            assert!(start.elapsed() < PATIENCE, "it does not end");
            std::thread::yield_now();
        }
        self.thread.join().unwrap()
    }

    fn cancelled(self) {
        (self.cancel)();
        let error = self.ended();
        assert_eq!((error.code.as_str(), error.message.as_str()), ("57014", "canceling statement due to user request"));
    }
}

const SETUP: &str =
    "CREATE TABLE t (id INT PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'ann'); CREATE MATERIALIZED VIEW n AS SELECT count(*) AS n FROM t";

#[test]
fn rows_copy_and_a_driver_show_the_same_changes() {
    let (server, mut client) = start(SETUP);
    let rows = Running::rows(&server, "SUBSCRIBE t");
    let copied = Running::of(server.connect(), |client, sender| {
        client.each_piece("COPY (SUBSCRIBE TO t) TO STDOUT WITH (FORMAT text, DELIMITER '|', NULL 'NULL')", |piece| {
            String::from_utf8_lossy(piece).lines().for_each(|line| drop(sender.send(line.to_owned())));
        })
    });
    let driver = Running::of(server.connect(), |client, sender| {
        client.each_typed_row("SUBSCRIBE t WITH (PROGRESS = off)", |row| {
            let name = row.get::<_, Option<&str>>("name").unwrap_or("NULL");
            drop(sender.send(format!("{}|{}|{}|{name}", row.get::<_, i64>("tw_epoch"), row.get::<_, i64>("tw_weight"), row.get::<_, i32>("id"))));
        })
    });
    let all = [rows, copied, driver];
    all.iter().for_each(|a| assert_eq!(a.next(), "1|1|ann"));
    client.run("BEGIN; UPDATE t SET name = NULL; INSERT INTO t VALUES (2, 'bob'); DELETE FROM t WHERE id = 2; COMMIT");
    all.iter().for_each(|a| assert_eq!(a.some(2), ["-1|1|ann", "1|1|NULL"]));
    let (lag, relation) =
        ("SELECT sum(lag_epochs) || ' ' || sum(queued_bytes) FROM tidewater.subscriptions", "SELECT min(relation) FROM tidewater.subscriptions");
    client.until(lag, "0 0", PATIENCE);
    assert_eq!((client.number("SELECT count(DISTINCT pid) FROM tidewater.subscriptions"), client.one(relation)), (3, "t".to_owned()));
    let behind = "SELECT count(*) FROM tidewater.subscriptions, tidewater.epochs WHERE subscriptions.epoch > epochs.epoch OR subscriptions.epoch IS NULL";
    assert_eq!(client.one(behind), "0");
    all.into_iter().for_each(Running::cancelled);
    client.until("SELECT count(*) FROM tidewater.subscriptions", "0", PATIENCE);
}

#[test]
fn a_cursor_gives_what_there_is() {
    let (server, mut client) = start(SETUP);
    let mut writer = server.connect();
    // A FETCH that waits in vain is to fail.
    client.run("SET statement_timeout = '60s'");
    let names = |rows: Vec<Vec<String>>| rows.into_iter().map(|r| r[1..].join("|")).collect::<Vec<_>>();
    assert_eq!(client.fails("DECLARE c CURSOR FOR SUBSCRIBE t").code, "25P01");
    client.run("BEGIN; DECLARE c CURSOR FOR SUBSCRIBE t");
    assert_eq!(names(client.texts("FETCH 100 c")), ["1|1|ann"]);
    // Nothing has come until the timeout is over.
    let begun = Instant::now();
    assert_eq!(client.texts("FETCH 100 c WITH (timeout = '200ms')").len(), 0);
    assert!(begun.elapsed() >= Duration::from_millis(200));
    assert_eq!(client.texts("FETCH ALL c WITH (TIMEOUT = INTERVAL '0 seconds')").len(), 0);
    writer.run("INSERT INTO t VALUES (2, 'bob')");
    writer.run("INSERT INTO t VALUES (3, 'eve')");
    assert_eq!(names(client.texts("FETCH 1 c")), ["1|2|bob"]);
    // As soon as there are so many, however long the timeout.
    assert_eq!(names(client.texts("FETCH 1 c WITH (timeout '1h')")), ["1|3|eve"]);
    // Without a timeout it waits for a row, not for the count.
    let waiting = std::thread::spawn(move || names(client.texts("FETCH 100 c")));
    writer.run("INSERT INTO t VALUES (4, 'joe')");
    assert_eq!(waiting.join().unwrap(), ["1|4|joe"]);

    let mut client = server.connect();
    client.run("SET statement_timeout = '60s'");
    client.run("BEGIN; SET LOCAL statement_timeout = '100ms'; DECLARE c CURSOR FOR SUBSCRIBE t WITH (SNAPSHOT = false)");
    let error = client.fails("FETCH 1 c");
    assert_eq!((error.code.as_str(), error.message.as_str()), ("57014", "canceling statement due to statement timeout"));
    client.run("ROLLBACK");
    // A cursor that goes on over transactions, and MOVE; of any query FETCH may be bounded in time.
    client.run("BEGIN; DECLARE h CURSOR WITH HOLD FOR SUBSCRIBE n; COMMIT");
    assert_eq!(names(client.texts("FETCH 1 h")), ["1|4"]);
    writer.run("DELETE FROM t WHERE id = 4");
    client.run("MOVE 1 h");
    assert_eq!(client.texts("FETCH 1 h").len(), 1);
    client.run("CLOSE h; BEGIN; DECLARE q CURSOR FOR SELECT * FROM t ORDER BY id");
    assert_eq!(client.texts("FETCH 2 q WITH (timeout = '1 minute')").len(), 2);
    client.run("COMMIT");
    assert_eq!(client.fails("FETCH 1 q WITH (timeout = '1 month')").code, "22023");
    // A subscription does not show what its transaction has written; one behind it is refused.
    let error = client.fails("BEGIN; INSERT INTO t VALUES (9, 'own'); DECLARE c CURSOR FOR SUBSCRIBE t");
    assert_eq!(error.code, "0A000");
    client.run("ROLLBACK");
}

#[test]
fn a_query_is_followed_and_leaves_nothing() {
    let (server, mut client) = start(SETUP);
    client.run("CREATE VIEW names AS SELECT upper(name) AS name FROM t WHERE id < 100");
    let (grouped, named) = (Running::rows(&server, "SUBSCRIBE (SELECT name, count(*) AS n FROM t GROUP BY name)"), Running::rows(&server, "SUBSCRIBE names"));
    assert_eq!((grouped.next(), named.next()), ("1|ann|1".into(), "1|ANN".into()));
    client.run("INSERT INTO t VALUES (2, 'ann'), (500, 'ann')");
    assert_eq!((grouped.some(2), named.next()), (vec!["-1|ann|1".to_owned(), "1|ann|3".to_owned()], "1|ANN".into()));
    // Nobody can name what was made for them, and nobody is kept from dropping what they read.
    assert_eq!(client.one("SELECT count(*) FROM pg_class WHERE relkind = 'm' AND pg_table_is_visible(oid)"), "1");
    grouped.cancelled();
    client.until("SELECT count(*) FROM tidewater.views", "2", PATIENCE);
    client.run("DROP VIEW names; DROP MATERIALIZED VIEW n; DROP TABLE t");
    let error = named.ended();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("42P01", "what a query reads was dropped while a subscription followed it"));
    assert_eq!(client.one("SELECT count(*) FROM tidewater.views"), "0");
    // A DROP that is taken back, and one that is not.
    client.run("CREATE TABLE t (id INT)");
    let late = Running::rows(&server, "SUBSCRIBE (SELECT count(*) AS n FROM t)");
    assert_eq!(late.next(), "1|0");
    client.run("BEGIN; DROP TABLE t; ROLLBACK; INSERT INTO t VALUES (1)");
    assert_eq!(late.some(2), ["-1|0", "1|1"]);
    client.run("BEGIN; DROP TABLE t; COMMIT");
    assert_eq!(late.ended().code, "42P01");
    assert_eq!(client.one("SELECT count(*) FROM tidewater.views"), "0");
}

/// Cursors of one connection are subscriptions like any other: they have a bound.
#[test]
fn subscriptions_are_counted() {
    let (server, mut client) = start(SETUP);
    client.run("BEGIN");
    let all: Vec<String> = (0..5000).map(|n| format!("DECLARE c{n} CURSOR FOR SUBSCRIBE t WITH (SNAPSHOT = false)")).collect();
    all.chunks(500).for_each(|some| client.run(&some.join("; ")));
    let mut other = server.connect();
    other.run("SET statement_timeout = '10s'");
    let error = other.fails("SUBSCRIBE n");
    assert_eq!((error.code.as_str(), error.message.as_str()), ("53400", "a server may have 5000 subscriptions"));
    let begun = Instant::now();
    server.connect().run("INSERT INTO t VALUES (2, 'bob')");
    println!("an INSERT with 5000 subscriptions takes {:?}", begun.elapsed());
    assert_eq!(client.texts("FETCH 1 c4999").len(), 1);
    client.run("COMMIT");
    client.until("SELECT count(*) FROM tidewater.subscriptions", "0", PATIENCE);
    client.run("BEGIN; DECLARE c CURSOR FOR SUBSCRIBE n; COMMIT");
}

#[test]
fn a_killed_server_forgets_subscriptions_to_queries() {
    let (mut server, _client) = start(SETUP);
    let running = Running::rows(&server, "SUBSCRIBE (SELECT * FROM n)");
    assert_eq!(running.next(), "1|1");
    server.kill();
    assert_eq!(running.ended().code, "lost");
    server.restart();
    assert_eq!(server.connect().one("SELECT string_agg(view, ' ') FROM tidewater.views"), "n");
}

#[test]
fn it_ends_with_what_it_follows_with_the_server_and_with_its_client() {
    let (mut server, mut client) = start(SETUP);
    let (view, table) = (Running::rows(&server, "SUBSCRIBE n"), Running::rows(&server, "SUBSCRIBE t"));
    assert_eq!((view.next(), table.next()), ("1|1".into(), "1|1|ann".into()));
    client.run("SET statement_timeout = '100ms'");
    assert_eq!(client.fails("SUBSCRIBE t").code, "57014");
    client.run("RESET statement_timeout");
    client.run("DROP MATERIALIZED VIEW n");
    let error = view.ended();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("42P01", "materialized view \"n\" was dropped while a subscription followed it"));
    // A client that goes away without a word.
    let lost = server.connect();
    let pid = {
        let mut lost = lost;
        lost.run("BEGIN; DECLARE c CURSOR FOR SUBSCRIBE t; FETCH 1 c");
        lost.number("SELECT pg_backend_pid()")
    };
    client.until(&format!("SELECT count(*) FROM tidewater.subscriptions WHERE pid = {pid}"), "0", PATIENCE);
    assert_eq!(client.one("SELECT count(*) FROM tidewater.subscriptions"), "1");
    assert!(server.terminate().success());
    assert_eq!(table.ended().code, "57P01");
}

/// A client that stops reading is cut off; others, and the server's memory, do not notice.
#[test]
fn a_slow_subscriber_is_cut_off() {
    let server = Server::with(&["--memory", "128MiB"]);
    let mut client = server.connect();
    client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, text TEXT)");
    let quick = Running::of(server.connect(), |client, sender| client.each_row("SUBSCRIBE t", |values| drop(sender.send(values[2].to_owned()))));
    let (go_on, wait) = channel::<()>();
    let slow = Running::of(server.connect(), move |client, sender| {
        client.each_row("SUBSCRIBE t", |values| {
            drop(sender.send(values[0].to_owned()));
            let _ = wait.recv();
        })
    });
    client.until("SELECT count(*) FROM tidewater.subscriptions", "2", PATIENCE);
    // Each insert is a megabyte; what the sockets between hold is some.
    let mut inserted = 0;
    while client.one("SELECT count(*) FROM tidewater.subscriptions") == "2" {
        client.run(&format!("INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series({}, {}) AS g(g)", inserted, inserted + 999));
        inserted += 1000;
        assert!(inserted < 200_000, "a subscriber that does not read is not cut off");
        assert!(client.number("SELECT max(queued_bytes) FROM tidewater.subscriptions") < 4 << 20);
    }
    let mut seen = 0;
    while seen < inserted {
        quick.pieces.recv_timeout(PATIENCE).expect("the other one goes on");
        seen += 1;
    }
    drop(go_on);
    let error = slow.ended();
    assert_eq!(error.code, "53400", "{error}");
    assert!(error.detail.contains("bytes of changes waited") && error.hint.contains("SNAPSHOT = false) AS OF"), "{error:?}");
    quick.cancelled();
}

#[test]
fn what_is_refused_says_where_and_why() {
    let (_server, mut client) = start(SETUP);
    client.run(
        "CREATE SOURCE s (a INT) WITH (connector = 'datagen', rows = '10'); CREATE INDEX i ON t (name); \
         CREATE MATERIALIZED VIEW apart WITH (isolated = true) AS SELECT count(*) AS n FROM t",
    );
    // One that is not refused has no end.
    client.run("SET statement_timeout = '10s'");
    for (sql, code, said) in [
        ("SUBSCRIBE nothing", "42P01", "relation \"nothing\" does not exist"),
        ("SUBSCRIBE s", "42809", "source \"s\" keeps no rows"),
        ("SUBSCRIBE i", "42809", "index \"i\" cannot be subscribed to"),
        ("SUBSCRIBE apart", "0A000", "isolated"),
        ("SUBSCRIBE tidewater.views", "0A000", "system relations cannot be subscribed to"),
        ("SUBSCRIBE (SELECT * FROM tidewater.views)", "0A000", "system relations"),
        ("SUBSCRIBE (SELECT * FROM apart)", "0A000", "isolated"),
        ("SUBSCRIBE (SELECT random())", "0A000", ""),
        ("SUBSCRIBE (INSERT INTO t VALUES (1))", "0A000", "SUBSCRIBE takes a relation or a query"),
        ("SUBSCRIBE (SELECT * FROM t", "42601", "syntax error"),
        ("SUBSCRIBE t AS OF 1", "0A000", "the rows of an older epoch cannot be had"),
        ("SUBSCRIBE t AS OF now()", "42601", "syntax error"),
        ("SUBSCRIBE t AS OF 1.5", "22023", "AS OF takes the number of an epoch"),
        ("SUBSCRIBE (SELECT 1) AS OF 1 WITH (SNAPSHOT = false)", "0A000", "AS OF in a subscription to a query"),
        ("SUBSCRIBE t WITH (SPEED)", "22023", "unrecognized parameter \"speed\""),
        ("SUBSCRIBE t WITH (SNAPSHOT = maybe)", "42601", "a Boolean value was expected"),
        ("SUBSCRIBE t ENVELOPE UPSERT (KEY (id))", "0A000", "ENVELOPE of SUBSCRIBE is not supported"),
        ("SUBSCRIBE t UP TO 7", "0A000", "UP TO of SUBSCRIBE is not supported"),
        ("SUBSCRIBE t now", "42601", "syntax error at or near \"now\""),
        ("COPY (SUBSCRIBE t) FROM STDIN", "42601", "syntax error"),
        ("EXPLAIN SUBSCRIBE t", "0A000", ""),
    ] {
        let error = client.fails(sql);
        assert!(error.code == code && error.message.contains(said), "{sql}\n{error}");
    }
}
