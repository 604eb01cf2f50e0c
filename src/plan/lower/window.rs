//! A filter `ROW_NUMBER() OVER (…) <= k` (or RANK, DENSE_RANK) is a Top-N per partition. Other window functions are `over.rs`.

use super::processing_time::is_processing_time;
use super::session::is_session;
use super::top_k::{Range, Top};
use crate::dataflow::ops::top_k::Ranking;
use crate::error::{Error, Result};
use crate::plan::node::{Planner, Stream};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{self as logical, Expr, Operator, WindowFunctionDefinition};
use std::sync::Arc;

impl Planner<'_> {
    pub(super) fn window(&mut self, node: &logical::Window) -> Result<Stream> {
        if is_session(node) {
            return self.session(node, &(0..node.schema.fields().len()).collect::<Vec<_>>());
        }
        if is_processing_time(node) {
            return self.processing_time(node);
        }
        self.functions_over(node)
    }

    /// `predicate` over the output of a Window node; `None`: it does not ask for first rows.
    pub(super) fn ranked(&mut self, predicate: &Expr, node: &logical::Window) -> Result<Option<Stream>> {
        let [function] = node.window_expr.as_slice() else { return Ok(None) };
        let function = window_function(function)?;
        let Some(ranking) = ranking(function) else { return Ok(None) };
        let (qualifier, rank) = node.schema.iter().last().ok_or_else(|| Error::internal("a Window node without columns"))?;
        let column = Expr::from((qualifier, rank));
        let conditions = split_conjunction(predicate).into_iter().map(|c| (c, bound_of(c, &column))).collect::<Vec<_>>();
        let Some(limit) = conditions.iter().filter_map(|(_, bound)| bound.as_ref().map(|b| b.limit)).min() else { return Ok(None) };
        let rest = conditions.iter().filter(|(_, bound)| bound.as_ref().is_none_or(|b| !b.is_exact)).map(|(c, _)| (*c).clone()).collect::<Vec<_>>();
        let params = &function.params;
        let input = self.lower(&node.input)?;
        let width = input.schema.fields().len();
        let top = Top { range: Range { skip: 0, fetch: Some(limit) }, ranking, rank: Some(Arc::clone(rank)) };
        let ranked = self.top_k(input, node.input.schema(), &params.partition_by, &params.order_by, top)?;
        let ranked = self.without_key_columns(ranked, width, node)?;
        match conjunction(rest) {
            None => Ok(Some(ranked)),
            Some(rest) => self.keep(ranked, &rest, &node.schema).map(Some),
        }
    }

    /// The input's columns and the rank, without computed key columns between them.
    fn without_key_columns(&mut self, ranked: Stream, width: usize, node: &logical::Window) -> Result<Stream> {
        let wide = ranked.schema.fields().len();
        if wide == width + 1 {
            return Ok(ranked);
        }
        let columns = (0..width).chain([wide - 1]);
        let exprs = columns.map(|c| crate::plan::expr::column(c, ranked.schema.field(c).name(), ranked.schema.field(c).data_type())).collect::<Vec<_>>();
        let key = super::columns::key_through(&ranked.key, &exprs);
        let schema = crate::plan::node::nullable(node.schema.fields());
        let event_time = ranked.event_time.iter().filter(|t| t.column < width).cloned().collect();
        let (input, append_only) = self.project(&ranked, exprs, &schema)?;
        Ok(Stream { input, schema, append_only, key, event_time })
    }
}

/// Whether a filter above may make a Top-N of it.
pub(super) fn is_ranked(node: &logical::Window) -> bool {
    !is_session(node) && !is_processing_time(node)
}

pub(super) fn window_function(expr: &Expr) -> Result<&WindowFunction> {
    match expr {
        Expr::Alias(a) => window_function(&a.expr),
        Expr::WindowFunction(w) => Ok(w),
        other => Err(Error::internal(format!("{other} stands among window functions and is none"))),
    }
}

fn ranking(function: &WindowFunction) -> Option<Ranking> {
    let WindowFunctionDefinition::WindowUDF(udf) = &function.fun else { return None };
    match udf.name() {
        "row_number" => Some(Ranking::RowNumber),
        "rank" => Some(Ranking::Rank),
        "dense_rank" => Some(Ranking::DenseRank),
        _ => None,
    }
}

/// `rank <= limit`, or a condition that implies it.
struct Bound {
    limit: u64,
    /// The condition says no more than that.
    is_exact: bool,
}

fn bound_of(condition: &Expr, rank: &Expr) -> Option<Bound> {
    let Expr::BinaryExpr(binary) = condition else { return None };
    let (value, op) = match (is_rank(&binary.left, rank), is_rank(&binary.right, rank)) {
        (true, false) => (number(&binary.right)?, binary.op),
        (false, true) => (number(&binary.left)?, binary.op.swap()?),
        _ => return None,
    };
    let bound = |limit: i64, is_exact: bool| Some(Bound { limit: u64::try_from(limit.max(0)).unwrap_or(0), is_exact });
    match op {
        Operator::LtEq => bound(value, true),
        Operator::Lt => bound(value.saturating_sub(1), true),
        Operator::Eq => bound(value, value == 1),
        _ => None,
    }
}

fn is_rank(expr: &Expr, rank: &Expr) -> bool {
    match expr {
        Expr::Cast(cast) => is_rank(&cast.expr, rank),
        other => other == rank,
    }
}

pub(super) fn number(expr: &Expr) -> Option<i64> {
    match expr {
        Expr::Literal(value, _) => match value.cast_to(&arrow::datatypes::DataType::Int64).ok()? {
            ScalarValue::Int64(v) => v,
            _ => None,
        },
        Expr::Cast(cast) => number(&cast.expr),
        _ => None,
    }
}
