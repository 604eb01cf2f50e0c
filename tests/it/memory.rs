//! Little memory: more live keys than fit, and readers who ask for more than there is. The server stays within its bound, and nobody else suffers.
//!
//! `LIVE_KEYS=20000000 MEMORY=512MiB` is the long run (`make soak`); it prints resident memory and throughput as state grows.

use crate::client::Client;
use crate::server::Server;
use std::time::{Duration, Instant};

/// KiB, of /proc.
fn memory_of(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with(name)).unwrap_or_else(|| panic!("no {name} in {status}"));
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What the kernel counts of a process, MiB.
pub fn resident_mebibytes(pid: u32) -> u64 {
    memory_of(pid, "VmRSS") / 1024
}

/// `512MiB`.
fn mebibytes(size: &str) -> u64 {
    size.strip_suffix("MiB").and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{size} is not like 512MiB"))
}

fn setting(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_string())
}

#[test]
fn a_readers_huge_sort_or_join_spills_or_ends_alone() {
    let server = Server::with(&["--memory", "256MiB"]);
    let mut client = server.connect();
    client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, v BIGINT)");
    client.run("CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n, sum(v) AS v FROM t");
    client.run("INSERT INTO t SELECT g, g FROM generate_series(1, 1000) AS x(g)");
    let mut others = server.connect();
    let reader = std::thread::spawn(move || {
        let start = Instant::now();
        let mut slowest = Duration::ZERO;
        while start.elapsed() < Duration::from_secs(4) {
            let one = Instant::now();
            assert_eq!(others.texts("SELECT n, v FROM total"), [["1000", "500500"]]);
            slowest = slowest.max(one.elapsed());
        }
        slowest
    });
    // 1.5 million rows of some 140 bytes, in an order that is not theirs: several times what readers share. Files take what memory does not, as far as the
    // sort's own merging leaves it a share.
    let sort = "SELECT count(*), max(r) FROM (SELECT row_number() OVER (ORDER BY k, t) AS r FROM \
                (SELECT (g::bigint * 7919) % 1000003 AS k, repeat('x', 110) || g::text AS t FROM generate_series(1, 1500000) AS x(g)) AS y) AS z";
    match client.try_rows(sort) {
        Ok(rows) => assert_eq!(rows, [[Some("1500000".to_string()), Some("1500000".to_string())]]),
        Err(e) => assert_eq!(e.code, "53200", "{e:?}"),
    }
    // A hash table has to be in memory.
    let join = "SELECT count(*) FROM (SELECT g, repeat('y', 200) || g::text AS t FROM generate_series(1, 1000000) AS x(g)) AS a \
                JOIN (SELECT g, repeat('z', 200) || g::text AS t FROM generate_series(1, 1000000) AS x(g)) AS b ON a.g = b.g WHERE a.t <> b.t";
    let ended = client.fails(join);
    assert_eq!(ended.code, "53200", "{ended:?}");
    // The same session, and all others, go on.
    assert_eq!(client.texts("SELECT n, v FROM total"), [["1000", "500500"]]);
    let slowest = reader.join().unwrap();
    let peak = memory_of(server.pid(), "VmHWM") / 1024;
    println!("a small read beside it took at most {slowest:?}; resident memory at most {peak} MiB of --memory 256MiB");
    assert!(peak < 256 * 5 / 4 + 64, "{peak} MiB are resident");
}

#[test]
fn more_live_keys_than_memory_holds() {
    let keys: i64 = setting("LIVE_KEYS", "1200000").parse().unwrap();
    let memory = setting("MEMORY", "512MiB");
    let server = Server::with(&["--memory", &memory]);
    let mut client = server.connect();
    // Every key comes twice, the second time long after its group has left memory.
    client.run(&format!(
        "CREATE SOURCE events (n BIGINT, k BIGINT AS (n % {keys}), v BIGINT) WITH (connector = 'datagen', rows = '{}', \
         fields.n.kind = 'sequence', fields.n.start = '0', fields.v.kind = 'random', fields.v.min = '1', fields.v.max = '1')",
        2 * keys
    ));
    client.run("SET background_ddl = true");
    client.run("CREATE MATERIALIZED VIEW per_key AS SELECT k, count(*) AS n, sum(v) AS v FROM events GROUP BY k");
    let start = Instant::now();
    let (mut rows, mut at, mut peak) = (0, Instant::now(), 0);
    loop {
        std::thread::sleep(Duration::from_millis(500));
        peak = peak.max(memory_of(server.pid(), "VmRSS") / 1024);
        let now = progress(&mut client);
        if now - rows >= keys / 5 || now >= 2 * keys {
            let rate = (now - rows) as f64 / at.elapsed().as_secs_f64();
            println!("{now} rows, {rate:.0} rows/s, {} MiB resident", memory_of(server.pid(), "VmRSS") / 1024);
            (rows, at) = (now, Instant::now());
        }
        if now >= 2 * keys {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(3600), "it does not end");
    }
    client.until("SELECT status FROM tidewater.views WHERE view = 'per_key'", "live", Duration::from_secs(60));
    client.until("SELECT count(*) FROM per_key WHERE n = 2 AND v = 2", &keys.to_string(), Duration::from_secs(120));
    println!("{keys} keys in {:.0} s, at most {peak} MiB resident of --memory {memory}", start.elapsed().as_secs_f64());
    check_peak(peak, &memory);
}

/// No row is ever forgotten (the watermark is a day behind), and each meets one that came shortly before: both sides' tables, their look-ups of keys that are nowhere, and the log of changes.
#[test]
fn joins_of_more_rows_than_memory_holds() {
    let memory = setting("MEMORY", "512MiB");
    for (name, within) in [("plain", ""), ("in_time", " AND y.ts BETWEEN x.ts - INTERVAL '1 second' AND x.ts + INTERVAL '1 second'")] {
        let rows: i64 = setting("LIVE_KEYS", "1200000").parse().unwrap();
        let server = Server::with(&["--memory", &memory]);
        let mut client = server.connect();
        client.run(&format!(
            "CREATE SOURCE event (n BIGINT, earlier BIGINT AS (n - 100), ts TIMESTAMP AS (TIMESTAMP '2024-01-01' + n * INTERVAL '20 microseconds'), \
             WATERMARK FOR ts AS ts - INTERVAL '1 day') WITH (connector = 'datagen', rows = '{rows}', fields.n.kind = 'sequence', fields.n.start = '0')"
        ));
        client.run("SET background_ddl = true");
        client.run(&format!("CREATE MATERIALIZED VIEW pairs AS SELECT count(*) AS n, sum(x.n) AS total FROM event x JOIN event y ON x.n = y.earlier{within}"));
        let (start, mut peak) = (Instant::now(), 0);
        while progress(&mut client) < rows {
            peak = peak.max(memory_of(server.pid(), "VmRSS") / 1024);
            assert!(start.elapsed() < Duration::from_secs(3600), "it does not end");
            std::thread::sleep(Duration::from_millis(100));
        }
        let (pairs, seconds) = (rows - 100, start.elapsed().as_secs_f64());
        client.until("SELECT n || ' ' || total FROM pairs", &format!("{pairs} {}", pairs * (pairs - 1) / 2), Duration::from_secs(120));
        println!("{name}: {rows} rows in {seconds:.1} s, {:.0} rows/s, at most {peak} MiB resident of --memory {memory}", rows as f64 / seconds);
        check_peak(peak, &memory);
    }
}

/// A quarter more, as 640 MiB for 512; of less memory the program itself takes a larger share.
fn check_peak(peak: u64, memory: &str) {
    let bound = mebibytes(memory) * 5 / 4;
    assert!(peak < bound, "{peak} MiB are resident, {bound} allowed");
}

/// Rows taken in: of the job while the view is built, of the source afterwards.
fn progress(client: &mut Client) -> i64 {
    let rows = client.texts("SELECT rows FROM tidewater.jobs UNION ALL SELECT sum(rows) FROM tidewater.sources");
    rows.iter().filter_map(|r| r[0].parse::<i64>().ok()).max().unwrap_or(0)
}
