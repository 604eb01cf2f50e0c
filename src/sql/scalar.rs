//! A stored expression (generated column, watermark) made ready to run over batches: bound as any SQL, then as a
//! physical expression behind `types::expr::Expr`.

use super::bind::{Binder, Inside, Named, Names};
use super::parse;
use crate::error::{Error, Result};
use crate::types::expr::{Expr, ExprRef};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, IntervalMonthDayNano, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::logical_expr::{self, ExprSchemable};
use datafusion::optimizer::Optimizer;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::expressions::Column;
use std::fmt;
use std::sync::{Arc, LazyLock};

/// Expressions over the columns of one row read no relations.
struct NoNames;

impl Names for NoNames {
    fn find(&self, _schema: Option<&str>, _name: &str, _inside: Option<Inside<'_>>) -> Result<Option<Named>> {
        Ok(None)
    }
}

static BINDER: LazyLock<Result<Binder>> = LazyLock::new(|| Binder::new(vec![], Optimizer::new(), Arc::new(RuntimeEnv::default()), 1));

/// `text` over the columns of `schema`. Error: as CREATE would have given.
pub fn compile(text: &str, schema: &SchemaRef) -> Result<ExprRef> {
    let binder = BINDER.as_ref().map_err(|e| Error::internal(e.to_string()))?;
    let columns = DFSchema::try_from(schema.as_ref().clone())?;
    let bound = binder.expression(&NoNames, parse::expression(text)?, &columns)?;
    let inner = binder.state().create_physical_expr(fixed_lengths(bound, &columns)?, &columns)?;
    let data_type = inner.data_type(schema)?;
    Ok(Arc::new(Compiled { inner, data_type, text: text.to_owned() }))
}

/// Beside a timestamp without time zone, an interval without months is a number of microseconds: one addition per row, and no calendar.
fn fixed_lengths(bound: logical_expr::Expr, columns: &DFSchema) -> Result<logical_expr::Expr> {
    use logical_expr::{BinaryExpr, Expr, Operator};
    let length = |value: &IntervalMonthDayNano| {
        let micros = i64::from(value.days).checked_mul(DAY_MICROS)?.checked_add(value.nanoseconds / 1000)?;
        (value.months == 0 && value.nanoseconds % 1000 == 0).then_some(micros)
    };
    let rewritten = bound.transform_up(|e| {
        if let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Plus | Operator::Minus, right }) = &e
            && let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(value)), _) = right.as_ref()
            && let Some(micros) = length(value)
            && left.get_type(columns)? == super::types::TIMESTAMP
        {
            let Expr::BinaryExpr(binary) = e else { return Ok(Transformed::no(e)) };
            let right = Box::new(Expr::Literal(ScalarValue::DurationMicrosecond(Some(micros)), None));
            return Ok(Transformed::yes(Expr::BinaryExpr(BinaryExpr { right, ..binary })));
        }
        Ok(Transformed::no(e))
    })?;
    Ok(rewritten.data)
}

const DAY_MICROS: i64 = 86_400_000_000;

struct Compiled {
    inner: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    text: String,
}

impl fmt::Debug for Compiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Expr for Compiled {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        Ok(self.inner.evaluate(batch)?.into_array(batch.num_rows())?)
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn sql(&self) -> String {
        self.text.clone()
    }

    fn columns(&self) -> Vec<usize> {
        let mut columns = Vec::new();
        let walked = self.inner.apply(|e| {
            if let Some(column) = e.downcast_ref::<Column>() {
                columns.push(column.index());
            }
            Ok(TreeNodeRecursion::Continue)
        });
        debug_assert!(walked.is_ok(), "the visitor never fails");
        columns.sort_unstable();
        columns.dedup();
        columns
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, Schema, TimestampMicrosecondType};

    #[test]
    fn a_watermark_runs_over_batches() {
        let schema = Arc::new(Schema::new(vec![Field::new("ts", crate::sql::types::TIMESTAMP, true)]));
        let expr = compile("ts - INTERVAL '5 seconds'", &schema).unwrap();
        let batch = RecordBatch::try_new(schema.clone(), vec![Arc::new(TimestampMicrosecondArray::from(vec![10_000_000]))]).unwrap();
        assert_eq!(expr.eval(&batch).unwrap().as_primitive::<TimestampMicrosecondType>().value(0), 5_000_000);
        assert_eq!(expr.columns(), [0]);
        let micros = |text: &str| compile(text, &schema).unwrap().eval(&batch).unwrap().as_primitive::<TimestampMicrosecondType>().value(0);
        assert_eq!(micros("ts + INTERVAL '1 day 2 hours' - INTERVAL '1 microsecond'"), 10_000_000 + 26 * 3_600_000_000 - 1);
        assert_eq!(micros("ts + INTERVAL '1 month'"), 10_000_000 + 31 * DAY_MICROS);
        assert_eq!(compile("nothing + 1", &schema).unwrap_err().sqlstate(), "42703");
    }
}
