//! Accumulators: how each aggregate adds, retracts and gives its result.
