//! Seeded bugs: each must turn the oracle red, or it would not see that bug in an operator either.

use super::engine::Bug;
use super::queries::{Query, fixed};
use super::run;
use crate::types::delta::Delta;
use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use std::sync::Arc;

fn find(part: &str) -> Query {
    fixed().into_iter().find(|q| q.sql.contains(part)).unwrap()
}

/// Some seed shows the bug.
fn turns_red(query: &Query, bug: impl Fn() -> Bug) {
    assert!((1..=8).any(|seed| run(query, seed, Some(bug())).is_err()), "nothing was noticed: {}", query.sql);
}

fn without_row(delta: &Delta, row: usize) -> Delta {
    let keep = (0..delta.rows()).map(|i| Some(i != row)).collect();
    delta.filter(&keep).unwrap()
}

/// Drops the first row whose weight has this sign, at each node of this name.
fn drop_row(name: &'static str, negative: bool) -> Bug {
    let mut done = false;
    Box::new(move |node, out| {
        if done || node.spec.name() != name {
            return;
        }
        for delta in &mut out.deltas {
            if let Some(row) = (0..delta.rows()).find(|i| (delta.weight(*i) < 0) == negative) {
                *delta = without_row(delta, row);
                done = true;
                break;
            }
        }
        out.deltas.retain(|d| !d.is_empty());
    })
}

#[test]
fn a_dropped_retraction() {
    let name = |sql: &str, bug| turns_red(&find(sql), move || drop_row(bug, true));
    name("min(v) AS lo", "Aggregate");
    name("FROM a JOIN b ON a.g = b.k", "Join");
    name("SELECT DISTINCT g, s", "Distinct");
    name("ORDER BY v DESC NULLS LAST, id LIMIT", "TopK");
    name("m >= {clock:now()}", "TemporalFilter");
    name("x LEFT JOIN (SELECT * FROM p WHERE {used:ts}) y", "IntervalJoin");
    name("tw_asof(a.v >= b.w)", "AsofJoin");
    name("tw_asof(x.ts >= y.ts)", "AsofJoin");
    name("SELECT price, ts, ws, we FROM", "Session");
    name("SELECT t.k, b.w FROM t JOIN b", "Recursion");
    name("sum(v) OVER (PARTITION BY g ORDER BY id ROWS", "Over");
}

#[test]
fn a_dropped_insertion() {
    turns_red(&find("a FULL JOIN b"), || drop_row("Join", false));
    turns_red(&find("UNION ALL SELECT k, u"), || drop_row("Union", false));
    turns_red(&find("GROUPS BETWEEN 1 PRECEDING"), || drop_row("Over", false));
}

#[test]
fn a_row_given_twice() {
    let twice = || -> Bug {
        let mut done = false;
        Box::new(move |node, out| {
            if !done && node.spec.name() == "Join" && !out.deltas.is_empty() {
                let again = out.deltas[0].slice(0, 1);
                out.deltas.push(again);
                done = true;
            }
        })
    };
    turns_red(&find("FROM a LEFT JOIN b ON a.g = b.k AND"), twice);
}

#[test]
fn a_window_off_by_one() {
    let shifted = || -> Bug {
        Box::new(|node, out| {
            if node.spec.name() != "Unnest" {
                return;
            }
            for delta in &mut out.deltas {
                let last = delta.batch().num_columns() - 1;
                let mut columns: Vec<ArrayRef> = delta.batch().columns().to_vec();
                let times = columns[last].as_primitive::<TimestampMicrosecondType>();
                columns[last] = Arc::new(times.unary::<_, TimestampMicrosecondType>(|t| t + 4_000_000));
                *delta = delta.with_batch(RecordBatch::try_new(delta.schema(), columns).unwrap());
            }
        })
    };
    turns_red(&find("count(DISTINCT kind)"), shifted);
}

#[test]
fn a_late_row_that_is_used_or_lost() {
    // Not told as late, it is missing from the count of late rows.
    let silent = || -> Bug { Box::new(|_, out| out.late.clear()) };
    turns_red(&find("sum(price) AS t"), silent);
    turns_red(&find("x LEFT JOIN (SELECT * FROM p WHERE {used:ts}) y"), silent);
    // A row in time is lost at the window.
    turns_red(&find("sum(price) AS t"), || drop_row("Project", false));
}

#[test]
fn a_changed_weight() {
    let heavier = || -> Bug {
        let mut done = false;
        Box::new(move |node, out| {
            if !done && node.spec.name() == "Filter" && !out.deltas.is_empty() {
                let weights = (0..out.deltas[0].rows()).map(|i| out.deltas[0].weight(i) * 2).collect::<Vec<_>>();
                out.deltas[0] = Delta::new(out.deltas[0].batch().clone(), weights);
                done = true;
            }
        })
    };
    turns_red(&find("WHERE v > 3 OR g IS NULL"), heavier);
}
