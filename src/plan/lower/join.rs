//! Joins: equal keys as columns of both sides (computed below the join where they are expressions), and a residual condition.
//!
//! *Window columns* of the same kind among equal keys bound the state by the watermarks of both sides; so does a condition that bounds the time between partners
//! (`interval_join.rs`). Over other joins an event time is kept only under EMIT
//! ON WINDOW CLOSE (what then comes for a closed window is late, and listed); otherwise nothing above may forget on the word of one side.
//!
//! *NOT IN* obeys NULLs: nothing is outside a set that holds a NULL, and a NULL is outside the empty set only:
//!
//! ```text
//!   l NOT IN r   =   (l ANTI r by key, l is not NULL  ∪  (l is NULL) ANTI r)  ANTI  (r is NULL)
//! ```

use super::columns::Columns;
use super::interval_join::expiry;
use super::temporal_join::versioned;
use crate::dataflow::operator::Input;
use crate::dataflow::ops::join::interval::IntervalJoin;
use crate::dataflow::ops::join::temporal::TemporalJoin;
use crate::dataflow::ops::join::{Join, JoinKind, JoinWindow};
use crate::dataflow::ops::union::Union;
use crate::error::{Error, Result};
use crate::plan::EventTime;
use crate::plan::expr::{bind, canonical};
use crate::plan::lower::temporal::reads_clock;
use crate::plan::node::{Emit, Planner, Stream, both, is_window, nullable};
use crate::plan::time::bound;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::{DFSchema, JoinType, NullEquality, TableReference};
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{self as logical, Expr, ExprSchemable};
use std::collections::HashMap;
use std::sync::Arc;

/// A join whose keys are columns.
pub(super) struct Sides {
    pub left: Stream,
    pub right: Stream,
    pub left_keys: Vec<usize>,
    pub right_keys: Vec<usize>,
}

impl Planner<'_> {
    pub(super) fn join(&mut self, node: &logical::Join) -> Result<Stream> {
        if let Some(filter) = node.filter.as_ref().filter(|f| node.join_type == JoinType::Inner && reads_clock(f)) {
            // What relates times of both sides to the clock is looked at behind the join.
            let (timed, plain): (Vec<Expr>, Vec<Expr>) = split_conjunction(filter).into_iter().cloned().partition(reads_clock);
            let joined = self.join(&logical::Join { filter: conjunction(plain), ..node.clone() })?;
            return self.temporal_filter(joined, &timed.iter().collect::<Vec<_>>(), &node.schema);
        }
        let kind = kind(node.join_type)?;
        if node.null_aware && may_be_null(node)? {
            return self.not_in(node);
        }
        let versioned = versioned(&node.right)?;
        let (left, right) = match &versioned {
            Some(right) => self.temporal_sides(&node.left, right, node.join_type)?,
            None => (self.lower(&node.left)?, self.lower(&node.right)?),
        };
        let (left_width, right_width) = (left.schema.fields().len(), right.schema.fields().len());
        let sides = self.sides(node, left, right)?;
        let wide_left = sides.left.schema.fields().len();
        let pairs = pair_schema(node, wide_left - left_width)?;
        let residual = node.filter.as_ref().map(|f| bind(f, &pairs)).transpose()?;
        let output: Vec<usize> = match kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti => (0..left_width).collect(),
            JoinKind::RightSemi | JoinKind::RightAnti => (0..right_width).collect(),
            JoinKind::LeftMark => (0..left_width).chain([wide_left]).collect(),
            _ => (0..left_width).chain((0..right_width).map(|c| wide_left + c)).collect(),
        };
        let window = window_pairs(&sides).next().map(|(position, _, _, time)| JoinWindow { position, bound: bound(&time) });
        let null_equals_null = node.null_equality == NullEquality::NullEqualsNull;
        let filter = node.filter.as_ref().map(|f| (f, &pairs));
        let is_temporal = versioned.is_some();
        let window = window.filter(|_| !is_temporal);
        let expiry = if window.is_none() && !is_temporal { expiry(kind, &sides, filter, null_equals_null) } else { None };
        let what = format!(
            "Join {kind:?} {:?} {:?} {null_equals_null} {:?} {window:?} {expiry:?} {is_temporal} {output:?}",
            sides.left_keys,
            sides.right_keys,
            residual.as_ref().map(canonical)
        );
        let schema = nullable(node.schema.fields());
        let (inputs, keys) = ((Arc::clone(&sides.left.schema), Arc::clone(&sides.right.schema)), (sides.left_keys.clone(), sides.right_keys.clone()));
        let to = Arc::clone(&schema);
        let (input, append_only) = self.add(what, &[&sides.left, &sides.right], |allocate| match expiry {
            None if is_temporal => {
                let join = Join::shaped(kind, inputs, keys, null_equals_null, residual, None, Some(output), to)?;
                Ok(Arc::new(TemporalJoin::new(join, allocate)))
            }
            None => Ok(Arc::new(Join::new(kind, inputs, keys, null_equals_null, residual, window, Some(output), to, allocate)?)),
            Some(expiry) => {
                let join = Join::shaped(kind, inputs, keys, null_equals_null, residual, None, Some(output), to)?;
                Ok(Arc::new(IntervalJoin::new(join, expiry, allocate)))
            }
        })?;
        let event_time = match is_temporal {
            // A row comes out in the epoch in which it came in.
            true => sides.left.event_time.iter().filter(|t| t.column < left_width).cloned().collect(),
            false => self.join_times(kind, &sides, left_width),
        };
        Ok(Stream { input, schema, append_only, key: join_key(kind, &sides, left_width), event_time })
    }

    /// Both inputs with the key expressions as columns.
    pub(super) fn sides(&mut self, node: &logical::Join, left: Stream, right: Stream) -> Result<Sides> {
        let mut left = Columns::beside(left, node.left.schema());
        let mut right = Columns::beside(right, node.right.schema());
        let left_keys = node.on.iter().map(|(l, _)| left.place(l)).collect::<Result<Vec<_>>>()?;
        let right_keys = node.on.iter().map(|(_, r)| right.place(r)).collect::<Result<Vec<_>>>()?;
        left.place_any()?;
        right.place_any()?;
        let (left, _) = left.finish(self)?;
        let (right, _) = right.finish(self)?;
        Ok(Sides { left, right, left_keys, right_keys })
    }

    /// Rows of a closed window come no more. An event's own time inside it says less: its row may meet a partner as long as the window is open.
    fn join_times(&self, kind: JoinKind, sides: &Sides, left_width: usize) -> Vec<EventTime> {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for (l, r, time) in window_pairs(sides).map(|(_, l, r, time)| (l, r, time)) {
            left.push(EventTime { column: l, ..time.clone() });
            right.push(EventTime { column: r, ..time });
        }
        if self.emit == Emit::OnWindowClose {
            let others =
                |known: &[EventTime], side: &Stream| side.event_time.iter().filter(|t| known.iter().all(|k| k.column != t.column)).cloned().collect::<Vec<_>>();
            left.extend(others(&left, &sides.left));
            right.extend(others(&right, &sides.right));
        }
        left.retain(|t| t.column < left_width);
        let shifted = |t: EventTime| EventTime { column: t.column + left_width, ..t };
        match kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark => left,
            JoinKind::RightSemi | JoinKind::RightAnti => right,
            _ => left.into_iter().chain(right.into_iter().map(shifted)).collect(),
        }
    }

    /// See the module.
    fn not_in(&mut self, node: &logical::Join) -> Result<Stream> {
        let ([(key, _)], None) = (node.on.as_slice(), &node.filter) else {
            return Err(Error::not_supported("NOT IN over columns that may be NULL, with further conditions, is not supported in a materialized view")
                .with_hint("write NOT EXISTS (SELECT … WHERE …), which treats NULLs as unequal"));
        };
        let plain = logical::Join { null_aware: false, ..node.clone() };
        let outside = self.join(&plain)?;
        let (schema, from) = (Arc::clone(&outside.schema), node.left.schema());
        let known = self.keep(outside.clone(), &key.clone().is_not_null(), from)?;
        let unknown = self.keep(outside, &key.clone().is_null(), from)?;
        let right = self.lower(&node.right)?;
        let unknown = self.unless_any(unknown, &right)?;
        let (key, event_time) = (known.key.clone(), known.event_time.clone());
        let spec = Union { inputs: 2, schema: Arc::clone(&schema) };
        let (input, append_only) = self.add("Union".to_string(), &[&known, &unknown], |_| Ok(Arc::new(spec)))?;
        let either = Stream { input, schema, append_only, key, event_time };
        let (_, right_key) = &node.on[0];
        let nulls = self.keep(right, &right_key.clone().is_null(), node.right.schema())?;
        self.unless_any(either, &nulls)
    }

    /// The rows of `left` while `right` is empty.
    fn unless_any(&mut self, left: Stream, right: &Stream) -> Result<Stream> {
        let (inputs, schema): ((SchemaRef, SchemaRef), SchemaRef) = ((Arc::clone(&left.schema), Arc::clone(&right.schema)), Arc::clone(&left.schema));
        let (input, append_only): (Input, bool) = self.add("Join LeftAnti without keys".to_string(), &[&left, right], |allocate| {
            Ok(Arc::new(Join::new(JoinKind::LeftAnti, inputs, (Vec::new(), Vec::new()), false, None, None, None, schema, allocate)?))
        })?;
        Ok(Stream { input, append_only, ..left })
    }
}

pub(super) fn kind(join_type: JoinType) -> Result<JoinKind> {
    Ok(match join_type {
        JoinType::Inner => JoinKind::Inner,
        JoinType::Left => JoinKind::Left,
        JoinType::Right => JoinKind::Right,
        JoinType::Full => JoinKind::Full,
        JoinType::LeftSemi => JoinKind::LeftSemi,
        JoinType::LeftAnti => JoinKind::LeftAnti,
        JoinType::LeftMark => JoinKind::LeftMark,
        JoinType::RightSemi => JoinKind::RightSemi,
        JoinType::RightAnti => JoinKind::RightAnti,
        other => {
            return Err(
                Error::not_supported(format!("a {other} join in a materialized view is not supported")).with_hint("write it with EXISTS or a LEFT JOIN")
            );
        }
    })
}

pub(super) fn may_be_null(node: &logical::Join) -> Result<bool> {
    let one = |(l, r): &(Expr, Expr)| Ok(l.nullable(node.left.schema().as_ref())? || r.nullable(node.right.schema().as_ref())?);
    node.on.iter().map(one).collect::<Result<Vec<_>>>().map(|all| all.contains(&true))
}

/// Left columns, `added` key columns behind them, right columns: what a residual condition is bound to.
pub(super) fn pair_schema(node: &logical::Join, added: usize) -> Result<DFSchema> {
    let owned = |schema: &DFSchema| schema.iter().map(|(q, f)| (q.cloned(), Arc::clone(f))).collect::<Vec<_>>();
    let key = |i: usize| (None::<TableReference>, Arc::new(Field::new(format!("__key_{i}"), DataType::Null, true)));
    let fields = owned(node.left.schema()).into_iter().chain((0..added).map(key)).chain(owned(node.right.schema())).collect();
    Ok(DFSchema::new_with_metadata(fields, HashMap::new())?)
}

/// Pairs of keys that are the same window on both sides: position, left column, right column, and the time that bounds both.
fn window_pairs(sides: &Sides) -> impl Iterator<Item = (usize, usize, usize, EventTime)> {
    let pairs = sides.left_keys.iter().zip(&sides.right_keys).enumerate();
    pairs.filter_map(|(position, (l, r))| {
        let (left, right) = (sides.left.time(*l)?, sides.right.time(*r)?);
        let time = EventTime { sources: both(&left.sources, &right.sources), ..left.clone() };
        (left.kind == right.kind && is_window(&left.kind)).then_some((position, *l, *r, time))
    })
}

/// A side that is unique under the join's key adds at most one partner to each row of the other.
fn join_key(kind: JoinKind, sides: &Sides, left_width: usize) -> Option<Vec<usize>> {
    let kept = |key: &Option<Vec<usize>>, width: usize| key.clone().filter(|k| k.iter().all(|c| *c < width));
    let left = kept(&sides.left.key, left_width);
    let right_width = sides.right.schema.fields().len();
    let right = kept(&sides.right.key, right_width).map(|k| k.iter().map(|c| c + left_width).collect::<Vec<_>>());
    let unique = |key: &Option<Vec<usize>>, keys: &[usize]| key.as_ref().is_some_and(|k| k.iter().all(|c| keys.contains(c)));
    let left_unique = unique(&sides.left.key, &sides.left_keys);
    let right_unique = unique(&sides.right.key, &sides.right_keys);
    let together = || Some(left.iter().chain(&right).flatten().copied().collect::<Vec<_>>()).filter(|_| left.is_some() && right.is_some());
    match kind {
        JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark => left,
        JoinKind::RightSemi | JoinKind::RightAnti => kept(&sides.right.key, right_width),
        JoinKind::Inner if right_unique && left.is_some() => left,
        JoinKind::Inner if left_unique && right.is_some() => right,
        JoinKind::Left if right_unique && left.is_some() => left,
        JoinKind::Right if left_unique && right.is_some() => right,
        // Padded rows of both sides could share NULLs with each other's keys.
        JoinKind::Full => None,
        _ => together(),
    }
}
