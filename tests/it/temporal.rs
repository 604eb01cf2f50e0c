//! Temporal filters, with the clock in the test's hand: rows come and leave without any input, also what was due while the server was down. Joins in time through
//! `kill -9`: what they remember, what they dropped, and what they counted as late.

use crate::clocked::Clocked;
use crate::oracle::SECOND;
use crate::server::Server;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// 2024-01-01 10:00:00
const START: i64 = 1_704_103_200 * SECOND;

const CREATE: &str = "CREATE TABLE session (id INT PRIMARY KEY, ts TIMESTAMP, until TIMESTAMPTZ); \
     CREATE MATERIALIZED VIEW recent AS SELECT id, ts FROM session WHERE ts > now() - INTERVAL '1 hour'; \
     CREATE MATERIALIZED VIEW open AS SELECT id FROM session WHERE now() BETWEEN ts AND until; \
     CREATE MATERIALIZED VIEW counts AS SELECT count(*) AS n FROM recent";
const INSERT: &str = "INSERT INTO session VALUES (1, '2024-01-01 09:30:00', '2024-01-01 10:10:00+00'), (2, '2024-01-01 09:59:00', '2024-01-01 10:00:00+00'), \
     (3, '2024-01-01 10:20:00', '2024-01-01 10:20:00+00'), (4, '2024-01-01 08:59:59', NULL), (5, NULL, NULL)";

#[test]
fn rows_come_and_leave_as_the_clock_passes() {
    let clocked = Clocked::start(START);
    let mut client = clocked.connect();
    client.run(CREATE);
    client.run(INSERT);
    let ids = "SELECT string_agg(id::text, ',' ORDER BY id) FROM";
    assert_eq!(client.one(&format!("{ids} recent")), "1,2,3");
    assert_eq!(client.one(&format!("{ids} open")), "1,2", "the last moment of 2 is now");
    let epoch = client.number("SELECT epoch FROM tidewater.epochs");
    assert_eq!(client.number("SELECT epoch FROM tidewater.epochs"), epoch, "nothing is due, nothing runs");
    clocked.advance(1);
    client.until(&format!("{ids} open"), "1", PATIENCE);
    clocked.advance(30 * 60 * SECOND - 2);
    client.until(&format!("{ids} open"), "NULL", PATIENCE);
    assert_eq!(client.one(&format!("{ids} recent")), "1,2,3", "a microsecond before it leaves");
    clocked.advance(1);
    client.until(&format!("{ids} recent"), "2,3", PATIENCE);
    client.until("SELECT n FROM counts", "2", PATIENCE);
    // A row that is changed moves to its new time; one that is deleted is forgotten.
    client.run("UPDATE session SET ts = '2024-01-01 10:25:00' WHERE id = 2; DELETE FROM session WHERE id = 3");
    assert_eq!(client.one(&format!("{ids} recent")), "2");
    clocked.advance(54 * 60 * SECOND);
    assert_eq!(client.one("SELECT n FROM counts"), "1");
    clocked.advance(60 * SECOND);
    client.until("SELECT n FROM counts", "0", PATIENCE);
    // A clock that is set back brings nothing back.
    clocked.advance(-3600 * SECOND);
    client.run("INSERT INTO session VALUES (6, '2024-01-01 12:00:00', NULL)");
    assert_eq!(client.one(&format!("{ids} recent")), "6");
}

#[test]
fn rows_that_were_due_while_the_server_was_down_leave_at_its_start() {
    let mut server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE t (id INT, ts TIMESTAMPTZ); CREATE MATERIALIZED VIEW recent AS SELECT id FROM t WHERE ts > now() - INTERVAL '6 seconds'");
    client.run("INSERT INTO t VALUES (1, now()), (2, now() + INTERVAL '1 day'), (3, now() - INTERVAL '1 day')");
    assert_eq!(client.texts("SELECT id FROM recent ORDER BY id"), [["1"], ["2"]]);
    server.kill();
    server.restart();
    let mut client = server.connect();
    client.until("SELECT count(*) FROM recent", "1", PATIENCE);
    assert_eq!(client.one("SELECT id FROM recent"), "2");
}

#[test]
fn joins_in_time_go_on_after_a_kill() {
    let mut server = Server::start();
    server.connect().run(
        "CREATE TABLE shown (id INT, ts TIMESTAMP, WATERMARK FOR ts AS ts) APPEND ONLY; \
         CREATE TABLE clicked (id INT, ts TIMESTAMP, WATERMARK FOR ts AS ts) APPEND ONLY; \
         CREATE TABLE price (id INT PRIMARY KEY, cents INT); \
         CREATE MATERIALIZED VIEW fate AS SELECT s.id, s.ts AS shown, c.ts AS clicked FROM shown s LEFT JOIN clicked c ON s.id = c.id AND c.ts BETWEEN s.ts AND s.ts + INTERVAL '10 seconds'; \
         CREATE MATERIALIZED VIEW nearest AS SELECT c.id, c.ts - s.ts AS passed FROM clicked c ASOF LEFT JOIN shown s MATCH_CONDITION (c.ts >= s.ts) ON c.id = s.id; \
         CREATE MATERIALIZED VIEW paid AS SELECT c.id, c.ts, p.cents FROM clicked c JOIN price FOR SYSTEM_TIME AS OF PROCTIME() p ON c.id = p.id",
    );
    let at = |seconds: i64| format!("'2024-01-01 10:00:00'::timestamp + INTERVAL '{seconds} seconds'");
    let summary = "SELECT (SELECT count(*) FROM fate WHERE clicked IS NULL) || ' ' || (SELECT count(*) FROM fate WHERE clicked IS NOT NULL) || ' ' || (SELECT late_rows FROM tidewater.views WHERE view = 'fate')";
    // In round n: a row of 20 n that is clicked on, one that is not, a click of the round before at its last moment, one that is late. The price changes each time.
    for n in 0..12 {
        let mut client = server.connect();
        client.run(&format!("INSERT INTO price VALUES (1, {n}) ON CONFLICT (id) DO UPDATE SET cents = excluded.cents"));
        client.run(&format!("INSERT INTO shown VALUES (1, {}), (2, {})", at(20 * n), at(20 * n + 1)));
        client.run(&format!("INSERT INTO clicked VALUES (1, {})", at(20 * n + 10)));
        client.run(&format!("INSERT INTO clicked VALUES (2, {})", at(20 * n + 5)));
        assert_eq!(client.one(summary), format!("{} {} {}", n + 1, n + 1, n + 1), "round {n}");
        let nearest = "SELECT string_agg(id || ' ' || passed, ',') FROM nearest";
        assert_eq!(client.one(nearest), vec!["1 00:00:10"; n as usize + 1].join(","), "round {n}");
        let seen = client.texts("SELECT id, shown, clicked FROM fate ORDER BY shown");
        if n % 3 == 1 {
            if n % 2 == 0 {
                client.run("FLUSH");
            }
            server.kill();
            server.restart();
            let mut client = server.connect();
            assert_eq!(client.texts("SELECT id, shown, clicked FROM fate ORDER BY shown"), seen, "after the kill in round {n}");
            assert_eq!(client.one(summary), format!("{} {} {}", n + 1, n + 1, n + 1), "after the kill in round {n}");
            assert_eq!(client.one(nearest), vec!["1 00:00:10"; n as usize + 1].join(","), "after the kill in round {n}");
        }
    }
    let mut client = server.connect();
    assert_eq!(client.one("SELECT string_agg(cents::text, ',' ORDER BY ts) FROM paid"), "0,1,2,3,4,5,6,7,8,9,10,11");
}
