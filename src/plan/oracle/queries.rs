//! What the oracle asks: a fixed list with one query per shape, and a small grammar for the rest.
//!
//! In a query over events, `{used:E}` stands for "the row was in time for a window that ends at E": TRUE in the view, which finds out by itself, and a comparison with the
//! row's watermark column in the batch query. `{closed:E}` likewise for EMIT ON WINDOW CLOSE and the newest watermark. `{clock:now()}` is the call in the view and the epoch's clock in the batch query.
//! `{rows:r}` is relation r in the view, and its rows that were in time in the batch query; `{at:t}` is FOR SYSTEM_TIME AS OF t in the view, and the ASOF join with y.ts in the batch query.
//! `{sessions:Q}` is the query Q in the view, and the judge's own `e_sessions` in the batch query.

use super::world::Random;
use super::world::{E, P};
use crate::types::ids::CLOCK;
use crate::types::time::{WATERMARK_NONE, Watermarks};

/// A query; `late_column` is the watermark that its windows obey, `emit` whether it waits for them to close.
#[derive(Clone)]
pub struct Query {
    pub sql: String,
    pub late_column: &'static str,
    pub emit: bool,
    /// Counts the rows (per window) that came too late.
    pub late: Option<String>,
}

impl Query {
    pub fn new(sql: impl Into<String>) -> Query {
        Query { sql: sql.into(), late_column: "wm", emit: false, late: None }
    }

    pub(super) fn both(sql: &str) -> Query {
        Query { late_column: "wm2", ..Query::new(sql) }
    }

    fn closing(self) -> Query {
        Query { emit: true, ..self }
    }

    pub(super) fn counting_late(self, sql: String) -> Query {
        Query { late: Some(sql), ..self }
    }

    /// The text for the view.
    pub fn view(&self) -> String {
        replace(&self.sql, |what, text| match what {
            "clock" | "sessions" | "rows" => text.to_string(),
            "at" => format!("tw_version_at({text})"),
            _ => "TRUE".to_string(),
        })
    }

    /// The text for the judge, after an epoch that ended with these watermarks at this clock.
    pub fn batch(&self, now: &Watermarks, clock: i64) -> String {
        let sources = match self.late_column {
            "wm" => vec![E],
            "pt" => vec![CLOCK],
            _ => vec![E, P],
        };
        let watermark = now.of(&sources);
        replace(&self.sql, |what, end| match what {
            "sessions" => "e_sessions".to_string(),
            "rows" => format!("(SELECT * FROM {end} WHERE ts IS NULL OR ts > wm)"),
            "at" => format!("tw_asof({end} >= y.ts)"),
            "clock" => format!("arrow_cast({clock}, 'Timestamp(Microsecond, Some(\"UTC\"))')"),
            "used" => format!("({end} IS NULL OR {end} > {}{})", alias(end), self.late_column),
            // No promise yet: nothing is closed.
            _ if watermark == WATERMARK_NONE => "FALSE".to_string(),
            _ => format!("{end} <= arrow_cast({watermark}, 'Timestamp(Microsecond, None)')"),
        })
    }
}

/// `x.` if the expression's column is qualified by x.
fn alias(end: &str) -> String {
    end.split_once("(").map_or(end, |(_, rest)| rest).split_once('.').map_or(String::new(), |(alias, _)| format!("{alias}."))
}

fn replace(sql: &str, with: impl Fn(&str, &str) -> String) -> String {
    let mut text = sql.to_string();
    while let Some(start) = text.find('{') {
        let end = start + text[start..].find('}').expect("a closing brace");
        let (what, expr) = text[start + 1..end].split_once(':').expect("a colon");
        let replacement = with(what, expr);
        text.replace_range(start..=end, &replacement);
    }
    text
}

pub const WS: &str = "tw_window_start(ts, INTERVAL '10 seconds')";
pub const WE: &str = "tw_window_end(ts, INTERVAL '10 seconds')";
const HOP: &str = "(SELECT *, tw_window_plus(ws, INTERVAL '10 seconds') AS we FROM (SELECT *, unnest(tw_hop_starts(ts, INTERVAL '4 seconds', INTERVAL '10 seconds')) AS ws FROM e))";

const CUMULATE: &str = "(SELECT *, tw_cumulate_start(we, INTERVAL '12 seconds') AS ws FROM (SELECT *, unnest(tw_cumulate_ends(ts, INTERVAL '4 seconds', INTERVAL '12 seconds')) AS we FROM e))";
const SESSION: &str = "{sessions:(SELECT *, tw_session_start(ts, INTERVAL '3 seconds') OVER (PARTITION BY auction ORDER BY ts) AS ws, \
                       tw_session_end(ts, INTERVAL '3 seconds') OVER (PARTITION BY auction ORDER BY ts) AS we FROM e)}";
/// By the clock nothing is late, and what closes stays as it is.
const CLOCKED_SESSION: &str = "(SELECT *, tw_session_start(pt, INTERVAL '3 seconds') OVER (PARTITION BY auction ORDER BY pt) AS ws, \
                               tw_session_end(pt, INTERVAL '3 seconds') OVER (PARTITION BY auction ORDER BY pt) AS we FROM e)";
/// A table whose rows change, with numbers for times.
const CHANGING_SESSION: &str = "SELECT id, v, tw_session_start(t, INTERVAL '3 seconds') OVER (PARTITION BY g ORDER BY t) AS ws, \
                                tw_session_end(t, INTERVAL '3 seconds') OVER (PARTITION BY g ORDER BY t) AS we FROM (SELECT *, to_timestamp(v) AS t FROM a)";

/// One query per shape.
pub fn fixed() -> Vec<Query> {
    let plain = [
        "SELECT id, v + g AS x, upper(s) AS t FROM a WHERE v > 3 OR g IS NULL",
        "SELECT g, count(*) AS n, sum(v) AS t, min(v) AS lo, max(v) AS hi FROM a GROUP BY g",
        "SELECT g, count(DISTINCT s) AS n, sum(v) FILTER (WHERE v > 5) AS t FROM a GROUP BY g HAVING count(*) > 1",
        "SELECT count(*) AS n, sum(f) AS t, max(s) AS x, stddev(f) AS d FROM a",
        "SELECT g, bool_and(v > 3) AS x, bool_or(v > 3) AS y, array_agg(v ORDER BY v, id) AS l FROM a GROUP BY g",
        "SELECT g, regr_count(f, v) AS n, regr_sxx(f, v) AS x, regr_slope(f, v) + 1000 AS s, corr(f, v) + 1000 AS c FROM a GROUP BY g",
        "SELECT covar_samp(DISTINCT v, f) + 1000 AS c, regr_intercept(v, f) FILTER (WHERE g > 1) + 1000 AS i, regr_r2(f, v) AS r FROM a",
        "SELECT g, s, regr_avgy(f, v) AS n, grouping(g) AS o FROM a GROUP BY GROUPING SETS ((g), (s))",
        "SELECT id, covar_pop(f, v) OVER (PARTITION BY g ORDER BY v, id ROWS 2 PRECEDING) + 1000 AS c FROM a",
        "SELECT a.id, a.v, b.w, b.u FROM a JOIN b ON a.g = b.k",
        "SELECT a.id, b.w FROM a LEFT JOIN b ON a.g = b.k AND b.w > a.v",
        "SELECT a.id, b.w, b.u FROM a RIGHT JOIN b ON a.g = b.k",
        "SELECT a.id, a.g, b.k, b.w FROM a FULL JOIN b ON a.g = b.k",
        "SELECT a.id, b.w FROM a CROSS JOIN b WHERE a.v < b.w",
        "SELECT a.id, b.w FROM a JOIN b ON a.g IS NOT DISTINCT FROM b.k WHERE a.v = b.w",
        "SELECT a.id, b.w, c.id AS other FROM a JOIN b ON a.g IS NOT DISTINCT FROM b.k JOIN a c ON c.v = b.w",
        "SELECT a.id, b.w FROM a LEFT JOIN b ON (a.g IS NOT DISTINCT FROM b.k) AND b.w > 1 WHERE a.v = b.w",
        "SELECT a.id, a.v, b.k, b.w FROM a FULL JOIN b ON (a.g IS NOT DISTINCT FROM b.k) AND a.v = b.w",
        "SELECT a.id, b.w FROM a LEFT JOIN b ON (a.g IS NOT DISTINCT FROM b.k) AND a.v IS NOT DISTINCT FROM b.w",
        "SELECT id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE (b.k IS NOT DISTINCT FROM a.g) AND b.w = a.v)",
        "SELECT g, v FROM a INTERSECT SELECT k, w FROM b",
        "SELECT id, v FROM a WHERE g IN (SELECT k FROM b)",
        "SELECT id, v FROM a WHERE g NOT IN (SELECT k FROM b)",
        "SELECT id FROM a WHERE EXISTS (SELECT 1 FROM b WHERE b.k = a.g AND b.w > 1)",
        "SELECT id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.k = a.g AND b.w > a.v)",
        "SELECT id, v FROM a WHERE v > (SELECT avg(w) FROM b)",
        "SELECT id, (SELECT max(w) FROM b WHERE b.k = a.g) AS m FROM a",
        "SELECT g AS x, s AS t FROM a UNION ALL SELECT k, u FROM b",
        "SELECT g AS x FROM a UNION SELECT k FROM b",
        "SELECT DISTINCT g, s FROM a",
        "SELECT id, v, s FROM a ORDER BY v DESC NULLS LAST, id LIMIT 3 OFFSET 1",
        "SELECT id, g, v FROM (SELECT *, row_number() OVER (PARTITION BY g ORDER BY v DESC, id) AS n FROM a) WHERE n <= 2",
        "SELECT id, n FROM (SELECT *, rank() OVER (PARTITION BY g ORDER BY v DESC) AS n FROM a) WHERE n <= 2",
        "SELECT id FROM (SELECT *, dense_rank() OVER (PARTITION BY g ORDER BY v) AS n FROM a) WHERE n = 2",
        "SELECT DISTINCT ON (g) g, id, v FROM a ORDER BY g, v DESC, id",
        "SELECT x.g, x.n, y.k, y.m FROM (SELECT g, count(*) AS n FROM a GROUP BY g) x JOIN (SELECT k, max(w) AS m FROM b GROUP BY k) y ON x.g = y.k",
        "SELECT m, count(*) AS c FROM (SELECT k, max(w) AS m FROM b GROUP BY k) GROUP BY m",
        "SELECT g, sum(n) AS t FROM (SELECT g, count(*) AS n FROM a GROUP BY g UNION ALL SELECT k, count(*) FROM b GROUP BY k) GROUP BY g",
        "SELECT k, w, u, count(*) AS n FROM b GROUP BY k, w, u",
        "SELECT x, count(*) AS n FROM (SELECT CASE WHEN v > 5 THEN 'big' WHEN v IS NULL THEN NULL ELSE 'small' END AS x FROM a) GROUP BY x",
        "SELECT * FROM (VALUES (1, 'x'), (2, 'y')) AS c(k, n) WHERE k IN (SELECT g FROM a)",
        "SELECT auction, count(*) AS n, max(price) AS p, min(ts) AS t FROM e GROUP BY auction",
        "SELECT k FROM b WHERE k NOT IN (SELECT g FROM a WHERE g IS NOT NULL)",
        "SELECT x.id, y.id AS other FROM a x JOIN a y ON x.g = y.g AND x.id < y.id",
        "SELECT a.id, e.price FROM a JOIN e ON a.g = e.auction WHERE e.price > 10",
        "SELECT g, u, count(*) AS n FROM a LEFT JOIN b ON a.g = b.k GROUP BY g, u",
        "SELECT 1 AS one, count(*) AS n FROM b",
        "SELECT g FROM a INTERSECT SELECT k FROM b",
        "SELECT g FROM a EXCEPT SELECT k FROM b",
        "SELECT id, EXISTS (SELECT 1 FROM b WHERE b.k = a.g AND b.w > a.v) AS x, g IN (SELECT k FROM b) AS y, g NOT IN (SELECT w FROM b WHERE b.k = a.g) AS z FROM a",
        "SELECT id FROM a WHERE v = 3 OR g NOT IN (SELECT k FROM b WHERE b.w > a.v)",
        "SELECT id, (SELECT w FROM b WHERE b.k = a.g ORDER BY w DESC NULLS LAST, u LIMIT 1) AS w FROM a",
        "SELECT id, (SELECT count(*) FROM b WHERE b.w > a.v) AS n, (SELECT sum(w) + a.v FROM b WHERE b.k = a.g) AS t FROM a",
        "SELECT id, v > ALL (SELECT w FROM b WHERE b.k = a.g) AS x, v = ANY (SELECT w FROM b) AS y FROM a",
        "SELECT a.id, l.w, l.u FROM a LEFT JOIN LATERAL (SELECT w, u FROM b WHERE b.k = a.g ORDER BY w, u LIMIT 2) l ON true",
        "SELECT a.id, l.n, l.t FROM a CROSS JOIN LATERAL (SELECT count(*) AS n, max(w) AS t FROM b WHERE b.w < a.v) l",
        "SELECT a.id, l.w FROM a CROSS JOIN LATERAL (SELECT w FROM b WHERE b.k = a.g UNION ALL SELECT b.k FROM b WHERE b.w = a.v) l",
        "SELECT a.id, l.k, l.n FROM a CROSS JOIN LATERAL (SELECT k, count(*) AS n FROM b WHERE b.w > a.v GROUP BY k) l",
        "SELECT g, bit_and(v) AS x, bit_or(v) AS y, bit_xor(id) AS z, first_value(v ORDER BY id DESC) AS f, last_value(v ORDER BY id DESC) AS l FROM a GROUP BY g",
        "SELECT k, percentile_disc(0.4) WITHIN GROUP (ORDER BY w DESC) AS p, percentile_cont(0.3) WITHIN GROUP (ORDER BY w) AS q, mode() WITHIN GROUP (ORDER BY u) AS m FROM b GROUP BY k",
        "SELECT g, s, count(*) AS n, grouping(g, s) AS x FROM a GROUP BY GROUPING SETS ((g, s), (s), (g))",
    ];
    let mut all = plain.map(Query::new).to_vec();
    all.extend(recursive());
    all.extend(OVER.map(Query::new));
    all.extend(events());
    all.extend(super::timed::intervals());
    all.extend(super::timed::filters());
    all.extend(super::timed::nearest());
    all.extend(other_windows());
    all
}

/// Recursion over b as edges k -> w between few nodes: cycles, self loops, equal edges and NULLs come and go.
fn recursive() -> Vec<Query> {
    [
        "WITH RECURSIVE t AS (SELECT k, w FROM b UNION SELECT t.k, b.w FROM t JOIN b ON b.k = t.w) SELECT k, w FROM t",
        "WITH RECURSIVE t AS (SELECT k, w FROM b UNION SELECT b.k, t.w FROM b, t WHERE b.w = t.k AND b.k < t.w) SELECT k, count(*) AS n FROM t GROUP BY k",
        "WITH RECURSIVE t AS (SELECT g AS n FROM a UNION SELECT b.w FROM t JOIN b ON b.k = t.n) SELECT n FROM t",
        "WITH RECURSIVE t AS (SELECT k, w, 1 AS n FROM b UNION ALL SELECT t.k, b.w, t.n + 1 FROM t JOIN b ON b.k = t.w WHERE t.n < 4) SELECT k, w, n FROM t",
        "WITH RECURSIVE t AS (SELECT 0 AS node, 0 AS hops UNION SELECT b.w, t.hops + 1 FROM t JOIN b ON b.k = t.node WHERE t.hops < 7) SELECT node, min(hops) AS hops FROM t GROUP BY node",
        "WITH RECURSIVE t AS (SELECT k AS n FROM b UNION SELECT b.w FROM t JOIN b ON b.k = t.n WHERE NOT EXISTS (SELECT 1 FROM a WHERE a.g = b.w)) SELECT n FROM t",
        "WITH RECURSIVE t AS (SELECT k AS n FROM b UNION SELECT b.w FROM t JOIN b ON b.k = t.n WHERE b.w IN (SELECT g FROM a WHERE v > 5)) SELECT n FROM t",
        "WITH RECURSIVE t AS (SELECT k AS n FROM b WHERE w > 2 UNION SELECT coalesce(b.w, 9) FROM t LEFT JOIN b ON b.k = t.n AND b.w <> t.n) SELECT n FROM t",
        "WITH RECURSIVE t AS (SELECT k AS n, 0 AS d FROM b UNION ALL SELECT DISTINCT b.w, t.d + 1 FROM t JOIN b ON b.k = t.n WHERE t.d < 3) SELECT n, d FROM t",
        "WITH RECURSIVE t AS (SELECT auction AS n FROM e UNION SELECT e.price FROM t JOIN e ON e.auction = t.n) SELECT n FROM t",
        "WITH RECURSIVE t AS (SELECT k, w FROM b UNION SELECT t.k, b.w FROM t JOIN b ON b.k = t.w) SELECT x.k, y.w FROM t x JOIN t y ON x.w = y.k WHERE x.k = y.w",
        "WITH RECURSIVE t AS (SELECT k, w FROM b UNION SELECT t.k, b.w FROM t JOIN b ON b.k = t.w), s AS (SELECT g AS n FROM a UNION SELECT t.w FROM s JOIN t ON t.k = s.n) SELECT n FROM s",
        "WITH RECURSIVE t AS (SELECT k AS n FROM b UNION SELECT x.m FROM t JOIN (SELECT k, max(w) AS m FROM b GROUP BY k) x ON x.k = t.n) SELECT n FROM t",
    ]
    .map(Query::new)
    .to_vec()
}
/// Window functions. Where ties would leave the answer open, the order ends with a key.
const OVER: [&str; 20] = [
    "SELECT id, g, row_number() OVER (PARTITION BY g ORDER BY v DESC, id) AS n, rank() OVER (PARTITION BY g ORDER BY v) AS r, dense_rank() OVER (PARTITION BY g ORDER BY v) AS d FROM a",
    "SELECT id, percent_rank() OVER (PARTITION BY g ORDER BY v) AS p, cume_dist() OVER (PARTITION BY g ORDER BY v) AS c FROM a",
    "SELECT id, ntile(3) OVER (PARTITION BY g ORDER BY v, id) AS n FROM a",
    "SELECT id, lag(v) OVER (PARTITION BY g ORDER BY id) AS p, lead(v, 2, 0) OVER (PARTITION BY g ORDER BY id) AS q, lag(s, 1, 'none') OVER (ORDER BY id DESC) AS s FROM a",
    "SELECT id, sum(v) OVER (PARTITION BY g ORDER BY id ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) AS t, min(v) OVER (PARTITION BY g ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS lo, max(s) OVER (PARTITION BY g ORDER BY id ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING) AS hi FROM a",
    "SELECT id, count(*) OVER (PARTITION BY g) AS n, sum(v) OVER (ORDER BY id) AS t, count(v) OVER () AS m FROM a",
    "SELECT id, sum(v) OVER (PARTITION BY g ORDER BY v) AS t, count(*) OVER (PARTITION BY g ORDER BY v DESC NULLS LAST) AS n FROM a",
    "SELECT id, first_value(s) OVER w AS x, last_value(v) OVER w AS y, nth_value(v, 2) OVER w AS z FROM a WINDOW w AS (PARTITION BY g ORDER BY id ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING)",
    "SELECT id, count(*) OVER (PARTITION BY g ORDER BY v GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING) AS n, sum(v) OVER (ORDER BY v GROUPS 2 PRECEDING) AS t FROM a",
    "SELECT id, sum(v) OVER (PARTITION BY g ORDER BY v RANGE BETWEEN 3 PRECEDING AND 2 FOLLOWING) AS t, count(*) OVER (ORDER BY v DESC RANGE BETWEEN 2 PRECEDING AND CURRENT ROW) AS n FROM a",
    "SELECT id, count(*) FILTER (WHERE v > 5) OVER (PARTITION BY g ORDER BY id) AS n, sum(v) FILTER (WHERE s = 'x') OVER (PARTITION BY g ORDER BY id ROWS 2 PRECEDING) AS t FROM a",
    "SELECT id, lag(v) IGNORE NULLS OVER (PARTITION BY g ORDER BY id) AS p, lead(s, 2) IGNORE NULLS OVER (PARTITION BY g ORDER BY id) AS q, first_value(v) IGNORE NULLS OVER (PARTITION BY g ORDER BY id ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING) AS f FROM a",
    "SELECT k, w, u, row_number() OVER (PARTITION BY k ORDER BY w, u) AS n, sum(w) OVER (PARTITION BY k ORDER BY w) AS t FROM b",
    "SELECT auction, price, kind, ts, count(*) OVER (PARTITION BY auction ORDER BY ts RANGE BETWEEN INTERVAL '4 seconds' PRECEDING AND CURRENT ROW) AS n FROM e",
    "SELECT g, n, sum(n) OVER (ORDER BY g) AS t FROM (SELECT g, count(*) AS n FROM a GROUP BY g)",
    "SELECT id, x FROM (SELECT id, v - lag(v) OVER (PARTITION BY g ORDER BY id) AS x FROM a) WHERE x > 0",
    "SELECT n, count(*) AS c FROM (SELECT ntile(4) OVER (ORDER BY v, id) AS n FROM a) GROUP BY n",
    "SELECT id, r, n FROM (SELECT id, rank() OVER (PARTITION BY g ORDER BY v) AS r, row_number() OVER (PARTITION BY g ORDER BY id) AS n FROM a) WHERE r <= 2 AND n > 1",
    "SELECT id, sum(v) OVER (PARTITION BY g, s ORDER BY id) AS x, sum(v) OVER (PARTITION BY g ORDER BY s, id) AS y FROM a",
    "SELECT a.id, b.w, sum(b.w) OVER (PARTITION BY a.id ORDER BY b.w, b.u ROWS 1 PRECEDING) AS t FROM a JOIN b ON a.g = b.k",
];

/// Queries over event time.
fn events() -> Vec<Query> {
    let tumble = format!("SELECT auction, {WS} AS ws, {WE} AS we, count(*) AS n, sum(price) AS t FROM e WHERE {{used:{WE}}} GROUP BY auction, {WS}, {WE}");
    let hop =
        format!("SELECT auction, ws, we, count(*) AS n, max(price) AS p, count(DISTINCT kind) AS k FROM {HOP} WHERE {{used:we}} GROUP BY auction, ws, we");
    let counts = format!("SELECT auction, ws, we, count(*) AS n FROM {HOP} WHERE {{used:we}} GROUP BY auction, ws, we");
    let q5 = format!(
        "SELECT c.auction, c.n, c.ws FROM ({counts}) c JOIN (SELECT ws, we, max(n) AS m FROM ({counts}) GROUP BY ws, we) x ON c.ws = x.ws AND c.we = x.we WHERE c.n >= x.m"
    );
    let q8 = "SELECT x.auction, x.ws, x.n, y.m FROM (SELECT auction, tw_window_start(ts, INTERVAL '10 seconds') AS ws, count(*) AS n FROM e WHERE {used:tw_window_end(ts, INTERVAL '10 seconds')} GROUP BY 1, 2) x \
              JOIN (SELECT seller, tw_window_start(ts, INTERVAL '10 seconds') AS ws, count(*) AS m FROM p WHERE {used:tw_window_end(ts, INTERVAL '10 seconds')} GROUP BY 1, 2) y ON x.auction = y.seller AND x.ws = y.ws";
    let close = |sql: &str| Query::new(format!("SELECT * FROM ({sql}) WHERE {{closed:we}}")).closing();
    let unions = "SELECT ws, we, count(*) AS n FROM (SELECT tw_window_start(ts, INTERVAL '10 seconds') AS ws, tw_window_end(ts, INTERVAL '10 seconds') AS we, wm2 FROM e UNION ALL \
                  SELECT tw_window_start(ts, INTERVAL '10 seconds'), tw_window_end(ts, INTERVAL '10 seconds'), wm2 FROM p) WHERE {used:we} GROUP BY ws, we";
    let distinct = format!("SELECT DISTINCT auction, {WE} AS we FROM e WHERE {{used:{WE}}}");
    let late_tumble = format!("SELECT count(*) AS n FROM e WHERE {WE} <= wm");
    let late_hop = format!("SELECT count(*) AS n FROM {HOP} WHERE we <= wm");
    let raw = format!(
        "SELECT x.auction, x.ws, x.price, y.name FROM (SELECT *, {WS} AS ws, {WE} AS we FROM e) x JOIN (SELECT *, {WS} AS ws, {WE} AS we FROM p) y ON x.auction = y.seller AND x.ws = y.ws WHERE {{used:x.we}} AND {{used:y.we}}"
    );
    let over = format!("SELECT auction, price, sum(price) OVER (PARTITION BY {WE}, auction ORDER BY ts) AS t, {WE} AS we FROM e WHERE {{used:{WE}}}");
    vec![
        Query::new(&over).counting_late(late_tumble.clone()),
        Query::both(&raw),
        Query::new(&tumble).counting_late(late_tumble),
        Query::new(&hop).counting_late(late_hop),
        Query::new(q5),
        close(&tumble),
        close(&hop),
        Query::both(unions),
        Query::new(distinct),
        Query::new(q8),
    ]
}

/// CUMULATE, SESSION, windows of processing time.
fn other_windows() -> Vec<Query> {
    let close = |sql: &str| Query::new(format!("SELECT * FROM ({sql}) WHERE {{closed:we}}")).closing();
    let by_clock = |query: Query| Query { late_column: "pt", ..query };
    let cumulate = format!("SELECT auction, ws, we, count(*) AS n, sum(price) AS t FROM {CUMULATE} WHERE {{used:we}} GROUP BY auction, ws, we");
    let late_cumulate = format!("SELECT count(*) AS n FROM {CUMULATE} WHERE we <= wm");
    let late_session = "SELECT count(*) AS n FROM e_late";
    let session = format!("SELECT auction, ws, we, count(*) AS n, sum(price) AS t, count(DISTINCT kind) AS k FROM {SESSION} GROUP BY auction, ws, we");
    let rows = format!("SELECT price, ts, ws, we FROM {SESSION}");
    let clocked =
        "SELECT auction, tw_window_start(pt, INTERVAL '5 seconds') AS ws, tw_window_end(pt, INTERVAL '5 seconds') AS we, count(*) AS n FROM e GROUP BY 1, 2, 3";
    let clocked_session = format!("SELECT auction, ws, we, count(*) AS n FROM {CLOCKED_SESSION} GROUP BY auction, ws, we");
    let changing = format!("SELECT ws, we, count(*) AS n, max(v) AS m FROM ({CHANGING_SESSION}) GROUP BY ws, we");
    vec![
        Query::new(&cumulate).counting_late(late_cumulate),
        close(&cumulate),
        Query::new(&session).counting_late(late_session.to_string()),
        close(&session),
        Query::new(&rows).counting_late(late_session.to_string()),
        close(&rows),
        Query::new(CHANGING_SESSION),
        Query::new(changing),
        Query::new(clocked),
        by_clock(close(clocked)),
        Query::new(&clocked_session),
        by_clock(close(&clocked_session)),
    ]
}

/// A random query over a and b.
pub fn random(random: &mut Random) -> Query {
    Query::new(select(random, 2))
}

/// A query with integer columns x and y.
fn select(random: &mut Random, depth: u32) -> String {
    match random.below(if depth == 0 { 2 } else { 12 }) {
        0 => format!(
            "SELECT {} AS x, {} AS y FROM a{}",
            random.pick(&["id", "g", "v"]),
            random.pick(&["v", "g", "v + 1", "length(s)::bigint"]),
            condition(random, "v", "g")
        ),
        1 => format!("SELECT {} AS x, w AS y FROM b{}", random.pick(&["k", "w"]), condition(random, "k", "w")),
        2 => {
            let function = random.pick(&["count(*)", "count(y)", "max(y)", "min(y)", "count(DISTINCT y)", "max(y) FILTER (WHERE y > 1)"]);
            format!("SELECT x, {function} AS y FROM ({}) GROUP BY x{}", select(random, depth - 1), random.pick(&["", " HAVING count(*) > 1"]))
        }
        3 | 4 => {
            let kind = random.pick(&["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let on = random.pick(&[
                "l.x = r.x",
                "l.x = r.x AND l.y < r.y",
                "l.x = r.x AND l.y = r.y",
                "l.y = r.x",
                "l.x IS NOT DISTINCT FROM r.x",
                "(l.x IS NOT DISTINCT FROM r.x) AND l.y = r.y",
            ]);
            let further = random.pick(&["", "", "", " WHERE l.y = r.y", " WHERE l.y IS NOT DISTINCT FROM r.y"]);
            format!(
                "SELECT {} AS x, {} AS y FROM ({}) l {kind} ({}) r ON {on}{further}",
                random.pick(&["l.x", "coalesce(l.x, r.x)", "r.x"]),
                random.pick(&["r.y", "l.y"]),
                select(random, depth - 1),
                select(random, depth - 1)
            )
        }
        5 => format!("{} {} {}", wrapped(random, depth), random.pick(&["UNION ALL", "UNION"]), wrapped(random, depth)),
        6 => {
            let test = random.pick(&["IN", "NOT IN"]);
            format!("SELECT x, y FROM ({}) q WHERE x {test} (SELECT y FROM ({}) r)", select(random, depth - 1), select(random, depth - 1))
        }
        7 => format!(
            "SELECT x, y FROM ({}) q WHERE {} EXISTS (SELECT 1 FROM ({}) r WHERE r.x = q.x{})",
            select(random, depth - 1),
            random.pick(&["", "NOT"]),
            select(random, depth - 1),
            random.pick(&["", " AND r.y > q.y"])
        ),
        11 => format!(
            "SELECT l.x AS x, {} AS y FROM ({}) l {} ({}) r ON {}",
            random.pick(&["r.y", "r.x", "l.y"]),
            select(random, depth - 1),
            random.pick(&["JOIN", "LEFT JOIN"]),
            select(random, depth - 1),
            random.pick(&["l.x = r.x AND tw_asof(l.y >= r.y)", "l.x = r.x AND tw_asof(r.y > l.y)", "tw_asof(l.y > r.x)", "tw_asof(l.x = r.x AND l.y <= r.y)"])
        ),
        8 => format!("SELECT DISTINCT x, y FROM ({}) q", select(random, depth - 1)),
        _ => over(random, depth),
    }
}

/// Rows that tie in these orders are equal, so it does not matter which comes first.
fn over(random: &mut Random, depth: u32) -> String {
    let window = random.pick(&["PARTITION BY x ORDER BY y", "PARTITION BY x ORDER BY y DESC", "ORDER BY x, y", "ORDER BY y NULLS FIRST, x DESC"]);
    let frames = [
        "",
        " ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
        " ROWS 2 PRECEDING",
        " ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
        " GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW",
    ];
    let frame = if window.starts_with("PARTITION") && random.one_in(4) { " RANGE BETWEEN 1 PRECEDING AND 2 FOLLOWING" } else { random.pick(&frames) };
    let (ranks, framed) =
        (["row_number()", "rank()", "dense_rank()", "lag(y)", "lead(y, 2)", "ntile(2)"], ["sum(y)", "count(y)", "max(y)", "min(y)", "first_value(y)"]);
    let call = if random.one_in(2) { format!("{} OVER ({window})", random.pick(&ranks)) } else { format!("{} OVER ({window}{frame})", random.pick(&framed)) };
    format!("SELECT x, CAST({call} AS BIGINT) AS y FROM ({}) q", select(random, depth - 1))
}

fn wrapped(random: &mut Random, depth: u32) -> String {
    format!("SELECT x, y FROM ({}) q", select(random, depth - 1))
}

fn condition(random: &mut Random, first: &str, second: &str) -> String {
    let value = random.below(6);
    match random.below(6) {
        0 => format!(" WHERE {first} > {value}"),
        1 => format!(" WHERE {first} = {second}"),
        2 => format!(" WHERE {second} IS NULL OR {first} < {value}"),
        3 => format!(" WHERE {second} IN (1, 2, {value})"),
        _ => String::new(),
    }
}
