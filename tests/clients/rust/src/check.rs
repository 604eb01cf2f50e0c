//! Checks that stand alone, each with its own connection and its own time limit, as in check.py: one line is printed for each.

use std::env;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(20);
const FOLLOW: Duration = Duration::from_secs(5);

pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;
type Body = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Outcome> + Send>>>;

/// The checks of one client.
pub struct Suite {
    client: &'static str,
    checks: Vec<(&'static str, Body)>,
}

impl Suite {
    pub fn new(client: &'static str) -> Suite {
        Suite { client, checks: Vec::new() }
    }

    /// Keeps a check; one that prepares runs also when only some are chosen.
    pub fn add<F: Future<Output = Outcome> + Send + 'static>(&mut self, what: &'static str, body: impl FnOnce() -> F + 'static) {
        let prepares = what.starts_with("a table") || what.starts_with("the view follows");
        if prepares || what.contains(&env::var("TIDEWATER_CHECK").unwrap_or_default()) {
            self.checks.push((what, Box::new(|| Box::pin(body()))));
        }
    }

    /// Runs all of them. False: one has failed.
    pub async fn run(self) -> bool {
        let mut failed = false;
        for (what, body) in self.checks {
            let outcome = match tokio::time::timeout(LIMIT, body()).await {
                Ok(outcome) => outcome,
                Err(_) => Err(format!("expected an answer got none in {} s", LIMIT.as_secs()).into()),
            };
            match outcome {
                Ok(()) => println!("ok {}: {what}", self.client),
                Err(error) => {
                    let told = error.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
                    let told = if told.starts_with("expected ") { told } else { format!("expected no error got {told}") };
                    println!("FAIL {}: {what}: {told}", self.client);
                    failed = true;
                }
            }
        }
        println!("end {}", self.client);
        !failed
    }
}

pub fn equal<T: PartialEq + Debug>(got: T, expected: T) -> Outcome {
    if got == expected { Ok(()) } else { Err(format!("expected {expected:?} got {got:?}").into()) }
}

/// The error must have this SQLSTATE.
pub fn refused(got: Option<String>, sqlstate: &str) -> Outcome {
    equal(got.as_deref(), Some(sqlstate))
}

/// Waits, with a bound, until `read` gives the expected value.
pub async fn eventually<T: PartialEq + Debug, F: Future<Output = Result<T, Box<dyn std::error::Error + Send + Sync>>>>(read: impl Fn() -> F, expected: T) -> Outcome {
    let start = Instant::now();
    loop {
        let got = read().await?;
        if got == expected || start.elapsed() > FOLLOW {
            return equal(got, expected);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

/// `host=… port=… user=… dbname=…`.
pub fn address() -> String {
    let (host, port) = (variable("PGHOST", "127.0.0.1"), variable("PGPORT", "8433"));
    format!("host={host} port={port} user={} dbname={}", variable("PGUSER", "tidewater"), variable("PGDATABASE", "tidewater"))
}

/// The same as a URL.
pub fn url() -> String {
    let (host, port) = (variable("PGHOST", "127.0.0.1"), variable("PGPORT", "8433"));
    format!("postgres://{}@{host}:{port}/{}", variable("PGUSER", "tidewater"), variable("PGDATABASE", "tidewater"))
}

/// A real PostgreSQL refreshes a materialized view when it is told to.
pub fn is_control() -> bool {
    variable("TIDEWATER_CONTROL", "0") == "1"
}

/// What every client begins with: a table, rows, a materialized view.
pub fn beginning(prefix: &str) -> Vec<String> {
    vec![
        format!("drop materialized view if exists {prefix}_totals"),
        format!("drop table if exists {prefix}_orders"),
        format!("create table {prefix}_orders (id bigint primary key, customer varchar(20) not null, amount numeric(12,2) default 0, at timestamptz)"),
        format!("insert into {prefix}_orders values (1, 'ann', 10.50, '2024-01-01 00:00:00+00'), (2, 'bob', 20.25, '2024-01-02 00:00:00+00'), (3, 'ann', 5.00, null)"),
        format!("create materialized view {prefix}_totals as select customer, count(*) as orders, sum(amount) as total from {prefix}_orders group by customer"),
    ]
}
