//! SUBSCRIBE against SELECT: writers change tables at random, followers put the relations together again from what they are sent, and at every epoch that somebody has read they must be
//! what he read; over `kill -9` and a start, with subscriptions that go on where they were.

use crate::client::{Client, SqlError};
use crate::random::Random;
use crate::server::Server;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const PATIENCE: Duration = Duration::from_secs(60);

/// A row of a subscription with PROGRESS.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    epoch: i64,
    weight: i64,
    row: String,
}

/// What one subscription has sent, on a thread of its own.
struct Follower {
    /// Rows of epochs that are complete.
    sent: Arc<Mutex<Vec<Sent>>>,
    /// Everything up to here, and what of it survives power loss.
    upto: Arc<AtomicI64>,
    durable: Arc<AtomicI64>,
    cancel: Box<dyn Fn() + Send>,
    thread: JoinHandle<SqlError>,
}

impl Follower {
    /// `behind`: the epoch to go on from.
    fn start(server: &Server, relation: &str, behind: Option<i64>) -> Follower {
        let mut client = server.connect();
        let cancel = Box::new(client.canceller());
        let from = behind.map_or(String::new(), |epoch| format!(", SNAPSHOT = false) AS OF {epoch}")).trim_start().to_owned();
        let sql =
            if behind.is_none() { format!("SUBSCRIBE {relation} WITH (PROGRESS)") } else { format!("SUBSCRIBE TO {relation} WITH (PROGRESS = true{from}") };
        let (sent, upto, durable) = (Arc::<Mutex<Vec<Sent>>>::default(), Arc::new(AtomicI64::new(behind.unwrap_or(-1))), Arc::new(AtomicI64::new(-1)));
        let (all, newest, safe) = (sent.clone(), upto.clone(), durable.clone());
        let thread = std::thread::spawn(move || {
            let mut open: Vec<Sent> = Vec::new();
            let ended = client.each_row(&sql, |values| {
                let epoch = values[0].parse().unwrap();
                if values[1] == "t" {
                    assert!(epoch >= newest.load(Ordering::Acquire), "progress goes back to {epoch}");
                    all.lock().unwrap().append(&mut open);
                    safe.store(values[2].parse().unwrap(), Ordering::Release);
                    newest.store(epoch, Ordering::Release);
                    return;
                }
                assert!(epoch > newest.load(Ordering::Acquire), "a row of epoch {epoch}, which was complete");
                assert!(open.last().is_none_or(|before| before.epoch <= epoch), "epoch {epoch} comes late");
                open.push(Sent { epoch, weight: values[3].parse().unwrap(), row: values[4..].join("|") });
            });
            ended.expect_err("a subscription has no end")
        });
        Follower { sent, upto, durable, cancel, thread }
    }

    fn until(&self, what: &str, reached: impl Fn(&Follower) -> bool) {
        let start = Instant::now();
        while !reached(self) {
            assert!(!self.thread.is_finished() && start.elapsed() < PATIENCE, "no {what}; everything up to epoch {} came", self.upto.load(Ordering::Acquire));
            std::thread::yield_now();
        }
    }

    fn until_epoch(&self, epoch: i64) {
        self.until(&format!("epoch {epoch}"), |f| f.upto.load(Ordering::Acquire) >= epoch);
    }

    /// How it ended, after a cancel request or the server's death.
    fn end(self) -> (Vec<Sent>, i64, SqlError) {
        let error = self.thread.join().unwrap();
        let sent = std::mem::take(&mut *self.sent.lock().unwrap());
        (sent, self.upto.load(Ordering::Acquire), error)
    }

    fn stop(self) -> (Vec<Sent>, i64) {
        (self.cancel)();
        let (sent, upto, error) = self.end();
        assert_eq!(error.code, "57014", "{error}");
        (sent, upto)
    }
}

/// A relation put together from what was sent.
#[derive(Default)]
struct Rebuilt {
    rows: BTreeMap<String, i64>,
}

impl Rebuilt {
    fn take(&mut self, sent: &[Sent]) {
        for Sent { epoch, weight, row } in sent {
            assert!(*weight != 0, "a row of weight 0 in epoch {epoch}");
            let entry = self.rows.entry(row.clone()).or_default();
            *entry += weight;
            if *entry == 0 {
                self.rows.remove(row);
            }
        }
        assert!(self.rows.values().all(|w| *w > 0), "a row is there a negative number of times");
    }

    fn all(&self) -> Vec<String> {
        self.rows.iter().flat_map(|(row, weight)| std::iter::repeat_n(row.clone(), *weight as usize)).collect()
    }
}

/// No row comes and goes in one epoch.
fn check_netted(sent: &[Sent], first: i64) {
    let mut signs: BTreeMap<(i64, &str), bool> = BTreeMap::new();
    for s in sent.iter().filter(|s| s.epoch > first) {
        let sign = *signs.entry((s.epoch, &s.row)).or_insert(s.weight > 0);
        assert_eq!(sign, s.weight > 0, "{} comes and goes in epoch {}", s.row, s.epoch);
    }
}

const RELATIONS: [&str; 4] = ["t", "loose", "by_kind", "doubled"];

fn create(client: &mut Client) {
    client.run(
        "CREATE TABLE version (one INT PRIMARY KEY, n BIGINT); INSERT INTO version VALUES (1, 0); \
         CREATE TABLE t (id BIGINT PRIMARY KEY, kind BIGINT, amount NUMERIC(10, 2), note TEXT); CREATE TABLE loose (a BIGINT, b TEXT); \
         CREATE MATERIALIZED VIEW by_kind AS SELECT kind, count(*) AS n, sum(amount) AS total, max(id) AS newest FROM t GROUP BY kind; \
         CREATE MATERIALIZED VIEW doubled AS SELECT loose.b, t.amount > 50 AS dear FROM t JOIN loose ON t.kind = loose.a; \
         CREATE SOURCE events (k BIGINT, x BIGINT) \
           WITH (connector = 'datagen', rows = '100000', rate = '25000', fields.k.kind = 'random', fields.k.max = '50', fields.x.kind = 'random', fields.x.max = '9'); \
         CREATE MATERIALIZED VIEW pushed AS SELECT k, count(*) AS n, max(x) AS most FROM events GROUP BY k",
    );
}

/// One transaction with some changes, and the number of the version it makes.
fn change(random: &mut Random) -> String {
    let mut statements = vec!["BEGIN".to_owned()];
    for _ in 0..=random.below(3) {
        let (id, kind, amount) = (random.below(200), random.below(7), random.below(10_000));
        let amount = format!("{}.{:02}", amount / 100, amount % 100);
        statements.push(match random.below(8) {
            0..=2 => format!(
                "INSERT INTO t VALUES ({id}, {kind}, {amount}, 'n{amount}') ON CONFLICT (id) DO UPDATE SET kind = EXCLUDED.kind, amount = EXCLUDED.amount"
            ),
            3 => format!("UPDATE t SET amount = amount + 1, note = NULL WHERE kind = {kind}"),
            4 => format!("DELETE FROM t WHERE id % 50 = {}", id % 50),
            5 | 6 => format!("INSERT INTO loose VALUES ({kind}, 'x'), ({kind}, 'x'), ({id}, NULL)"),
            _ => format!("DELETE FROM loose WHERE a = {kind}"),
        });
    }
    statements.extend(["UPDATE version SET n = n + 1".to_owned(), "COMMIT".to_owned()]);
    statements.join("; ")
}

/// What is followed in the middle of changes: queries, which are built then, and a view.
const LATE: [&str; 4] = [
    "(SELECT b, count(*) AS n, sum(amount) AS total FROM t JOIN loose ON kind = a GROUP BY b)",
    "(SELECT id, note FROM t WHERE amount > 30)",
    "by_kind",
    "(SELECT a, b FROM loose UNION ALL SELECT kind, note FROM t)",
];

/// What somebody has read: of a relation, at a version, its rows.
type Reads = Vec<(usize, i64, Vec<String>)>;

fn read(client: &mut Client, relation: usize) -> Result<(i64, Vec<String>), SqlError> {
    let rows = client.try_rows(&format!("SELECT v.n, r.* FROM version v LEFT JOIN (SELECT true AS there, * FROM {}) r ON true", RELATIONS[relation]))?;
    let version = rows[0][0].as_ref().unwrap().parse().unwrap();
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "NULL".into());
    let mut texts: Vec<String> = rows.iter().filter(|r| r[1].is_some()).map(|r| r[2..].iter().map(text).collect::<Vec<_>>().join("|")).collect();
    texts.sort();
    Ok((version, texts))
}

/// Writers and readers beside the followers, until `reads` are done; then the server is killed, or all come to rest.
fn phase(server: &mut Server, seed: u64, count: usize, behind: &[Option<i64>], kill: bool) -> (Vec<(Vec<Sent>, i64)>, Reads) {
    let follow = |(i, name): (usize, &&str)| Follower::start(server, name, behind[i]);
    let followers: Vec<Follower> = RELATIONS.iter().chain(&["version", "pushed"]).enumerate().map(follow).collect();
    let stopped = Arc::new(AtomicBool::new(false));
    let (mut writing, stop) = (server.connect(), stopped.clone());
    let writer = std::thread::spawn(move || {
        let mut random = Random::new(seed);
        while !stop.load(Ordering::Acquire) {
            match writing.try_rows(&change(&mut random)) {
                Ok(_) => {}
                // In the middle of a kill.
                Err(e) if e.code == "lost" => return,
                Err(e) => panic!("{e}"),
            }
        }
    });
    let (mut client, mut reads, mut random) = (server.connect(), Reads::new(), Random::new(seed + 1));
    let mut late = Vec::new();
    while reads.len() < count {
        // While rows come and go.
        if !kill && late.len() < LATE.len() {
            late.push(Follower::start(server, LATE[late.len()], None));
        }
        let relation = random.below(RELATIONS.len() as u64) as usize;
        let (version, rows) = read(&mut client, relation).unwrap();
        reads.push((relation, version, rows));
    }
    if kill {
        server.kill();
        writer.join().unwrap();
        return (followers.into_iter().map(|f| f.end()).map(|(sent, upto, _)| (sent, upto)).collect(), reads);
    }
    stopped.store(true, Ordering::Release);
    writer.join().unwrap();
    for relation in 0..RELATIONS.len() {
        let (version, rows) = read(&mut client, relation).unwrap();
        reads.push((relation, version, rows));
    }
    client.until("SELECT count(*) FROM tidewater.sources WHERE status <> 'ended'", "0", PATIENCE);
    let newest = client.number("SELECT epoch FROM tidewater.epochs");
    for follower in &followers {
        follower.until_epoch(newest);
        // Nothing more is written: all of it becomes durable.
        follower.until("durable epoch", |f| f.durable.load(Ordering::Acquire) >= newest);
    }
    for (follower, what) in late.into_iter().zip(LATE) {
        follower.until_epoch(newest);
        let (sent, _) = follower.stop();
        check_netted(&sent, sent.first().map_or(0, |s| s.epoch));
        let mut rebuilt = Rebuilt::default();
        rebuilt.take(&sent);
        let mut rows: Vec<String> = client.texts(&format!("SELECT * FROM {what} r")).iter().map(|r| r.join("|")).collect();
        rows.sort();
        assert_eq!(rebuilt.all(), rows, "{what}");
    }
    (followers.into_iter().map(Follower::stop).collect(), reads)
}

#[test]
fn subscriptions_rebuild_what_select_reads_over_kills() {
    let mut server = Server::with(&["--checkpoint-interval", "150ms"]);
    create(&mut server.connect());
    let mut random = Random::from_environment();
    let kills = std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(3);
    let (mut all, mut upto, mut reads) = (vec![Vec::new(); 6], vec![None; 6], Reads::new());
    for round in 0..=kills {
        let (sent, mut more) = phase(&mut server, random.below(1 << 30), 100, &upto, round < kills);
        for (i, (rows, epoch)) in sent.into_iter().enumerate() {
            assert!(rows.iter().all(|s| upto[i].is_none_or(|before| s.epoch > before)), "an epoch comes a second time");
            all[i].extend(rows);
            upto[i] = Some(epoch);
        }
        reads.append(&mut more);
        if round < kills {
            server.restart();
        }
    }
    // Epochs that come by themselves, not one for each version: compared at the end.
    let mut pushed = Rebuilt::default();
    pushed.take(&all[5]);
    let mut rows: Vec<String> = server.connect().texts("SELECT * FROM pushed").iter().map(|r| r.join("|")).collect();
    rows.sort();
    assert_eq!(pushed.all(), rows);
    // The epoch in which each version begins.
    let began: BTreeMap<i64, i64> = all[4].iter().filter(|s| s.weight > 0).map(|s| (s.row.rsplit_once('|').unwrap().1.parse().unwrap(), s.epoch)).collect();
    for (i, sent) in all.iter().enumerate() {
        check_netted(sent, sent.first().map_or(0, |s| s.epoch));
        let mut wanted: Vec<(i64, &Vec<String>)> = reads.iter().filter(|r| r.0 == i).map(|(_, version, rows)| (began[version], rows)).collect();
        wanted.sort_by_key(|(epoch, _)| *epoch);
        let (mut rebuilt, mut at) = (Rebuilt::default(), 0);
        for (epoch, rows) in wanted {
            let next = at + sent[at..].iter().take_while(|s| s.epoch <= epoch).count();
            rebuilt.take(&sent[at..next]);
            at = next;
            assert_eq!(&rebuilt.all(), rows, "{} at epoch {epoch}", RELATIONS[i]);
        }
    }
    println!("{} rows of {} versions, {} reads compared", all.iter().map(Vec::len).sum::<usize>(), began.len(), reads.len());
}

/// A data directory as the disk has it after power loss: what was synced up to some moment, and nothing of what came later.
#[test]
fn what_power_loss_takes_is_no_epoch_to_go_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let (disk, lost) = (folder.path().join("disk"), folder.path().join("lost"));
    // No checkpoint comes by itself.
    let mut server = Server::on(&lost, &["--checkpoint-interval", "1h"]);
    let mut client = server.connect();
    client.run("CREATE TABLE t (a INT); INSERT INTO t VALUES (1)");
    let follower = Follower::start(&server, "t", None);
    follower.until_epoch(client.number("SELECT epoch FROM tidewater.epochs"));
    client.run("FLUSH");
    let kept = client.number("SELECT epoch FROM tidewater.epochs");
    follower.until_epoch(kept);
    server.signal("STOP");
    copy(&lost, &disk);
    server.signal("CONT");
    for a in 2..20 {
        client.run(&format!("INSERT INTO t VALUES ({a})"));
    }
    let seen = client.number("SELECT epoch FROM tidewater.epochs");
    follower.until_epoch(seen);
    assert!(follower.durable.load(Ordering::Acquire) < seen);
    server.kill();
    let (sent, ..) = follower.end();
    assert_eq!(sent.len(), 19);

    let server = Server::on(&disk, &["--checkpoint-interval", "1h"]);
    let mut client = server.connect();
    // More epochs than were lost: their numbers must not come again.
    for a in 100..150 {
        client.run(&format!("INSERT INTO t VALUES ({a})"));
    }
    client.run("SET statement_timeout = '10s'");
    let error = client.fails(&format!("SUBSCRIBE t WITH (SNAPSHOT = false) AS OF {seen}"));
    client.run("RESET statement_timeout");
    assert_eq!((error.code.as_str(), error.message.as_str()), ("72000", format!("epoch {seen} is lost").as_str()));
    assert!(error.detail.contains(&kept.to_string()) && error.hint.contains("without AS OF"), "{error:?}");
    let follower = Follower::start(&server, "t", Some(kept));
    follower.until_epoch(client.number("SELECT epoch FROM tidewater.epochs"));
    let (sent, _) = follower.stop();
    assert_eq!(sent.iter().map(|s| s.row.clone()).collect::<Vec<_>>(), (100..150).map(|a| a.to_string()).collect::<Vec<_>>());
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &target) } else { std::fs::copy(entry.path(), &target).map(drop).unwrap() }
    }
}

/// What is kept is bounded by its age: a checkpoint trims it.
#[test]
fn changes_are_kept_as_long_as_retain_history_says() {
    let mut server = Server::with(&["--checkpoint-interval", "100ms", "--retain-history", "300ms"]);
    let mut client = server.connect();
    client.run("CREATE TABLE t (a INT); CREATE TABLE other (a INT)");
    let follower = Follower::start(&server, "t", None);
    client.run("INSERT INTO t VALUES (1)");
    let first = client.number("SELECT epoch FROM tidewater.epochs");
    follower.until_epoch(first);
    let sql = format!("SUBSCRIBE t WITH (SNAPSHOT = false) AS OF {first}");
    let start = Instant::now();
    let error = loop {
        client.run("INSERT INTO t VALUES (2)");
        client.run("SET statement_timeout = '20ms'");
        let error = client.fails(&sql);
        client.run("RESET statement_timeout");
        if error.code != "57014" {
            break error;
        }
        assert!(start.elapsed() < PATIENCE, "changes are kept for ever");
    };
    assert_eq!(error.code, "72000", "{error}");
    assert!(error.message.contains("no longer kept") && error.detail.contains("Those behind epoch"), "{error:?}");
    follower.stop();
    client.run("SET statement_timeout = '10s'");
    let error = client.fails(&format!("SUBSCRIBE other WITH (SNAPSHOT = false) AS OF {first}"));
    assert_eq!((error.code.as_str(), error.message), ("72000", format!("changes behind epoch {first} are not kept")));
    let error = client.fails("SUBSCRIBE t WITH (SNAPSHOT = false) AS OF 1000000000");
    assert_eq!((error.code.as_str(), error.message.as_str()), ("72000", "there has been no epoch 1000000000"));
    // After a clean stop numbers go on without a gap.
    let before = client.number("SELECT epoch FROM tidewater.epochs");
    assert!(server.terminate().success());
    server.restart();
    assert!(server.connect().number("SELECT epoch FROM tidewater.epochs") - before < 10);
}
