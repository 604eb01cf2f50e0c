//! What names in a statement mean: tables, materialized views and sources by the planner's knowledge of them, views by
//! their query, `tidewater.*` by their rows of this moment, and what a statement brings along (the rows that RETURNING is over).

use crate::catalog::catalog::{Catalog, PUBLIC, SYSTEM};
use crate::catalog::object::Body;
use crate::dataflow::ops::recursion::{Beyond, Limit};
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::{Engine, Snapshot};
use crate::plan::Relation;
use crate::plan::asof::batch::in_batch;
use crate::plan::recursion::{MutualRecursion, refuse_in_batch};
use crate::plan::relation::{RelationSource, attach};
use crate::sql::bind::{Named, Names};
use crate::sql::recursive::mutual::{self, Mutual};
use crate::types::ids::ObjectId;
use arrow::array::RecordBatch;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::Arc;

/// See the module.
pub struct Scope<'a> {
    catalog: &'a Catalog,
    relation: &'a (dyn Fn(ObjectId) -> Option<Arc<Relation>> + Sync),
    /// `None`: system relations cannot be read here.
    system: Option<&'a dyn Engine>,
    /// Relations that stand before the catalog's.
    local: Vec<(String, RecordBatch)>,
    used: Mutex<BTreeSet<ObjectId>>,
}

impl<'a> Scope<'a> {
    pub fn new(catalog: &'a Catalog, relation: &'a (dyn Fn(ObjectId) -> Option<Arc<Relation>> + Sync), system: Option<&'a dyn Engine>) -> Self {
        Scope { catalog, relation, system, local: Vec::new(), used: Mutex::new(BTreeSet::new()) }
    }

    /// `rows` under a name of this statement.
    pub fn with_local(mut self, name: &str, rows: RecordBatch) -> Self {
        self.local.push((name.to_owned(), rows));
        self
    }

    /// Objects whose names were looked up.
    pub fn used(&self) -> Vec<ObjectId> {
        self.used.lock().iter().copied().collect()
    }
}

fn rows(batch: RecordBatch) -> Result<Named> {
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    Ok(Named::Relation(provider_as_source(Arc::new(table))))
}

impl Names for Scope<'_> {
    fn find(&self, schema: &str, name: &str) -> Result<Option<Named>> {
        if let Some((_, batch)) = self.local.iter().find(|(n, _)| n == name) {
            return rows(batch.clone()).map(Some);
        }
        if schema == SYSTEM {
            let Some(engine) = self.system else {
                return Err(Error::not_supported("system relations cannot be read by views").with_hint("read them with SELECT"));
            };
            if !engine.system_relations().iter().any(|(n, _)| *n == name) {
                return Ok(None);
            }
            return rows(engine.system_rows(name)?).map(Some);
        }
        if schema != PUBLIC {
            return Ok(None);
        }
        let Some(object) = self.catalog.find(schema, name) else { return Ok(None) };
        self.used.lock().insert(object.id);
        if object.index().is_some() {
            return Err(
                Error::new(Kind::WrongObjectType, format!("cannot open relation \"{name}\"")).with_detail("This operation is not supported for indexes.")
            );
        }
        if let Body::View(view) = &object.body {
            return Ok(Some(Named::View { query: view.query.clone(), columns: view.columns.iter().map(|c| c.name.clone()).collect() }));
        }
        if matches!(object.body, Body::Sink(_)) {
            return Err(Error::new(Kind::WrongObjectType, format!("sink \"{name}\" keeps no rows that could be read"))
                .with_hint("read what the sink reads, or make a materialized view of its query"));
        }
        let relation = (self.relation)(object.id).ok_or_else(|| Error::internal(format!("the planner does not know \"{name}\"")))?;
        Ok(Some(Named::Relation(Arc::new(RelationSource::new(relation)))))
    }

    /// The first iteration gives base rows, which are of level 0.
    fn mutual_recursion(&self, recursion: Mutual, query: LogicalPlan) -> Result<LogicalPlan> {
        let levels = recursion.limit.map_or(Limit::default().levels, |n| i64::try_from(n).unwrap_or(i64::MAX / 2) - 1);
        let beyond = if recursion.beyond == mutual::Beyond::Return { Beyond::Dropped } else { Beyond::Errors };
        let bindings = recursion.bindings.into_iter().map(|b| (b.name, b.body)).collect();
        Ok(MutualRecursion::plan(bindings, query, Limit { levels, beyond }))
    }
}

/// The plan with rows of `snapshot` under its scans.
pub fn with_rows(plan: LogicalPlan, snapshot: &dyn Snapshot) -> Result<LogicalPlan> {
    refuse_in_batch(&plan)?;
    Ok(attach(in_batch(plan)?, &mut |relation| snapshot.provider(relation.id).map_err(|e| DataFusionError::External(Box::new(e))))?)
}
