//! ASOF join: each left row with the one right row of equal keys that is nearest in time.
//!
//! ```text
//!   right rows of a key     10:00 r    10:05 s    10:05 t    10:09 u          of s and t the greater counts: columns compared from left to right
//!   left row at 10:07       AT OR BEFORE  t         AT OR AFTER  u            INNER drops a row that finds none, LEFT pads it with NULLs
//! ```
//!
//! Both sides are kept by key in order of time. Rows after a time are those before it in the opposite order, so there is one direction: time is encoded descending for the other.
//! Between two neighbours among the right rows, old and new ones together, all left rows have one match; it changes only behind a right row that appears or disappears:
//!
//! ```text
//!   ΔL ⋈ R_new   +   for each r that appears or disappears:  L_old between r and its neighbour ⋈ (nearest in R_new − nearest in R_old)
//! ```
//!
//! *Retraction* of a right row hands its left rows to the one before it; of a left row, takes its pair back. Equal right rows count once. NULL keys and times match nothing and are not stored.
//! *State*: left rows, right rows by key; only the neighbourhood of what changes is read.
//!
//! *Forgotten* (append-only inputs, see `expire.rs`): where the right side's time has a watermark, left rows whose match can change no more; where both have one, also right
//! rows that nobody can meet any more. Rows behind their watermark are then late, for what they would meet may be gone.

mod change;
mod expire;
#[cfg(test)]
mod tests;

use self::expire::Moments;
use crate::dataflow::operator::{Bound, BuildContext, Distribution, Operator, Output, Spec, StateTable};
use crate::dataflow::ops::ordered::RowCodec;
use crate::dataflow::ops::windowed::WindowBound;
use crate::error::{Error, Result};
use crate::state::kept::Kept;
use crate::state::keyed::Layout;
use crate::state::multiset::Multiset;
use crate::types::delta::Delta;
use crate::types::ids::{ObjectId, TableId};
use crate::types::key::{Codec, Order, Rows};
use crate::types::time::Step;
use arrow::datatypes::SchemaRef;
use std::sync::Arc;

/// Which right rows a left row may meet; it meets the nearest of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Nearest {
    AtOrBefore,
    Before,
    AtOrAfter,
    After,
}

impl Nearest {
    /// What stands between the left time and the right one.
    pub fn symbol(self) -> &'static str {
        match self {
            Nearest::AtOrBefore => ">=",
            Nearest::Before => ">",
            Nearest::AtOrAfter => "<=",
            Nearest::After => "<",
        }
    }

    /// Whether right rows of a later time are met.
    pub fn is_later(self) -> bool {
        matches!(self, Nearest::AtOrAfter | Nearest::After)
    }

    /// Whether right rows of the same time are met.
    fn is_inclusive(self) -> bool {
        matches!(self, Nearest::AtOrBefore | Nearest::AtOrAfter)
    }
}

/// Watermarks by which rows of append-only inputs are forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Of the left side's time.
    pub left: Option<WindowBound>,
    /// Of the right side's time.
    pub right: WindowBound,
}

/// The state tables; `moments` is there if something is forgotten.
#[derive(Clone, Copy, Debug)]
pub struct AsofTables {
    pub rows: [TableId; 2],
    pub moments: Option<TableId>,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct AsofJoin {
    /// Left, right.
    pub inputs: [SchemaRef; 2],
    /// Ordinals of equal columns, in pairs of the same type.
    pub keys: [Vec<usize>; 2],
    /// Ordinals of what is compared, of the same type.
    pub times: [usize; 2],
    pub nearest: Nearest,
    /// Whether left rows without a match come out, padded with NULLs.
    pub padded: bool,
    /// Ordinals of what comes out, over left then right columns.
    pub output: Vec<usize>,
    pub schema: SchemaRef,
    pub expiry: Option<Expiry>,
    pub tables: AsofTables,
}

impl AsofJoin {
    fn name(&self, side: usize, column: usize) -> &str {
        self.inputs[side].field(column).name()
    }

    fn key_names(&self, side: usize) -> String {
        self.keys[side].iter().map(|k| self.name(side, *k)).collect::<Vec<_>>().join(", ")
    }

    /// Of a right row nothing is kept that is older than what the next left row may meet.
    fn bounded_by(&self, side: usize) -> Bound {
        match &self.expiry {
            None => Bound::Nothing,
            // A row that waits for one that comes later may wait for ever.
            Some(_) if side == 0 => {
                if self.nearest.is_later() {
                    Bound::Nothing
                } else {
                    Bound::Watermark
                }
            }
            Some(Expiry { left: None, .. }) => Bound::Nothing,
            Some(_) => {
                if self.nearest.is_later() {
                    Bound::Watermark
                } else {
                    Bound::Keys("keys of the right side")
                }
            }
        }
    }

    fn check(&self) -> Result<()> {
        let type_of = |side: usize, column: usize| self.inputs[side].field(column).data_type();
        let pairs = self.keys[0].iter().zip(&self.keys[1]).chain([(&self.times[0], &self.times[1])]);
        for (l, r) in pairs {
            let (l, r) = (type_of(0, *l), type_of(1, *r));
            if l != r {
                return Err(Error::internal(format!("an ASOF join compares columns of different types: {l} and {r}")));
            }
        }
        let width = self.inputs.iter().map(|s| s.fields().len()).sum::<usize>();
        if self.output.len() != self.schema.fields().len() || self.output.iter().any(|c| *c >= width) {
            return Err(Error::internal(format!("the output {:?} of an ASOF join does not fit its schema {}", self.output, self.schema)));
        }
        Ok(())
    }
}

impl Spec for AsofJoin {
    fn name(&self) -> &'static str {
        "AsofJoin"
    }

    fn details(&self) -> String {
        let pairs = self.keys[0].iter().zip(&self.keys[1]);
        let equal = pairs.map(|(l, r)| format!("{} = {}", self.name(0, *l), self.name(1, *r)));
        let nearest = format!("nearest {} {} {}", self.name(0, self.times[0]), self.nearest.symbol(), self.name(1, self.times[1]));
        let on = equal.chain([nearest]).collect::<Vec<_>>().join(" AND ");
        let until = match &self.expiry {
            None => String::new(),
            Some(expiry) => {
                let of = |side: usize| self.name(side, self.times[side]);
                let which = if self.nearest.is_later() { "left rows with a match" } else { "left rows" };
                let left = format!("; {which} until the watermark of {}", of(1));
                let right = expiry.left.as_ref().map(|_| format!("; right rows until the watermarks of {} and {}", of(0), of(1)));
                left + &right.unwrap_or_default()
            }
        };
        format!("{} on {on}{until}", if self.padded { "Left" } else { "Inner" })
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn distribution(&self) -> Vec<Distribution> {
        if self.keys[0].is_empty() {
            return vec![Distribution::Single; 2];
        }
        self.keys.iter().map(|keys| Distribution::Hash(keys.clone())).collect()
    }

    fn append_only(&self, _inputs: &[bool]) -> bool {
        false
    }

    fn state_tables(&self) -> Vec<StateTable> {
        let rows = |side: usize| {
            let what = format!("{} rows by ({}) in order of {}", ["left", "right"][side], self.key_names(side), self.name(side, self.times[side]));
            StateTable { id: self.tables.rows[side], what, bounded_by: self.bounded_by(side) }
        };
        let moments = |id| StateTable { id, what: "keys by the time of their rows".to_string(), bounded_by: Bound::Watermark };
        [rows(0), rows(1)].into_iter().chain(self.tables.moments.map(moments)).collect()
    }

    fn watermarks(&self) -> Vec<ObjectId> {
        let bounds = self.expiry.iter().flat_map(|e| e.left.iter().chain([&e.right]));
        let mut sources = bounds.flat_map(|b| b.sources.iter().copied()).collect::<Vec<_>>();
        sources.sort_unstable();
        sources.dedup();
        sources
    }

    fn build(&self, context: &BuildContext) -> Result<Box<dyn Operator>> {
        self.check()?;
        let order = Order { descending: self.nearest.is_later(), nulls_first: false };
        let types = self.keys[0].iter().map(|k| self.inputs[0].field(*k).data_type().clone()).collect::<Vec<_>>();
        let codec = |side: usize| RowCodec::new(&self.inputs[side], &[(self.times[side], order)]);
        let rows = |side: usize| Multiset::new(self.tables.rows[side], Layout::Hash, &context.table());
        Ok(Box::new(Running {
            keys: Codec::new(&types)?,
            codecs: [codec(0)?, codec(1)?],
            rows: [rows(0), rows(1)],
            moments: self.tables.moments.map(|table| Moments::new(table, context)),
            found: Rows::default(),
            spec: self.clone(),
        }))
    }
}

struct Running {
    spec: AsofJoin,
    keys: Codec,
    codecs: [RowCodec; 2],
    rows: [Multiset; 2],
    moments: Option<Moments>,
    /// Right rows that left rows meet or have met; kept for its buffer.
    found: Rows,
}

impl Operator for Running {
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        if let Some(change) = self.change(1, &mut inputs[1], step, out)? {
            self.correct(&change, out)?;
            self.remember(1, &change)?;
        }
        if let Some(change) = self.change(0, &mut inputs[0], step, out)? {
            self.arrive(change, step, out)?;
        }
        self.expire(step)?;
        self.rows.iter_mut().for_each(Multiset::trim);
        self.moments.iter_mut().for_each(|m| m.keys.trim());
        Ok(())
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        self.rows.iter_mut().for_each(|rows| each(rows));
        self.moments.iter_mut().for_each(|m| m.keys.state(each));
    }
}
