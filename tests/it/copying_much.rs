//! COPY of more rows than memory holds: all of them or none, for readers and over kills, in a memory that does not grow with them.

use crate::client::{Client, SqlError};
use crate::memory::resident_mebibytes;
use crate::random::Random;
use crate::server::Server;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const MEMORY: &str = "192MiB";
/// A prime: multiples of another number visit every remainder once, in no order.
const ROWS: u64 = 200_003;
/// With the key about 3 KiB, 600 MB in all.
const BODY_BYTES: usize = 3000;

/// Lines `from..to` of text format, about 64 KiB a piece.
fn lines(from: u64, to: u64, body: usize) -> impl Iterator<Item = Vec<u8>> {
    let per_piece = (65536 / body as u64).max(1);
    (from..to).step_by(per_piece as usize).map(move |first| {
        let line = |i: u64| format!("{}\t{}\n", i * 7919 % ROWS, "x".repeat(body));
        (first..(first + per_piece).min(to)).map(line).collect::<String>().into_bytes()
    })
}

fn create(client: &mut Client) {
    client.run("CREATE TABLE many (id BIGINT PRIMARY KEY, body TEXT); CREATE MATERIALIZED VIEW total AS SELECT count(*) AS n, sum(id) AS s FROM many");
}

/// Rows of the table and of the view over it, which are the same.
fn counted(client: &mut Client) -> u64 {
    let both = client.texts("SELECT (SELECT count(*) FROM many), n, coalesce(s, 0) FROM total");
    assert_eq!(both[0][0], both[0][1], "the view has other rows than the table");
    both[0][0].parse().unwrap()
}

fn spilled(server: &Server) -> usize {
    let files = |path: std::path::PathBuf| std::fs::read_dir(path).unwrap().count();
    std::fs::read_dir(server.dir().join("spill")).unwrap().map(|folder| files(folder.unwrap().path())).sum()
}

#[test]
fn slow_rows_beyond_memory_are_there_all_at_once_and_memory_stays_flat() {
    let server = Server::with(&["--memory", MEMORY]);
    let mut client = server.connect();
    create(&mut client);
    let (done, pid) = (AtomicBool::new(false), server.pid());
    std::thread::scope(|scope| {
        let mut other = server.connect();
        let done = &done;
        let watcher = scope.spawn(move || {
            let (mut peak, mut seen) = (0, vec![0]);
            while !done.load(Ordering::Relaxed) {
                peak = peak.max(resident_mebibytes(pid));
                let now = other.number("SELECT n FROM total");
                if seen.last() != Some(&now) {
                    seen.push(now);
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            (peak, seen)
        });
        let start = Instant::now();
        let copied = client.copy_pieces("COPY many FROM STDIN", lines(0, ROWS, BODY_BYTES));
        let took = start.elapsed();
        assert_eq!(copied.unwrap(), ROWS);
        assert_eq!(counted(&mut client), ROWS);
        done.store(true, Ordering::Relaxed);
        let (peak, seen) = watcher.join().unwrap();
        println!("{} MB in {took:.1?}, at most {peak} MiB resident of --memory {MEMORY}", ROWS as usize * BODY_BYTES / 1_000_000);
        assert!(seen.iter().all(|n| *n == 0 || *n == ROWS as i64), "others saw {seen:?} rows");
        // What an engine of so little memory needs for rows so wide; in memory they would be several times their 600 MB.
        assert!(peak < 450, "{peak} MiB are resident");
    });
    assert_eq!(client.one("SELECT sum(id) = sum(DISTINCT id) FROM many"), "t");
    assert_eq!(spilled(&server), 0);
}

#[test]
fn what_is_wrong_with_the_last_line_leaves_nothing() {
    let server = Server::with(&["--memory", MEMORY]);
    let rows = 20_000;
    let good = || lines(0, rows, 1000);
    let last = |line: &str| std::iter::once(line.as_bytes().to_vec());
    let mut client = server.connect();
    create(&mut client);
    client.run("INSERT INTO many VALUES (-1, 'there')");
    let check = |said: Result<u64, SqlError>, code: &str, place: &str| {
        let error = said.unwrap_err();
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.context.contains(place) || error.detail.contains(place), "{error:?}");
        assert_eq!(counted(&mut server.connect()), 1);
        assert_eq!(spilled(&server), 0);
    };
    check(client.copy_pieces("COPY many FROM STDIN", good().chain(last("x\ty\n"))), "22P02", "COPY many, line 20001, column id: \"x\"");
    check(server.connect().copy_pieces("COPY many FROM STDIN", good().chain(last("1\n"))), "22P04", "COPY many, line 20001");
    check(server.connect().copy_pieces("COPY many FROM STDIN", good().chain(last("\\N\ty\n"))), "23502", "Failing row contains (null, y)");
    // A key that another row has: one of the rows before it, and one of the table.
    check(server.connect().copy_pieces("COPY many FROM STDIN", good().chain(last("7919\ty\n"))), "23505", "Key (id)=(7919) already exists.");
    check(server.connect().copy_pieces("COPY many FROM STDIN", good().chain(last("-1\ty\n"))), "23505", "Key (id)=(-1) already exists.");
    assert_eq!(server.connect().copy_pieces("COPY many FROM STDIN", good().chain(last("-2\ty\n"))).unwrap(), rows + 1);
    assert_eq!(counted(&mut client), rows + 2);
    // In a transaction it is held in memory, of which there is not so much.
    client.run("BEGIN");
    let held = client.copy_pieces("COPY many FROM STDIN", lines(rows, rows + 100_000, 1000)).unwrap_err();
    assert_eq!((held.code.as_str(), held.message.as_str()), ("53200", "COPY has more rows than fit in memory"), "{held:?}");
    let mut client = server.connect();
    client.run("BEGIN");
    assert_eq!(client.copy_pieces("COPY many FROM STDIN", lines(rows, rows + 5000, 1000)).unwrap(), 5000);
    assert_eq!(client.one("SELECT count(*) FROM many"), "25002");
    client.run("COMMIT");
    assert_eq!(counted(&mut client), 25_002);
    let read_only = "SET default_transaction_read_only = on";
    client.run(read_only);
    assert_eq!(client.copy_in("COPY many FROM STDIN", b"", 1).unwrap_err().message, "cannot execute COPY FROM in a read-only transaction");
}

#[test]
fn slow_a_kill_in_the_middle_leaves_all_or_nothing() {
    let mut server = Server::with(&["--memory", MEMORY, "--checkpoint-interval", "50ms"]);
    create(&mut server.connect());
    let mut random = Random::new(7);
    let (rows, mut there, mut kills) = (20_000, 0, 0);
    while kills < 8 {
        let mut client = server.connect();
        let start = Instant::now();
        let wait = Duration::from_millis(random.below(1500));
        let pid = server.pid();
        let killer = std::thread::spawn(move || {
            std::thread::sleep(wait);
            std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap()
        });
        let said = client.copy_pieces("COPY many FROM STDIN", lines(there, there + rows, 1000));
        killer.join().unwrap();
        server.kill();
        server.restart();
        let now = counted(&mut server.connect());
        println!("killed after {wait:?}: {said:?} in {:?}, {now} rows", start.elapsed());
        match said {
            Ok(_) => assert_eq!(now, there + rows, "what was acknowledged is gone"),
            Err(_) => assert!(now == there || now == there + rows, "{now} rows of {there} + {rows}"),
        }
        there = now;
        kills += 1;
    }
}
