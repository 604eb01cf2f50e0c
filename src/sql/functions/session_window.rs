//! Sessions, as the window functions that SESSION in FROM becomes:
//!
//! | function | value |
//! | --- | --- |
//! | `tw_session_start(ts, gap) OVER (PARTITION BY … ORDER BY ts)` | first time of the session that the row belongs to |
//! | `tw_session_end(ts, gap) OVER (PARTITION BY … ORDER BY ts)` | `gap` behind its last time |
//!
//! Rows of a partition belong to one session while less than `gap` passes between one and the next. A NULL `ts` gives NULL. Batch execution
//! runs them as they are; the planner knows them by name.

use super::window::{micros, out_of_range};
use arrow::array::{Array, ArrayRef, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::{Result, ScalarValue, exec_err, plan_err};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl};
use std::sync::Arc;

pub const SESSION_START: &str = "tw_session_start";
pub const SESSION_END: &str = "tw_session_end";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Edge {
    Start,
    End,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Session {
    edge: Edge,
    signature: Signature,
}

/// The two functions: of the start, and of the end.
pub fn functions() -> [Arc<WindowUDF>; 2] {
    [Edge::Start, Edge::End].map(|edge| Arc::new(WindowUDF::new_from_impl(Session { edge, signature: Signature::user_defined(Volatility::Immutable) })))
}

impl WindowUDFImpl for Session {
    fn name(&self) -> &str {
        match self.edge {
            Edge::Start => SESSION_START,
            Edge::End => SESSION_END,
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _arguments: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        Ok(Box::new(Evaluator(self.edge)))
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> Result<FieldRef> {
        let Some(time) = arguments.input_fields().first() else { return plan_err!("{} takes a time and a gap", self.name()) };
        Ok(Arc::new(Field::new(arguments.name(), time.data_type().clone(), true)))
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let time = match arguments {
            [DataType::Timestamp(_, zone), _] => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
            [DataType::Date32, _] => DataType::Timestamp(TimeUnit::Microsecond, None),
            [other, _] => return plan_err!("a window needs a timestamp, not {other}"),
            _ => return plan_err!("{} takes a time and a gap", self.name()),
        };
        Ok(vec![time, DataType::Interval(IntervalUnit::MonthDayNano)])
    }
}

/// Sees a whole partition, in the order of its times.
#[derive(Debug)]
struct Evaluator(Edge);

impl PartitionEvaluator for Evaluator {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let [times, gap] = values else { return exec_err!("a session takes a time and a gap") };
        let Some(times) = times.as_any().downcast_ref::<TimestampMicrosecondArray>() else { return exec_err!("a session needs a timestamp") };
        if rows == 0 {
            return Ok(arrow::array::new_empty_array(times.data_type()));
        }
        let gap = micros(&ScalarValue::try_from_array(gap, 0)?).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let mut edges: Vec<Option<i64>> = vec![None; rows];
        let timed = (0..rows).filter(|i| times.is_valid(*i)).collect::<Vec<_>>();
        for session in timed.chunk_by(|a, b| times.value(*b).saturating_sub(times.value(*a)) < gap) {
            let (first, last) = (times.value(session[0]), times.value(session[session.len() - 1]));
            let end = last.checked_add(gap).ok_or_else(out_of_range)?;
            session.iter().for_each(|i| edges[*i] = Some(if self.0 == Edge::Start { first } else { end }));
        }
        Ok(Arc::new(TimestampMicrosecondArray::from(edges).with_data_type(times.data_type().clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::IntervalMonthDayNanoArray;
    use arrow::datatypes::IntervalMonthDayNano;

    #[test]
    fn a_gap_ends_a_session_and_a_row_just_within_it_goes_on() {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(0), Some(4), Some(9), Some(10), None]));
        let gap: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(0, 0, 5000); 5]));
        let edges = |edge| Evaluator(edge).evaluate_all(&[times.clone(), gap.clone()], 5).unwrap();
        let list = |column: ArrayRef| column.as_any().downcast_ref::<TimestampMicrosecondArray>().unwrap().iter().collect::<Vec<_>>();
        assert_eq!(list(edges(Edge::Start)), [Some(0), Some(0), Some(9), Some(9), None]);
        assert_eq!(list(edges(Edge::End)), [Some(9), Some(9), Some(15), Some(15), None]);
    }
}
