//! The relations of the schema `tidewater`: what the system knows of itself, as rows. One entry in [`all`] and one function each.

use super::audit::Event;
use super::shared::Shared;
use super::sinks::Trouble;
use super::system::SourceStatus;
use crate::catalog::object::{Body, Object};
use crate::dataflow::operator::Sunk;
use crate::error::{Error, Kind, Result};
use crate::types::ids::ObjectId;
use crate::types::time::{Epoch, WATERMARK_END, WATERMARK_NONE};
use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

pub struct Listing {
    pub name: &'static str,
    pub schema: SchemaRef,
    rows: fn(&Shared) -> Vec<ArrayRef>,
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn count(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn number(name: &str) -> Field {
    Field::new(name, DataType::Float64, true)
}

fn time(name: &str) -> Field {
    Field::new(name, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true)
}

fn listing(name: &'static str, fields: Vec<Field>, rows: fn(&Shared) -> Vec<ArrayRef>) -> Listing {
    Listing { name, schema: Arc::new(Schema::new(fields)), rows }
}

/// All of them, by name.
pub fn all() -> Vec<Listing> {
    vec![
        listing(
            "sources",
            vec![
                text("source"),
                Field::new("partition", DataType::Int32, true),
                count("offset"),
                count("lag"),
                count("rows"),
                count("bytes"),
                count("late_rows"),
                count("dead_letters"),
                count("tombstones"),
                time("watermark"),
                time("source_watermark"),
                text("status"),
                text("last_error"),
            ],
            sources,
        ),
        listing(
            "dead_letters",
            vec![
                text("source"),
                Field::new("partition", DataType::Int32, true),
                count("offset"),
                time("timestamp"),
                time("set_aside_at"),
                text("error"),
                Field::new("raw", DataType::Binary, true),
            ],
            dead_letters,
        ),
        listing("late_rows", vec![text("view"), count("epoch"), text("source_positions"), time("window_end"), count("weight"), text("row")], late_rows),
        listing("view_errors", vec![text("view"), text("sqlstate"), text("error"), count("count")], view_errors),
        listing(
            "views",
            vec![text("view"), count("frontier"), count("late_rows"), count("errors"), text("status"), count("lag_epochs"), number("lag_seconds")],
            views,
        ),
        listing("sinks", sink_fields(), sinks),
        listing(
            "jobs",
            vec![
                text("view"),
                text("phase"),
                count("rows"),
                count("rows_expected"),
                number("rows_per_second"),
                number("eta_seconds"),
                number("seconds"),
                text("statement"),
            ],
            jobs,
        ),
        listing(
            "subscriptions",
            vec![Field::new("pid", DataType::Int32, true), text("relation"), count("epoch"), count("lag_epochs"), count("queued_bytes")],
            subscriptions,
        ),
        listing("epochs", vec![count("epoch"), count("durable_epoch"), count("checkpoints"), number("checkpoint_seconds"), time("clock")], epochs),
        listing("audit_log", vec![time("at"), text("user"), text("address"), text("event"), text("object"), text("statement"), text("outcome")], audit_log),
        listing("secrets", vec![text("name"), text("owner")], secrets),
    ]
}

/// The rows of one, now.
pub fn rows(name: &str, shared: &Shared) -> Result<RecordBatch> {
    let listing =
        all().into_iter().find(|l| l.name == name).ok_or_else(|| Error::new(Kind::UndefinedTable, format!("relation \"tidewater.{name}\" does not exist")))?;
    Ok(RecordBatch::try_new(listing.schema, (listing.rows)(shared))?)
}

fn name_of(shared: &Shared, id: ObjectId) -> String {
    shared.catalog.load().get(id).map(|o| o.shown_name()).unwrap_or_else(|| id.to_string())
}

fn strings<S: AsRef<str>>(values: impl IntoIterator<Item = S>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn counts(values: impl IntoIterator<Item = u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values.into_iter().map(|v| i64::try_from(v).unwrap_or(i64::MAX))))
}

/// A watermark at either end of time is no time: NULL.
fn times(values: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    let finite = values.into_iter().map(|v| v.filter(|t| *t != WATERMARK_NONE && *t != WATERMARK_END));
    Arc::new(finite.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn audit_log(shared: &Shared) -> Vec<ArrayRef> {
    let events = shared.audit.events();
    let texts = |of: fn(&Event) -> Option<&str>| -> ArrayRef { Arc::new(events.iter().map(of).collect::<StringArray>()) };
    vec![
        times(events.iter().map(|e| Some(e.at))),
        texts(|e| Some(&e.user)),
        texts(|e| e.address.as_deref()),
        texts(|e| Some(&e.event)),
        texts(|e| e.object.as_deref()),
        texts(|e| e.statement.as_deref()),
        texts(|e| Some(&e.outcome)),
    ]
}

/// Their names: the values are for connectors alone.
fn secrets(shared: &Shared) -> Vec<ArrayRef> {
    let catalog = shared.catalog.load();
    let roles = catalog.roles();
    vec![strings(roles.secrets.keys()), strings(roles.secrets.values().map(|s| roles.name_of(s.access.owner)))]
}

fn sources(shared: &Shared) -> Vec<ArrayRef> {
    let live = shared.system.sources();
    let late = late_by_source(shared);
    let rows: Vec<_> = live.iter().flat_map(|(id, status)| status.partitions.iter().map(move |(p, s)| (*id, status, *p, s))).collect();
    vec![
        strings(rows.iter().map(|r| name_of(shared, r.0))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.2 as i32))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.3.position))),
        Arc::new(rows.iter().map(|r| r.3.lag).collect::<Int64Array>()),
        counts(rows.iter().map(|r| r.3.rows)),
        counts(rows.iter().map(|r| r.3.bytes)),
        counts(rows.iter().map(|r| late.iter().find(|(id, _)| *id == r.0).map_or(0, |(_, n)| *n))),
        counts(rows.iter().map(|r| r.3.dead_letters)),
        counts(rows.iter().map(|r| r.3.tombstones)),
        times(rows.iter().map(|r| r.3.watermark)),
        times(rows.iter().map(|r| Some(r.1.watermark))),
        strings(rows.iter().map(|r| partition_status(r.1, r.2))),
        Arc::new(rows.iter().map(|r| r.3.error.as_ref().map(|e| shared.secrets.hidden(e))).collect::<StringArray>()),
    ]
}

/// `holds the watermark`: no window of the source closes until this partition moves.
fn partition_status(source: &SourceStatus, partition: u32) -> &'static str {
    let Some(state) = source.partitions.get(&partition) else { return "unknown" };
    let holds = source.partitions.values().filter(|s| !s.idle && !s.ended).map(|s| s.watermark).min() == Some(state.watermark);
    match state {
        s if s.error.is_some() => "failing",
        s if s.ended => "ended",
        s if s.idle => "idle",
        s if s.caught_up_since.is_some() && holds && source.partitions.len() > 1 => "caught up, holds the watermark",
        s if s.caught_up_since.is_some() => "caught up",
        _ => "running",
    }
}

/// Late rows of the views over each source; a view over several sources counts for each.
fn late_by_source(shared: &Shared) -> Vec<(ObjectId, u64)> {
    let catalog = shared.catalog.load();
    let totals = shared.system.durable(|d| d.late.iter().map(|(view, kept)| (*view, kept.total)).collect::<Vec<_>>());
    let mut sums: Vec<(ObjectId, u64)> = Vec::new();
    for (view, total) in totals {
        let mut waiting: Vec<ObjectId> = catalog.get(view).map(|o| o.depends_on.clone()).unwrap_or_default();
        while let Some(id) = waiting.pop() {
            match sums.iter_mut().find(|(s, _)| *s == id) {
                Some((_, sum)) => *sum += total,
                None => sums.push((id, total)),
            }
            waiting.extend(catalog.get(id).map(|o| o.depends_on.clone()).unwrap_or_default());
        }
    }
    sums
}

fn dead_letters(shared: &Shared) -> Vec<ArrayRef> {
    let rows = shared.system.durable(|d| d.dead.iter().flat_map(|(id, kept)| kept.items.iter().map(move |i| (*id, i.clone()))).collect::<Vec<_>>());
    vec![
        strings(rows.iter().map(|r| name_of(shared, r.0))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.1.partition as i32))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1.position))),
        times(rows.iter().map(|r| r.1.timestamp)),
        times(rows.iter().map(|r| Some(r.1.at))),
        strings(rows.iter().map(|r| &r.1.error)),
        Arc::new(BinaryArray::from_iter_values(rows.iter().map(|r| &r.1.raw))),
    ]
}

fn late_rows(shared: &Shared) -> Vec<ArrayRef> {
    let rows = shared.system.durable(|d| d.late.iter().flat_map(|(id, kept)| kept.items.iter().map(move |i| (*id, i.clone()))).collect::<Vec<_>>());
    vec![
        strings(rows.iter().map(|r| name_of(shared, r.0))),
        counts(rows.iter().map(|r| r.1.epoch.0)),
        strings(rows.iter().map(|r| &r.1.source_positions)),
        times(rows.iter().map(|r| Some(r.1.window_end))),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1.weight))),
        strings(rows.iter().map(|r| &r.1.row)),
    ]
}

fn view_errors(shared: &Shared) -> Vec<ArrayRef> {
    let rows =
        shared.system.durable(|d| d.errors.iter().flat_map(|(id, all)| all.iter().map(move |(key, f)| (*id, key.clone(), f.clone()))).collect::<Vec<_>>());
    vec![
        strings(rows.iter().map(|r| name_of(shared, r.0))),
        strings(rows.iter().map(|r| &r.2.sqlstate)),
        strings(rows.iter().map(|r| &r.1)),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2.weight))),
    ]
}

fn views(shared: &Shared) -> Vec<ArrayRef> {
    let catalog = shared.catalog.load();
    let all: Vec<Arc<Object>> = catalog.objects().filter(|o| matches!(o.body, Body::MaterializedView(_))).cloned().collect();
    let building = shared.system.building();
    let published = shared.published();
    let (epoch, clock) = (published.epoch.0, shared.system.shown_clock());
    let shown: Vec<(u64, i64)> = all.iter().map(|o| shared.shown(o).map_or((0, 0), |(epoch, clock)| (epoch.0, clock))).collect();
    let lag = |shown: &(u64, i64)| (shown.0 > 0).then(|| (epoch.saturating_sub(shown.0) as i64, (clock - shown.1).max(0) as f64 / 1e6));
    let counters: Vec<(u64, u64)> = shared.system.durable(|d| {
        let errors = |id: &ObjectId| d.errors.get(id).map_or(0, |e| e.values().map(|f| f.weight.max(0) as u64).sum());
        all.iter().map(|o| (d.late.get(&o.id).map_or(0, |k| k.total), errors(&o.id))).collect()
    });
    vec![
        strings(all.iter().map(|o| o.shown_name())),
        counts(shown.iter().map(|s| s.0)),
        counts(counters.iter().map(|c| c.0)),
        counts(counters.iter().map(|c| c.1)),
        strings(all.iter().map(|o| match o {
            o if building.contains_key(&o.id) => "building",
            o if o.is_isolated() => "isolated",
            // The checkpoint with which it joins the live lane is still under way: it cannot be read yet.
            o if !published.is_ready(o.id) => "building",
            _ => "live",
        })),
        Arc::new(shown.iter().map(|s| lag(s).map(|l| l.0)).collect::<Int64Array>()),
        Arc::new(shown.iter().map(|s| lag(s).map(|l| l.1)).collect::<Float64Array>()),
    ]
}

fn sink_fields() -> Vec<Field> {
    vec![
        text("sink"),
        text("connector"),
        count("inserted"),
        count("retracted"),
        text("status"),
        count("waiting_epochs"),
        count("waiting_bytes"),
        text("last_error"),
    ]
}

fn sinks(shared: &Shared) -> Vec<ArrayRef> {
    let catalog = shared.catalog.load();
    let all: Vec<(&Arc<Object>, &str)> = catalog
        .objects()
        .filter_map(|o| match &o.body {
            Body::Sink(sink) => Some((o, sink.options.get("connector").map_or("", String::as_str))),
            _ => None,
        })
        .collect();
    let building = shared.system.building();
    let sunk: Vec<Sunk> = shared.system.durable(|d| all.iter().map(|(o, _)| d.sunk.get(&o.id).copied().unwrap_or_default()).collect());
    let outboxes = shared.system.outboxes();
    let waiting: Vec<(u64, u64)> = all.iter().map(|(o, _)| outboxes.get(&o.id).map(|outbox| outbox.waiting()).unwrap_or_default()).collect();
    let troubles: Vec<Option<Trouble>> = all.iter().map(|(o, _)| outboxes.get(&o.id).and_then(|outbox| outbox.trouble())).collect();
    let status = |object: &Object, trouble: &Option<Trouble>| match trouble {
        Some(trouble) if trouble.stopped => "stopped",
        Some(_) => "retrying",
        None if building.contains_key(&object.id) => "building",
        None => "live",
    };
    vec![
        strings(all.iter().map(|(o, _)| o.shown_name())),
        strings(all.iter().map(|(_, connector)| connector)),
        counts(sunk.iter().map(|s| s.inserted)),
        counts(sunk.iter().map(|s| s.retracted)),
        strings(all.iter().zip(&troubles).map(|((o, _), trouble)| status(o, trouble))),
        counts(waiting.iter().map(|w| w.0)),
        counts(waiting.iter().map(|w| w.1)),
        Arc::new(troubles.iter().map(|t| t.as_ref().map(|t| shared.secrets.hidden(&t.error))).collect::<StringArray>()),
    ]
}

fn jobs(shared: &Shared) -> Vec<ArrayRef> {
    let catalog = shared.catalog.load();
    let rows: Vec<_> = shared.system.building().into_iter().collect();
    vec![
        strings(rows.iter().map(|r| name_of(shared, r.0))),
        strings(rows.iter().map(|r| &r.1.phase)),
        counts(rows.iter().map(|r| r.1.rows)),
        Arc::new(rows.iter().map(|r| r.1.expected.and_then(|n| i64::try_from(n).ok())).collect::<Int64Array>()),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.1.rate.round()))),
        Arc::new(rows.iter().map(|r| r.1.eta().map(|s| (s * 10.0).round() / 10.0)).collect::<Float64Array>()),
        Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| (r.1.elapsed.as_secs_f64() * 10.0).round() / 10.0))),
        Arc::new(rows.iter().map(|r| catalog.get(r.0).map(|o| o.sql.clone())).collect::<StringArray>()),
    ]
}

fn subscriptions(shared: &Shared) -> Vec<ArrayRef> {
    let (all, newest) = (shared.system.subscriptions(), shared.published().epoch);
    let sent: Vec<(Option<Epoch>, bool)> = all.iter().map(|queue| queue.sent()).collect();
    // With nothing in its queue it has everything.
    let lag = |sent: &(Option<Epoch>, bool)| sent.0.map(|epoch| if sent.1 { newest.0.saturating_sub(epoch.0) as i64 } else { 0 });
    vec![
        Arc::new(Int32Array::from_iter_values(all.iter().map(|queue| queue.pid))),
        strings(all.iter().map(|queue| name_of(shared, queue.relation))),
        Arc::new(sent.iter().map(|(epoch, _)| epoch.map(|e| e.0 as i64)).collect::<Int64Array>()),
        Arc::new(sent.iter().map(lag).collect::<Int64Array>()),
        counts(all.iter().map(|queue| queue.bytes() as u64)),
    ]
}

fn epochs(shared: &Shared) -> Vec<ArrayRef> {
    let checkpoint = shared.system.checkpoint_status();
    vec![
        counts([shared.published().epoch.0]),
        counts([checkpoint.epoch.0]),
        counts([checkpoint.count]),
        Arc::new(Float64Array::from_iter_values([checkpoint.took.as_secs_f64()])),
        // Everything that had been read by then is shown.
        times([Some(shared.system.shown_clock())]),
    ]
}
