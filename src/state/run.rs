//! A sorted run: one epoch's change of one view by view key, immutable and shared with readers.
