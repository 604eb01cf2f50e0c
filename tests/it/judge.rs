//! The second judge: the same random INSERT, UPDATE and DELETE go to Tidewater and to a real PostgreSQL; what Tidewater maintains as
//! materialized views, PostgreSQL computes as plain views. After every few statements all of them must hold the same rows; in between
//! Tidewater is killed and started again.
//!
//! `TIDEWATER_SEED` repeats a run, `TIDEWATER_ORACLE_SECONDS` goes on for that long.

use crate::client::{Client, SqlError};
use crate::postgres::Postgres;
use crate::random::Random;
use crate::server::Server;
use std::time::{Duration, Instant};

const TABLES: &str = "CREATE TABLE a (id int PRIMARY KEY, g int, v bigint, s text, n numeric(10,2)); \
                      CREATE TABLE b (id int PRIMARY KEY, g int, w int, ok boolean)";

/// Ties are broken by unique columns, so that both sides have one right answer.
const VIEWS: &[(&str, &str)] = &[
    ("filtered", "SELECT id, v * 2 + 1 AS x, upper(s) AS s FROM a WHERE v > 10 OR s IS NULL"),
    (
        "computed",
        "SELECT id, CASE WHEN v % 2 = 0 THEN 'even' WHEN v IS NULL THEN 'none' ELSE 'odd' END AS parity, coalesce(s, '-') AS s, v / 3 AS third FROM a",
    ),
    ("grouped", "SELECT g, count(*) AS n, count(v) AS known, sum(v) AS total, min(v) AS least, max(s) AS last FROM a GROUP BY g"),
    ("averaged", "SELECT g, round(avg(v), 6) AS mean, sum(n) AS money, round(stddev_samp(n), 6) AS spread FROM a GROUP BY g"),
    ("overall", "SELECT count(*) AS n, sum(v) AS total, max(n) AS most, bool_or(v > 90) AS big FROM a"),
    (
        "kinds",
        "SELECT g, count(DISTINCT v) AS kinds, sum(v) FILTER (WHERE s IS NOT NULL) AS named, string_agg(s, ',' ORDER BY s, id) AS names FROM a GROUP BY g HAVING count(*) > 1",
    ),
    (
        "picked",
        "SELECT g, percentile_cont(0.25) WITHIN GROUP (ORDER BY v) AS q, percentile_disc(0.5) WITHIN GROUP (ORDER BY n DESC) AS m, mode() WITHIN GROUP (ORDER BY s) AS s, bit_and(v) AS x, bit_or(v) AS y, bit_xor(id) AS z FROM a GROUP BY g",
    ),
    ("distinct_rows", "SELECT DISTINCT g, v FROM a"),
    ("joined", "SELECT a.id, b.id AS other, a.v + b.w AS sum FROM a JOIN b ON a.g = b.g"),
    ("left_joined", "SELECT a.id, b.id AS other, b.w FROM a LEFT JOIN b ON a.g = b.g AND b.ok"),
    ("right_joined", "SELECT a.id, b.id AS other FROM a RIGHT JOIN b ON a.v = b.w"),
    ("full_joined", "SELECT a.id, b.id AS other FROM a FULL JOIN b ON a.id = b.id"),
    ("existing", "SELECT id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.g = a.g AND b.w > 50)"),
    ("missing", "SELECT id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.g = a.g)"),
    ("among", "SELECT id FROM a WHERE g IN (SELECT g FROM b WHERE ok)"),
    ("not_among", "SELECT id FROM a WHERE g NOT IN (SELECT g FROM b WHERE g IS NOT NULL)"),
    ("united", "SELECT g FROM a UNION SELECT g FROM b"),
    ("stacked", "SELECT g, v FROM a UNION ALL SELECT g, w FROM b"),
    ("top", "SELECT id, v FROM a ORDER BY v DESC NULLS LAST, id LIMIT 5"),
    ("ranked", "SELECT * FROM (SELECT id, g, v, row_number() OVER (PARTITION BY g ORDER BY v DESC NULLS LAST, id) AS r FROM a) x WHERE r <= 2"),
    ("ranked_with_ties", "SELECT * FROM (SELECT id, g, rank() OVER (PARTITION BY g ORDER BY v DESC NULLS LAST) AS r FROM a) x WHERE r <= 2"),
    ("ranked_densely", "SELECT id, r FROM (SELECT id, dense_rank() OVER (PARTITION BY g ORDER BY v) AS r FROM a) x WHERE r < 3"),
    (
        "over_ranks",
        "SELECT id, g, row_number() OVER w AS n, rank() OVER (PARTITION BY g ORDER BY v) AS r, dense_rank() OVER (PARTITION BY g ORDER BY v DESC) AS d, \
         ntile(3) OVER w AS t, round(percent_rank() OVER (PARTITION BY g ORDER BY v)::numeric, 6) AS p, round(cume_dist() OVER (PARTITION BY g ORDER BY v)::numeric, 6) AS c \
         FROM a WINDOW w AS (PARTITION BY g ORDER BY v DESC NULLS LAST, id)",
    ),
    (
        "over_neighbours",
        "SELECT id, lag(v) OVER w AS p, lead(s, 2, '-') OVER w AS q, v - lag(v, 1, v) OVER w AS step, first_value(id) OVER w AS f, last_value(id) OVER w AS l, \
         nth_value(v, 2) OVER w AS x FROM a WINDOW w AS (PARTITION BY g ORDER BY n, id)",
    ),
    (
        "over_moving",
        "SELECT id, round(avg(v) OVER w, 6) AS mean, sum(n) OVER w AS money, min(v) OVER w AS least, max(s) OVER w AS most, count(v) FILTER (WHERE s = 'x') OVER w AS xs \
         FROM a WINDOW w AS (PARTITION BY g ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING)",
    ),
    (
        "over_running",
        "SELECT id, sum(v) OVER (ORDER BY id) AS total, count(*) OVER (PARTITION BY s) AS alike, sum(v) OVER (PARTITION BY g ORDER BY v) AS by_value, \
         round(avg(n) OVER (PARTITION BY g), 6) AS mean, string_agg(s, ',') OVER (PARTITION BY g ORDER BY id) AS texts FROM a",
    ),
    (
        "over_values",
        "SELECT id, sum(v) OVER (PARTITION BY g ORDER BY v RANGE BETWEEN 10 PRECEDING AND 5 FOLLOWING) AS near, \
         count(*) OVER (ORDER BY n DESC RANGE BETWEEN 20.5 PRECEDING AND CURRENT ROW) AS dear, \
         count(*) OVER (PARTITION BY g ORDER BY v NULLS FIRST GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS groups FROM a",
    ),
    ("over_groups", "SELECT g, n, sum(n) OVER (ORDER BY n DESC, g) AS running FROM (SELECT g, count(*) AS n FROM a GROUP BY g) x"),
    ("over_joined", "SELECT a.id, b.id AS other, lag(b.w) OVER (PARTITION BY a.id ORDER BY b.id) AS before FROM a JOIN b ON a.g = b.g"),
    ("with_ties", "SELECT id, v FROM a ORDER BY v DESC NULLS LAST FETCH FIRST 4 ROWS WITH TIES"),
    ("nested", "SELECT n, count(*) AS groups FROM (SELECT g, count(*) AS n FROM a GROUP BY g) x GROUP BY n"),
    ("joined_groups", "SELECT x.g, x.n, y.w FROM (SELECT g, count(*) AS n FROM a GROUP BY g) x JOIN (SELECT g, max(w) AS w FROM b GROUP BY g) y ON x.g = y.g"),
    (
        "marked",
        "SELECT id, EXISTS (SELECT 1 FROM b WHERE b.g = a.g AND b.w > a.v) AS x, g IN (SELECT g FROM b WHERE ok) AS y, g NOT IN (SELECT w FROM b WHERE b.g = a.g) AS z FROM a",
    ),
    ("not_among_correlated", "SELECT id FROM a WHERE v > 90 OR g NOT IN (SELECT g FROM b WHERE b.w > a.v)"),
    (
        "compared",
        "SELECT id, v > ALL (SELECT w FROM b WHERE b.g = a.g) AS x, v <= ANY (SELECT w FROM b WHERE ok) AS y, (id, g) IN (SELECT id, g FROM b) AS z FROM a",
    ),
    (
        "valued",
        "SELECT id, (SELECT w FROM b WHERE b.id = a.id) AS w, (SELECT count(*) FROM b WHERE b.w > a.v) AS n, ARRAY(SELECT w FROM b WHERE b.g = a.g ORDER BY w, id) AS l FROM a",
    ),
    (
        "best_of",
        "SELECT a.id, l.id AS other, l.w FROM a LEFT JOIN LATERAL (SELECT id, w FROM b WHERE b.g = a.g ORDER BY w DESC NULLS LAST, id LIMIT 2) l ON true",
    ),
    ("counted_below", "SELECT a.id, l.n, l.t FROM a CROSS JOIN LATERAL (SELECT count(*) AS n, sum(w) AS t FROM b WHERE b.w < a.v) l"),
    ("series", "SELECT a.id, k, generate_series(1, a.g) AS m FROM a, generate_series(a.g, 5) AS x(k)"),
    ("met_all", "SELECT g FROM a INTERSECT ALL SELECT g FROM b"),
    ("rest_all", "SELECT g FROM a EXCEPT ALL SELECT g FROM b"),
    ("full_using", "SELECT id, g, w FROM (SELECT id, g FROM a) x FULL JOIN (SELECT id, w FROM b) y USING (id)"),
    ("above_average", "SELECT id FROM a WHERE v > (SELECT avg(v) FROM a)"),
    ("closure", "WITH RECURSIVE t(x, y) AS (SELECT id, g FROM a UNION SELECT t.x, a.g FROM t JOIN a ON a.id = t.y) SELECT x, y FROM t"),
    (
        "bounded_walk",
        "WITH RECURSIVE t(x, y, n) AS (SELECT g, w, 1 FROM b UNION ALL SELECT t.x, b.w, t.n + 1 FROM t JOIN b ON b.g = t.y % 8 WHERE t.n < 3) SELECT x, count(*) AS n, sum(y) AS y FROM t GROUP BY x",
    ),
    (
        "walled",
        "WITH RECURSIVE t(x) AS (SELECT g FROM b UNION SELECT a.g FROM t JOIN a ON a.id = t.x + 1 LEFT JOIN b ON b.id = a.id AND b.ok WHERE b.w IS NULL OR b.w > 30) SELECT x FROM t",
    ),
    ("on_views", "SELECT g.g, g.n, o.n AS of FROM grouped g CROSS JOIN overall o"),
];

/// Both databases with the same objects.
struct Pair {
    server: Server,
    ours: Client,
    theirs: Client,
    views: Vec<&'static str>,
}

impl Pair {
    fn new(postgres: &Postgres) -> Pair {
        let server = Server::with(&["--checkpoint-interval", "100ms"]);
        let (mut ours, mut theirs) = (server.connect(), Client::connect(postgres.port).unwrap());
        ours.run(TABLES);
        theirs.run(TABLES);
        for (name, query) in VIEWS {
            theirs.run(&format!("CREATE VIEW {name} AS {query}"));
            ours.run(&format!("CREATE MATERIALIZED VIEW {name} AS {query}"));
        }
        Pair { server, ours, theirs, views: VIEWS.iter().map(|v| v.0).collect() }
    }

    /// The same statement on both: the same rows, or errors of the same kind.
    fn run(&mut self, sql: &str) {
        let code = |e: &SqlError| e.code.clone();
        // RETURNING promises no order.
        let sorted = |client: &mut Client| {
            client.try_rows(sql).map(|mut rows| {
                rows.sort();
                rows
            })
        };
        let (ours, theirs) = (sorted(&mut self.ours), sorted(&mut self.theirs));
        let same = match (&ours, &theirs) {
            (Ok(a), Ok(b)) => a == b,
            (Err(a), Err(b)) => code(a) == code(b),
            _ => false,
        };
        assert!(same, "{sql}\nTidewater:  {ours:?}\nPostgreSQL: {theirs:?}");
    }

    fn compare(&mut self, after: &str) {
        for name in ["a", "b"].iter().chain(&self.views) {
            let sql = format!("SELECT * FROM {name}");
            let (mut ours, mut theirs) = (self.ours.texts(&sql), self.theirs.texts(&sql));
            ours.sort();
            theirs.sort();
            assert!(ours == theirs, "{name} differs after {after}\nTidewater:  {ours:?}\nPostgreSQL: {theirs:?}");
        }
    }

    fn kill_and_restart(&mut self) {
        self.server.kill();
        self.server.restart();
        self.ours = self.server.connect();
    }
}

fn value(random: &mut Random, bound: u64) -> String {
    if random.below(8) == 0 { "NULL".to_string() } else { random.below(bound).to_string() }
}

fn row_of_a(random: &mut Random) -> String {
    let text = ["NULL", "'x'", "'y'", "'long text'", "''"][random.below(5) as usize];
    format!("({}, {}, {}, {text}, {}.{:02})", random.below(60), value(random, 8), value(random, 100), random.below(500), random.below(100))
}

fn row_of_b(random: &mut Random) -> String {
    let ok = ["true", "false", "NULL"][random.below(3) as usize];
    format!("({}, {}, {}, {ok})", random.below(40), value(random, 8), value(random, 100))
}

/// One random statement. Keys collide often, so some of them fail, on both sides alike.
fn statement(random: &mut Random) -> String {
    match random.below(10) {
        0 => format!("INSERT INTO a VALUES {}", row_of_a(random)),
        1 => format!("INSERT INTO b VALUES {}", row_of_b(random)),
        2 | 3 => {
            format!("INSERT INTO a VALUES {} ON CONFLICT (id) DO UPDATE SET g = excluded.g, v = excluded.v, s = excluded.s, n = excluded.n", row_of_a(random))
        }
        4 => format!("INSERT INTO b VALUES {} ON CONFLICT (id) DO UPDATE SET g = excluded.g, w = excluded.w, ok = excluded.ok", row_of_b(random)),
        5 => format!("INSERT INTO a VALUES {} ON CONFLICT DO NOTHING", row_of_a(random)),
        6 => format!("UPDATE a SET v = v + {}, g = {} WHERE id < {} RETURNING id", random.below(5), value(random, 8), random.below(20)),
        7 => format!("UPDATE b SET ok = NOT ok, w = w / 2 WHERE g = {}", random.below(8)),
        8 => format!("DELETE FROM a WHERE id BETWEEN {} AND {}", random.below(30), 20 + random.below(20)),
        _ => format!("DELETE FROM b WHERE w > {}", 50 + random.below(50)),
    }
}

#[test]
fn slow_random_changes_give_what_postgres_gives() {
    let mut random = Random::from_environment();
    let seconds = std::env::var("TIDEWATER_ORACLE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(10);
    let end = Instant::now() + Duration::from_secs(seconds);
    let postgres = Postgres::start();
    let mut pair = Pair::new(&postgres);
    pair.compare("CREATE");
    let mut step = 0;
    while Instant::now() < end {
        step += 1;
        let sql = statement(&mut random);
        pair.run(&sql);
        if random.below(3) == 0 {
            pair.compare(&format!("step {step}: {sql}"));
        }
        if random.below(60) == 0 {
            pair.kill_and_restart();
            pair.compare(&format!("step {step} and kill -9"));
        }
    }
    pair.compare("the end");
    println!("{step} statements");
}
