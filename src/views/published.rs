//! One published epoch: every relation's rows as the snapshot of the last checkpoint plus the runs since. Immutable: a statement that holds it
//! reads one consistent state however long it takes.

use super::stored::RelationRows;
use crate::error::{Error, Result};
use crate::state::run::RunStack;
use crate::state::store::Snapshot;
use crate::types::delta::Delta;
use crate::types::ids::ObjectId;
use crate::types::time::Epoch;
use arrow::array::{RecordBatch, UInt32Array};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub struct Published {
    pub epoch: Epoch,
    pub snapshot: Arc<dyn Snapshot>,
    pub relations: HashMap<ObjectId, RelationRows>,
    /// By relation: its indexes that may be read, oldest first. The list is shared: each statement takes it along.
    indexes: HashMap<ObjectId, Indexes>,
}

/// A published epoch that is kept for isolated views, which come to it later.
#[derive(Clone)]
pub struct Kept {
    pub published: Arc<Published>,
    /// The clock of its cut, µs.
    pub clock: i64,
    /// Rows, as of this epoch, of the isolated views that have come here, each over its own snapshot.
    pub isolated: HashMap<ObjectId, (RelationRows, Arc<dyn Snapshot>)>,
}

/// All that are kept.
#[derive(Clone, Default)]
pub struct KeptEpochs {
    /// The isolated views that there are.
    pub views: BTreeSet<ObjectId>,
    /// Oldest first.
    pub epochs: Vec<Arc<Kept>>,
}

impl KeptEpochs {
    /// The newest epoch that all of `views` have come to.
    pub fn newest_of(&self, views: &[ObjectId]) -> Option<&Arc<Kept>> {
        self.epochs.iter().rev().find(|kept| views.iter().all(|v| kept.isolated.contains_key(v)))
    }
}

/// Names and rows of the indexes on one relation.
pub type Indexes = Arc<[(String, RelationRows)]>;

impl Published {
    pub fn new(epoch: Epoch, snapshot: Arc<dyn Snapshot>, relations: &HashMap<ObjectId, RelationRows>) -> Published {
        let mut found: HashMap<ObjectId, BTreeMap<ObjectId, (String, RelationRows)>> = HashMap::new();
        for (id, rows) in relations.iter().filter(|(_, rows)| rows.ready) {
            if let Some(index) = &rows.index_of {
                found.entry(index.relation).or_default().insert(*id, (index.name.clone(), rows.clone()));
            }
        }
        let indexes = found.into_iter().map(|(relation, all)| (relation, all.into_values().collect())).collect();
        Published { epoch, snapshot, relations: relations.clone(), indexes }
    }

    /// This epoch with changes of some relations that are of no epoch. What they would change in indexes is not known, so these relations are read without.
    pub fn with_changes(&self, changes: &BTreeMap<ObjectId, RunStack>) -> Published {
        let (mut relations, mut indexes) = (self.relations.clone(), self.indexes.clone());
        for (id, runs) in changes {
            if let Some(rows) = relations.get_mut(id) {
                *rows = rows.with_changes(runs);
            }
            indexes.remove(id);
        }
        Published { epoch: self.epoch, snapshot: self.snapshot.clone(), relations, indexes }
    }

    /// Whether the relation may be read.
    pub fn is_ready(&self, relation: ObjectId) -> bool {
        self.relations.get(&relation).is_some_and(|rows| rows.ready)
    }

    pub fn indexes_on(&self, relation: ObjectId) -> Indexes {
        self.indexes.get(&relation).cloned().unwrap_or_default()
    }
}

/// A batch in which every row stands as often as its weight says. Error: a negative weight, which no relation has.
pub fn expand(delta: &Delta) -> Result<RecordBatch> {
    let Some(weights) = delta.weights().filter(|w| w.iter().any(|w| *w != 1)) else { return Ok(delta.batch().clone()) };
    let mut indices = Vec::with_capacity(weights.len());
    for (row, &weight) in weights.iter().enumerate() {
        let times = usize::try_from(weight).map_err(|_| Error::internal("a relation holds a row a negative number of times"))?;
        indices.extend(std::iter::repeat_n(row as u32, times));
    }
    Ok(arrow::compute::take_record_batch(delta.batch(), &UInt32Array::from(indices))?)
}
