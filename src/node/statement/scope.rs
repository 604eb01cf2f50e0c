//! What names in a statement mean: tables, materialized views and sources by the planner's knowledge of them, views by
//! their query, `tidewater.*` by their rows of this moment, and what a statement brings along (the rows that RETURNING is over).

use super::Context;
use super::access;
use super::known::known;
use crate::catalog::access::Privileges;
use crate::catalog::catalog::{Catalog, PUBLIC, SYSTEM};
use crate::catalog::object::Body;
use crate::catalog::pg::{
    self,
    oids::{OWNER, Part, of_part},
};
use crate::dataflow::ops::recursion::{Beyond, Limit};
use crate::error::{Error, Kind, Result};
use crate::node::engine_api::Snapshot;
use crate::plan::Relation;
use crate::plan::asof::batch::in_batch;
use crate::plan::recursion::{MutualRecursion, refuse_in_batch};
use crate::plan::relation::{RelationSource, attach};
use crate::sql::bind::{Inside, Named, Names};
use crate::sql::functions::catalog::Known;
use crate::sql::recursive::mutual::{self, Mutual};
use crate::types::ids::ObjectId;
use crate::types::text::Zone;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::LogicalPlan;
use parking_lot::Mutex;
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

/// See the module.
pub struct Scope<'a> {
    catalog: &'a Catalog,
    relation: &'a (dyn Fn(ObjectId) -> Option<Arc<Relation>> + Sync),
    reader: Reader<'a>,
    /// Relations that stand before the catalog's.
    local: Vec<(String, RecordBatch)>,
    /// Schemas in which names that have none are looked for.
    path: Vec<String>,
    used: Mutex<BTreeSet<ObjectId>>,
    known: OnceLock<Arc<Known>>,
}

/// For whom names are looked up.
#[derive(Clone, Copy)]
pub enum Reader<'a> {
    /// A statement that reads rows, the system's own among them.
    Session(&'a Context),
    /// A definition that is kept: what the system knows of itself cannot be read in it.
    Definition(&'a Context),
    /// The server, which plans again what was allowed once.
    Restart,
}

impl<'a> Scope<'a> {
    pub fn new(catalog: &'a Catalog, relation: &'a (dyn Fn(ObjectId) -> Option<Arc<Relation>> + Sync), reader: Reader<'a>) -> Self {
        let path = match reader {
            Reader::Session(context) | Reader::Definition(context) => context.reading_path(),
            Reader::Restart => vec![PUBLIC.to_owned()],
        };
        Scope { catalog, relation, reader, local: Vec::new(), path, used: Mutex::new(BTreeSet::new()), known: OnceLock::new() }
    }

    /// Names that have no schema are looked for in these, whatever the session says.
    pub fn within(mut self, path: Vec<String>) -> Self {
        self.path = path;
        self
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

    /// Whose rights count where names are found: within a view its owner's. `None`: nobody is asked.
    fn role(&self, owner: Option<u32>) -> Option<u32> {
        match self.reader {
            Reader::Session(context) | Reader::Definition(context) => Some(owner.unwrap_or_else(|| context.role())),
            Reader::Restart => None,
        }
    }

    /// A relation that tells of the system.
    fn system(&self, schema: &str, name: &str, role: Option<u32>) -> Result<Option<Named>> {
        let (Reader::Session(context), Some(role)) = (self.reader, role) else {
            return Err(Error::not_supported("system relations cannot be read by views").with_hint("read them with SELECT"));
        };
        access::check_system(self.catalog, role, name)?;
        if schema == SYSTEM {
            let engine = &context.engine;
            return if engine.system_relations().iter().any(|(n, _)| *n == name) {
                rows(access::visible(self.catalog, role, name, engine.system_rows(name)?)?).map(Some)
            } else {
                Ok(None)
            };
        }
        match pg::find(schema, name) {
            None if name == "pg_get_keywords" => rows(keywords()?).map(Some),
            None => Ok(None),
            Some(pg::Found::View { query, columns }) => {
                Ok(Some(Named::View { query: query.to_owned(), columns, path: Vec::new(), owner: OWNER, zone: Zone::Utc }))
            }
            Some(pg::Found::Rows(_)) => match self.known() {
                Some(known) => rows(pg::rows(schema, name, &known.facts)?).map(Some),
                None => Ok(None),
            },
        }
    }
}

const PG_CATALOG: &str = "pg_catalog";
const INFORMATION_SCHEMA: &str = "information_schema";

fn rows(batch: RecordBatch) -> Result<Named> {
    let table = MemTable::try_new(batch.schema(), vec![vec![batch]])?;
    Ok(Named::Relation(provider_as_source(Arc::new(table))))
}

/// The rows of `pg_get_keywords()`.
fn keywords() -> Result<RecordBatch> {
    let words: Vec<pg::Keyword> = pg::keywords().collect();
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let described = |category: char| match category {
        'U' => "unreserved",
        'C' => "unreserved (cannot be function or type name)",
        'T' => "reserved (can be function or type name)",
        _ => "reserved",
    };
    let fields = vec![text("word"), text("catcode"), Field::new("barelabel", DataType::Boolean, true), text("catdesc"), text("baredesc")];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(words.iter().map(|w| Some(w.word)).collect::<StringArray>()),
        Arc::new(words.iter().map(|w| Some(w.category.to_string())).collect::<StringArray>()),
        Arc::new(words.iter().map(|w| Some(w.bare_label)).collect::<BooleanArray>()),
        Arc::new(words.iter().map(|w| Some(described(w.category))).collect::<StringArray>()),
        Arc::new(words.iter().map(|w| Some(if w.bare_label { "can be bare label" } else { "requires AS" })).collect::<StringArray>()),
    ];
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

impl Names for Scope<'_> {
    fn find(&self, schema: Option<&str>, name: &str, inside: Option<Inside<'_>>) -> Result<Option<Named>> {
        if let Some((_, batch)) = self.local.iter().find(|(n, _)| n == name) {
            return rows(batch.clone()).map(Some);
        }
        let role = self.role(inside.map(|i| i.owner));
        let path = inside.map_or(self.path.as_slice(), |i| i.path);
        // As in Postgres, pg_catalog comes before all other schemas, unless the path says where.
        let first = name.starts_with("pg_") && pg::find(PG_CATALOG, name).is_some() && !path.iter().any(|s| s == PG_CATALOG);
        match schema {
            None if first => self.find_in(PG_CATALOG, name, role),
            Some(schema) => self.find_in(schema, name, role),
            // Schemas that the role may not look into are passed over.
            None => {
                for schema in path.iter().filter(|s| access::may_use(self.catalog, role, s)) {
                    if let Some(found) = self.find_in(schema, name, role)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
        }
    }

    fn row_type(&self, schema: Option<&str>, name: &str) -> Option<(u32, u32)> {
        let object = match schema {
            Some(schema) => self.catalog.find(schema, name),
            None => self.catalog.find_in(&self.path, name),
        };
        object.map(|o| (of_part(o.id, Part::RowType), of_part(o.id, Part::RowArray)))
    }

    fn known(&self) -> Option<Arc<Known>> {
        let Reader::Session(context) = self.reader else { return None };
        Some(self.known.get_or_init(|| Arc::new(known(context))).clone())
    }

    fn known_so_far(&self) -> Option<Arc<Known>> {
        self.known.get().cloned()
    }

    /// The first iteration gives base rows, which are of level 0.
    fn mutual_recursion(&self, recursion: Mutual, query: LogicalPlan) -> Result<LogicalPlan> {
        let levels = recursion.limit.map_or(Limit::default().levels, |n| i64::try_from(n).unwrap_or(i64::MAX / 2) - 1);
        let beyond = if recursion.beyond == mutual::Beyond::Return { Beyond::Dropped } else { Beyond::Errors };
        let bindings = recursion.bindings.into_iter().map(|b| (b.name, b.body)).collect();
        Ok(MutualRecursion::plan(bindings, query, Limit { levels, beyond }))
    }
}

impl Scope<'_> {
    fn find_in(&self, schema: &str, name: &str, role: Option<u32>) -> Result<Option<Named>> {
        if matches!(schema, SYSTEM | PG_CATALOG | INFORMATION_SCHEMA) {
            return self.system(schema, name, role);
        }
        if let Some(role) = role.filter(|_| self.catalog.has_schema(schema)) {
            access::check_schema(self.catalog, role, schema, Privileges::USAGE)?;
        }
        let Some(object) = self.catalog.find(schema, name) else { return Ok(None) };
        self.used.lock().insert(object.id);
        if object.index().is_some() {
            return Err(
                Error::new(Kind::WrongObjectType, format!("cannot open relation \"{name}\"")).with_detail("This operation is not supported for indexes.")
            );
        }
        if matches!(object.body, Body::Sink(_)) {
            return Err(Error::new(Kind::WrongObjectType, format!("sink \"{name}\" keeps no rows that could be read"))
                .with_hint("read what the sink reads, or make a materialized view of its query"));
        }
        if let Some(role) = role {
            access::check(self.catalog, role, object, Privileges::SELECT)?;
        }
        if let Body::View(view) = &object.body {
            let columns = view.columns.iter().map(|c| c.name.clone()).collect();
            let zone = object.zone.as_deref().map_or(Ok(Zone::Utc), Zone::parse)?;
            return Ok(Some(Named::View { query: view.query.clone(), columns, path: object.path.clone(), owner: object.access.owner, zone }));
        }
        let relation = (self.relation)(object.id).ok_or_else(|| Error::internal(format!("the planner does not know \"{name}\"")))?;
        Ok(Some(Named::Relation(Arc::new(RelationSource::new(relation)))))
    }
}

/// The plan with rows of `snapshot` under its scans.
pub fn with_rows(plan: LogicalPlan, snapshot: &dyn Snapshot) -> Result<LogicalPlan> {
    refuse_in_batch(&plan)?;
    Ok(attach(in_batch(plan)?, &mut |relation| snapshot.provider(relation.id).map_err(|e| DataFusionError::External(Box::new(e))))?)
}
