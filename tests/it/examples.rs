//! Every file of sql/ runs as it stands, twice, and gives rows.

use crate::kafka::Kafka;
use crate::server::Server;
use std::path::Path;
use std::time::Duration;

/// The text of a file of sql/.
pub fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub const NEXMARK: [&str; 23] =
    ["q0", "q1", "q2", "q3", "q4", "q5", "q6", "q7", "q8", "q9", "q10", "q11", "q12", "q13", "q14", "q15", "q16", "q17", "q18", "q19", "q20", "q21", "q22"];
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn fraud_runs_twice_and_flags_cards() {
    let server = Server::start();
    let mut client = server.connect();
    // As shipped, but ten times as fast and with more frauds, so that the test need not wait.
    let text = example("fraud.sql").replace("rate = '5000'", "rate = '50000'");
    client.run(&text);
    client.run(&text);
    client.until("SELECT count(*) > 3 FROM flagged_cards", "t", PATIENCE);
    assert_eq!(client.one("SELECT count(*) FROM flagged_cards WHERE merchants < 3 OR spent <= 500"), "0");
}

#[test]
fn slow_nexmark_runs_and_every_query_gives_rows() {
    let server = Server::start();
    let mut client = server.connect();
    client.run(&example("nexmark/sources.sql").replace("rate = '10000', event_rate", "rows = '200000', event_rate"));
    for query in NEXMARK {
        client.run(&example(&format!("nexmark/{query}.sql")));
        client.run(&example(&format!("nexmark/{query}.sql")));
    }
    client.until("SELECT count(*) FROM tidewater.sources WHERE status <> 'ended'", "0", PATIENCE);
    for query in NEXMARK {
        client.until(&format!("SELECT count(*) > 0 FROM {query}"), "t", PATIENCE);
    }
    // 46 of 50 events are bids.
    assert_eq!(client.one("SELECT count(*) FROM q0"), "184000");
}

#[test]
fn a_view_is_followed_twice() {
    let server = Server::start();
    let mut client = server.connect();
    let text = example("live.sql");
    for _ in 0..2 {
        // One by one, as psql sends them.
        let rows: Vec<_> = text.split_inclusive(";\n").flat_map(|statement| client.texts(statement)).collect();
        assert_eq!(rows.iter().map(|r| r[1..].join(" ")).collect::<Vec<_>>(), ["1 tea 5.00"]);
    }
}

#[test]
fn recursive_examples_run_twice() {
    let server = Server::start();
    let mut client = server.connect();
    for _ in 0..2 {
        client.run(&example("recursive/closure.sql"));
        let people = "SELECT string_agg(superior || ' ' || people, ', ' ORDER BY superior) FROM headcount";
        assert_eq!(client.one(people), "bea 2, dan 1, fay 2, gus 3");
        client.run(&example("recursive/shortest_path.sql"));
        let cheapest = "SELECT string_agg(place || ' ' || cost, ', ' ORDER BY place) FROM cheapest";
        assert_eq!(client.one(cheapest), "home 0, isle 65, mill 10, port 35");
    }
    client.run("INSERT INTO reports_to VALUES ('gus', 'ann')");
    assert_eq!(client.one("SELECT count(*) FROM chain_of_command WHERE employee = superior"), "3");
    client.run("INSERT INTO road VALUES ('mill', 'port', 2)");
    assert_eq!(client.one("SELECT string_agg(cost::text, ' ' ORDER BY place) FROM cheapest"), "0 42 10 12");
}

#[test]
fn asof_example_runs_twice() {
    let server = Server::start();
    let mut client = server.connect();
    for _ in 0..2 {
        client.run(&example("asof.sql"));
        let slippage = "SELECT string_agg(id || ' ' || coalesce(over_bid::text, '-'), ', ' ORDER BY id) FROM slippage";
        assert_eq!(client.one(slippage), "1 -, 2 0.05, 3 0.05");
    }
    // 30 minutes of orders; the sources end, so all of them close.
    client.until("SELECT count(*) FROM revenue_per_minute", "30", PATIENCE);
    client.until("SELECT sum(orders) FROM revenue_per_minute", "18000", PATIENCE);
}

#[test]
fn kafka_examples_run() {
    let kafka = Kafka::shared();
    let server = Server::start();
    let mut client = server.connect();
    let feeder = kafka.producer();
    for topic in ["payments", "person", "auction", "bid"] {
        kafka.create_topic(topic, 2);
    }
    let here = |text: String| text.replace("127.0.0.1:9092", &kafka.address());
    client.run(&here(example("fraud_kafka.sql")));
    client.run(&here(example("nexmark/sources_kafka.sql")));
    client.run(&example("nexmark/q0.sql"));
    client.run(&example("nexmark/q3.sql"));
    for merchant in 0..3 {
        let payment =
            format!(r#"{{"payment_id": {merchant}, "card": "42", "merchant": "m{merchant}", "amount": 200.50, "ts": "2026-01-31T12:00:0{merchant}.250"}}"#);
        feeder.send("payments", merchant % 2, &payment);
    }
    // Six minutes later on both partitions: the windows above close.
    for partition in 0..2 {
        feeder.send("payments", partition, r#"{"payment_id": 9, "card": "7", "merchant": "m", "amount": 1.00, "ts": "2026-01-31T12:06:00"}"#);
    }
    feeder.send("bid", 0, r#"{"auction":1000,"bidder":1001,"price":5,"channel":"Google","url":"u","date_time":1700000000123,"extra":"e"}"#);
    feeder.send("person", 0, r#"{"id":7,"name":"ann","email_address":"a","credit_card":"c","city":"boise","state":"id","date_time":1700000000123,"extra":""}"#);
    feeder.send(
        "auction",
        1,
        r#"{"id":5,"item_name":"i","description":"d","initial_bid":1,"reserve":2,"date_time":1700000000123,"expires":1700000009000,"seller":7,"category":10,"extra":""}"#,
    );
    feeder.flush();
    client.until("SELECT count(*) FROM kafka_fraud_windows WHERE merchants = 3 AND spent = 601.50", "24", PATIENCE);
    client.until("SELECT count(*) FROM kafka_fraud_final", "24", PATIENCE);
    client.until("SELECT date_time FROM q0", "2023-11-14 22:13:20.123", PATIENCE);
    client.until("SELECT name FROM q3", "ann", PATIENCE);
}
