//! `EXPLAIN`: of a materialized view its bound plan, its incremental plan with state tables, and how its rows are kept; of
//! anything else the plan that DataFusion would run, with the way that each scan takes to its rows.

use super::lookup::Lookup;
use super::scope::{Reader, Scope, with_rows};
use super::select::{Results, text_column, with_session_values};
use super::{Context, Outcome};
use crate::error::{Error, Result};
use crate::plan::relation::scanned;
use crate::plan::{self, Request, ViewPlan};
use crate::sql::ast::{CreateView, Statement, StatementKind};
use crate::sql::bind::Parameters;
use crate::sql::errors::placed;
use crate::types::ids::TableId;
use crate::views::provider::RowsTable;
use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{TreeNodeRecursion, TreeNodeVisitor};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::LogicalPlan;

pub(super) fn shape() -> Vec<FieldRef> {
    vec![text_column("QUERY PLAN")]
}

pub(super) async fn execute(context: &Context, statement: &Statement) -> Result<Outcome> {
    let text = match &statement.kind {
        StatementKind::CreateView(create) if create.materialized => view(context, statement, create)?,
        StatementKind::CreateView(create) => query(context, statement, &create.query).await?,
        StatementKind::Query(select) => query(context, statement, select).await?,
        _ => return Err(Error::not_supported("EXPLAIN of this statement is not supported").with_hint("EXPLAIN takes a query or CREATE MATERIALIZED VIEW")),
    };
    let rows: Vec<_> = text.lines().map(|line| vec![Some(line.to_owned())]).collect();
    Ok(Outcome::rows(Results::texts(shape(), &rows, "EXPLAIN")?))
}

async fn query(context: &Context, statement: &Statement, query: &datafusion::sql::sqlparser::ast::Query) -> Result<String> {
    let catalog = context.engine.catalog();
    let bound = super::select::bind(context, statement, query, Parameters::Values(&[]))?;
    let snapshot = context.snapshot(&scanned(&bound.plan)).await?;
    let lookup = Lookup::of(context, catalog, &bound).and_then(|lookup| lookup.shown(snapshot.as_ref()));
    // What cannot be read now (a source, a view that is being built) can be explained all the same.
    let plan = with_rows(bound.plan.clone(), snapshot.as_ref()).unwrap_or(bound.plan);
    let plan = context.binder.optimized(plan, context.now)?;
    // Rows that one batch does not hold come from the engine after all.
    let mut tree = Tree { depth: 0, text: lookup.map_or_else(String::new, |way| format!("{way}\n")) };
    plan.visit_with_subqueries(&mut tree)?;
    Ok(tree.text)
}

/// The plan, a node a line.
struct Tree {
    depth: usize,
    text: String,
}

impl<'n> TreeNodeVisitor<'n> for Tree {
    type Node = LogicalPlan;

    fn f_down(&mut self, node: &'n LogicalPlan) -> datafusion::common::Result<TreeNodeRecursion> {
        let way = way(node).map_or_else(String::new, |way| format!(", {way}"));
        self.text.push_str(&format!("{}{}{way}\n", "  ".repeat(self.depth), node.display()));
        self.depth += 1;
        Ok(TreeNodeRecursion::Continue)
    }

    fn f_up(&mut self, _node: &'n LogicalPlan) -> datafusion::common::Result<TreeNodeRecursion> {
        self.depth -= 1;
        Ok(TreeNodeRecursion::Continue)
    }
}

/// How a scan finds its rows; `None`: it reads all.
fn way(node: &LogicalPlan) -> Option<String> {
    let LogicalPlan::TableScan(scan) = node else { return None };
    let provider = source_as_provider(&scan.source).ok()?;
    let paths = &provider.downcast_ref::<RowsTable>()?.paths;
    let (choice, asked) = paths.choose_for(&scan.filters, scan.projection.as_ref()).ok()?;
    choice.shown(&asked, paths.schema())
}

fn view(context: &Context, statement: &Statement, create: &CreateView) -> Result<String> {
    let (bound, plan) = planned(context, statement, create)?;
    Ok(plan::explain_in_full(&bound, &plan))
}

/// The bound and the incremental plan of a view that is not made: numbers of its state tables are for show.
pub(super) fn planned(context: &Context, statement: &Statement, create: &CreateView) -> Result<(LogicalPlan, ViewPlan)> {
    let catalog = context.engine.catalog();
    let relation = |id| context.engine.relation(id);
    let scope = Scope::new(&catalog, &relation, Reader::Definition(context));
    let query = with_session_values(context, create.query.clone())?;
    let bound = context.binder.query(&scope, query, Parameters::Values(&[]), Some(&statement.source))?;
    let mut next = 0;
    let mut allocate = || {
        next += 1;
        TableId(next)
    };
    let plan = plan::incremental(Request { query: &bound.plan, emit_on_window_close: create.emit_on_window_close, allocate: &mut allocate })
        .map_err(|e| placed(e, &statement.source, create.query.as_ref()))?;
    Ok((bound.plan, plan))
}
