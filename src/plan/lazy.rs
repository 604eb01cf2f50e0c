//! AND and OR that do not look at their right side where the left one decides: `y <> 0 AND x / y > 2` fails on no row.
//!
//! DataFusion evaluates both sides unless the left one leaves few rows. Views get these conditions when their expressions are bound; SELECTs through
//! [`LazyConditions`], for the filters of their physical plan. Where the right side cannot fail DataFusion's form stays, for it is faster.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::compute::{and_kleene, not, or_kleene};
use arrow::datatypes::{DataType, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, Operator};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::expressions::{BinaryExpr, CastExpr};
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// Makes the filters of a physical plan lazy.
#[derive(Debug, Default)]
pub struct LazyConditions;

impl PhysicalOptimizerRule for LazyConditions {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let rewritten = plan.transform_up(|node| {
            let Some(filter) = node.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(node)) };
            let predicate = lazy(Arc::clone(filter.predicate()))?;
            if !predicate.transformed {
                return Ok(Transformed::no(node));
            }
            Ok(Transformed::yes(Arc::new(FilterExecBuilder::from(filter).with_predicate(predicate.data).build()?) as Arc<dyn ExecutionPlan>))
        })?;
        Ok(rewritten.data)
    }

    fn name(&self) -> &str {
        "lazy_conditions"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The expression with lazy conditions throughout.
pub(crate) fn lazy(expr: Arc<dyn PhysicalExpr>) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    expr.transform_up(|e| {
        let Some(binary) = e.downcast_ref::<BinaryExpr>() else { return Ok(Transformed::no(e)) };
        let stops_at = match binary.op() {
            Operator::And => false,
            Operator::Or => true,
            _ => return Ok(Transformed::no(e)),
        };
        if !may_fail(binary.right())? {
            return Ok(Transformed::no(e));
        }
        let condition = Lazy { stops_at, left: Arc::clone(binary.left()), right: Arc::clone(binary.right()) };
        Ok(Transformed::yes(Arc::new(condition) as Arc<dyn PhysicalExpr>))
    })
}

/// Functions and casts may; comparisons of columns and constants do not.
fn may_fail(expr: &Arc<dyn PhysicalExpr>) -> Result<bool> {
    expr.exists(|e| Ok(e.downcast_ref::<ScalarFunctionExpr>().is_some() || e.downcast_ref::<CastExpr>().is_some()))
}

/// `left AND right` (stops at false) or `left OR right` (stops at true).
#[derive(Debug, Eq)]
struct Lazy {
    stops_at: bool,
    left: Arc<dyn PhysicalExpr>,
    right: Arc<dyn PhysicalExpr>,
}

impl PartialEq for Lazy {
    fn eq(&self, other: &Self) -> bool {
        self.stops_at == other.stops_at && self.left.eq(&other.left) && self.right.eq(&other.right)
    }
}

impl Hash for Lazy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.stops_at.hash(state);
        self.left.hash(state);
        self.right.hash(state);
    }
}

impl fmt::Display for Lazy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} {} {})", self.left, if self.stops_at { "OR" } else { "AND" }, self.right)
    }
}

impl PhysicalExpr for Lazy {
    fn data_type(&self, _input: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, input: &Schema) -> Result<bool> {
        Ok(self.left.nullable(input)? || self.right.nullable(input)?)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let left = self.left.evaluate(batch)?.into_array(batch.num_rows())?;
        let left = left.as_boolean();
        let open = undecided(left, self.stops_at)?;
        if open.true_count() == 0 {
            return Ok(ColumnarValue::Array(Arc::new(left.clone())));
        }
        let right = if open.true_count() == batch.num_rows() { self.right.evaluate(batch)? } else { self.right.evaluate_selection(batch, &open)? };
        let right = right.into_array(batch.num_rows())?;
        let result = if self.stops_at { or_kleene(left, right.as_boolean()) } else { and_kleene(left, right.as_boolean()) };
        Ok(ColumnarValue::Array(Arc::new(result?) as ArrayRef))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.left, &self.right]
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        Ok(Arc::new(Lazy { stops_at: self.stops_at, left: Arc::clone(&children[0]), right: Arc::clone(&children[1]) }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The rows on which the left side is NULL or not the value at which the condition stops.
fn undecided(left: &BooleanArray, stops_at: bool) -> Result<BooleanArray> {
    let values = BooleanArray::new(left.values().clone(), None);
    let goes_on = if stops_at { not(&values)? } else { values };
    match left.nulls() {
        Some(nulls) if nulls.null_count() > 0 => Ok(arrow::compute::or(&goes_on, &BooleanArray::new(!nulls.inner(), None))?),
        _ => Ok(goes_on),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::arithmetic::checked_expr;
    use arrow::array::Int64Array;
    use arrow::datatypes::Field;
    use datafusion::common::DFSchema;
    use datafusion::prelude::{col, lit};

    fn evaluate(expr: datafusion::logical_expr::Expr, columns: [Vec<Option<i64>>; 2]) -> Result<Vec<Option<bool>>, String> {
        let schema = Arc::new(Schema::new(["x", "y"].map(|n| Field::new(n, DataType::Int64, true)).to_vec()));
        let batch = RecordBatch::try_new(schema.clone(), columns.map(|c| Arc::new(Int64Array::from(c)) as ArrayRef).to_vec()).unwrap();
        let schema = DFSchema::try_from(schema).unwrap();
        let bound = crate::plan::expr::bind(&checked_expr(expr, &schema).unwrap().data, &schema).map_err(|e| e.to_string())?;
        let column = bound.eval(&batch).map_err(|e| format!("{}: {e}", e.sqlstate()))?;
        Ok(column.as_boolean().iter().collect())
    }

    fn columns() -> [Vec<Option<i64>>; 2] {
        [vec![Some(6), Some(1), Some(5), None, Some(7)], vec![Some(2), Some(0), None, Some(1), Some(1)]]
    }

    #[test]
    fn the_right_side_is_evaluated_only_where_it_matters() {
        let quotient = || (col("x") / col("y")).gt(lit(2i64));
        assert_eq!(evaluate(col("y").not_eq(lit(0i64)).and(quotient()), columns()).unwrap(), [Some(true), Some(false), None, None, Some(true)]);
        assert_eq!(evaluate(col("y").eq(lit(0i64)).or(quotient()), columns()).unwrap(), [Some(true), Some(true), None, None, Some(true)]);
        assert_eq!(evaluate(quotient(), columns()).unwrap_err(), "22012: division by zero");
    }

    #[test]
    fn arithmetic_does_not_wrap() {
        let big = [vec![Some(i64::MAX)], vec![Some(1)]];
        assert_eq!(evaluate((col("x") + col("y")).gt(lit(0i64)), big.clone()).unwrap_err(), "22003: bigint out of range");
        assert_eq!(evaluate((col("x") - col("y")).gt(lit(0i64)), big).unwrap(), [Some(true)]);
    }
}
