//! One window function in a query, over ordinals of the input.

use super::axis::Axis;
use super::frame::{Bound, Distance, Frame, Units};
use super::reach::{Amount, Reach};
use crate::dataflow::agg::function::AggregateCall;
use arrow::datatypes::{DataType, SchemaRef};

/// See the module.
#[derive(Clone, Debug)]
pub struct WindowCall {
    pub function: WindowFunction,
    /// Looked at by `First`, `Last`, `Nth` and aggregates.
    pub frame: Frame,
    pub ignore_nulls: bool,
    /// Type of the result.
    pub output: DataType,
}

/// The functions by what they need.
#[derive(Clone, Debug)]
pub enum WindowFunction {
    RowNumber,
    Rank,
    DenseRank,
    PercentRank,
    CumeDist,
    /// Into how many parts.
    Ntile(u64),
    /// `lag` (back) or `lead` (ahead, a negative number): the value of `argument` so many rows back, or that of `default` in the own row.
    Shift {
        argument: usize,
        back: i64,
        default: Option<usize>,
    },
    First(usize),
    Last(usize),
    /// Argument, and which of the frame's rows, from 1.
    Nth(usize, u64),
    Aggregate(AggregateCall),
}

impl WindowCall {
    pub fn uses_frame(&self) -> bool {
        matches!(self.function, WindowFunction::First(_) | WindowFunction::Last(_) | WindowFunction::Nth(..) | WindowFunction::Aggregate(_))
    }

    pub(super) fn reach(&self, axis: Option<&Axis>) -> Reach {
        let none = Amount::default();
        match &self.function {
            WindowFunction::RowNumber | WindowFunction::Rank | WindowFunction::DenseRank => Reach { back: Amount::ALL, ahead: none },
            WindowFunction::PercentRank | WindowFunction::CumeDist | WindowFunction::Ntile(_) => Reach { back: Amount::ALL, ahead: Amount::ALL },
            WindowFunction::Shift { back, .. } => {
                let amount = if self.ignore_nulls { Amount::ALL } else { Amount::rows(back.unsigned_abs()) };
                if *back < 0 { Reach { back: none, ahead: amount } } else { Reach { back: amount, ahead: none } }
            }
            _ => self.frame.reach(axis),
        }
    }

    /// As SQL, for EXPLAIN.
    pub fn text(&self, input: &SchemaRef) -> String {
        let name = |column: &usize| input.field(*column).name().clone();
        let names = |columns: &[usize]| if columns.is_empty() { "*".to_string() } else { columns.iter().map(name).collect::<Vec<_>>().join(", ") };
        let call = match &self.function {
            WindowFunction::RowNumber => "row_number()".to_string(),
            WindowFunction::Rank => "rank()".to_string(),
            WindowFunction::DenseRank => "dense_rank()".to_string(),
            WindowFunction::PercentRank => "percent_rank()".to_string(),
            WindowFunction::CumeDist => "cume_dist()".to_string(),
            WindowFunction::Ntile(n) => format!("ntile({n})"),
            WindowFunction::Shift { argument, back, default } => {
                let default = default.map(|d| format!(", {}", name(&d))).unwrap_or_default();
                format!("{}({}, {}{default})", if *back < 0 { "lead" } else { "lag" }, name(argument), back.unsigned_abs())
            }
            WindowFunction::First(argument) => format!("first_value({})", name(argument)),
            WindowFunction::Last(argument) => format!("last_value({})", name(argument)),
            WindowFunction::Nth(argument, n) => format!("nth_value({}, {n})", name(argument)),
            WindowFunction::Aggregate(call) => {
                let filter = call.filter.map(|f| format!(" FILTER (WHERE {})", name(&f))).unwrap_or_default();
                format!("{}({}){filter}", call.function.name(), names(&call.args))
            }
        };
        let nulls = if self.ignore_nulls { " IGNORE NULLS" } else { "" };
        let frame = if self.uses_frame() { format!(" {}", self.frame.text()) } else { String::new() };
        format!("{call}{nulls}{frame}")
    }
}

impl Frame {
    fn reach(&self, axis: Option<&Axis>) -> Reach {
        let mut reach = Reach::default();
        for (bound, is_start) in [(self.start, true), (self.end, false)] {
            let own = if self.units == Units::Rows { Amount::default() } else { Amount::groups(0) };
            let (back, ahead) = match bound {
                Bound::Unbounded if is_start => (Amount::ALL, own),
                Bound::Unbounded => (own, Amount::ALL),
                Bound::CurrentRow => (own, own),
                Bound::Preceding(far) => (self.amount(far, axis), own),
                Bound::Following(far) => (own, self.amount(far, axis)),
            };
            reach = reach.or(Reach { back, ahead });
        }
        reach
    }

    fn amount(&self, far: Distance, axis: Option<&Axis>) -> Amount {
        match (self.units, far) {
            (Units::Rows, Distance::Count(n)) => Amount::rows(n),
            (Units::Groups, Distance::Count(n)) => Amount::groups(n),
            _ => Amount::range(axis.and_then(|axis| axis.span(far))),
        }
    }

    fn text(&self) -> String {
        let units = match self.units {
            Units::Rows => "ROWS",
            Units::Range => "RANGE",
            Units::Groups => "GROUPS",
        };
        let far = |far: &Distance| match far {
            Distance::Count(n) => n.to_string(),
            Distance::Number(n) => n.to_string(),
            Distance::Real(x) => x.to_string(),
            Distance::Interval { months: 0, micros } => format!("{} s", *micros as f64 / 1e6),
            Distance::Interval { months, micros: 0 } => format!("{months} months"),
            Distance::Interval { months, micros } => format!("{months} months {} s", *micros as f64 / 1e6),
        };
        let bound = |bound: &Bound, unbounded: &str| match bound {
            Bound::Unbounded => unbounded.to_string(),
            Bound::CurrentRow => "CURRENT ROW".to_string(),
            Bound::Preceding(d) => format!("{} PRECEDING", far(d)),
            Bound::Following(d) => format!("{} FOLLOWING", far(d)),
        };
        format!("{units} BETWEEN {} AND {}", bound(&self.start, "UNBOUNDED PRECEDING"), bound(&self.end, "UNBOUNDED FOLLOWING"))
    }
}
