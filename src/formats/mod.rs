//! Bytes <-> columns. Knows nothing of where the bytes come from.

pub mod format;
