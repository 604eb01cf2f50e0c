//! The part of the state that an epoch touches: its panes and the sessions around them, as they were and as they become.
//!
//! A touched pane can only join or part the sessions of the panes beside it. So from each touched pane one walk goes down and one goes up, through
//! the session that begins there, to its end. All walks take a step together: one batched look-up per step.

use super::panes::{Panes, Span};
use crate::error::Result;
use crate::state::keyed::Slot;
use crate::types::key::Rows;
use hashbrown::HashMap;

/// A pane of the region.
pub(super) struct Place {
    pub partition: u32,
    pub pane: i64,
    pub slot: Slot,
    pub old: Option<Span>,
    pub new: Option<Span>,
    /// The group of the epoch's rows that are in it.
    pub group: Option<u32>,
    /// Directions in which a walk has come through.
    walked: [bool; 2],
}

/// A session: places in a row.
pub(super) struct Chain {
    /// Ordinals of its places, by pane.
    pub places: Vec<u32>,
    pub span: Span,
}

/// See the module.
pub(super) struct Region {
    /// Key bytes of the partitions.
    pub partitions: Rows,
    pub places: Vec<Place>,
    index: HashMap<(u32, i64), u32>,
    gap: i64,
}

#[derive(Clone, Copy)]
struct Walk {
    partition: u32,
    pane: i64,
    up: bool,
    /// The place that the next one must be joined to; `None`: whatever is there belongs to the region.
    from: Option<u32>,
}

impl Region {
    pub fn new(partitions: Rows, gap: i64) -> Region {
        Region { partitions, places: Vec::new(), index: HashMap::new(), gap }
    }

    /// The touched panes (of groups by number) and the sessions in and beside them.
    pub fn explore(&mut self, panes: &mut Panes, touched: &[(u32, i64)]) -> Result<()> {
        self.add(panes, touched)?;
        self.places.iter_mut().enumerate().for_each(|(i, place)| place.group = Some(i as u32));
        let walks = touched.iter().flat_map(|&(partition, pane)| [false, true].map(|up| step(partition, pane, up, None))).flatten().collect();
        self.walk(panes, walks)
    }

    /// The sessions that end in these panes.
    pub fn explore_down(&mut self, panes: &mut Panes, last: &[(u32, i64)]) -> Result<()> {
        self.add(panes, last)?;
        let walks = last.iter().zip(0..).filter_map(|(&(partition, pane), place)| step(partition, pane, false, Some(place))).collect();
        self.walk(panes, walks)
    }

    fn walk(&mut self, panes: &mut Panes, mut walks: Vec<Walk>) -> Result<()> {
        while !walks.is_empty() {
            let mut asked = walks.iter().map(|w| (w.partition, w.pane)).filter(|at| !self.index.contains_key(at)).collect::<Vec<_>>();
            asked.sort_unstable();
            asked.dedup();
            self.add(panes, &asked)?;
            let next = std::mem::take(&mut walks);
            walks.extend(next.into_iter().filter_map(|walk| self.through(walk)));
        }
        Ok(())
    }

    /// The walk's next step, if it goes on.
    fn through(&mut self, walk: Walk) -> Option<Walk> {
        let at = self.index[&(walk.partition, walk.pane)];
        let old = self.places[at as usize].old?;
        if let Some(from) = walk.from.and_then(|f| self.places[f as usize].old) {
            let (lower, upper) = if walk.up { (from, old) } else { (old, from) };
            if !self.joined(lower, upper) {
                return None;
            }
        }
        let walked = &mut self.places[at as usize].walked[usize::from(walk.up)];
        if std::mem::replace(walked, true) {
            return None;
        }
        step(walk.partition, walk.pane, walk.up, Some(at))
    }

    fn add(&mut self, panes: &mut Panes, asked: &[(u32, i64)]) -> Result<()> {
        let found = panes.look(&self.partitions, asked)?;
        for (&(partition, pane), (slot, old)) in asked.iter().zip(found) {
            self.index.insert((partition, pane), self.places.len() as u32);
            self.places.push(Place { partition, pane, slot, old, new: old, group: None, walked: [false; 2] });
        }
        Ok(())
    }

    /// Whether two panes beside each other are one session.
    fn joined(&self, lower: Span, upper: Span) -> bool {
        upper.first.saturating_sub(lower.last) < self.gap
    }

    /// The sessions that the places make with these spans.
    pub fn chains(&self, span: impl Fn(&Place) -> Option<Span>) -> Vec<Chain> {
        let mut order = (0..self.places.len() as u32).filter(|i| span(&self.places[*i as usize]).is_some()).collect::<Vec<_>>();
        order.sort_unstable_by_key(|i| (self.places[*i as usize].partition, self.places[*i as usize].pane));
        let mut chains: Vec<Chain> = Vec::new();
        for i in order {
            let place = &self.places[i as usize];
            let Some(own) = span(place) else { continue };
            if let Some(chain) = chains.last_mut()
                && let Some(last) = chain.places.last().map(|p| &self.places[*p as usize])
                && last.partition == place.partition
                && last.pane.checked_add(1) == Some(place.pane)
                && span(last).is_some_and(|lower| self.joined(lower, own))
            {
                chain.places.push(i);
                chain.span = chain.span.with(own);
            } else {
                chains.push(Chain { places: vec![i], span: own });
            }
        }
        chains
    }

    /// By place: the span of the chain it is in.
    pub fn sessions(&self, chains: &[Chain]) -> Vec<Option<Span>> {
        let mut sessions = vec![None; self.places.len()];
        for chain in chains {
            chain.places.iter().for_each(|p| sessions[*p as usize] = Some(chain.span));
        }
        sessions
    }
}

/// `None`: there is no pane further on.
fn step(partition: u32, pane: i64, up: bool, from: Option<u32>) -> Option<Walk> {
    let pane = if up { pane.checked_add(1) } else { pane.checked_sub(1) }?;
    Some(Walk { partition, pane, up, from })
}
