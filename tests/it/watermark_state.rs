//! State behind a watermark is freed: event time runs far ahead of the clock, 50,000 events for each of its seconds, through windows, sessions and a join in time; what is held in memory
//! and on disk in the last third of it is what was held in the middle one. The first is too short to tell: memory grows there until it holds what comes between two checkpoints.
//!
//! `EVENT_SECONDS=86400` is a day (`make soak`); its windows are longer in proportion, up to a minute.

use crate::memory::resident_mebibytes;
use crate::server::Server;
use std::path::Path;
use std::time::{Duration, Instant};

/// Of event time.
const PER_SECOND: i64 = 50_000;
/// Microseconds between two events.
const APART: i64 = 1_000_000 / PER_SECOND;
const KEYS: i64 = 20_000;
/// A later event that each is joined with: so many behind it.
const BEHIND: i64 = 100;
const STALLED: Duration = Duration::from_secs(300);

/// What is held at some moment, in MiB and bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    resident: u64,
    state: u64,
    disk: u64,
}

impl Held {
    fn now(server: &Server) -> Held {
        let (_, metrics) = server.http("/metrics").unwrap();
        let line = metrics.lines().find(|l| l.starts_with("tidewater_state_memory_bytes ")).unwrap();
        let state = line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() as u64;
        Held { resident: resident_mebibytes(server.pid()), state, disk: size_of(server.dir()) }
    }

    fn most(self, other: Held) -> Held {
        Held { resident: self.resident.max(other.resident), state: self.state.max(other.state), disk: self.disk.max(other.disk) }
    }
}

/// Bytes of all files; some may go meanwhile.
fn size_of(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let size = |path: &Path| if path.is_dir() { size_of(path) } else { path.metadata().map_or(0, |m| m.len()) };
    entries.filter_map(Result::ok).map(|e| size(&e.path())).sum()
}

/// One view of everything, so that all of it reads the same events once. `window`: of TUMBLE, µs.
fn query(window: i64) -> String {
    let micros = |n: i64| format!("INTERVAL '{n} microseconds'");
    let parts = [
        format!(
            "SELECT 'tumble' AS what, sum(n) AS n FROM (SELECT k, count(*) AS n FROM TUMBLE(event, ts, {}) GROUP BY k, window_start, window_end) AS a",
            micros(window)
        ),
        format!(
            "SELECT 'hop', sum(n) FROM (SELECT k, count(*) AS n FROM HOP(event, ts, {}, {}) GROUP BY k, window_start, window_end) AS b",
            micros(window),
            micros(2 * window)
        ),
        format!(
            "SELECT 'session', sum(n) FROM (SELECT burst, count(*) AS n FROM SESSION(event PARTITION BY burst, ts, {}) GROUP BY burst, window_start, window_end) AS c",
            micros(window)
        ),
        format!("SELECT 'join', count(*) FROM event x JOIN event y ON x.n = y.earlier AND y.ts BETWEEN x.ts - {m} AND x.ts + {m}", m = micros(window / 2)),
    ];
    parts.join(" UNION ALL ")
}

#[test]
fn state_behind_a_watermark_is_freed() {
    let seconds: i64 = std::env::var("EVENT_SECONDS").ok().and_then(|n| n.parse().ok()).unwrap_or(150);
    let (events, window) = (seconds * PER_SECOND, (seconds * 1_000_000 / 150).min(60_000_000));
    let server = Server::with(&["--memory", "512MiB", "--checkpoint-interval", "200ms"]);
    let mut client = server.connect();
    // In disorder by up to 5 ms. A burst is over when the next one begins, and its key never comes again.
    client.run(&format!(
        "CREATE SOURCE event (n BIGINT, k BIGINT AS (n % {KEYS}), earlier BIGINT AS (n - {BEHIND}), burst BIGINT AS (n * {APART} / {window} * 50 + n % 50), \
         ts TIMESTAMP AS (TIMESTAMP '2024-01-01' + (n * {APART} - n * 7919 % 5000) * INTERVAL '1 microsecond'), WATERMARK FOR ts AS ts - INTERVAL '10 milliseconds') \
         WITH (connector = 'datagen', rows = '{events}', fields.n.kind = 'sequence', fields.n.start = '0')"
    ));
    client.run("SET background_ddl = true");
    client.run(&format!("CREATE MATERIALIZED VIEW day AS {}", query(window)));
    let mut ninths = [Held::default(); 9];
    let (start, mut last, mut moved) = (Instant::now(), 0, Instant::now());
    while last < events {
        std::thread::sleep(Duration::from_millis(20));
        let rows = client.number("SELECT coalesce(sum(rows), 0) FROM tidewater.sources");
        if rows > last {
            (last, moved) = (rows, Instant::now());
        }
        assert!(moved.elapsed() < STALLED, "nothing has been read behind {last} of {events} events");
        let ninth = &mut ninths[(rows * 9 / events).min(8) as usize];
        *ninth = ninth.most(Held::now(&server));
    }
    let took = start.elapsed().as_secs_f64();
    for (what, n) in [("tumble", events), ("hop", 2 * events), ("session", events), ("join", events - BEHIND)] {
        client.until(&format!("SELECT n FROM day WHERE what = '{what}'"), &n.to_string(), Duration::from_secs(120));
    }
    assert_eq!(client.number("SELECT late_rows FROM tidewater.views"), 0);
    println!("{seconds} s of event time, {events} events in {took:.1} s");
    ninths.iter().for_each(|held| println!("{held:?}"));
    let most = |part: &[Held]| part.iter().fold(Held::default(), |most, held| most.most(*held));
    let (middle, last) = (most(&ninths[3..6]), most(&ninths[6..]));
    assert!(middle.state > 0 && last.state > 0, "too few measurements: {ninths:?}");
    assert!(last.resident < middle.resident * 6 / 5 + 32, "memory grows: {middle:?}, {last:?}");
    assert!(last.state < middle.state * 5 / 4 + (16 << 20), "state grows: {middle:?}, {last:?}");
    assert!(last.disk < middle.disk * 5 / 4 + (48 << 20), "files grow: {middle:?}, {last:?}");
}
