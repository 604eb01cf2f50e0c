//! Sessions by example, and against putting together all rows so far from nothing.

use super::{Edge, Session};
use crate::dataflow::harness::{Bag, EpochInput, Row, SOURCE, Trial, Value, add, random_epochs, reads_after, schema, timestamp, to_delta, total};
use crate::dataflow::operator::{BuildContext, Output, Spec};
use crate::dataflow::ops::aggregate::EmitMode;
use crate::state::checkpoint::Generation;
use crate::state::committed::Committed;
use crate::state::memory::MemoryStore;
use crate::types::ids::TableId;
use crate::types::pretty;
use crate::types::time::{Epoch, Step, WATERMARK_END, WATERMARK_NONE, Watermarks};
use arrow::datatypes::{DataType, Field, Schema};
use rand::RngExt;
use rand::rngs::StdRng;
use std::collections::BTreeMap;
use std::sync::Arc;

const GAP: i64 = 5;

/// k, x, t; out come k, x, t (or k alone) with both bounds.
fn session(columns: &[usize], append_only: bool, bounded: bool, emit: EmitMode) -> Session {
    let input = schema(&[("k", DataType::Int64), ("x", DataType::Int64), ("t", timestamp())]);
    let kept = columns.iter().map(|c| input.field(*c).clone());
    let bounds = ["window_start", "window_end"].map(|name| Field::new(name, timestamp(), true));
    Session {
        schema: Arc::new(Schema::new(kept.chain(bounds).collect::<Vec<_>>())),
        input,
        partition: vec![0],
        time: 2,
        gap_micros: GAP,
        columns: columns.to_vec(),
        edges: vec![Edge::Start, Edge::End],
        sources: if bounded { vec![SOURCE] } else { Vec::new() },
        emit,
        input_append_only: append_only,
        panes: TableId(1),
        rows: TableId(2),
        ends: TableId(3),
    }
}

fn trial(spec: Session) -> Trial {
    let (input, append_only) = (spec.input.clone(), spec.input_append_only);
    Trial { spec: Arc::new(spec), inputs: vec![(input, append_only)], forgets: true }
}

fn time(row: &Row) -> Option<i64> {
    if let Value::Int(t) = &row[2] { Some(*t as i64) } else { None }
}

/// The row as it comes out.
fn given(columns: &[usize], row: &Row, bounds: Option<(i64, i64)>) -> Row {
    let edge = |edge: Option<i64>| edge.map_or(Value::Null, |t| Value::Int(t.into()));
    columns.iter().map(|c| row[*c].clone()).chain([edge(bounds.map(|b| b.0)), edge(bounds.map(|b| b.1))]).collect()
}

/// Rows of each key cut where the gap has passed.
fn sessions(rows: &Bag) -> Vec<Vec<(Row, i64)>> {
    let mut keys: BTreeMap<Value, Vec<(Row, i64)>> = BTreeMap::new();
    rows.iter().filter(|(row, _)| time(row).is_some()).for_each(|(row, w)| keys.entry(row[0].clone()).or_default().push((row.clone(), *w)));
    let mut all = Vec::new();
    for mut rows in keys.into_values() {
        rows.sort_by_key(|(row, _)| time(row));
        all.extend(rows.chunk_by(|a, b| time(&b.0).unwrap() - time(&a.0).unwrap() < GAP).map(<[_]>::to_vec));
    }
    all
}

fn bounds(session: &[(Row, i64)]) -> (i64, i64) {
    (time(&session[0].0).unwrap(), time(&session[session.len() - 1].0).unwrap() + GAP)
}

/// What the definition in the header says of these epochs: the rows that are given out, and the late ones.
fn simulated(epochs: &[EpochInput], columns: &[usize], emit: EmitMode) -> (Bag, Bag) {
    let (mut open, mut out, mut late) = (Bag::new(), Bag::new(), Bag::new());
    let mut before = WATERMARK_NONE;
    let mut now = Vec::new();
    for epoch in epochs {
        let was = open.clone();
        for (row, weight) in &epoch.ports[0] {
            add(&mut open, row.clone(), *weight);
            if time(row).is_none() && emit == EmitMode::Changes {
                add(&mut out, given(columns, row, None), *weight);
            }
        }
        now = sessions(&open);
        open.clear();
        now.retain(|session| {
            let is_new = session.iter().all(|(row, _)| !was.contains_key(row));
            let is_late = is_new && (before == WATERMARK_END || bounds(session).1 <= before);
            let is_over = !is_late && epoch.watermark != WATERMARK_NONE && bounds(session).1 <= epoch.watermark;
            for (row, weight) in session {
                if is_late {
                    add(&mut late, row.clone(), *weight);
                } else if is_over {
                    add(&mut out, given(columns, row, Some(bounds(session))), *weight);
                } else {
                    add(&mut open, row.clone(), *weight);
                }
            }
            !is_late && !is_over
        });
        before = epoch.watermark;
    }
    if emit == EmitMode::Changes {
        now.iter().for_each(|s| s.iter().for_each(|(row, weight)| add(&mut out, given(columns, row, Some(bounds(s))), *weight)));
    }
    (out, late)
}

/// Times that go on, some of them far behind, and a watermark; at the end all is closed.
fn events(random: &mut StdRng) -> Vec<EpochInput> {
    let (mut number, mut watermark) = (0, WATERMARK_NONE);
    let mut epoch = |n: i64| {
        let mut row = |_| {
            number += 1;
            let back = if random.random_bool(0.2) { 40 } else { 12 };
            let time = n * 6 - random.random_range(0..back);
            let time = if random.random_bool(0.05) { Value::Null } else { Value::Int(time.into()) };
            (vec![Value::Int(random.random_range(0..3)), Value::Int(number), time], 1)
        };
        let rows = (0..8).map(&mut row).collect();
        if random.random_bool(0.6) {
            watermark = watermark.max(n * 6 - random.random_range(2..10));
        }
        EpochInput { ports: vec![rows], watermark }
    };
    let mut epochs = (0..12).map(&mut epoch).collect::<Vec<_>>();
    epochs.push(EpochInput { ports: vec![Vec::new()], watermark: WATERMARK_END });
    epochs
}

#[test]
fn sessions_close_by_the_watermark() {
    for emit in [EmitMode::Changes, EmitMode::OnWindowClose] {
        for columns in [&[0, 1, 2][..], &[0]] {
            trial(session(columns, true, true, emit)).check(&events, &|epochs| simulated(epochs, columns, emit).0);
        }
    }
}

#[test]
fn late_rows_are_those_of_sessions_that_were_closed() {
    use rand::SeedableRng;
    let mut found = 0;
    for seed in 1..=20 {
        let epochs = events(&mut StdRng::seed_from_u64(seed));
        let mut late = Bag::new();
        let outputs = trial(session(&[0, 1, 2], true, true, EmitMode::Changes)).outputs(&epochs);
        outputs.into_iter().flat_map(|(_, late)| late).for_each(|(row, weight)| add(&mut late, row, weight));
        assert_eq!(late, simulated(&epochs, &[0, 1, 2], EmitMode::Changes).1, "seed {seed}");
        found += late.len();
    }
    assert!(found > 20, "{found}");
}

#[test]
fn sessions_under_retractions() {
    for columns in [&[0, 1, 2][..], &[1], &[]] {
        let trial = trial(session(columns, false, false, EmitMode::Changes));
        let expected = |epochs: &[EpochInput]| {
            simulated(&[EpochInput { ports: vec![total(epochs, 0).into_iter().collect()], watermark: WATERMARK_NONE }], columns, EmitMode::Changes).0
        };
        trial.check(&|random| random_epochs(random, &trial.inputs, 24), &expected);
    }
}

#[test]
fn sessions_of_append_only_input_without_a_watermark() {
    let trial = Trial { forgets: false, ..trial(session(&[0, 2], true, false, EmitMode::Changes)) };
    let expected = |epochs: &[EpochInput]| {
        simulated(&[EpochInput { ports: vec![total(epochs, 0).into_iter().collect()], watermark: WATERMARK_NONE }], &[0, 2], EmitMode::Changes).0
    };
    trial.check(&|random| random_epochs(random, &trial.inputs, 24), &expected);
}

/// Each step: rows (k, x, t, weight) and the watermark; what comes out of it.
fn steps(spec: &Session, steps: &[(&[(i128, i128, i128, i64)], i64)]) -> Vec<Vec<String>> {
    let store = Committed::new(Arc::new(MemoryStore::new()), Generation(0));
    let mut operator = spec.build(&BuildContext { store, worker: 0, workers: 1, cache_entries: None, fresh: true, checks: true }).unwrap();
    let watermarks = |w: i64| Watermarks([(SOURCE, w)].into_iter().filter(|(_, w)| *w != WATERMARK_NONE).collect());
    let mut before = WATERMARK_NONE;
    let mut run = |n: usize| {
        let (rows, watermark) = steps[n];
        let rows = rows.iter().map(|(k, x, t, weight)| (vec![Value::Int(*k), Value::Int(*x), Value::Int(*t)], *weight)).collect::<Vec<_>>();
        let step = Step { epoch: Epoch(n as u64 + 1), clock: 0, before: watermarks(before), after: watermarks(watermark) };
        before = watermark;
        let mut out = Output::default();
        let delta = Some(to_delta(&spec.input, &rows)).filter(|d| !d.is_empty());
        operator.apply(&step, &mut [delta.into_iter().collect()], &mut out).unwrap();
        let late = out.late.iter().flat_map(|l| pretty::delta(&l.rows).unwrap()).map(|row| format!("late {row}"));
        let mut texts = out.deltas.iter().flat_map(|d| pretty::delta(d).unwrap()).chain(late).collect::<Vec<_>>();
        texts.iter_mut().for_each(|t| *t = t.replace("1970-01-01T00:00:00.0000", ""));
        texts.sort();
        texts
    };
    (0..steps.len()).map(&mut run).collect()
}

#[test]
fn a_row_between_two_sessions_joins_them_and_its_retraction_parts_them() {
    let spec = session(&[1], false, false, EmitMode::Changes);
    let shown = steps(&spec, &[(&[(7, 1, 10, 1), (7, 2, 18, 1)], WATERMARK_NONE), (&[(7, 3, 14, 1)], WATERMARK_NONE), (&[(7, 3, 14, -1)], WATERMARK_NONE)]);
    assert_eq!(shown[0], ["+1 | 1 | 10 | 15", "+1 | 2 | 18 | 23"]);
    assert_eq!(shown[1], ["+1 | 1 | 10 | 23", "+1 | 2 | 10 | 23", "+1 | 3 | 10 | 23", "-1 | 1 | 10 | 15", "-1 | 2 | 18 | 23"]);
    assert_eq!(shown[2], ["+1 | 1 | 10 | 15", "+1 | 2 | 18 | 23", "-1 | 1 | 10 | 23", "-1 | 2 | 10 | 23", "-1 | 3 | 10 | 23"]);
}

#[test]
fn a_late_row_is_in_time_if_another_ties_it_to_an_open_session() {
    let spec = session(&[1], true, true, EmitMode::OnWindowClose);
    let shown = steps(
        &spec,
        &[
            // Two sessions, of which the first ends with the watermark.
            (&[(7, 1, 10, 1), (7, 2, 20, 1)], 15),
            // [9, 14) is over and touches only what is closed. So is [14, 19) on a key of its own, but not beside 18.
            (&[(7, 3, 9, 1), (7, 4, 16, 1), (8, 5, 9, 1)], 21),
            (&[], 25),
        ],
    );
    assert_eq!(shown[0], ["+1 | 1 | 10 | 15"]);
    assert_eq!(shown[1], ["late +1 | 7 | 3 | 09", "late +1 | 8 | 5 | 09"]);
    assert_eq!(shown[2], ["+1 | 2 | 16 | 25", "+1 | 4 | 16 | 25"]);
    let shown = steps(&spec, &[(&[(7, 1, 20, 1)], 22), (&[(7, 2, 12, 1), (7, 3, 16, 1)], 22), (&[(8, 4, 16, 1)], WATERMARK_END)]);
    assert_eq!(shown[1], [""; 0], "16 is tied to 20 and 12 to 16");
    assert_eq!(shown[2], ["+1 | 1 | 12 | 25", "+1 | 2 | 12 | 25", "+1 | 3 | 12 | 25", "late +1 | 8 | 4 | 16"]);
}

#[test]
fn a_change_reads_the_session_it_touches_and_no_other() {
    let reads = |rows: i128| {
        let spec = session(&[0, 1, 2], true, false, EmitMode::Changes);
        // Sessions of three rows, all of one key.
        let row = |n: i128, t: i128| (vec![Value::Int(1), Value::Int(n), Value::Int(t)], 1);
        let rows = (0..rows).map(|n| row(n, n / 3 * 20 + n % 3)).collect::<Vec<_>>();
        reads_after(&Trial { forgets: false, ..trial(spec) }, &[rows], &[vec![row(-1, 4)]])
    };
    assert_eq!(reads(1_000), reads(30_000));
}
