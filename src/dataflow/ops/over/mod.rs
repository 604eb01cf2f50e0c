//! Over: window functions. Every row comes out with one more column per function, `f(…) OVER (PARTITION BY … ORDER BY … frame)`.
//!
//! ```text
//!   delta -> partitions -> rows of the state += -> spans: what the changes reach -> results as they were, results as they are -> -old +new
//! ```
//!
//! State: the rows of each partition in a multiset, in the order asked for and then by the whole row, so that ties always resolve alike (design D14) and
//! results are a function of the input alone. Results are not kept: both the old and the new ones are computed from the rows that the changes reach,
//! whose weights before are those after minus the change. So a *retraction* is what an insertion is. How far a change reaches is told in [`reach`]:
//! under bounded frames, `lag` and `lead` no further than some rows, whatever the partition's size; elsewhere to the partition's end, with the rows
//! before it read from the nearest mark on ([`marks`]), or, for functions that are not running, all of them. *Forgotten*: with a window among the partition columns, what belongs to closed windows (rows for those are late); otherwise never, also
//! where the order is that of event time, for a late row still counts.
//!
//! A row whose result cannot be given (a sum overflows) is left out and becomes an evaluation error (design D15).

mod aggregates;
mod axis;
pub mod call;
mod changes;
pub mod frame;
mod marks;
mod moment;
mod reach;
mod span;
#[cfg(test)]
mod tests;
mod values;

use self::axis::Axis;
use self::call::WindowCall;
use self::changes::{Outcome, changes};
use self::marks::{Marks, NewMarks};
use self::moment::Moment;
use self::reach::{Amount, Reach};
use self::span::{Change, Collector, Spans};
use self::values::Input;
use super::consolidate::consolidate;
use super::groups::Groups;
use super::ordered::RowCodec;
use super::windowed::{WindowGroup, in_time};
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::error::{Error, Result};
use crate::state::kept::Kept;
use crate::state::keyed::Layout;
use crate::state::multiset::Multiset;
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, TableId};
use crate::types::key::{Codec, Order};
use crate::types::time::Step;
use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// See the module.
#[derive(Clone, Debug)]
pub struct Over {
    pub input: SchemaRef,
    pub partition: Vec<usize>,
    pub order: Vec<(usize, Order)>,
    pub calls: Vec<WindowCall>,
    pub input_append_only: bool,
    /// A window among the partition columns; `position` counts in `partition`.
    pub window: Option<WindowGroup>,
    /// The input's columns, then one per call.
    pub schema: SchemaRef,
    pub state: TableId,
    /// Where marks are kept, if [`Over::needs_marks`].
    pub marks: Option<TableId>,
}

impl Over {
    /// Error: a function or a frame does not take these types (0A000).
    pub fn check(&self) -> Result<()> {
        if self.calls.iter().any(|call| call.uses_frame() && call.frame.measures()) && self.axis().is_none() {
            let of = self.order.first().map_or("no column".to_string(), |(c, _)| self.input.field(*c).data_type().to_string());
            return Err(Error::not_supported(format!("RANGE with offset PRECEDING/FOLLOWING is not supported for {of}"))
                .with_hint("order by one number, date or timestamp, or count rows with ROWS"));
        }
        self.calls.iter().try_for_each(|call| match &call.function {
            call::WindowFunction::Aggregate(aggregate) => aggregate.accumulator(&self.input, true).map(|_| ()),
            _ => Ok(()),
        })
    }

    /// Whether marks spare reading partitions from their start.
    pub fn needs_marks(&self) -> bool {
        self.look_back().is_some()
    }

    fn look_back(&self) -> Option<Amount> {
        let axis = self.axis();
        marks::look_back(&self.calls, |call| call.reach(axis.as_ref()))
    }

    /// Partition ordinals in the order of the state key: the window first.
    fn keys(&self) -> Vec<usize> {
        let first = self.window.as_ref().map(|w| w.position);
        let rest = (0..self.partition.len()).filter(|p| Some(*p) != first);
        first.into_iter().chain(rest).map(|p| self.partition[p]).collect()
    }

    /// Of the one ORDER BY column, if its values have distances.
    fn axis(&self) -> Option<Axis> {
        match self.order.as_slice() {
            [(column, order)] => Axis::new(self.input.field(*column).data_type(), order.descending),
            _ => None,
        }
    }
}

impl Spec for Over {
    fn name(&self) -> &'static str {
        "Over"
    }

    fn details(&self) -> String {
        let name = |i: &usize| self.input.field(*i).name().clone();
        let mut parts = Vec::new();
        if !self.partition.is_empty() {
            parts.push(format!("partition by ({})", self.partition.iter().map(name).collect::<Vec<_>>().join(", ")));
        }
        if !self.order.is_empty() {
            parts.push(format!("order by ({})", self.order.iter().map(|(i, order)| format!("{}{}", name(i), order.suffix())).collect::<Vec<_>>().join(", ")));
        }
        let calls = self.calls.iter().map(|call| call.text(&self.input)).collect::<Vec<_>>().join(", ");
        format!("{}{}{calls}", parts.join(" "), if parts.is_empty() { "" } else { ": " })
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn distribution(&self) -> Vec<Distribution> {
        vec![if self.partition.is_empty() { Distribution::Single } else { Distribution::Hash(self.keys()) }]
    }

    fn append_only(&self, _inputs: &[bool]) -> bool {
        false
    }

    fn state_tables(&self) -> Vec<StateTable> {
        let bounded_by = match (&self.window, self.input_append_only) {
            (Some(_), _) => Bound::Watermark,
            (None, true) => Bound::Nothing,
            (None, false) => Bound::Rows("rows of the input"),
        };
        let rows = StateTable { id: self.state, what: "rows in order".to_string(), bounded_by };
        let marks = self.marks.map(|id| StateTable { id, what: "running values".to_string(), bounded_by });
        std::iter::once(rows).chain(marks).collect()
    }

    fn watermarks(&self) -> Vec<ObjectId> {
        self.window.as_ref().map(|w| w.bound.sources.clone()).unwrap_or_default()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Running::new(self, context)?))
    }
}

struct Running {
    spec: Over,
    keys: Vec<usize>,
    key_codec: Codec,
    codec: RowCodec,
    reach: Reach,
    axis: Option<Axis>,
    rows: Multiset,
    /// With how far is looked back before the nearest is looked for.
    marks: Option<(Multiset, Amount)>,
    /// Windows up to this value of the window column are closed.
    closed: Option<i64>,
}

impl Running {
    fn new(spec: &Over, context: &BuildContext) -> Result<Running> {
        let keys = spec.keys();
        let layout = if spec.window.is_some() { Layout::Windowed } else { Layout::Hash };
        let axis = spec.axis();
        Ok(Running {
            key_codec: Codec::new(&keys.iter().map(|c| spec.input.field(*c).data_type().clone()).collect::<Vec<_>>())?,
            codec: RowCodec::new(&spec.input, &spec.order)?,
            keys,
            reach: spec.calls.iter().map(|call| call.reach(axis.as_ref())).fold(Reach::default(), Reach::or),
            axis,
            rows: Multiset::new(spec.state, layout, &context.table()),
            marks: spec.marks.zip(spec.look_back()).map(|(table, back)| (Multiset::new(table, layout, &context.table()), back)),
            closed: None,
            spec: spec.clone(),
        })
    }

    fn input(&self, step: &Step, deltas: &mut Vec<Delta>, out: &mut Output) -> Result<Option<Delta>> {
        let in_time = in_time(self.spec.window.as_ref(), &self.spec.partition, deltas, step, out)?;
        if in_time.is_empty() {
            return Ok(None);
        }
        Ok(Some(consolidate(&self.spec.input, &in_time)?).filter(|d| !d.is_empty()))
    }

    fn update(&mut self, delta: &Delta, out: &mut Output) -> Result<()> {
        let spans = self.spans(delta)?;
        let columns = self.codec.decode(&spans.rows)?;
        let old = self.outcome(&Moment::new(&spans, &spans.old), &columns, &mut NewMarks::default())?;
        let moment = Moment::new(&spans, &spans.new);
        let mut marks = if self.marks.is_some() { NewMarks::places(&moment) } else { NewMarks::default() };
        let new = self.outcome(&moment, &columns, &mut marks)?;
        if let Some((table, _)) = &mut self.marks {
            let slots = spans.spans.iter().map(|span| span.marks).collect::<Vec<_>>();
            marks.store(table, &slots, |row| spans.rows.row(moment.entries.value(row) as usize));
        }
        changes(&self.spec.schema, &spans, &columns, &old, &new, out)
    }

    /// Makes the changes, and gives what they reach.
    fn spans(&mut self, delta: &Delta) -> Result<Spans> {
        let keys = self.keys.iter().map(|c| Arc::clone(delta.column(*c))).collect::<Vec<_>>();
        let groups = Groups::of(&self.key_codec, &keys, delta.rows(), false)?;
        let mut slots = Vec::with_capacity(groups.len());
        self.rows.resolve(&groups.keys, &groups.hashes, &mut slots);
        let mut marks = Vec::with_capacity(groups.len());
        if let Some((table, _)) = &mut self.marks {
            table.resolve(&groups.keys, &groups.hashes, &mut marks);
        } else if self.reach.back.all || self.reach.ahead.all {
            // One batched read is cheaper than stepping through each.
            self.rows.load(&slots)?;
        }
        let encoded = self.codec.encode(delta)?;
        for (row, group) in groups.of_row.iter().enumerate() {
            self.rows.add(slots[*group as usize], encoded.row(row), delta.weight(row));
        }
        let (mut order, starts) = groups.rows_by_group();
        let mut spans = Spans::default();
        for (group, slot) in slots.iter().enumerate() {
            let rows = &mut order[starts[group] as usize..starts[group + 1] as usize];
            rows.sort_unstable_by(|a, b| encoded.row(*a as usize).cmp(encoded.row(*b as usize)));
            let net = rows
                .chunk_by(|a, b| encoded.row(*a as usize) == encoded.row(*b as usize))
                .map(|equal| Change { row: encoded.row(equal[0] as usize), weight: equal.iter().map(|row| delta.weight(*row as usize)).sum() });
            let net = net.filter(|change| change.weight != 0).collect::<Vec<_>>();
            let marks = self.marks.as_mut().map(|(table, back)| (Marks { table, slot: marks[group] }, *back));
            let mut collector = Collector { reach: self.reach, codec: &self.codec, axis: self.axis.as_ref(), found: &mut spans, marks };
            collector.collect(&mut self.rows, *slot, &net)?;
        }
        Ok(spans)
    }

    /// `marks` are told what the functions came to where marks are to be made.
    fn outcome(&self, moment: &Moment, columns: &[ArrayRef], marks: &mut NewMarks) -> Result<Outcome> {
        let axis = self.axis.as_ref().zip(self.spec.order.first().map(|(column, _)| *column));
        let input = Input { schema: &self.spec.input, columns, axis };
        let results = self.spec.calls.iter().enumerate().map(|(number, call)| values::results(number, call, moment, &input, marks));
        let results = results.collect::<Result<Vec<_>>>()?;
        Outcome::new(moment, results, &self.spec.schema)
    }

    fn close(&mut self, step: &Step) {
        let Some(upto) = self.spec.window.as_ref().and_then(|w| w.bound.closed_upto(&step.after)) else { return };
        if self.closed.is_none_or(|closed| closed < upto) {
            self.closed = Some(upto);
            self.rows.close(upto);
            self.marks.iter_mut().for_each(|(marks, _)| marks.close(upto));
        }
    }
}

impl Operator for Running {
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        if let Some(delta) = self.input(step, &mut inputs[0], out)? {
            self.update(&delta, out)?;
        }
        self.close(step);
        self.rows.trim();
        self.marks.iter_mut().for_each(|(marks, _)| marks.trim());
        Ok(())
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        each(&mut self.rows);
        self.marks.iter_mut().for_each(|(marks, _)| each(marks));
    }
}
