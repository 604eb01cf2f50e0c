//! Epochs, watermarks and clocks. Times are microseconds since 1970-01-01 00:00 UTC, as `i64`.

use super::ids::ObjectId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

/// One numbered step of the system. Numbers rise, by one but after a crash, and are never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    pub fn next(self) -> Epoch {
        Epoch(self.0 + 1)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// No event-time promise yet.
pub const WATERMARK_NONE: i64 = i64::MIN;
/// The input has ended: every window closes.
pub const WATERMARK_END: i64 = i64::MAX;

/// The catalog under which a query names a relation that it reads as of processing time (`FOR SYSTEM_TIME AS OF PROCTIME()`): the binder says so, the planner reads it.
pub const AS_OF_PROCTIME: &str = "as of proctime()";

/// The watermark of each source, µs. A source that is not in the map has promised nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watermarks(pub BTreeMap<ObjectId, i64>);

impl Watermarks {
    /// The minimum over `sources`: what an operator fed by all of them may rely on. With no source,
    /// nothing bounds the input's time, so there is no promise.
    pub fn of(&self, sources: &[ObjectId]) -> i64 {
        sources.iter().map(|s| self.0.get(s).copied().unwrap_or(WATERMARK_NONE)).min().unwrap_or(WATERMARK_NONE)
    }
}

/// What an operator may know about the step it is in. Operators are pure functions of (state, this, deltas).
#[derive(Clone, Debug, Default)]
pub struct Step {
    pub epoch: Epoch,
    /// Processing time of the step, µs: the cut's clock, never the machine's.
    pub clock: i64,
    /// Watermarks at the end of the previous epoch: a row is late for a window that these have closed.
    pub before: Watermarks,
    /// Watermarks at the end of this epoch: windows that these pass close now, after the step's rows.
    pub after: Watermarks,
}

/// Where `now` comes from (design D10): the machine, or a test.
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> i64;
}

/// The machine's wall clock.
#[derive(Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        chrono::Utc::now().timestamp_micros()
    }
}

/// A clock that a test moves.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn at(micros: i64) -> Self {
        ManualClock(AtomicI64::new(micros))
    }

    pub fn set(&self, micros: i64) {
        self.0.store(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}
