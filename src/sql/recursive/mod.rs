//! `WITH RECURSIVE`, bound piece by piece: DataFusion would give the recursive term the types of the other one by force, and PostgreSQL says where they differ.
//!
//! ```text
//!   WITH RECURSIVE t (a) AS (base UNION [ALL] term) SELECT …
//!     base, coerced -> types of t -> work table "t" -> term, coerced -> the same types, or 42804 -> RecursiveQuery -> what t means in the rest
//! ```
//!
//! WITH RECURSIVE inside of a query is first lifted to its head, under names of its own.

pub mod check;
mod correlated;
mod lift;
pub mod mutual;

use super::types::{self, folded, settled};
use crate::error::{Error, Kind};
use crate::sql::functions::table::external;
use arrow::datatypes::{DataType, Field, Schema};
use check::{names_read, references};
use datafusion::common::TableReference;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Cast, Expr, LogicalPlan, LogicalPlanBuilder, TableSource};
use datafusion::sql::planner::PlannerContext;
use datafusion::sql::sqlparser::ast::{Cte, Query, SetExpr, SetOperator, SetQuantifier, TableAliasColumnDef, With};
pub use lift::lift;
use std::sync::Arc;

/// Digits that a numeric of a recursive query has room for.
const DIGITS: u8 = 38;

/// Binds one query; names that were inserted in the context mean what they were inserted with.
pub trait Pieces {
    /// Bound and coerced.
    fn piece(&self, query: Query, context: &PlannerContext) -> Result<LogicalPlan>;

    /// What a recursive reference scans.
    fn work_table(&self, name: &str, schema: Schema) -> Result<Arc<dyn TableSource>>;
}

/// The two terms of a recursive query.
pub struct Form<'a> {
    pub base: &'a SetExpr,
    pub term: &'a SetExpr,
}

/// `None`: the query is no UNION.
pub fn form(query: &Query) -> Option<Form<'_>> {
    match query.body.as_ref() {
        SetExpr::SetOperation { op: SetOperator::Union, left, right, .. } => Some(Form { base: left, term: right }),
        SetExpr::Query(inner) if inner.with.is_none() => form(inner),
        _ => None,
    }
}

/// Positions of the queries so that each stands behind those it reads. Error: one that reads itself through others.
pub fn order(with: &With) -> std::result::Result<Vec<usize>, String> {
    let names: Vec<String> = with.cte_tables.iter().map(|c| folded(&c.alias.name)).collect();
    let reads: Vec<Vec<usize>> = with
        .cte_tables
        .iter()
        .enumerate()
        .map(|(i, cte)| {
            let read = names_read(cte.query.as_ref());
            (0..names.len()).filter(|j| *j != i && read.contains(&names[*j])).collect()
        })
        .collect();
    let mut ordered: Vec<usize> = Vec::new();
    while ordered.len() < names.len() {
        let ready = (0..names.len()).find(|i| !ordered.contains(i) && reads[*i].iter().all(|j| ordered.contains(j)));
        match ready {
            Some(next) => ordered.push(next),
            None => return Err((0..names.len()).find(|i| !ordered.contains(i)).map(|i| names[i].clone()).unwrap_or_default()),
        }
    }
    Ok(ordered)
}

/// Inserts what the names of a `WITH RECURSIVE` mean.
pub fn bind(with: With, pieces: &dyn Pieces, context: &mut PlannerContext) -> Result<()> {
    let order = order(&with).map_err(|_| external(Error::not_supported("mutual recursion between WITH items is not implemented")))?;
    let mut ctes: Vec<Option<Cte>> = with.cte_tables.into_iter().map(Some).collect();
    for cte in order.into_iter().filter_map(|i| ctes[i].take()) {
        let name = folded(&cte.alias.name);
        if context.contains_cte(&name) {
            return Err(DataFusionError::Plan(format!("WITH query name \"{name}\" specified more than once")));
        }
        let plan = match form(&cte.query).filter(|_| !references(cte.query.as_ref(), &name).is_empty()) {
            Some(form) => recursive(&cte, &form, &name, pieces, context)?,
            None => renamed(pieces.piece(*cte.query, context)?, &name, &cte.alias.columns)?,
        };
        let plan = LogicalPlanBuilder::from(plan).alias(TableReference::bare(name.clone()))?.build()?;
        context.insert_cte(name, plan);
    }
    Ok(())
}

fn recursive(cte: &Cte, form: &Form<'_>, name: &str, pieces: &dyn Pieces, context: &PlannerContext) -> Result<LogicalPlan> {
    let part = |body: &SetExpr| Query { body: Box::new(body.clone()), order_by: None, limit_clause: None, fetch: None, ..(*cte.query).clone() };
    let distinct = !matches!(set_quantifier(&cte.query), SetQuantifier::All);
    let base = renamed(pieces.piece(part(form.base), context)?, name, &cte.alias.columns)?;
    let (base, term) = typed_terms(base, name, &|base| {
        let fields = base.schema().fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
        let scan = LogicalPlanBuilder::scan(name, pieces.work_table(name, Schema::new(fields))?, None)?.build()?;
        let mut inner = context.clone();
        inner.insert_cte(name, scan);
        pieces.piece(part(form.term), &inner)
    })?;
    LogicalPlanBuilder::from(base).to_recursive_query(name.to_owned(), term, distinct)?.build()
}

fn set_quantifier(query: &Query) -> SetQuantifier {
    match query.body.as_ref() {
        SetExpr::SetOperation { set_quantifier, .. } => *set_quantifier,
        SetExpr::Query(inner) => set_quantifier(inner),
        _ => SetQuantifier::None,
    }
}

/// Both terms with the same types: those of the base, into which the other's are widened, as PostgreSQL allows it.
fn typed_terms(base: LogicalPlan, name: &str, term: &dyn Fn(&LogicalPlan) -> Result<LogicalPlan>) -> Result<(LogicalPlan, LogicalPlan)> {
    let first = term(&base)?;
    let (width, other) = (base.schema().fields().len(), first.schema().fields().len());
    if width != other {
        return Err(DataFusionError::Plan("UNION queries have different number of columns".to_owned()));
    }
    let wider = (0..width).map(|i| numeric_room(base.schema().field(i), first.schema().field(i))).collect::<Vec<_>>();
    if wider.iter().all(Option::is_none) {
        let types = (0..width).map(|i| base.schema().field(i).data_type().clone()).collect::<Vec<_>>();
        check_types(&base, &first, name)?;
        return Ok((base, cast_to(first, &types)?));
    }
    // Numerics of other digits are numerics all the same: the work table gets room for both.
    let types = wider.into_iter().enumerate().map(|(i, w)| w.unwrap_or_else(|| base.schema().field(i).data_type().clone())).collect::<Vec<_>>();
    let base = cast_to(base, &types)?;
    let term = term(&base)?;
    check_types(&base, &term, name)?;
    for (i, of) in types.iter().enumerate() {
        if let (DataType::Decimal128(_, room), DataType::Decimal128(_, scale)) = (of, term.schema().field(i).data_type())
            && scale > room
        {
            let message = format!("recursive query \"{name}\" column {} gets more digits behind the point in each pass", i + 1);
            return Err(external(Error::new(Kind::DatatypeMismatch, message).with_hint("cast it to a numeric(p, s) in both terms")));
        }
    }
    Ok((base, cast_to(term, &types)?))
}

fn numeric_room(base: &Field, term: &Field) -> Option<DataType> {
    match (base.data_type(), term.data_type()) {
        (a @ DataType::Decimal128(_, x), b @ DataType::Decimal128(_, y)) if a != b => Some(DataType::Decimal128(DIGITS, *x.max(y))),
        _ => None,
    }
}

/// Error 42804 where the term's type is not one that becomes the base's by itself.
fn check_types(base: &LogicalPlan, term: &LogicalPlan, name: &str) -> Result<()> {
    for (i, (base, term)) in base.schema().fields().iter().zip(term.schema().fields()).enumerate() {
        let (from, to) = (term.data_type(), base.data_type());
        if from == to || from.is_null() || from.equals_datatype(to) {
            continue;
        }
        let (base, term) = (types::sql_type(base), types::sql_type(term));
        let error = match (rank(from), rank(to)) {
            (Some(a), Some(b)) if a <= b => continue,
            (Some(_), Some(_)) => {
                let message = format!("recursive query \"{name}\" column {} has type {base} in non-recursive term but type {term} overall", i + 1);
                Error::new(Kind::DatatypeMismatch, message).with_hint("Cast the output of the non-recursive term to the correct type.")
            }
            _ => Error::new(Kind::DatatypeMismatch, format!("UNION types {base} and {term} cannot be matched")),
        };
        return Err(external(error));
    }
    Ok(())
}

/// Numbers, and times, become those of a greater rank by themselves; the kinds do not mix.
fn rank(data_type: &DataType) -> Option<u8> {
    use DataType as D;
    Some(match data_type {
        D::Int16 => 1,
        D::Int32 => 2,
        D::Int64 => 3,
        D::Decimal128(..) | D::Decimal256(..) => 4,
        D::Float32 => 5,
        D::Float64 => 6,
        _ => return None,
    })
}

fn cast_to(plan: LogicalPlan, types: &[DataType]) -> Result<LogicalPlan> {
    if plan.schema().fields().iter().zip(types).all(|(f, t)| f.data_type() == t) {
        return Ok(plan);
    }
    let list = plan.schema().iter().zip(types).map(|((qualifier, field), to)| {
        let column = Expr::Column((qualifier, field).into());
        if field.data_type() == to { column } else { Expr::Cast(Cast::new(Box::new(column), to.clone())).alias(field.name()) }
    });
    let list = list.collect::<Vec<_>>();
    LogicalPlanBuilder::from(plan).project(list)?.build()
}

/// The plan's columns, of types that PostgreSQL has, under the names that the list behind the query's name gives the first of them.
pub(super) fn renamed(plan: LogicalPlan, name: &str, columns: &[TableAliasColumnDef]) -> Result<LogicalPlan> {
    let available = plan.schema().fields().len();
    if columns.len() > available {
        let message = format!("WITH query \"{name}\" has {available} columns available but {} columns specified", columns.len());
        return Err(external(Error::new(Kind::InvalidColumnReference, message)));
    }
    let list = plan.schema().iter().enumerate().map(|(i, (qualifier, field))| {
        let column = Expr::Column((qualifier, field).into());
        let to = settled(field.data_type());
        let column = if to == *field.data_type() { column } else { Expr::Cast(Cast::new(Box::new(column), to)) };
        column.alias(columns.get(i).map_or_else(|| field.name().clone(), |c| folded(&c.name)))
    });
    let list = list.collect::<Vec<_>>();
    LogicalPlanBuilder::from(plan).project(list)?.build()
}
