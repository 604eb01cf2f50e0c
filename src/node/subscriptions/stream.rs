//! What a subscriber's connection reads: the rows that there are, or the changes that it has missed, then what comes, without an end.

use super::change::Shape;
use super::history::Past;
use super::queue::{Item, Queue};
use crate::error::Result;
use crate::node::pool::Pool;
use crate::state::store::Snapshot;
use crate::types::time::Epoch;
use crate::views::stored::RelationRows;
use arrow::array::RecordBatch;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use std::sync::Arc;

/// Rows of one batch of the snapshot.
const BATCH_ROWS: usize = 8192;

/// What the subscriber begins with.
pub enum Beginning {
    /// These rows, as of the epoch at which it begins.
    Rows(Box<RelationRows>, Arc<dyn Snapshot>),
    Changes(Past),
    Nothing,
}

/// A subscription from its beginning.
pub struct Subscription {
    /// Changes of later epochs come through the queue.
    pub epoch: Epoch,
    pub durable: Epoch,
    pub beginning: Beginning,
    pub queue: Listener,
}

/// The subscriber's end of a queue: nothing is put into it any more when this is dropped.
pub struct Listener(pub Arc<Queue>);

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.close();
    }
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

impl Subscription {
    /// Its rows. `guard`: what is to live as long as they are read.
    pub fn stream(self, pool: &Pool, shape: Shape, guard: impl Send + 'static) -> BoxStream<'static, Result<RecordBatch>> {
        let Subscription { epoch, durable, beginning, queue } = self;
        let first = batches(beginning, epoch, &shape);
        let watched = queue.0.clone();
        // One that falls behind while it reads what it begins with is not read to the end.
        let first = pool.stream(stream::iter(first.map(move |batch| watched.check().and(batch))).boxed());
        let (begun, progress) = (queue.0.clone(), shape.clone());
        let told = stream::once(async move {
            begun.begun(epoch);
            progress.has_progress().then(|| progress.progressed(epoch, durable))
        });
        let live = stream::unfold(Some((queue, guard)), move |held| {
            let shape = shape.clone();
            async move {
                let (queue, guard) = held?;
                match next(&queue.0, &shape).await {
                    Ok(batch) => Some((Ok(batch), Some((queue, guard)))),
                    Err(e) => Some((Err(e), None)),
                }
            }
        });
        first.chain(told.filter_map(std::future::ready)).chain(live).boxed()
    }
}

fn batches(beginning: Beginning, epoch: Epoch, shape: &Shape) -> Batches {
    let shape = shape.clone();
    match beginning {
        Beginning::Nothing => Box::new(std::iter::empty()),
        Beginning::Rows(rows, snapshot) => {
            let mut scan = rows.scan(snapshot);
            Box::new(std::iter::from_fn(move || scan.next(BATCH_ROWS).transpose()).map(move |delta| shape.rows(epoch, &delta?)))
        }
        Beginning::Changes(past) => Box::new(past.map(move |change| change.and_then(|(epoch, delta)| shape.rows(epoch, &delta)))),
    }
}

/// The next rows that come. An epoch in which everything cancels out gives an empty batch.
async fn next(queue: &Queue, shape: &Shape) -> Result<RecordBatch> {
    match queue.next().await? {
        Item::Change(change) => change.rows(shape),
        Item::Progress { epoch, durable } => shape.progressed(epoch, durable),
    }
}
