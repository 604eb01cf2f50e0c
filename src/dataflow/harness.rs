//! The shared test harness: seeded input, restarts, the batch answer.
