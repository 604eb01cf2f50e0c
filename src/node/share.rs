//! How many rows a step takes in: as many as take about as long as somebody may wait for it. What a row costs is not known before, and changes; so a step that
//! took long is followed by one of half as many rows, and a short one of a full share by one of twice as many. Rows that fan out in a join are bounded by it as well, in memory.

use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    rows: usize,
    first: usize,
    most: usize,
    longest: Duration,
}

/// The fewest rows of a step: below it, fixed costs are all there is.
const LEAST: usize = 16;

impl Share {
    /// Begins with `first` rows, and never gives more than `most`; steps are to take no more than `longest`.
    pub fn new(first: usize, most: usize, longest: Duration) -> Share {
        Share { rows: first.min(most), first, most, longest }
    }

    /// What rows cost is another thing from now on: begins again with no more rows than at first.
    pub fn begin_again(&mut self) {
        self.rows = self.rows.min(self.first);
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes note of a step. `full`: more rows waited than it was to take.
    pub fn took(&mut self, rows: usize, full: bool, time: Duration) {
        if time > self.longest && rows > 0 {
            self.rows = (self.rows.min(rows) / 2).max(LEAST);
        } else if time < self.longest / 2 && full {
            self.rows = (self.rows * 2).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_follows_what_steps_take() {
        let ms = Duration::from_millis;
        let mut share = Share::new(1000, 64_000, ms(100));
        share.took(1000, true, ms(10));
        assert_eq!(share.rows(), 2000, "short and full: twice as many");
        share.took(700, false, ms(10));
        share.took(2000, true, ms(70));
        assert_eq!(share.rows(), 2000, "not full, or long enough: the same");
        share.took(1600, true, ms(300));
        assert_eq!(share.rows(), 800, "too long: half of what it was");
        (0..20).for_each(|_| share.took(100_000, true, ms(1)));
        assert_eq!(share.rows(), 64_000);
        share.begin_again();
        assert_eq!(share.rows(), 1000);
        (0..20).for_each(|_| share.took(share.rows(), true, ms(500)));
        assert_eq!(share.rows(), 16);
    }
}
