//! Deltas as text: `+1 | 7 | ann` per row.
