//! `INSERT`: the source's rows become rows of the table (defaults, assignment casts, generated columns) in one plan; in the
//! serial writer they are checked, conflicts resolved, and one delta written.

use super::assign::{assign, assigned_field, checked};
use super::conflict::{OnConflict, Resolved, resolve};
use super::returning::{returning, returning_shape};
use super::scope::{Reader, Scope};
use super::select::{Shape, collect, with_session_values};
use super::target::Target;
use super::{Context, Outcome};
use crate::catalog::access::Privileges;
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::Resolve;
use crate::sql::ast::Statement;
use crate::sql::bind::Parameters;
use crate::sql::errors::untranslated;
use crate::sql::parse;
use crate::sql::types::{folded, is_any_numeric};
use crate::types::time::Epoch;
use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::metadata::ScalarAndMetadata;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ParamValues, ScalarValue, TableReference};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::{Cast, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{self, Ident, SetExpr, TableObject};
use futures::TryStreamExt;
use parking_lot::Mutex;
use std::sync::Arc;

/// A bound INSERT: `plan` gives the table's columns.
struct Prepared {
    target: Target,
    /// What RETURNING and ON CONFLICT call the table.
    alias: String,
    plan: LogicalPlan,
    parameters: Vec<FieldRef>,
}

pub(super) async fn execute(context: &Context, statement: &Arc<Statement>, insert: &ast::Insert, parameters: &[ScalarValue]) -> Result<Outcome> {
    let prepared = prepare(context, statement, insert, Parameters::Values(parameters))?;
    let on_conflict = OnConflict::read(context, statement, &prepared.target, &prepared.alias, insert.on.as_ref(), parameters)?;
    let Prepared { target, alias, plan, .. } = prepared;
    if let Some(items) = &insert.returning {
        // What is wrong with it, or may not be read by it, is told before anything is written.
        returning_shape(context, statement, &alias, items, target.schema())?;
    }
    let (after, written) = write(context, target, plan, on_conflict).await?;
    let mut outcome = match &insert.returning {
        Some(items) => Outcome::rows(returning(context, statement, &alias, items, after, parameters, "INSERT 0").await?),
        None => Outcome::command(format!("INSERT 0 {}", after.num_rows())),
    };
    outcome.written = written;
    Ok(outcome)
}

/// Rows that a client sent as rows of the table: `columns` are given, the others are defaults.
pub(super) async fn completed(context: &Context, target: &Target, columns: &[usize], rows: RecordBatch) -> Result<RecordBatch> {
    let plan = {
        let table = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        let source = LogicalPlanBuilder::scan("copied", provider_as_source(Arc::new(table)), None).map_err(untranslated)?;
        let schema = source.schema().clone();
        let assigned = |(column, (qualifier, field)): (&usize, (Option<&TableReference>, &FieldRef))| {
            let column = &target.columns()[*column];
            Ok(assign(Expr::Column((qualifier, field).into()), field, column)?.alias(&column.name))
        };
        let list = columns.iter().zip(schema.iter()).map(assigned).collect::<Result<Vec<_>>>()?;
        let source = source.project(list).and_then(|b| b.build()).map_err(untranslated)?;
        context.binder.coerce(table_rows(context, target, source, columns)?)?
    };
    let (schema, stream) = context.binder.run(plan, context.now).await?;
    let batches: Vec<RecordBatch> = stream.map_err(untranslated).try_collect().await?;
    checked(target, &arrow::compute::concat_batches(&schema, &batches)?)
}

/// Inserts what a query gives into all columns. Returns how many rows that were.
pub(super) async fn query(context: &Context, statement: &Statement, target: Target, query: &ast::Query) -> Result<usize> {
    let plan = {
        let (source, columns, _) = query_plan(context, statement, &target, None, query, Parameters::Values(&[]))?;
        context.binder.coerce(table_rows(context, &target, source, &columns)?)?
    };
    let (after, _) = write(context, target, plan, OnConflict::Fail).await?;
    Ok(after.num_rows())
}

/// Has the writer insert what `plan` gives. Returns the rows, and the epoch that shows them.
async fn write(context: &Context, target: Target, plan: LogicalPlan, on_conflict: OnConflict) -> Result<(RecordBatch, Option<Epoch>)> {
    let slot: Arc<Mutex<Option<Resolved>>> = Arc::default();
    let (inner, result, written_to) = (context.clone(), slot.clone(), target.clone());
    let resolve: Resolve = Box::new(move |snapshot| {
        Box::pin(async move {
            let rows = collect(&inner, plan, snapshot.as_ref()).await?;
            let rows = checked(&target, &rows)?;
            let resolved = resolve(&inner, &target, rows, on_conflict, snapshot.as_ref()).await?;
            let delta = resolved.delta.clone();
            *result.lock() = Some(resolved);
            Ok(delta)
        })
    });
    let written = context.write("INSERT", &written_to.object, resolve).await?;
    let resolved = slot.lock().take().ok_or_else(|| Error::internal("the writer did not resolve the statement"))?;
    Ok((resolved.after, written))
}

pub(super) fn describe(context: &Context, statement: &Statement, insert: &ast::Insert, declared: &[Option<FieldRef>]) -> Result<Shape> {
    let prepared = prepare(context, statement, insert, Parameters::Declared(declared))?;
    let columns = match &insert.returning {
        Some(items) => Some(returning_shape(context, statement, &prepared.alias, items, prepared.target.schema())?),
        None => None,
    };
    Ok(Shape { parameters: prepared.parameters, columns, ..Shape::default() })
}

fn prepare(context: &Context, statement: &Statement, insert: &ast::Insert, parameters: Parameters<'_>) -> Result<Prepared> {
    let TableObject::TableName(name) = &insert.table else { return Err(Error::not_supported("INSERT into this is not supported")) };
    let target = Target::find(context, statement, name, "insert into")?;
    context.check_may(&target.object, also_needed(insert))?;
    let alias = insert.table_alias.as_ref().map_or_else(|| target.name().to_owned(), |a| folded(&a.alias));
    let listed = listed_columns(statement, &target, insert)?;
    let (source, columns, parameters) = match &insert.source {
        None => (LogicalPlanBuilder::empty(true).build().map_err(untranslated)?, Vec::new(), Vec::new()),
        Some(query) => match plain_values(query) {
            Some(values) => values_plan(context, statement, &target, listed, values, parameters)?,
            None => query_plan(context, statement, &target, listed, query, parameters)?,
        },
    };
    let plan = table_rows(context, &target, source, &columns)?;
    Ok(Prepared { target, alias, plan: context.binder.coerce(plan)?, parameters })
}

/// What beside INSERT a statement needs: it may show rows, and change those that are there.
fn also_needed(insert: &ast::Insert) -> Privileges {
    let changes = matches!(&insert.on, Some(ast::OnInsert::OnConflict(ast::OnConflict { action: ast::OnConflictAction::DoUpdate(_), .. })));
    let changing = if changes { Privileges::UPDATE | Privileges::SELECT } else { Privileges::NONE };
    if insert.returning.is_some() { changing | Privileges::SELECT } else { changing }
}

/// Ordinals of the columns that the statement names; without a list all that are not generated.
fn listed_columns(statement: &Statement, target: &Target, insert: &ast::Insert) -> Result<Option<Vec<usize>>> {
    if insert.columns.is_empty() {
        return Ok(None);
    }
    let mut listed = Vec::new();
    for name in &insert.columns {
        let Some(ident) = name.0.last().and_then(|p| p.as_ident()) else { return Err(Error::new(Kind::Syntax, "a column name was expected")) };
        let column = target.column(statement, ident)?;
        if listed.contains(&column) {
            return Err(Error::new(Kind::DuplicateColumn, format!("column \"{}\" specified more than once", target.columns()[column].name)));
        }
        if target.columns()[column].generated.is_some() {
            let message = format!("cannot insert a non-DEFAULT value into column \"{}\"", target.columns()[column].name);
            return Err(Error::new(Kind::InvalidColumnReference, message).with_detail("the column is a generated column"));
        }
        listed.push(column);
    }
    Ok(Some(listed))
}

/// The columns that `width` values go to.
fn width_checked(target: &Target, listed: Option<Vec<usize>>, width: usize) -> Result<Vec<usize>> {
    let explicit = listed.is_some();
    let mut columns = listed.unwrap_or_else(|| (0..target.columns().len()).filter(|&i| target.columns()[i].generated.is_none()).collect());
    if width > columns.len() {
        return Err(Error::new(Kind::Syntax, "INSERT has more expressions than target columns"));
    }
    if explicit && width < columns.len() {
        return Err(Error::new(Kind::Syntax, "INSERT has more target columns than expressions"));
    }
    columns.truncate(width);
    Ok(columns)
}

/// `VALUES` with nothing around it, the form in which DEFAULT may stand for a value.
fn plain_values(query: &ast::Query) -> Option<&ast::Values> {
    match query.body.as_ref() {
        SetExpr::Values(values) if query.with.is_none() && query.order_by.is_none() && query.limit_clause.is_none() && query.fetch.is_none() => Some(values),
        _ => None,
    }
}

type Source = (LogicalPlan, Vec<usize>, Vec<FieldRef>);

fn values_plan(
    context: &Context,
    statement: &Statement,
    target: &Target,
    listed: Option<Vec<usize>>,
    values: &ast::Values,
    parameters: Parameters<'_>,
) -> Result<Source> {
    let width = values.rows.first().map_or(0, |r| r.content.len());
    if values.rows.iter().any(|r| r.content.len() != width) {
        return Err(Error::new(Kind::Syntax, "VALUES lists must all be the same length"));
    }
    let columns = width_checked(target, listed, width)?;
    let catalog = context.engine.catalog();
    let relation = |id| context.engine.relation(id);
    let scope = Scope::new(&catalog, &relation, Reader::Session(context));
    let nothing = DFSchema::empty();
    let declared: &[Option<FieldRef>] = if let Parameters::Declared(declared) = &parameters { declared } else { &[] };
    let cell = |value: &ast::Expr, column: usize| -> Result<Expr> {
        let column = &target.columns()[column];
        let at = |e: Error| match statement.source.position(ast::Spanned::span(value).start) {
            Some(position) => e.at(position),
            None => e,
        };
        if is_default(value) {
            return default(context, target, column, &scope);
        }
        let bound = context.binder.uncoerced(&scope, with_session_values(context, value.clone())?, &nothing).map_err(at)?;
        let bound = typed_placeholders(bound, column, declared).map_err(untranslated).map_err(at)?;
        let from = bound.to_field(&nothing).map(|(_, f)| f).unwrap_or_else(|_| Arc::new(Field::new("", DataType::Null, true)));
        assign(bound, &from, column).map_err(at)
    };
    let rows: Vec<Vec<Expr>> = values
        .rows
        .iter()
        .map(|row| row.content.iter().zip(&columns).map(|(value, column)| cell(value, *column)).collect::<Result<_>>())
        .collect::<Result<_>>()?;
    let plan = LogicalPlanBuilder::values(rows).and_then(|b| b.build()).map_err(untranslated)?;
    let found = plan.get_parameter_fields().map_err(untranslated)?;
    let count = found.keys().filter_map(|k| k.trim_start_matches('$').parse::<usize>().ok()).max().unwrap_or(0).max(declared.len());
    let text: FieldRef = Arc::new(Field::new("", DataType::Utf8, true));
    let types = (1..=count).map(|i| found.get(&format!("${i}")).cloned().flatten().unwrap_or_else(|| text.clone())).collect();
    let plan = match parameters {
        Parameters::Values(values) | Parameters::Typed(values, _) => {
            let values = values.iter().map(|v| ScalarAndMetadata::new(v.clone(), None)).collect();
            plan.replace_params_with_values(&ParamValues::List(values)).map_err(untranslated)?
        }
        Parameters::Declared(_) => plan,
    };
    Ok((plan, columns, types))
}

/// A parameter has the type that the client declared; else `$n` alone that of the column that it goes to, and `$n::type` that type.
fn typed_placeholders(expr: Expr, column: &crate::catalog::object::Column, declared: &[Option<FieldRef>]) -> datafusion::error::Result<Expr> {
    let said = |id: &str| {
        let number = id.trim_start_matches('$').parse::<usize>().unwrap_or(0);
        number.checked_sub(1).and_then(|i| declared.get(i)).cloned().flatten()
    };
    if let Expr::Placeholder(mut placeholder) = expr {
        placeholder.field = placeholder.field.or_else(|| said(&placeholder.id)).or_else(|| Some(assigned_field(column)));
        return Ok(Expr::Placeholder(placeholder));
    }
    let typed = expr.transform_down(|e| {
        Ok(match e {
            Expr::Placeholder(mut placeholder) if placeholder.field.is_none() => {
                placeholder.field = said(&placeholder.id);
                Transformed::yes(Expr::Placeholder(placeholder))
            }
            Expr::Cast(mut cast) => {
                // Where all values go to one column, none of them says that it is of any numeric type.
                if is_any_numeric(&cast.field) {
                    cast.field = Arc::new(cast.field.as_ref().clone().with_metadata(Default::default()));
                }
                if let Expr::Placeholder(placeholder) = cast.expr.as_mut() {
                    let known = placeholder.field.take().or_else(|| said(&placeholder.id));
                    placeholder.field = known.or_else(|| Some(cast.field.clone()));
                }
                Transformed::yes(Expr::Cast(cast))
            }
            other => Transformed::no(other),
        })
    });
    Ok(typed?.data)
}

pub(super) fn is_default(value: &ast::Expr) -> bool {
    matches!(value, ast::Expr::Identifier(Ident { value, quote_style: None, .. }) if value.eq_ignore_ascii_case("default"))
}

/// The column's DEFAULT as an expression of its type; NULL without one.
pub(super) fn default(context: &Context, target: &Target, column: &crate::catalog::object::Column, scope: &Scope<'_>) -> Result<Expr> {
    let Some(text) = column.default.as_ref().filter(|_| column.generated.is_none()) else {
        return Ok(Expr::Cast(Cast { expr: Box::new(Expr::Literal(ScalarValue::Null, None)), field: assigned_field(column) }));
    };
    let nothing = DFSchema::empty();
    let bound = context.binder.uncoerced(scope, with_session_values(context, parse::expression(text)?)?, &nothing)?;
    let (_, from) = bound.to_field(&nothing).map_err(untranslated)?;
    assign(bound, &from, column).map_err(|e| e.with_detail(format!("the DEFAULT of \"{}\"", target.name())))
}

fn query_plan(
    context: &Context,
    statement: &Statement,
    target: &Target,
    listed: Option<Vec<usize>>,
    query: &ast::Query,
    parameters: Parameters<'_>,
) -> Result<Source> {
    let bound = super::select::bind(context, statement, query, parameters)?;
    let schema = bound.plan.schema().clone();
    let columns = width_checked(target, listed, schema.fields().len())?;
    let mut list = Vec::new();
    for (i, (&column, (qualifier, field))) in columns.iter().zip(schema.iter()).enumerate() {
        let value = Expr::Column((qualifier, field).into());
        let column = &target.columns()[column];
        // A quoted constant in the select list has no type until it gets here.
        let expr = match literal_at(&bound.plan, i) {
            Some(literal) => assign(literal, field, column)?,
            None => assign(value, field, column)?,
        };
        list.push(expr.alias(&column.name));
    }
    let plan = LogicalPlanBuilder::from(bound.plan).project(list).and_then(|b| b.build()).map_err(untranslated)?;
    Ok((plan, columns, bound.parameters))
}

/// The constant that is column `i` of a select list.
fn literal_at(plan: &LogicalPlan, i: usize) -> Option<Expr> {
    let LogicalPlan::Projection(projection) = plan else { return None };
    match projection.expr.get(i)?.clone().unalias() {
        literal @ Expr::Literal(ScalarValue::Utf8(_) | ScalarValue::Null, _) => Some(literal),
        _ => None,
    }
}

/// All columns of the table, in order: `source` gives those in `columns`, the others are defaults and generated ones.
fn table_rows(context: &Context, target: &Target, source: LogicalPlan, columns: &[usize]) -> Result<LogicalPlan> {
    let catalog = context.engine.catalog();
    let scope = Scope::new(&catalog, &|_| None, Reader::Definition(context));
    let given: Vec<Expr> = source.schema().columns().into_iter().map(Expr::Column).collect();
    let mut list = Vec::new();
    for (i, column) in target.columns().iter().enumerate() {
        let value = match columns.iter().position(|c| *c == i) {
            Some(at) => given[at].clone(),
            None => default(context, target, column, &scope)?,
        };
        list.push(value.alias(&column.name));
    }
    let plan = LogicalPlanBuilder::from(source).project(list).and_then(|b| b.build()).map_err(untranslated)?;
    with_generated(context, target, plan, 0)
}

/// The plan with its generated columns computed from the others; the table's columns stand behind `carried` others.
pub(super) fn with_generated(context: &Context, target: &Target, plan: LogicalPlan, carried: usize) -> Result<LogicalPlan> {
    if target.columns().iter().all(|c| c.generated.is_none()) {
        return Ok(plan);
    }
    let catalog = context.engine.catalog();
    let scope = Scope::new(&catalog, &|_| None, Reader::Definition(context));
    let schema = plan.schema().clone();
    let mut list = Vec::new();
    for (i, column) in schema.columns().into_iter().enumerate() {
        let generated = i.checked_sub(carried).and_then(|i| target.columns().get(i)).filter(|c| c.generated.is_some());
        list.push(match generated.and_then(|c| c.generated.as_ref().map(|text| (c, text))) {
            Some((c, text)) => {
                let expr = context.binder.uncoerced(&scope, parse::expression(text)?, &schema)?;
                Expr::Cast(Cast { expr: Box::new(expr), field: assigned_field(c) }).alias(&c.name)
            }
            None => Expr::Column(column),
        });
    }
    LogicalPlanBuilder::from(plan).project(list).and_then(|b| b.build()).map_err(untranslated)
}
