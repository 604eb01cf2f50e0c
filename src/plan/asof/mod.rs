//! Joins in time as the planner sees them: a bound join whose condition says that it is one (`sql/asof.rs`) is taken apart here, into an [`AsofJoin`] for views and into
//! window functions for batches ([`batch`]).
//!
//! ```text
//!   Join: a.k = b.k AND tw_asof(a.ts >= b.ts)            keys a.k = b.k, the nearest b.ts at or before a.ts
//!   Join: a.k = b.k AND tw_version_at(a.ts)              the same with b's event time
//! ```
//!
//! DataFusion's rules know nothing of it, and must not: a condition on the right side may not go below, for it would change which row is the nearest. One on the left side may
//! ([`LeftConditions`]). All columns of the right side are kept where they tell ties apart.

pub mod batch;

use super::relation::RelationSource;
use super::time::is_instant;
use crate::dataflow::ops::join::asof::Nearest;
use crate::error::{Error, Kind, Result};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, DFSchemaRef, DataFusionError, JoinType, Result as DataFusionResult};
use datafusion::logical_expr::logical_plan::builder::build_join_schema;
use datafusion::logical_expr::utils::{conjunction, split_conjunction, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, ExprSchemable, Extension, Filter, Join, LogicalPlan, Operator, UserDefinedLogicalNodeCore};
use datafusion::optimizer::{ApplyOrder, OptimizerConfig, OptimizerRule};
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// Names that `sql/functions/asof.rs` gives.
const ASOF: &str = "tw_asof";
const VERSION_AT: &str = "tw_version_at";

/// What a join's condition says.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Parts {
    /// Equal expressions of the left, the right side.
    keys: Vec<(Expr, Expr)>,
    /// What is compared: of the left, the right side.
    times: (Expr, Expr),
    nearest: Nearest,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AsofJoin {
    left: LogicalPlan,
    right: LogicalPlan,
    parts: Parts,
    /// Whether left rows without a match come out.
    padded: bool,
    /// Whether the right side has one row at most of a key and time: then no column tells ties apart.
    unique: bool,
    schema: DFSchemaRef,
}

impl AsofJoin {
    fn new(left: LogicalPlan, right: LogicalPlan, parts: Parts, padded: bool, unique: bool) -> DataFusionResult<AsofJoin> {
        let join_type = if padded { JoinType::Left } else { JoinType::Inner };
        let schema = Arc::new(build_join_schema(left.schema(), right.schema(), &join_type)?);
        Ok(AsofJoin { left, right, parts, padded, unique, schema })
    }

    /// The node, if `plan` is one.
    pub(super) fn of(plan: &Extension) -> Option<&AsofJoin> {
        plan.node.as_any().downcast_ref::<AsofJoin>()
    }

    pub(super) fn sides(&self) -> [&LogicalPlan; 2] {
        [&self.left, &self.right]
    }

    pub(super) fn keys(&self) -> &[(Expr, Expr)] {
        &self.parts.keys
    }

    pub(super) fn times(&self) -> &(Expr, Expr) {
        &self.parts.times
    }

    pub(super) fn nearest(&self) -> Nearest {
        self.parts.nearest
    }

    pub(super) fn is_padded(&self) -> bool {
        self.padded
    }
}

/// The plan of a view with its joins in time as nodes of their own.
pub(super) fn lifted(plan: LogicalPlan) -> Result<LogicalPlan> {
    replaced(plan, &|join, parts| {
        let unique = is_unique(&join.right, &parts);
        let padded = join.join_type == JoinType::Left;
        let node = AsofJoin::new(Arc::unwrap_or_clone(join.left), Arc::unwrap_or_clone(join.right), parts, padded, unique)?;
        Ok(LogicalPlan::Extension(Extension { node: Arc::new(node) }))
    })
}

/// The plan with each join in time as what `with` makes of it.
fn replaced(plan: LogicalPlan, with: &dyn Fn(Join, Parts) -> DataFusionResult<LogicalPlan>) -> Result<LogicalPlan> {
    if !is_any(&plan)? {
        return Ok(plan);
    }
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) => match parts(&join).map_err(|e| DataFusionError::External(Box::new(e)))? {
            Some(parts) => with(join, parts).map(Transformed::yes),
            None => LogicalPlan::Join(join).recompute_schema().map(Transformed::yes),
        },
        LogicalPlan::Values(_) | LogicalPlan::TableScan(_) => Ok(Transformed::no(node)),
        // What was replaced below may have columns that can be NULL now.
        other => other.recompute_schema().map(Transformed::yes),
    })?;
    if is_any(&plan.data)? {
        return Err(Error::not_supported("ASOF JOIN in this place is not supported").with_hint("make the join first, in FROM or WITH"));
    }
    Ok(plan.data)
}

fn is_any(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            found |= expr.exists(|e| Ok(mark(e).is_some()))?;
            Ok(TreeNodeRecursion::Continue)
        })
    })?;
    Ok(found)
}

/// The name and the argument of a mark.
fn mark(expr: &Expr) -> Option<(&str, &Expr)> {
    match expr {
        Expr::ScalarFunction(call) if [ASOF, VERSION_AT].contains(&call.func.name()) => Some((call.func.name(), call.args.first()?)),
        _ => None,
    }
}

/// What a bound join says, if it is one in time.
fn parts(join: &Join) -> Result<Option<Parts>> {
    let Some(filter) = &join.filter else { return Ok(None) };
    let (mut conditions, mut version, mut is_asof) = (Vec::new(), None, false);
    for condition in split_conjunction(filter) {
        match mark(condition) {
            Some((ASOF, inner)) => {
                is_asof = true;
                conditions.extend(split_conjunction(inner));
            }
            Some((_, time)) => version = Some(time.clone()),
            None => conditions.push(condition),
        }
    }
    if version.is_none() && !is_asof {
        return Ok(None);
    }
    let (left, right) = (join.left.schema().as_ref(), join.right.schema().as_ref());
    let mut keys = join.on.clone();
    let mut compared = Vec::new();
    for condition in conditions {
        match sided(condition, left, right) {
            Some((l, Operator::Eq, r)) => keys.push((l, r)),
            Some((l, op, r)) if is_asof => match nearest(op) {
                Some(nearest) => compared.push((l, r, nearest)),
                None => return Err(odd(condition)),
            },
            _ => return Err(odd(condition)),
        }
    }
    if let Some(time) = version {
        let other = time.column_refs().into_iter().find(|c| !left.has_column(c));
        if other.is_some() {
            return Err(Error::not_supported("FOR SYSTEM_TIME AS OF a time that is not of the left side is not supported")
                .with_hint("write a time of the row that looks the version up: … AS OF a.ts"));
        }
        let right = event_time(&join.right)?;
        compared.push((as_time(time, left, &right, join.right.schema())?, right, Nearest::AtOrBefore));
    }
    match <[_; 1]>::try_from(compared) {
        Ok([(l, r, nearest)]) => Ok(Some(Parts { keys, times: (l, r), nearest })),
        Err(other) => Err(Error::not_supported(format!("ASOF JOIN with {} comparisons of times is not supported", other.len()))
            .with_hint("it takes one of >=, >, <= and < between columns of both sides: MATCH_CONDITION (a.ts >= b.ts)")),
    }
}

fn odd(condition: &Expr) -> Error {
    Error::not_supported(format!("the condition {} of an ASOF JOIN is not supported", super::text::sql(condition)))
        .with_hint("ON takes columns of both sides that are equal; filter either side in a subquery, or the result in WHERE")
}

/// A comparison with its left operand of the left side and its right one of the right side.
fn sided(condition: &Expr, left: &DFSchema, right: &DFSchema) -> Option<(Expr, Operator, Expr)> {
    let Expr::BinaryExpr(BinaryExpr { left: a, op, right: b }) = condition else { return None };
    let of = |e: &Expr, schema: &DFSchema| {
        let columns = e.column_refs();
        !columns.is_empty() && columns.into_iter().all(|c| schema.has_column(c))
    };
    if of(a, left) && of(b, right) {
        return Some((a.as_ref().clone(), *op, b.as_ref().clone()));
    }
    (of(a, right) && of(b, left)).then(|| Some((b.as_ref().clone(), op.swap()?, a.as_ref().clone()))).flatten()
}

fn nearest(op: Operator) -> Option<Nearest> {
    Some(match op {
        Operator::GtEq => Nearest::AtOrBefore,
        Operator::Gt => Nearest::Before,
        Operator::LtEq => Nearest::AtOrAfter,
        Operator::Lt => Nearest::After,
        _ => return None,
    })
}

/// The relation that a side of a join is, if it is nothing else.
fn relation(plan: &LogicalPlan) -> Option<(&super::Relation, &DFSchema)> {
    let mut inner = plan;
    while let LogicalPlan::SubqueryAlias(alias) = inner {
        inner = &alias.input;
    }
    match inner {
        LogicalPlan::TableScan(scan) if scan.projection.is_none() => Some((RelationSource::of(scan.source.as_ref())?, plan.schema())),
        _ => None,
    }
}

/// The event time of the right side.
fn event_time(plan: &LogicalPlan) -> Result<Expr> {
    let hint = "FOR SYSTEM_TIME AS OF finds versions by the event time of a source, a table APPEND ONLY or a materialized view, which WATERMARK FOR declares; \
                with another column write a ASOF JOIN b MATCH_CONDITION (a.ts >= b.valid_from) ON a.k = b.k";
    let Some((relation, schema)) = relation(plan) else {
        return Err(Error::not_supported("FOR SYSTEM_TIME AS OF a time of rows, of what is no stored relation, is not supported").with_hint(hint));
    };
    let times = relation.event_time.iter().filter(|t| is_instant(&t.kind)).collect::<Vec<_>>();
    match times.as_slice() {
        [time] => Ok(Expr::Column(Column::from(schema.qualified_field(time.column)))),
        [] => Err(Error::not_supported(format!("FOR SYSTEM_TIME AS OF a time of rows: \"{}\" has no event time", relation.name)).with_hint(hint)),
        _ => Err(Error::not_supported(format!("FOR SYSTEM_TIME AS OF a time of rows: \"{}\" has several event times", relation.name)).with_hint(hint)),
    }
}

/// The left side's time in the type of the right one.
fn as_time(time: Expr, schema: &DFSchema, right: &Expr, right_schema: &DFSchema) -> Result<Expr> {
    let (from, to) = (time.get_type(schema)?, right.get_type(right_schema)?);
    match from {
        _ if from == to => Ok(time),
        DataType::Timestamp(..) | DataType::Date32 => Ok(Expr::Cast(Cast::new(Box::new(time), to))),
        _ => Err(Error::new(Kind::DatatypeMismatch, "FOR SYSTEM_TIME AS OF takes a timestamp")),
    }
}

/// Whether the right side is a relation whose key is among what is equal and the time.
fn is_unique(plan: &LogicalPlan, parts: &Parts) -> bool {
    let Some((relation, schema)) = relation(plan) else { return false };
    let named = parts.keys.iter().map(|(_, r)| r).chain([&parts.times.1]);
    let known = named.filter_map(|e| e.try_as_col().and_then(|c| schema.maybe_index_of_column(c))).collect::<Vec<_>>();
    !relation.key.is_empty() && relation.key.iter().all(|c| known.contains(c))
}

impl PartialOrd for AsofJoin {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for AsofJoin {
    fn name(&self) -> &str {
        "AsofJoin"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.left, &self.right]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    /// Left keys, right keys, left time, right time.
    fn expressions(&self) -> Vec<Expr> {
        let (left, right): (Vec<_>, Vec<_>) = self.parts.keys.iter().cloned().unzip();
        left.into_iter().chain(right).chain([self.parts.times.0.clone(), self.parts.times.1.clone()]).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (l, r) = &self.parts.times;
        let equal = self.parts.keys.iter().map(|(l, r)| format!("{l} = {r} AND ")).collect::<String>();
        write!(f, "AsofJoin: {} {equal}nearest {l} {} {r}", if self.padded { "Left" } else { "Inner" }, self.parts.nearest.symbol())
    }

    fn with_exprs_and_inputs(&self, mut exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> DataFusionResult<Self> {
        let count = self.parts.keys.len();
        let (Ok([left, right]), true) = (<[_; 2]>::try_from(inputs), exprs.len() == 2 * count + 2) else {
            return Err(DataFusionError::Internal("an ASOF join keeps its sides and conditions".to_string()));
        };
        let times = exprs.split_off(2 * count);
        let rights = exprs.split_off(count);
        let [left_time, right_time] = <[_; 2]>::try_from(times).map_err(|_| DataFusionError::Internal("an ASOF join compares two times".to_string()))?;
        let parts = Parts { keys: exprs.into_iter().zip(rights).collect(), times: (left_time, right_time), nearest: self.parts.nearest };
        AsofJoin::new(left, right, parts, self.padded, self.unique)
    }

    fn necessary_children_exprs(&self, output: &[usize]) -> Option<Vec<Vec<usize>>> {
        let width = self.left.schema().fields().len();
        let left = output.iter().copied().filter(|c| *c < width).collect();
        let right = match self.unique {
            true => output.iter().filter_map(|c| c.checked_sub(width)).collect(),
            false => (0..self.right.schema().fields().len()).collect(),
        };
        Some(vec![left, right])
    }
}

/// Conditions above an [`AsofJoin`] that speak of its left side go below it: rows that cannot matter never reach state.
#[derive(Debug)]
pub(super) struct LeftConditions;

impl OptimizerRule for LeftConditions {
    fn name(&self) -> &str {
        "left_conditions_of_asof_joins"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn supports_rewrite(&self) -> bool {
        true
    }

    fn rewrite(&self, plan: LogicalPlan, _config: &dyn OptimizerConfig) -> DataFusionResult<Transformed<LogicalPlan>> {
        let LogicalPlan::Filter(filter) = &plan else { return Ok(Transformed::no(plan)) };
        let LogicalPlan::Extension(extension) = filter.input.as_ref() else { return Ok(Transformed::no(plan)) };
        let Some(join) = AsofJoin::of(extension) else { return Ok(Transformed::no(plan)) };
        let of_left = |e: &Expr| !e.is_volatile() && e.column_refs().into_iter().all(|c| join.left.schema().has_column(c));
        let (below, above): (Vec<Expr>, Vec<Expr>) = split_conjunction_owned(filter.predicate.clone()).into_iter().partition(of_left);
        let Some(condition) = conjunction(below) else { return Ok(Transformed::no(plan)) };
        let left = LogicalPlan::Filter(Filter::try_new(condition, Arc::new(join.left.clone()))?);
        let node = AsofJoin::new(left, join.right.clone(), join.parts.clone(), join.padded, join.unique)?;
        let joined = LogicalPlan::Extension(Extension { node: Arc::new(node) });
        Ok(Transformed::yes(match conjunction(above) {
            Some(rest) => LogicalPlan::Filter(Filter::try_new(rest, Arc::new(joined))?),
            None => joined,
        }))
    }
}
