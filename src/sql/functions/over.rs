//! Window functions with Postgres' types. DataFusion's own do the work; only the types of what goes in and comes out differ:
//!
//! | function | DataFusion | here |
//! | --- | --- | --- |
//! | `row_number`, `rank`, `dense_rank` | unsigned | bigint, so that a difference of two may be negative |
//! | `ntile` | unsigned | integer |
//! | `lag(x, n, y)`, `lead(x, n, y)` | y becomes what x is | both become what they have in common: `lag(1, 1, 2.5)` is numeric |

use super::table::external;
use crate::error::{Error, Kind};
use crate::sql::types::sql_type;
use arrow::array::ArrayRef;
use arrow::compute::{SortOptions, cast};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_window::lead_lag::{lag_udwf, lead_udwf};
use datafusion::functions_window::ntile::ntile_udwf;
use datafusion::functions_window::rank::{dense_rank_udwf, rank_udwf};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::binary::type_union_resolution;
use datafusion::logical_expr::function::{ExpressionArgs, PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::window_state::WindowAggState;
use datafusion::logical_expr::{LimitEffect, PartitionEvaluator, ReversedUDWF, Signature, Volatility, WindowUDF, WindowUDFImpl};
use datafusion::physical_expr::PhysicalExpr;
use std::ops::Range;
use std::sync::Arc;

/// One function behind other types.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Typed {
    inner: Arc<WindowUDF>,
    /// What the result becomes; `None`: what the arguments make it.
    output: Option<DataType>,
    signature: Signature,
}

pub(super) fn functions() -> Vec<Arc<WindowUDF>> {
    let wrap = |inner: Arc<WindowUDF>, output, signature| Arc::new(WindowUDF::new_from_impl(Typed { inner, output, signature }));
    let numbers = |inner: Arc<WindowUDF>, output| {
        let signature = inner.signature().clone();
        wrap(inner, Some(output), signature)
    };
    let shifts = |inner: Arc<WindowUDF>| wrap(inner, None, Signature::user_defined(Volatility::Immutable));
    vec![
        numbers(row_number_udwf(), DataType::Int64),
        numbers(rank_udwf(), DataType::Int64),
        numbers(dense_rank_udwf(), DataType::Int64),
        numbers(ntile_udwf(), DataType::Int32),
        shifts(lag_udwf()),
        shifts(lead_udwf()),
    ]
}

impl WindowUDFImpl for Typed {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn expressions(&self, arguments: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(arguments)
    }

    fn partition_evaluator(&self, arguments: PartitionEvaluatorArgs) -> Result<Box<dyn PartitionEvaluator>> {
        let inner = self.inner.partition_evaluator_factory(arguments)?;
        Ok(match &self.output {
            None => inner,
            Some(output) => Box::new(Converted { inner, output: output.clone() }),
        })
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> Result<FieldRef> {
        let field = self.inner.field(arguments)?;
        Ok(match &self.output {
            None => field,
            Some(output) => Arc::new(field.as_ref().clone().with_data_type(output.clone())),
        })
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.sort_options()
    }

    /// Of `lag` and `lead`.
    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let undefined = || {
            let names = arguments.iter().map(|t| sql_type(&Field::new("", t.clone(), true))).collect::<Vec<_>>().join(", ");
            external(Error::new(Kind::UndefinedFunction, format!("function {}({names}) does not exist", self.name())))
        };
        let is_count = |t: &DataType| t.is_integer() || t.is_null();
        let is_text = |t: &DataType| matches!(t, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
        match arguments {
            [_] => Ok(arguments.to_vec()),
            [_, count] if is_count(count) => Ok(arguments.to_vec()),
            [value, count, default] if is_count(count) => {
                let both = match (value, default) {
                    (value, default) if value == default || default.is_null() => value.clone(),
                    (value, default) if value.is_null() => default.clone(),
                    // A quoted literal takes the type of what it stands beside.
                    (value, default) if is_text(default) && !is_text(value) => value.clone(),
                    (value, default) if value.is_numeric() == default.is_numeric() => {
                        type_union_resolution(&[value.clone(), default.clone()]).ok_or_else(undefined)?
                    }
                    _ => return Err(undefined()),
                };
                Ok(vec![both.clone(), count.clone(), both])
            }
            _ => Err(undefined()),
        }
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.output {
            // What the reversed function gives would have the old type.
            Some(_) => ReversedUDWF::NotSupported,
            None => self.inner.reverse_expr(),
        }
    }

    fn limit_effect(&self, arguments: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.inner.inner().limit_effect(arguments)
    }
}

/// An evaluator whose results are cast.
#[derive(Debug)]
struct Converted {
    inner: Box<dyn PartitionEvaluator>,
    output: DataType,
}

impl PartitionEvaluator for Converted {
    fn memoize(&mut self, state: &mut WindowAggState) -> Result<()> {
        self.inner.memoize(state)
    }

    fn get_range(&self, row: usize, rows: usize) -> Result<Range<usize>> {
        self.inner.get_range(row, rows)
    }

    fn is_causal(&self) -> bool {
        self.inner.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all(values, rows)?, &self.output)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        self.inner.evaluate(values, range)?.cast_to(&self.output)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all_with_rank(rows, ranks)?, &self.output)?)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.inner.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}
