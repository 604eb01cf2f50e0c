//! What a user is told of state before and after it grows: EXPLAIN (STATE), the notice at CREATE, the setting that refuses.

use crate::client::Client;
use crate::server::Server;

fn sources(client: &mut Client) {
    client.run(
        "CREATE SOURCE clicks (id BIGINT, page BIGINT, ts TIMESTAMP AS (TIMESTAMP '2024-01-01 00:00:00' + id * INTERVAL '10 milliseconds'), WATERMARK FOR ts AS ts - INTERVAL '1 second') WITH (connector = 'datagen', rows = '100000', \
         fields.id.kind = 'sequence', fields.id.start = '1', fields.page.kind = 'random', fields.page.min = '1', fields.page.max = '50')",
    );
    client.run("CREATE TABLE pages (page BIGINT PRIMARY KEY, title TEXT)");
    client.run("INSERT INTO pages SELECT g, 'page ' || g FROM generate_series(1, 300) AS t(g)");
}

/// By the beginning of the operator and of the state table: what bounds it, entries, how they were found.
fn explained(client: &mut Client, query: &str) -> Vec<(String, String, i64, i64, String)> {
    let rows = client.texts(&format!("EXPLAIN (STATE) CREATE MATERIALIZED VIEW v AS {query}"));
    let row = |r: Vec<String>| {
        assert_eq!(r.len(), 7, "{r:?}");
        let number = |text: &str| text.parse::<i64>().unwrap_or_else(|_| panic!("{text} in {r:?}"));
        (r[0].clone(), r[3].clone(), number(&r[4]), number(&r[5]), r[6].clone())
    };
    rows.into_iter().map(row).collect()
}

#[test]
fn explain_state_estimates_from_a_trial_of_the_plan() {
    let server = Server::start();
    let mut client = server.connect();
    sources(&mut client);
    // 50 pages, whatever comes.
    let rows = explained(&mut client, "SELECT page, count(*) AS n FROM clicks GROUP BY page");
    assert_eq!((rows[0].0.as_str(), rows[0].1.as_str(), rows[0].2), ("t1: groups", "number of groups", 50), "{rows:?}");
    assert!(rows[0].3 > 50 * 8 && rows[0].4.contains("of 100000 rows of clicks: 50 after half of it, 50 after all"), "{rows:?}");
    // A group for each click: as many as there are clicks.
    let rows = explained(&mut client, "SELECT id, count(*) AS n FROM clicks GROUP BY id");
    assert!((95_000..=105_000).contains(&rows[0].2), "{rows:?}");
    // Ten seconds hold 1000 clicks, one second of lag 100 more; the sample spans many windows.
    let windows = "SELECT id, window_start, count(*) AS n FROM TUMBLE(clicks, ts, INTERVAL '10 seconds') GROUP BY id, window_start";
    let rows = explained(&mut client, windows);
    assert!(rows[0].1 == "watermark" && rows[0].4.starts_with("most that were open at once"), "{rows:?}");
    assert!((1000..=8000).contains(&rows[0].2), "{rows:?}");
    // Tables are counted.
    let rows = explained(&mut client, "SELECT title, count(*) AS n FROM pages GROUP BY title");
    assert_eq!((rows[0].2, rows[0].4.as_str()), (300, "counted over all 300 rows of pages"), "{rows:?}");
    // A join names both sides; nothing was made by all this.
    let rows = explained(&mut client, "SELECT c.id, p.title FROM clicks c JOIN pages p ON c.page = p.page");
    assert!(rows.iter().any(|r| r.0.contains("left rows") && r.1 == "nothing"), "{rows:?}");
    assert!(client.rows("SHOW MATERIALIZED VIEWS").is_empty());
    let refused = client.fails("EXPLAIN (STATE) SELECT 1");
    assert_eq!(refused.code, "0A000", "{refused}");
}

#[test]
fn unbounded_state_is_told_or_refused() {
    let server = Server::start();
    let mut client = server.connect();
    sources(&mut client);
    client.notices();
    client.run("CREATE MATERIALIZED VIEW per_id AS SELECT c.id, d.page FROM clicks c JOIN clicks d ON c.id = d.id");
    let notices = client.notices();
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!((notices[0].code.as_str(), notices[0].message.as_str()), ("00000", "state of materialized view \"per_id\" grows without bound"));
    assert!(notices[0].detail.contains("JOIN ON id = id keeps every row of its sources"), "{notices:?}");
    assert!(notices[0].hint.contains("TUMBLE"), "{notices:?}");
    client.run("SET unbounded_state = 'error'");
    let refused = client.fails("CREATE MATERIALIZED VIEW per_page AS SELECT page, count(*) AS n FROM clicks GROUP BY page");
    assert_eq!(refused.code, "42P17", "{refused}");
    assert!(refused.detail.contains("GROUP BY page keeps a group for every key"), "{refused}");
    // What ends is allowed: windows, and rows of tables, which the user controls.
    client.run("CREATE MATERIALIZED VIEW closed AS SELECT window_end, count(*) AS n FROM TUMBLE(clicks, ts, INTERVAL '10 seconds') GROUP BY window_end");
    client.run("CREATE MATERIALIZED VIEW titles AS SELECT title, count(*) AS n FROM pages GROUP BY title");
    client.run("SET unbounded_state = 'allow'");
    client.run("CREATE MATERIALIZED VIEW per_page AS SELECT page, count(*) AS n FROM clicks GROUP BY page");
    assert!(client.notices().is_empty());
    assert_eq!(client.fails("SET unbounded_state = 'perhaps'").code, "22023");
}
