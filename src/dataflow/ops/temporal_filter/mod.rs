//! Temporal filter: rows for as long as the clock lies between two moments of theirs (`WHERE ts > now() - INTERVAL '1 hour'`). They come and leave without any input.
//!
//! ```text
//!        pending            in              gone
//!   ----------------|----------------|----------------->  clock of the step
//!             valid from        valid until
//!       greatest of starts    least of ends                 a row with a NULL among these is never in
//! ```
//!
//! Where a row stands is a function of the row and the clock, so an insertion and a retraction of it always go to the same place: *pending* rows wait in state for the moment at which they
//! come, rows that are *in* and will leave wait for that moment, others are not kept. A retraction of a row that is in retracts it; of one that is gone, nothing.
//!
//! *State*: rows with the moment at which they are next touched, ordered by it, in buckets of a second: (bucket, virtual node) -> (moment, valid until, row) -> weight. Nothing is read but what is
//! due; a bucket that has passed is dropped by one range deletion. *Forgotten*: with the last moment of a row. *Timer*: the first moment that waits, or the beginning of its bucket.

use super::consolidate::{codec_of, types_of};
use super::evaluate::evaluate;
use super::windowed::timestamps;
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::error::{Error, Kind, Result};
use crate::state::kept::Kept;
use crate::state::keyed::{Layout, Slot};
use crate::state::multiset::Multiset;
use crate::types::delta::Delta;
use crate::types::expr::ExprRef;
use crate::types::ids::{TableId, owned_range, virtual_node};
use crate::types::key::{Codec, Rows, hash, window_key};
use crate::types::time::Step;
use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// Length of a bucket, µs.
const BUCKET: i64 = 1_000_000;
/// A row that never leaves.
const NEVER: i64 = i64::MAX;
/// Bytes before the row in what is kept: the moment, and until when the row is valid.
const HEAD: usize = 16;

/// A time of the row and so many microseconds.
#[derive(Clone, Debug)]
pub struct Moment {
    /// A timestamp.
    pub expr: ExprRef,
    pub micros: i64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct TemporalFilter {
    /// The clock has reached all of these.
    pub starts: Vec<Moment>,
    /// The clock has reached none of these.
    pub ends: Vec<Moment>,
    pub schema: SchemaRef,
    pub state: TableId,
}

impl Spec for TemporalFilter {
    fn name(&self) -> &'static str {
        "TemporalFilter"
    }

    fn details(&self) -> String {
        let text = |op: &str, m: &Moment| format!("now() {op} {} + {} s", m.expr.sql(), m.micros as f64 / 1e6);
        let all = self.starts.iter().map(|m| text(">=", m)).chain(self.ends.iter().map(|m| text("<", m)));
        all.collect::<Vec<_>>().join(" AND ")
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// By the whole row, so that a retraction meets its row.
    fn distribution(&self) -> Vec<Distribution> {
        match self.schema.fields().len() {
            0 => vec![Distribution::Single],
            n => vec![Distribution::Hash((0..n).collect())],
        }
    }

    fn append_only(&self, inputs: &[bool]) -> bool {
        inputs[0] && self.ends.is_empty()
    }

    fn state_tables(&self) -> Vec<StateTable> {
        let what = "rows by the time at which they come or leave".to_string();
        vec![StateTable { id: self.state, what, bounded_by: Bound::Watermark }]
    }

    fn has_timer(&self) -> bool {
        true
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        let moments = self.starts.iter().chain(&self.ends);
        let (first, last) = owned_range(context.worker, context.workers);
        Ok(Box::new(Running {
            exprs: moments.clone().map(|m| Arc::clone(&m.expr)).collect(),
            shifts: moments.map(|m| m.micros).collect(),
            starts: self.starts.len(),
            place_codec: Codec::new(&types_of(&self.schema))?,
            row_codec: codec_of(&self.schema)?,
            schema: Arc::clone(&self.schema),
            nodes: (first..=last).collect(),
            table: Multiset::new(self.state, Layout::Windowed, &context.table()),
            due: if context.fresh { None } else { Some(i64::MIN) },
        }))
    }
}

struct Running {
    /// Starts, then ends.
    exprs: Vec<ExprRef>,
    shifts: Vec<i64>,
    starts: usize,
    place_codec: Codec,
    row_codec: Codec,
    schema: SchemaRef,
    /// Virtual nodes of this worker.
    nodes: Vec<u8>,
    table: Multiset,
    due: Option<i64>,
}

/// From when until when (not included) a row is in.
struct Validity {
    from: i64,
    until: i64,
}

/// A kept row whose moment has come.
struct Due {
    node: u8,
    /// With its head.
    row: Vec<u8>,
    weight: i64,
}

impl Running {
    fn validity(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<Option<Validity>>> {
        let times = columns.iter().map(timestamps).collect::<Result<Vec<_>>>()?;
        let at = |moment: usize, row: usize| match times[moment].value(row) {
            endless @ (i64::MIN | i64::MAX) => endless,
            time => time.saturating_add(self.shifts[moment]),
        };
        let of_row = |row: usize| {
            if times.iter().any(|t| t.is_null(row)) {
                return None;
            }
            let from = (0..self.starts).map(|m| at(m, row)).max().unwrap_or(i64::MIN);
            let until = (self.starts..times.len()).map(|m| at(m, row)).min().unwrap_or(NEVER);
            (from < until).then_some(Validity { from, until })
        };
        Ok((0..rows).map(of_row).collect())
    }

    /// Rows that come in: those that are in go on, those that are still to be touched are kept.
    fn take(&mut self, delta: &Delta, clock: i64, out: &mut Output) -> Result<()> {
        let (columns, good) = evaluate(&self.exprs, delta, out)?;
        let validity = self.validity(&columns, good.rows())?;
        let is_in = |v: &Option<Validity>| v.as_ref().is_some_and(|v| v.from <= clock && clock < v.until);
        out.push(good.filter(&validity.iter().map(is_in).collect::<BooleanArray>())?);
        let moment = |v: &Validity| if v.from > clock { Some(v.from) } else { Some(v.until).filter(|until| *until > clock && *until != NEVER) };
        let kept = (0..good.rows()).filter_map(|row| validity[row].as_ref().and_then(|v| Some((row, moment(v)?, v.until)))).collect::<Vec<_>>();
        if kept.is_empty() {
            return Ok(());
        }
        let (mut places, mut rows) = (Rows::default(), Rows::default());
        self.place_codec.encode(good.batch().columns(), &mut places)?;
        self.row_codec.encode(good.batch().columns(), &mut rows)?;
        // A codec of no columns encodes no rows.
        let of = |encoded: &Rows, row: usize| if encoded.is_empty() { Vec::new() } else { encoded.row(row).to_vec() };
        let keep = kept.into_iter().map(|(row, moment, until)| {
            let head = [moment, until].map(ordered).concat();
            (virtual_node(hash(&of(&places, row))), moment, [head, of(&rows, row)].concat(), good.weight(row))
        });
        self.keep(&keep.collect::<Vec<_>>());
        Ok(())
    }

    /// Adds rows, with their heads, under their moments.
    fn keep(&mut self, rows: &[(u8, i64, Vec<u8>, i64)]) {
        let (mut keys, mut hashes, mut slots) = (Rows::default(), Vec::with_capacity(rows.len()), Vec::new());
        for (node, moment, _, _) in rows {
            keys.push(&place(bucket_end(*moment), *node));
            hashes.push(hash(keys.row(keys.len() - 1)));
        }
        self.table.resolve(&keys, &hashes, &mut slots);
        for (slot, (_, _, row, weight)) in slots.iter().zip(rows) {
            self.table.add(*slot, row, *weight);
        }
    }

    /// Moves the rows whose moments have come.
    fn pass(&mut self, clock: i64, out: &mut Output) -> Result<()> {
        let mut due = Vec::new();
        let mut passed = None;
        for end in self.table.windows()?.into_iter().take_while(|end| begin(*end) <= clock) {
            let slots = self.slots(end);
            if end <= clock {
                self.table.load(&slots)?;
                for (node, slot) in self.nodes.iter().zip(&slots) {
                    due.extend(self.table.rows(*slot).map(|(row, weight)| Due { node: *node, row: row.to_vec(), weight }));
                }
                passed = Some(end);
                continue;
            }
            for (node, slot) in self.nodes.iter().zip(&slots) {
                let first = due.len();
                self.table.first(*slot, &mut |row, weight| {
                    let has_come = moment_of(row) <= clock;
                    if has_come {
                        due.push(Due { node: *node, row: row.to_vec(), weight });
                    }
                    has_come
                })?;
                due[first..].iter().for_each(|d| self.table.add(*slot, &d.row, -d.weight));
            }
        }
        if let Some(end) = passed {
            self.table.close(end);
        }
        if due.is_empty() { Ok(()) } else { self.moved(due, clock, out) }
    }

    fn moved(&mut self, due: Vec<Due>, clock: i64, out: &mut Output) -> Result<()> {
        let (mut rows, mut weights, mut kept) = (Vec::new(), Vec::new(), Vec::new());
        for d in &due {
            let until = damaged_if_none(d.row.get(8..HEAD).and_then(|b| b.try_into().ok()).map(in_order))?;
            if moment_of(&d.row) == until {
                rows.push(&d.row[HEAD..]);
                weights.push(-d.weight);
            } else if clock < until {
                rows.push(&d.row[HEAD..]);
                weights.push(d.weight);
                if until != NEVER {
                    kept.push((d.node, until, [&ordered(until)[..], &d.row[8..]].concat(), d.weight));
                }
            }
            // Else it came and left between two steps.
        }
        self.keep(&kept);
        if rows.is_empty() {
            return Ok(());
        }
        let columns = self.row_codec.decode(&mut rows.iter().copied())?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        out.push(Delta::new(RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &options)?, weights));
        Ok(())
    }

    /// This worker's groups of a bucket, one per virtual node.
    fn slots(&mut self, end: i64) -> Vec<Slot> {
        let (mut keys, mut hashes, mut slots) = (Rows::default(), Vec::with_capacity(self.nodes.len()), Vec::new());
        for node in &self.nodes {
            let key = place(end, *node);
            hashes.push(hash(&key));
            keys.push(&key);
        }
        self.table.resolve(&keys, &hashes, &mut slots);
        slots
    }

    /// The first moment behind the clock, or the beginning of its bucket.
    fn next(&mut self, clock: i64) -> Result<Option<i64>> {
        for end in self.table.windows()? {
            if begin(end) > clock {
                return Ok(Some(begin(end)));
            }
            let mut first: Option<i64> = None;
            for slot in self.slots(end) {
                self.table.first(slot, &mut |row, _| {
                    first = Some(first.map_or(moment_of(row), |f| f.min(moment_of(row))));
                    false
                })?;
            }
            if first.is_some() {
                return Ok(first);
            }
        }
        Ok(None)
    }
}

impl Operator for Running {
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        self.pass(step.clock, out)?;
        inputs[0].drain(..).try_for_each(|delta| self.take(&delta, step.clock, out))?;
        self.due = self.next(step.clock)?;
        self.table.trim();
        Ok(())
    }

    fn due(&self) -> Option<i64> {
        self.due
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        each(&mut self.table);
    }
}

/// The key of a bucket's group.
fn place(end: i64, node: u8) -> Vec<u8> {
    [&window_key(end)[..], &[node]].concat()
}

/// The last moment that its bucket holds.
fn bucket_end(moment: i64) -> i64 {
    moment.div_euclid(BUCKET).saturating_mul(BUCKET).saturating_add(BUCKET - 1)
}

/// The first moment of the bucket that ends there.
fn begin(end: i64) -> i64 {
    end.saturating_sub(BUCKET - 1)
}

/// Bytes that order as the moments do.
fn ordered(moment: i64) -> [u8; 8] {
    (moment as u64 ^ (1 << 63)).to_be_bytes()
}

fn in_order(bytes: [u8; 8]) -> i64 {
    (u64::from_be_bytes(bytes) ^ (1 << 63)) as i64
}

/// Rows are kept with a head, so one without is damaged, and is looked at at once, when [`Running::moved`] tells.
fn moment_of(row: &[u8]) -> i64 {
    row.first_chunk::<8>().map_or(i64::MIN, |bytes| in_order(*bytes))
}

fn damaged_if_none(until: Option<i64>) -> Result<i64> {
    until.ok_or_else(|| Error::new(Kind::DataCorrupted, "a row of a temporal filter is damaged"))
}

#[cfg(test)]
mod tests;
