//! Aggregates that give values of the ordered group: percentile_cont, percentile_disc, mode, first_value, last_value. A multiset per group keeps the
//! ORDER BY columns and the argument, as for array_agg (`ordered.rs`); ties stand in the order of their encoded values. A retraction removes the row from the
//! multiset. The result walks the touched group's rows; only those that are picked are decoded.

use super::accumulator::{Accumulator, Results, Touched, Update};
use super::bytes::Reader;
use super::ordered::{collect, no_table};
use crate::error::{Error, Result};
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;
use crate::types::key::{Codec, Order};
use arrow::array::{ArrayRef, AsArray, Float64Array, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DataType, Float64Type};

/// Which values are picked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pick {
    First,
    Last,
    /// The most frequent, of several the first in order.
    Mode,
    /// The first value at or behind this fraction of the values.
    Discrete(f64),
    /// Between the two values around this fraction of the way.
    Continuous(f64),
}

/// See the module. All it remembers is in the multiset.
pub struct Picked {
    pick: Pick,
    codec: Codec,
    output: DataType,
}

/// The places of two rows, and how far the result lies from the first to the second.
type Between = (u32, u32, f64);

impl Picked {
    pub fn new(pick: Pick, argument: &DataType, order: &[(DataType, Order)], output: DataType) -> Result<Self> {
        let fields = order.iter().cloned().chain([(argument.clone(), Order::default())]).collect();
        Ok(Picked { pick, codec: Codec::ordered(fields)?, output })
    }

    /// Of rows with weights, in order: the ordinals of those that make the result.
    fn places(&self, weights: &[i64]) -> Option<(usize, usize, f64)> {
        let total: i64 = weights.iter().sum();
        let at = |nth: i64| {
            let mut passed = 0;
            let found = weights.iter().position(|w| {
                passed += w;
                passed > nth
            });
            found.unwrap_or(weights.len() - 1)
        };
        if weights.is_empty() {
            return None;
        }
        let one = |place: usize| Some((place, place, 0.0));
        match self.pick {
            Pick::First => one(0),
            Pick::Last => one(weights.len() - 1),
            Pick::Mode => one(weights.iter().enumerate().fold(0, |best, (i, w)| if *w > weights[best] { i } else { best })),
            Pick::Discrete(fraction) => one(at(((fraction * total as f64).ceil() as i64 - 1).max(0))),
            Pick::Continuous(fraction) => {
                let place = fraction * (total - 1) as f64;
                Some((at(place.floor() as i64), at(place.ceil() as i64), place - place.floor()))
            }
        }
    }

    fn value(&self, values: &ArrayRef, picked: &[Option<Between>]) -> Result<ArrayRef> {
        if !matches!(self.pick, Pick::Continuous(_)) {
            let places: UInt32Array = picked.iter().map(|p| p.map(|(place, _, _)| place)).collect();
            return Ok(take(values, &places, None)?);
        }
        let values = cast(values, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        let between = |(low, high, part): Between| {
            let (low, high) = (values.value(low as usize), values.value(high as usize));
            if low == high { low } else { low + part * (high - low) }
        };
        let result: Float64Array = picked.iter().map(|p| p.map(between)).collect();
        Ok(cast(&result, &self.output)?)
    }
}

impl Accumulator for Picked {
    fn load(&mut self, _slot: Slot, _stored: Option<&mut Reader<'_>>) -> Result<()> {
        Ok(())
    }

    fn store(&self, _slot: Slot, _out: &mut Vec<u8>) {}

    fn update(&mut self, update: &Update<'_>, columns: &[ArrayRef], table: Option<&mut Multiset>) -> Result<()> {
        collect(table.ok_or_else(no_table)?, &self.codec, update, columns.split_at(1), !matches!(self.pick, Pick::First | Pick::Last))
    }

    fn result(&mut self, touched: &Touched<'_>, table: Option<&mut Multiset>) -> Result<Results> {
        let table = table.ok_or_else(no_table)?;
        let mut groups = Vec::new();
        table.resolve(touched.keys, touched.hashes, &mut groups);
        table.load(&groups)?;
        let (mut rows, mut picked) = (Vec::new(), Vec::with_capacity(groups.len()));
        let (mut of_group, mut weights) = (Vec::new(), Vec::new());
        for group in &groups {
            of_group.clear();
            weights.clear();
            for (row, weight) in table.rows(*group).filter(|(_, w)| *w > 0) {
                of_group.push(row);
                weights.push(weight);
            }
            picked.push(self.places(&weights).map(|(low, high, part)| {
                let place = rows.len() as u32;
                rows.push(of_group[low]);
                if high != low {
                    rows.push(of_group[high]);
                }
                (place, rows.len() as u32 - 1, part)
            }));
        }
        let columns = self.codec.decode(&mut rows.into_iter())?;
        let values = columns.last().ok_or_else(|| Error::internal("an ordered aggregate without an argument"))?;
        Ok(self.value(values, &picked)?.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(pick: Pick, weights: &[i64]) -> Option<(usize, usize, f64)> {
        Picked::new(pick, &DataType::Int64, &[], DataType::Int64).unwrap().places(weights)
    }

    #[test]
    fn percentiles_count_rows_not_values() {
        // 1 1 1 2 9
        let weights = [3, 1, 1];
        assert_eq!(places(Pick::Discrete(0.5), &weights), Some((0, 0, 0.0)));
        assert_eq!(places(Pick::Discrete(0.7), &weights), Some((1, 1, 0.0)));
        assert_eq!(places(Pick::Discrete(0.0), &weights), Some((0, 0, 0.0)));
        assert_eq!(places(Pick::Discrete(1.0), &weights), Some((2, 2, 0.0)));
        assert_eq!(places(Pick::Continuous(0.875), &weights), Some((1, 2, 0.5)));
        assert_eq!(places(Pick::Continuous(0.5), &weights), Some((0, 0, 0.0)));
        assert_eq!(places(Pick::Mode, &[1, 2, 2]), Some((1, 1, 0.0)));
        assert_eq!(places(Pick::Last, &[]), None);
    }
}
