//! A subquery for each of its outer values: its plan with the values behind its columns. A row stands for the values it has there.
//!
//! | node | becomes |
//! | --- | --- |
//! | without outer references | its cross join with the domain |
//! | filter that equates every value with a column | these columns are the values; no domain |
//! | filter, projection | the same, with the values handed on |
//! | `GROUP BY` | grouped by the values too; without keys, every value of the domain has a row |
//! | `DISTINCT` | distinct with the values |
//! | `ORDER BY … LIMIT` | the first by `row_number()` per values |
//! | window functions | partitioned by the values too |
//! | joins | of the sides that refer to values, on equal values; outer sides always have them |
//! | `UNION` | of inputs that all have them |

use super::domain::{Domain, filtered, same};
use super::lateral::in_time;
use super::{Unnesting, columns, named, narrowed, positioned};
use crate::error::Error;
use crate::sql::asof::is_in_time;
use crate::sql::functions::table::external;
use datafusion::common::{Column, DFSchema, NullEquality, Result, TableReference};
use datafusion::functions_window::expr_fn::row_number;
use datafusion::logical_expr::expr::{Alias, WindowFunction};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{
    Aggregate, BinaryExpr, Distinct, DistinctOn, Expr, ExprFunctionExt, ExprSchemable, FetchType, Filter, Join, JoinType, Limit, LogicalPlan,
    LogicalPlanBuilder, Operator, Projection, SkipType, SortExpr, Union, Unnest, Values, Window, lit, when,
};
use std::sync::Arc;

/// A plan whose last columns are the values. `strict`: none of them is ever NULL.
type Dependent = (LogicalPlan, bool);

impl Unnesting {
    pub(super) fn dependent(&mut self, plan: LogicalPlan, domain: &Domain<'_>) -> Result<Dependent> {
        if !domain.is_used(&plan)? {
            let crossed = LogicalPlanBuilder::from(plan).cross_join(domain.plan()?)?.build()?;
            return Ok((crossed, domain.values.iter().all(|v| !v.field.is_nullable())));
        }
        match plan {
            LogicalPlan::Filter(filter) => self.filtered(filter, domain),
            LogicalPlan::Projection(p) => {
                let (input, strict) = self.dependent(Arc::unwrap_or_clone(p.input), domain)?;
                Ok((projected(p.expr, &p.schema, input, domain)?, strict))
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let (input, strict) = self.dependent(Arc::unwrap_or_clone(alias.input), domain)?;
                Ok((renamed(input, &alias.schema, domain)?, strict))
            }
            LogicalPlan::Subquery(subquery) => self.dependent(Arc::unwrap_or_clone(subquery.subquery), domain),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate, domain),
            LogicalPlan::Distinct(Distinct::All(input)) => {
                let (input, strict) = self.dependent(Arc::unwrap_or_clone(input), domain)?;
                Ok((LogicalPlan::Distinct(Distinct::All(Arc::new(input))), strict))
            }
            LogicalPlan::Distinct(Distinct::On(on)) => self.distinct_on(on, domain),
            // An order without a limit says nothing.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.dependent(Arc::unwrap_or_clone(sort.input), domain),
            LogicalPlan::Limit(limit) => self.limit(limit, domain),
            LogicalPlan::Window(window) => self.window(window, domain),
            LogicalPlan::Join(join) => self.both(join, domain),
            LogicalPlan::Union(union) => self.union(union, domain),
            LogicalPlan::Unnest(unnest) => self.unnest(unnest, domain),
            LogicalPlan::Values(values) => self.rows(values, domain),
            other => Err(refused(&other)),
        }
    }

    fn filtered(&mut self, filter: Filter, domain: &Domain<'_>) -> Result<Dependent> {
        if !domain.is_used(&filter.input)?
            && let Some(equal) = equal_columns(&filter.predicate, filter.input.schema(), domain)?
        {
            let known = equal.iter().zip(&domain.values).map(|(e, v)| e.clone().alias(v.name.clone()));
            let list = columns(filter.input.schema()).into_iter().chain(known).collect();
            let input = LogicalPlan::Projection(Projection::try_new(list, Arc::clone(&filter.input))?);
            let rest = split_conjunction(&filter.predicate).into_iter().filter(|c| equated(c, domain).is_none()).cloned();
            let present = domain.columns().into_iter().map(Expr::is_not_null);
            let conditions = rest.map(|c| domain.inside(c)).collect::<Result<Vec<_>>>()?.into_iter().chain(present);
            return Ok((filtered(input, conjunction(conditions).unwrap_or_else(|| lit(true)))?, true));
        }
        let (input, strict) = self.dependent(Arc::unwrap_or_clone(filter.input), domain)?;
        Ok((filtered(input, domain.inside(filter.predicate)?)?, strict))
    }

    /// Without keys there is a row over nothing too: counts are 0 in it, all else is NULL.
    fn aggregate(&mut self, aggregate: Aggregate, domain: &Domain<'_>) -> Result<Dependent> {
        if aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
            return Err(refused(&LogicalPlan::Aggregate(aggregate)));
        }
        let (input, strict) = self.dependent(Arc::unwrap_or_clone(aggregate.input), domain)?;
        let keys = aggregate.group_expr.len();
        let inside = |list: Vec<Expr>| list.into_iter().map(|e| domain.inside(e)).collect::<Result<Vec<_>>>();
        let (group, calls) = (inside(aggregate.group_expr)?, inside(aggregate.aggr_expr)?);
        let over_nothing = calls.iter().map(over_nothing).collect::<Result<Vec<_>>>()?;
        let width = domain.values.len();
        let grouped = LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), domain.columns().into_iter().chain(group).collect(), calls)?);
        let names = aggregate.schema.iter().map(|(q, f)| (q.cloned(), f.name().clone()));
        let values = domain.values.iter().map(|v| (None, v.name.clone()));
        if keys > 0 {
            let total = grouped.schema().fields().len();
            return Ok((positioned(grouped, (width..total).chain(0..width).zip(names.chain(values)))?, strict));
        }
        // The values of the groups under other names, beside those of the domain.
        let found: Vec<String> = domain.values.iter().map(|_| self.name("group")).collect();
        let results: Vec<String> = over_nothing.iter().map(|_| self.name("result")).collect();
        let all = found.iter().chain(&results).map(|name| (None, name.clone())).enumerate();
        let grouped = positioned(grouped, all)?;
        let of = |name: &String| Expr::Column(Column::new_unqualified(name.clone()));
        let pairs = domain.values.iter().zip(&found).map(|(v, name)| same(v.column(), of(name), &v.field, strict || !v.field.is_nullable()));
        let joined = LogicalPlanBuilder::from(domain.plan()?).join_on(grouped, JoinType::Left, pairs.collect::<Result<Vec<_>>>()?)?.build()?;
        let result = |(name, nothing): (&String, Option<Expr>)| match nothing {
            Some(nothing) => when(of(name).is_null(), nothing).otherwise(of(name)),
            None => Ok(of(name)),
        };
        let results = results.iter().zip(over_nothing).map(result).collect::<Result<Vec<_>>>()?;
        let list = results.into_iter().zip(names).map(|(e, (q, n))| named(e, q.as_ref(), &n)).chain(domain.columns()).collect();
        Ok((LogicalPlan::Projection(Projection::try_new(list, Arc::new(joined))?), domain.values.iter().all(|v| !v.field.is_nullable())))
    }

    fn distinct_on(&mut self, on: DistinctOn, domain: &Domain<'_>) -> Result<Dependent> {
        let (input, strict) = self.dependent(Arc::unwrap_or_clone(on.input), domain)?;
        let inside = |list: Vec<Expr>| list.into_iter().map(|e| domain.inside(e)).collect::<Result<Vec<_>>>();
        let keys = domain.columns().into_iter().chain(inside(on.on_expr)?).collect();
        let list = named_as(inside(on.select_expr)?, &on.schema).into_iter().chain(domain.columns()).collect();
        let sort = match on.sort_expr {
            None => None,
            Some(sort) => Some(domain.columns().into_iter().map(|c| c.sort(true, false)).chain(sorted(sort, domain)?).collect()),
        };
        Ok((LogicalPlan::Distinct(Distinct::On(DistinctOn::try_new(keys, list, sort, Arc::new(input))?)), strict))
    }

    fn limit(&mut self, limit: Limit, domain: &Domain<'_>) -> Result<Dependent> {
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) = (limit.get_skip_type()?, limit.get_fetch_type()?) else {
            return Err(refused(&LogicalPlan::Limit(limit)));
        };
        self.first(Arc::unwrap_or_clone(limit.input), skip as u64, fetch.map(|f| f as u64), domain)
    }

    /// The rows of the plan's order behind `skip`, for each of the values.
    fn first(&mut self, plan: LogicalPlan, skip: u64, fetch: Option<u64>, domain: &Domain<'_>) -> Result<Dependent> {
        let (input, order) = match plan {
            LogicalPlan::Projection(p) if is_ordered(&p.input) => {
                let (input, strict) = self.first(Arc::unwrap_or_clone(p.input), skip, fetch, domain)?;
                return Ok((projected(p.expr, &p.schema, input, domain)?, strict));
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let (input, strict) = self.first(Arc::unwrap_or_clone(alias.input), skip, fetch, domain)?;
                return Ok((renamed(input, &alias.schema, domain)?, strict));
            }
            LogicalPlan::Sort(sort) => (Arc::unwrap_or_clone(sort.input), sort.expr),
            other => (other, Vec::new()),
        };
        let (input, strict) = self.dependent(input, domain)?;
        let schema = Arc::clone(input.schema());
        let name = self.name("row");
        let number = row_number().partition_by(domain.columns());
        let number = if order.is_empty() { number } else { number.order_by(sorted(order, domain)?) };
        let number = number.build()?.alias(name.clone());
        let numbered = LogicalPlan::Window(Window::try_new(vec![number], Arc::new(input))?);
        let number = || Expr::Column(Column::new_unqualified(name.clone()));
        let until = fetch.map(|f| number().lt_eq(lit(skip.saturating_add(f))));
        let from = (skip > 0).then(|| number().gt(lit(skip)));
        let Some(within) = conjunction(until.into_iter().chain(from)) else { return Ok((narrowed(numbered, &schema)?, strict)) };
        Ok((narrowed(filtered(numbered, within)?, &schema)?, strict))
    }

    fn window(&mut self, window: Window, domain: &Domain<'_>) -> Result<Dependent> {
        let own = window.input.schema().fields().len();
        let (input, strict) = self.dependent(Arc::unwrap_or_clone(window.input), domain)?;
        let exprs = window.window_expr.into_iter().map(|e| partitioned(domain.inside(e)?, domain)).collect::<Result<Vec<_>>>()?;
        let window_plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(input))?);
        let (wide, width) = (window_plan.schema().fields().len(), domain.values.len());
        let places = (0..own).chain(own + width..wide).chain(own..own + width);
        let names = window.schema.iter().map(|(q, f)| (q.cloned(), f.name().clone())).chain(domain.values.iter().map(|v| (None, v.name.clone())));
        Ok((positioned(window_plan, places.zip(names))?, strict))
    }

    fn union(&mut self, union: Union, domain: &Domain<'_>) -> Result<Dependent> {
        let inputs = union.inputs.into_iter().map(|input| self.dependent(Arc::unwrap_or_clone(input), domain)).collect::<Result<Vec<_>>>()?;
        let strict = inputs.iter().all(|(_, strict)| *strict);
        let united = LogicalPlan::Union(Union::try_new_with_loose_types(inputs.into_iter().map(|(input, _)| Arc::new(input)).collect())?);
        let names = union.schema.iter().map(|(q, f)| (q.cloned(), f.name().clone())).chain(domain.values.iter().map(|v| (None, v.name.clone())));
        Ok((positioned(united, names.enumerate().collect::<Vec<_>>().into_iter())?, strict))
    }

    fn unnest(&mut self, unnest: Unnest, domain: &Domain<'_>) -> Result<Dependent> {
        let (input, strict) = self.dependent(Arc::unwrap_or_clone(unnest.input), domain)?;
        Ok((LogicalPlan::Unnest(Unnest::try_new(Arc::new(input), unnest.exec_columns, unnest.options)?), strict))
    }

    /// Rows of VALUES that name outer columns: one projection of the domain each.
    fn rows(&mut self, values: Values, domain: &Domain<'_>) -> Result<Dependent> {
        let of = Arc::new(domain.plan()?);
        let row = |row: Vec<Expr>| -> Result<Arc<LogicalPlan>> {
            let row = row.into_iter().map(|e| domain.inside(e)).collect::<Result<Vec<_>>>()?;
            let list = named_as(row, &values.schema).into_iter().chain(domain.columns()).collect();
            Ok(Arc::new(LogicalPlan::Projection(Projection::try_new(list, Arc::clone(&of))?)))
        };
        let mut rows = values.values.iter().cloned().map(row).collect::<Result<Vec<_>>>()?;
        let plan = match rows.len() {
            1 => rows.swap_remove(0).as_ref().clone(),
            _ => LogicalPlan::Union(Union::try_new_with_loose_types(rows)?),
        };
        Ok((plan, domain.values.iter().all(|v| !v.field.is_nullable())))
    }

    /// A join of which at least one side, or the condition, refers to the values.
    fn both(&mut self, join: Join, domain: &Domain<'_>) -> Result<Dependent> {
        use JoinType as J;
        if join.filter.as_ref().is_some_and(is_in_time) {
            return Err(in_time());
        }
        let (in_left, in_right) = (domain.is_used(&join.left)?, domain.is_used(&join.right)?);
        let (with_left, with_right) = match join.join_type {
            J::Inner => (in_left || !in_right, in_right),
            J::Left | J::LeftSemi | J::LeftAnti | J::LeftMark => (true, in_right),
            J::Right | J::RightSemi | J::RightAnti | J::RightMark => (in_left, true),
            J::Full => (true, true),
        };
        let original = Arc::clone(&join.schema);
        let (mut left, mut left_strict) = (join.left.as_ref().clone(), true);
        let (mut right, mut right_strict) = (join.right.as_ref().clone(), true);
        if with_left {
            (left, left_strict) = self.dependent(left, domain)?;
        }
        if with_right {
            (right, right_strict) = self.dependent(right, domain)?;
        }
        // INTERSECT and EXCEPT are joins to which NULLs are equal.
        let strict = join.null_equality == NullEquality::NullEqualsNothing;
        let pair = |(l, r): (Expr, Expr)| {
            let (l, r) = (domain.inside(l)?, domain.inside(r)?);
            let (_, field) = l.to_field(left.schema().as_ref())?;
            same(l, r, &field, strict)
        };
        let mut conditions = join.on.into_iter().map(pair).collect::<Result<Vec<_>>>()?;
        conditions.extend(join.filter.map(|f| domain.inside(f)).transpose()?);
        let twins: Vec<String> = if with_left && with_right { domain.values.iter().map(|_| self.name("twin")).collect() } else { Vec::new() };
        if !twins.is_empty() {
            let own = right.schema().fields().len() - twins.len();
            let kept = right.schema().iter().take(own).map(|(q, f)| (q.cloned(), f.name().clone())).collect::<Vec<_>>();
            let names = kept.into_iter().chain(twins.iter().map(|name| (None, name.clone())));
            right = positioned(right, names.enumerate().collect::<Vec<_>>().into_iter())?;
            let twin = |name: &String| Expr::Column(Column::new_unqualified(name.clone()));
            for (value, name) in domain.values.iter().zip(&twins) {
                conditions.push(same(value.column(), twin(name), &value.field, (left_strict && right_strict) || !value.field.is_nullable())?);
            }
        }
        let joined = LogicalPlanBuilder::from(left).join_on(right, join.join_type, conditions)?.build()?;
        let values = domain.values.iter().enumerate().map(|(i, v)| match (join.join_type, twins.get(i)) {
            // A row of the right side alone has its values there.
            (J::Full, Some(twin)) => {
                let twin = Expr::Column(Column::new_unqualified(twin.clone()));
                when(v.column().is_null(), twin).otherwise(v.column()).map(|e| e.alias(v.name.clone()))
            }
            (J::Right | J::RightSemi | J::RightAnti, Some(twin)) => Ok(Expr::Column(Column::new_unqualified(twin.clone())).alias(v.name.clone())),
            _ => Ok(v.column()),
        });
        let list = columns(&original).into_iter().map(Ok).chain(values).collect::<Result<Vec<_>>>()?;
        let strict = (!with_left || left_strict) && (!with_right || right_strict);
        Ok((LogicalPlan::Projection(Projection::try_new(list, Arc::new(joined))?), strict))
    }
}

/// What the filter says each value is equal to; `None` unless it says so of all of them.
fn equal_columns(predicate: &Expr, schema: &DFSchema, domain: &Domain<'_>) -> Result<Option<Vec<Expr>>> {
    let mut equal: Vec<Option<Expr>> = vec![None; domain.values.len()];
    for condition in split_conjunction(predicate) {
        if let Some((place, expr)) = equated(condition, domain)
            && expr.get_type(schema)? == *domain.values[place].field.data_type()
        {
            equal[place].get_or_insert(expr);
        }
    }
    let complete = equal.into_iter().collect::<Option<Vec<_>>>();
    // A second condition on the same value stays; one that was not taken for its type must too.
    let taken = |expr: &Expr| complete.as_ref().is_some_and(|c| c.contains(expr));
    let all_taken = split_conjunction(predicate).into_iter().filter_map(|c| equated(c, domain)).all(|(_, expr)| taken(&expr));
    Ok(if all_taken { complete } else { None })
}

/// `value = expression of the subquery's own`.
fn equated(condition: &Expr, domain: &Domain<'_>) -> Option<(usize, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = condition else { return None };
    let place = |e: &Expr| match e {
        Expr::OuterReferenceColumn(_, c) => domain.values.iter().position(|v| v.outer == *c),
        _ => None,
    };
    let own = |e: &Expr| !e.contains_outer() && !e.column_refs().is_empty();
    match (place(left), place(right)) {
        (Some(place), None) if own(right) => Some((place, right.as_ref().clone())),
        (None, Some(place)) if own(left) => Some((place, left.as_ref().clone())),
        _ => None,
    }
}

/// A projection with the values behind it.
fn projected(exprs: Vec<Expr>, schema: &DFSchema, input: LogicalPlan, domain: &Domain<'_>) -> Result<LogicalPlan> {
    let inside = exprs.into_iter().map(|e| domain.inside(e)).collect::<Result<Vec<_>>>()?;
    let list = named_as(inside, schema).into_iter().chain(domain.columns()).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(list, Arc::new(input))?))
}

/// The columns of an alias, the values without it.
fn renamed(input: LogicalPlan, schema: &DFSchema, domain: &Domain<'_>) -> Result<LogicalPlan> {
    let names = schema.iter().map(|(q, f)| (q.cloned(), f.name().clone())).chain(domain.values.iter().map(|v| (None::<TableReference>, v.name.clone())));
    positioned(input, names.enumerate().collect::<Vec<_>>().into_iter())
}

fn named_as(exprs: Vec<Expr>, schema: &DFSchema) -> Vec<Expr> {
    exprs.into_iter().zip(schema.iter()).map(|(e, (qualifier, field))| named(e, qualifier, field.name())).collect()
}

fn sorted(order: Vec<SortExpr>, domain: &Domain<'_>) -> Result<Vec<SortExpr>> {
    order.into_iter().map(|s| Ok(SortExpr { expr: domain.inside(s.expr)?, ..s })).collect()
}

fn partitioned(expr: Expr, domain: &Domain<'_>) -> Result<Expr> {
    match expr {
        Expr::Alias(Alias { expr, relation, name, metadata }) => {
            let expr = Box::new(partitioned(*expr, domain)?);
            Ok(Expr::Alias(Alias { expr, relation, name, metadata }))
        }
        Expr::WindowFunction(call) => {
            let WindowFunction { fun, mut params } = *call;
            params.partition_by = domain.columns().into_iter().chain(params.partition_by).collect();
            Ok(Expr::WindowFunction(Box::new(WindowFunction { fun, params })))
        }
        other => Err(external(Error::internal(format!("{other} stands among window functions and is none")))),
    }
}

/// What an aggregate gives over no rows, if that is not NULL.
fn over_nothing(call: &Expr) -> Result<Option<Expr>> {
    match call {
        Expr::Alias(alias) => over_nothing(&alias.expr),
        Expr::AggregateFunction(call) => {
            let argument = arrow::datatypes::DataType::Int64;
            let value = call.func.default_value(&argument)?;
            Ok((!value.is_null()).then_some(Expr::Literal(value, None)))
        }
        _ => Ok(None),
    }
}

fn is_ordered(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Sort(_) => true,
        LogicalPlan::Projection(p) => is_ordered(&p.input),
        LogicalPlan::SubqueryAlias(a) => is_ordered(&a.input),
        _ => false,
    }
}

fn refused(plan: &LogicalPlan) -> datafusion::error::DataFusionError {
    let what = match plan {
        LogicalPlan::Aggregate(_) => "grouping sets",
        LogicalPlan::Limit(_) => "a LIMIT that is no constant",
        LogicalPlan::RecursiveQuery(_) => "WITH RECURSIVE",
        _ => "this form",
    };
    external(Error::not_supported(format!("a correlated subquery with {what} is not supported")).with_hint("write it as a join over a grouped subquery"))
}
