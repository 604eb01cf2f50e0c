//! TopK: the first rows of each partition in an order: ORDER BY … LIMIT, ROW_NUMBER() … <= k, RANK, DENSE_RANK, DISTINCT ON.
//!
//! State: the rows of each partition in a multiset, in the order asked for and then by the whole row, so that ties always resolve alike (design D14).
//! An epoch reads the first rows of each partition that it touches before and after its changes, and gives out the difference; so a *retraction* of a
//! row above the limit brings up the next one, and rows below it cost a write and no output. On append-only input nothing ever comes up again: rows
//! below the limit are dropped at once. *Forgotten*: with a window among the partition columns, what belongs to closed windows; otherwise never.

mod contenders;
mod ranked;
#[cfg(test)]
mod tests;

use self::contenders::Taken;
use self::ranked::{Ranked, Window, difference, order_part};
use super::consolidate::consolidate;
use super::groups::Groups;
use super::windowed::{WindowGroup, in_time};
use crate::dataflow::agg::accumulator::grow;
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::error::{Error, Result};
use crate::state::checkpoint::{Generation, HandOver};
use crate::state::kept::Kept;
use crate::state::keyed::{Layout, Slot};
use crate::state::multiset::Multiset;
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, TableId};
use crate::types::key::{Codec, Order, Rows};
use crate::types::time::Step;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// What the limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranking {
    RowNumber,
    /// Ties share a number and the next number jumps; `LIMIT … WITH TIES` is this without the column.
    Rank,
    /// Ties share a number and the next follows.
    DenseRank,
}

/// See the module. Rows with `offset < rank <= offset + limit` come out.
#[derive(Clone, Debug)]
pub struct TopK {
    pub input: SchemaRef,
    pub partition: Vec<usize>,
    pub order: Vec<(usize, Order)>,
    pub limit: Option<u64>,
    pub offset: u64,
    pub ranking: Ranking,
    /// The rank is a column behind the input's.
    pub rank_column: bool,
    pub input_append_only: bool,
    /// A window among the partition columns; `position` counts in `partition`.
    pub window: Option<WindowGroup>,
    /// The input's columns, then the rank if it is asked for (of any integer type).
    pub schema: SchemaRef,
    pub state: TableId,
}

impl TopK {
    /// Partition ordinals in the order of the state key: the window first.
    fn keys(&self) -> Vec<usize> {
        let first = self.window.as_ref().map(|w| w.position);
        let rest = (0..self.partition.len()).filter(|p| Some(*p) != first);
        first.into_iter().chain(rest).map(|p| self.partition[p]).collect()
    }

    /// Input ordinals in the order of the stored row: ORDER BY columns, then the others; and how many are of the first kind.
    fn stored(&self) -> (Vec<(usize, Order)>, usize) {
        let mut columns: Vec<(usize, Order)> = Vec::new();
        for (column, order) in &self.order {
            if !columns.iter().any(|(c, _)| c == column) {
                columns.push((*column, *order));
            }
        }
        let ordered = columns.len();
        for column in 0..self.input.fields().len() {
            if !columns.iter().any(|(c, _)| *c == column) {
                columns.push((column, Order::default()));
            }
        }
        (columns, ordered)
    }
}

impl Spec for TopK {
    fn name(&self) -> &'static str {
        "TopK"
    }

    fn details(&self) -> String {
        let name = |i: &usize| self.input.field(*i).name().clone();
        let order = |(i, order): &(usize, Order)| format!("{}{}", name(i), order.suffix());
        let mut parts = Vec::new();
        if !self.partition.is_empty() {
            parts.push(format!("partition by ({})", self.partition.iter().map(name).collect::<Vec<_>>().join(", ")));
        }
        parts.push(format!("order by ({})", self.order.iter().map(order).collect::<Vec<_>>().join(", ")));
        parts.extend(self.limit.map(|limit| format!("limit {limit}")));
        if self.offset > 0 {
            parts.push(format!("offset {}", self.offset));
        }
        if self.ranking != Ranking::RowNumber {
            parts.push(format!("{:?}", self.ranking));
        }
        parts.join(" ")
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
        let bounded_by = match (&self.window, self.limit) {
            (Some(_), _) => Bound::Watermark,
            (None, Some(_)) if self.input_append_only => Bound::Keys("partitions and the limit"),
            _ => Bound::Rows("rows"),
        };
        vec![StateTable { id: self.state, what: "rows in order".to_string(), bounded_by }]
    }

    fn watermarks(&self) -> Vec<ObjectId> {
        self.window.as_ref().map(|w| w.bound.sources.clone()).unwrap_or_default()
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        let data_type = |column: usize| self.input.field(column).data_type().clone();
        let keys = self.keys();
        let layout = if self.window.is_some() { Layout::Windowed } else { Layout::Hash };
        let (stored, ordered) = self.stored();
        let fields = stored.iter().map(|(c, order)| (data_type(*c), *order)).collect::<Vec<_>>();
        Ok(Box::new(Running {
            key_codec: Codec::new(&keys.iter().map(|c| data_type(*c)).collect::<Vec<_>>())?,
            order_codec: Codec::ordered(fields[..ordered].to_vec())?,
            row_codec: Codec::ordered(fields)?,
            keys,
            stored: stored.into_iter().map(|(c, _)| c).collect(),
            ordered,
            rows: Multiset::new(self.state, layout, &context.table()),
            window: Window::new(self.limit, self.offset, self.ranking, self.rank_column),
            boundaries: Boundaries::default(),
            trims: context.cache_entries.is_some(),
            orders: Rows::default(),
            encoded: Rows::default(),
            before: Ranked::default(),
            after: Ranked::default(),
            closed: None,
            spec: self.clone(),
        }))
    }
}

/// About what one boundary takes.
const BOUNDARY_BYTES: usize = 64;

struct Running {
    spec: TopK,
    keys: Vec<usize>,
    key_codec: Codec,
    /// Input ordinals in stored order; the first `ordered` of them are the ORDER BY columns.
    stored: Vec<usize>,
    ordered: usize,
    order_codec: Codec,
    row_codec: Codec,
    rows: Multiset,
    window: Window,
    boundaries: Boundaries,
    /// Whether groups are evicted after each epoch.
    trims: bool,
    /// ORDER BY parts, and whole rows, of what came in; these and what walks find are kept for their buffers.
    orders: Rows,
    encoded: Rows,
    before: Ranked,
    after: Ranked,
    /// Windows up to this value of the window column are closed.
    closed: Option<i64>,
}

impl Running {
    fn update(&mut self, deltas: &[Delta], out: &mut Output) -> Result<()> {
        let Taken { rows, of_row, slots } = if self.spec.input_append_only { self.contenders(deltas)? } else { self.all(deltas)? };
        let encoded = self.encode(&rows)?;
        let mut looked_at = vec![false; slots.len()];
        for (row, group) in encoded.iter().zip(&of_row) {
            looked_at[*group as usize] |= !self.boundaries.is_beyond(self.window, slots[*group as usize], row);
        }
        let walked = slots.iter().zip(&looked_at).filter(|(_, l)| **l).map(|(s, _)| *s).collect::<Vec<_>>();
        let (mut before, mut after) = (std::mem::take(&mut self.before), std::mem::take(&mut self.after));
        self.walk(&walked, &mut before)?;
        for (row, group) in of_row.iter().enumerate() {
            // On append-only input what is beyond the limit stays there: it is not stored at all.
            if looked_at[*group as usize] || !self.spec.input_append_only {
                self.rows.add(slots[*group as usize], encoded.row(row), rows.weight(row));
            }
        }
        self.encoded = encoded;
        self.walk(&walked, &mut after)?;
        let mut changes = Ranked::default();
        for (partition, slot) in walked.iter().enumerate() {
            difference(&before, &after, partition, &mut changes);
            let boundary = after.boundary(partition);
            self.boundaries.set(*slot, boundary);
            if let Some(last) = boundary.filter(|_| self.spec.input_append_only) {
                prune(&mut self.rows, *slot, last);
            }
        }
        (self.before, self.after) = (before, after);
        out.push(self.decode(changes)?);
        Ok(())
    }

    /// The epoch's net change.
    fn all(&mut self, deltas: &[Delta]) -> Result<Taken> {
        let rows = consolidate(&self.spec.input, deltas)?;
        let keys = self.keys.iter().map(|c| Arc::clone(rows.column(*c))).collect::<Vec<_>>();
        let groups = Groups::of(&self.key_codec, &keys, rows.rows(), false)?;
        let mut slots = Vec::with_capacity(groups.len());
        self.rows.resolve(&groups.keys, &groups.hashes, &mut slots);
        Ok(Taken { rows, of_row: groups.of_row, slots })
    }

    /// Stored rows: ORDER BY columns, the other columns, then the length of the first part, by which ties are told.
    fn encode(&mut self, delta: &Delta) -> Result<Rows> {
        let columns = self.stored.iter().map(|c| Arc::clone(delta.column(*c))).collect::<Vec<ArrayRef>>();
        let (mut order, mut rows) = (std::mem::take(&mut self.orders), std::mem::take(&mut self.encoded));
        order.clear();
        rows.clear();
        encode_order(&self.order_codec, &columns[..self.ordered], delta.rows(), &mut order)?;
        let length = |row: usize| (order.row(row).len() as u32).to_be_bytes();
        if columns.is_empty() {
            (0..delta.rows()).for_each(|row| rows.push(&length(row)));
        } else {
            self.row_codec.encode_tailed(&columns, &length, &mut rows)?;
        }
        self.orders = order;
        Ok(rows)
    }

    /// The rows that each partition gives out as it is.
    fn walk(&mut self, slots: &[Slot], found: &mut Ranked) -> Result<()> {
        found.clear();
        if self.spec.input_append_only {
            // These partitions hold no more than the limit: one batched read is cheaper than stepping through each.
            self.rows.load(slots)?;
        }
        for slot in slots {
            let mut walk = self.window.walk(found);
            if self.spec.input_append_only {
                self.rows.rows(*slot).take_while(|(row, weight)| walk.visit(row, *weight)).for_each(drop);
            } else {
                self.rows.first(*slot, &mut |row, weight| walk.visit(row, weight))?;
            }
            walk.finish();
        }
        Ok(())
    }

    fn decode(&self, changes: Ranked) -> Result<Delta> {
        if changes.rows.is_empty() {
            return Ok(Delta::inserts(RecordBatch::new_empty(Arc::clone(&self.spec.schema))));
        }
        let stored = self.row_codec.decode(&mut changes.rows.iter())?;
        let mut columns = stored.clone();
        self.stored.iter().zip(stored).for_each(|(ordinal, column)| columns[*ordinal] = column);
        if self.spec.rank_column {
            let field = self.spec.schema.fields().last().ok_or_else(|| Error::internal("a rank column has a field"))?;
            columns.push(cast(&Int64Array::from(changes.ranks), field.data_type())?);
        }
        let options = RecordBatchOptions::new().with_row_count(Some(changes.weights.len()));
        Ok(Delta::new(RecordBatch::try_new_with_options(Arc::clone(&self.spec.schema), columns, &options)?, changes.weights))
    }

    fn close(&mut self, step: &Step) {
        let Some(upto) = self.spec.window.as_ref().and_then(|w| w.bound.closed_upto(&step.after)) else { return };
        if self.closed.is_none_or(|closed| closed < upto) {
            self.closed = Some(upto);
            self.rows.close(upto);
            self.boundaries.forget();
        }
    }
}

/// Appends each row's ORDER BY part; empty ones if there are no columns.
fn encode_order(codec: &Codec, columns: &[ArrayRef], rows: usize, order: &mut Rows) -> Result<()> {
    if columns.is_empty() {
        (0..rows).for_each(|_| order.push(&[]));
        return Ok(());
    }
    codec.encode(columns, order)
}

/// Drops the rows below the limit: nothing will bring them up. With an offset the rows above it stay, for they push others down.
fn prune(rows: &mut Multiset, slot: Slot, last: &[u8]) {
    let (mut below, mut weights) = (Rows::default(), Vec::new());
    for (row, weight) in rows.rows(slot).filter(|(row, _)| *row > last) {
        below.push(row);
        weights.push(weight);
    }
    below.iter().zip(weights).for_each(|(row, weight)| rows.add(slot, row, -weight));
}

/// The last row within the limit of each partition that reached it, as far as known, by slot: most rows of a long stream are beyond it, and
/// change nothing. Slots lose their meaning when groups are evicted or closed; then all is forgotten, and found again with the next walk.
#[derive(Default)]
struct Boundaries {
    /// Empty: not known.
    rows: Vec<Vec<u8>>,
}

impl Boundaries {
    /// Whether a row with this ORDER BY part, whatever its other columns, is beyond the last row.
    fn is_behind(&self, slot: Slot, order: &[u8]) -> bool {
        self.rows.get(slot as usize).is_some_and(|boundary| !boundary.is_empty() && order > order_part(boundary))
    }

    fn is_beyond(&self, window: Window, slot: Slot, row: &[u8]) -> bool {
        self.rows.get(slot as usize).is_some_and(|boundary| !boundary.is_empty() && window.is_beyond(row, boundary))
    }

    fn set(&mut self, slot: Slot, row: Option<&[u8]>) {
        let boundary = grow(&mut self.rows, slot);
        boundary.clear();
        boundary.extend_from_slice(row.unwrap_or_default());
    }

    fn forget(&mut self) {
        self.rows.clear();
    }
}

impl Operator for Running {
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        let in_time = in_time(self.spec.window.as_ref(), &self.spec.partition, &mut inputs[0], step, out)?;
        if !in_time.is_empty() {
            self.update(&in_time, out)?;
        }
        self.close(step);
        self.rows.trim();
        if self.trims {
            self.boundaries.forget();
        }
        Ok(())
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        each(self);
    }
}

impl Kept for Running {
    fn checkpoint(&mut self, generation: Generation) {
        self.rows.checkpoint(generation);
    }

    fn hand_over(&mut self, piece: &mut HandOver) {
        self.rows.hand_over(piece);
    }

    fn committed(&mut self, generation: Generation) {
        self.rows.committed(generation);
    }

    fn memory(&self) -> usize {
        self.rows.memory() + self.boundaries.rows.capacity() * BOUNDARY_BYTES
    }

    fn evict(&mut self, bytes: usize) {
        self.rows.evict(bytes);
        self.boundaries.forget();
    }
}
