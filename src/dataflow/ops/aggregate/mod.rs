//! Aggregate: one row per group of equal keys, GROUP BY with its aggregate functions (SELECT DISTINCT is one without functions).
//!
//! ```text
//!   delta -> late rows out -> equal keys meet (Groups) -> slots -> old rows -> accumulators += -> new rows -> -old +new where they differ
//!                                                                                    watermark -> close windows
//! ```
//!
//! *Retraction*: accumulators take rows back exactly; a group left without rows retracts its row and is forgotten. The old row is computed from
//! the accumulators before the update, never looked up. *State*: per group key its row count and accumulators (`Keyed`); a multiset or
//! a count per value beside it where a function needs one (`Call`). With a window among the keys, that column leads the key, rows for windows that `step.before` closed are
//! late, and windows that `step.after` closes are dropped, after giving their rows out for good under EMIT ON WINDOW CLOSE. Without a window, the number of
//! groups is what bounds it. A query without GROUP BY has one row always, also over no input: the owner of the empty key gives it out in its first epoch.

mod call;
mod changes;
mod columns;
#[cfg(test)]
mod tests;

use self::call::Call;
pub use self::call::CallTables;
use self::changes::{GroupRows, changes, closed_rows};
use self::columns::Columns;
use super::groups::Groups;
use super::windowed::{WindowGroup, in_time};
use crate::dataflow::agg::accumulator::{Touched, Update};
use crate::dataflow::agg::function::AggregateCall;
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::error::{Error, Result};
use crate::state::kept::{Kept, KeyedWith};
use crate::state::keyed::{Keyed, Layout, Slot, SlotValues};
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, TableId, owner, virtual_node};
use crate::types::key::{Codec, Rows, hash};
use crate::types::time::Step;
use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, SchemaRef};
use std::sync::Arc;

/// When results are given out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmitMode {
    /// Whenever a group's row changes.
    Changes,
    /// Once, when the group's window closes; needs a window.
    OnWindowClose,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Aggregate {
    pub input: SchemaRef,
    /// Ordinals of the group key.
    pub group: Vec<usize>,
    pub calls: Vec<AggregateCall>,
    pub window: Option<WindowGroup>,
    pub emit: EmitMode,
    pub input_append_only: bool,
    /// The group columns in order, then one column per call.
    pub schema: SchemaRef,
    pub state: TableId,
    /// One entry per call.
    pub tables: Vec<CallTables>,
}

impl Aggregate {
    /// Error: a function does not take its argument's type (0A000).
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        input: SchemaRef,
        group: Vec<usize>,
        calls: Vec<AggregateCall>,
        window: Option<WindowGroup>,
        emit: EmitMode,
        input_append_only: bool,
        schema: SchemaRef,
        allocate: &mut dyn FnMut() -> TableId,
    ) -> Result<Self> {
        if emit == EmitMode::OnWindowClose && window.is_none() {
            return Err(Error::not_supported("EMIT ON WINDOW CLOSE needs a window in GROUP BY")
                .with_hint("group by window_start or window_end of a TUMBLE or HOP over a source with a watermark"));
        }
        calls.iter().try_for_each(|call| call.accumulator(&input, input_append_only).map(|_| ()))?;
        let state = allocate();
        let mut tables = |call: &AggregateCall| CallTables {
            distinct: call.needs_distinct().then(&mut *allocate),
            multiset: call.needs_multiset(input_append_only).then(&mut *allocate),
        };
        let tables = calls.iter().map(&mut tables).collect();
        Ok(Aggregate { input, group, calls, window, emit, input_append_only, schema, state, tables })
    }

    /// Positions of `group` in the order of the state key: the window first.
    fn key_order(&self) -> Vec<usize> {
        let first = self.window.as_ref().map(|w| w.position);
        first.into_iter().chain((0..self.group.len()).filter(|p| Some(*p) != first)).collect()
    }

    fn layout(&self) -> Layout {
        if self.window.is_some() { Layout::Windowed } else { Layout::Hash }
    }
}

impl Spec for Aggregate {
    fn name(&self) -> &'static str {
        "Aggregate"
    }

    fn details(&self) -> String {
        let name = |i: &usize| self.input.field(*i).name().clone();
        let call = |c: &AggregateCall| {
            let distinct = if c.distinct { "DISTINCT " } else { "" };
            let args = if c.args.is_empty() { "*".to_string() } else { c.args.iter().map(name).collect::<Vec<_>>().join(", ") };
            let filter = c.filter.map(|f| format!(" FILTER (WHERE {})", name(&f))).unwrap_or_default();
            format!("{}({distinct}{args}){filter}", c.function.name())
        };
        let calls = self.calls.iter().map(call).collect::<Vec<_>>().join(", ");
        let group = self.group.iter().map(name).collect::<Vec<_>>().join(", ");
        let emit = if self.emit == EmitMode::OnWindowClose { "; emit on window close" } else { "" };
        format!("group by ({group}): {calls}{emit}")
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn distribution(&self) -> Vec<Distribution> {
        if self.group.is_empty() {
            return vec![Distribution::Single];
        }
        vec![Distribution::Hash(self.key_order().into_iter().map(|p| self.group[p]).collect())]
    }

    fn append_only(&self, inputs: &[bool]) -> bool {
        self.emit == EmitMode::OnWindowClose || (self.calls.is_empty() && inputs[0])
    }

    fn state_tables(&self) -> Vec<StateTable> {
        let bound = |otherwise: Bound| if self.window.is_some() { Bound::Watermark } else { otherwise };
        let mut tables = vec![StateTable { id: self.state, what: "groups".to_string(), bounded_by: bound(Bound::Keys("groups")) }];
        for (call, ids) in self.calls.iter().zip(&self.tables) {
            tables.extend(ids.distinct.map(|id| StateTable {
                id,
                what: format!("distinct values of {}", call.function.name()),
                bounded_by: bound(Bound::Rows("different values")),
            }));
            tables.extend(ids.multiset.map(|id| StateTable {
                id,
                what: format!("values of {}", call.function.name()),
                bounded_by: bound(Bound::Rows("values")),
            }));
        }
        tables
    }

    fn watermarks(&self) -> Vec<ObjectId> {
        self.window.as_ref().map(|w| w.bound.sources.clone()).unwrap_or_default()
    }

    fn has_timer(&self) -> bool {
        self.window.as_ref().is_some_and(|w| w.bound.is_by_clock())
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        let key_order = self.key_order();
        let types = key_order.iter().map(|p| self.input.field(self.group[*p]).data_type().clone()).collect::<Vec<_>>();
        let called = self.calls.iter().flat_map(|c| c.args.iter().copied().chain(c.filter).chain(c.order_by.iter().map(|(o, _)| *o)));
        let mut used = self.group.iter().copied().chain(called).collect::<Vec<_>>();
        used.sort_unstable();
        used.dedup();
        let position = |column: usize| used.binary_search(&column).expect("every column that is asked for is in the list");
        let call = |(call, tables): (&AggregateCall, &CallTables)| Call::new(call, tables, &self.input, self.layout(), position, context);
        let aliased = |t: &DataType| t.is_floating() || t.is_nested() || matches!(t, DataType::Interval(_));
        let owns_empty_key = owner(virtual_node(hash(&[])), context.workers) == context.worker;
        Ok(Box::new(Running {
            calls: self.calls.iter().zip(&self.tables).map(call).collect::<Result<_>>()?,
            keyed: Keyed::new(self.state, self.layout(), &context.table()),
            columns: Columns::new(accumulators(self)?),
            group: self.group.iter().map(|c| position(*c)).collect(),
            aliased: types.iter().any(aliased),
            codec: Codec::new(&types)?,
            key_order,
            used_schema: Arc::new(self.input.project(&used)?),
            used,
            start_global: self.group.is_empty() && owns_empty_key,
            closed: None,
            spec: self.clone(),
        }))
    }
}

fn accumulators(spec: &Aggregate) -> Result<Vec<Box<dyn crate::dataflow::agg::accumulator::Accumulator>>> {
    spec.calls.iter().map(|c| c.accumulator(&spec.input, spec.input_append_only)).collect()
}

struct Running {
    spec: Aggregate,
    /// Ordinals of the input columns that are looked at, and their schema; every ordinal below counts in these.
    used: Vec<usize>,
    used_schema: SchemaRef,
    group: Vec<usize>,
    key_order: Vec<usize>,
    codec: Codec,
    /// Whether equal keys may look different (-0.0 and 0.0): then output takes them from the key's bytes, not from the row at hand.
    aliased: bool,
    keyed: Keyed,
    columns: Columns,
    calls: Vec<Call>,
    /// The row over no input is still to be given out.
    start_global: bool,
    /// Windows up to this value of the window column are closed.
    closed: Option<i64>,
}

impl Running {
    /// The rows that count, as one delta of the columns that are looked at.
    fn input(&self, step: &Step, deltas: &mut Vec<Delta>, out: &mut Output) -> Result<Option<Delta>> {
        let in_time = in_time(self.spec.window.as_ref(), &self.spec.group, deltas, step, out)?;
        if in_time.is_empty() {
            return Ok(None);
        }
        let used = in_time.iter().map(|delta| Ok(delta.with_batch(delta.batch().project(&self.used)?))).collect::<Result<Vec<_>>>()?;
        Delta::concat(&self.used_schema, &used).map(Some)
    }

    fn update(&mut self, delta: &Delta, out: &mut Output) -> Result<()> {
        let keys = self.key_order.iter().map(|p| Arc::clone(delta.column(self.group[*p]))).collect::<Vec<_>>();
        let groups = Groups::of(&self.codec, &keys, delta.rows(), false)?;
        self.update_groups(delta, &groups, out)
    }

    fn update_groups(&mut self, delta: &Delta, groups: &Groups, out: &mut Output) -> Result<()> {
        let mut slots = Vec::with_capacity(groups.len());
        self.keyed.resolve(&groups.keys, &groups.hashes, &mut self.columns, &mut slots)?;
        let touched = Touched { keys: &groups.keys, hashes: &groups.hashes, slots: &slots };
        let old = self.rows_of(&touched)?;
        self.accumulate(delta, groups, &touched)?;
        for slot in &slots {
            self.keyed.touch(*slot);
            if self.spec.group.is_empty() {
                self.columns.emitted[*slot as usize] = true;
            }
        }
        if self.spec.emit == EmitMode::OnWindowClose {
            return Ok(());
        }
        let new = self.rows_of(&touched)?;
        let key_columns = self.key_columns(delta, groups)?;
        changes(&self.spec.schema, key_columns, old, new, out)
    }

    fn accumulate(&mut self, delta: &Delta, groups: &Groups, touched: &Touched<'_>) -> Result<()> {
        let slots = groups.of_row.iter().map(|g| touched.slots[*g as usize]).collect::<Vec<Slot>>();
        let update = Update { slots: &slots, groups: &groups.of_row, weights: delta.weights(), touched: *touched };
        let rows = &mut self.columns.rows;
        slots.iter().enumerate().for_each(|(i, slot)| rows[*slot as usize] += update.weight(i));
        for (call, accumulator) in self.calls.iter_mut().zip(&mut self.columns.accumulators) {
            call.update(accumulator.as_mut(), &update, delta)?;
        }
        Ok(())
    }

    /// The output rows that the groups have now.
    fn rows_of(&mut self, touched: &Touched<'_>) -> Result<GroupRows> {
        let present = touched.slots.iter().map(|s| self.columns.present(*s)).collect::<Vec<_>>();
        if self.spec.emit == EmitMode::OnWindowClose || !present.contains(&true) {
            return Ok(GroupRows::none(touched.slots.len()));
        }
        let calls = self.calls.iter_mut().zip(&mut self.columns.accumulators);
        let results = calls.map(|(call, accumulator)| accumulator.result(touched, call.table.as_mut())).collect::<Result<_>>()?;
        Ok(GroupRows { present, results })
    }

    /// The group columns of the output, one row per group.
    fn key_columns(&self, delta: &Delta, groups: &Groups) -> Result<Vec<ArrayRef>> {
        if self.aliased {
            return self.decode_keys(&groups.keys);
        }
        let first = arrow::array::UInt32Array::from(groups.first.clone());
        self.group.iter().map(|c| Ok(arrow::compute::take(delta.column(*c), &first, None)?)).collect()
    }

    fn decode_keys(&self, keys: &Rows) -> Result<Vec<ArrayRef>> {
        let in_key_order = self.codec.decode(&mut keys.iter())?;
        let mut columns = in_key_order.clone();
        self.key_order.iter().zip(in_key_order).for_each(|(position, column)| columns[*position] = column);
        Ok(columns)
    }

    /// A query without GROUP BY has a row before any input.
    fn start(&mut self, out: &mut Output) -> Result<()> {
        self.start_global = false;
        let mut groups = Groups::of_rows(&Rows::default());
        groups.add(0, &[]);
        groups.of_row.clear();
        let nothing = Delta::inserts(arrow::array::RecordBatch::new_empty(Arc::clone(&self.used_schema)));
        self.update_groups(&nothing, &groups, out)
    }

    fn close(&mut self, step: &Step, out: &mut Output) -> Result<()> {
        let Some(upto) = self.spec.window.as_ref().and_then(|w| w.bound.closed_upto(&step.after)) else { return Ok(()) };
        if self.closed.is_some_and(|closed| closed >= upto) {
            return Ok(());
        }
        self.closed = Some(upto);
        let emit = self.spec.emit == EmitMode::OnWindowClose;
        let (mut keys, mut stored) = (Rows::default(), Rows::default());
        let mut closing = |key: &[u8], value: &[u8]| {
            keys.push(key);
            stored.push(value);
            Ok(())
        };
        self.keyed.close(upto, &mut self.columns, emit.then_some(&mut closing))?;
        if !keys.is_empty() {
            self.emit_closed(&keys, &stored, out)?;
        }
        self.calls.iter_mut().try_for_each(|call| call.close(upto))
    }

    /// Gives out the final rows of closed groups, through accumulators of their own: the slots are free by now.
    fn emit_closed(&mut self, keys: &Rows, stored: &Rows, out: &mut Output) -> Result<()> {
        let mut columns = Columns::new(accumulators(&self.spec)?);
        for (slot, bytes) in stored.iter().enumerate() {
            columns.load(slot as Slot, Some(bytes))?;
        }
        let slots = (0..keys.len() as Slot).collect::<Vec<_>>();
        let hashes = keys.iter().map(hash).collect::<Vec<_>>();
        let touched = Touched { keys, hashes: &hashes, slots: &slots };
        let calls = self.calls.iter_mut().zip(&mut columns.accumulators);
        let results = calls.map(|(call, accumulator)| accumulator.result(&touched, call.table.as_mut())).collect::<Result<_>>()?;
        let present = slots.iter().map(|s| columns.present(*s)).collect();
        closed_rows(&self.spec.schema, self.decode_keys(keys)?, GroupRows { present, results }, out)
    }
}

impl Operator for Running {
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        if self.start_global {
            self.start(out)?;
        }
        if let Some(delta) = self.input(step, &mut inputs[0], out)? {
            self.update(&delta, out)?;
        }
        self.close(step, out)?;
        self.keyed.trim(&mut self.columns);
        self.calls.iter_mut().for_each(Call::trim);
        Ok(())
    }

    fn due(&self) -> Option<i64> {
        self.spec.window.as_ref().and_then(|w| w.bound.due(self.keyed.first_window()))
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        each(&mut KeyedWith(&mut self.keyed, &mut self.columns));
        self.calls.iter_mut().for_each(|call| call.state(each));
    }
}
