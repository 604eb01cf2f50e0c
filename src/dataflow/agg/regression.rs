//! Statistics of pairs (y, x) of doubles: corr, covar_pop, covar_samp and the regr_ functions. Pairs with a NULL do not count.
//!
//! Sound under retraction as variances are (`variance.rs`): the count, Σx, Σy, Σx², Σxy and Σy² are kept exactly, and differences such as
//! n·Σxy − Σx·Σy are formed exactly before they are rounded, so a line through points on it has no residue, and what was taken back leaves no trace.

use super::accumulator::{Accumulator, Results, Touched, Update, grow, out_of_range};
use super::bytes::{Reader, put_integer};
use super::exact::ExactSum;
use super::float_sum::as_doubles;
use crate::error::{Error, Result};
use crate::state::keyed::Slot;
use crate::state::multiset::Multiset;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};

/// Which statistic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairs {
    Correlation,
    CovariancePopulation,
    CovarianceSample,
    Count,
    AverageX,
    AverageY,
    SquaresX,
    SquaresY,
    Products,
    Slope,
    Intercept,
    Determination,
}

impl Pairs {
    /// By its name in SQL.
    pub fn of(name: &str) -> Option<Pairs> {
        Some(match name {
            "corr" => Pairs::Correlation,
            "covar_pop" => Pairs::CovariancePopulation,
            "covar_samp" => Pairs::CovarianceSample,
            "regr_count" => Pairs::Count,
            "regr_avgx" => Pairs::AverageX,
            "regr_avgy" => Pairs::AverageY,
            "regr_sxx" => Pairs::SquaresX,
            "regr_syy" => Pairs::SquaresY,
            "regr_sxy" => Pairs::Products,
            "regr_slope" => Pairs::Slope,
            "regr_intercept" => Pairs::Intercept,
            "regr_r2" => Pairs::Determination,
            _ => return None,
        })
    }

    /// As SQL names it.
    pub fn name(self) -> &'static str {
        match self {
            Pairs::Correlation => "corr",
            Pairs::CovariancePopulation => "covar_pop",
            Pairs::CovarianceSample => "covar_samp",
            Pairs::Count => "regr_count",
            Pairs::AverageX => "regr_avgx",
            Pairs::AverageY => "regr_avgy",
            Pairs::SquaresX => "regr_sxx",
            Pairs::SquaresY => "regr_syy",
            Pairs::Products => "regr_sxy",
            Pairs::Slope => "regr_slope",
            Pairs::Intercept => "regr_intercept",
            Pairs::Determination => "regr_r2",
        }
    }

    /// `None` where Postgres gives NULL.
    fn value(self, sums: &Sums) -> Result<Option<f64>> {
        let n = sums.count as f64;
        if self == Pairs::Count {
            return Ok(Some(n));
        }
        if sums.count < 1 || self == Pairs::CovarianceSample && sums.count < 2 {
            return Ok(None);
        }
        let xx = || difference(sums.count, [&sums.x, &sums.x], &sums.xx);
        let yy = || difference(sums.count, [&sums.y, &sums.y], &sums.yy);
        let xy = || difference(sums.count, [&sums.x, &sums.y], &sums.xy);
        // Each is n times the sum that Postgres names so; quotients do not notice.
        Ok(match self {
            Pairs::Count => Some(n),
            Pairs::AverageX => Some(sums.x.value() / n),
            Pairs::AverageY => Some(sums.y.value() / n),
            Pairs::SquaresX => Some(xx()? / n),
            Pairs::SquaresY => Some(yy()? / n),
            Pairs::Products => Some(xy()? / n),
            Pairs::CovariancePopulation => Some(xy()? / n / n),
            Pairs::CovarianceSample => Some(xy()? / n / (n - 1.0)),
            Pairs::Slope => {
                let xx = xx()?;
                if xx == 0.0 { None } else { Some(xy()? / xx) }
            }
            Pairs::Intercept => {
                let xx = xx()?;
                if xx == 0.0 { None } else { Some((sums.y.value() - sums.x.value() * (xy()? / xx)) / n) }
            }
            Pairs::Correlation => {
                let (xx, yy) = (xx()?, yy()?);
                if xx == 0.0 || yy == 0.0 { None } else { Some((xy()? / xx.sqrt() / yy.sqrt()).clamp(-1.0, 1.0)) }
            }
            Pairs::Determination => {
                let (xx, yy) = (xx()?, yy()?);
                match (xx == 0.0, yy == 0.0) {
                    (true, _) => None,
                    (_, true) => Some(1.0),
                    _ => {
                        let xy = xy()?;
                        Some((xy / xx * (xy / yy)).clamp(0.0, 1.0))
                    }
                }
            }
        })
    }
}

#[derive(Clone, Debug, Default)]
struct Sums {
    count: i64,
    x: ExactSum,
    y: ExactSum,
    xx: ExactSum,
    xy: ExactSum,
    yy: ExactSum,
}

impl Sums {
    fn all(&self) -> [&ExactSum; 5] {
        [&self.x, &self.y, &self.xx, &self.xy, &self.yy]
    }

    fn add(&mut self, y: f64, x: f64, weight: i64) {
        self.count += weight;
        self.x.add(x, weight);
        self.y.add(y, weight);
        self.xx.add_product(x, x, weight);
        self.xy.add_product(x, y, weight);
        self.yy.add_product(y, y, weight);
    }
}

/// n·Σab − Σa·Σb, rounded once; at least 0 for squares, and NaN where one of the values is not finite. Error: 22003, finite values whose products are not.
pub(super) fn difference(count: i64, [a, b]: [&ExactSum; 2], products: &ExactSum) -> Result<f64> {
    if !a.is_finite() || !b.is_finite() {
        return Ok(f64::NAN);
    }
    let mut exact = ExactSum::default();
    products.each_part(|part| exact.add_product(part, count as f64, 1));
    a.each_part(|a| b.each_part(|b| exact.add_product(-a, b, 1)));
    let value = exact.value();
    if products.is_finite() && value.is_finite() { Ok(value) } else { Err(out_of_range("value")) }
}

/// See the module.
pub struct Regression {
    pairs: Pairs,
    output: DataType,
    sums: Vec<Sums>,
}

impl Regression {
    pub fn new(pairs: Pairs, output: DataType) -> Self {
        Regression { pairs, output, sums: Vec::new() }
    }
}

impl Accumulator for Regression {
    fn load(&mut self, slot: Slot, stored: Option<&mut Reader<'_>>) -> Result<()> {
        *grow(&mut self.sums, slot) = match stored {
            None => Sums::default(),
            Some(reader) => {
                let count = reader.i64()?;
                let mut sum = || ExactSum::load(reader);
                Sums { count, x: sum()?, y: sum()?, xx: sum()?, xy: sum()?, yy: sum()? }
            }
        };
        Ok(())
    }

    fn store(&self, slot: Slot, out: &mut Vec<u8>) {
        let sums = &self.sums[slot as usize];
        put_integer(out, i128::from(sums.count));
        sums.all().iter().for_each(|sum| sum.store(out));
    }

    fn clear(&mut self, slot: Slot) {
        self.sums[slot as usize] = Sums::default();
    }

    fn bytes(&self, slot: Slot) -> usize {
        self.sums[slot as usize].all().iter().map(|sum| sum.heap_bytes()).sum()
    }

    fn update(&mut self, rows: &Update<'_>, columns: &[ArrayRef], _table: Option<&mut Multiset>) -> Result<()> {
        let (y, x) = (as_doubles(&columns[0])?, as_doubles(&columns[1])?);
        let (ys, xs) = (y.as_primitive::<Float64Type>().values(), x.as_primitive::<Float64Type>());
        let all = &mut self.sums;
        rows.each_valid(&y, |i, slot, weight| {
            if xs.is_valid(i) {
                all[slot].add(ys[i], xs.value(i), weight);
            }
        });
        Ok(())
    }

    fn result(&mut self, groups: &Touched<'_>, _table: Option<&mut Multiset>) -> Result<Results> {
        let mut bad: Vec<(u32, Error)> = Vec::new();
        let value = |(i, slot): (usize, &Slot)| {
            self.pairs.value(&self.sums[*slot as usize]).unwrap_or_else(|e| {
                bad.push((i as u32, e));
                None
            })
        };
        let values: Float64Array = groups.slots.iter().enumerate().map(value).collect();
        Ok(Results { values: cast(&values, &self.output)?, bad })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(f64, f64)]) -> Sums {
        let mut sums = Sums::default();
        pairs.iter().for_each(|(y, x)| sums.add(*y, *x, 1));
        sums
    }

    #[test]
    fn a_line_has_its_slope_whatever_was_taken_back() {
        let mut sums = of(&[(0.3, 0.1), (0.5, 0.2), (1e300, -1e200), (0.9, 0.4), (f64::NAN, 1.0)]);
        sums.add(1e300, -1e200, -1);
        sums.add(f64::NAN, 1.0, -1);
        let value = |pairs: Pairs| pairs.value(&sums).unwrap().unwrap();
        assert!((value(Pairs::Slope) - 2.0).abs() < 1e-15);
        assert!((value(Pairs::Intercept) - 0.1).abs() < 1e-15);
        assert!((value(Pairs::Correlation) - 1.0).abs() < 1e-15);
        assert_eq!(value(Pairs::Count), 3.0);
    }

    #[test]
    fn values_that_are_all_equal_have_no_spread() {
        let sums = of(&[(0.1, 0.7); 7]);
        assert_eq!(Pairs::SquaresX.value(&sums).unwrap(), Some(0.0));
        assert_eq!(Pairs::Slope.value(&sums).unwrap(), None);
        assert_eq!(Pairs::Correlation.value(&sums).unwrap(), None);
        assert_eq!(Pairs::Determination.value(&of(&[(0.1, 1.0), (0.1, 2.0)])).unwrap(), Some(1.0));
        assert_eq!(Pairs::CovarianceSample.value(&of(&[(1.0, 1.0)])).unwrap(), None);
        assert_eq!(Pairs::CovariancePopulation.value(&of(&[(1.0, 1.0)])).unwrap(), Some(0.0));
        assert_eq!(Pairs::AverageX.value(&of(&[])).unwrap(), None);
    }

    #[test]
    fn what_is_not_finite_is_nan_and_what_overflows_an_error() {
        assert!(Pairs::SquaresX.value(&of(&[(1.0, f64::INFINITY)])).unwrap().unwrap().is_nan());
        assert_eq!(Pairs::SquaresX.value(&of(&[(1.0, 1e200), (1.0, -1e200)])).unwrap_err().sqlstate(), "22003");
        assert_eq!(Pairs::AverageX.value(&of(&[(1.0, 1e200), (1.0, -1e200)])).unwrap(), Some(0.0));
    }
}
