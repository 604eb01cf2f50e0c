//! Aggregates over frames. From one row to the next a frame only moves forward, so what enters it is added and what leaves it is taken back: the
//! accumulators of GROUP BY retract exactly, also sums of doubles. Short frames are added up each on its own, all in one batch. The least and
//! greatest value of a moving frame come from a queue of those that can still become it, each value entering and leaving once.

use super::moment::Moment;
use super::values::{Counted, Input, Running};
use crate::dataflow::agg::accumulator::{Accumulator, Results, Touched, Update};
use crate::dataflow::agg::bytes::Reader;
use crate::dataflow::agg::function::{AggregateCall, Function};
use crate::error::{Error, Result};
use crate::state::keyed::Slot;
use crate::types::key::{Codec, Order, Rows};
use arrow::array::{Array, ArrayRef, AsArray, ListArray, StringBuilder, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::take;
use arrow::datatypes::DataType;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// Frames of up to so many rows, on average, are added up anew for each row.
const SHORT_FRAME: usize = 16;

/// One value per frame; frames are ordinals of the moment's rows. `seeds`: what each had come to before, if the function is running. Gives as well what the frames
/// `marked` came to, as seeds.
pub(super) fn results(
    call: &AggregateCall,
    frames: &[Range<usize>],
    moment: &Moment,
    input: &Input<'_>,
    seeds: &[&[u8]],
    marked: &[usize],
) -> Result<(Results, Vec<Vec<u8>>)> {
    let mut columns = call.args.iter().map(|c| moment.column(&input.columns[*c])).collect::<Result<Vec<_>>>()?;
    let mut frames = frames.to_vec();
    if let Some(filter) = call.filter {
        let keep = moment.column(&input.columns[filter])?;
        let keep = keep.as_boolean();
        let counted = Counted::new(moment.len(), |row| keep.is_valid(row) && keep.value(row));
        frames.iter_mut().for_each(|frame| *frame = counted.range(frame));
        let rows = UInt32Array::from(counted.rows);
        columns = columns.iter().map(|c| Ok(take(c, &rows, None)?)).collect::<Result<_>>()?;
    }
    match (call.function, &call.output) {
        (Function::Min, _) => extremes(&columns[0], &frames, false, seeds, marked),
        (Function::Max, _) => extremes(&columns[0], &frames, true, seeds, marked),
        (Function::StringAgg, _) => Ok((texts(&columns, &frames).into(), Vec::new())),
        (Function::ArrayAgg, DataType::List(field)) => {
            let rows = frames.iter().cloned().flatten().map(|row| row as u32).collect::<UInt32Array>();
            let lengths = OffsetBuffer::from_lengths(frames.iter().map(Range::len));
            let valid = frames.iter().map(|frame| !frame.is_empty()).collect::<NullBuffer>();
            let list = ListArray::try_new(Arc::clone(field), lengths, take(&columns[0], &rows, None)?, Some(valid))?;
            Ok(((Arc::new(list) as ArrayRef).into(), Vec::new()))
        }
        (Function::ArrayAgg, other) => Err(Error::internal(format!("array_agg gives {other}"))),
        _ => {
            let mut sums = Sums { accumulator: call.accumulator(input.schema, true)?, columns, slots: Vec::with_capacity(frames.len()), next: 0 };
            let rows = frames.iter().map(Range::len).sum::<usize>();
            if rows <= frames.len() * SHORT_FRAME {
                sums.each_anew(&frames, seeds)?
            } else {
                sums.moving(&frames, seeds)?
            }
            let stored = marked.iter().map(|i| {
                let mut bytes = Vec::new();
                sums.accumulator.store(sums.slots[*i], &mut bytes);
                bytes
            });
            let stored = stored.collect();
            Ok((sums.accumulator.result(&Touched { slots: &sums.slots, ..NOTHING }, None)?, stored))
        }
    }
}

const NO_SEED: &[u8] = &[];

/// These accumulators keep everything in their slots.
const NOTHING: Touched<'static> = Touched { keys: &Rows::EMPTY, hashes: &[], slots: &[] };

struct Sums {
    accumulator: Box<dyn Accumulator>,
    columns: Vec<ArrayRef>,
    /// Of each frame.
    slots: Vec<Slot>,
    next: Slot,
}

impl Sums {
    /// A slot begins with what its frame had come to before.
    fn begin(&mut self, slot: Slot, seed: &[u8]) -> Result<()> {
        if seed.is_empty() { self.accumulator.load(slot, None) } else { self.accumulator.load(slot, Some(&mut Reader::new(seed))) }
    }

    fn each_anew(&mut self, frames: &[Range<usize>], seeds: &[&[u8]]) -> Result<()> {
        let (mut rows, mut slots) = (Vec::new(), Vec::new());
        for (slot, frame) in frames.iter().enumerate() {
            self.begin(slot as Slot, seeds.get(slot).unwrap_or(&NO_SEED))?;
            self.slots.push(slot as Slot);
            rows.extend(frame.clone().map(|row| row as u32));
            slots.extend(std::iter::repeat_n(slot as Slot, frame.len()));
        }
        let rows = UInt32Array::from(rows);
        let columns = self.columns.iter().map(|c| Ok(take(c, &rows, None)?)).collect::<Result<Vec<_>>>()?;
        let update = Update { slots: &slots, groups: &slots, weights: None, touched: NOTHING };
        self.accumulator.update(&update, &columns, None)
    }

    /// Slot 0 moves along; what it holds at each frame is kept in a slot of its own.
    fn moving(&mut self, frames: &[Range<usize>], seeds: &[&[u8]]) -> Result<()> {
        let (mut inside, mut stored, mut begun) = (0..0, Vec::new(), NO_SEED);
        self.accumulator.load(0, None)?;
        for (i, frame) in frames.iter().enumerate() {
            let seed = *seeds.get(i).unwrap_or(&NO_SEED);
            if *frame == inside && self.next > 0 && seed == begun {
                self.slots.push(self.next);
                continue;
            }
            if frame.start >= inside.end || seed != begun {
                self.begin(0, seed)?;
                (inside, begun) = (frame.start..frame.start, seed);
            }
            self.add(inside.start..frame.start, -1)?;
            self.add(inside.end..frame.end, 1)?;
            inside = frame.clone();
            stored.clear();
            self.accumulator.store(0, &mut stored);
            self.next += 1;
            self.accumulator.load(self.next, Some(&mut Reader::new(&stored)))?;
            self.slots.push(self.next);
        }
        Ok(())
    }

    fn add(&mut self, rows: Range<usize>, weight: i64) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let columns = self.columns.iter().map(|c| c.slice(rows.start, rows.len())).collect::<Vec<_>>();
        let (slots, weights) = (vec![0; rows.len()], vec![weight; rows.len()]);
        let update = Update { slots: &slots, groups: &slots, weights: Some(&weights), touched: NOTHING };
        self.accumulator.update(&update, &columns, None)
    }
}

/// A seed is the best value before; a frame without any has none.
fn extremes(column: &ArrayRef, frames: &[Range<usize>], greatest: bool, seeds: &[&[u8]], marked: &[usize]) -> Result<(Results, Vec<Vec<u8>>)> {
    let running = Running::new(column, seeds)?;
    let codec = Codec::ordered(vec![(column.data_type().clone(), Order { descending: greatest, nulls_first: false })])?;
    let mut keys = Rows::default();
    codec.encode(std::slice::from_ref(running.values()), &mut keys)?;
    let nulls = column.logical_nulls();
    // Rows of the frame in which no later one is better, the best first.
    let mut candidates: VecDeque<usize> = VecDeque::new();
    let mut next = 0;
    let best = |(i, frame): (usize, &Range<usize>)| {
        if frame.start >= next {
            candidates.clear();
            next = frame.start;
        }
        for row in next..frame.end {
            if nulls.as_ref().is_none_or(|n| n.is_valid(row)) {
                while candidates.back().is_some_and(|last| keys.row(*last) > keys.row(row)) {
                    candidates.pop_back();
                }
                candidates.push_back(row);
            }
        }
        next = next.max(frame.end);
        while candidates.front().is_some_and(|first| *first < frame.start) {
            candidates.pop_front();
        }
        let best = candidates.front().map(|row| *row as u32);
        match (running.before(i), best) {
            // Of equal ones the earlier counts.
            (Some(before), Some(row)) if keys.row(row as usize) < keys.row(before as usize) => Some(row),
            (None, row) => row,
            (before, _) => before,
        }
    };
    let places = frames.iter().enumerate().map(best).collect::<UInt32Array>();
    let mut stored = Vec::new();
    for i in marked {
        stored.push(if places.is_valid(*i) { running.at(&[0], &[places.value(*i)])?.swap_remove(0) } else { Vec::new() });
    }
    Ok((running.take(places)?, stored))
}

/// Values with their separators before all but the first; NULLs are left out, and no value at all is NULL.
fn texts(columns: &[ArrayRef], frames: &[Range<usize>]) -> ArrayRef {
    let (values, separators) = (columns[0].as_string::<i32>(), columns.get(1).map(|s| s.as_string::<i32>()));
    let (mut out, mut text) = (StringBuilder::new(), String::new());
    for frame in frames {
        text.clear();
        let mut first = true;
        for row in frame.clone().filter(|row| values.is_valid(*row)) {
            if let Some(separators) = separators.filter(|s| !first && s.is_valid(row)) {
                text.push_str(separators.value(row));
            }
            text.push_str(values.value(row));
            first = false;
        }
        out.append_option((!first).then_some(&text));
    }
    Arc::new(out.finish())
}
