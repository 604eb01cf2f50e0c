//! Subqueries that DataFusion's own rules cannot turn into joins, or turn into wrong ones, become joins here: before types are resolved, for views and SELECTs alike.
//!
//! A subquery with outer references is a function of their values. It is computed for all values at once, and joined back (Neumann and Kemper, "Unnesting Arbitrary
//! Queries"): `domain` gives the values, `dependent` pushes them through the subquery, so that each of its rows says for which values it is.
//!
//! ```text
//!   SELECT f(o.x), (SELECT e FROM s WHERE s.k < o.x)  FROM o
//!     d   =  SELECT DISTINCT x FROM o                            -- the domain
//!     s'  =  SELECT e, d.x FROM d JOIN s ON s.k < d.x            -- the subquery, for each of its values
//!     o LEFT JOIN s' ON o.x = s'.x                               -- NULL is equal to NULL here
//! ```
//!
//! Where the subquery's conditions say what the outer values are equal to (`s.k = o.x`), these columns take the domain's place: `s'` is then a subset of `s`, without state of its own.
//!
//! | form | becomes |
//! | --- | --- |
//! | `(SELECT e …)` | the element of an array of all `e`; more than one fails with 21000 where the value is asked for |
//! | `EXISTS (…)` | a mark that is NULL where the left join finds no partner |
//! | `x IN (…)`, `x op ANY (…)`, `x op ALL (…)` | EXISTS over the rows that match, and, if NULLs can matter, over those that are NULL |
//! | `ARRAY(SELECT …)` | `array_agg(…)` with the subquery's order, empty instead of NULL |
//! | `LATERAL (…)` | the join on the outer values |
//!
//! What DataFusion's rules do well they are left: conditions of WHERE that are EXISTS or IN with outer references in simple filters (semi and anti joins), and correlated
//! aggregates over equal columns.

mod conditions;
mod dependent;
mod domain;
mod lateral;
mod simple;
mod values;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, DFSchema, Result, TableReference};
use datafusion::logical_expr::expr::{Exists, InSubquery, SetComparison};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Subquery};
use std::sync::Arc;

/// The plan with its subqueries as joins, except for those that DataFusion's rules take.
pub fn unnested(plan: LogicalPlan) -> Result<LogicalPlan> {
    Unnesting { names: 0 }.plan(plan)
}

/// One plan's rewriting.
struct Unnesting {
    /// Names given out.
    names: usize,
}

impl Unnesting {
    fn plan(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        plan.transform_up(|node| self.node(node)).map(|t| t.data)
    }

    fn node(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        // What was joined below may have columns that can be NULL now.
        let node = if self.names > 0 && !matches!(node, LogicalPlan::Values(_)) { node.recompute_schema()? } else { node };
        if let LogicalPlan::Join(join) = node {
            return self.join(join);
        }
        if !has_subqueries(&node)? {
            return Ok(Transformed::no(node));
        }
        // Innermost first: then all outer references that are left in a subquery are its own.
        let node = node.map_expressions(|e| self.inner(e))?.data;
        match node {
            LogicalPlan::Filter(filter) => self.filter(filter).map(Transformed::yes),
            LogicalPlan::Projection(_) | LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) | LogicalPlan::Sort(_) => {
                self.expressions(node).map(Transformed::yes)
            }
            other => Ok(Transformed::yes(other)),
        }
    }

    /// The subqueries of an expression, rewritten inside.
    fn inner(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        expr.transform_up(|e| {
            Ok(match e {
                Expr::ScalarSubquery(subquery) => Transformed::yes(Expr::ScalarSubquery(self.subquery(subquery)?)),
                Expr::Exists(e) => Transformed::yes(Expr::Exists(Exists { subquery: self.subquery(e.subquery)?, negated: e.negated })),
                Expr::InSubquery(e) => Transformed::yes(Expr::InSubquery(InSubquery::new(e.expr, self.subquery(e.subquery)?, e.negated))),
                Expr::SetComparison(e) => Transformed::yes(Expr::SetComparison(SetComparison::new(e.expr, self.subquery(e.subquery)?, e.op, e.quantifier))),
                other => Transformed::no(other),
            })
        })
    }

    fn subquery(&mut self, subquery: Subquery) -> Result<Subquery> {
        let plan = self.plan(Arc::unwrap_or_clone(subquery.subquery))?;
        let outer_ref_columns = plan.all_out_ref_exprs();
        Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns, spans: subquery.spans })
    }

    /// A node that computes expressions, over its input joined with what their subqueries need.
    fn expressions(&mut self, node: LogicalPlan) -> Result<LogicalPlan> {
        let schema = Arc::clone(node.schema());
        let input = node.inputs()[0].clone();
        let leaves = matches!(node, LogicalPlan::Projection(_));
        let mut outer = values::Outer::new(self, input, leaves);
        let exprs = node.expressions().into_iter().map(|e| outer.value(e)).collect::<Result<Vec<_>>>()?;
        if !outer.joined {
            return Ok(node);
        }
        let input = outer.plan;
        if matches!(node, LogicalPlan::Projection(_)) {
            let named = exprs.into_iter().zip(schema.iter()).map(|(e, (qualifier, field))| named(e, qualifier, field.name())).collect();
            return Ok(LogicalPlan::Projection(Projection::try_new(named, Arc::new(input))?));
        }
        let columns: Vec<usize> = match &node {
            LogicalPlan::Aggregate(_) => (0..schema.fields().len()).collect(),
            // The input's columns come first, with those of the joins behind them.
            _ => {
                let own = node.inputs()[0].schema().fields().len();
                let wide = input.schema().fields().len();
                (0..own).chain((own..schema.fields().len()).map(|c| c - own + wide)).collect()
            }
        };
        let node = node.with_new_exprs(exprs, vec![input])?;
        positioned(node, columns.into_iter().zip(schema.iter().map(|(q, f)| (q.cloned(), f.name().clone()))))
    }

    fn name(&mut self, what: &str) -> String {
        self.names += 1;
        format!("__{what}_{}", self.names)
    }
}

fn has_subqueries(node: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    node.apply_expressions(|expr| {
        found |= expr.exists(|e| Ok(matches!(e, Expr::ScalarSubquery(_) | Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_))))?;
        Ok(datafusion::common::tree_node::TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The expression under a column's name.
fn named(expr: Expr, qualifier: Option<&TableReference>, name: &str) -> Expr {
    match expr {
        Expr::Column(c) if c.relation.as_ref() == qualifier && c.name == name => Expr::Column(c),
        other => other.alias_qualified(qualifier.cloned(), name),
    }
}

/// The columns of `schema`, as expressions.
fn columns(schema: &DFSchema) -> Vec<Expr> {
    schema.iter().map(|(qualifier, field)| Expr::Column(Column::from((qualifier, field)))).collect()
}

/// Columns of a plan by position, under new names.
fn positioned(plan: LogicalPlan, columns: impl Iterator<Item = (usize, (Option<TableReference>, String))>) -> Result<LogicalPlan> {
    let schema = Arc::clone(plan.schema());
    let exprs = columns.map(|(place, (qualifier, name))| named(Expr::Column(Column::from(schema.qualified_field(place))), qualifier.as_ref(), &name)).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}

/// The plan with the columns of `schema` alone.
fn narrowed(plan: LogicalPlan, schema: &DFSchema) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Projection(Projection::try_new(columns(schema), Arc::new(plan))?))
}
