//! One worker's share of the sessions. An epoch goes: rows to panes -> region -> sessions with the rows -> late ones out -> what is given out -> state
//! -> what the watermark closes.

use super::panes::{Panes, Span, Spans, pane_key};
use super::region::{Chain, Place, Region};
use super::{Edge, Session};
use crate::dataflow::operator::{BuildContext, EvalErrors, LateRows, Operator, Output};
use crate::dataflow::ops::aggregate::EmitMode;
use crate::dataflow::ops::consolidate::consolidate;
use crate::dataflow::ops::counts::Counts;
use crate::dataflow::ops::groups::Groups;
use crate::error::{Error, Kind, Result};
use crate::state::kept::Kept;
use crate::state::keyed::{Keyed, Layout, Slot};
use crate::state::multiset::Multiset;
use crate::types::delta::Delta;
use crate::types::key::{Codec, Rows, hash, window_key, window_of_key};
use crate::types::time::{Step, WATERMARK_END, WATERMARK_NONE};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch, RecordBatchOptions, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::not;
use arrow::datatypes::{DataType, TimestampMicrosecondType};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Length of a window's or a pane's part of a key.
const NUMBER: usize = 9;

pub(super) struct Running {
    spec: Session,
    partition_codec: Codec,
    row_codec: Codec,
    panes: Panes,
    rows: Multiset,
    ends: Option<Counts>,
    /// Sessions that end here or before are closed.
    closed: Option<i64>,
}

/// The rows of an epoch, by pane.
struct Input {
    delta: Delta,
    times: PrimitiveArray<TimestampMicrosecondType>,
    groups: Groups,
    /// Stored form of each row.
    encoded: Rows,
    /// Row ordinals by group, and where each group's begin.
    order: Vec<u32>,
    starts: Vec<u32>,
}

impl Input {
    fn of(&self, group: u32) -> &[u32] {
        &self.order[self.starts[group as usize] as usize..self.starts[group as usize + 1] as usize]
    }
}

/// Rows that come out: stored bytes, session (`None`: a row without a time), weight.
#[derive(Default)]
struct Given {
    rows: Rows,
    sessions: Vec<Option<Span>>,
    weights: Vec<i64>,
}

impl Given {
    fn push(&mut self, row: &[u8], session: Span, weight: i64) {
        self.rows.push(row);
        self.sessions.push(Some(session));
        self.weights.push(weight);
    }
}

impl Running {
    pub fn new(spec: Session, context: &BuildContext) -> Result<Running> {
        let types = |columns: &[usize]| columns.iter().map(|c| spec.input.field(*c).data_type().clone()).collect::<Vec<_>>();
        Ok(Running {
            partition_codec: Codec::new(&types(&spec.partition))?,
            row_codec: Codec::rows(&types(&spec.columns))?,
            panes: Panes { keyed: Keyed::new(spec.panes, Layout::Hash, &context.table()), spans: Spans::default() },
            rows: Multiset::new(spec.rows, Layout::Hash, &context.table()),
            ends: (!spec.sources.is_empty()).then(|| Counts::placed(spec.ends, Layout::Windowed, context, place_of_end)),
            closed: None,
            spec,
        })
    }

    fn holds_back(&self) -> bool {
        self.spec.emit == EmitMode::OnWindowClose
    }

    /// The end of a session with these times.
    fn end(&self, span: Span) -> i64 {
        span.last.saturating_add(self.spec.gap_micros)
    }

    /// The epoch's rows that have a session; the others are dealt with.
    fn input(&self, deltas: &mut Vec<Delta>, out: &mut Output) -> Result<Option<Delta>> {
        let deltas = std::mem::take(deltas);
        if deltas.is_empty() {
            return Ok(None);
        }
        let delta = consolidate(&self.spec.input, &deltas)?;
        let times = times(&delta, self.spec.time)?;
        let far = |i: usize| times.is_valid(i) && times.value(i).checked_add(self.spec.gap_micros).is_none();
        if times.null_count() == 0 && !(0..times.len()).any(far) {
            return Ok(Some(delta).filter(|d| !d.is_empty()));
        }
        let timeless: BooleanArray = (0..times.len()).map(|i| Some(times.is_null(i))).collect();
        if !self.holds_back() {
            let rows = delta.filter(&timeless)?;
            let weights = (0..rows.rows()).map(|i| rows.weight(i)).collect::<Vec<_>>();
            let columns = self.spec.columns.iter().map(|c| Arc::clone(rows.column(*c))).collect();
            out.push(self.output(columns, &vec![None; weights.len()], weights)?);
        }
        let too_far: BooleanArray = (0..times.len()).map(|i| Some(far(i))).collect();
        let failed = delta.filter(&too_far)?;
        if !failed.is_empty() {
            let error = Error::new(Kind::DatetimeOverflow, "timestamp out of range");
            out.errors.push(EvalErrors { errors: vec![(error.sqlstate(), error.message().to_string()); failed.rows()], rows: failed });
        }
        let rest = delta.filter(&not(&arrow::compute::or(&timeless, &too_far)?)?)?;
        Ok(Some(rest).filter(|d| !d.is_empty()))
    }

    /// Rows by pane, and the partitions that the panes are of.
    fn by_pane(&self, delta: Delta) -> Result<(Input, Groups)> {
        let times = times(&delta, self.spec.time)?.clone();
        let partitions = self.encode(&self.partition_codec, &self.spec.partition, &delta)?;
        let partitions = Groups::of_rows(&partitions);
        let (mut keys, mut key) = (Rows::default(), Vec::new());
        for (row, partition) in partitions.of_row.iter().enumerate() {
            pane_key(partitions.keys.row(*partition as usize), times.value(row).div_euclid(self.spec.gap_micros), &mut key);
            keys.push(&key);
        }
        let groups = Groups::of_rows(&keys);
        let columns = self.encode(&self.row_codec, &self.spec.columns, &delta)?;
        let encoded = if self.spec.input_append_only { columns } else { dated(&times, &columns) };
        let (order, starts) = groups.rows_by_group();
        Ok((Input { delta, times, groups, encoded, order, starts }, partitions))
    }

    fn encode(&self, codec: &Codec, columns: &[usize], delta: &Delta) -> Result<Rows> {
        let mut rows = Rows::default();
        if columns.is_empty() {
            (0..delta.rows()).for_each(|_| rows.push(&[]));
        } else {
            codec.encode(&columns.iter().map(|c| Arc::clone(delta.column(*c))).collect::<Vec<_>>(), &mut rows)?;
        }
        Ok(rows)
    }

    fn update(&mut self, delta: Delta, step: &Step, out: &mut Output) -> Result<()> {
        let (input, partitions) = self.by_pane(delta)?;
        let touched = (0..input.groups.len()).map(|g| self.place(&input, &partitions, g)).collect::<Vec<_>>();
        let mut region = Region::new(partitions.keys, self.spec.gap_micros);
        region.explore(&mut self.panes, &touched)?;
        let mut slots = Vec::with_capacity(touched.len());
        self.rows.resolve(&input.groups.keys, &input.groups.hashes, &mut slots);
        self.merge(&input, &slots, &mut region)?;
        let old = region.chains(|p| p.old);
        let new = self.in_time(&input, &mut region, step, out)?;
        if !self.holds_back() {
            let given = self.given(&input, &slots, &region, [&old, &new])?;
            let delta = self.decode(given)?;
            out.push(consolidate(&self.spec.schema, &[delta])?);
        }
        self.keep(&input, &slots, &region)?;
        self.set_ends(&region, &old, &new)
    }

    /// Partition and pane of a group.
    fn place(&self, input: &Input, partitions: &Groups, group: usize) -> (u32, i64) {
        let first = input.groups.first[group] as usize;
        (partitions.of_row[first], input.times.value(first).div_euclid(self.spec.gap_micros))
    }

    /// The spans of touched panes with the epoch's rows.
    fn merge(&mut self, input: &Input, slots: &[Slot], region: &mut Region) -> Result<()> {
        if !self.spec.input_append_only {
            self.rows.load(slots)?;
        }
        for place in &mut region.places {
            let Some(group) = place.group else { continue };
            if self.spec.input_append_only {
                let spans = input.of(group).iter().map(|row| Span::at(input.times.value(*row as usize)));
                place.new = place.old.into_iter().chain(spans).reduce(Span::with);
                continue;
            }
            let mut content: BTreeMap<&[u8], i64> = self.rows.rows(slots[group as usize]).collect();
            for row in input.of(group) {
                *content.entry(input.encoded.row(*row as usize)).or_default() += input.delta.weight(*row as usize);
            }
            let times = content.into_iter().filter(|(_, weight)| *weight != 0).filter_map(|(row, _)| window_of_key(row));
            place.new = times.map(Span::at).reduce(Span::with);
        }
        Ok(())
    }

    /// The sessions as they become. Those that were closed before their first row came give it back as late.
    fn in_time(&self, input: &Input, region: &mut Region, step: &Step, out: &mut Output) -> Result<Vec<Chain>> {
        let chains = region.chains(|p| p.new);
        let before = step.before.of(&self.spec.sources);
        if self.spec.sources.is_empty() || before == WATERMARK_NONE {
            return Ok(chains);
        }
        // A session that was there is open, whatever part of it is in the region.
        let is_new = |chain: &Chain| chain.places.iter().all(|p| region.places[*p as usize].old.is_none());
        let is_late = |chain: &Chain| is_new(chain) && (before == WATERMARK_END || self.end(chain.span) <= before);
        let (late, open) = chains.into_iter().partition::<Vec<_>, _>(is_late);
        let (mut rows, mut window_end) = (Vec::new(), Vec::new());
        for chain in late {
            for place in &chain.places {
                let place = &mut region.places[*place as usize];
                let of_group = place.group.take().map_or(&[][..], |group| input.of(group));
                rows.extend_from_slice(of_group);
                window_end.resize(rows.len(), self.end(chain.span));
                place.new = place.old;
            }
        }
        if !rows.is_empty() {
            out.late.push(LateRows { rows: input.delta.take(&UInt32Array::from(rows))?, window_end });
        }
        Ok(open)
    }

    /// What the sessions' new bounds and new rows give out.
    fn given(&mut self, input: &Input, slots: &[Slot], region: &Region, [old, new]: [&[Chain]; 2]) -> Result<Given> {
        let (was, is) = (region.sessions(old), region.sessions(new));
        let moved = (0..region.places.len()).filter(|i| was[*i].is_some() && was[*i] != is[*i]).collect::<Vec<_>>();
        let places = moved.iter().map(|i| &region.places[*i]).collect::<Vec<_>>();
        let stored = self.stored(region, &places);
        self.rows.load(&stored)?;
        let mut given = Given::default();
        for (place, slot) in moved.iter().zip(stored) {
            for (row, weight) in self.rows.rows(slot) {
                was[*place].into_iter().for_each(|session| given.push(row, session, -weight));
                is[*place].into_iter().for_each(|session| given.push(row, session, weight));
            }
        }
        for (place, session) in region.places.iter().zip(&is) {
            // A pane that has lost its last row has given all of them back above.
            let (Some(group), Some(session)) = (place.group, session) else { continue };
            for row in input.of(group).iter().map(|r| *r as usize) {
                given.push(input.encoded.row(row), *session, input.delta.weight(row));
            }
        }
        debug_assert_eq!(slots.len(), input.groups.len());
        Ok(given)
    }

    /// Slots of the rows of some places.
    fn stored(&mut self, region: &Region, places: &[&Place]) -> Vec<Slot> {
        let (mut keys, mut key) = (Rows::default(), Vec::new());
        for place in places {
            pane_key(region.partitions.row(place.partition as usize), place.pane, &mut key);
            keys.push(&key);
        }
        let hashes = keys.iter().map(hash).collect::<Vec<_>>();
        let mut slots = Vec::with_capacity(places.len());
        self.rows.resolve(&keys, &hashes, &mut slots);
        slots
    }

    fn keep(&mut self, input: &Input, slots: &[Slot], region: &Region) -> Result<()> {
        for place in &region.places {
            if place.old != place.new || place.new.is_none() {
                // Also panes that were only looked for: a key without a value is forgotten with the next checkpoint.
                self.panes.set(place.slot, place.new);
            }
            let Some(group) = place.group else { continue };
            for row in input.of(group).iter().map(|r| *r as usize) {
                self.rows.add(slots[group as usize], input.encoded.row(row), input.delta.weight(row));
            }
        }
        Ok(())
    }

    /// The ends by which the sessions will be found when they close.
    fn set_ends(&mut self, region: &Region, old: &[Chain], new: &[Chain]) -> Result<()> {
        let named = |chains: &[Chain]| chains.iter().map(|c| self.end_key(region, c)).collect::<BTreeSet<_>>();
        let (was, is) = (named(old), named(new));
        let Some(ends) = &mut self.ends else { return Ok(()) };
        let (mut keys, mut weights) = (Rows::default(), Vec::new());
        for (names, weight) in [(was.difference(&is), -1), (is.difference(&was), 1)] {
            for name in names {
                keys.push(name);
                weights.push(weight);
            }
        }
        let hashes = keys.iter().map(place_of_end).collect::<Vec<_>>();
        ends.add(&keys, &hashes, &weights).map(drop)
    }

    /// A session's end, partition and last pane.
    fn end_key(&self, region: &Region, chain: &Chain) -> Vec<u8> {
        let last = chain.places.last().map(|p| &region.places[*p as usize]);
        let (partition, pane) = last.map_or((&[][..], 0), |p| (region.partitions.row(p.partition as usize), p.pane));
        [&window_key(self.end(chain.span)), partition, &window_key(pane)].concat()
    }

    fn close(&mut self, step: &Step, out: &mut Output) -> Result<()> {
        let Some(ends) = &mut self.ends else { return Ok(()) };
        let upto = step.after.of(&self.spec.sources);
        if upto == WATERMARK_NONE || self.closed.is_some_and(|closed| closed >= upto) {
            return Ok(());
        }
        self.closed = Some(upto);
        let (mut partitions, mut panes) = (Rows::default(), Vec::new());
        ends.close_each(upto, &mut |key| {
            let (rest, pane) = key.split_at(key.len() - NUMBER);
            partitions.push(&rest[NUMBER..]);
            panes.extend(window_of_key(pane));
        })?;
        if panes.is_empty() {
            return Ok(());
        }
        let partitions = Groups::of_rows(&partitions);
        let last = partitions.of_row.iter().copied().zip(panes).collect::<Vec<_>>();
        let mut region = Region::new(partitions.keys, self.spec.gap_micros);
        region.explore_down(&mut self.panes, &last)?;
        self.drop_closed(&region, upto, out)
    }

    /// Forgets the sessions of the region that end at or before `upto`; gives them out, if they were held back.
    fn drop_closed(&mut self, region: &Region, upto: i64, out: &mut Output) -> Result<()> {
        let mut chains = region.chains(|p| p.old);
        // A pane below a closing session may have been looked at: it belongs to a session that is not over, or was closed with this one.
        chains.retain(|chain| self.end(chain.span) <= upto);
        let mut given = Given::default();
        for chain in &chains {
            let places = chain.places.iter().map(|p| &region.places[*p as usize]).collect::<Vec<_>>();
            let slots = self.stored(region, &places);
            self.rows.load(&slots)?;
            for (place, slot) in places.iter().zip(slots) {
                let content = self.rows.rows(slot).map(|(row, weight)| (row.to_vec(), weight)).collect::<Vec<_>>();
                for (row, weight) in content {
                    self.rows.add(slot, &row, -weight);
                    if self.spec.emit == EmitMode::OnWindowClose {
                        given.push(&row, chain.span, weight);
                    }
                }
                self.panes.set(place.slot, None);
            }
        }
        out.push(self.decode(given)?);
        Ok(())
    }

    fn decode(&self, given: Given) -> Result<Delta> {
        // Rows of retractable input are stored behind their time.
        let skip = if self.spec.input_append_only { 0 } else { NUMBER };
        let columns = self.row_codec.decode(&mut given.rows.iter().map(|row| &row[skip..]))?;
        self.output(columns, &given.sessions, given.weights)
    }

    fn output(&self, mut columns: Vec<ArrayRef>, sessions: &[Option<Span>], weights: Vec<i64>) -> Result<Delta> {
        for (i, edge) in self.spec.edges.iter().enumerate() {
            let of = |session: Span| if *edge == Edge::Start { session.first } else { self.end(session) };
            let times: TimestampMicrosecondArray = sessions.iter().map(|session| session.map(of)).collect();
            columns.push(Arc::new(times.with_data_type(self.spec.schema.field(self.spec.columns.len() + i).data_type().clone())));
        }
        let options = RecordBatchOptions::new().with_row_count(Some(weights.len()));
        Ok(Delta::new(RecordBatch::try_new_with_options(Arc::clone(&self.spec.schema), columns, &options)?, weights))
    }
}

fn times(delta: &Delta, column: usize) -> Result<&PrimitiveArray<TimestampMicrosecondType>> {
    let column = delta.column(column);
    match column.data_type() {
        DataType::Timestamp(..) => column.as_primitive_opt(),
        _ => None,
    }
    .ok_or_else(|| Error::internal(format!("the time of a session is a timestamp, not {}", column.data_type())))
}

/// Stored rows with their times before them, so that a pane's first and last row tell its span.
fn dated(times: &PrimitiveArray<TimestampMicrosecondType>, columns: &Rows) -> Rows {
    let (mut rows, mut row) = (Rows::default(), Vec::new());
    for (time, rest) in times.values().iter().zip(columns.iter()) {
        pane_key(&[], *time, &mut row);
        row.extend_from_slice(rest);
        rows.push(&row);
    }
    rows
}

/// Where an end is kept: with the worker that owns its partition, whose sessions it closes.
fn place_of_end(key: &[u8]) -> u64 {
    const OWNER: u64 = 0xFF << 56;
    let partition = &key[NUMBER.min(key.len())..key.len().saturating_sub(NUMBER).max(NUMBER.min(key.len()))];
    (hash(partition) & OWNER) | (hash(key) & !OWNER)
}

impl Operator for Running {
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        if let Some(delta) = self.input(&mut inputs[0], out)? {
            self.update(delta, step, out)?;
        }
        self.close(step, out)?;
        self.panes.trim();
        self.rows.trim();
        self.ends.iter_mut().for_each(Counts::trim);
        Ok(())
    }

    fn due(&self) -> Option<i64> {
        self.ends.as_ref().and_then(|ends| self.spec.bound().due(ends.first_window()))
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        self.panes.state(each);
        each(&mut self.rows);
        self.ends.iter_mut().for_each(|ends| ends.state(each));
    }
}
