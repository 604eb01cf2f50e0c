//! How accumulators are written: little-endian, small numbers short. Version 1 (the aggregate writes the version byte).

use crate::error::{Error, Kind, Result};

/// Appends `value` so that small magnitudes take few bytes: zigzag, then 7 bits a byte.
pub fn put_integer(out: &mut Vec<u8>, value: i128) {
    let mut rest = ((value << 1) ^ (value >> 127)) as u128;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_integer(out, bytes.len() as i128);
    out.extend_from_slice(bytes);
}

/// Reads what the functions above wrote, in the same order.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?[0])
    }

    pub fn integer(&mut self) -> Result<i128> {
        let mut value = 0u128;
        for shift in (0..128).step_by(7) {
            let byte = self.byte()?;
            value |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i128 ^ -((value & 1) as i128));
            }
        }
        Err(damaged())
    }

    /// An integer that was an `i64`.
    pub fn i64(&mut self) -> Result<i64> {
        i64::try_from(self.integer()?).map_err(|_| damaged())
    }

    pub fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_bits(u64::from_le_bytes(self.array()?)))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let length = usize::try_from(self.integer()?).map_err(|_| damaged())?;
        self.take(length)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| damaged())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(damaged)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn damaged() -> Error {
    Error::new(Kind::DataCorrupted, "stored accumulator is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_come_back_and_small_ones_are_short() {
        let values = [0, 1, -1, 63, -64, 64, i128::from(i64::MAX), i128::from(i64::MIN), i128::MAX, i128::MIN];
        let mut out = Vec::new();
        values.iter().for_each(|v| put_integer(&mut out, *v));
        let mut reader = Reader::new(&out);
        values.iter().for_each(|v| assert_eq!(reader.integer().unwrap(), *v));
        assert!(reader.is_empty());
        out.clear();
        put_integer(&mut out, -64);
        assert_eq!(out.len(), 1);
    }

    #[test]
    fn damage_is_an_error() {
        assert!(Reader::new(&[0x80]).integer().is_err());
        assert!(Reader::new(&[0xff; 40]).integer().is_err());
        assert!(Reader::new(&[4, 1]).bytes().is_err());
    }
}
