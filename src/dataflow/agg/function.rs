//! The aggregate functions by name, the types they take, and the accumulator each of them gets.

use super::accumulator::Accumulator;
use super::bits::{Bits, Operation};
use super::bools::{Bools, Connective};
use super::count::Count;
use super::extreme::{End, growing, retracting};
use super::float_sum::FloatSum;
use super::ordered::{Collected, Ordered};
use super::picked::{Pick, Picked};
use super::regression::{Pairs, Regression};
use super::sum::{Outcome, sum_of};
use super::variance::{FloatSpread, IntegerSpread, Spread};
use crate::error::{Error, Result};
use crate::types::key::Order;
use arrow::datatypes::{DataType, SchemaRef};
use std::sync::Arc;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// Of all rows (no argument), or of rows where no argument is NULL.
    Count,
    Sum,
    Avg,
    Min,
    Max,
    VarPop,
    VarSamp,
    StddevPop,
    StddevSamp,
    /// Of pairs of values.
    Regression(Pairs),
    BoolAnd,
    BoolOr,
    StringAgg,
    ArrayAgg,
    BitAnd,
    BitOr,
    BitXor,
    FirstValue,
    LastValue,
    Mode,
    /// The fraction as the bits of a double.
    PercentileDisc(u64),
    PercentileCont(u64),
}

/// One aggregate in a query: `function(args) FILTER (WHERE filter)`, over ordinals of the input.
#[derive(Clone, Debug)]
pub struct AggregateCall {
    pub function: Function,
    pub args: Vec<usize>,
    pub distinct: bool,
    /// A boolean column: only rows where it is true count.
    pub filter: Option<usize>,
    /// Those that collect or pick values look at it.
    pub order_by: Vec<(usize, Order)>,
    /// Type of the result.
    pub output: DataType,
}

impl Function {
    /// Which values of the ordered group it gives.
    fn pick(self) -> Option<Pick> {
        match self {
            Function::FirstValue => Some(Pick::First),
            Function::LastValue => Some(Pick::Last),
            Function::Mode => Some(Pick::Mode),
            Function::PercentileDisc(fraction) => Some(Pick::Discrete(f64::from_bits(fraction))),
            Function::PercentileCont(fraction) => Some(Pick::Continuous(f64::from_bits(fraction))),
            _ => None,
        }
    }

    /// As SQL names it.
    pub fn name(self) -> &'static str {
        match self {
            Function::Count => "count",
            Function::Sum => "sum",
            Function::Avg => "avg",
            Function::Min => "min",
            Function::Max => "max",
            Function::VarPop => "var_pop",
            Function::VarSamp => "var_samp",
            Function::StddevPop => "stddev_pop",
            Function::StddevSamp => "stddev_samp",
            Function::Regression(pairs) => pairs.name(),
            Function::BoolAnd => "bool_and",
            Function::BoolOr => "bool_or",
            Function::StringAgg => "string_agg",
            Function::ArrayAgg => "array_agg",
            Function::BitAnd => "bit_and",
            Function::BitOr => "bit_or",
            Function::BitXor => "bit_xor",
            Function::FirstValue => "first_value",
            Function::LastValue => "last_value",
            Function::Mode => "mode",
            Function::PercentileDisc(_) => "percentile_disc",
            Function::PercentileCont(_) => "percentile_cont",
        }
    }
}

impl AggregateCall {
    /// Whether equal values must be told apart from new ones: DISTINCT that makes a difference.
    pub fn needs_distinct(&self) -> bool {
        self.distinct && !matches!(self.function, Function::Min | Function::Max | Function::BoolAnd | Function::BoolOr)
    }

    /// Whether the function keeps all values of a group in a multiset.
    pub fn needs_multiset(&self, append_only: bool) -> bool {
        match self.function {
            Function::Min | Function::Max => !append_only,
            Function::StringAgg | Function::ArrayAgg => true,
            other => other.pick().is_some(),
        }
    }

    /// The accumulator over rows of `input`. Error: the function does not take these types.
    pub fn accumulator(&self, input: &SchemaRef, append_only: bool) -> Result<Box<dyn Accumulator>> {
        let types = self.args.iter().map(|a| input.field(*a).data_type().clone()).collect::<Vec<_>>();
        let Some(first) = types.first() else {
            return if self.function == Function::Count { Ok(Box::new(Count::default())) } else { Err(self.refuse(&types)) };
        };
        let floating = matches!(first, DataType::Float32 | DataType::Float64) && matches!(self.output, DataType::Float32 | DataType::Float64);
        let spread = |spread: Spread| -> Result<Box<dyn Accumulator>> {
            Ok(match first {
                DataType::Int16 | DataType::Int32 | DataType::Int64 => Box::new(IntegerSpread::new(spread, self.output.clone())),
                DataType::Float32 | DataType::Float64 | DataType::Decimal128(..) | DataType::Decimal256(..) => {
                    Box::new(FloatSpread::new(spread, self.output.clone()))
                }
                _ => return Err(self.refuse(&types)),
            })
        };
        let sum = |outcome: Outcome| -> Result<Box<dyn Accumulator>> {
            if floating {
                return Ok(Box::new(FloatSum::new(outcome, self.output.clone())));
            }
            sum_of(outcome, first, &self.output).ok_or_else(|| self.refuse(&types))
        };
        match self.function {
            Function::Count => Ok(Box::new(Count::default())),
            Function::Sum => sum(Outcome::Sum),
            Function::Avg => sum(Outcome::Average),
            Function::Min | Function::Max => {
                let end = if self.function == Function::Min { End::Min } else { End::Max };
                if append_only { growing(end, first) } else { retracting(end, first) }
            }
            Function::VarPop => spread(Spread::VariancePopulation),
            Function::VarSamp => spread(Spread::VarianceSample),
            Function::StddevPop => spread(Spread::DeviationPopulation),
            Function::StddevSamp => spread(Spread::DeviationSample),
            Function::Regression(_) if types.len() != 2 || !types.iter().all(|t| matches!(t, DataType::Float32 | DataType::Float64)) => {
                Err(self.refuse(&types))
            }
            Function::Regression(pairs) => Ok(Box::new(Regression::new(pairs, self.output.clone()))),
            Function::BoolAnd | Function::BoolOr if *first != DataType::Boolean => Err(self.refuse(&types)),
            Function::BoolAnd => Ok(Box::new(Bools::new(Connective::And))),
            Function::BoolOr => Ok(Box::new(Bools::new(Connective::Or))),
            Function::BitAnd | Function::BitOr | Function::BitXor if !first.is_signed_integer() => Err(self.refuse(&types)),
            Function::BitAnd => Ok(Box::new(Bits::new(Operation::And, self.output.clone()))),
            Function::BitOr => Ok(Box::new(Bits::new(Operation::Or, self.output.clone()))),
            Function::BitXor => Ok(Box::new(Bits::new(Operation::Xor, self.output.clone()))),
            Function::StringAgg | Function::ArrayAgg => self.ordered(input, &types),
            _ => self.picked(input, &types),
        }
    }

    fn ordered(&self, input: &SchemaRef, types: &[DataType]) -> Result<Box<dyn Accumulator>> {
        let collected = match (&self.output, self.function) {
            (DataType::List(element), Function::ArrayAgg) => Collected::List(Arc::clone(element)),
            (DataType::Utf8, Function::StringAgg) if types.iter().all(|t| *t == DataType::Utf8) => Collected::Text,
            _ => return Err(self.refuse(types)),
        };
        let order = self.order_by.iter().map(|(c, order)| (input.field(*c).data_type().clone(), *order)).collect::<Vec<_>>();
        Ok(Box::new(Ordered::new(collected, types, &order)?))
    }

    fn picked(&self, input: &SchemaRef, types: &[DataType]) -> Result<Box<dyn Accumulator>> {
        let ([argument], Some(pick)) = (types, self.function.pick()) else { return Err(self.refuse(types)) };
        let gives = if matches!(pick, Pick::Continuous(_)) { argument.is_numeric() } else { *argument == self.output };
        if !gives {
            return Err(self.refuse(types));
        }
        let order = self.order_by.iter().map(|(c, order)| (input.field(*c).data_type().clone(), *order)).collect::<Vec<_>>();
        Ok(Box::new(Picked::new(pick, argument, &order, self.output.clone())?))
    }

    fn refuse(&self, types: &[DataType]) -> Error {
        let types = types.iter().map(|t| t.to_string()).collect::<Vec<_>>().join(", ");
        Error::not_supported(format!("{}({types}) returning {} cannot be maintained incrementally", self.function.name(), self.output))
            .with_hint("cast the argument to bigint, numeric or double precision")
    }
}
