//! Isolated views: one a hundred times dearer than the rest falls behind, and nobody else does; whoever reads it with others reads one epoch; what it
//! has not taken in survives `kill -9`, and goes with it. (That many readers see one epoch while money moves is tried in `hammer`.)

use crate::client::Client;
use crate::memory::resident_mebibytes;
use crate::random::Random;
use crate::server::Server;
use std::io::Write;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);
/// Rows of `wide` that each event meets.
const MET: i64 = 5_000;

/// What is grouped by comes from both sides, so all pairs have to be made.
const DEAR: &str = "SELECT (w.id + e.id) % 7 AS v, count(*) AS n, sum(e.amount) AS amount FROM event e JOIN wide w ON w.k = e.k GROUP BY 1";

/// Events, and the sums over what they meet: thousands of rows for each.
fn create(client: &mut Client, option: &str) {
    client.run("CREATE TABLE wide (k BIGINT, id BIGINT, v BIGINT, PRIMARY KEY (k, id))");
    client.run(&format!("INSERT INTO wide SELECT g % 10, g, g % 7 FROM generate_series(0, {}) AS t(g)", 10 * MET - 1));
    client.run("CREATE TABLE event (id BIGINT PRIMARY KEY, k BIGINT, amount BIGINT, note TEXT)");
    client.run("CREATE MATERIALIZED VIEW cheap AS SELECT k, count(*) AS n, sum(amount) AS amount FROM event GROUP BY k");
    client.run(&format!("CREATE MATERIALIZED VIEW dear {option} AS {DEAR}"));
}

fn insert(client: &mut Client, from: i64, rows: i64) {
    let to = from + rows - 1;
    client.run(&format!("INSERT INTO event SELECT g, g % 10, g % 100, repeat('n', 100) FROM generate_series({from}, {to}) AS t(g)"));
}

/// How long one more row takes to be on disk and to be seen in `cheap`: the middle of so many.
fn usual_latency(client: &mut Client, from: i64, rows: i64) -> Duration {
    let mut took: Vec<Duration> = (from..from + rows)
        .map(|id| {
            let start = Instant::now();
            insert(client, id, 1);
            start.elapsed()
        })
        .collect();
    took.sort();
    took[took.len() / 2]
}

/// In one statement: `dear` has what the events of its epoch give, whatever epoch that is.
const ONE_EPOCH: &str = "SELECT (SELECT count(*) FROM event) AS events, (SELECT sum(n) FROM cheap) AS cheap, (SELECT coalesce(sum(n), 0) FROM dear) AS dear, \
     (SELECT sum(amount) FROM event) AS amount, (SELECT coalesce(sum(amount), 0) FROM dear) AS dear_amount";

/// How many events such a statement saw.
fn check_one_epoch(client: &mut Client) -> i64 {
    let row: Vec<i64> = client.texts(ONE_EPOCH)[0].iter().map(|v| v.parse().unwrap_or(0)).collect();
    assert!(row[1] == row[0] && row[2] == row[0] * MET && row[4] == row[3] * MET, "{row:?} is of more than one epoch");
    row[0]
}

#[test]
fn a_view_a_hundred_times_dearer_falls_behind_alone() {
    let batches: i64 = std::env::var("ISOLATED_BATCHES").ok().and_then(|n| n.parse().ok()).unwrap_or(25);
    let server = Server::with(&["--memory", "512MiB", "--threads", "2"]);
    let mut client = server.connect();
    create(&mut client, "WITH (isolated = true)");
    let alone = usual_latency(&mut client, 0, 40);
    let before = resident_mebibytes(server.pid());
    let mut others = server.connect();
    for batch in 0..batches {
        insert(&mut client, 1000 + batch * 100, 100);
    }
    let (mut beside, mut lag, mut peak) = (Vec::new(), 0, 0);
    for round in 0..10 {
        beside.push(usual_latency(&mut client, 100 + round * 10, 10));
        // A session that has not written anything does not wait.
        let seen = check_one_epoch(&mut others);
        lag = lag.max(40 + batches * 100 - seen);
        peak = peak.max(resident_mebibytes(server.pid()));
        assert_eq!(others.number("SELECT sum(n) FROM cheap"), others.number("SELECT count(*) FROM event"), "what is not isolated is not behind");
    }
    beside.sort();
    let beside = beside[beside.len() / 2];
    let shown = others.texts("SELECT lag_epochs, lag_seconds, status FROM tidewater.views WHERE view = 'dear'");
    println!("a row is seen after {alone:?}, beside the dear view after {beside:?}; that was {lag} events behind, {shown:?}; {before} to {peak} MiB");
    assert!(lag > 100, "the view was not behind: {lag}");
    assert_eq!(shown[0][2], "isolated");
    assert!(beside < alone * 4 + Duration::from_millis(20), "{beside:?} instead of {alone:?}");
    assert!(peak < before + 160, "{peak} MiB are resident, {before} before");
    // Whoever has written waits for what was written.
    insert(&mut client, 900_000, 1);
    assert_eq!(check_one_epoch(&mut client), 140 + 1 + batches * 100);
    others.until("SELECT lag_epochs FROM tidewater.views WHERE view = 'dear'", "0", PATIENCE);
    let (_, metrics) = server.http("/metrics").unwrap();
    assert!(metrics.contains("tidewater_view_lag_seconds{view=\"dear\"} 0"), "{metrics}");
}

#[test]
fn what_it_has_not_taken_in_survives_kills_and_goes_with_it() {
    let mut random = Random::from_environment();
    let mut server = Server::with(&["--checkpoint-interval", "150ms", "--threads", "2"]);
    let mut client = server.connect();
    create(&mut client, "WITH (isolated = true)");
    let (mut id, mut deleted) = (0, 0);
    for kill in 0..4 {
        for _ in 0..4 + random.below(4) {
            insert(&mut client, id, 50);
            id += 50;
        }
        let gone = id - 10 - random.below(40) as i64;
        deleted += client.rows(&format!("DELETE FROM event WHERE id >= {gone} AND id < {} RETURNING id", gone + 5)).len() as i64;
        std::thread::sleep(Duration::from_millis(random.below(400)));
        let mut reader = server.connect();
        let seen = check_one_epoch(&mut reader);
        // A clean stop has a checkpoint of its own.
        if kill == 2 {
            server.terminate();
        } else {
            server.kill();
        }
        server.restart();
        client = server.connect();
        let now = client.until_answered(ONE_EPOCH, PATIENCE);
        assert!(now[0][0].parse::<i64>().unwrap() >= seen - 5, "kill {kill}: {seen} events had been shown, now {now:?}");
        check_one_epoch(&mut client);
    }
    client.until("SELECT lag_epochs FROM tidewater.views WHERE view = 'dear'", "0", PATIENCE);
    assert_eq!(check_one_epoch(&mut client), id - deleted);
    // It goes in the middle of its work, and its name is free.
    insert(&mut client, 500_000, 400);
    client.run("DROP MATERIALIZED VIEW dear");
    assert_eq!(client.fails("SELECT * FROM dear").code, "42P01");
    client.run(&format!("CREATE MATERIALIZED VIEW dear WITH (isolated = true) AS {DEAR}"));
    assert_eq!(check_one_epoch(&mut client), id - deleted + 400);
    server.kill();
    server.restart();
    client = server.connect();
    client.until_answered(ONE_EPOCH, PATIENCE);
    assert_eq!(check_one_epoch(&mut client), id - deleted + 400);
    client.run("DROP TABLE event CASCADE");
    assert_eq!(client.number("SELECT count(*) FROM tidewater.views"), 0);
}

/// Windows, sessions, what is late, joins in time, rows that leave by the clock, rows in order of arrival.
const TWICE: [(&str, &str); 6] = [
    ("windows", "SELECT a, window_end, count(*) AS n, sum(v) AS v FROM TUMBLE(event, ts, INTERVAL '1 second') GROUP BY a, window_start, window_end"),
    ("closed", "SELECT a, window_end, count(*) AS n FROM TUMBLE(event, ts, INTERVAL '1 second') GROUP BY a, window_start, window_end EMIT ON WINDOW CLOSE"),
    (
        "sessions",
        "SELECT a, window_start, window_end, count(*) AS n FROM SESSION(event PARTITION BY a, ts, INTERVAL '300 milliseconds') GROUP BY a, window_start, window_end",
    ),
    ("near", "SELECT x.id AS x, y.id AS y FROM event x JOIN event y ON x.a = y.a AND y.ts BETWEEN x.ts AND x.ts + INTERVAL '200 milliseconds'"),
    ("recent", "SELECT id, a FROM event WHERE taken_in > now() - INTERVAL '700 milliseconds'"),
    ("every", "SELECT id, v FROM event WHERE v % 3 = 0"),
];

#[test]
fn it_holds_cut_for_cut_what_an_ordinary_view_holds() {
    let mut random = Random::from_environment();
    let mut server = Server::with(&["--checkpoint-interval", "200ms", "--threads", "2"]);
    let mut client = server.connect();
    client.run("CREATE TABLE event (id BIGINT, a BIGINT, v BIGINT, ts TIMESTAMP, taken_in TIMESTAMPTZ DEFAULT now(), WATERMARK FOR ts AS ts - INTERVAL '1 second') APPEND ONLY");
    for (name, query) in TWICE {
        client.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}"));
        client.run(&format!("CREATE MATERIALIZED VIEW {name}_apart WITH (isolated = true) AS {query}"));
    }
    let mut id = 0;
    for _ in 0..5 {
        for _ in 0..20 {
            // 10 ms of event time for each, up to two seconds in disorder: some are late.
            let rows = 1 + random.below(200) as i64;
            client.run(&format!(
                "INSERT INTO event (id, a, v, ts) SELECT g, g % 17, g % 10, TIMESTAMP '2024-01-01' + (g * 10 - (g * 7919) % 2000) * INTERVAL '1 millisecond' FROM generate_series({id}, {}) AS t(g)",
                id + rows - 1
            ));
            id += rows;
        }
        compare(&mut server.connect());
        server.kill();
        server.restart();
        client = server.connect();
        compare(&mut client);
    }
    client.until("SELECT count(*) FROM recent", "0", PATIENCE);
    client.until("SELECT count(*) FROM recent_apart", "0", PATIENCE);
    client.until("SELECT sum(lag_epochs) FROM tidewater.views", "0", PATIENCE);
    compare(&mut client);
    client.run("FLUSH");
    let late = client.texts("SELECT view, late_rows FROM tidewater.views ORDER BY view");
    println!("{id} rows, {late:?}");
    for view in ["windows", "closed", "sessions", "near"] {
        let of = |name: &str| late.iter().find(|r| r[0] == name).map(|r| r[1].clone());
        assert!(of(view) == of(&format!("{view}_apart")) && of(view) != Some("0".into()), "{view}: {late:?}");
    }
}

/// In one statement, whose epoch is the same for both.
fn compare(client: &mut Client) {
    for (view, _) in TWICE {
        let minus = |a: &str, b: &str| format!("(SELECT count(*) FROM (SELECT * FROM {a} EXCEPT ALL SELECT * FROM {b}) AS x)");
        let apart = format!("{view}_apart");
        let both = format!("SELECT {}, {}", minus(view, &apart), minus(&apart, view));
        assert_eq!(client.until_answered(&both, PATIENCE), [["0", "0"]], "{view}");
    }
}

#[test]
fn a_burst_of_a_source_survives_kills_in_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.ndjson");
    let mut file = std::fs::File::create(&path).unwrap();
    let mut server = Server::with(&["--checkpoint-interval", "150ms", "--threads", "2"]);
    let mut client = server.connect();
    client.run("CREATE TABLE wide (k BIGINT, id BIGINT, PRIMARY KEY (k, id))");
    client.run(&format!("INSERT INTO wide SELECT g % 10, g FROM generate_series(0, {}) AS t(g)", 10 * MET - 1));
    client.run(&format!(
        "CREATE SOURCE event (id BIGINT, k BIGINT, amount BIGINT, note TEXT) WITH (connector = 'file', path = '{}', follow = 'true') FORMAT PLAIN ENCODE JSON",
        path.display()
    ));
    client.run("CREATE MATERIALIZED VIEW cheap AS SELECT count(*) AS n, sum(amount) AS amount FROM event");
    client.run(&format!("CREATE MATERIALIZED VIEW dear WITH (isolated = true) AS {DEAR}"));
    let both = "SELECT (SELECT n FROM cheap) AS n, (SELECT coalesce(sum(n), 0) FROM dear), (SELECT coalesce(amount, 0) FROM cheap), (SELECT coalesce(sum(amount), 0) FROM dear)";
    let check = |client: &mut Client| {
        let row: Vec<i64> = client.until_answered(both, PATIENCE)[0].iter().map(|v| v.parse().unwrap()).collect();
        assert!(row[1] == row[0] * MET && row[3] == row[2] * MET, "{row:?} is of more than one epoch");
        row[0]
    };
    let mut seen = 0;
    for burst in 0..3 {
        // More than a view has in memory of what it has not taken in: the rest goes to disk at once.
        let lines: String =
            (0..700).map(|n| format!("{{\"id\":{},\"k\":{},\"amount\":{n},\"note\":\"{}\"}}\n", burst * 700 + n, n % 10, "n".repeat(8000))).collect();
        file.write_all(lines.as_bytes()).unwrap();
        client.until("SELECT n FROM cheap", &((burst + 1) * 700).to_string(), PATIENCE);
        seen = check(&mut client).max(seen);
        server.kill();
        server.restart();
        client = server.connect();
        let now = check(&mut client);
        assert!(now >= seen, "{seen} events had been shown before the kill, now {now}");
        seen = now;
    }
    client.until("SELECT lag_epochs FROM tidewater.views WHERE view = 'dear'", "0", PATIENCE);
    assert_eq!(check(&mut client), 2100);
}

#[test]
fn what_is_over_an_isolated_view_is_refused() {
    let server = Server::start();
    let mut client = server.connect();
    client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT)");
    client.run("CREATE MATERIALIZED VIEW apart WITH (isolated = true) AS SELECT v, count(*) AS n FROM t GROUP BY v");
    client.run("CREATE VIEW plain AS SELECT * FROM apart");
    for sql in [
        "CREATE MATERIALIZED VIEW over AS SELECT count(*) AS n FROM apart",
        "CREATE MATERIALIZED VIEW over AS SELECT count(*) AS n FROM plain",
        "CREATE INDEX over ON apart (n)",
        "CREATE SINK over FROM apart WITH (connector = 'blackhole')",
        "INSERT INTO t SELECT n, v FROM apart",
    ] {
        let refused = client.fails(sql);
        assert!(refused.code == "0A000" && refused.message.contains("isolated") && !refused.hint.is_empty(), "{sql}: {refused:?}");
    }
    assert_eq!(client.fails("CREATE MATERIALIZED VIEW x WITH (isolated = maybe) AS SELECT 1 AS a").code, "22023");
    assert_eq!(client.fails("CREATE MATERIALIZED VIEW x WITH (remote = true) AS SELECT 1 AS a").code, "22023");
    client.run("INSERT INTO t VALUES (1, 5), (2, 5), (3, 6)");
    assert_eq!(client.texts("SELECT v, n FROM apart WHERE v = 5"), [["5", "2"]]);
    assert_eq!(client.prepared("SELECT n FROM apart WHERE v = $1", &[&6i64]).unwrap()[0].get::<_, i64>(0), 1);
    client.run("CREATE MATERIALIZED VIEW one WITH (isolated = true) AS SELECT 1 AS a");
    assert_eq!(client.texts("SELECT a FROM one"), [["1"]]);
    assert!(client.texts("EXPLAIN SELECT * FROM apart").len() == 1);
}
