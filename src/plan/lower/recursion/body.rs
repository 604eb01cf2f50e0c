//! What a loop's body may do to rows of its variables. Each step hands the level on, as the last column; what could take a row back because another one comes
//! (an outer join, a difference, an aggregate over the variable) is refused, for there a loop has no least answer.

use crate::dataflow::ops::distinct::Distinct;
use crate::dataflow::ops::join::{Join, JoinKind};
use crate::dataflow::ops::recursion::{FixedLevel, LEVEL, Latest, level_field, with_level};
use crate::dataflow::ops::union::Union;
use crate::error::{Error, Result};
use crate::plan::expr::{bind, canonical, column};
use crate::plan::lower::join::{Sides, kind, may_be_null, pair_schema};
use crate::plan::lower::temporal::reads_clock;
use crate::plan::lower::temporal_join::versioned;
use crate::plan::node::{Planner, Stream, nullable};
use crate::plan::recursion::{reads, work_table};
use crate::types::expr::ExprRef;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::logical_expr::{self as logical, LogicalPlan, TableScan};
use std::sync::Arc;

fn refuse(message: &str, hint: &str) -> Error {
    Error::not_supported(message).with_hint(hint)
}

impl Planner<'_> {
    /// The rows of `plan`, which reads a variable of the innermost loop, with their level behind their columns.
    pub(super) fn in_loop(&mut self, plan: &LogicalPlan) -> Result<Stream> {
        refuse_clock(plan)?;
        match plan {
            LogicalPlan::TableScan(scan) => self.loop_scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.in_loop(&alias.input),
            LogicalPlan::Projection(projection) => self.loop_projection(projection),
            LogicalPlan::Filter(filter) => {
                let input = self.in_loop(&filter.input)?;
                self.keep(input, &filter.predicate, filter.input.schema())
            }
            LogicalPlan::Join(join) => self.loop_join(join),
            LogicalPlan::Union(union) => self.loop_union(union),
            LogicalPlan::Distinct(logical::Distinct::All(input)) => self.loop_distinct(input),
            LogicalPlan::Aggregate(_) => Err(refuse(
                "an aggregate over the recursive reference of a materialized view is not supported",
                "aggregate what the recursion gives: SELECT … FROM the recursive query GROUP BY …",
            )),
            LogicalPlan::RecursiveQuery(_) => {
                Err(refuse("a recursive query over the rows of another one that still runs is not supported", "name it first, in the same WITH RECURSIVE"))
            }
            _ => Err(refuse(
                "this clause over the recursive reference of a materialized view is not supported",
                "the recursive term may select, filter, join and UNION; sort, limit and rank what the recursion gives",
            )),
        }
    }

    /// Whether rows of `plan` depend on a variable of the innermost loop.
    pub(super) fn reads_loop(&self, plan: &LogicalPlan) -> Result<bool> {
        let Some(inner) = self.loops.last() else { return Ok(false) };
        reads(plan, &|name| inner.variables.iter().any(|(variable, _)| variable == name))
    }

    /// The variable of the innermost loop that a scan reads.
    fn variable(&self, scan: &TableScan) -> Option<usize> {
        let variables = &self.loops.last()?.variables;
        let name = work_table(scan)?;
        variables.iter().position(|(variable, _)| *variable == name)
    }

    fn loop_scan(&mut self, scan: &TableScan) -> Result<Stream> {
        let (Some(variable), Some(inner)) = (self.variable(scan), self.loops.last()) else {
            return Err(Error::internal("a scan in a loop that reads no variable of it"));
        };
        let schema = with_level(&inner.variables[variable].1);
        let input = crate::dataflow::operator::Input::Port(variable as u32);
        let whole = Stream { input, schema, append_only: false, key: None, event_time: Vec::new() };
        let Some(ordinals) = &scan.projection else { return Ok(whole) };
        let fields = ordinals.iter().map(|i| whole.schema.field(*i));
        let exprs = ordinals.iter().zip(fields).map(|(i, f)| column(*i, f.name(), f.data_type())).collect::<Vec<_>>();
        let to = nullable(ordinals.iter().map(|i| &whole.schema.fields()[*i]));
        self.loop_select(whole, exprs, &to)
    }

    fn loop_projection(&mut self, node: &logical::Projection) -> Result<Stream> {
        let input = self.in_loop(&node.input)?;
        let exprs = node.expr.iter().map(|e| bind(e, node.input.schema())).collect::<Result<Vec<_>>>()?;
        self.loop_select(input, exprs, &nullable(node.schema.fields()))
    }

    /// `exprs` of rows with a level, and the level.
    fn loop_select(&mut self, input: Stream, mut exprs: Vec<ExprRef>, to: &SchemaRef) -> Result<Stream> {
        exprs.push(column(input.schema.fields().len() - 1, LEVEL, &DataType::Int64));
        let schema = with_level(to);
        if exprs.len() == input.schema.fields().len() && exprs.iter().enumerate().all(|(i, e)| e.as_column() == Some(i)) {
            return Ok(Stream { schema, ..input });
        }
        let (node, append_only) = self.project(&input, exprs, &schema)?;
        Ok(Stream { input: node, schema, append_only, key: None, event_time: Vec::new() })
    }

    fn loop_distinct(&mut self, input: &LogicalPlan) -> Result<Stream> {
        let input = self.in_loop(input)?;
        let (schema, rows) = (Arc::clone(&input.schema), Arc::clone(&input.schema));
        let (node, append_only) = self.add("Distinct".to_string(), &[&input], |allocate| Ok(Arc::new(Distinct { schema: rows, state: allocate() })))?;
        Ok(Stream { input: node, schema, append_only, ..input })
    }

    fn loop_union(&mut self, node: &logical::Union) -> Result<Stream> {
        let mut inputs = Vec::new();
        for input in &node.inputs {
            if !self.reads_loop(input)? {
                if self.loops.last().is_some_and(|l| l.is_mutual) {
                    inputs.push(self.constant_rows(input)?);
                    continue;
                }
                return Err(refuse(
                    "a part of the recursive term without the recursive reference is not supported in a materialized view",
                    "write it in the non-recursive term, before the UNION",
                ));
            }
            inputs.push(self.in_loop(input)?);
        }
        let schema = with_level(&nullable(node.schema.fields()));
        let spec = Union { inputs: inputs.len(), schema: Arc::clone(&schema) };
        let (input, append_only) = self.add("Union".to_string(), &inputs.iter().collect::<Vec<_>>(), |_| Ok(Arc::new(spec)))?;
        Ok(Stream { input, schema, append_only, key: None, event_time: Vec::new() })
    }

    /// Rows from outside of the loop that are derived at once, as base rows are.
    fn constant_rows(&mut self, plan: &LogicalPlan) -> Result<Stream> {
        let outside = self.outside(|planner| planner.lower(plan))?;
        let rows = self.port(outside)?;
        let mut exprs: Vec<ExprRef> = rows.schema.fields().iter().enumerate().map(|(i, f)| column(i, f.name(), f.data_type())).collect();
        exprs.push(Arc::new(FixedLevel(-1)));
        let schema = with_level(&nullable(rows.schema.fields()));
        let (input, append_only) = self.project(&rows, exprs, &schema)?;
        Ok(Stream { input, schema, append_only, key: None, event_time: Vec::new() })
    }

    /// A side of a join: with its level, if it has one.
    fn loop_side(&mut self, plan: &LogicalPlan, in_loop: bool) -> Result<Stream> {
        if in_loop {
            return self.in_loop(plan);
        }
        let outside = self.outside(|planner| planner.lower(plan))?;
        self.port(outside)
    }

    fn loop_join(&mut self, node: &logical::Join) -> Result<Stream> {
        let kind = kind(node.join_type)?;
        let loops = (self.reads_loop(&node.left)?, self.reads_loop(&node.right)?);
        check_monotone(kind, loops)?;
        if node.null_aware && may_be_null(node)? {
            return Err(refuse("NOT IN over columns that may be NULL is not supported beside a recursive reference", "write NOT EXISTS (SELECT … WHERE …)"));
        }
        let (left, right) = (self.loop_side(&node.left, loops.0)?, self.loop_side(&node.right, loops.1)?);
        let (left_width, right_width) = (node.left.schema().fields().len(), node.right.schema().fields().len());
        let sides = self.sides(node, left, right)?;
        let wide_left = sides.left.schema.fields().len();
        let residual = node.filter.as_ref().map(|f| bind(f, &pair_schema(node, wide_left - left_width)?)).transpose()?;
        let mut output: Vec<usize> = match kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti => (0..left_width).collect(),
            JoinKind::RightSemi | JoinKind::RightAnti => (0..right_width).collect(),
            JoinKind::LeftMark => (0..left_width).chain([wide_left]).collect(),
            _ => (0..left_width).chain((0..right_width).map(|c| wide_left + c)).collect(),
        };
        // The level stands behind the columns of the side that has it.
        let right_level = if matches!(kind, JoinKind::RightSemi | JoinKind::RightAnti) { right_width } else { wide_left + right_width };
        output.extend([(loops.0, left_width), (loops.1, right_level)].into_iter().filter_map(|(has, at)| has.then_some(at)));
        let rows = nullable(node.schema.fields());
        let joined = self.loop_pairs(kind, sides, node.null_equality == logical_equal(), residual, output, &rows)?;
        if loops == (true, true) { self.latest(joined, &rows) } else { Ok(joined) }
    }

    fn loop_pairs(&mut self, kind: JoinKind, sides: Sides, nulls: bool, residual: Option<ExprRef>, output: Vec<usize>, rows: &SchemaRef) -> Result<Stream> {
        let what = format!("Join {kind:?} {:?} {:?} {nulls} {:?} {output:?}", sides.left_keys, sides.right_keys, residual.as_ref().map(canonical));
        let levels = output.len() - rows.fields().len();
        let schema: SchemaRef = Arc::new(Schema::new(rows.fields().iter().cloned().chain((0..levels).map(|_| level_field())).collect::<Vec<_>>()));
        let inputs = (Arc::clone(&sides.left.schema), Arc::clone(&sides.right.schema));
        let (keys, to) = ((sides.left_keys.clone(), sides.right_keys.clone()), Arc::clone(&schema));
        let (input, append_only) = self.add(what, &[&sides.left, &sides.right], |allocate| {
            Ok(Arc::new(Join::new(kind, inputs, keys, nulls, residual, None, Some(output), to, allocate)?))
        })?;
        Ok(Stream { input, schema, append_only, key: None, event_time: Vec::new() })
    }

    /// Of two levels behind the columns the greater.
    fn latest(&mut self, pairs: Stream, rows: &SchemaRef) -> Result<Stream> {
        let width = rows.fields().len();
        let mut exprs: Vec<ExprRef> = rows.fields().iter().enumerate().map(|(i, f)| column(i, f.name(), f.data_type())).collect();
        exprs.push(Arc::new(Latest { left: width, right: width + 1 }));
        let schema = with_level(rows);
        let (input, append_only) = self.project(&pairs, exprs, &schema)?;
        Ok(Stream { input, schema, append_only, ..pairs })
    }
}

/// A loop runs in one moment; what leaves with the clock leaves before it or behind it.
fn refuse_clock(plan: &LogicalPlan) -> Result<()> {
    let timed = plan.expressions().iter().any(reads_clock) || matches!(plan, LogicalPlan::Join(join) if versioned(&join.right)?.is_some());
    if !timed {
        return Ok(());
    }
    Err(refuse(
        "now() and FOR SYSTEM_TIME over a recursive reference are not supported in a materialized view",
        "filter by time in a subquery over what the recursion reads, or over what it gives",
    ))
}

fn logical_equal() -> datafusion::common::NullEquality {
    datafusion::common::NullEquality::NullEqualsNull
}

/// More rows of a variable must give more rows, never fewer.
fn check_monotone(kind: JoinKind, loops: (bool, bool)) -> Result<()> {
    let fits = match kind {
        JoinKind::Inner => true,
        JoinKind::Left | JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark => !loops.1,
        JoinKind::Right | JoinKind::RightSemi | JoinKind::RightAnti => !loops.0,
        JoinKind::Full => false,
    };
    if fits {
        return Ok(());
    }
    Err(match kind {
        JoinKind::Left | JoinKind::Right | JoinKind::Full => refuse(
            "an outer join whose optional side is recursive is not supported in a materialized view",
            "use an inner join in the recursive term, and the outer join over what the recursion gives",
        ),
        JoinKind::LeftAnti | JoinKind::RightAnti => {
            refuse("EXCEPT and NOT EXISTS over a recursive reference are not supported in a materialized view", "take rows away from what the recursion gives")
        }
        _ => refuse("a recursive reference in a subquery is not supported in a materialized view", "write it as a join"),
    })
}
