//! Long sums: as many terms as the limit allows are added within a bound, more are refused before anything is planned.

use crate::server::Server;
use std::time::{Duration, Instant};

/// A plan whose cost grew with the third power of its length would take minutes.
const BOUND: &str = "60s";

#[test]
fn a_thousand_parameters_are_added_and_ten_thousand_terms_are_refused() {
    let server = Server::start();
    let mut client = server.connect();
    client.run(&format!("SET statement_timeout = '{BOUND}'"));
    let sum = (1..=1000).map(|i| format!("${i}::int")).collect::<Vec<_>>().join(" + ");
    client.run(&format!("PREPARE sum AS SELECT {sum}"));
    let values = (1..=1000).map(|i| i.to_string()).collect::<Vec<_>>().join(", ");
    assert_eq!(client.number(&format!("EXECUTE sum ({values})")), 500_500);
    client.run("CREATE TABLE term (x int)");
    client.run("INSERT INTO term VALUES (2)");
    assert_eq!(client.number(&format!("SELECT {} FROM term", vec!["x"; 1000].join(" + "))), 2000);
    let start = Instant::now();
    assert_eq!(client.fails(&format!("SELECT {}", vec!["1"; 10_000].join(" + "))).code, "54001");
    assert!(start.elapsed() < Duration::from_secs(5), "a refusal took {:?}", start.elapsed());
}
