//! Bytes <-> columns.
