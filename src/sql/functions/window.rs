//! Windows of event time, as scalar functions that TUMBLE, HOP and CUMULATE in FROM become:
//!
//! | function | value |
//! | --- | --- |
//! | `tw_window_start(ts, size[, offset])` | start of the tumbling window that holds `ts` |
//! | `tw_window_end(ts, size[, offset])` | its end |
//! | `tw_hop_starts(ts, slide, size[, offset])` | starts of all hopping windows that hold `ts`, ascending |
//! | `tw_window_plus(start, size)` | the end of a hopping window |
//! | `tw_cumulate_ends(ts, step, size[, offset])` | ends of all cumulating windows that hold `ts`, ascending |
//! | `tw_cumulate_start(end, size[, offset])` | the start of a cumulating window |
//!
//! A window holds its start and not its end. Windows are aligned to 1970-01-01 plus `offset`. Sizes are constants without months. A NULL
//! `ts` gives NULL. They are pure, so batch execution runs them as they are; the planner knows them by name.

use crate::error::{Error, Kind, Result};
use arrow::array::{Array, ArrayRef, ListArray, TimestampMicrosecondArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use datafusion::common::{Result as DataFusionResult, ScalarValue, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

pub const WINDOW_START: &str = "tw_window_start";
pub const WINDOW_END: &str = "tw_window_end";
pub const HOP_STARTS: &str = "tw_hop_starts";
pub const WINDOW_PLUS: &str = "tw_window_plus";
pub const CUMULATE_ENDS: &str = "tw_cumulate_ends";
pub const CUMULATE_START: &str = "tw_cumulate_start";

/// Windows that one row may fall into.
const MAX_WINDOWS: i64 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shape {
    Start,
    End,
    HopStarts,
    Plus,
    CumulateEnds,
    CumulateStart,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Window {
    shape: Shape,
    signature: Signature,
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [Shape::Start, Shape::End, Shape::HopStarts, Shape::Plus, Shape::CumulateEnds, Shape::CumulateStart].map(function).to_vec()
}

fn function(shape: Shape) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Window { shape, signature: Signature::user_defined(Volatility::Immutable) }))
}

/// The function of one of the names above.
pub fn named(name: &str) -> Arc<ScalarUDF> {
    function(match name {
        WINDOW_START => Shape::Start,
        WINDOW_END => Shape::End,
        HOP_STARTS => Shape::HopStarts,
        CUMULATE_ENDS => Shape::CumulateEnds,
        CUMULATE_START => Shape::CumulateStart,
        _ => Shape::Plus,
    })
}

impl ScalarUDFImpl for Window {
    fn name(&self) -> &str {
        match self.shape {
            Shape::Start => WINDOW_START,
            Shape::End => WINDOW_END,
            Shape::HopStarts => HOP_STARTS,
            Shape::Plus => WINDOW_PLUS,
            Shape::CumulateEnds => CUMULATE_ENDS,
            Shape::CumulateStart => CUMULATE_START,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let (least, most) = match self.shape {
            Shape::HopStarts | Shape::CumulateEnds => (3, 4),
            Shape::Plus => (2, 2),
            Shape::Start | Shape::End | Shape::CumulateStart => (2, 3),
        };
        if arguments.len() < least || arguments.len() > most {
            return plan_err!("{} takes {least} to {most} arguments", self.name());
        }
        let time = match &arguments[0] {
            DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            DataType::Date32 => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => return plan_err!("a window needs a timestamp, not {other}"),
        };
        let interval = DataType::Interval(IntervalUnit::MonthDayNano);
        Ok(std::iter::once(time).chain(std::iter::repeat_n(interval, arguments.len() - 1)).collect())
    }

    fn return_type(&self, arguments: &[DataType]) -> DataFusionResult<DataType> {
        Ok(match self.shape {
            Shape::HopStarts | Shape::CumulateEnds => DataType::List(Arc::new(Field::new("item", arguments[0].clone(), true))),
            _ => arguments[0].clone(),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        let mut sizes = [0i64; 3];
        for (size, argument) in sizes.iter_mut().zip(&arguments.args[1..]) {
            *size = constant(argument)?;
        }
        let time = arguments.args[0].to_array(arguments.number_rows)?;
        let Some(time) = time.as_any().downcast_ref::<TimestampMicrosecondArray>() else {
            return exec_err!("{} needs a timestamp", self.name());
        };
        let column = match self.shape {
            Shape::Start => map(time, |ts| start(ts, sizes[0], sizes[1])),
            Shape::End => map(time, |ts| start(ts, sizes[0], sizes[1])?.checked_add(sizes[0])),
            Shape::Plus => map(time, |ts| ts.checked_add(sizes[0])),
            // The window's last moment: its end belongs to the next one.
            Shape::CumulateStart => map(time, |end| start(end.checked_sub(1)?, sizes[0], sizes[1])),
            Shape::HopStarts => lists(time, sizes[1] / sizes[0].max(1), |ts| hop_starts(ts, sizes[0], sizes[1], sizes[2])),
            Shape::CumulateEnds => lists(time, sizes[1] / sizes[0].max(1), |ts| cumulate_ends(ts, sizes[0], sizes[1], sizes[2])),
        };
        Ok(ColumnarValue::Array(column?))
    }
}

/// The microseconds of an interval. Errors: months, for they have no fixed length; nothing or less.
pub fn micros(interval: &ScalarValue) -> Result<i64> {
    let ScalarValue::IntervalMonthDayNano(Some(interval)) = interval else {
        return Err(Error::new(Kind::InvalidParameter, "the size of a window must be a constant interval").with_hint("for instance INTERVAL '10 seconds'"));
    };
    if interval.months != 0 {
        return Err(Error::not_supported("windows of months are not supported").with_hint("give the size in days, hours, minutes or seconds"));
    }
    let days = i64::from(interval.days).checked_mul(86_400_000_000);
    days.and_then(|days| days.checked_add(interval.nanoseconds / 1000)).ok_or_else(|| Error::new(Kind::DatetimeOverflow, "interval out of range"))
}

fn constant(argument: &ColumnarValue) -> DataFusionResult<i64> {
    let ColumnarValue::Scalar(value) = argument else { return exec_err!("the size of a window must be a constant interval") };
    micros(value).map_err(|e| DataFusionError::External(Box::new(e)))
}

/// Start of the window of `size` that holds `ts`; `None`: out of range.
fn start(ts: i64, size: i64, offset: i64) -> Option<i64> {
    let from_origin = ts.checked_sub(offset)?;
    from_origin.checked_sub(from_origin.rem_euclid(size))?.checked_add(offset)
}

pub(super) fn out_of_range() -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(Kind::DatetimeOverflow, "timestamp out of range")))
}

fn map(time: &TimestampMicrosecondArray, f: impl Fn(i64) -> Option<i64>) -> DataFusionResult<ArrayRef> {
    let mapped: TimestampMicrosecondArray = time.try_unary(|ts| f(ts).ok_or_else(out_of_range))?;
    Ok(Arc::new(mapped.with_data_type(time.data_type().clone())))
}

/// One list per time; a row falls into about `windows` of them.
fn lists<I: Iterator<Item = i64>>(time: &TimestampMicrosecondArray, windows: i64, of: impl Fn(i64) -> Option<I>) -> DataFusionResult<ArrayRef> {
    if windows > MAX_WINDOWS {
        return exec_err!("a row would fall into more than {MAX_WINDOWS} windows");
    }
    let mut values = Vec::new();
    let mut lengths = Vec::with_capacity(time.len());
    for ts in time {
        let before = values.len();
        if let Some(ts) = ts {
            values.extend(of(ts).ok_or_else(out_of_range)?);
        }
        lengths.push(values.len() - before);
    }
    let values = Arc::new(TimestampMicrosecondArray::from(values).with_data_type(time.data_type().clone()));
    let nulls: Option<NullBuffer> = time.nulls().cloned();
    let item = Arc::new(Field::new("item", time.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, nulls)?))
}

fn hop_starts(ts: i64, slide: i64, size: i64, offset: i64) -> Option<impl Iterator<Item = i64>> {
    let last = start(ts, slide, offset)?;
    // The first start behind ts - size; windows with gaps between them (slide > size) may hold no start at all.
    let first = start(ts.checked_sub(size)?, slide, offset)?.checked_add(slide)?;
    Some(steps(first, last, slide))
}

/// `size` is a multiple of `step`.
fn cumulate_ends(ts: i64, step: i64, size: i64, offset: i64) -> Option<impl Iterator<Item = i64>> {
    let first = start(ts, step, offset)?.checked_add(step)?;
    let last = start(ts, size, offset)?.checked_add(size)?;
    Some(steps(first, last, step))
}

fn steps(first: i64, last: i64, by: i64) -> impl Iterator<Item = i64> {
    std::iter::successors(Some(first), move |at| at.checked_add(by)).take_while(move |at| *at <= last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_their_start_and_not_their_end() {
        assert_eq!(start(10, 10, 0), Some(10));
        assert_eq!(start(19, 10, 0), Some(10));
        assert_eq!(start(-1, 10, 0), Some(-10));
        assert_eq!(start(12, 10, 3), Some(3));
        assert_eq!(start(i64::MIN, 10, 0), None);
    }

    #[test]
    fn a_row_falls_into_every_hopping_window_that_holds_it() {
        let time = TimestampMicrosecondArray::from(vec![Some(11), None, Some(10)]);
        let hop = |time, slide, size| lists(&time, 10, |ts| hop_starts(ts, slide, size, 0)).unwrap();
        let hopping = hop(time, 5, 10);
        let lists = hopping.as_any().downcast_ref::<ListArray>().unwrap();
        let starts = |row: usize| lists.value(row).as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap().values().to_vec();
        assert_eq!(starts(0), [5, 10]);
        assert!(lists.is_null(1));
        assert_eq!(starts(2), [5, 10]);
        // A slide that is longer than the window leaves gaps.
        let gaps = hop(TimestampMicrosecondArray::from(vec![7]), 10, 5);
        assert_eq!(gaps.as_any().downcast_ref::<ListArray>().unwrap().value(0).len(), 0);
    }
    #[test]
    fn cumulating_windows_share_their_start_and_grow() {
        let ends = |ts| cumulate_ends(ts, 5, 15, 0).unwrap().collect::<Vec<_>>();
        assert_eq!(ends(0), [5, 10, 15]);
        assert_eq!(ends(9), [10, 15]);
        assert_eq!(ends(14), [15]);
        assert_eq!(ends(-1), [0]);
        assert!(cumulate_ends(i64::MAX, 5, 15, 0).is_none());
    }
}
