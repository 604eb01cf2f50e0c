//! Windows of event time, as scalar functions that TUMBLE and HOP in FROM become:
//!
//! | function | value |
//! | --- | --- |
//! | `tw_window_start(ts, size[, offset])` | start of the tumbling window that holds `ts` |
//! | `tw_window_end(ts, size[, offset])` | its end |
//! | `tw_hop_starts(ts, slide, size[, offset])` | starts of all hopping windows that hold `ts`, ascending |
//! | `tw_window_plus(start, size)` | the end of a hopping window |
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

/// Windows that one row may fall into.
const MAX_WINDOWS: i64 = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Shape {
    Start,
    End,
    HopStarts,
    Plus,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Window {
    shape: Shape,
    signature: Signature,
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [Shape::Start, Shape::End, Shape::HopStarts, Shape::Plus].map(function).to_vec()
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
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> DataFusionResult<Vec<DataType>> {
        let (least, most) = match self.shape {
            Shape::HopStarts => (3, 4),
            Shape::Plus => (2, 2),
            Shape::Start | Shape::End => (2, 3),
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
            Shape::HopStarts => DataType::List(Arc::new(Field::new("item", arguments[0].clone(), true))),
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
            Shape::HopStarts => hop_starts(time, sizes[0], sizes[1], sizes[2]),
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

fn out_of_range() -> DataFusionError {
    DataFusionError::External(Box::new(Error::new(Kind::DatetimeOverflow, "timestamp out of range")))
}

fn map(time: &TimestampMicrosecondArray, f: impl Fn(i64) -> Option<i64>) -> DataFusionResult<ArrayRef> {
    let mapped: TimestampMicrosecondArray = time.try_unary(|ts| f(ts).ok_or_else(out_of_range))?;
    Ok(Arc::new(mapped.with_data_type(time.data_type().clone())))
}

fn hop_starts(time: &TimestampMicrosecondArray, slide: i64, size: i64, offset: i64) -> DataFusionResult<ArrayRef> {
    if size / slide > MAX_WINDOWS {
        return exec_err!("a row would fall into more than {MAX_WINDOWS} windows");
    }
    let mut starts = Vec::new();
    let mut lengths = Vec::with_capacity(time.len());
    for ts in time {
        let before = starts.len();
        if let Some(ts) = ts {
            let last = start(ts, slide, offset).ok_or_else(out_of_range)?;
            // The first start behind ts - size; windows with gaps between them (slide > size) may hold no start at all.
            let mut at = start(ts.checked_sub(size).ok_or_else(out_of_range)?, slide, offset).and_then(|s| s.checked_add(slide)).ok_or_else(out_of_range)?;
            while at <= last {
                starts.push(at);
                at += slide;
            }
        }
        lengths.push(starts.len() - before);
    }
    let values = Arc::new(TimestampMicrosecondArray::from(starts).with_data_type(time.data_type().clone()));
    let nulls: Option<NullBuffer> = time.nulls().cloned();
    let item = Arc::new(Field::new("item", time.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(item, OffsetBuffer::from_lengths(lengths), values, nulls)?))
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
        let lists = hop_starts(&time, 5, 10, 0).unwrap();
        let lists = lists.as_any().downcast_ref::<ListArray>().unwrap();
        let starts = |row: usize| lists.value(row).as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap().values().to_vec();
        assert_eq!(starts(0), [5, 10]);
        assert!(lists.is_null(1));
        assert_eq!(starts(2), [5, 10]);
        // A slide that is longer than the window leaves gaps.
        let lists = hop_starts(&TimestampMicrosecondArray::from(vec![7]), 10, 5, 0).unwrap();
        assert_eq!(lists.as_any().downcast_ref::<ListArray>().unwrap().value(0).len(), 0);
    }
}
