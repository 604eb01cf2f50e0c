//! Consistency under fire: writers move money between accounts in multi-row statements while readers on many connections read several views in one
//! statement. In every single read the total is exact in each of them, and all of them show the same number of moves: no half update, no mix of
//! epochs, during checkpoints, while further views are built, and across `kill -9`. Two of the views are isolated, and may be behind.
//!
//! `HAMMER_READS=1000000` goes on for that many reads (`make soak`); without it the test lasts some seconds.

use crate::client::{Client, SqlError};
use crate::random::Random;
use crate::server::Server;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const ACCOUNTS: i64 = 200;
const BRANCHES: i64 = 7;
const READERS: u64 = 8;
const WRITERS: u64 = 3;
const START: i64 = 1000;
const TOTAL: i64 = ACCOUNTS * START;
const QUICK: Duration = Duration::from_secs(9);

/// Views over views, a join, keys of all shapes: each must hold the same money and the same moves.
const VIEWS: &[(&str, &str)] = &[
    ("overall", "SELECT sum(balance) AS money, sum(moves) AS moves FROM accounts"),
    ("by_branch", "SELECT branch, count(*) AS n, sum(balance) AS money, sum(moves) AS moves FROM accounts GROUP BY branch"),
    ("over_branches", "SELECT sum(money) AS money, sum(moves) AS moves FROM by_branch"),
    ("copies", "SELECT id, balance AS money, moves FROM accounts"),
    ("named", "SELECT a.id, b.name, a.balance AS money, a.moves FROM accounts a JOIN branches b ON a.branch = b.id"),
    ("by_parity", "SELECT name, id % 2 AS parity, sum(money) AS money, sum(moves) AS moves FROM named GROUP BY name, id % 2"),
];

/// The same, each maintained by a dataflow of its own; the second does a great deal for each move.
const ISOLATED: &[(&str, &str)] = &[
    ("apart", "SELECT branch, count(*) AS n, sum(balance) AS money, sum(moves) AS moves FROM accounts GROUP BY branch"),
    ("paired", "SELECT a.id, max(a.balance) AS money, max(a.moves) AS moves FROM accounts a JOIN accounts b ON a.branch = b.branch GROUP BY a.id"),
];

/// What all threads share.
struct Fire {
    port: AtomicU16,
    stop: AtomicBool,
    reads: AtomicU64,
    moves: AtomicU64,
    /// Views to read: more are made meanwhile.
    views: Mutex<Vec<String>>,
    wrong: Mutex<Option<String>>,
}

impl Fire {
    fn over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.wrong.lock().unwrap().is_some()
    }

    fn fail(&self, what: String) {
        self.wrong.lock().unwrap().get_or_insert(what);
    }

    /// A connection; `None`: the server is down just now.
    fn connect(&self) -> Option<Client> {
        Client::connect(self.port.load(Ordering::Relaxed)).ok()
    }

    /// Runs `work` on connections, for as long as the fire burns; a lost connection is made again.
    fn burn(&self, mut work: impl FnMut(&mut Client) -> Result<(), SqlError>) {
        let mut client = None;
        while !self.over() {
            let Some(connected) = client.as_mut() else {
                client = self.connect();
                if client.is_none() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                continue;
            };
            match work(connected) {
                Ok(()) => {}
                Err(e) if e.code == "lost" || e.code.starts_with("57P") => client = None,
                Err(e) => self.fail(e.to_string()),
            }
        }
    }

    fn read(&self, client: &mut Client, random: &mut Random) -> Result<(), SqlError> {
        // Three of the views, drawn anew each time, beside the table itself.
        let views = self.views.lock().unwrap().clone();
        let drawn: Vec<&String> = (0..3).map(|_| &views[random.below(views.len() as u64) as usize]).collect();
        let part = |from: &str, money: &str| format!("SELECT '{from}' AS r, sum({money}) AS money, sum(moves) AS moves FROM {from}");
        let parts: Vec<String> = std::iter::once(part("accounts", "balance")).chain(drawn.iter().map(|v| part(v, "money"))).collect();
        let rows = client.try_rows(&parts.join(" UNION ALL "))?;
        let number = |text: &Option<String>| text.as_ref().and_then(|t| t.parse::<i64>().ok());
        let seen: Vec<(Option<i64>, Option<i64>)> = rows.iter().map(|r| (number(&r[1]), number(&r[2]))).collect();
        if seen.len() != parts.len() || seen.iter().any(|s| s.0 != Some(TOTAL) || s.1 != seen[0].1) {
            self.fail(format!("one statement read {rows:?}"));
        }
        self.reads.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn transfer(&self, client: &mut Client, random: &mut Random) -> Result<(), SqlError> {
        let draw = |random: &mut Random| random.below(ACCOUNTS as u64) as i64;
        let (from, mut to, amount) = (draw(random), draw(random), random.below(50));
        if from == to {
            to = (to + 1) % ACCOUNTS;
        }
        match random.below(4) {
            // The account is closed and opened again elsewhere: rows go from group to group.
            0 => client.try_rows(&format!("UPDATE accounts SET branch = (branch + 1) % {BRANCHES}, moves = moves + 1 WHERE id IN ({from}, {to})"))?,
            _ => client.try_rows(&format!(
                "UPDATE accounts SET balance = balance + CASE WHEN id = {from} THEN -{amount} ELSE {amount} END, moves = moves + 1 WHERE id IN ({from}, {to})"
            ))?,
        };
        self.moves.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

fn prepare(client: &mut Client) {
    client.run("CREATE TABLE branches (id BIGINT PRIMARY KEY, name TEXT)");
    client.run("CREATE TABLE accounts (id BIGINT PRIMARY KEY, branch BIGINT, balance BIGINT, moves BIGINT)");
    client.run(&format!("INSERT INTO branches SELECT g, 'branch ' || g FROM generate_series(0, {}) AS t(g)", BRANCHES - 1));
    client.run(&format!("INSERT INTO accounts SELECT g, g % {BRANCHES}, {START}, 0 FROM generate_series(0, {}) AS t(g)", ACCOUNTS - 1));
    for (name, query) in VIEWS {
        client.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}"));
    }
    for (name, query) in ISOLATED {
        client.run(&format!("CREATE MATERIALIZED VIEW {name} WITH (isolated = true) AS {query}"));
    }
}

/// A further view is built while rows change, and is read from then on.
fn create_one(fire: &Fire, number: usize) {
    let name = format!("late_{number}");
    let sql = format!(
        "CREATE MATERIALIZED VIEW {name} AS SELECT n.name, c.id % 5 AS k, sum(c.money) AS money, sum(c.moves) AS moves FROM copies c JOIN named n ON n.id = c.id GROUP BY 1, 2"
    );
    if let Some(mut client) = fire.connect() {
        match client.try_rows(&sql) {
            Ok(_) => fire.views.lock().unwrap().push(name),
            Err(e) => fire.fail(format!("{sql}: {e}")),
        }
    }
}

#[test]
fn every_read_of_many_is_exact_while_money_moves() {
    let wanted: Option<u64> = std::env::var("HAMMER_READS").ok().and_then(|n| n.parse().ok());
    let mut random = Random::from_environment();
    let mut server = Server::with(&["--checkpoint-interval", "150ms"]);
    prepare(&mut server.connect());
    let fire = Arc::new(Fire {
        port: AtomicU16::new(server.sql_port),
        stop: AtomicBool::new(false),
        reads: AtomicU64::new(0),
        moves: AtomicU64::new(0),
        views: Mutex::new(VIEWS.iter().chain(ISOLATED).map(|(name, _)| name.to_string()).collect()),
        wrong: Mutex::new(None),
    });
    let mut threads = Vec::new();
    for thread in 0..READERS + WRITERS {
        let (fire, mut random) = (fire.clone(), Random::new(random.below(1 << 30)));
        threads.push(std::thread::spawn(move || match thread {
            t if t < READERS => fire.burn(|client| fire.read(client, &mut random)),
            _ => fire.burn(|client| fire.transfer(client, &mut random)),
        }));
    }
    let start = Instant::now();
    let progress = || wanted.map_or(start.elapsed().as_secs_f64() / QUICK.as_secs_f64(), |n| fire.reads.load(Ordering::Relaxed) as f64 / n as f64);
    // Half way: a view is built, then a kill; the same again for every hundred thousand reads of a long run.
    let turns = wanted.map_or(1, |n| (n / 100_000).max(1));
    for turn in 0..turns {
        let at = |part: f64| (turn as f64 + part) / turns as f64;
        while progress() < at(0.3) && !fire.over() {
            std::thread::sleep(Duration::from_millis(10));
        }
        if turn < 3 {
            create_one(&fire, turn as usize);
        }
        while progress() < at(0.6) && !fire.over() {
            std::thread::sleep(Duration::from_millis(10));
        }
        server.kill();
        server.restart();
        fire.port.store(server.sql_port, Ordering::Relaxed);
    }
    while progress() < 1.0 && !fire.over() {
        std::thread::sleep(Duration::from_millis(10));
    }
    fire.stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|t| t.join().unwrap());
    if let Some(wrong) = fire.wrong.lock().unwrap().take() {
        panic!("{wrong}");
    }
    let (reads, moves) = (fire.reads.load(Ordering::Relaxed), fire.moves.load(Ordering::Relaxed));
    println!("{reads} reads beside {moves} moves in {:.0} s, {turns} kills", start.elapsed().as_secs_f64());
    assert!(reads > 500 && moves > 50, "{reads} reads, {moves} moves: nothing was tried");
    let seen = server.connect().number("SELECT sum(moves) FROM accounts");
    assert!(seen >= 2 * moves as i64, "{seen} moves are kept of {moves} that were acknowledged");
}
