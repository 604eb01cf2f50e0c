//! The values of window functions at one moment. Functions that pick a row's value find its ordinal, and the values are taken all at once.

use super::aggregates;
use super::axis::Axis;
use super::call::{WindowCall, WindowFunction};
use super::marks::NewMarks;
use super::moment::{Moment, Part};
use crate::dataflow::agg::accumulator::Results;
use crate::error::Result;
use crate::types::key::{Codec, Rows};
use arrow::array::{Array, ArrayRef, Float64Array, Int64Array, UInt32Array};
use arrow::compute::{cast, concat, interleave, take};
use arrow::datatypes::SchemaRef;
use std::ops::Range;
use std::sync::Arc;

/// The columns of the spans, and of these the one on the axis of RANGE frames.
pub(super) struct Input<'a> {
    pub schema: &'a SchemaRef,
    pub columns: &'a [ArrayRef],
    pub axis: Option<(&'a Axis, usize)>,
}

/// One value per row that is asked for, of call number `number`; `marks` is told what it came to where marks are to be made.
pub(super) fn results(number: usize, call: &WindowCall, moment: &Moment, input: &Input<'_>, marks: &mut NewMarks) -> Result<Results> {
    let column = |c: usize| moment.column(&input.columns[c]);
    let integers = |value: &dyn Fn(&Part, usize) -> i64| -> Result<Results> {
        let values = moment.each_wanted().map(|(part, row)| value(part, row)).collect::<Int64Array>();
        Ok(cast(&values, &call.output)?.into())
    };
    let doubles = |value: &dyn Fn(&Range<usize>, usize) -> f64| -> Result<Results> {
        let values = moment.each_wanted().map(|(part, row)| value(&part.rows, row)).collect::<Float64Array>();
        Ok(cast(&values, &call.output)?.into())
    };
    let seeds = || moment.each_wanted().map(|(part, _)| part.prefix.value(number)).collect::<Vec<_>>();
    let mut came_to = Vec::new();
    let results = match &call.function {
        WindowFunction::RowNumber => integers(&|part, row| part.prefix.rows + (row - part.rows.start) as i64 + 1),
        WindowFunction::Rank => integers(&|part, row| part.prefix.rows + (moment.peers(row).start - part.rows.start) as i64 + 1),
        WindowFunction::DenseRank => integers(&|part, row| part.prefix.groups + i64::from(moment.group(row) - moment.group(part.rows.start)) + 1),
        WindowFunction::PercentRank => doubles(&|part, row| match part.len() {
            1 => 0.0,
            n => (moment.peers(row).start - part.start) as f64 / (n - 1) as f64,
        }),
        WindowFunction::CumeDist => doubles(&|part, row| (moment.peers(row).end - part.start) as f64 / part.len() as f64),
        WindowFunction::Ntile(parts) => integers(&|part, row| ntile(part.rows.len() as u64, (row - part.rows.start) as u64, *parts)),
        WindowFunction::Shift { argument, back, default } => shift(&column(*argument)?, *back, default.map(column).transpose()?, call.ignore_nulls, moment),
        WindowFunction::First(argument) if call.is_running() => {
            let value = Running::new(&column(*argument)?, &seeds())?;
            let firsts = frames(call, moment, input)?.iter().enumerate().map(|(i, frame)| value.before(i).unwrap_or(frame.start as u32)).collect::<Vec<_>>();
            came_to = value.at(&marks.wanted, &firsts)?;
            value.take(firsts.into())
        }
        WindowFunction::First(argument) => pick(&column(*argument)?, call, moment, input, |frame| frame.start),
        WindowFunction::Last(argument) => pick(&column(*argument)?, call, moment, input, |frame| frame.end.wrapping_sub(1)),
        WindowFunction::Nth(argument, n) => {
            let n = usize::try_from(*n).unwrap_or(usize::MAX);
            pick(&column(*argument)?, call, moment, input, |frame| frame.start.saturating_add(n - 1))
        }
        WindowFunction::Aggregate(aggregate) => {
            let seeds = if call.is_running() { seeds() } else { Vec::new() };
            let places: &[usize] = if call.is_running() { &marks.wanted } else { &[] };
            let (results, stored) = aggregates::results(aggregate, &frames(call, moment, input)?, moment, input, &seeds, places)?;
            came_to = stored;
            Ok(results)
        }
    };
    came_to.resize(marks.wanted.len(), Vec::new());
    marks.add(came_to);
    results
}

/// A column's values, and behind them those that running functions had come to before: of each frame the place of its own, if there is one.
pub(super) struct Running {
    values: ArrayRef,
    before: Vec<Option<u32>>,
    codec: Codec,
}

impl Running {
    /// `seeds`: of each frame; empty where there is none.
    pub fn new(column: &ArrayRef, seeds: &[&[u8]]) -> Result<Running> {
        let codec = Codec::rows(&[column.data_type().clone()])?;
        let (mut different, mut before) = (Rows::default(), Vec::with_capacity(seeds.len()));
        for seed in seeds {
            // Those of one part follow each other.
            if !seed.is_empty() && (different.is_empty() || different.row(different.len() - 1) != *seed) {
                different.push(seed);
            }
            before.push((!seed.is_empty()).then(|| (column.len() + different.len() - 1) as u32));
        }
        let values = if different.is_empty() { Arc::clone(column) } else { concat(&[column, &codec.decode(&mut different.iter())?[0]])? };
        Ok(Running { values, before, codec })
    }

    /// All of them.
    pub fn values(&self) -> &ArrayRef {
        &self.values
    }

    /// The place of what frame `i` had come to before.
    pub fn before(&self, i: usize) -> Option<u32> {
        self.before.get(i).copied().flatten()
    }

    pub fn take(&self, places: UInt32Array) -> Result<Results> {
        Ok(take(&self.values, &places, None)?.into())
    }

    /// As seeds: the values at `places` of the frames `wanted`.
    pub fn at(&self, wanted: &[usize], places: &[u32]) -> Result<Vec<Vec<u8>>> {
        let chosen = wanted.iter().map(|i| places[*i]).collect::<UInt32Array>();
        let mut rows = Rows::default();
        self.codec.encode(&[take(&self.values, &chosen, None)?], &mut rows)?;
        Ok(rows.iter().map(<[u8]>::to_vec).collect())
    }
}

fn frames(call: &WindowCall, moment: &Moment, input: &Input<'_>) -> Result<Vec<Range<usize>>> {
    match input.axis.filter(|_| call.frame.measures()) {
        None => Ok(call.frame.of(moment, None)),
        Some((axis, column)) => {
            let values = axis.values(&moment.column(&input.columns[column])?)?;
            Ok(call.frame.of(moment, Some((axis, &values))))
        }
    }
}

/// The number of a row's part when `rows` are dealt into `parts` as evenly as can be, the larger parts first.
fn ntile(rows: u64, row: u64, parts: u64) -> i64 {
    let (size, larger) = (rows / parts, rows % parts);
    let in_larger = larger * (size + 1);
    let part = if row < in_larger { row / (size + 1) } else { larger + (row - in_larger) / size.max(1) };
    part as i64 + 1
}

/// The ordinals of rows that count, and how many of them are before each row (and before the end).
pub(super) struct Counted {
    pub rows: Vec<u32>,
    before: Vec<u32>,
}

impl Counted {
    pub fn new(rows: usize, counts: impl Fn(usize) -> bool) -> Counted {
        let (mut counted, mut before) = (Vec::new(), Vec::with_capacity(rows + 1));
        for row in 0..rows {
            before.push(counted.len() as u32);
            if counts(row) {
                counted.push(row as u32);
            }
        }
        before.push(counted.len() as u32);
        Counted { rows: counted, before }
    }

    /// The same range in places of `rows`.
    pub fn range(&self, range: &Range<usize>) -> Range<usize> {
        self.before[range.start] as usize..self.before[range.end] as usize
    }
}

fn known(column: &ArrayRef) -> Counted {
    let nulls = column.logical_nulls();
    Counted::new(column.len(), |row| nulls.as_ref().is_none_or(|n| n.is_valid(row)))
}

/// The value of one row of each frame; NULL where `place` is not in it.
fn pick(column: &ArrayRef, call: &WindowCall, moment: &Moment, input: &Input<'_>, place: impl Fn(&Range<usize>) -> usize) -> Result<Results> {
    let frames = frames(call, moment, input)?;
    let inside = |frame: &Range<usize>| Some(place(frame)).filter(|at| frame.contains(at));
    let indices: UInt32Array = if call.ignore_nulls {
        let known = known(column);
        frames.iter().map(|frame| inside(&known.range(frame)).map(|at| known.rows[at])).collect()
    } else {
        frames.iter().map(|frame| inside(frame).map(|at| at as u32)).collect()
    };
    Ok(take(column, &indices, None)?.into())
}

fn shift(column: &ArrayRef, back: i64, default: Option<ArrayRef>, ignore_nulls: bool, moment: &Moment) -> Result<Results> {
    let target: Box<dyn Fn(&Range<usize>, usize) -> Option<usize>> = if ignore_nulls && back != 0 {
        let known = known(column);
        Box::new(move |part, row| {
            let inside = known.range(part);
            let behind = known.range(&(part.start..row + usize::from(back < 0))).end as i64;
            // The nearest known row back has distance 1, and so has the nearest one ahead.
            let at = if back > 0 { behind.saturating_sub(back) } else { behind.saturating_sub(back).saturating_sub(1) };
            usize::try_from(at).ok().filter(|at| inside.contains(at)).map(|at| known.rows[at] as usize)
        })
    } else {
        Box::new(move |part, row| usize::try_from((row as i64).saturating_sub(back)).ok().filter(|at| part.contains(at)))
    };
    let targets = moment.each_wanted().map(|(part, row)| (row, target(&part.rows, row)));
    Ok(match default {
        None => take(column, &targets.map(|(_, at)| at.map(|at| at as u32)).collect::<UInt32Array>(), None)?,
        Some(default) => {
            let places = targets.map(|(row, at)| at.map_or((1, row), |at| (0, at))).collect::<Vec<_>>();
            if places.is_empty() { column.slice(0, 0) } else { interleave(&[column, &default], &places)? }
        }
    }
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_differ_by_one_at_most_and_the_larger_come_first() {
        let dealt = |rows: u64, parts: u64| (0..rows).map(|row| ntile(rows, row, parts)).collect::<Vec<_>>();
        assert_eq!(dealt(7, 3), [1, 1, 1, 2, 2, 3, 3]);
        assert_eq!(dealt(2, 5), [1, 2]);
        assert_eq!(dealt(4, 1), [1, 1, 1, 1]);
        assert_eq!(dealt(6, u64::MAX), [1, 2, 3, 4, 5, 6]);
    }
}
