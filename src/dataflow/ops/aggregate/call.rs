//! One aggregate call at work: picks its rows (FILTER), lets each value count once (DISTINCT), and hands them to its accumulator.
//!
//! DISTINCT keeps a count per (group, value): only when it leaves zero or comes back to zero does the accumulator hear of it, as one row
//! at +1 or -1.

use crate::dataflow::agg::accumulator::{Accumulator, Update};
use crate::dataflow::agg::function::AggregateCall;
use crate::dataflow::operator::BuildContext;
use crate::dataflow::ops::counts::Counts;
use crate::dataflow::ops::groups::Groups;
use crate::error::Result;
use crate::state::kept::Kept;
use crate::state::keyed::{Layout, Slot};
use crate::state::multiset::Multiset;
use crate::types::delta::Delta;
use crate::types::ids::TableId;
use crate::types::key::{Codec, Rows};
use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::SchemaRef;

/// See the module.
pub(super) struct Call {
    /// Ordinals of arguments, then of ORDER BY columns.
    columns: Vec<usize>,
    filter: Option<usize>,
    distinct: Option<Distinct>,
    pub table: Option<Multiset>,
}

/// The part of a hash that `virtual_node` looks at.
const OWNER: u64 = 0xFF << 56;

struct Distinct {
    codec: Codec,
    counts: Counts,
    arguments: usize,
}

/// Some rows of an [`Update`].
struct Selection {
    rows: UInt32Array,
    weights: Vec<i64>,
}

impl Call {
    /// `position` gives a column's place in the batches that `update` will see.
    pub fn new(
        call: &AggregateCall,
        tables: &CallTables,
        input: &SchemaRef,
        layout: Layout,
        position: impl Fn(usize) -> usize,
        context: &BuildContext,
    ) -> Result<Call> {
        let distinct = match tables.distinct {
            None => None,
            Some(table) => {
                let types = call.args.iter().map(|a| input.field(*a).data_type().clone()).collect::<Vec<_>>();
                Some(Distinct { codec: Codec::new(&types)?, counts: Counts::new(table, layout, context), arguments: types.len() })
            }
        };
        Ok(Call {
            columns: call.args.iter().copied().chain(call.order_by.iter().map(|(c, _)| *c)).map(&position).collect(),
            filter: call.filter.map(&position),
            distinct,
            table: tables.multiset.map(|table| Multiset::new(table, layout, &context.table())),
        })
    }

    pub fn update(&mut self, accumulator: &mut dyn Accumulator, update: &Update<'_>, delta: &Delta) -> Result<()> {
        let columns = self.columns.iter().map(|c| delta.column(*c).clone()).collect::<Vec<_>>();
        let Some(filter) = self.filter else { return self.update_distinct(accumulator, update, &columns) };
        let keep = delta.column(filter).as_boolean();
        let rows = (0..keep.len()).filter(|i| keep.is_valid(*i) && keep.value(*i)).map(|i| i as u32).collect::<Vec<_>>();
        let weights = rows.iter().map(|i| update.weight(*i as usize)).collect();
        Selection { rows: rows.into(), weights }.apply(update, &columns, |update, columns| self.update_distinct(accumulator, update, columns))
    }

    fn update_distinct(&mut self, accumulator: &mut dyn Accumulator, update: &Update<'_>, columns: &[ArrayRef]) -> Result<()> {
        let table = self.table.as_mut();
        match &mut self.distinct {
            None => accumulator.update(update, columns, table),
            Some(distinct) => distinct.transitions(update, columns)?.apply(update, columns, |update, columns| accumulator.update(update, columns, table)),
        }
    }

    /// Forgets what belongs to windows up to this value of the window column.
    pub fn close(&mut self, upto: i64) -> Result<()> {
        if let Some(table) = &mut self.table {
            table.close(upto);
        }
        self.distinct.as_mut().map_or(Ok(()), |d| d.counts.close(upto))
    }

    pub fn trim(&mut self) {
        if let Some(table) = &mut self.table {
            table.trim();
        }
        if let Some(distinct) = &mut self.distinct {
            distinct.counts.trim();
        }
    }

    pub fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        if let Some(table) = &mut self.table {
            each(table);
        }
        if let Some(distinct) = &mut self.distinct {
            distinct.counts.state(each);
        }
    }
}

/// State tables of one call.
#[derive(Clone, Copy, Debug, Default)]
pub struct CallTables {
    pub distinct: Option<TableId>,
    pub multiset: Option<TableId>,
}

impl Selection {
    fn apply(self, update: &Update<'_>, columns: &[ArrayRef], then: impl FnOnce(&Update<'_>, &[ArrayRef]) -> Result<()>) -> Result<()> {
        let columns = columns.iter().map(|c| Ok(take(c, &self.rows, None)?)).collect::<Result<Vec<_>>>()?;
        let slots = self.rows.values().iter().map(|i| update.slots[*i as usize]).collect::<Vec<Slot>>();
        let groups = self.rows.values().iter().map(|i| update.groups[*i as usize]).collect::<Vec<_>>();
        then(&Update { slots: &slots, groups: &groups, weights: Some(&self.weights), touched: update.touched }, &columns)
    }
}

impl Distinct {
    /// One row per (group, value) that appears or disappears.
    fn transitions(&mut self, update: &Update<'_>, columns: &[ArrayRef]) -> Result<Selection> {
        let mut values = Rows::default();
        self.codec.encode(&columns[..self.arguments], &mut values)?;
        let (mut keys, mut key) = (Rows::default(), Vec::new());
        for (value, group) in values.iter().zip(update.groups) {
            key.clear();
            key.extend_from_slice(update.touched.keys.row(*group as usize));
            key.extend_from_slice(value);
            keys.push(&key);
        }
        let mut groups = Groups::of_rows(&keys);
        // A value lives where its group lives: the top byte of the hash, which says on which worker, is the group's.
        for (hash, row) in groups.hashes.iter_mut().zip(&groups.first) {
            let group = update.groups[*row as usize];
            *hash = (update.touched.hashes[group as usize] & OWNER) | (*hash & !OWNER);
        }
        let mut sums = vec![0i64; groups.len()];
        groups.of_row.iter().enumerate().for_each(|(row, g)| sums[*g as usize] += update.weight(row));
        let before = self.counts.add(&groups.keys, &groups.hashes, &sums)?;
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for (g, (before, sum)) in before.iter().zip(&sums).enumerate() {
            match (*before > 0, before + sum > 0) {
                (false, true) => weights.push(1),
                (true, false) => weights.push(-1),
                _ => continue,
            }
            rows.push(groups.first[g]);
        }
        Ok(Selection { rows: rows.into(), weights })
    }
}
