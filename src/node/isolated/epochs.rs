//! Which epochs statements may read isolated views at. Some published epochs are kept, and get the rows of each isolated view when it comes there:
//!
//! ```text
//!   epoch        90           120           150 (newest)
//!   live lane     x             x             x
//!   fast view     x             x             x            a statement over it alone, or with tables, reads 150
//!   slow view     x             (takes in 104)             one over it, or over both, reads 90; when it has come to 120, that
//! ```
//!
//! Of each view two are kept: the newest that it has reached, and the next that it is to reach; the one after that is chosen when it is there. So what is kept does not
//! grow with the lag: two snapshots of the store and the rows that were in memory alone, which are few when an epoch is chosen for a view that lags.
//!
//! An epoch that a view was shown at is logged before it is: its state is durable a checkpoint at a time, and after a crash nobody shall see it as it was earlier.

use super::super::scheduler::Scheduler;
use super::Isolated;
use crate::error::Result;
use crate::types::ids::ObjectId;
use crate::types::time::Epoch;
use crate::views::published::Kept;
use std::collections::{BTreeSet, HashMap};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

impl Scheduler {
    /// After an epoch was published, or an isolated view has come further.
    pub(in crate::node) fn keep_epochs(&mut self) -> Result<()> {
        let mut changed = self.choose_epoch();
        for (epoch, kept) in &mut self.kept {
            for view in self.isolated.iter().filter(|v| v.since <= *epoch && *epoch <= v.frontier) {
                if !kept.isolated.contains_key(&view.id()) {
                    self.shared.logs.put_shown(view.id(), *epoch)?;
                    Arc::make_mut(kept).isolated.insert(view.id(), (view.rows.clone(), self.checkpoints.snapshot()));
                    changed = true;
                }
            }
        }
        let mut wanted = BTreeSet::new();
        for view in &self.isolated {
            wanted.extend(self.reached(view.id()));
            wanted.extend(self.aim(view));
        }
        let before = self.kept.len();
        self.kept.retain(|epoch, _| wanted.contains(epoch));
        if changed || self.kept.len() != before || self.shared.kept().views.len() != self.isolated.len() {
            self.shared.keep(self.isolated.iter().map(|v| v.id()).collect(), self.kept.values().cloned().collect());
        }
        Ok(())
    }

    /// The newest kept epoch that has the view's rows.
    fn reached(&self, view: ObjectId) -> Option<Epoch> {
        self.kept.iter().rev().find(|(_, kept)| kept.isolated.contains_key(&view)).map(|(epoch, _)| *epoch)
    }

    /// The next kept epoch that the view will be shown at.
    fn aim(&self, view: &Isolated) -> Option<Epoch> {
        let behind = view.frontier.max(Epoch(view.since.0.saturating_sub(1)));
        self.kept.range((Excluded(behind), Unbounded)).next().map(|(epoch, _)| *epoch)
    }

    /// Keeps the newest epoch if a view is there already, or has nothing to aim at.
    fn choose_epoch(&mut self) -> bool {
        // In the middle of a change nothing is published.
        if self.load.is_some() || self.kept.contains_key(&self.epoch) {
            return false;
        }
        let few = self.run_bytes() <= self.shared.limits.run_bytes / 4;
        let wants = self.isolated.iter().any(|v| v.frontier >= self.epoch || (few && self.aim(v).is_none()));
        if wants {
            let published = self.shared.published();
            self.kept.insert(self.epoch, Arc::new(Kept { published, clock: self.shared.system.shown_clock(), isolated: HashMap::new() }));
        }
        wants
    }
}
