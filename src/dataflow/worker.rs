//! A worker thread: its share of every operator, one epoch at a time, and the exchange between workers.
