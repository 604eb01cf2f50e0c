//! `now()` and its relatives. A statement has one time: the binder puts it in the place of the calls ([`fix`]), so that
//! every row, and every retry, sees the same. In views they stay calls, which the planner refuses.

use crate::sql::types::{TIMESTAMP, timestamptz};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{ColumnarValue, Expr, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};
use std::sync::Arc;

const MICROS_PER_DAY: i64 = 86_400_000_000;

#[derive(Debug, PartialEq, Eq, Hash)]
struct Now {
    name: &'static str,
    data_type: DataType,
    signature: Signature,
}

pub(super) fn functions() -> Vec<Arc<ScalarUDF>> {
    [
        ("current_timestamp", timestamptz()),
        ("transaction_timestamp", timestamptz()),
        ("statement_timestamp", timestamptz()),
        ("clock_timestamp", timestamptz()),
        ("proctime", timestamptz()),
        ("localtimestamp", TIMESTAMP),
        ("current_date", DataType::Date32),
    ]
    .into_iter()
    .map(|(name, data_type)| function(name, data_type))
    .chain([now()])
    .collect()
}

/// `now()`.
pub fn now() -> Arc<ScalarUDF> {
    function("now", timestamptz())
}

fn function(name: &'static str, data_type: DataType) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(Now { name, data_type, signature: Signature::nullary(Volatility::Stable) }))
}

impl ScalarUDFImpl for Now {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        exec_err!("{}() was not given the statement's time", self.name)
    }
}

/// `plan` with the time `micros` (since 1970, UTC) in the place of every call.
pub fn fix(plan: LogicalPlan, micros: i64) -> Result<LogicalPlan> {
    let fixed = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        node.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(fix_expr(expr, micros)?.update_data(|e| name.restore(e)))
        })
    })?;
    Ok(fixed.data)
}

/// The same for one expression.
pub fn fix_expr(expr: Expr, micros: i64) -> Result<Transformed<Expr>> {
    expr.transform_up(|e| {
        let Expr::ScalarFunction(call) = &e else { return Ok(Transformed::no(e)) };
        let Some(now) = call.func.inner().downcast_ref::<Now>() else { return Ok(Transformed::no(e)) };
        let value = match &now.data_type {
            DataType::Date32 => ScalarValue::Date32(Some(micros.div_euclid(MICROS_PER_DAY) as i32)),
            DataType::Timestamp(_, zone) => ScalarValue::TimestampMicrosecond(Some(micros), zone.clone()),
            other => return exec_err!("a clock of type {other}"),
        };
        Ok(Transformed::yes(Expr::Literal(value, None)))
    })
}
