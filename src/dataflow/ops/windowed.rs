//! What operators with windowed state share: which key column carries the window, which rows come too late for it, and up to which
//! value of that column a watermark closes it.

use crate::dataflow::operator::{LateRows, Output};
use crate::error::{Error, Result};
use crate::types::delta::Delta;
use crate::types::ids::{CLOCK, ObjectId};
use crate::types::time::{Step, WATERMARK_END, WATERMARK_NONE, Watermarks};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use arrow::datatypes::TimestampMicrosecondType;

/// How a column tells the window that a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowColumn {
    /// It is the window's start; the window ends `size_micros` later.
    Start { size_micros: i64 },
    /// It is the window's end (or an event time: then each instant is a window of its own).
    End,
}

/// A window column and the sources whose watermarks close its windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowBound {
    pub column: WindowColumn,
    pub sources: Vec<ObjectId>,
}

/// The column of a group or partition key that carries the window: `position` counts in the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowGroup {
    pub position: usize,
    pub bound: WindowBound,
}

/// The deltas without rows that are late for their window; `key` are the ordinals of the key's columns.
pub(crate) fn in_time(window: Option<&WindowGroup>, key: &[usize], deltas: &mut Vec<Delta>, step: &Step, out: &mut Output) -> Result<Vec<Delta>> {
    let Some(window) = window else { return Ok(std::mem::take(deltas)) };
    let split = deltas.drain(..).map(|delta| window.bound.split_late(delta, key[window.position], &step.before, out));
    Ok(split.collect::<Result<Vec<_>>>()?.into_iter().filter(|delta| !delta.is_empty()).collect())
}

impl WindowBound {
    /// Whether windows close by the clock alone, so also without input.
    pub(crate) fn is_by_clock(&self) -> bool {
        self.sources == [CLOCK]
    }

    /// The clock that closes the window that `first` names, of those that close by it.
    pub(crate) fn due(&self, first: Option<i64>) -> Option<i64> {
        first.filter(|_| self.is_by_clock()).map(|value| self.end(value).saturating_add(1))
    }

    /// The end of the window that `value` names.
    pub(crate) fn end(&self, value: i64) -> i64 {
        match self.column {
            WindowColumn::Start { size_micros } => value.saturating_add(size_micros),
            WindowColumn::End => value,
        }
    }

    /// Values of the column up to this one name closed windows; `None`: no window is closed.
    pub(crate) fn closed_upto(&self, watermarks: &Watermarks) -> Option<i64> {
        match (watermarks.of(&self.sources), self.column) {
            (WATERMARK_NONE, _) => None,
            (WATERMARK_END, _) => Some(i64::MAX),
            (watermark, WindowColumn::Start { size_micros }) => Some(watermark.saturating_sub(size_micros)),
            (watermark, WindowColumn::End) => Some(watermark),
        }
    }

    /// The rows of `delta` whose window (`column` is its ordinal) was open; late ones go to `out.late`. A NULL window is always open.
    pub(crate) fn split_late(&self, delta: Delta, column: usize, before: &Watermarks, out: &mut Output) -> Result<Delta> {
        let Some(upto) = self.closed_upto(before) else { return Ok(delta) };
        let values = timestamps(delta.column(column))?.clone();
        let late = |i: usize| values.is_valid(i) && values.value(i) <= upto;
        if !(0..values.len()).any(late) {
            return Ok(delta);
        }
        let is_late = (0..values.len()).map(late).collect::<Vec<_>>();
        let window_end = (0..values.len()).filter(|i| is_late[*i]).map(|i| self.end(values.value(i))).collect();
        let late = BooleanArray::from(is_late);
        out.late.push(LateRows { rows: delta.filter(&late)?, window_end });
        delta.filter(&arrow::compute::not(&late)?)
    }
}

pub(crate) fn timestamps(column: &ArrayRef) -> Result<&PrimitiveArray<TimestampMicrosecondType>> {
    column.as_primitive_opt().ok_or_else(|| Error::internal(format!("a window column is a timestamp, not {}", column.data_type())))
}
