//! Disks that fail: every read, write and sync of the store at a random moment (`TIDEWATER_TEST_FAULT`, see src/state/fault.rs), and a disk that is really
//! full. Whatever the server does then, it says why; after a start on a healthy disk every view is exact, and everything that was acknowledged is there.
//!
//! `FAULTS=100` tries so many (`make soak`).

use crate::client::Client;
use crate::random::Random;
use crate::server::Server;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const VIEWS: &[(&str, &str)] = &[
    ("by_g", "SELECT g, count(*) AS n, sum(v) AS total, max(v) AS most FROM t GROUP BY g"),
    ("pairs", "SELECT a.id, a.v + b.v AS v FROM t a JOIN t b ON a.id = b.g"),
    ("top", "SELECT id, v FROM (SELECT id, v, row_number() OVER (PARTITION BY g ORDER BY v DESC, id) AS r FROM t) WHERE r <= 2"),
    ("of_source", "SELECT count(*) AS n, sum(id) AS total FROM numbers"),
];

fn prepare(client: &mut Client) {
    client.run("CREATE TABLE t (id BIGINT PRIMARY KEY, g BIGINT, v BIGINT, s TEXT)");
    client.run("CREATE SOURCE numbers (id BIGINT) WITH (connector = 'datagen', rate = '20000', fields.id.kind = 'sequence', fields.id.start = '1')");
    for (name, query) in VIEWS {
        client.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}"));
    }
}

/// Writes until the server fails, or the time is over. Returns the greatest id that was acknowledged.
fn work(client: &mut Client, from: i64, time: Duration, text: usize) -> i64 {
    let start = Instant::now();
    let mut acknowledged = from;
    while start.elapsed() < time {
        let next = acknowledged + 20;
        let insert = format!("INSERT INTO t SELECT g, g % 17, g * 3, repeat('x', {text}) FROM generate_series({}, {next}) AS x(g)", acknowledged + 1);
        let change = format!("UPDATE t SET v = v + 1, g = (g + 1) % 17 WHERE id > {}", acknowledged - 30);
        match client.try_rows(&insert) {
            Ok(_) => acknowledged = next,
            Err(_) => return acknowledged,
        }
        if client.try_rows(&change).is_err() || client.try_rows("SELECT count(*), sum(v) FROM pairs").is_err() {
            return acknowledged;
        }
    }
    acknowledged
}

/// Every view is its query's answer, and what was acknowledged is there.
fn check(client: &mut Client, acknowledged: i64, what: &str) {
    // A statement that was logged and got no answer is taken by the first epoch after the start: not between two of the reads below.
    client.run("FLUSH");
    let ids = client.texts("SELECT count(*), coalesce(max(id), 0), count(DISTINCT id) FROM t");
    let (count, last): (i64, i64) = (ids[0][0].parse().unwrap(), ids[0][1].parse().unwrap());
    assert!(last >= acknowledged && count == last, "{what}: {acknowledged} rows were acknowledged, {ids:?} are there");
    for (name, query) in VIEWS.iter().filter(|(_, q)| !q.contains("numbers")) {
        let of_view = client.texts(&format!("SELECT * FROM {name} ORDER BY 1, 2"));
        assert_eq!(of_view, client.texts(&format!("{query} ORDER BY 1, 2")), "{what}: {name}");
    }
    let numbers = client.texts("SELECT n, total FROM of_source");
    let (n, total): (i64, i64) = (numbers[0][0].parse().unwrap(), numbers[0][1].parse().unwrap_or(0));
    assert_eq!(total, n * (n + 1) / 2, "{what}: of_source");
}

#[test]
fn failures_of_reads_writes_and_syncs_leave_every_view_exact() {
    let mut random = Random::from_environment();
    let rounds: u64 = std::env::var("FAULTS").ok().and_then(|n| n.parse().ok()).unwrap_or(8);
    let folder = tempfile::Builder::new().prefix("tidewater-").tempdir().unwrap();
    let dir = folder.path().join("data");
    let args = ["--checkpoint-interval", "50ms"];
    let mut server = Server::on(&dir, &args);
    prepare(&mut server.connect());
    let (mut acknowledged, mut failed) = (0, 0);
    for round in 0..rounds {
        server.kill();
        let kind = ["write", "sync", "read", "full"][(round % 4) as usize];
        let at = 1 + random.below(if kind == "read" { 2000 } else { 120 });
        let fault = format!("{kind}:{at}{}", if random.below(2) == 0 { ":once" } else { "" });
        let said = server.log().len();
        match Server::try_on(&dir, &args, &[("TIDEWATER_TEST_FAULT", &fault)]) {
            // It can fail before anybody is let in, too; then it says so.
            Err(why) => assert!(why.contains("cannot be read or written") || why.contains("is full"), "{fault}: {why}"),
            Ok(mut faulty) => {
                if let Ok(mut client) = Client::connect(faulty.sql_port) {
                    acknowledged = work(&mut client, acknowledged, Duration::from_millis(900), 10);
                }
                std::thread::sleep(Duration::from_millis(300));
                if let Some(status) = faulty.ended() {
                    failed += 1;
                    assert!(!status.success(), "{fault}: {status}");
                    assert!(faulty.log()[said..].contains("injected failure"), "{fault}: the server ended without a word");
                }
                faulty.kill();
            }
        }
        server = Server::on(&dir, &args);
        let mut client = server.connect();
        check(&mut client, acknowledged, &fault);
        // What was written by statements that got no answer may be there as well.
        acknowledged = client.number("SELECT coalesce(max(id), 0) FROM t");
    }
    assert!(acknowledged > 0 && failed > 0, "{acknowledged} rows, {failed} failures: nothing was tried");
}

/// A file system of 64 MB in memory; `None`: this machine does not let us mount one.
struct SmallDisk<'a>(&'a Path);

impl SmallDisk<'_> {
    fn mount(path: &Path) -> Option<SmallDisk<'_>> {
        std::fs::create_dir(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"]).arg(path).output();
        mounted.is_ok_and(|o| o.status.success()).then_some(SmallDisk(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(self.0).status().ok();
    }
}

#[test]
fn a_full_disk_is_said_and_nothing_is_lost() {
    let folder = tempfile::Builder::new().prefix("tidewater-").tempdir().unwrap();
    let path = folder.path().join("disk");
    let Some(disk) = SmallDisk::mount(&path) else {
        eprintln!("not run: a small file system cannot be mounted here");
        return;
    };
    // By a link, so that the log, which lies beside the directory, has another disk.
    let dir = folder.path().join("data");
    std::fs::create_dir(disk.0.join("data")).unwrap();
    std::os::unix::fs::symlink(disk.0.join("data"), &dir).unwrap();
    let args = ["--checkpoint-interval", "100ms"];
    let mut server = Server::on(&dir, &args);
    let mut client = server.connect();
    prepare(&mut client);
    client.run("DROP SOURCE numbers CASCADE");
    client.run("CREATE SOURCE numbers (id BIGINT) WITH (connector = 'datagen', rows = '1000', fields.id.kind = 'sequence', fields.id.start = '1')");
    client.run("CREATE MATERIALIZED VIEW of_source AS SELECT count(*) AS n, sum(id) AS total FROM numbers");
    let ballast = disk.0.join("ballast");
    // Beside what the log has reserved.
    std::fs::write(&ballast, vec![7u8; 12 << 20]).unwrap();
    // The log of writes keeps long texts as they are: it fills what is left.
    let acknowledged = work(&mut client, 0, Duration::from_secs(60), 40_000);
    assert!(acknowledged < 20 * 3000, "the disk did not fill");
    let said = match client.try_rows("INSERT INTO t VALUES (-1, 1, 1, 'x')") {
        Err(e) => e,
        Ok(_) => panic!("a full disk took a row"),
    };
    if said.code == "lost" {
        // Its last word comes after it has closed its connections.
        server.wait();
    }
    assert!(said.code == "53100" || server.ended().is_some_and(|s| !s.success()), "{said:?}");
    assert!(server.log().contains("disk that holds the data directory is full") || said.code == "53100", "{said:?}");
    server.kill();
    std::fs::remove_file(&ballast).unwrap();
    server = Server::on(&dir, &args);
    check(&mut server.connect(), acknowledged, "after a full disk");
    drop(server);
}
