//! Look-ups: `SELECT columns FROM relation WHERE key = $1 [AND …] [ORDER BY …] [LIMIT n]`, recognised on the bound plan and run without DataFusion's planner.
//!
//! ```text
//!   bound plan   Limit <- Sort <- Projection <- Filter <- TableScan      a chain over one relation, of plain expressions
//!   Lookup       steps, with physical expressions; parameters are columns behind those of the input
//!   each run     conditions + values -> keys -> stored rows -> steps -> one batch
//! ```
//!
//! It is made once, at Parse, and is good for the catalog and the settings it was made under. What it does not understand, or what brings more rows than one
//! batch, goes the long way, which answers the same: the filter is applied to the rows in both. A LIMIT over rows that come in the wanted order out of
//! their keys (`WHERE user = $1 ORDER BY at DESC LIMIT 10` with an index on (user, at DESC)) reads no more than it needs.

use super::Context;
use crate::catalog::catalog::Catalog;
use crate::error::{Error, Result};
use crate::node::engine_api::Snapshot;
use crate::node::settings::Settings;
use crate::plan::comparable::both_zeros;
use crate::plan::relation::RelationSource;
use crate::sql::bind::Bound;
use crate::sql::errors::untranslated;
use crate::types::ids::ObjectId;
use crate::views::condition::{Condition, conditions};
use crate::views::path::Choice;
use crate::views::provider::RowsTable;
use crate::views::published::expand;
use crate::views::ranges::has_order;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{SortColumn, SortOptions, filter_record_batch, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Limit, LogicalPlan, Operator, SortExpr, TableScan};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Keys that may be looked up where the network is served: each is a read of a few microseconds, or of a disk.
const KEYS_AT_ONCE: usize = 16;
/// Rows that a range may hold; one batch.
const ROWS: usize = 8192;

/// Lists up to this length are compared one by one.
const SPELLED_OUT: usize = 64;

/// How far one run may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A few rows by their keys.
    Keys,
    /// Ranges of keys, up to a batch of rows.
    Ranges,
}

/// See the module.
pub struct Lookup {
    catalog: Arc<Catalog>,
    settings: Arc<Settings>,
    relation: ObjectId,
    conditions: Vec<Condition>,
    /// Columns of the relation that are read.
    needed: Vec<usize>,
    parameters: Vec<DataType>,
    /// From the rows up.
    steps: Vec<Step>,
    pub columns: Vec<FieldRef>,
    schema: SchemaRef,
}

enum Step {
    Filter(Computed),
    Project(Vec<Computed>, SchemaRef),
    Sort(Sort),
    Limit { skip: usize, fetch: Option<Count> },
}

struct Sort {
    by: Vec<(Computed, SortOptions)>,
    /// The columns of the relation that these are; `None`: not all of them are.
    columns: Option<Vec<usize>>,
}

#[derive(Clone, Copy)]
enum Count {
    Number(usize),
    Parameter(usize),
}

enum Computed {
    Column(usize),
    /// `with_parameters`: its input is the rows with the parameters as further columns, of this schema.
    Expression {
        inner: Arc<dyn PhysicalExpr>,
        with_parameters: Option<SchemaRef>,
    },
}

impl Lookup {
    /// `None`: the query is not one of these.
    /// `catalog`: as it was before the query was bound.
    pub fn of(context: &Context, catalog: Arc<Catalog>, bound: &Bound) -> Option<Lookup> {
        let mut chain = Vec::new();
        let scan = unfold(&bound.plan, &mut chain)?;
        let relation = RelationSource::of(scan.source.as_ref())?;
        let filters: Vec<&Expr> = chain.iter().rev().map_while(|node| bottom_filter(node)).flatten().collect();
        let conditions = conditions(filters, &relation.schema);
        if conditions.is_empty() {
            return None;
        }
        // What DataFusion does not turn into a physical expression here, it may elsewhere.
        let mut steps = chain.iter().rev().filter_map(|node| step(node, &bound.parameters).transpose()).collect::<DataFusionResult<Vec<_>>>().ok()?;
        trace_sorts(&mut steps, relation.schema.fields().len());
        Some(Lookup {
            catalog,
            settings: context.settings.clone(),
            relation: relation.id,
            conditions,
            needed: needed(&chain, &relation.schema),
            parameters: bound.parameters.iter().map(|f| f.data_type().clone()).collect(),
            steps,
            columns: super::select::columns(bound),
            schema: nullable(bound.plan.schema().fields()),
        })
    }

    /// What it looks in.
    pub fn relation(&self) -> ObjectId {
        self.relation
    }

    /// Whether names and settings mean what they meant when it was made. It holds both, so that neither can come again at the same place.
    pub fn holds(&self, context: &Context) -> bool {
        Arc::ptr_eq(&self.settings, &context.settings) && Arc::ptr_eq(&self.catalog, &context.engine.catalog())
    }

    /// The rows; `None`: they are out of reach.
    pub fn run(&self, snapshot: &dyn Snapshot, parameters: &[ScalarValue], reach: Reach) -> Result<Option<RecordBatch>> {
        if parameters.len() != self.parameters.len() || parameters.iter().zip(&self.parameters).any(|(value, t)| value.data_type() != *t) {
            return Ok(None);
        }
        let provider = snapshot.provider(self.relation)?;
        let Some(table) = provider.downcast_ref::<RowsTable>() else { return Ok(None) };
        let choice = self.choose(table, parameters)?;
        for rows in self.portions(parameters) {
            let Some((stored, more)) = read(table, &choice, reach, rows)? else { return Ok(None) };
            let rows = self.of_relation(table.paths.schema(), &choice, &stored)?;
            if let Some(batch) = self.through_steps(rows, more, &choice, parameters)? {
                return Ok(Some(batch));
            }
            if !more {
                break;
            }
        }
        Ok(None)
    }

    fn choose<'t>(&self, table: &'t RowsTable, parameters: &[ScalarValue]) -> Result<Choice<'t>> {
        let limited = self.steps.iter().any(|step| matches!(step, Step::Limit { .. }));
        let sort = self.steps.iter().find_map(|step| if let Step::Sort(sort) = step { Some(sort) } else { None }).filter(|_| limited);
        table.paths.choose(&self.conditions, parameters, &self.needed, &|choice| sort.is_some_and(|sort| sort.is_kept_by(choice)))
    }

    /// For EXPLAIN: how it finds its rows; `None`: it is no look-up after all.
    pub fn shown(&self, snapshot: &dyn Snapshot) -> Option<String> {
        let provider = snapshot.provider(self.relation).ok()?;
        let table = provider.downcast_ref::<RowsTable>()?;
        let way = self.choose(table, &[]).ok()?.shown(&self.conditions, table.paths.schema())?;
        Some(format!("Short way: {way}"))
    }

    /// How many rows are read: where a LIMIT may be reached early, few at first.
    fn portions(&self, parameters: &[ScalarValue]) -> impl Iterator<Item = usize> + use<> {
        let limit = self.steps.iter().find_map(|step| match step {
            Step::Limit { skip, fetch } => resolved(*fetch, parameters).map(|fetch| skip.saturating_add(fetch)),
            _ => None,
        });
        let first = limit.map(|limit| limit.saturating_mul(4).max(64)).filter(|first| *first < ROWS);
        first.into_iter().chain([ROWS])
    }

    /// Stored rows as the relation has them; columns that nobody reads may be missing in an index.
    fn of_relation(&self, schema: &SchemaRef, choice: &Choice<'_>, stored: &RecordBatch) -> Result<RecordBatch> {
        if choice.index.is_none() {
            return Ok(stored.clone());
        }
        let column = |(c, field): (usize, &FieldRef)| match choice.rows.layout.place(c) {
            Some(place) => stored.column(place).clone(),
            None => new_null_array(field.data_type(), stored.num_rows()),
        };
        let columns = schema.fields().iter().enumerate().map(column).collect();
        batch(nullable(schema.fields()), columns, stored.num_rows())
    }

    /// `more`: there are rows behind these, which only a LIMIT that is reached makes unimportant.
    fn through_steps(&self, mut rows: RecordBatch, mut more: bool, choice: &Choice<'_>, parameters: &[ScalarValue]) -> Result<Option<RecordBatch>> {
        for step in &self.steps {
            rows = match step {
                Step::Filter(condition) => {
                    let keep = condition.evaluate(&rows, parameters).map_err(untranslated)?;
                    let keep = keep.as_any().downcast_ref().ok_or_else(|| Error::internal("a filter that is not boolean"))?;
                    filter_record_batch(&rows, keep)?
                }
                Step::Project(list, schema) => {
                    let columns = list.iter().map(|c| c.evaluate(&rows, parameters)).collect::<DataFusionResult<_>>().map_err(untranslated)?;
                    batch(schema.clone(), columns, rows.num_rows())?
                }
                // Rows that come in this order stand before all that are still to come.
                Step::Sort(sort) if more && !sort.is_kept_by(choice) => return Ok(None),
                Step::Sort(sort) => sorted(&rows, &sort.by, parameters)?,
                Step::Limit { skip, fetch } => {
                    let Some(fetch) = resolved(*fetch, parameters) else { return Ok(None) };
                    let skip = (*skip).min(rows.num_rows());
                    let left = rows.num_rows() - skip;
                    more = more && left < fetch;
                    rows.slice(skip, left.min(fetch))
                }
            };
        }
        Ok((!more).then_some(batch(self.schema.clone(), rows.columns().to_vec(), rows.num_rows())?))
    }
}

fn nullable(fields: &Fields) -> SchemaRef {
    Arc::new(Schema::new(fields.iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>()))
}

fn batch(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new_with_options(schema, columns, &RecordBatchOptions::new().with_row_count(Some(rows)))?)
}

/// The stored rows, and whether there are more of them.
fn read(table: &RowsTable, choice: &Choice<'_>, reach: Reach, max: usize) -> Result<Option<(RecordBatch, bool)>> {
    let Some(ranges) = &choice.ranges else { return Ok(None) };
    let snapshot = &table.paths.snapshot;
    if reach == Reach::Keys && !(choice.is_by_key() && ranges.ranges.len() <= KEYS_AT_ONCE) {
        return Ok(None);
    }
    if choice.is_by_key() {
        return Ok(Some((choice.rows.under(snapshot.as_ref(), &ranges.ranges)?, false)));
    }
    let mut scan = choice.rows.scan_ranges(snapshot.clone(), ranges.ranges.clone());
    let rows = match scan.next(max)? {
        Some(delta) => expand(&delta)?,
        None => RecordBatch::new_empty(choice.rows.schema().clone()),
    };
    Ok(Some((rows, scan.next(1)?.is_some())))
}

fn resolved(count: Option<Count>, parameters: &[ScalarValue]) -> Option<usize> {
    match count {
        None => Some(usize::MAX),
        Some(Count::Number(n)) => Some(n),
        Some(Count::Parameter(n)) => match parameters.get(n)? {
            ScalarValue::Int64(Some(n)) => usize::try_from(*n).ok(),
            _ => None,
        },
    }
}

fn sorted(rows: &RecordBatch, by: &[(Computed, SortOptions)], parameters: &[ScalarValue]) -> Result<RecordBatch> {
    let column = |(c, options): &(Computed, SortOptions)| Ok(SortColumn { values: c.evaluate(rows, parameters)?, options: Some(*options) });
    let columns = by.iter().map(column).collect::<DataFusionResult<Vec<_>>>().map_err(untranslated)?;
    Ok(take_record_batch(rows, &lexsort_to_indices(&columns, None)?)?)
}

impl Computed {
    fn evaluate(&self, rows: &RecordBatch, parameters: &[ScalarValue]) -> DataFusionResult<ArrayRef> {
        let (inner, with_parameters) = match self {
            Computed::Column(i) => return Ok(rows.column(*i).clone()),
            Computed::Expression { inner, with_parameters } => (inner, with_parameters),
        };
        let n = rows.num_rows();
        let Some(schema) = with_parameters else { return inner.evaluate(rows)?.into_array(n) };
        let mut columns = rows.columns().to_vec();
        for value in parameters {
            columns.push(value.to_array_of_size(n)?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(n));
        inner.evaluate(&RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)?.into_array(n)
    }
}

/// The nodes above the one scan, from the top.
fn unfold<'p>(plan: &'p LogicalPlan, chain: &mut Vec<&'p LogicalPlan>) -> Option<&'p TableScan> {
    match plan {
        LogicalPlan::TableScan(scan) => (scan.filters.is_empty() && scan.fetch.is_none() && scan.projection.is_none()).then_some(scan),
        LogicalPlan::Filter(_) | LogicalPlan::Projection(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) | LogicalPlan::SubqueryAlias(_) => {
            chain.push(plan);
            unfold(plan.inputs().first()?, chain)
        }
        _ => None,
    }
}

/// The filter of a node that leaves the columns as they are, if it has one; `None`: the node is of another kind.
fn bottom_filter(node: &LogicalPlan) -> Option<Option<&Expr>> {
    match node {
        LogicalPlan::Filter(filter) => Some(Some(&filter.predicate)),
        LogicalPlan::SubqueryAlias(_) => Some(None),
        _ => None,
    }
}

/// Columns of the relation that the chain reads: up to its lowest projection, behind which there are no others.
fn needed(chain: &[&LogicalPlan], schema: &Schema) -> Vec<usize> {
    let mut found = BTreeSet::new();
    for node in chain.iter().rev() {
        for expr in node.expressions() {
            found.extend(expr.column_refs().into_iter().filter_map(|c| schema.index_of(&c.name).ok()));
        }
        if matches!(node, LogicalPlan::Projection(_)) {
            return found.into_iter().collect();
        }
    }
    (0..schema.fields().len()).collect()
}

/// `None`: the node changes nothing. Error: it cannot be done here.
fn step(node: &LogicalPlan, parameters: &[FieldRef]) -> DataFusionResult<Option<Step>> {
    let input = node.inputs().first().map(|i| Arc::clone(i.schema()));
    let input = input.ok_or_else(|| DataFusionError::Internal("a node without an input".to_owned()))?;
    Ok(match node {
        LogicalPlan::Filter(filter) => Some(Step::Filter(computed(&filter.predicate, &input, parameters)?)),
        LogicalPlan::Projection(projection) => {
            let list = projection.expr.iter().map(|e| computed(e, &input, parameters)).collect::<DataFusionResult<_>>()?;
            Some(Step::Project(list, nullable(projection.schema.fields())))
        }
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
            let by = sort.expr.iter().map(|e| sort_column(e, &input, parameters)).collect::<DataFusionResult<_>>()?;
            Some(Step::Sort(Sort { by, columns: None }))
        }
        LogicalPlan::Limit(limit) => Some(limited(limit)?),
        LogicalPlan::SubqueryAlias(_) => None,
        other => return Err(other_way(other.display())),
    })
}

/// Tells each sort which columns of the relation it sorts by, through the projections below it.
fn trace_sorts(steps: &mut [Step], width: usize) {
    let mut origins: Vec<Option<usize>> = (0..width).map(Some).collect();
    let of = |c: &Computed, origins: &[Option<usize>]| match c {
        Computed::Column(i) => origins.get(*i).copied().flatten(),
        Computed::Expression { .. } => None,
    };
    for step in steps {
        match step {
            Step::Project(list, _) => origins = list.iter().map(|c| of(c, &origins)).collect(),
            Step::Sort(sort) => sort.columns = sort.by.iter().map(|(c, _)| of(c, &origins)).collect(),
            Step::Filter(_) | Step::Limit { .. } => {}
        }
    }
}

impl Sort {
    /// Whether rows come out of the chosen keys in this order: the columns behind those that are bound to one value, in the keys' own order.
    fn is_kept_by(&self, choice: &Choice<'_>) -> bool {
        let (Some(columns), Some(ranges)) = (&self.columns, &choice.ranges) else { return false };
        if ranges.ranges.len() != 1 {
            return false;
        }
        let (bound, rest) = choice.rows.layout.key.split_at(ranges.points);
        let mut rest = rest.iter();
        columns.iter().zip(&self.by).filter(|(column, _)| bound.iter().all(|part| part.column != **column)).all(|(column, (_, options))| {
            rest.next().is_some_and(|part| {
                let same_order = part.order.descending == options.descending && part.order.nulls_first == options.nulls_first;
                part.column == *column && same_order && !part.data_type.is_floating() && has_order(&part.data_type)
            })
        })
    }
}

fn other_way(what: impl std::fmt::Display) -> DataFusionError {
    DataFusionError::NotImplemented(format!("{what} in a look-up"))
}

fn sort_column(by: &SortExpr, input: &DFSchema, parameters: &[FieldRef]) -> DataFusionResult<(Computed, SortOptions)> {
    use datafusion::logical_expr::ExprSchemable;
    let data_type = by.expr.get_type(input)?;
    if data_type.is_nested() {
        return Err(other_way(data_type));
    }
    Ok((computed(&by.expr, input, parameters)?, SortOptions { descending: !by.asc, nulls_first: by.nulls_first }))
}

fn limited(limit: &Limit) -> DataFusionResult<Step> {
    let count = |expr: &Expr| match unwrapped(expr) {
        Expr::Literal(ScalarValue::Int64(Some(n)), _) => usize::try_from(*n).map(Count::Number).map_err(|_| other_way(n)),
        Expr::Placeholder(p) => place(&p.id).map(Count::Parameter).ok_or_else(|| other_way(&p.id)),
        Expr::Literal(value, _) if value.is_null() => Ok(Count::Number(usize::MAX)),
        other => Err(other_way(other)),
    };
    let skip = match limit.skip.as_deref().map(count).transpose()? {
        None | Some(Count::Number(usize::MAX)) => 0,
        Some(Count::Number(n)) => n,
        Some(Count::Parameter(_)) => return Err(other_way("OFFSET $n")),
    };
    Ok(Step::Limit { skip, fetch: limit.fetch.as_deref().map(count).transpose()? })
}

fn unwrapped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unwrapped(&alias.expr),
        other => other,
    }
}

/// `$1` is 0.
fn place(id: &str) -> Option<usize> {
    id.strip_prefix('$')?.parse::<usize>().ok()?.checked_sub(1)
}

/// Error: not a plain expression.
fn computed(expr: &Expr, input: &DFSchema, parameters: &[FieldRef]) -> DataFusionResult<Computed> {
    let expr = unwrapped(expr);
    if let Expr::Column(column) = expr {
        return Ok(Computed::Column(input.index_of_column(column)?));
    }
    if expr.exists(|e| Ok(!is_plain(e)))? {
        return Err(other_way(expr));
    }
    let uses_parameters = expr.exists(|e| Ok(matches!(e, Expr::Placeholder(_))))?;
    let named = |n: usize| format!("${}", n + 1);
    let columns = input.iter().map(|(q, f)| (q.cloned(), Arc::new(f.as_ref().clone().with_nullable(true))));
    let behind = parameters.iter().enumerate().filter(|_| uses_parameters);
    let behind = behind.map(|(n, f)| (None, Arc::new(Field::new(named(n), f.data_type().clone(), true))));
    let schema = DFSchema::new_with_metadata(columns.chain(behind).collect(), Default::default())?;
    let expr = expr.clone().transform_up(|e| match e {
        Expr::Placeholder(p) => Ok(Transformed::yes(Expr::Column(datafusion::common::Column::new_unqualified(p.id)))),
        Expr::InList(list) if list.list.len() <= SPELLED_OUT => Ok(Transformed::yes(spelled_out(list))),
        Expr::InList(list) => Ok(both_zeros(list).update_data(Expr::InList)),
        other => Ok(Transformed::no(other)),
    })?;
    let inner = create_physical_expr(&expr.data, &schema, &ExecutionProps::new(), &PhysicalPlanningContext::default())?;
    Ok(Computed::Expression { inner, with_parameters: uses_parameters.then(|| Arc::clone(schema.inner())) })
}

/// `x IN (a, b)` as comparisons: a list compares doubles by their bits.
fn spelled_out(list: InList) -> Expr {
    let compare = |value: Expr| if list.negated { list.expr.as_ref().clone().not_eq(value) } else { list.expr.as_ref().clone().eq(value) };
    let all = list.list.into_iter().map(compare).reduce(if list.negated { Expr::and } else { Expr::or });
    all.unwrap_or_else(|| Expr::Literal(ScalarValue::Boolean(Some(list.negated)), None))
}

/// Expressions that mean the same here as behind the optimizer: no functions, some of which it replaces or which ask for the clock, and no arithmetic.
fn is_plain(expr: &Expr) -> bool {
    use Operator::{And, Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq, Or};
    match expr {
        Expr::Column(_) | Expr::Literal(..) | Expr::Placeholder(_) | Expr::Alias(_) | Expr::Cast(_) | Expr::Not(_) => true,
        Expr::IsNull(_) | Expr::IsNotNull(_) | Expr::IsTrue(_) | Expr::IsFalse(_) | Expr::IsNotTrue(_) | Expr::IsNotFalse(_) => true,
        Expr::InList(_) | Expr::Between(_) | Expr::Like(_) => true,
        Expr::BinaryExpr(binary) => matches!(binary.op, And | Or | Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom),
        _ => false,
    }
}
