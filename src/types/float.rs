//! The one NaN and the one zero of floating-point values: Postgres calls all NaNs equal and greater than every number, and -0.0 equal to 0.0, while bits
//! tell them apart (and a NaN with a sign is the least of all values by its bits).

use std::ops::Add;

/// What `real` and `double precision` have in common here.
pub trait Float: Copy + Default + PartialOrd + Add<Output = Self> {
    /// The NaN without a sign.
    const NAN: Self;

    /// Every NaN becomes the one without a sign.
    fn one_nan(self) -> Self {
        // Only a NaN cannot be compared with itself.
        if self.partial_cmp(&self).is_none() { Self::NAN } else { self }
    }

    /// The same, and -0.0 becomes 0.0: equal values have equal bits.
    fn canonical(self) -> Self {
        // Adding 0.0 turns -0.0 into 0.0 and changes no other number; what it makes of the bits of a NaN is not promised.
        (self + Self::default()).one_nan()
    }
}

impl Float for f32 {
    const NAN: f32 = f32::NAN.abs();
}

impl Float for f64 {
    const NAN: f64 = f64::NAN.abs();
}

#[cfg(test)]
mod tests {
    use super::Float;

    #[test]
    fn equal_values_have_equal_bits() {
        let signed = -f64::NAN.abs();
        assert_eq!(signed.canonical().to_bits(), f64::NAN.abs().to_bits());
        assert_eq!((-f32::NAN.abs()).one_nan().to_bits(), f32::NAN.abs().to_bits());
        assert_eq!((-0.0f64).canonical().to_bits(), 0);
        assert_eq!((-0.0f64).one_nan().to_bits(), (-0.0f64).to_bits(), "a zero keeps its sign");
        assert_eq!([f64::NEG_INFINITY, -1.5, 1e-300].map(Float::canonical), [f64::NEG_INFINITY, -1.5, 1e-300]);
    }
}
