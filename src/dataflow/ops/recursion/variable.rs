//! The rows of one loop variable: at which levels each is derived, and how often.
//!
//! ```text
//!   row -> [(level, derivations), …] ascending, and the level at which the row is in
//!          (0, 1) (2, 3)             in at 0          UNION: in at its lowest level
//! ```
//!
//! While an epoch runs, what is known of levels above the one being settled may still change. A row that loses its level is looked at
//! again at the next one at which it seems to be derived, and is in there if it then still is. The levels are stored, where it is in
//! follows from them.

use super::{Beyond, COPIES_MAX, Limit, Variable, with_level};
use crate::dataflow::agg::accumulator::grow;
use crate::dataflow::agg::bytes::{Reader, put_integer};
use crate::dataflow::operator::BuildContext;
use crate::dataflow::ops::consolidate::types_of;
use crate::dataflow::ops::groups::Groups;
use crate::error::Result;
use crate::state::kept::{Kept, KeyedWith};
use crate::state::keyed::{Keyed, Layout, Slot, SlotValues};
use crate::types::delta::Delta;
use crate::types::key::Codec;
use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// Where a row is that is in at no level.
const OUT: i64 = -1;

/// See the module. One variable, on the worker that runs the loop.
pub(super) struct Derivations {
    distinct: bool,
    limit: Limit,
    schema: SchemaRef,
    with_level: SchemaRef,
    codec: Codec,
    keyed: Keyed,
    values: Values,
    slots: Vec<Slot>,
    /// What the epoch has changed so far of the rows that are there, and of those behind the limit; rows may repeat.
    shown: Vec<(Slot, i64)>,
    held: Vec<(Slot, i64)>,
}

/// What settling a level leads to.
#[derive(Default)]
pub(super) struct Settled {
    /// For the body.
    moves: Vec<Move>,
    /// Rows to be looked at again, at a higher level each.
    pub again: Vec<(i64, Slot)>,
}

struct Move {
    slot: Slot,
    level: i64,
    weight: i64,
}

#[derive(Default)]
struct Values(Vec<Levels>);

#[derive(Clone)]
struct Levels {
    derived: Few,
    /// UNION: the level at which the body has the row.
    at: i64,
}

/// Most rows are derived at one level.
#[derive(Clone, Default)]
enum Few {
    #[default]
    None,
    One(i64, i64),
    Several(Vec<(i64, i64)>),
}

impl Default for Levels {
    fn default() -> Self {
        Levels { derived: Few::None, at: OUT }
    }
}

impl Few {
    fn each(&self, mut each: impl FnMut(i64, i64)) {
        match self {
            Few::None => {}
            Few::One(level, count) => each(*level, *count),
            Few::Several(all) => all.iter().for_each(|(level, count)| each(*level, *count)),
        }
    }

    /// Adds to the derivations at `level`; gives how many there were.
    fn add(&mut self, level: i64, weight: i64) -> i64 {
        match self {
            Few::None => {
                *self = Few::One(level, weight);
                0
            }
            Few::One(at, count) if *at == level => {
                let before = *count;
                *count += weight;
                if *count == 0 {
                    *self = Few::None;
                }
                before
            }
            Few::One(at, count) => {
                let mut both = vec![(*at, *count), (level, weight)];
                both.sort_unstable();
                *self = Few::Several(both);
                0
            }
            Few::Several(all) => match all.binary_search_by_key(&level, |(at, _)| *at) {
                Err(place) => {
                    all.insert(place, (level, weight));
                    0
                }
                Ok(place) => {
                    let before = all[place].1;
                    all[place].1 += weight;
                    if all[place].1 == 0 {
                        all.remove(place);
                    }
                    if let [(level, count)] = all[..] {
                        *self = Few::One(level, count);
                    }
                    before
                }
            },
        }
    }

    /// The lowest level with derivations.
    fn lowest(&self) -> i64 {
        match self {
            Few::None => OUT,
            Few::One(level, count) if *count > 0 => *level,
            Few::One(..) => OUT,
            Few::Several(all) => all.iter().find(|(_, count)| *count > 0).map_or(OUT, |(level, _)| *level),
        }
    }
}

impl SlotValues for Values {
    fn load(&mut self, slot: Slot, stored: Option<&[u8]>) -> Result<()> {
        let mut derived = Few::None;
        if let Some(bytes) = stored {
            let mut reader = Reader::new(bytes);
            while !reader.is_empty() {
                derived.add(reader.i64()?, reader.i64()?);
            }
        }
        let at = derived.lowest();
        *grow(&mut self.0, slot) = Levels { derived, at };
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) -> bool {
        let derived = &self.0[slot as usize].derived;
        derived.each(|level, count| {
            put_integer(out, i128::from(level));
            put_integer(out, i128::from(count));
        });
        !matches!(derived, Few::None)
    }

    fn clear(&mut self, slot: Slot) {
        self.0[slot as usize] = Levels::default();
    }

    fn width(&self) -> usize {
        size_of::<Levels>()
    }

    fn bytes(&self, slot: Slot) -> usize {
        match &self.0[slot as usize].derived {
            Few::Several(all) => all.capacity() * size_of::<(i64, i64)>(),
            _ => 0,
        }
    }
}

impl Derivations {
    pub fn new(variable: &Variable, limit: Limit, context: &BuildContext) -> Result<Derivations> {
        Ok(Derivations {
            distinct: variable.distinct,
            limit,
            schema: Arc::clone(&variable.schema),
            with_level: with_level(&variable.schema),
            // What is equal is one row of a UNION; UNION ALL keeps rows as what they are.
            codec: if variable.distinct { Codec::new(&types_of(&variable.schema))? } else { Codec::rows(&types_of(&variable.schema))? },
            keyed: Keyed::new(variable.state, Layout::Hash, &context.table()),
            values: Values::default(),
            slots: Vec::new(),
            shown: Vec::new(),
            held: Vec::new(),
        })
    }

    /// Takes in all changes of derivations at `level`, and looks at `again`. All lower levels are settled.
    pub fn settle(&mut self, level: i64, changes: &[Delta], again: &[Slot]) -> Result<Settled> {
        let mut settled = Settled::default();
        if !changes.is_empty() {
            let delta = Delta::concat(&self.schema, changes)?;
            let groups = Groups::of(&self.codec, delta.batch().columns(), delta.rows(), false)?;
            let mut sums = vec![0i64; groups.len()];
            groups.of_row.iter().enumerate().for_each(|(row, group)| {
                let sum = &mut sums[*group as usize];
                *sum = sum.saturating_add(delta.weight(row));
            });
            let mut slots = std::mem::take(&mut self.slots);
            slots.clear();
            self.keyed.resolve(&groups.keys, &groups.hashes, &mut self.values, &mut slots)?;
            for (slot, sum) in slots.iter().zip(&sums).filter(|(_, sum)| **sum != 0) {
                self.keyed.touch(*slot);
                let before = self.values.0[*slot as usize].derived.add(level, *sum);
                if self.distinct {
                    self.look(*slot, level, &mut settled);
                } else {
                    self.count(*slot, level, before, before + sum, &mut settled);
                }
            }
            self.slots = slots;
        }
        again.iter().for_each(|slot| self.look(*slot, level, &mut settled));
        Ok(settled)
    }

    /// UNION: brings the row to the level at which it is in, as far as that is final. Doing it twice changes nothing.
    fn look(&mut self, slot: Slot, level: i64, settled: &mut Settled) {
        let row = &mut self.values.0[slot as usize];
        let (at, lowest) = (row.at, row.derived.lowest());
        if at == lowest || at > level && lowest > level {
            return;
        }
        if lowest > level {
            // What seems to be derived at a higher level may be gone when its turn comes.
            settled.again.push((lowest, slot));
        }
        let to = if lowest > level { OUT } else { lowest };
        if at == to {
            return;
        }
        row.at = to;
        self.passed(slot, at, -1, settled);
        self.passed(slot, to, 1, settled);
    }

    /// UNION ALL: the change of the row's copies at one level. Too many are as if behind the limit.
    fn count(&mut self, slot: Slot, level: i64, before: i64, after: i64, settled: &mut Settled) {
        for (count, sign) in [(before, -1), (after, 1)] {
            match count > COPIES_MAX {
                true => self.hold(slot, sign),
                false => self.passed(slot, level, sign * count, settled),
            }
        }
    }

    fn passed(&mut self, slot: Slot, level: i64, weight: i64, settled: &mut Settled) {
        if level == OUT || weight == 0 {
            return;
        }
        if level > self.limit.levels {
            return self.hold(slot, weight);
        }
        self.shown.push((slot, weight));
        settled.moves.push(Move { slot, level, weight });
    }

    fn hold(&mut self, slot: Slot, weight: i64) {
        if self.limit.beyond == Beyond::Errors {
            self.held.push((slot, weight));
        }
    }

    /// The moves as rows with their level.
    pub fn fed(&self, settled: &Settled) -> Result<Option<Delta>> {
        if settled.moves.is_empty() {
            return Ok(None);
        }
        let mut columns = self.columns(settled.moves.iter().map(|m| m.slot))?;
        columns.push(Arc::new(settled.moves.iter().map(|m| m.level).collect::<Int64Array>()));
        let batch = RecordBatch::try_new(Arc::clone(&self.with_level), columns)?;
        Ok(Some(Delta::new(batch, settled.moves.iter().map(|m| m.weight).collect::<Vec<_>>())))
    }

    /// The values of rows, as their keys spell them: what is equal is fed alike, and taken back alike.
    fn columns(&self, slots: impl Iterator<Item = Slot>) -> Result<Vec<ArrayRef>> {
        self.codec.decode(&mut slots.map(|s| self.keyed.key(s)))
    }

    /// The epoch's change of the rows that are there, and of those behind the limit.
    pub fn finish(&mut self) -> Result<(Delta, Delta)> {
        let (shown, held) = (std::mem::take(&mut self.shown), std::mem::take(&mut self.held));
        Ok((self.delta(shown)?, self.delta(held)?))
    }

    fn delta(&self, mut changes: Vec<(Slot, i64)>) -> Result<Delta> {
        changes.sort_unstable_by_key(|(slot, _)| *slot);
        changes.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 += next.1;
            }
            same
        });
        changes.retain(|(_, weight)| *weight != 0);
        if changes.is_empty() {
            return Ok(Delta::inserts(RecordBatch::new_empty(Arc::clone(&self.schema))));
        }
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), self.columns(changes.iter().map(|(slot, _)| *slot))?)?;
        Ok(Delta::new(batch, changes.iter().map(|(_, weight)| *weight).collect::<Vec<_>>()))
    }

    pub fn trim(&mut self) {
        self.keyed.trim(&mut self.values);
    }

    pub fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        each(&mut KeyedWith(&mut self.keyed, &mut self.values));
    }
}
