//! Statistics of pairs (y, x) of doubles, in a SELECT: corr, covar_pop, covar_samp and the regr_ functions, summed up as PostgreSQL does (Youngs and Cramer: sums of
//! squares of distances from the mean so far), to the same digits. In views `dataflow/agg/regression.rs` maintains them.
//!
//! Pairs with a NULL do not count. Under DISTINCT, and over frames that move, the pairs themselves are kept and summed up for each result.

use super::table::external;
use crate::error::{Error, Kind};
use crate::sql::types::sql_type;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, ListArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};
use std::collections::VecDeque;
use std::sync::Arc;

const NAMES: [&str; 12] =
    ["corr", "covar_pop", "covar_samp", "regr_count", "regr_avgx", "regr_avgy", "regr_sxx", "regr_syy", "regr_sxy", "regr_slope", "regr_intercept", "regr_r2"];

pub(super) fn functions() -> Vec<Arc<AggregateUDF>> {
    let of = |name| Arc::new(AggregateUDF::new_from_impl(Regression { name, signature: Signature::user_defined(Volatility::Immutable) }));
    NAMES.map(of).to_vec()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Regression {
    name: &'static str,
    signature: Signature,
}

impl Regression {
    fn gathered(&self, distinct: bool) -> Box<dyn Accumulator> {
        Box::new(Gathered { name: self.name, distinct, pairs: VecDeque::new() })
    }
}

impl AggregateUDFImpl for Regression {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        if arguments.len() == 2 && arguments.iter().all(|t| t.is_numeric() || t.is_null()) {
            return Ok(vec![DataType::Float64; 2]);
        }
        let names: Vec<String> = arguments.iter().map(|t| sql_type(&Field::new("", t.clone(), true))).collect();
        let error = Error::new(Kind::UndefinedFunction, format!("function {}({}) does not exist", self.name, names.join(", ")));
        Err(external(error.with_hint("No function matches the given name and argument types. You might need to add explicit type casts.")))
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(if self.name == "regr_count" { DataType::Int64 } else { DataType::Float64 })
    }

    fn default_value(&self, _argument: &DataType) -> Result<ScalarValue> {
        Ok(if self.name == "regr_count" { ScalarValue::Int64(Some(0)) } else { ScalarValue::Float64(None) })
    }

    fn is_nullable(&self) -> bool {
        self.name != "regr_count"
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let number = |name: &str| Arc::new(Field::new(format!("{}[{name}]", arguments.name), DataType::Float64, false));
        let list = DataType::List(Arc::new(Field::new_list_field(DataType::Float64, true)));
        let pairs = |name: &str| Arc::new(Field::new(format!("{}[{name}]", arguments.name), list.clone(), true));
        Ok(match arguments.is_distinct {
            true => ["ys", "xs"].map(pairs).to_vec(),
            false => ["n", "sx", "sxx", "sy", "syy", "sxy"].map(number).to_vec(),
        })
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(if arguments.is_distinct { self.gathered(true) } else { Box::new(Running { name: self.name, sums: Sums::default() }) })
    }

    fn create_sliding_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(self.gathered(arguments.is_distinct))
    }
}

/// The pairs without a NULL.
fn pairs(columns: &[ArrayRef]) -> Result<impl Iterator<Item = (f64, f64)>> {
    let (y, x) = (cast(&columns[0], &DataType::Float64)?, cast(&columns[1], &DataType::Float64)?);
    Ok((0..y.len()).filter_map(move |row| {
        let (y, x) = (y.as_primitive::<Float64Type>(), x.as_primitive::<Float64Type>());
        (y.is_valid(row) && x.is_valid(row)).then(|| (y.value(row), x.value(row)))
    }))
}

/// The count, sums, and sums of squares and products of distances from the means.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    n: f64,
    sx: f64,
    sxx: f64,
    sy: f64,
    syy: f64,
    sxy: f64,
}

impl Sums {
    fn add(&mut self, y: f64, x: f64) -> Result<()> {
        let before = *self;
        self.n += 1.0;
        self.sx += x;
        self.sy += y;
        if before.n == 0.0 {
            self.sxx = if x.is_finite() { 0.0 } else { f64::NAN };
            self.syy = if y.is_finite() { 0.0 } else { f64::NAN };
            self.sxy = if x.is_finite() && y.is_finite() { 0.0 } else { f64::NAN };
            return Ok(());
        }
        let (from_x, from_y, scale) = (x * self.n - self.sx, y * self.n - self.sy, 1.0 / (self.n * before.n));
        self.sxx += from_x * from_x * scale;
        self.syy += from_y * from_y * scale;
        self.sxy += from_x * from_y * scale;
        if [self.sx, self.sxx, self.sy, self.syy, self.sxy].iter().all(|v| !v.is_infinite()) {
            return Ok(());
        }
        let x_was_infinite = before.sx.is_infinite() || x.is_infinite();
        let y_was_infinite = before.sy.is_infinite() || y.is_infinite();
        let overflows = (self.sx.is_infinite() || self.sxx.is_infinite()) && !x_was_infinite
            || (self.sy.is_infinite() || self.syy.is_infinite()) && !y_was_infinite
            || self.sxy.is_infinite() && !x_was_infinite && !y_was_infinite;
        for sum in [&mut self.sxx, &mut self.syy, &mut self.sxy] {
            *sum = if sum.is_infinite() { f64::NAN } else { *sum };
        }
        if overflows { Err(out_of_range()) } else { Ok(()) }
    }

    fn merge(&mut self, other: &Sums) -> Result<()> {
        if other.n == 0.0 {
            return Ok(());
        }
        if self.n == 0.0 {
            *self = *other;
            return Ok(());
        }
        let n = self.n + other.n;
        let (x, y) = (self.sx / self.n - other.sx / other.n, self.sy / self.n - other.sy / other.n);
        let part = self.n * other.n;
        let sums = Sums {
            n,
            sx: self.sx + other.sx,
            sxx: self.sxx + other.sxx + part * x * x / n,
            sy: self.sy + other.sy,
            syy: self.syy + other.syy + part * y * y / n,
            sxy: self.sxy + other.sxy + part * x * y / n,
        };
        let each = |s: &Sums| [s.sx, s.sxx, s.sy, s.syy, s.sxy];
        let overflows =
            each(&sums).iter().zip(each(self).iter().zip(each(other))).any(|(sum, (a, b))| sum.is_infinite() && !a.is_infinite() && !b.is_infinite());
        *self = sums;
        if overflows { Err(out_of_range()) } else { Ok(()) }
    }

    /// `None` where PostgreSQL gives NULL.
    fn value(&self, name: &str) -> Option<f64> {
        let Sums { n, sx, sxx, sy, syy, sxy } = *self;
        if n < 1.0 || name == "covar_samp" && n < 2.0 {
            return None;
        }
        Some(match name {
            "covar_pop" => sxy / n,
            "covar_samp" => sxy / (n - 1.0),
            "regr_avgx" => sx / n,
            "regr_avgy" => sy / n,
            "regr_sxx" => sxx,
            "regr_syy" => syy,
            "regr_sxy" => sxy,
            "corr" if sxx == 0.0 || syy == 0.0 => return None,
            "corr" => sxy / (sxx * syy).sqrt(),
            _ if sxx == 0.0 => return None,
            "regr_slope" => sxy / sxx,
            "regr_intercept" => (sy - sx * sxy / sxx) / n,
            _ if syy == 0.0 => 1.0,
            _ => sxy * sxy / (sxx * syy),
        })
    }

    fn result(&self, name: &str) -> ScalarValue {
        if name == "regr_count" { ScalarValue::Int64(Some(self.n as i64)) } else { ScalarValue::Float64(self.value(name)) }
    }
}

fn out_of_range() -> datafusion::error::DataFusionError {
    external(Error::new(Kind::NumericOutOfRange, "value out of range: overflow"))
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    sums: Sums,
}

impl Accumulator for Running {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        pairs(columns)?.try_for_each(|(y, x)| self.sums.add(y, x))
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.sums.result(self.name))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let Sums { n, sx, sxx, sy, syy, sxy } = self.sums;
        Ok([n, sx, sxx, sy, syy, sxy].map(|v| ScalarValue::Float64(Some(v))).to_vec())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let columns: Vec<&Float64Array> = states.iter().map(|s| s.as_primitive::<Float64Type>()).collect();
        (0..columns[0].len()).try_for_each(|row| {
            let [n, sx, sxx, sy, syy, sxy] = [0, 1, 2, 3, 4, 5].map(|c| columns[c].value(row));
            self.sums.merge(&Sums { n, sx, sxx, sy, syy, sxy })
        })
    }
}

/// The pairs in order of arrival.
#[derive(Debug)]
struct Gathered {
    name: &'static str,
    distinct: bool,
    pairs: VecDeque<(f64, f64)>,
}

impl Accumulator for Gathered {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.pairs.extend(pairs(columns)?);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut sums = Sums::default();
        if self.distinct {
            let plain = |v: f64| v + 0.0;
            let mut sorted: Vec<(f64, f64)> = self.pairs.iter().map(|(y, x)| (plain(*y), plain(*x))).collect();
            sorted.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
            sorted.dedup_by(|a, b| a.0.total_cmp(&b.0).is_eq() && a.1.total_cmp(&b.1).is_eq());
            sorted.into_iter().try_for_each(|(y, x)| sums.add(y, x))?;
        } else {
            self.pairs.iter().try_for_each(|(y, x)| sums.add(*y, *x))?;
        }
        Ok(sums.result(self.name))
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.pairs.capacity() * size_of::<(f64, f64)>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |values: Float64Array| ScalarValue::List(Arc::new(SingleRowListArrayBuilder::new(Arc::new(values)).build_list_array()));
        Ok(vec![list(self.pairs.iter().map(|(y, _)| *y).collect()), list(self.pairs.iter().map(|(_, x)| *x).collect())])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (ys, xs): (&ListArray, &ListArray) = (states[0].as_list(), states[1].as_list());
        (0..ys.len()).filter(|row| ys.is_valid(*row)).try_for_each(|row| self.update_batch(&[ys.value(row), xs.value(row)]))
    }

    /// Frames only move forward: what leaves came first.
    fn retract_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let leaving = pairs(columns)?.count();
        self.pairs.drain(..leaving);
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        !self.distinct
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_merge_to_the_whole() {
        let pairs: Vec<(f64, f64)> = (0..20).map(|i| (f64::from(i * i % 7), f64::from(i))).collect();
        let of = |pairs: &[(f64, f64)]| {
            let mut sums = Sums::default();
            pairs.iter().for_each(|(y, x)| sums.add(*y, *x).unwrap());
            sums
        };
        let (whole, mut merged) = (of(&pairs), of(&pairs[..7]));
        merged.merge(&of(&pairs[7..])).unwrap();
        for name in &NAMES[1..] {
            let (a, b) = (whole.value(name).unwrap(), merged.value(name).unwrap());
            assert!((a - b).abs() <= 1e-12 * a.abs(), "{name}: {a} {b}");
        }
        assert_eq!(of(&[]).result("regr_count"), ScalarValue::Int64(Some(0)));
        assert_eq!(of(&[(1.0, 2.0)]).value("regr_slope"), None);
    }
}
