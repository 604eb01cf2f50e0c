//! Exact floating-point sums (Shewchuk, "Adaptive Precision Floating-Point Arithmetic", 1997): a sum is kept as an expansion, doubles of
//! falling magnitude that do not overlap and whose exact sum is the exact sum of all values. Taking a value back adds its
//! negation, exactly; so there is no drift, and the rounded result depends on the values only, never on their order.
//!
//! NaN and the infinities are counted beside, for they could not be taken back. Values of 2^900 and more are scaled by
//! 2^-200 and summed apart, so that no intermediate sum overflows. Most sums need two doubles: those stay in place, more go to the heap.

use super::bytes::{Reader, put_integer};
use crate::error::Result;

const LARGE: f64 = f64::from_bits((1023 + 900) << 52);
const DOWN: f64 = f64::from_bits((1023 - 200) << 52);
const UP: f64 = f64::from_bits((1023 + 200) << 52);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct ExactSum {
    /// The expansion while it has at most two parts (in rising magnitude) and nothing special was seen; else zero.
    low: f64,
    high: f64,
    more: Option<Box<More>>,
}

#[derive(Clone, Debug, Default)]
struct More {
    parts: Vec<f64>,
    /// Values of at least 2^900, times 2^-200.
    large: Vec<f64>,
    nans: i64,
    infinities: i64,
    negative_infinities: i64,
}

impl ExactSum {
    /// Adds `value` `times` times (negative: takes it back).
    pub fn add(&mut self, value: f64, times: i64) {
        if !value.is_finite() {
            let more = self.more();
            let count = match value {
                v if v.is_nan() => &mut more.nans,
                v if v > 0.0 => &mut more.infinities,
                _ => &mut more.negative_infinities,
            };
            *count += times;
            return self.shrink();
        }
        // Which expansion a value goes to depends on the value alone, so that taking it back meets it there.
        let large = value.abs() >= LARGE;
        let scaled = if large { value * DOWN } else { value };
        match times {
            1 => self.add_part(scaled, large),
            -1 => self.add_part(-scaled, large),
            _ => {
                // |times| < 2^53 is exact as a double; the product and its rounding error are both added.
                let product = scaled * times as f64;
                self.add_part(product, large);
                self.add_part(scaled.mul_add(times as f64, -product), large);
            }
        }
    }

    /// Adds the exact product `times` times; an infinite one of finite factors counts as infinite.
    pub fn add_product(&mut self, a: f64, b: f64, times: i64) {
        let product = a * b;
        self.add(product, times);
        if product.is_finite() {
            self.add(a.mul_add(b, -product), times);
        }
    }

    /// Whether no NaN and no infinity is in it.
    pub fn is_finite(&self) -> bool {
        self.more.as_ref().is_none_or(|m| m.nans == 0 && m.infinities == 0 && m.negative_infinities == 0)
    }

    /// Doubles whose exact sum is that of the finite values.
    pub fn each_part(&self, mut each: impl FnMut(f64)) {
        [self.low, self.high].into_iter().filter(|p| *p != 0.0).for_each(&mut each);
        if let Some(more) = &self.more {
            more.parts.iter().for_each(|p| each(*p));
            more.large.iter().for_each(|p| each(*p * UP));
        }
    }

    /// The exact sum, rounded once to the nearest double; infinite if it is out of range.
    pub fn value(&self) -> f64 {
        let Some(more) = &self.more else { return self.low + self.high };
        if more.nans != 0 || (more.infinities != 0 && more.negative_infinities != 0) {
            return f64::NAN;
        }
        if more.infinities != 0 || more.negative_infinities != 0 {
            return if more.infinities != 0 { f64::INFINITY } else { f64::NEG_INFINITY };
        }
        if more.large.is_empty() {
            return round(&more.parts);
        }
        let mut all = more.large.clone();
        more.parts.iter().for_each(|p| grow_expansion(&mut all, p * DOWN));
        round(&all) * UP
    }

    /// Whether the sum is finite though the result overflowed a double.
    pub fn overflows(&self) -> bool {
        self.value().is_infinite() && self.more.as_ref().is_some_and(|m| m.infinities == 0 && m.negative_infinities == 0)
    }

    pub fn heap_bytes(&self) -> usize {
        self.more.as_ref().map_or(0, |m| size_of::<More>() + 8 * (m.parts.capacity() + m.large.capacity()))
    }

    pub fn store(&self, out: &mut Vec<u8>) {
        let put_parts = |out: &mut Vec<u8>, parts: &[f64]| {
            put_integer(out, parts.len() as i128);
            parts.iter().for_each(|p| out.extend_from_slice(&p.to_bits().to_le_bytes()));
        };
        match &self.more {
            None if self.high == 0.0 => out.push(0),
            None if self.low == 0.0 => {
                out.push(1);
                out.extend_from_slice(&self.high.to_bits().to_le_bytes());
            }
            None => {
                out.push(2);
                out.extend_from_slice(&self.low.to_bits().to_le_bytes());
                out.extend_from_slice(&self.high.to_bits().to_le_bytes());
            }
            Some(more) => {
                out.push(3);
                put_parts(out, &more.parts);
                put_parts(out, &more.large);
                [more.nans, more.infinities, more.negative_infinities].iter().for_each(|c| put_integer(out, i128::from(*c)));
            }
        }
    }

    pub fn load(reader: &mut Reader<'_>) -> Result<ExactSum> {
        let parts = |reader: &mut Reader<'_>| (0..reader.i64()?).map(|_| reader.f64()).collect::<Result<Vec<_>>>();
        Ok(match reader.byte()? {
            0 => ExactSum::default(),
            1 => ExactSum { high: reader.f64()?, ..ExactSum::default() },
            2 => ExactSum { low: reader.f64()?, high: reader.f64()?, more: None },
            _ => {
                let (parts, large) = (parts(reader)?, parts(reader)?);
                let (nans, infinities, negative_infinities) = (reader.i64()?, reader.i64()?, reader.i64()?);
                ExactSum { low: 0.0, high: 0.0, more: Some(Box::new(More { parts, large, nans, infinities, negative_infinities })) }
            }
        })
    }

    fn add_part(&mut self, value: f64, large: bool) {
        if large {
            grow_expansion(&mut self.more().large, value);
            return self.shrink();
        }
        if self.more.is_none() {
            let (rest, e1) = two_sum(value, self.low);
            let (high, e2) = two_sum(rest, self.high);
            // Three parts in rising magnitude, any of which may be zero: two places are enough unless none is.
            match (e1 == 0.0, e2 == 0.0, high == 0.0) {
                (true, _, false) => return (self.low, self.high) = (e2, high),
                (_, true, false) => return (self.low, self.high) = (e1, high),
                (_, _, true) => return (self.low, self.high) = if e2 == 0.0 { (0.0, e1) } else { (e1, e2) },
                _ => {}
            }
        }
        grow_expansion(&mut self.more().parts, value);
        self.shrink();
    }

    fn more(&mut self) -> &mut More {
        let (low, high) = (self.low, self.high);
        (self.low, self.high) = (0.0, 0.0);
        self.more.get_or_insert_with(|| Box::new(More { parts: [low, high].into_iter().filter(|p| *p != 0.0).collect(), ..More::default() }))
    }

    /// Back in place when two doubles are enough.
    fn shrink(&mut self) {
        let Some(more) = &self.more else { return };
        if !more.large.is_empty() || more.nans != 0 || more.infinities != 0 || more.negative_infinities != 0 {
            return;
        }
        (self.low, self.high) = match more.parts[..] {
            [] => (0.0, 0.0),
            [high] => (0.0, high),
            [low, high] => (low, high),
            _ => return,
        };
        self.more = None;
    }
}

/// The rounded sum and its error, exactly (Knuth).
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let b_part = sum - a;
    (sum, (a - (sum - b_part)) + (b - b_part))
}

/// Adds `value` to an expansion in rising magnitude, leaving out zeros.
fn grow_expansion(parts: &mut Vec<f64>, value: f64) {
    let mut carry = value;
    let mut kept = 0;
    for i in 0..parts.len() {
        let (sum, error) = two_sum(carry, parts[i]);
        if error != 0.0 {
            parts[kept] = error;
            kept += 1;
        }
        carry = sum;
    }
    parts.truncate(kept);
    if carry != 0.0 {
        parts.push(carry);
    }
}

/// The nearest double to the exact sum of an expansion, ties to even. From the top, the first addition with an error decides;
/// if that error is exactly half a unit, the part below it breaks the tie.
fn round(parts: &[f64]) -> f64 {
    let mut rest = parts.iter().rev().copied();
    let Some(mut high) = rest.next() else { return 0.0 };
    let mut low = 0.0;
    for part in rest.by_ref() {
        let (sum, error) = two_sum(high, part);
        high = sum;
        low = error;
        if low != 0.0 {
            break;
        }
    }
    if let Some(below) = rest.next()
        && ((low < 0.0 && below < 0.0) || (low > 0.0 && below > 0.0))
    {
        let doubled = low * 2.0;
        let moved = high + doubled;
        if moved - high == doubled {
            return moved;
        }
    }
    high
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{RngExt, SeedableRng};

    fn sum(values: &[f64]) -> ExactSum {
        let mut sum = ExactSum::default();
        values.iter().for_each(|v| sum.add(*v, 1));
        sum
    }

    #[test]
    fn sums_are_exact() {
        assert_eq!(sum(&[1e100, 1.0, -1e100]).value(), 1.0);
        assert_eq!(sum(&[0.1; 10]).value(), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]).value(), f64::MAX);
        assert!(sum(&[f64::MAX, f64::MAX]).overflows());
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).value().is_nan());
        assert_eq!(sum(&[1.0, f64::INFINITY]).value(), f64::INFINITY);
        let mut weighted = ExactSum::default();
        weighted.add(0.1, 1_000_003);
        assert_eq!(weighted.value(), sum(&vec![0.1; 1_000_003]).value());
    }

    #[test]
    fn any_order_and_any_detour_gives_the_same_bits() {
        let mut random = StdRng::seed_from_u64(7);
        for _ in 0..200 {
            let mut values: Vec<f64> = (0..random.random_range(1..60)).map(|_| f64::from_bits(random.random::<u64>())).filter(|v| v.is_finite()).collect();
            values.extend([0.1, 1e16, -1e16, 3.5e-300]);
            let expected = sum(&values).value();
            values.shuffle(&mut random);
            let mut other = sum(&[f64::NAN, 1e308, f64::INFINITY]);
            values.iter().for_each(|v| other.add(*v, 3));
            [f64::NAN, 1e308, f64::INFINITY].iter().for_each(|v| other.add(*v, -1));
            values.iter().for_each(|v| other.add(*v, -2));
            assert_eq!(other.value().to_bits(), expected.to_bits(), "{values:?}");
            let mut stored = Vec::new();
            other.store(&mut stored);
            assert_eq!(ExactSum::load(&mut Reader::new(&stored)).unwrap().value().to_bits(), expected.to_bits());
            values.iter().for_each(|v| other.add(-v, 1));
            assert!(other.more.is_none() && other.value() == 0.0);
        }
    }
}
