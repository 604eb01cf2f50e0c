//! Bytes <-> columns. Knows nothing of where the bytes come from, or go to.

pub mod column;
pub mod csv;
pub mod format;
pub mod json;
mod object;
pub mod raw;
pub mod records;
mod scan;
