//! `EXPLAIN (STATE) CREATE MATERIALIZED VIEW`: each state table of the plan, its key, what bounds it, and how large it will be. The plan is run over a
//! sample of its input (`dataflow::trial`); what it holds after half of the sample and after all of it tells how it grows:
//!
//! ```text
//!   1000 entries after 10000 rows, 1000 after 20000:  no more keys come              -> 1000 whatever comes
//!   1000 entries after 10000 rows, 2000 after 20000:  each row brings an entry       -> as many as rows, N / 10
//!   between the two: entries ~ rows ^ b, with b from the two counts
//! ```

use super::select::{Results, text_column};
use super::{Context, Outcome};
use crate::dataflow::operator::{Bound, Distribution, Fragment, Input, StateTable};
use crate::dataflow::trial::{self, Held, Slice};
use crate::error::{Error, Result};
use crate::node::sample::Sample;
use crate::plan::ViewPlan;
use crate::plan::relation::names;
use crate::sql::ast::{Statement, StatementKind};
use crate::types::ids::{ObjectId, TableId};
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Rows of each relation that the plan is tried on: some ten milliseconds of work.
const SAMPLE_ROWS: usize = 20_000;
/// Epochs of the trial; after half of them the first count is taken.
const SLICES: usize = 8;
/// What is assumed of a source that does not tell how much it holds.
const ASSUMED_ROWS: u64 = 1_000_000;

pub(super) fn shape() -> Vec<FieldRef> {
    let number = |name: &str| Arc::new(Field::new(name, DataType::Int64, true));
    vec![
        text_column("state table"),
        text_column("operator"),
        text_column("key"),
        text_column("bounded by"),
        number("estimated rows"),
        number("estimated bytes"),
        text_column("estimate"),
    ]
}

/// One state table of the plan.
struct Row {
    table: StateTable,
    operator: String,
    key: String,
    /// Relations whose rows come here.
    from: BTreeSet<ObjectId>,
}

/// Entries, bytes, and how they were found.
struct Estimate {
    rows: Option<i64>,
    bytes: Option<i64>,
    how: String,
}

pub(super) async fn execute(context: &Context, statement: &Statement) -> Result<Outcome> {
    let StatementKind::CreateView(create) = &statement.kind else {
        return Err(Error::internal("EXPLAIN (STATE) of another statement"));
    };
    let (bound, plan) = super::explain::planned(context, statement, create)?;
    let names = names(&bound);
    let mut samples: BTreeMap<ObjectId, Sample> = BTreeMap::new();
    for input in &plan.inputs {
        samples.insert(*input, context.engine.sample(*input, SAMPLE_ROWS).await?);
    }
    let (slices, clock) = (slices(&samples), context.now);
    let fragment = plan.fragment.clone();
    let tried = tokio::task::spawn_blocking(move || trial::run(&fragment, slices, clock)).await;
    let held = tried.map_err(|e| Error::internal(format!("the trial failed: {e}")))??;
    let rows = rows(&plan, &names);
    let estimates: Vec<Estimate> = rows.iter().map(|row| estimate(row, &held, &samples, &names)).collect();
    let texts = |values: Vec<&str>| Arc::new(StringArray::from(values)) as ArrayRef;
    let numbers = |values: Vec<Option<i64>>| Arc::new(Int64Array::from(values)) as ArrayRef;
    let schema = Arc::new(Schema::new(shape().iter().map(|c| c.as_ref().clone()).collect::<Vec<_>>()));
    let bounds: Vec<String> = rows.iter().map(|r| bound_text(&r.table.bounded_by)).collect();
    let tables: Vec<String> = rows.iter().map(|r| format!("{}: {}", r.table.id, r.table.what)).collect();
    let columns = vec![
        texts(tables.iter().map(String::as_str).collect()),
        texts(rows.iter().map(|r| r.operator.as_str()).collect()),
        texts(rows.iter().map(|r| r.key.as_str()).collect()),
        texts(bounds.iter().map(String::as_str).collect()),
        numbers(estimates.iter().map(|e| e.rows).collect()),
        numbers(estimates.iter().map(|e| e.bytes).collect()),
        texts(estimates.iter().map(|e| e.how.as_str()).collect()),
    ];
    Ok(Outcome::rows(Results::ready(shape(), RecordBatch::try_new(schema, columns)?, "EXPLAIN")))
}

fn bound_text(bound: &Bound) -> String {
    match bound {
        Bound::View => "rows of the view".to_string(),
        other => other.to_string(),
    }
}

fn rows(plan: &ViewPlan, names: &BTreeMap<ObjectId, String>) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut from: Vec<BTreeSet<ObjectId>> = Vec::new();
    for node in &plan.fragment.nodes {
        let relations = node.inputs.iter().flat_map(|input| match input {
            Input::Node(n) => from[n.0 as usize].clone(),
            Input::Relation(r) => BTreeSet::from([*r]),
            Input::Port(_) => BTreeSet::new(),
        });
        let relations: BTreeSet<ObjectId> = relations.collect();
        let details = node.spec.details();
        let operator = if details.is_empty() { node.spec.name().to_string() } else { format!("{} {details}", node.spec.name()) };
        for table in node.spec.state_tables() {
            rows.push(Row {
                table,
                operator: operator.clone(),
                key: key(&plan.fragment, node.spec.distribution(), &node.inputs, names),
                from: relations.clone(),
            });
        }
        from.push(relations);
    }
    rows
}

/// The columns by which the operator's input is spread, which is how its state is keyed; of several inputs side by side.
fn key(fragment: &Fragment, distribution: Vec<Distribution>, inputs: &[Input], names: &BTreeMap<ObjectId, String>) -> String {
    let of_port = |(spread, input): (Distribution, &Input)| match (spread, input) {
        (Distribution::Any, _) => "the whole row".to_string(),
        (Distribution::Single, _) | (_, Input::Port(_)) => "none".to_string(),
        (Distribution::Hash(columns), Input::Node(n)) => {
            let schema = fragment.nodes[n.0 as usize].spec.schema();
            columns.iter().map(|c| schema.field(*c).name().clone()).collect::<Vec<_>>().join(", ")
        }
        (Distribution::Hash(columns), Input::Relation(r)) => {
            format!("columns {columns:?} of {}", names.get(r).map_or("a relation", String::as_str))
        }
    };
    let mut ports: Vec<String> = distribution.into_iter().zip(inputs).map(of_port).collect();
    ports.dedup();
    ports.join(" | ")
}

/// The samples dealt out over the trial's epochs, each relation's evenly.
fn slices(samples: &BTreeMap<ObjectId, Sample>) -> Vec<Slice> {
    let mut slices: Vec<Slice> = (0..SLICES).map(|_| Slice::default()).collect();
    for (relation, sample) in samples {
        let (total, mut seen) = (sample.rows().max(1), 0u64);
        for part in &sample.parts {
            let mut offset = 0;
            while offset < part.rows.rows() {
                let at = (seen * SLICES as u64 / total) as usize;
                // Up to where the next slice begins.
                let end = ((at as u64 + 1) * total).div_ceil(SLICES as u64);
                let length = (end - seen).min((part.rows.rows() - offset) as u64) as usize;
                slices[at].feeds.entry(*relation).or_default().push(part.rows.slice(offset, length));
                (offset, seen) = (offset + length, seen + length as u64);
                if let Some(watermark) = part.watermark.filter(|_| offset == part.rows.rows()) {
                    slices[at].watermarks.0.insert(*relation, watermark);
                }
            }
        }
    }
    // A promise stands.
    for i in 1..SLICES {
        let before = slices[i - 1].watermarks.clone();
        for (source, watermark) in before.0 {
            slices[i].watermarks.0.entry(source).or_insert(watermark);
        }
    }
    slices
}

fn estimate(row: &Row, held: &[BTreeMap<TableId, Held>], samples: &BTreeMap<ObjectId, Sample>, names: &BTreeMap<ObjectId, String>) -> Estimate {
    let at = |slice: usize| held.get(slice).and_then(|tables| tables.get(&row.table.id)).copied().unwrap_or_default();
    let sampled: Vec<(&str, &Sample)> = row.from.iter().filter_map(|r| Some((names.get(r).map_or("a relation", String::as_str), samples.get(r)?))).collect();
    if let Some((name, _)) = sampled.iter().find(|(_, s)| s.parts.is_empty() && s.total != Some(0)) {
        return Estimate { rows: None, bytes: None, how: format!("no row of {name} could be read to estimate from") };
    }
    let all = sampled.iter().all(|(_, s)| s.total == Some(s.rows()));
    let (half, full) = (at(SLICES / 2 - 1), at(SLICES - 1));
    let read = sampled.iter().map(|(name, s)| read_text(name, s)).collect::<Vec<_>>().join(", ");
    let read = if read.is_empty() { "no input".to_string() } else { read };
    if row.table.bounded_by == Bound::Watermark {
        let peak = (0..held.len()).map(at).max_by_key(|h| h.entries).unwrap_or_default();
        let closed = peak.entries > full.entries;
        let how = format!("{} that were open at once in {read}", if closed { "most" } else { "at least those" });
        return Estimate { rows: Some(peak.entries as i64), bytes: Some(peak.bytes as i64), how };
    }
    if all {
        return Estimate { rows: Some(full.entries as i64), bytes: Some(full.bytes as i64), how: format!("counted over {read}") };
    }
    // How much more comes, of the relation of which most is left.
    let factor = sampled.iter().filter(|(_, s)| !s.parts.is_empty()).map(|(_, s)| whole(s) as f64 / s.rows() as f64).fold(1.0, f64::max);
    let exponent = if half.entries == 0 { 1.0 } else { (full.entries as f64 / half.entries as f64).log2().clamp(0.0, 1.0) };
    let rows = (full.entries as f64 * factor.powf(exponent)).round();
    let bytes = rows * full.bytes as f64 / full.entries.max(1) as f64;
    let how = format!("tried on {read}: {} after half of it, {} after all", half.entries, full.entries);
    Estimate { rows: Some(rows as i64), bytes: Some(bytes as i64), how }
}

fn whole(sample: &Sample) -> u64 {
    sample.total.unwrap_or(ASSUMED_ROWS).max(sample.rows())
}

fn read_text(name: &str, sample: &Sample) -> String {
    match sample.total {
        Some(total) if total == sample.rows() => format!("all {total} rows of {name}"),
        Some(total) => format!("{} of {total} rows of {name}", sample.rows()),
        None => format!("{} rows of {name}, for {ASSUMED_ROWS} of them", sample.rows()),
    }
}
