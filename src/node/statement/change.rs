//! `UPDATE` and `DELETE`: a query over the table finds the rows and, for UPDATE, computes what they become; the writer
//! turns both into one delta. Old rows go out at -1, new ones come in at +1.

use super::assign::{assign, checked};
use super::conflict::{Resolved, check_new_keys};
use super::insert::{default, is_default, with_generated};
use super::returning::{quoted, returning, returning_shape};
use super::scope::{Reader, Scope};
use super::select::{Shape, collect};
use super::target::Target;
use super::{Context, Outcome};
use crate::error::{Error, Kind, Result};
use crate::sql::ast::Statement;
use crate::sql::bind::{Bound, Parameters};
use crate::sql::errors::untranslated;
use crate::sql::parse;
use crate::sql::types::folded;
use crate::types::delta::Delta;
use arrow::array::RecordBatch;
use arrow::datatypes::FieldRef;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, Assignment, AssignmentTarget, FromTable, Ident, SelectItem, SetExpr, TableFactor, TableWithJoins};
use parking_lot::Mutex;
use std::sync::Arc;

/// A bound UPDATE or DELETE. `plan` gives the old columns, and for UPDATE the new ones behind them.
struct Prepared {
    target: Target,
    alias: String,
    plan: LogicalPlan,
    parameters: Vec<FieldRef>,
    /// UPDATE of a column of the primary key.
    moves_keys: bool,
}

pub(super) async fn update(context: &Context, statement: &Arc<Statement>, update: &ast::Update, parameters: &[ScalarValue]) -> Result<Outcome> {
    let prepared = prepare_update(context, statement, update, Parameters::Values(parameters))?;
    run(context, statement, prepared, true, update.returning.as_deref(), parameters).await
}

pub(super) async fn delete(context: &Context, statement: &Arc<Statement>, delete: &ast::Delete, parameters: &[ScalarValue]) -> Result<Outcome> {
    let prepared = prepare_delete(context, statement, delete, Parameters::Values(parameters))?;
    run(context, statement, prepared, false, delete.returning.as_deref(), parameters).await
}

pub(super) fn describe_update(context: &Context, statement: &Statement, update: &ast::Update, declared: &[Option<FieldRef>]) -> Result<Shape> {
    let prepared = prepare_update(context, statement, update, Parameters::Declared(declared))?;
    shape(context, statement, prepared, update.returning.as_deref())
}

pub(super) fn describe_delete(context: &Context, statement: &Statement, delete: &ast::Delete, declared: &[Option<FieldRef>]) -> Result<Shape> {
    let prepared = prepare_delete(context, statement, delete, Parameters::Declared(declared))?;
    shape(context, statement, prepared, delete.returning.as_deref())
}

fn shape(context: &Context, statement: &Statement, prepared: Prepared, items: Option<&[SelectItem]>) -> Result<Shape> {
    let columns = items.map(|items| returning_shape(context, statement, &prepared.alias, items, prepared.target.schema())).transpose()?;
    Ok(Shape { parameters: prepared.parameters, columns, ..Shape::default() })
}

async fn run(
    context: &Context,
    statement: &Statement,
    prepared: Prepared,
    is_update: bool,
    items: Option<&[SelectItem]>,
    parameters: &[ScalarValue],
) -> Result<Outcome> {
    if let Some(items) = items {
        // What is wrong with it, or may not be read by it, is told before anything is written.
        returning_shape(context, statement, &prepared.alias, items, prepared.target.schema())?;
    }
    let slot: Arc<Mutex<Option<Resolved>>> = Arc::default();
    let (inner, result) = (context.clone(), slot.clone());
    let (table, alias) = (prepared.target.object.clone(), prepared.alias.clone());
    let verb = if is_update { "UPDATE" } else { "DELETE" };
    let written = context
        .write(
            verb,
            &table,
            Box::new(move |snapshot| {
                Box::pin(async move {
                    let Prepared { target, plan, moves_keys, .. } = prepared;
                    let rows = collect(&inner, plan, snapshot.as_ref()).await?;
                    let width = target.columns().len();
                    let old = columns_of(&target, &rows, 0)?;
                    let resolved = if is_update {
                        let new = checked(&target, &rows.project(&(width..2 * width).collect::<Vec<_>>())?)?;
                        if moves_keys {
                            check_new_keys(&target, &old, &new, snapshot.as_ref()).await?;
                        }
                        Resolved { delta: replaced(&old, &new)?, after: new }
                    } else {
                        Resolved { delta: Delta::inserts(old.clone()).negate(), after: old }
                    };
                    let delta = resolved.delta.clone();
                    *result.lock() = Some(resolved);
                    Ok(delta)
                })
            }),
        )
        .await?;
    let resolved = slot.lock().take().ok_or_else(|| Error::internal("the writer did not resolve the statement"))?;
    let mut outcome = match items {
        Some(items) => Outcome::rows(returning(context, statement, &alias, items, resolved.after, parameters, verb).await?),
        None => Outcome::command(format!("{verb} {}", resolved.after.num_rows())),
    };
    outcome.written = written;
    Ok(outcome)
}

/// The table's columns from those of a result that begin at `from`, with the fields as declared.
fn columns_of(target: &Target, rows: &RecordBatch, from: usize) -> Result<RecordBatch> {
    let arrays = rows.columns()[from..from + target.columns().len()].to_vec();
    let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    Ok(RecordBatch::try_new_with_options(target.schema(), arrays, &options)?)
}

/// The old rows at -1, the new ones at +1.
pub(super) fn replaced(old: &RecordBatch, new: &RecordBatch) -> Result<Delta> {
    Delta::concat(&new.schema(), &[Delta::inserts(old.clone()).negate(), Delta::inserts(new.clone())])
}

fn prepare_update(context: &Context, statement: &Statement, update: &ast::Update, parameters: Parameters<'_>) -> Result<Prepared> {
    let (target, alias) = changed_table(context, statement, &update.table, "update")?;
    if update.from.is_some() {
        return Err(Error::not_supported("UPDATE … FROM is not supported").with_hint("use a subquery in SET and WHERE"));
    }
    let assigned = assignments(statement, &target, &update.assignments)?;
    let mut items = old_columns(&target, &alias);
    let values: Vec<&ast::Expr> = assigned.iter().filter(|(_, v)| !is_default(v)).map(|(_, v)| v).collect();
    let computed: Vec<usize> = assigned.iter().filter(|(_, v)| !is_default(v)).map(|(c, _)| *c).collect();
    for (i, (value, column)) in values.into_iter().zip(&computed).enumerate() {
        let expr = with_column_type(value.clone(), &target.columns()[*column]);
        items.push(SelectItem::ExprWithAlias { expr, alias: Ident::with_quote('"', format!("tw_value_{i}")) });
    }
    let bound = select(context, statement, &update.table, items, update.selection.as_ref(), parameters)?;
    let plan = new_rows(context, &target, bound.plan, target.columns().len(), &assigned, &computed)?;
    let moves_keys = assigned.iter().any(|(c, _)| target.table.primary_key.contains(c));
    Ok(Prepared { target, alias, plan, parameters: bound.parameters, moves_keys })
}

fn prepare_delete(context: &Context, statement: &Statement, delete: &ast::Delete, parameters: Parameters<'_>) -> Result<Prepared> {
    let (FromTable::WithFromKeyword(tables) | FromTable::WithoutKeyword(tables)) = &delete.from;
    let [table] = tables.as_slice() else { return Err(Error::not_supported("DELETE from several tables is not supported")) };
    if delete.using.is_some() {
        return Err(Error::not_supported("DELETE … USING is not supported").with_hint("use a subquery in WHERE"));
    }
    let (target, alias) = changed_table(context, statement, table, "delete from")?;
    let items = old_columns(&target, &alias);
    let bound = select(context, statement, table, items, delete.selection.as_ref(), parameters)?;
    Ok(Prepared { target, alias, plan: bound.plan, parameters: bound.parameters, moves_keys: false })
}

fn changed_table(context: &Context, statement: &Statement, table: &TableWithJoins, verb: &str) -> Result<(Target, String)> {
    let TableFactor::Table { name, alias, args: None, .. } = &table.relation else { return Err(Error::not_supported(format!("cannot {verb} this"))) };
    if !table.joins.is_empty() {
        return Err(Error::not_supported(format!("cannot {verb} a join")));
    }
    let target = Target::find(context, statement, name, verb)?;
    if target.table.append_only {
        return Err(Error::not_supported(format!("cannot {verb} append-only table \"{}\"", target.name())).with_hint("create it without APPEND ONLY"));
    }
    let alias = alias.as_ref().map_or_else(|| target.name().to_owned(), |a| folded(&a.name));
    Ok((target, alias))
}

/// `alias.column AS tw_old_i` for every column.
pub(super) fn old_columns(target: &Target, alias: &str) -> Vec<SelectItem> {
    let item = |(i, c): (usize, &crate::catalog::object::Column)| SelectItem::ExprWithAlias {
        expr: ast::Expr::CompoundIdentifier(vec![Ident::with_quote('"', alias), Ident::with_quote('"', &c.name)]),
        alias: Ident::with_quote('"', format!("tw_old_{i}")),
    };
    target.columns().iter().enumerate().map(item).collect()
}

fn select(
    context: &Context,
    statement: &Statement,
    table: &TableWithJoins,
    items: Vec<SelectItem>,
    selection: Option<&ast::Expr>,
    parameters: Parameters<'_>,
) -> Result<Bound> {
    let mut query = parse::query("SELECT 1 FROM t")?;
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = items;
        select.from = vec![table.clone()];
        select.selection = selection.cloned();
    }
    super::select::bind(context, statement, &query, parameters)
}

/// Column and value of each assignment.
pub(super) fn assignments(statement: &Statement, target: &Target, assignments: &[Assignment]) -> Result<Vec<(usize, ast::Expr)>> {
    let mut assigned: Vec<(usize, ast::Expr)> = Vec::new();
    for assignment in assignments {
        for (name, value) in pairs(assignment)? {
            let Some(ident) = name.0.last().and_then(|p| p.as_ident()) else { return Err(Error::new(Kind::Syntax, "a column name was expected")) };
            let column = target.column(statement, ident)?;
            let shown = &target.columns()[column].name;
            if assigned.iter().any(|(c, _)| *c == column) {
                return Err(Error::new(Kind::Syntax, format!("multiple assignments to same column \"{shown}\"")));
            }
            if target.columns()[column].generated.is_some() && !is_default(&value) {
                return Err(Error::new(Kind::InvalidColumnReference, format!("column \"{shown}\" can only be updated to DEFAULT")));
            }
            assigned.push((column, value));
        }
    }
    Ok(assigned)
}

/// `a = 1`, or `(a, b) = (1, 2)` taken apart.
fn pairs(assignment: &Assignment) -> Result<Vec<(ast::ObjectName, ast::Expr)>> {
    match (&assignment.target, &assignment.value) {
        (AssignmentTarget::ColumnName(name), value) => Ok(vec![(name.clone(), value.clone())]),
        (AssignmentTarget::Tuple(names), ast::Expr::Tuple(values)) if names.len() == values.len() => {
            Ok(names.iter().cloned().zip(values.iter().cloned()).collect())
        }
        (AssignmentTarget::Tuple(_), ast::Expr::Tuple(_)) => Err(Error::new(Kind::Syntax, "number of columns does not match number of values")),
        (AssignmentTarget::Tuple(_), _) => {
            Err(Error::not_supported("a subquery for several columns is not supported").with_hint("assign one column at a time"))
        }
    }
}

/// A constant or parameter on its own takes the column's type.
pub(super) fn with_column_type(value: ast::Expr, column: &crate::catalog::object::Column) -> ast::Expr {
    let constant =
        matches!(&value, ast::Expr::Value(v) if matches!(v.value, ast::Value::SingleQuotedString(_) | ast::Value::Null | ast::Value::Placeholder(_)));
    let sql_type = if column.sql_type.starts_with("character") { "text" } else { &column.sql_type };
    match parse::expression(&format!("NULL::{sql_type}")) {
        Ok(ast::Expr::Cast { kind, data_type, array, format, .. }) if constant => ast::Expr::Cast { kind, expr: Box::new(value), data_type, array, format },
        _ => value,
    }
}

/// Behind the first `carried` columns of `plan` (the old ones first among them) the rows as the assignments make them; `computed`: the
/// columns whose values stand behind the carried ones, in order.
pub(super) fn new_rows(
    context: &Context,
    target: &Target,
    plan: LogicalPlan,
    carried: usize,
    assigned: &[(usize, ast::Expr)],
    computed: &[usize],
) -> Result<LogicalPlan> {
    let catalog = context.engine.catalog();
    let scope = Scope::new(&catalog, &|_| None, Reader::Definition(context));
    let schema = plan.schema().clone();
    let all: Vec<Expr> = schema.columns().into_iter().map(Expr::Column).collect();
    let mut list = all[..carried].to_vec();
    for (i, column) in target.columns().iter().enumerate() {
        let value = if let Some(at) = computed.iter().position(|c| *c == i) {
            assign(all[carried + at].clone(), schema.field(carried + at), column)?
        } else if assigned.iter().any(|(c, _)| *c == i) {
            default(context, target, column, &scope)?
        } else {
            all[i].clone()
        };
        list.push(value.alias(&column.name));
    }
    let plan = LogicalPlanBuilder::from(plan).project(list).and_then(|b| b.build()).map_err(untranslated)?;
    context.binder.coerce(with_generated(context, target, plan, carried)?)
}

/// `FROM` of two relations of this statement that share a column of row numbers.
pub(super) fn joined(alias: &str, other: &str, row_number: &str) -> String {
    format!("SELECT 1 FROM {a} JOIN {b} ON {a}.{row_number} = {b}.{row_number}", a = quoted(alias), b = quoted(other))
}
