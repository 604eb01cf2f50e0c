//! Transactions as clients write them: what is seen by whom and when, what ROLLBACK takes back, who is refused; through kills too.

use crate::client::Client;
use crate::postgres::Postgres;
use crate::random::Random;
use crate::server::Server;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn accounts(client: &mut Client) {
    client.run("CREATE TABLE account (id INT PRIMARY KEY, balance BIGINT NOT NULL)");
    client.run("CREATE TABLE note (what TEXT)");
    client.run("CREATE TABLE event (n BIGINT) APPEND ONLY");
    client.run("CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n, sum(balance) AS balance FROM account");
    client.run("INSERT INTO account SELECT i, 100 FROM generate_series(1, 10) AS g(i)");
}

#[test]
fn a_transaction_sees_its_own_changes_and_nobody_else_does_before_it_commits() {
    let server = Server::start();
    let (mut a, mut b) = (server.connect(), server.connect());
    accounts(&mut a);
    a.run("BEGIN");
    a.run("UPDATE account SET balance = balance - 30 WHERE id = 1");
    a.run("UPDATE account SET balance = balance + 30 WHERE id = 2");
    a.run("INSERT INTO account VALUES (11, 5)");
    a.run("DELETE FROM account WHERE id = 3");
    a.run("INSERT INTO note VALUES ('x'), ('x'), ('y')");
    a.run("DELETE FROM note WHERE what = 'y'");
    a.run("INSERT INTO event VALUES (1)");
    a.run("INSERT INTO event VALUES (2)");
    assert_eq!(a.one("SELECT sum(balance) FROM account"), "905");
    assert_eq!(a.one("SELECT balance FROM account WHERE id = 2"), "130");
    assert_eq!(a.one("SELECT count(*) FROM account WHERE id = 3"), "0");
    assert_eq!(a.one("SELECT string_agg(what, ',') FROM note"), "x,x");
    assert_eq!(a.one("SELECT string_agg(n::text, ',' ORDER BY n) FROM event"), "1,2");
    assert_eq!(a.fails("INSERT INTO account VALUES (11, 7)").code, "23505");
    assert_eq!(a.fails("SELECT 1").code, "25P02");
    a.run("ROLLBACK");
    assert_eq!(a.one("SELECT sum(balance) FROM account"), "1000");
    assert_eq!(a.one("SELECT count(*) FROM note"), "0");
    a.run("BEGIN; UPDATE account SET balance = balance - 30 WHERE id = 1; UPDATE account SET balance = balance + 30 WHERE id = 2; INSERT INTO note VALUES ('moved')");
    assert_eq!(a.one("SELECT balance FROM total"), "1000");
    let notices = a.notices();
    assert!(notices.iter().any(|n| n.message.contains("when it has committed")), "{notices:?}");
    assert_eq!(b.one("SELECT balance FROM account WHERE id = 1"), "100");
    assert_eq!(b.one("SELECT count(*) FROM note"), "0");
    a.run("COMMIT");
    assert_eq!(b.rows("SELECT balance FROM account WHERE id <= 2 ORDER BY id").len(), 2);
    assert_eq!(b.one("SELECT balance FROM account WHERE id = 1"), "70");
    assert_eq!(b.one("SELECT what FROM note"), "moved");
    assert_eq!(a.one("SELECT balance FROM total"), "1000");
}

#[test]
fn savepoints_cut_back_and_let_a_failed_block_go_on() {
    let server = Server::start();
    let mut a = server.connect();
    accounts(&mut a);
    a.run("BEGIN");
    a.run("INSERT INTO note VALUES ('kept')");
    a.run("SET LOCAL statement_timeout = '5s'");
    a.run("SAVEPOINT one");
    a.run("INSERT INTO note VALUES ('cut')");
    a.run("SET statement_timeout = '7s'");
    a.run("SAVEPOINT two");
    assert_eq!(a.fails("SELECT 1 / 0").code, "22012");
    assert_eq!(a.fails("SAVEPOINT three").code, "25P02");
    a.run("ROLLBACK TO two");
    assert_eq!(a.one("SELECT count(*) FROM note"), "2");
    assert_eq!(a.one("SHOW statement_timeout"), "7s");
    a.run("ROLLBACK TO SAVEPOINT one");
    assert_eq!(a.one("SELECT what FROM note"), "kept");
    assert_eq!(a.one("SHOW statement_timeout"), "5s");
    assert_eq!(a.fails("ROLLBACK TO two").code, "3B001");
    a.run("ROLLBACK TO one");
    a.run("INSERT INTO note VALUES ('again'); RELEASE one");
    assert_eq!(a.fails("RELEASE SAVEPOINT one").code, "3B001");
    a.run("COMMIT");
    // The block had failed.
    assert_eq!(a.one("SELECT count(*) FROM note"), "0");
    assert_eq!(a.one("SHOW statement_timeout"), "0");
    assert_eq!(a.fails("SAVEPOINT s").code, "25P01");
    a.run("COMMIT");
    assert_eq!(a.notices().last().unwrap().code, "25P01");
    a.run("BEGIN; BEGIN");
    assert_eq!(a.notices().last().unwrap().code, "25001");
    a.run("INSERT INTO note VALUES ('chained'); COMMIT AND CHAIN");
    a.run("INSERT INTO note VALUES ('lost'); ROLLBACK");
    assert_eq!(a.one("SELECT string_agg(what, ',') FROM note"), "chained");
}

#[test]
fn levels_and_modes_are_kept() {
    let server = Server::start();
    let (mut a, mut b) = (server.connect(), server.connect());
    accounts(&mut a);
    a.run("BEGIN");
    assert_eq!(a.one("SHOW transaction_isolation"), "read committed");
    assert_eq!(a.one("SELECT count(*) FROM account"), "10");
    b.run("INSERT INTO account VALUES (20, 1)");
    assert_eq!(a.one("SELECT count(*) FROM account"), "11");
    assert_eq!(a.fails("SET TRANSACTION ISOLATION LEVEL SERIALIZABLE").code, "25001");
    a.run("ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(a.one("SELECT count(*) FROM account"), "11");
    b.run("INSERT INTO account VALUES (21, 1)");
    assert_eq!((a.one("SELECT count(*) FROM account"), a.one("SELECT n FROM total")), ("11".into(), "11".into()));
    a.run("INSERT INTO account VALUES (22, 1)");
    assert_eq!(a.one("SELECT count(*) FROM account"), "12");
    a.run("COMMIT");
    assert_eq!(a.one("SELECT count(*) FROM account"), "13");
    a.run("START TRANSACTION READ ONLY");
    assert_eq!(a.one("SELECT n FROM total"), "13");
    b.run("DELETE FROM account WHERE id = 22");
    assert_eq!(a.one("SELECT n FROM total"), "13");
    let refused = a.fails("DELETE FROM account");
    assert_eq!((refused.code.as_str(), refused.message.as_str()), ("25006", "cannot execute DELETE in a read-only transaction"));
    a.run("ROLLBACK");
    a.run("SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY");
    assert_eq!(a.one("SHOW transaction_isolation"), "serializable");
    assert_eq!(a.fails("CREATE TABLE t (n INT)").code, "25006");
    a.run("BEGIN READ WRITE; INSERT INTO note VALUES ('w'); COMMIT");
    assert_eq!(b.one("SELECT what FROM note"), "w");
    b.run("BEGIN");
    let began = b.one("SELECT now()::text");
    std::thread::sleep(Duration::from_millis(5));
    assert_eq!(b.one("SELECT now()::text"), began, "a transaction has one time");
}

#[test]
fn of_two_that_change_one_row_the_later_is_refused() {
    let server = Server::start();
    let (mut a, mut b) = (server.connect(), server.connect());
    accounts(&mut a);
    let conflict = |a: &mut Client, b: &mut Client, mine: &str, other: &str| {
        a.run("BEGIN");
        a.run(mine);
        b.run(other);
        let refused = a.fails("COMMIT");
        assert_eq!(refused.code, "40001", "{mine}, {other}: {}", refused.message);
        refused.detail
    };
    let detail = conflict(&mut a, &mut b, "UPDATE account SET balance = balance + 1 WHERE id = 1", "UPDATE account SET balance = 0 WHERE id = 1");
    assert!(detail.contains("row (id)=(1) of table \"account\""), "{detail}");
    assert_eq!(b.one("SELECT balance FROM account WHERE id = 1"), "0");
    conflict(&mut a, &mut b, "INSERT INTO account VALUES (50, 1)", "INSERT INTO account VALUES (50, 2)");
    conflict(&mut a, &mut b, "DELETE FROM account WHERE id = 2", "DELETE FROM account WHERE id = 2");
    b.run("INSERT INTO note VALUES ('x'), ('x')");
    conflict(&mut a, &mut b, "DELETE FROM note", "DELETE FROM note; INSERT INTO note VALUES ('x')");
    a.run("BEGIN; UPDATE account SET balance = 7 WHERE id = 4; INSERT INTO note VALUES ('y'), ('x')");
    b.run("UPDATE account SET balance = 8 WHERE id = 5; INSERT INTO note VALUES ('z')");
    a.run("COMMIT");
    assert_eq!(b.one("SELECT string_agg(balance::text, ',' ORDER BY id) FROM account WHERE id IN (4, 5)"), "7,8");
    assert_eq!(b.one("SELECT count(*) FROM note"), "4");
}

#[test]
fn what_a_transaction_creates_and_drops_follows_its_end() {
    let mut server = Server::start();
    let (mut a, mut b) = (server.connect(), server.connect());
    a.run("CREATE TABLE old (n INT); INSERT INTO old VALUES (1)");
    a.run("BEGIN");
    a.run("CREATE TABLE fresh (n INT PRIMARY KEY)");
    a.run("INSERT INTO fresh VALUES (1), (2)");
    a.run("CREATE MATERIALIZED VIEW sums AS SELECT sum(n) AS s FROM fresh");
    assert_eq!(a.one("SELECT count(*) FROM fresh"), "2");
    a.run("DROP TABLE old");
    assert_eq!(a.fails("SELECT n FROM old").code, "42P01");
    a.run("ROLLBACK");
    assert_eq!(a.one("SELECT n FROM old"), "1");
    assert_eq!(a.fails("SELECT * FROM fresh").code, "42P01");
    a.run("BEGIN; CREATE TABLE fresh (n INT PRIMARY KEY); SAVEPOINT s; CREATE TABLE other (n INT); INSERT INTO fresh VALUES (1); ROLLBACK TO s");
    a.run("INSERT INTO fresh VALUES (3); COMMIT");
    assert_eq!(b.one("SELECT n FROM fresh"), "3");
    assert_eq!(b.fails("SELECT * FROM other").code, "42P01");
    a.run("BEGIN; DROP TABLE old");
    assert_eq!(a.fails("INSERT INTO old VALUES (2)").code, "42P01");
    a.run("ROLLBACK");
    assert_eq!(b.one("SELECT n FROM old"), "1");
    a.run("BEGIN; DROP TABLE old; COMMIT");
    assert_eq!(b.fails("SELECT * FROM old").code, "42P01");
    // A lost connection, and a crash.
    b.run("BEGIN; CREATE TABLE lost (n INT); INSERT INTO lost VALUES (1)");
    drop(b);
    gone(&mut a, "lost");
    a.run("BEGIN; CREATE TABLE lost (n INT); INSERT INTO lost VALUES (1); CREATE INDEX ON lost (n)");
    server.kill();
    server.restart();
    gone(&mut server.connect(), "lost");
}

/// Waits until there is no such table.
fn gone(client: &mut Client, table: &str) {
    let start = Instant::now();
    while client.try_rows(&format!("SELECT * FROM {table}")).is_ok() {
        assert!(start.elapsed() < PATIENCE, "{table} is still there");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn statements_of_one_message_are_one_transaction() {
    let server = Server::start();
    let mut a = server.connect();
    accounts(&mut a);
    assert_eq!(a.fails("INSERT INTO note VALUES ('a'); INSERT INTO account VALUES (1, 1)").code, "23505");
    assert_eq!(a.one("SELECT count(*) FROM note"), "0");
    a.run("INSERT INTO note VALUES ('a'); COMMIT; INSERT INTO note VALUES ('b')");
    assert_eq!(a.one("SELECT count(*) FROM note"), "2");
    assert_eq!(a.fails("INSERT INTO note VALUES ('c'); COMMIT; INSERT INTO note VALUES ('d'); SELECT 1 / 0").code, "22012");
    assert_eq!(a.one("SELECT string_agg(what, ',' ORDER BY what) FROM note"), "a,b,c");
    a.run("INSERT INTO note VALUES ('e'); BEGIN; INSERT INTO note VALUES ('f')");
    a.run("ROLLBACK");
    assert_eq!(a.one("SELECT count(*) FROM note"), "3");
}

/// Random transfers on several connections, some rolled back, some refused, with `kill -9`: the total never changes, and what was committed is there.
#[test]
fn committed_transactions_survive_kills_whole() {
    let mut server = Server::start();
    let mut client = server.connect();
    accounts(&mut client);
    client.run("CREATE TABLE moved (id BIGINT PRIMARY KEY, amount BIGINT)");
    let mut random = Random::from_environment();
    let (mut next, mut committed) = (0i64, Vec::new());
    for round in 0..4 {
        let mut clients: Vec<Client> = (0..4).map(|_| server.connect()).collect();
        for _ in 0..40 {
            let client = &mut clients[random.below(4) as usize];
            let (from, to, amount) = (1 + random.below(10), 1 + random.below(10), 1 + random.below(50));
            next += 1;
            client.run("BEGIN");
            client.run(&format!("UPDATE account SET balance = balance - {amount} WHERE id = {from}"));
            client.run(&format!("UPDATE account SET balance = balance + {amount} WHERE id = {to}"));
            client.run(&format!("INSERT INTO moved VALUES ({next}, {amount})"));
            if random.below(5) == 0 {
                client.run("ROLLBACK");
            } else if client.try_rows("COMMIT").is_ok() {
                committed.push(next.to_string());
            }
        }
        // One is left open.
        clients[0].run("BEGIN; UPDATE account SET balance = 0; INSERT INTO moved VALUES (-1, 0); CREATE TABLE half (n INT)");
        if round % 2 == 0 {
            server.kill();
        } else {
            server.terminate();
        }
        server.restart();
        let mut client = server.connect();
        assert_eq!(client.one("SELECT sum(balance) FROM account"), "1000");
        client.until("SELECT balance FROM total", "1000", PATIENCE);
        let found: Vec<String> = client.texts("SELECT id FROM moved ORDER BY id").into_iter().map(|r| r[0].clone()).collect();
        assert_eq!(found, committed);
        assert_eq!(client.fails("SELECT * FROM half").code, "42P01");
    }
}

/// Random transactions without concurrency give what PostgreSQL gives.
#[test]
fn random_transactions_end_as_in_postgres() {
    let server = Server::start();
    let postgres = Postgres::start();
    postgres.fresh_database();
    let mut ours = server.connect();
    let mut theirs = Client::connect(postgres.port).unwrap();
    for client in [&mut ours, &mut theirs] {
        client.run("CREATE TABLE t (k INT PRIMARY KEY, v INT)");
        client.run("CREATE TABLE p (v INT)");
    }
    let mut random = Random::from_environment();
    let mut said = Vec::new();
    for _ in 0..600 {
        let (k, v, s) = (random.below(12), random.below(100), random.below(3));
        let sql = match random.below(16) {
            0 | 1 => "BEGIN".to_string(),
            2 => "COMMIT".into(),
            3 => "ROLLBACK".into(),
            4 => format!("SAVEPOINT s{s}"),
            5 => format!("ROLLBACK TO s{s}"),
            6 => format!("RELEASE s{s}"),
            7 | 8 => format!("INSERT INTO t VALUES ({k}, {v})"),
            9 => format!("INSERT INTO t VALUES ({k}, {v}) ON CONFLICT (k) DO UPDATE SET v = excluded.v + t.v"),
            10 => format!("UPDATE t SET v = v + {v} WHERE k <= {k}"),
            11 => format!("DELETE FROM t WHERE k = {k}"),
            12 => format!("INSERT INTO p VALUES ({s}), ({s}), ({v})"),
            13 => format!("DELETE FROM p WHERE v = {s}"),
            14 => format!("UPDATE p SET v = v + 1 WHERE v = {v}"),
            _ => "SELECT (SELECT string_agg(k || ':' || v, ',' ORDER BY k) FROM t), (SELECT string_agg(v::text, ',' ORDER BY v) FROM p)".into(),
        };
        said.push(sql.clone());
        let answer = |client: &mut Client| client.try_rows(&sql).map_err(|e| e.code);
        assert_eq!(answer(&mut ours), answer(&mut theirs), "after\n{}", said.join(";\n"));
    }
}
