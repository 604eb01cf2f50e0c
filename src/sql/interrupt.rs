//! How a query is stopped that gives nothing to await: a join without equality compares a batch of one side with every row of the other before it gives its thread back.

use crate::error::{Error, Kind};
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::joins::NestedLoopJoinExec;
use datafusion::physical_plan::joins::utils::JoinFilter;
use std::fmt;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

tokio::task_local! {
    static CURRENT: Interrupt;
}

/// Whether nobody waits for a query any more.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Plans that are made in `work` can be stopped by this one.
    pub fn scope<T, F: Future<Output = T>>(&self, work: F) -> impl Future<Output = T> + use<T, F> {
        CURRENT.scope(self.clone(), work)
    }

    /// The one of the scope; one that nobody raises if there is none.
    pub fn current() -> Interrupt {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn check(&self) -> Result<()> {
        if !self.0.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(DataFusionError::External(Box::new(Error::new(Kind::QueryCanceled, "canceling statement due to user request"))))
    }
}

/// Puts the question whether anybody waits into the conditions of such joins.
#[derive(Debug)]
pub struct Interruptible;

impl PhysicalOptimizerRule for Interruptible {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _config: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let interrupt = Interrupt::current();
        let guarded = plan.transform_up(|node| {
            let Some(join) = node.downcast_ref::<NestedLoopJoinExec>() else { return Ok(Transformed::no(node)) };
            let Some(filter) = join.filter() else { return Ok(Transformed::no(node)) };
            let expression = Arc::new(Guarded { inner: filter.expression().clone(), interrupt: interrupt.clone() });
            let filter = JoinFilter::new(expression, filter.column_indices().to_vec(), filter.schema().clone());
            let projection = join.projection().as_ref().map(|p| p.to_vec());
            let guarded = NestedLoopJoinExec::try_new(join.left().clone(), join.right().clone(), Some(filter), join.join_type(), projection)?;
            Ok(Transformed::yes(Arc::new(guarded) as Arc<dyn ExecutionPlan>))
        })?;
        Ok(guarded.data)
    }

    fn name(&self) -> &str {
        "interruptible"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// An expression that fails when the query is to end.
#[derive(Debug)]
struct Guarded {
    inner: Arc<dyn PhysicalExpr>,
    interrupt: Interrupt,
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner)
    }
}

impl Eq for Guarded {}

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Guarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl PhysicalExpr for Guarded {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.inner.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.inner.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.interrupt.check()?;
        self.inner.evaluate(batch)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(schema)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(self: Arc<Self>, mut children: Vec<Arc<dyn PhysicalExpr>>) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().unwrap_or_else(|| self.inner.clone());
        Ok(Arc::new(Guarded { inner, interrupt: self.interrupt.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}
