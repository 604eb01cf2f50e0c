//! Scalar expressions of a view: DataFusion's physical expressions behind `types::expr::Expr`.
//! A plain column is handed on without evaluation; integer and float arithmetic was made checked before (`arithmetic.rs`).

use super::error::of_arrow;
use super::lazy::lazy;
use super::lower::temporal::{reads_clock, refused};
use super::text::sql;
use crate::error::{Error, Result};
use crate::types::expr::{Expr, ExprRef};
use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr as logical;
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use datafusion::physical_plan::expressions as physical;
use std::fmt;
use std::sync::Arc;

/// Binds a logical expression to the columns of `schema`, by position.
pub(crate) fn bind(expr: &logical::Expr, schema: &DFSchema) -> Result<ExprRef> {
    refuse_subqueries(expr)?;
    if reads_clock(expr) {
        return Err(refused(expr));
    }
    let inner = create_physical_expr(expr, schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
    of_physical(lazy(inner)?.data, schema, sql(expr))
}

/// Subqueries that no rule turned into a join.
fn refuse_subqueries(expr: &logical::Expr) -> Result<()> {
    let found = expr.exists(|e| {
        Ok(matches!(e, logical::Expr::Exists(_) | logical::Expr::InSubquery(_) | logical::Expr::ScalarSubquery(_) | logical::Expr::SetComparison(_)))
    })?;
    if !found {
        return Ok(());
    }
    Err(Error::not_supported("a subquery in this place of a materialized view cannot be maintained incrementally")
        .with_hint("use it as a condition in WHERE, or write it as a join"))
}

/// The column at `index`.
pub(crate) fn column(index: usize, name: &str, data_type: &DataType) -> ExprRef {
    Arc::new(ColumnRef { index, name: name.to_string(), data_type: data_type.clone() })
}

/// What makes two expressions the same computation: ordinals and types, no names.
pub(crate) fn canonical(expr: &ExprRef) -> String {
    format!("{expr:?}")
}

fn of_physical(inner: Arc<dyn PhysicalExpr>, schema: &DFSchema, sql: String) -> Result<ExprRef> {
    let data_type = inner.data_type(schema.as_arrow())?;
    if let Some(plain) = inner.downcast_ref::<physical::Column>() {
        return Ok(Arc::new(ColumnRef { index: plain.index(), name: sql, data_type }));
    }
    let mut columns = Vec::new();
    inner.apply(|e| {
        if let Some(c) = e.downcast_ref::<physical::Column>() {
            columns.push(c.index());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    columns.sort_unstable();
    columns.dedup();
    let nameless = Arc::clone(&inner).transform_up(|e| match e.downcast_ref::<physical::Column>() {
        Some(c) => Ok(Transformed::yes(Arc::new(physical::Column::new("", c.index())) as Arc<dyn PhysicalExpr>)),
        None => Ok(Transformed::no(e)),
    })?;
    Ok(Arc::new(Physical { inner, nameless: nameless.data, data_type, columns, sql }))
}

struct ColumnRef {
    index: usize,
    name: String,
    data_type: DataType,
}

impl fmt::Debug for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.index)
    }
}

impl Expr for ColumnRef {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        Ok(Arc::clone(batch.column(self.index)))
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn sql(&self) -> String {
        self.name.clone()
    }

    fn columns(&self) -> Vec<usize> {
        vec![self.index]
    }

    fn as_column(&self) -> Option<usize> {
        Some(self.index)
    }
}

struct Physical {
    inner: Arc<dyn PhysicalExpr>,
    /// `inner` without column names, for `Debug`: what it computes, and nothing else.
    nameless: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    columns: Vec<usize>,
    sql: String,
}

impl fmt::Debug for Physical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.nameless)
    }
}

impl Expr for Physical {
    fn eval(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let column = self.inner.evaluate(batch)?.into_array(batch.num_rows())?;
        if column.data_type() == &self.data_type {
            return Ok(column);
        }
        // Some functions give a wider list or string type than they announce.
        let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
        arrow::compute::cast_with_options(&column, &self.data_type, &options)
            .map_err(|e| Error::internal(format!("{} gave {} instead of {}: {}", self.sql, column.data_type(), self.data_type, of_arrow(e))))
    }

    fn data_type(&self) -> &DataType {
        &self.data_type
    }

    fn sql(&self) -> String {
        self.sql.clone()
    }

    fn columns(&self) -> Vec<usize> {
        self.columns.clone()
    }
}
