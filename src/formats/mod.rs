//! Bytes <-> columns. Knows nothing of where the bytes come from.

pub mod column;
pub mod format;
pub mod json;
mod object;
mod scan;
