//! The oracle: after every epoch a view equals its query run as a batch over all input so far, minus exactly the late rows, whatever
//! the input, the places where it is cut into epochs, checkpoints, evictions and crashes. Seeds are printed with what they break.
//!
//! `TIDEWATER_SEED` runs one seed, `TIDEWATER_ORACLE_SECONDS` goes on with random queries for that long.

mod batch;
mod bugs;
mod engine;
mod queries;
mod sessions;
mod timed;
mod world;

pub(super) use self::batch::Judge;
use self::engine::{Bug, Engine, Rows};
use self::queries::{Query, fixed, random};
use self::world::{Random, World};
use crate::plan::{Request, ViewKey, ViewPlan, incremental};
use crate::types::ids::TableId;
use crate::types::time::Epoch;
use std::time::{Duration, Instant};

const EPOCHS: u64 = 25;

fn plan(judge: &Judge, query: &Query) -> crate::error::Result<ViewPlan> {
    let bound = judge.bind(&query.view())?;
    let mut next = 0;
    let mut allocate = || {
        next += 1;
        TableId(next)
    };
    incremental(Request { query: &bound, emit_on_window_close: query.emit, allocate: &mut allocate })
}

/// Runs one query over one random input; the error says after which epoch what was wrong.
fn run(query: &Query, seed: u64, bug: Option<Bug>) -> Result<(), String> {
    let mut judge = Judge::new();
    let plan = plan(&judge, query).map_err(|e| format!("cannot plan: {e}"))?;
    let mut world = World::new(seed);
    let cache = [None, Some(4), Some(0)][(seed % 3) as usize];
    let mut engine = Engine::new(plan.fragment.clone(), cache).map_err(|e| e.to_string())?;
    engine.bug = bug;
    for epoch in 1..=EPOCHS {
        let cut = world.cut();
        judge.take(&cut);
        engine.epoch(Epoch(epoch), &cut).map_err(|e| format!("epoch {epoch}: {e}"))?;
        let bound = judge.bind(&query.batch(&cut.after, cut.clock)).map_err(|e| format!("cannot bind the batch query: {e}"))?;
        let expected = judge.answer(&bound).map_err(|e| format!("the batch query fails: {e}"))?;
        compare(epoch, &expected, &engine.rows)?;
        if let Some(sql) = &query.late {
            let late = judge.bind(sql).and_then(|plan| judge.answer(&plan)).map_err(|e| e.to_string())?;
            let found = Rows::from([(engine.late.to_string(), 1)]);
            compare(epoch, &late, &found).map_err(|e| format!("late rows: {e}"))?;
        }
        check_key(&plan, &engine.rows).map_err(|e| format!("epoch {epoch}: {e}"))?;
        match world.random.below(6) {
            0 => engine.checkpoint().map_err(|e| e.to_string())?,
            1 => engine.evict(),
            2 => engine.crash()?,
            _ => {}
        }
    }
    if engine.errors.is_empty() { Ok(()) } else { Err(format!("evaluation errors: {:?}", engine.errors)) }
}

fn compare(epoch: u64, expected: &Rows, found: &Rows) -> Result<(), String> {
    if expected == found {
        return Ok(());
    }
    let of = |rows: &Rows, key: &String| rows.get(key).copied().unwrap_or(0);
    let mut text = format!("after epoch {epoch} the view differs from the batch answer (row: expected / found)\n");
    for row in expected.keys().chain(found.keys()).collect::<std::collections::BTreeSet<_>>() {
        let (e, f) = (of(expected, row), of(found, row));
        if e != f {
            text.push_str(&format!("  {row}: {e} / {f}\n"));
        }
    }
    Err(text)
}

/// No row of a keyed view is there twice.
fn check_key(plan: &ViewPlan, rows: &Rows) -> Result<(), String> {
    let ViewKey::Unique(columns) = &plan.key else { return Ok(()) };
    let mut seen = std::collections::BTreeSet::new();
    for (row, weight) in rows {
        let values = row.split(" | ").collect::<Vec<_>>();
        let key = columns.iter().filter_map(|c| values.get(*c)).map(|v| v.to_string()).collect::<Vec<_>>();
        let has_floats = row.contains('~') || row.contains('[');
        if *weight != 1 || !has_floats && !seen.insert(key.clone()) {
            return Err(format!("the key {columns:?} is not one: {key:?}"));
        }
    }
    Ok(())
}

fn seeds() -> Vec<u64> {
    match std::env::var("TIDEWATER_SEED").ok().and_then(|s| s.parse().ok()) {
        Some(seed) => vec![seed],
        None => (1..=6).collect(),
    }
}

/// Two tests, one for each core.
#[test]
fn views_equal_their_batch_queries() {
    check_every_other(0);
}

#[test]
fn views_equal_their_batch_queries_of_the_other_half() {
    check_every_other(1);
}

fn check_every_other(first: usize) {
    let mut failed = Vec::new();
    for query in fixed().into_iter().skip(first).step_by(2) {
        for seed in seeds() {
            if let Err(e) = run(&query, seed, None) {
                failed.push(format!("seed {seed}: {}\n{e}", query.sql));
                break;
            }
        }
    }
    assert!(failed.is_empty(), "{} of {} queries:\n\n{}", failed.len(), fixed().len(), failed.join("\n\n"));
}

#[test]
fn random_queries_equal_their_batch_answers() {
    let seconds = std::env::var("TIDEWATER_ORACLE_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(5);
    let end = Instant::now() + Duration::from_secs(seconds);
    let first = std::env::var("TIDEWATER_SEED").ok().and_then(|s| s.parse().ok());
    let mut planned = 0;
    for seed in first.unwrap_or(1).. {
        let query = random(&mut Random::new(seed));
        let judge = Judge::new();
        // What DataFusion itself cannot bind or run, and what we refuse, proves nothing.
        let runs = judge.bind(&query.view()).is_ok_and(|bound| judge.answer(&bound).is_ok());
        match plan(&judge, &query) {
            Err(e) if !runs || e.kind() == crate::error::Kind::NotSupported => {}
            Err(e) => panic!("seed {seed}: {}\ncannot plan: {e}", query.sql),
            Ok(_) if !runs => {}
            Ok(_) => {
                planned += 1;
                run(&query, seed, None).unwrap_or_else(|e| panic!("seed {seed}: {}\n{e}", query.sql));
            }
        }
        if first.is_some() || Instant::now() > end {
            break;
        }
    }
    assert!(first.is_some() || planned > 5, "only {planned} random queries were planned");
}
