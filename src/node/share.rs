//! How many rows a step takes in: as many as take about as long as somebody may wait for it, and as operators can make something of in the memory there is (a row may meet
//! hundreds in a join). What a row costs is not known before, and changes; so a step that took long or made much is followed by one of half as many rows, and a short one of a
//! full share by one of twice as many.

use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    rows: usize,
    first: usize,
    most: usize,
    longest: Duration,
    largest: usize,
}

/// What a step came to.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    pub rows: usize,
    /// More rows waited than it was to take.
    pub full: bool,
    pub time: Duration,
    /// Bytes of all rows that operators gave out.
    pub made: usize,
}

/// The fewest rows of a step: below it, fixed costs are all there is.
const LEAST: usize = 16;

impl Share {
    /// Begins with `first` rows, and never gives more than `most`; steps are to take no more than `longest`, and operators to make no more than `largest` bytes in one.
    pub fn new(first: usize, most: usize, longest: Duration, largest: usize) -> Share {
        Share { rows: first.min(most), first, most, longest, largest }
    }

    /// What rows cost is another thing from now on: begins again with no more rows than at first.
    pub fn begin_again(&mut self) {
        self.rows = self.rows.min(self.first);
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Takes note of a step.
    pub fn took(&mut self, Took { rows, full, time, made }: Took) {
        if (time > self.longest || made > self.largest) && rows > 0 {
            self.rows = (self.rows.min(rows) / 2).max(LEAST);
        } else if time < self.longest / 2 && made < self.largest / 2 && full {
            self.rows = (self.rows * 2).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_follows_what_steps_take() {
        let step = |rows, full, ms| Took { rows, full, time: Duration::from_millis(ms), made: 5_000 };
        let mut share = Share::new(1000, 64_000, Duration::from_millis(100), 1_000_000);
        share.took(step(1000, true, 10));
        assert_eq!(share.rows(), 2000, "short and full: twice as many");
        share.took(step(700, false, 10));
        share.took(step(2000, true, 70));
        assert_eq!(share.rows(), 2000, "not full, or long enough: the same");
        share.took(step(1600, true, 300));
        assert_eq!(share.rows(), 800, "too long: half of what it was");
        share.took(Took { made: 600_000, ..step(800, true, 10) });
        assert_eq!(share.rows(), 800, "enough was made of them: the same");
        share.took(Took { made: 1_200_000, ..step(800, true, 10) });
        assert_eq!(share.rows(), 400, "too much was made of them: half as many");
        (0..20).for_each(|_| share.took(step(100_000, true, 1)));
        assert_eq!(share.rows(), 64_000);
        share.begin_again();
        assert_eq!(share.rows(), 1000);
        (0..20).for_each(|_| share.took(step(share.rows(), true, 500)));
        assert_eq!(share.rows(), 16);
    }
}
