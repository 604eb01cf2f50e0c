//! Temporal filters, with the clock in the test's hand: rows come and leave without any input, also what was due while the server was down.

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
