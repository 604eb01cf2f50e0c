//! What the oracle asks of joins and filters in time. A batch query finds the late rows by itself: those at or behind the watermark that stood before their epoch.

use super::queries::{Query, WE, WS};

const E: &str = "(SELECT * FROM e WHERE {used:ts})";
const P: &str = "(SELECT * FROM p WHERE {used:ts})";
const LATE_E: &str = "(SELECT count(*) FROM e WHERE ts <= wm)";
const LATE_P: &str = "(SELECT count(*) FROM p WHERE ts <= wm)";

/// Interval joins. The count of late rows is exact: it tells that each side obeys the watermark that it must, and no other.
pub fn intervals() -> Vec<Query> {
    let select = "SELECT x.auction, x.price, x.ts AS xt, y.seller, y.name, y.ts AS yt";
    let join = |kind: &str, on: &str| Query::new(format!("{select} FROM {E} x {kind} {P} y ON {on}")).counting_late(format!("SELECT {LATE_E} + {LATE_P} AS n"));
    let between = "x.auction = y.seller AND y.ts BETWEEN x.ts AND x.ts + INTERVAL '4 seconds'";
    let exists = |not: &str| {
        let sql = format!(
            "SELECT auction, price, ts FROM {E} x WHERE {not} EXISTS (SELECT 1 FROM {P} y WHERE x.auction = y.seller AND y.ts >= x.ts AND y.ts - INTERVAL '3 seconds' < x.ts)"
        );
        Query::new(sql).counting_late(format!("SELECT {LATE_E} + {LATE_P} AS n"))
    };
    let mut all = ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"].map(|kind| join(kind, between)).to_vec();
    all.extend([
        // Arithmetic on either side, strict bounds, the sides the other way round, bounds in WHERE, no equal keys, one instant.
        join("LEFT JOIN", "x.auction = y.seller AND x.ts - INTERVAL '2 seconds' < y.ts AND x.ts + INTERVAL '500 milliseconds' > y.ts - INTERVAL '1 second'"),
        Query::new(format!("{select} FROM {E} x, {P} y WHERE x.auction = y.seller AND y.ts >= x.ts - INTERVAL '3 seconds' AND x.ts >= y.ts - INTERVAL '1 second' AND x.price > 3"))
            .counting_late(format!("SELECT (SELECT count(*) FROM e WHERE ts <= wm AND price > 3) + {LATE_P} AS n")),
        join("FULL JOIN", "x.ts >= y.ts AND x.ts < y.ts + INTERVAL '2 seconds'"),
        join("LEFT JOIN", "x.auction = y.seller AND x.ts = y.ts"),
        exists(""),
        exists("NOT"),
        // Open on one side: the watermark of e drops rows of p; late rows of p are used.
        Query::new(format!("{select} FROM {E} x LEFT JOIN p y ON x.auction = y.seller AND y.ts >= x.ts - INTERVAL '2 seconds'")).counting_late(format!("SELECT {LATE_E} AS n")),
        // Each side is bounded by another column.
        join("JOIN", "x.auction = y.seller AND y.ts BETWEEN x.ts AND x.wm + INTERVAL '20 seconds'"),
        // A row is one row on each side.
        Query::new(format!("SELECT x.auction, x.ts AS xt, y.price, y.ts AS yt FROM {E} x JOIN {E} y ON x.auction = y.auction AND y.ts > x.ts AND y.ts <= x.ts + INTERVAL '3 seconds'"))
            .counting_late(format!("SELECT 2 * {LATE_E} AS n")),
        // Windows change until they close: as in Nexmark q7, a stream with its own aggregate; windows of one stream with the other; two windows.
        Query::new(format!("SELECT x.auction, x.price, x.ts AS xt, y.we, y.m FROM {E} x JOIN (SELECT {WS} AS ws, {WE} AS we, max(price) AS m FROM e WHERE {{used:{WE}}} GROUP BY 1, 2) y \
            ON x.price = y.m WHERE x.ts BETWEEN y.we - INTERVAL '10 seconds' AND y.we"))
            .counting_late(format!("SELECT {LATE_E} + (SELECT count(*) FROM e WHERE {WE} <= wm) AS n")),
        Query::new(format!("SELECT x.auction, x.n, x.we, y.seller, y.ts AS yt FROM (SELECT auction, {WS} AS ws, {WE} AS we, count(*) AS n FROM e WHERE {{used:{WE}}} GROUP BY 1, 2, 3) x \
            JOIN {P} y ON x.auction = y.seller AND y.ts >= x.we - INTERVAL '10 seconds' AND y.ts <= x.we + INTERVAL '2 seconds'"))
            .counting_late(format!("SELECT {LATE_P} + (SELECT count(*) FROM e WHERE {WE} <= wm) AS n")),
        Query::new(format!("SELECT x.auction, x.n, y.m FROM (SELECT auction, {WE} AS we, count(*) AS n FROM e WHERE {{used:{WE}}} GROUP BY 1, 2) x \
            JOIN (SELECT seller, {WE} AS we, count(*) AS m FROM p WHERE {{used:{WE}}} GROUP BY 1, 2) y ON x.auction = y.seller AND y.we > x.we AND y.we <= x.we + INTERVAL '10 seconds'"))
            .counting_late(format!("SELECT (SELECT count(*) FROM e WHERE {WE} <= wm) + (SELECT count(*) FROM p WHERE {WE} <= wm) AS n")),
        // Outer joins of windows keep all.
        Query::new(format!("SELECT x.auction, x.price, x.ts AS xt, y.we, y.m FROM e x LEFT JOIN (SELECT {WS} AS ws, {WE} AS we, max(price) AS m FROM e WHERE {{used:{WE}}} GROUP BY 1, 2) y \
            ON x.price = y.m AND x.ts BETWEEN y.we - INTERVAL '10 seconds' AND y.we"))
            .counting_late(format!("SELECT (SELECT count(*) FROM e WHERE {WE} <= wm) AS n")),
        // A side that changes: nothing is dropped, nothing is late.
        Query::new("SELECT x.auction, y.m FROM e x JOIN (SELECT seller, max(ts) AS m FROM p GROUP BY seller) y ON x.auction = y.seller AND y.m >= x.ts AND y.m <= x.ts + INTERVAL '5 seconds'")
            .counting_late("SELECT 0::bigint AS n".to_string()),
    ]);
    all
}

/// Temporal filters: over rows that only come, over rows that are taken back, below and above joins, aggregates and subqueries.
pub fn filters() -> Vec<Query> {
    let all = [
        "SELECT auction, price, ts FROM e WHERE ts > {clock:now()} - INTERVAL '10 seconds'",
        "SELECT auction, price, ts FROM e WHERE {clock:now()} >= ts + INTERVAL '3 seconds' AND price > 10",
        "SELECT auction, price FROM e WHERE {clock:now()} BETWEEN ts AND ts + INTERVAL '6 seconds'",
        "SELECT auction, count(*) AS n, max(price) AS p FROM e WHERE ts <= {clock:now()} AND ts + INTERVAL '12 seconds' > {clock:now()} GROUP BY auction",
        "SELECT auction, m FROM (SELECT auction, max(ts) AS m FROM e GROUP BY auction) WHERE m >= {clock:now()} - INTERVAL '4 seconds'",
        "SELECT auction, m FROM (SELECT auction, max(ts) AS m FROM e GROUP BY auction) WHERE m < {clock:now()} - INTERVAL '4 seconds'",
        "SELECT x.auction, x.price, y.name FROM e x JOIN p y ON x.auction = y.seller WHERE x.ts > {clock:now()} - INTERVAL '8 seconds' AND y.ts > {clock:now()} - INTERVAL '5 seconds'",
        "SELECT x.auction, y.name FROM e x LEFT JOIN (SELECT * FROM p WHERE ts > {clock:now()} - INTERVAL '7 seconds') y ON x.auction = y.seller",
        "SELECT auction, price FROM e x WHERE NOT EXISTS (SELECT 1 FROM p WHERE p.seller = x.auction AND p.ts > {clock:now()} - INTERVAL '7 seconds')",
        "SELECT DISTINCT auction FROM e WHERE ts > {clock:now()} - INTERVAL '6 seconds' AND wm <= {clock:now()}",
        "SELECT auction, price, ts FROM e WHERE ts > {clock:now()} - INTERVAL '9 seconds' ORDER BY price DESC NULLS LAST, ts, auction, kind LIMIT 3",
    ];
    all.map(Query::new).to_vec()
}

/// Joins with the nearest row: of tables whose rows change, ties among them; of sources, behind whose watermarks state goes and rows are late.
pub fn nearest() -> Vec<Query> {
    let tables = [
        "SELECT a.id, a.v, b.w, b.u FROM a JOIN b ON a.g = b.k AND tw_asof(a.v >= b.w)",
        "SELECT a.id, a.v, b.w, b.u FROM a LEFT JOIN b ON a.g = b.k AND tw_asof(a.v > b.w)",
        "SELECT a.id, b.u FROM a LEFT JOIN b ON a.g = b.k AND tw_asof(a.v <= b.w)",
        "SELECT a.id, b.w FROM a JOIN b ON tw_asof(b.k = a.g AND b.w > a.v)",
        "SELECT a.id, b.w, b.k FROM a LEFT JOIN b ON tw_asof(a.v >= b.w)",
        "SELECT a.id, a.s, b.u FROM a LEFT JOIN b ON a.g = b.k AND tw_asof(a.s <= b.u)",
        "SELECT a.id, a.f, b.w, b.u FROM a JOIN b ON a.g + 1 = b.k AND tw_asof(a.f > b.w)",
        // The right side has one row at most: columns nobody reads are not kept.
        "SELECT b.k, b.w, a.v FROM b LEFT JOIN a ON b.k = a.g AND tw_asof(b.w >= a.id)",
        // Conditions above go below on the left side only; aggregates and joins above follow corrections.
        "SELECT a.id, b.u FROM a JOIN b ON a.g = b.k AND tw_asof(a.v >= b.w) WHERE a.id > 3 AND b.u <> 'x' AND a.v > b.w",
        "SELECT b.u, count(*) AS n, sum(a.v) AS t FROM a LEFT JOIN b ON a.g = b.k AND tw_asof(a.v >= b.w) GROUP BY b.u",
        "SELECT x.id, x.w, y.w AS v FROM (SELECT a.id, a.g, b.w FROM a JOIN b ON a.g = b.k AND tw_asof(a.v >= b.w)) x LEFT JOIN b y ON x.g = y.k AND tw_asof(x.w < y.w)",
        "SELECT x.id, y.n FROM a x JOIN (SELECT g, v, count(*) AS n FROM a GROUP BY g, v) y ON x.g = y.g AND tw_asof(x.id >= y.v)",
        "SELECT id, EXISTS (SELECT 1 FROM b JOIN a c ON b.k = c.g AND tw_asof(b.w >= c.v) WHERE c.id = a.id) AS x FROM a",
        // An endless left side and a changing right one: nothing is forgotten, nothing is late.
        "SELECT e.auction, e.ts, y.m FROM e LEFT JOIN (SELECT seller, max(ts) AS m FROM p GROUP BY seller, name) y ON e.auction = y.seller AND tw_asof(e.ts >= y.m)",
    ];
    let late = format!("SELECT {LATE_E} + {LATE_P} AS n");
    let select = "SELECT x.auction, x.price, x.ts AS xt, y.seller, y.name, y.ts AS yt";
    let sources = ["x.ts >= y.ts", "x.ts > y.ts", "x.ts <= y.ts", "x.ts < y.ts"];
    let of_sources = |kind: &str, on: &str| Query::new(format!("{select} FROM {E} x {kind} {P} y ON x.auction = y.seller AND tw_asof({on})"));
    let mut all = tables.map(Query::new).to_vec();
    all.extend(sources.map(|on| of_sources("LEFT JOIN", on).counting_late(late.clone())));
    all.push(of_sources("JOIN", sources[0]).counting_late(late.clone()));
    let version = |kind: &str| format!("{select} FROM {{rows:e}} x {kind} {{rows:p}} y ON x.auction = y.seller AND {{at:x.ts}}");
    let window = "tw_window_end(x.ts, INTERVAL '10 seconds')";
    all.extend([
        Query::new(version("JOIN")).counting_late(late.clone()),
        Query::new(version("LEFT JOIN")).counting_late(late.clone()),
        Query::new(format!("{select} FROM {E} x LEFT JOIN {P} y ON tw_asof(x.ts >= y.ts)")).counting_late(late.clone()),
        // A time without a watermark on the left: right rows stay, late ones are not used.
        Query::new(format!("SELECT x.auction, x.wm, y.name FROM e x JOIN {P} y ON x.auction = y.seller AND tw_asof(x.wm >= y.ts)")).counting_late(format!("SELECT {LATE_P} AS n")),
        Query::new(format!("SELECT x.auction, x.wm, y.name FROM e x LEFT JOIN {P} y ON x.auction = y.seller AND tw_asof(x.wm < y.ts)")).counting_late(format!("SELECT {LATE_P} AS n")),
        // The left side's time closes windows above.
        Query { late_column: "wm2", ..Query::new(format!(
            "SELECT {window} AS we, count(y.name) AS n FROM (SELECT * FROM e WHERE ts > wm) x LEFT JOIN (SELECT * FROM p WHERE ts > wm) y ON x.auction = y.seller AND tw_asof(x.ts >= y.ts) GROUP BY {window}"
        )) },
    ]);
    all
}
