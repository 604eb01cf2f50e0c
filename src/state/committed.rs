//! What tables may read: the state as of the last *committed* checkpoint, with that checkpoint's number.
//!
//! A worker hands its changes over with `checkpoint(g)` and works on; another thread writes them and tells the worker later with `committed(g)`.
//! A read between the two must not be puzzled by not knowing whether `g` is in the store already. So nobody reads the store itself: all reads of
//! tables go through [`Committed::read`], which gives a snapshot *together with* the number `G` of the newest checkpoint in it, swapped as
//! one by whoever commits. Then
//!
//! ```text
//!   true content = snapshot(G)  (+)  changes handed over under generations > G  (+)  changes not handed over yet
//! ```
//!
//! holds at every moment, whether or not the table has heard of `G`. A table keeps its changes until it hears `committed(g)`, and `G >= g` by then, for
//! the swap comes before the message: nothing is counted twice, nothing is missed. Tables tag changes with *rounds* of their own ([`Rounds`]),
//! because a change does not know under which generation it will be handed over. Generations may be shared by several lanes, as long
//! as they are committed in ascending order.

use super::checkpoint::{Generation, Ops};
use super::store::{Durability, Snapshot, Store};
use crate::error::Result;
use parking_lot::RwLock;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

/// The store's committed state, shared by all tables; see the module.
pub struct Committed {
    store: Arc<dyn Store>,
    latest: RwLock<(Generation, Arc<dyn Snapshot>)>,
}

impl Committed {
    /// `generation`: the newest checkpoint that is in `store` (0 in a new one).
    pub fn new(store: Arc<dyn Store>, generation: Generation) -> Arc<Committed> {
        let snapshot = store.snapshot();
        Arc::new(Committed { store, latest: RwLock::new((generation, snapshot)) })
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The newest committed generation and the state that contains exactly it and all before.
    pub fn read(&self) -> (Generation, Arc<dyn Snapshot>) {
        self.latest.read().clone()
    }

    /// Writes a checkpoint's changes and shows them to readers. Generations must come in ascending order.
    pub fn commit(&self, generation: Generation, ops: Ops, durability: Durability) -> Result<()> {
        self.store.write(ops, durability)?;
        let snapshot = self.store.snapshot();
        let mut latest = self.latest.write();
        assert!(latest.0 <= generation, "checkpoint {} committed after {}", generation.0, latest.0.0);
        *latest = (generation, snapshot);
        Ok(())
    }
}

impl fmt::Debug for Committed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Committed({})", self.latest.read().0.0)
    }
}

/// A table's own count of checkpoints: changes made between two of them belong to one round. Round 0 is "long committed".
#[derive(Debug)]
pub(super) struct Rounds {
    current: u32,
    /// Rounds handed over, with their generation, oldest first.
    in_flight: VecDeque<(u32, Generation)>,
    committed: u32,
}

impl Rounds {
    pub(super) fn new() -> Rounds {
        Rounds { current: 1, in_flight: VecDeque::new(), committed: 0 }
    }

    /// The round that changes made now belong to.
    pub(super) fn current(&self) -> u32 {
        self.current
    }

    /// The newest round that was handed over, or is being so.
    pub(super) fn handed_over(&self) -> u32 {
        self.current - 1
    }

    /// The newest round that this table knows to be in the store.
    pub(super) fn committed(&self) -> u32 {
        self.committed
    }

    /// The current round is handed over under `generation`.
    pub(super) fn hand_over(&mut self, generation: Generation) {
        assert!(self.in_flight.back().is_none_or(|(_, g)| *g < generation), "generations rise");
        self.in_flight.push_back((self.current, generation));
        self.current += 1;
    }

    /// `generation` and all before are in the store.
    pub(super) fn commit(&mut self, generation: Generation) {
        while let Some((round, g)) = self.in_flight.front().copied() {
            if g > generation {
                break;
            }
            self.committed = round;
            self.in_flight.pop_front();
        }
    }

    /// The newest round that is in a snapshot of `generation`.
    pub(super) fn contained_in(&self, generation: Generation) -> u32 {
        self.in_flight.iter().take_while(|(_, g)| *g <= generation).last().map_or(self.committed, |(round, _)| *round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_contained_in_the_generation_it_was_handed_over_under_and_later_ones() {
        let mut rounds = Rounds::new();
        rounds.hand_over(Generation(5));
        rounds.hand_over(Generation(8));
        assert_eq!([4, 5, 7, 8, 9].map(|g| rounds.contained_in(Generation(g))), [0, 1, 1, 2, 2]);
        rounds.commit(Generation(7));
        assert_eq!((rounds.committed(), rounds.current()), (1, 3));
        assert_eq!([7, 8].map(|g| rounds.contained_in(Generation(g))), [1, 2]);
    }
}
