//! Join: inner, outer, semi, anti and mark joins on equal keys, with an optional residual condition.
//!
//! Two arrangements of rows by key. With ΔL and ΔR the epoch's net changes:
//!
//! ```text
//!   matched pairs      ΔL ⋈ R_old  +  L_new ⋈ ΔR
//!   preserved rows     ΔL·[status new]  +  L_old·([status new] − [status old])    for keys (or rows) of ΔR whose status flips
//! ```
//!
//! where a row's status is whether it has a match: by a count of rows per key of the other side (`Counts`), or, with a residual, by
//! probing the other side. LEFT gives unmatched left rows padded with NULLs, SEMI matched ones, ANTI unmatched ones, MARK both with a flag.
//!
//! *Retraction* is a negative weight and goes through the same formulas. Rows with a NULL key match nothing and are not stored, but
//! are preserved; under `IS NOT DISTINCT FROM` they match like values. *State*: rows (`Multiset`) and counts by key; semi and anti joins keep no rows of the other side unless there is a
//! residual. Without equal keys all rows meet under the empty key on one worker. *Forgotten*: when both keys contain the same window, what belongs to closed windows; otherwise never
//! (but see [`interval`]). Joins with the nearest row in time are [`asof`].

pub mod asof;
pub mod interval;
mod pairs;
mod preserved;
mod side;
pub mod temporal;
#[cfg(test)]
mod tests;

use self::pairs::Pairing;
use self::preserved::Preserved;
use self::side::{Change, Side};
use super::windowed::WindowBound;
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::error::{Error, Result};
use crate::state::kept::Kept;
use crate::state::keyed::Layout;
use crate::types::delta::Delta;
use crate::types::expr::ExprRef;
use crate::types::ids::{ObjectId, TableId};
use crate::types::time::Step;
use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field, Schema, SchemaRef};
use std::sync::Arc;

/// Which rows come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
    LeftSemi,
    LeftAnti,
    /// Left rows with a boolean column behind them: whether there is a match.
    LeftMark,
    RightSemi,
    RightAnti,
}

/// A window column among the keys of both sides: `position` counts in the key lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinWindow {
    pub position: usize,
    pub bound: WindowBound,
}

/// What the state tables of a join are; which exist depends on its kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct JoinTables {
    pub rows: [Option<TableId>; 2],
    pub counts: [Option<TableId>; 2],
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Join {
    pub kind: JoinKind,
    pub left: SchemaRef,
    pub right: SchemaRef,
    /// Ordinals of equal columns, in pairs of the same type.
    pub left_keys: Vec<usize>,
    pub right_keys: Vec<usize>,
    pub null_equals_null: bool,
    /// Boolean, over left columns then right columns.
    pub residual: Option<ExprRef>,
    pub window: Option<JoinWindow>,
    /// Ordinals of what comes out, over left then right columns (semi, anti: the kept side's; mark: left, then the mark).
    pub output: Vec<usize>,
    pub schema: SchemaRef,
    pub tables: JoinTables,
}

impl JoinKind {
    /// Whether matched pairs come out.
    fn pairs(self) -> bool {
        matches!(self, JoinKind::Inner | JoinKind::Left | JoinKind::Right | JoinKind::Full)
    }

    /// What comes out of the rows of one side for themselves.
    fn preserves(self, side: usize) -> Option<Preserved> {
        match (self, side) {
            (JoinKind::Left | JoinKind::Full, 0) | (JoinKind::Right | JoinKind::Full, 1) => Some(Preserved::Padded),
            (JoinKind::LeftSemi, 0) | (JoinKind::RightSemi, 1) => Some(Preserved::Matched),
            (JoinKind::LeftAnti, 0) | (JoinKind::RightAnti, 1) => Some(Preserved::Unmatched),
            (JoinKind::LeftMark, 0) => Some(Preserved::Marked),
            _ => None,
        }
    }
}

impl Join {
    /// `output` is `None` for all columns. Error: key columns of different types, or an output that does not fit.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        kind: JoinKind,
        (left, right): (SchemaRef, SchemaRef),
        (left_keys, right_keys): (Vec<usize>, Vec<usize>),
        null_equals_null: bool,
        residual: Option<ExprRef>,
        window: Option<JoinWindow>,
        output: Option<Vec<usize>>,
        schema: SchemaRef,
        allocate: &mut dyn FnMut() -> TableId,
    ) -> Result<Self> {
        let join = Join::shaped(kind, (left, right), (left_keys, right_keys), null_equals_null, residual, window, output, schema)?;
        let has_residual = join.residual.is_some();
        let mut table = |needed: bool| needed.then(&mut *allocate);
        let needs_rows = |side: usize| kind.pairs() || kind.preserves(side).is_some() || has_residual;
        let needs_counts = |side: usize| kind.preserves(1 - side).is_some() && !has_residual;
        let tables = JoinTables { rows: [table(needs_rows(0)), table(needs_rows(1))], counts: [table(needs_counts(0)), table(needs_counts(1))] };
        Ok(Join { tables, ..join })
    }

    /// The same without tables.
    #[allow(clippy::too_many_arguments)]
    pub fn shaped(
        kind: JoinKind,
        (left, right): (SchemaRef, SchemaRef),
        (left_keys, right_keys): (Vec<usize>, Vec<usize>),
        null_equals_null: bool,
        residual: Option<ExprRef>,
        window: Option<JoinWindow>,
        output: Option<Vec<usize>>,
        schema: SchemaRef,
    ) -> Result<Self> {
        for (l, r) in left_keys.iter().zip(&right_keys) {
            let (l, r) = (left.field(*l).data_type(), right.field(*r).data_type());
            if l != r {
                return Err(Error::internal(format!("join keys of different types: {l} and {r}")));
            }
        }
        let tables = JoinTables::default();
        let join = Join { kind, left, right, left_keys, right_keys, null_equals_null, residual, window, output: Vec::new(), schema, tables };
        let width = join.width();
        let output = output.unwrap_or_else(|| (0..width).collect());
        if output.len() != join.schema.fields().len() || output.iter().any(|c| *c >= width) {
            return Err(Error::internal(format!("a join's output {output:?} does not fit its schema {}", join.schema)));
        }
        Ok(Join { output, ..join })
    }

    /// Columns before the output is picked.
    fn width(&self) -> usize {
        let (left, right) = (self.left.fields().len(), self.right.fields().len());
        match self.kind {
            JoinKind::LeftSemi | JoinKind::LeftAnti => left,
            JoinKind::LeftMark => left + 1,
            JoinKind::RightSemi | JoinKind::RightAnti => right,
            _ => left + right,
        }
    }

    /// Key ordinals of a side in the order of the state key: the window first.
    fn keys(&self, side: usize) -> Vec<usize> {
        let keys = if side == 0 { &self.left_keys } else { &self.right_keys };
        let first = self.window.as_ref().map(|w| w.position);
        let rest = (0..keys.len()).filter(|p| Some(*p) != first);
        first.into_iter().chain(rest).map(|p| keys[p]).collect()
    }

    fn pair_schema(&self) -> SchemaRef {
        let fields = self.left.fields().iter().chain(self.right.fields()).map(|f| Field::clone(f).with_nullable(true));
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

impl Spec for Join {
    fn name(&self) -> &'static str {
        "Join"
    }

    fn details(&self) -> String {
        let name = |schema: &SchemaRef, i: usize| schema.field(i).name().clone();
        let equal = if self.null_equals_null { "IS NOT DISTINCT FROM" } else { "=" };
        let pairs = self.left_keys.iter().zip(&self.right_keys);
        let mut on = pairs.map(|(l, r)| format!("{} {equal} {}", name(&self.left, *l), name(&self.right, *r))).collect::<Vec<_>>();
        on.extend(self.residual.as_ref().map(|r| r.sql()));
        format!("{:?} on {}", self.kind, if on.is_empty() { "true".to_string() } else { on.join(" AND ") })
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn distribution(&self) -> Vec<Distribution> {
        if self.left_keys.is_empty() {
            return vec![Distribution::Single; 2];
        }
        vec![Distribution::Hash(self.keys(0)), Distribution::Hash(self.keys(1))]
    }

    fn append_only(&self, inputs: &[bool]) -> bool {
        let monotone = matches!(self.kind, JoinKind::Inner | JoinKind::LeftSemi | JoinKind::RightSemi);
        monotone && inputs.iter().all(|i| *i)
    }

    fn state_tables(&self) -> Vec<StateTable> {
        let bounded_by = if self.window.is_some() { Bound::Watermark } else { Bound::Nothing };
        let table = |id: TableId, what: String| StateTable { id, what, bounded_by };
        let sides = [("left", &self.left, &self.left_keys), ("right", &self.right, &self.right_keys)];
        let mut tables = Vec::new();
        for (side, (name, schema, keys)) in sides.into_iter().enumerate() {
            let keys = keys.iter().map(|k| schema.field(*k).name().as_str()).collect::<Vec<_>>().join(", ");
            tables.extend(self.tables.rows[side].map(|id| table(id, format!("{name} rows by ({keys})"))));
            tables.extend(self.tables.counts[side].map(|id| table(id, format!("number of {name} rows by ({keys})"))));
        }
        tables
    }

    fn watermarks(&self) -> Vec<ObjectId> {
        self.window.as_ref().map(|w| w.bound.sources.clone()).unwrap_or_default()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        let layout = if self.window.is_some() { Layout::Windowed } else { Layout::Hash };
        let side = |side: usize, schema: &SchemaRef| {
            let tables = (self.tables.rows[side], self.tables.counts[side]);
            Side::new(schema, self.keys(side), self.null_equals_null, layout, tables, context)
        };
        Ok(Box::new(Running {
            sides: [side(0, &self.left)?, side(1, &self.right)?],
            pairing: Pairing { schema: self.pair_schema(), residual: self.residual.clone() },
            closed: None,
            spec: self.clone(),
        }))
    }
}

struct Running {
    spec: Join,
    sides: [Side; 2],
    pairing: Pairing,
    /// Windows up to this value of the window column are closed.
    closed: Option<i64>,
}

impl Running {
    fn join(&mut self, changes: [Change; 2], out: &mut Output) -> Result<()> {
        let before = self.preserved_before(&changes, out)?;
        let [left, right] = &mut self.sides;
        let spec = &self.spec;
        let emit = |out: &mut Output, matched: pairs::Matched| {
            out.push(project(&spec.output, &spec.schema, &matched.rows)?);
            Ok(())
        };
        if spec.kind.pairs() {
            self.pairing.probe(0, &changes[0], right, out, emit)?;
        }
        left.add(&changes[0])?;
        if spec.kind.pairs() {
            self.pairing.probe(1, &changes[1], left, out, emit)?;
        }
        right.add(&changes[1])?;
        self.preserved_after(&changes, before, out)
    }

    fn close(&mut self, step: &Step) -> Result<()> {
        let Some(upto) = self.spec.window.as_ref().and_then(|w| w.bound.closed_upto(&step.after)) else { return Ok(()) };
        if self.closed.is_some_and(|closed| closed >= upto) {
            return Ok(());
        }
        self.closed = Some(upto);
        self.sides.iter_mut().try_for_each(|side| side.close(upto))
    }
}

/// The output columns of full rows.
fn project(output: &[usize], schema: &SchemaRef, rows: &Delta) -> Result<Delta> {
    let columns = output.iter().map(|c| Arc::clone(rows.column(*c))).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(rows.rows()));
    Ok(rows.with_batch(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?))
}

impl Operator for Running {
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        if inputs.iter().any(|port| !port.is_empty()) {
            let window = self.spec.window.as_ref().map(|w| &w.bound);
            let mut change = |side: usize| self.sides[side].change(&mut inputs[side], window, &step.before, out);
            let changes = [change(0)?, change(1)?];
            self.join(changes, out)?;
        }
        self.close(step)?;
        self.sides.iter_mut().for_each(Side::trim);
        Ok(())
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        self.sides.iter_mut().for_each(|side| side.state(each));
    }
}
