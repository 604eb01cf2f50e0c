//! Views that are being built: progress, Ctrl-C, DROP, `background_ddl`, and a restart in the middle that goes on where it was.

use crate::client::Client;
use crate::server::Server;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(90);
const ROWS: i64 = 400_000;

/// A table of some size, and an append-only one; both with rows that hash to all workers.
fn fill(client: &mut Client) {
    client.run("CREATE TABLE items (id BIGINT PRIMARY KEY, grp BIGINT, v BIGINT)");
    client.run("CREATE TABLE log (id BIGINT, v BIGINT) APPEND ONLY");
    for part in 0..4 {
        let (from, to) = (part * ROWS / 4 + 1, (part + 1) * ROWS / 4);
        client.run(&format!("INSERT INTO items SELECT g, g % 1000, g FROM generate_series({from}, {to}) AS t(g)"));
        client.run(&format!("INSERT INTO log SELECT g, g FROM generate_series({from}, {to}) AS t(g)"));
    }
}

const OVER_ITEMS: &str =
    "CREATE MATERIALIZED VIEW per_id AS SELECT i.id, i.grp, j.v, count(*) AS n FROM items i JOIN items j ON i.id = j.id GROUP BY i.id, i.grp, j.v";

/// A table that meets itself twenty times over: building it takes its time on any machine.
const MET: i64 = 200_000;
const SLOW: &str = "CREATE MATERIALIZED VIEW met AS SELECT i.grp, count(*) AS n FROM met_items i JOIN met_items j ON i.grp = j.grp GROUP BY i.grp";

fn fill_slow(client: &mut Client) {
    client.run("CREATE TABLE met_items (id BIGINT PRIMARY KEY, grp BIGINT)");
    client.run(&format!("INSERT INTO met_items SELECT g, g % {} FROM generate_series(1, {MET}) AS t(g)", MET / 20));
}

/// Waits until the job has taken in rows.
fn until_begun(client: &mut Client, view: &str) {
    let start = std::time::Instant::now();
    loop {
        let rows = client.texts(&format!("SELECT rows FROM tidewater.jobs WHERE view = '{view}'"));
        if rows.first().and_then(|r| r[0].parse::<i64>().ok()).is_some_and(|n| n > 0) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{view} is not being built");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_cancelled_create_leaves_nothing() {
    let server = Server::start();
    let mut client = server.connect();
    fill_slow(&mut client);
    for round in 0..3 {
        // What was cancelled is listed until the engine has taken it away, and must not be taken for what begins now.
        client.until("SELECT count(*) FROM tidewater.jobs", "0", PATIENCE);
        let mut builder = server.connect();
        let cancel = builder.canceller();
        let built = std::thread::spawn(move || (builder.try_rows(SLOW), builder));
        until_begun(&mut client, "met");
        cancel();
        let (answer, mut builder) = built.join().unwrap();
        assert_eq!(answer.unwrap_err().code, "57014");
        if round == 1 {
            // The name is free at once, on the same connection, for something else too.
            builder.run("CREATE TABLE met (a BIGINT)");
            builder.run("DROP TABLE met");
        }
    }
    client.until("SELECT count(*) FROM tidewater.jobs", "0", PATIENCE);
    assert!(client.rows("SHOW MATERIALIZED VIEWS").is_empty());
    client.run(SLOW);
    assert_eq!(client.number("SELECT sum(n) FROM met"), MET * 20);
}

#[test]
fn a_view_is_built_in_the_background_and_can_be_dropped() {
    let server = Server::start();
    let mut client = server.connect();
    fill_slow(&mut client);
    client.run("SET background_ddl = true");
    client.run(SLOW);
    until_begun(&mut client, "met");
    let refused = client.fails("SELECT * FROM met");
    assert!(refused.code == "55000" && refused.detail.contains("rows taken in"), "{refused:?}");
    assert_eq!(client.fails("CREATE MATERIALIZED VIEW over AS SELECT count(*) AS n FROM met").code, "55000");
    assert_eq!(client.fails(SLOW).code, "42P07");
    assert_eq!(client.one("SELECT status FROM tidewater.views WHERE view = 'met'"), "building");
    client.run("DROP MATERIALIZED VIEW met");
    assert_eq!(client.number("SELECT count(*) FROM tidewater.jobs"), 0);
    client.run(SLOW);
    client.until("SELECT sum(n) FROM met", &(MET * 20).to_string(), PATIENCE);
}

/// What the view must hold, from its tables.
fn check(client: &mut Client) {
    let expected = client.texts("SELECT count(*), sum(id), sum(grp), sum(v) FROM items");
    assert_eq!(client.texts("SELECT count(*), sum(id), sum(grp), sum(v) FROM per_id"), expected);
    assert_eq!(client.texts("SELECT count(*), sum(v), sum(n) FROM per_log"), client.texts("SELECT count(DISTINCT id), sum(v), count(*) FROM log"));
    assert_eq!(client.texts("SELECT count(*), sum(id) FROM items WHERE v > 0"), client.texts("SELECT count(*), sum(id) FROM items WHERE v + 0 > 0"));
    assert_eq!(client.texts("SELECT n, s FROM clicks_total"), [["600000", "180000300000"]]);
}

#[test]
fn a_restart_in_the_middle_goes_on_where_it_was() {
    let mut server = Server::with(&["--checkpoint-interval", "100ms"]);
    let mut client = server.connect();
    fill(&mut client);
    client.run(
        "CREATE SOURCE clicks (id BIGINT) WITH (connector = 'datagen', rows = '600000', rate = '150000', fields.id.kind = 'sequence', fields.id.start = '1')",
    );
    client.run("SET background_ddl = true");
    client.run(OVER_ITEMS);
    client.run("CREATE MATERIALIZED VIEW per_log AS SELECT id, sum(v) AS v, count(*) AS n FROM log GROUP BY id");
    client.run("CREATE INDEX by_v ON items (v)");
    client.run("CREATE MATERIALIZED VIEW clicks_total AS SELECT count(*) AS n, sum(id) AS s FROM clicks");
    let mut resumed = 0;
    for kill in 0..6 {
        // Changes on both sides of where the scans are.
        let (low, high) = (kill * 7 + 1, ROWS - kill * 11);
        client.run(&format!("UPDATE items SET v = v + 1, grp = grp + 1 WHERE id IN ({low}, {high})"));
        client.run(&format!("DELETE FROM items WHERE id IN ({}, {})", low + 1, high - 1));
        client.run(&format!("INSERT INTO items VALUES ({}, 1, 1), ({}, 2, 2)", -kill - 1, ROWS + kill + 1));
        client.run(&format!("INSERT INTO log VALUES ({}, 5), ({low}, 6)", ROWS + 1 + kill));
        std::thread::sleep(Duration::from_millis(60 + 40 * kill as u64));
        if kill % 3 == 2 {
            server.terminate();
        } else {
            server.kill();
        }
        server.restart();
        client = server.connect();
        resumed += client.number("SELECT count(*) FROM tidewater.jobs WHERE rows > 0");
    }
    for view in ["per_id", "per_log", "clicks_total"] {
        client.until(&format!("SELECT status FROM tidewater.views WHERE view = '{view}'"), "live", PATIENCE);
    }
    client.until("SELECT n FROM clicks_total", "600000", PATIENCE);
    check(&mut client);
    println!("{resumed} jobs went on after a restart");
    server.kill();
    server.restart();
    check(&mut server.connect());
}
