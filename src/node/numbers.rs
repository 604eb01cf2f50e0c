//! Numbers of epochs, none of which is used twice. The log of epochs is not synced, so power loss takes the newest ones away, and somebody has seen them: what comes afterwards must not
//! have their numbers. So numbers are reserved, many at a time, in a record that is synced; a start that does not follow a clean stop leaves out those that may have been used.
//!
//! ```text
//!   1 … 804 | 805 … 9999      lost, or never used: nobody can go on from there          10000 …  reserved anew
//! ```

use super::scheduler::Scheduler;
use crate::error::{Error, Kind, Result};
use crate::state::checkpoint::Ops;
use crate::state::log::Logs;
use crate::state::store::Durability;
use crate::types::time::Epoch;
use serde::{Deserialize, Serialize};

/// So many at a time: a sync each, and what a crash leaves out.
const RESERVED_AT_ONCE: u64 = 10_000;
/// Gaps that are remembered: nobody goes on from an epoch so long ago.
const GAPS: usize = 1000;

/// Format version 1, JSON in the record of this name.
const RECORD: &str = "numbers";

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Numbers {
    /// Of no epoch, nor is any behind it. 0: none is reserved yet.
    end: u64,
    /// Numbers between the two are left out; the newest last.
    gaps: Vec<(Epoch, Epoch)>,
}

impl Numbers {
    pub fn load(logs: &Logs) -> Result<Numbers> {
        let damaged = |e: serde_json::Error| Error::new(Kind::DataCorrupted, "the record of epochs' numbers is damaged").with_detail(e.to_string());
        logs.record(RECORD)?.map_or(Ok(Numbers::default()), |bytes| serde_json::from_slice(&bytes).map_err(damaged))
    }

    /// The epochs on both sides of the gap that `epoch` is in.
    pub fn lost(&self, epoch: Epoch) -> Option<(Epoch, Epoch)> {
        self.gaps.iter().find(|(last, next)| *last < epoch && epoch < *next).copied()
    }

    /// The number with which a start goes on, when `last` is the newest epoch that is known.
    fn resume(&mut self, last: Epoch) -> Epoch {
        if self.end <= last.0 + 1 {
            return last;
        }
        let next = Epoch(self.end);
        self.gaps.push((last, next));
        let excess = self.gaps.len().saturating_sub(GAPS);
        self.gaps.drain(..excess);
        next
    }
}

impl Scheduler {
    /// After a start, when all known epochs are run again.
    pub(super) fn resume_numbers(&mut self) -> Result<()> {
        let next = self.numbers.resume(self.epoch);
        if next > self.epoch {
            self.epoch = next;
            self.isolated.iter_mut().for_each(|view| view.skip_to(next));
            self.swap_published();
        }
        self.end_numbers(next.0 + RESERVED_AT_ONCE)
    }

    /// The number of the next epoch.
    pub(super) fn next_number(&mut self) -> Result<Epoch> {
        let next = self.epoch.next();
        if next.0 >= self.numbers.end {
            self.end_numbers(next.0 + RESERVED_AT_ONCE)?;
        }
        Ok(next)
    }

    /// At a clean stop: all that were used are in the last checkpoint.
    pub(super) fn release_numbers(&mut self) -> Result<()> {
        self.end_numbers(self.epoch.0 + 1)
    }

    fn end_numbers(&mut self, end: u64) -> Result<()> {
        self.numbers.end = end;
        let mut ops = Ops::default();
        let record = serde_json::to_vec(&self.numbers).expect("a record has only numbers");
        self.shared.logs.put_record_into(RECORD, &record, &mut ops);
        self.store.write(ops, Durability::Synced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_been_used_is_left_out() {
        let mut numbers = Numbers::default();
        assert_eq!(numbers.resume(Epoch(0)), Epoch(0));
        numbers.end = 10_000;
        assert_eq!(numbers.resume(Epoch(804)), Epoch(10_000));
        let gap = Some((Epoch(804), Epoch(10_000)));
        assert_eq!([804, 805, 9999, 10_000].map(|e| numbers.lost(Epoch(e))), [None, gap, gap, None]);
        // A clean stop.
        numbers.end = 10_501;
        assert_eq!((numbers.resume(Epoch(10_500)), numbers.gaps.len()), (Epoch(10_500), 1));
    }
}
