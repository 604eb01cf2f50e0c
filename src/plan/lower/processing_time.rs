//! `PROCTIME()` in a select list: rows are dated by the clock of the epoch that takes them in.
//!
//! ```text
//!   Projection(k, proctime() AS p)   ->   Projection(k, "tw_proctime() OVER ()" AS p)
//!     t                                     Window(tw_proctime() OVER ())
//!                                             t
//! ```
//! As a window function it stays where it was written: no rule moves a condition below it or merges it away. Each row is dated once, when it comes; so the input must
//! never take a row back, which would come with another time.

use super::refuse;
use crate::dataflow::ops::processing_time::ProcessingTime;
use crate::error::Result;
use crate::plan::EventTime;
use crate::plan::expr::{bind, column};
use crate::plan::node::{Planner, Stream, nullable};
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Result as DataFusionResult, ScalarValue, exec_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    self as logical, Expr, LogicalPlan, LogicalPlanBuilder, PartitionEvaluator, Signature, Volatility, WindowFunctionDefinition, WindowUDF, WindowUDFImpl,
};
use std::sync::Arc;

const NAME: &str = "tw_proctime";

#[derive(Debug, PartialEq, Eq, Hash)]
struct Proctime {
    signature: Signature,
}

fn data_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

impl WindowUDFImpl for Proctime {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn partition_evaluator(&self, _arguments: PartitionEvaluatorArgs) -> DataFusionResult<Box<dyn PartitionEvaluator>> {
        exec_err!("PROCTIME() is the clock of an epoch, and a batch has none")
    }

    fn field(&self, arguments: WindowUDFFieldArgs) -> DataFusionResult<FieldRef> {
        Ok(Arc::new(Field::new(arguments.name(), data_type(), true)))
    }
}

fn is_call(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.name() == "proctime")
}

/// The plan with the calls in its select lists as window functions.
pub(crate) fn as_windows(plan: LogicalPlan) -> Result<LogicalPlan> {
    let placed = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Projection(projection) = &node else { return Ok(Transformed::no(node)) };
        let mut calls = false;
        for expr in &projection.expr {
            calls |= expr.exists(|e| Ok(is_call(e)))?;
        }
        if !calls {
            return Ok(Transformed::no(node));
        }
        let function = WindowUDF::new_from_impl(Proctime { signature: Signature::nullary(Volatility::Volatile) });
        let window = LogicalPlanBuilder::from(projection.input.as_ref().clone()).window([function.call(vec![])])?.build()?;
        let time = window.schema().columns().pop().map(Expr::Column);
        let names = NamePreserver::new(&node);
        let in_place = |expr: &Expr| {
            let name = names.save(expr);
            let replaced = expr.clone().transform_up(|e| match &time {
                Some(time) if is_call(&e) => Ok(Transformed::yes(time.clone())),
                _ => Ok(Transformed::no(e)),
            })?;
            Ok(name.restore(replaced.data))
        };
        let exprs = projection.expr.iter().map(in_place).collect::<DataFusionResult<Vec<_>>>()?;
        Ok(Transformed::yes(LogicalPlanBuilder::from(window).project(exprs)?.build()?))
    })?;
    Ok(placed.data)
}

pub(super) fn is_processing_time(node: &logical::Window) -> bool {
    let [Expr::WindowFunction(call)] = node.window_expr.as_slice() else { return false };
    matches!(&call.fun, WindowFunctionDefinition::WindowUDF(udf) if udf.name() == NAME)
}

impl Planner<'_> {
    /// The rows of the node's input with their time behind them.
    pub(super) fn processing_time(&mut self, node: &logical::Window) -> Result<Stream> {
        let input = self.lower(&node.input)?;
        if !input.append_only {
            return Err(refuse(
                "PROCTIME() over rows that can change in a materialized view is not supported",
                "use it over a source or an append-only table: a row that is taken back would come with another time",
            ));
        }
        let at = input.schema.fields().len();
        let mut exprs = input.schema.fields().iter().enumerate().map(|(i, f)| column(i, f.name(), f.data_type())).collect::<Vec<_>>();
        exprs.push(bind(&Expr::Literal(ScalarValue::try_from(&data_type())?, None), node.input.schema())?);
        let schema = nullable(node.schema.fields());
        let (projected, append_only) = self.project(&input, exprs, &schema)?;
        let rows = Stream { input: projected, schema: Arc::clone(&schema), append_only, ..input };
        let (input, append_only) = self.add(format!("ProcessingTime [{at}]"), &[&rows], |_| Ok(Arc::new(ProcessingTime { columns: vec![at], schema })))?;
        let mut event_time = rows.event_time;
        event_time.push(EventTime::by_clock(at));
        Ok(Stream { input, append_only, event_time, schema: rows.schema, key: rows.key })
    }
}
