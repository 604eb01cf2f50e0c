//! How fast a generator may go: event n is due n / rate seconds after event 0. All readers of a source share one
//! pace, so a second reader (a backfill) gets what is already due at once and then keeps step with the first.
//! The pace belongs to the running process: after a restart it goes on from where reading goes on, without
//! catching up on the time the server was down.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Events become due in ticks: a batch every tick instead of a wake-up per event.
const TICK: Duration = Duration::from_millis(5);

/// The pace of one source.
#[derive(Debug)]
pub struct Pace {
    /// Events per second; `None`: no limit.
    rate: Option<f64>,
    /// Event number `.1` was due at `.0`.
    anchor: Mutex<Option<(Instant, i64)>>,
}

impl Pace {
    /// A rate of 0 or less is no limit.
    pub fn new(rate: Option<f64>) -> Self {
        Pace { rate: rate.filter(|r| *r > 0.0), anchor: Mutex::new(None) }
    }

    /// A reader begins at event `from`: it is due now at the latest.
    pub fn begin(&self, from: i64, now: Instant) {
        let behind = self.due(now) < from;
        let mut anchor = self.anchor.lock();
        if anchor.is_none() || behind {
            *anchor = Some((now, from));
        }
    }

    /// The number of the first event that is not due yet.
    pub fn due(&self, now: Instant) -> i64 {
        let Some(rate) = self.rate else { return i64::MAX };
        let Some((start, first)) = *self.anchor.lock() else { return 0 };
        let elapsed = now.saturating_duration_since(start);
        let ticks = (elapsed.as_nanos() / TICK.as_nanos()) as f64;
        first.saturating_add((ticks * TICK.as_secs_f64() * rate) as i64)
    }

    /// How long to wait for event `n`, rounded up to a tick.
    pub fn wait(&self, n: i64, now: Instant) -> Duration {
        let (Some(rate), Some((start, first))) = (self.rate, *self.anchor.lock()) else { return Duration::ZERO };
        let ticks = ((n + 1 - first).max(0) as f64 / rate / TICK.as_secs_f64()).ceil();
        // A bound keeps the arithmetic in range at tiny rates; the caller looks again anyway.
        let due = start + TICK.mul_f64(ticks.min(1e6));
        due.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_become_due_at_the_rate_and_a_later_reader_keeps_step() {
        let pace = Pace::new(Some(1000.0));
        let start = Instant::now();
        pace.begin(100, start);
        assert_eq!(pace.due(start), 100);
        let later = start + Duration::from_secs(1);
        assert_eq!(pace.due(later), 1100);
        pace.begin(0, later);
        assert_eq!(pace.due(later), 1100, "a backfill does not slow the live reader down");
        assert_eq!(pace.wait(1100, later), TICK);
        assert!(pace.due(later + pace.wait(1100, later)) > 1100);
    }

    #[test]
    fn no_rate_is_no_limit() {
        let pace = Pace::new(Some(0.0));
        pace.begin(0, Instant::now());
        assert_eq!(pace.due(Instant::now()), i64::MAX);
    }
}
