//! `WITH MUTUALLY RECURSIVE r1 (a int, …) AS (…), r2 (…) AS (…) SELECT …` (Materialize's): queries that may read each other and themselves in any order, so
//! their columns are declared with types. What becomes of the whole is the planner's business ([`crate::sql::bind::Names::mutual_recursion`]).

use super::{Pieces, rank};
use crate::error::{Error, Kind, Result};
use crate::sql::functions::table::external;
use crate::sql::types::{self, folded};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::TableReference;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Cast, Distinct, Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::planner::PlannerContext;
use datafusion::sql::sqlparser::ast::{Cte, With};
use std::sync::Arc;

/// How the parser marks it: a first query of this name.
const MARK: &str = "mutually\u{1}";

/// What happens at the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beyond {
    Error,
    Return,
}

/// The bound clause.
pub struct Mutual {
    pub bindings: Vec<Binding>,
    /// Iterations; `None`: as many as the engine allows.
    pub limit: Option<u64>,
    pub beyond: Beyond,
}

/// One of the queries, with rows of exactly the declared types.
pub struct Binding {
    pub name: String,
    pub schema: SchemaRef,
    pub body: LogicalPlan,
}

/// The name of the first query.
pub fn mark(beyond: Beyond, limit: Option<u64>) -> String {
    let beyond = if beyond == Beyond::Return { "return" } else { "error" };
    format!("{MARK}{beyond}\u{1}{}", limit.map_or(String::new(), |l| l.to_string()))
}

/// Whether a WITH RECURSIVE was written WITH MUTUALLY RECURSIVE.
pub fn is_mutual(with: &With) -> bool {
    with.cte_tables.first().is_some_and(|c| c.alias.name.value.starts_with(MARK))
}

/// Inserts the names of the clause, as what is to be iterated.
pub fn bind(with: With, pieces: &dyn Pieces, context: &mut PlannerContext) -> DataFusionResult<Mutual> {
    let mut ctes = with.cte_tables.into_iter();
    let marked = ctes.next().map(|c| c.alias.name.value).unwrap_or_default();
    let mut parts = marked.split('\u{1}').skip(1);
    let beyond = if parts.next() == Some("return") { Beyond::Return } else { Beyond::Error };
    let limit = parts.next().and_then(|l| l.parse().ok());
    let ctes: Vec<(Cte, SchemaRef)> = ctes.map(|cte| declared(&cte).map(|schema| (cte, schema))).collect::<Result<_>>().map_err(external)?;
    for (cte, schema) in &ctes {
        let name = folded(&cte.alias.name);
        if context.contains_cte(&name) {
            return Err(datafusion::error::DataFusionError::Plan(format!("WITH query name \"{name}\" specified more than once")));
        }
        let source = pieces.work_table(&name, schema.as_ref().clone())?;
        context.insert_cte(name.clone(), LogicalPlanBuilder::scan(TableReference::bare(name), source, None)?.build()?);
    }
    let bindings = ctes.into_iter().map(|(cte, schema)| {
        let name = folded(&cte.alias.name);
        let body = fitted(pieces.piece(*cte.query, context)?, &name, &schema)?;
        Ok(Binding { name, schema, body })
    });
    Ok(Mutual { bindings: bindings.collect::<DataFusionResult<_>>()?, limit, beyond })
}

fn declared(cte: &Cte) -> Result<SchemaRef> {
    let name = folded(&cte.alias.name);
    let field = |column: &datafusion::sql::sqlparser::ast::TableAliasColumnDef| -> Result<Field> {
        match &column.data_type {
            Some(data_type) => types::field(&folded(&column.name), data_type).map(|(field, _)| field),
            None => Err(untyped(&name)),
        }
    };
    if cte.alias.columns.is_empty() {
        return Err(untyped(&name));
    }
    Ok(Arc::new(Schema::new(cte.alias.columns.iter().map(field).collect::<Result<Vec<_>>>()?)))
}

fn untyped(name: &str) -> Error {
    Error::new(Kind::Syntax, format!("WITH MUTUALLY RECURSIVE query \"{name}\" must declare its columns with types"))
        .with_hint("write name (column type, …) AS (…)")
}

/// The body with the declared types; below a DISTINCT, so that what is one row stays one.
fn fitted(body: LogicalPlan, name: &str, schema: &SchemaRef) -> DataFusionResult<LogicalPlan> {
    let types = |fields: &arrow::datatypes::Fields| fields.iter().map(|f| types::sql_type(f)).collect::<Vec<_>>().join(", ");
    let found = body.schema().fields();
    let fits = found.len() == schema.fields().len()
        && found.iter().zip(schema.fields()).all(|(f, s)| {
            let (from, to) = (f.data_type(), s.data_type());
            from.equals_datatype(to) || from.is_null() || matches!((rank(from), rank(to)), (Some(a), Some(b)) if a <= b)
        });
    if !fits {
        let message = format!("WITH MUTUALLY RECURSIVE query \"{name}\" declared types ({}), but its query has ({})", types(schema.fields()), types(found));
        return Err(external(Error::new(Kind::DatatypeMismatch, message).with_hint("cast the columns of the query, in each part of a UNION")));
    }
    match body {
        LogicalPlan::Distinct(Distinct::All(input)) => Ok(LogicalPlan::Distinct(Distinct::All(Arc::new(cast(Arc::unwrap_or_clone(input), schema)?)))),
        other => cast(other, schema),
    }
}

/// Each part of a UNION is cast for itself, so that it stays a UNION.
fn cast(plan: LogicalPlan, to: &SchemaRef) -> DataFusionResult<LogicalPlan> {
    if plan.schema().fields().iter().zip(to.fields()).all(|(f, t)| f.data_type() == t.data_type()) {
        return Ok(plan);
    }
    if let LogicalPlan::Union(union) = plan {
        let parts = union.inputs.iter().map(|i| cast(i.as_ref().clone(), to)).collect::<DataFusionResult<Vec<_>>>()?;
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else { return Err(external(Error::internal("a UNION of nothing"))) };
        return parts.try_fold(LogicalPlanBuilder::from(first), |all, next| all.union(next))?.build();
    }
    let list = plan.schema().iter().zip(to.fields()).map(|((qualifier, field), to)| {
        let column = Expr::Column((qualifier, field).into());
        if field.data_type() == to.data_type() { column } else { Expr::Cast(Cast::new(Box::new(column), to.data_type().clone())).alias(field.name()) }
    });
    let list = list.collect::<Vec<_>>();
    LogicalPlanBuilder::from(plan).project(list)?.build()
}
