//! The catalog: an immutable snapshot of all objects. A statement binds against one snapshot, whatever DDL does
//! meanwhile; DDL makes a new snapshot from the old one and swaps it in. What is durable are the objects, one
//! record each ([`encode`], [`decode`]); who stores them is the engine's business.

use super::access::Access;
use super::object::{Body, Object};
use super::roles::Roles;
use crate::error::{Error, Kind, Result};
use crate::types::ids::ObjectId;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The schema of the user's objects.
pub const PUBLIC: &str = "public";
/// The schema of the system relations (`tidewater.sources`, …), and of views that subscriptions to queries make for themselves; nobody creates anything in it.
pub const SYSTEM: &str = "tidewater";
/// The one database.
pub const DATABASE: &str = "tidewater";

/// Version of the objects' durable form.
const FORMAT_VERSION: u32 = 1;

/// Objects by number and by name; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    by_id: BTreeMap<ObjectId, Arc<Object>>,
    by_name: BTreeMap<(String, String), ObjectId>,
    /// Those that users made, by name.
    schemas: BTreeMap<String, Arc<Object>>,
    roles: Arc<Roles>,
}

#[derive(Serialize, Deserialize)]
struct Record<O> {
    version: u32,
    object: O,
}

impl Catalog {
    /// A catalog of recovered objects. Error: two objects share a name, which DDL never lets happen.
    pub fn with_objects(objects: impl IntoIterator<Item = Object>) -> Result<Catalog> {
        objects.into_iter().try_fold(Catalog::default(), |catalog, object| catalog.with(object))
    }

    /// This catalog with one more object. Error: the name is taken (42P07).
    pub fn with(&self, object: Object) -> Result<Catalog> {
        self.check_free(&object.schema, &object.name)?;
        Ok(self.replacing(object))
    }

    pub fn roles(&self) -> &Roles {
        &self.roles
    }

    /// This catalog with other roles.
    pub fn with_roles(&self, roles: Roles) -> Catalog {
        Catalog { roles: Arc::new(roles), ..self.clone() }
    }

    /// This catalog with `object` in the place of the one that has its id.
    pub fn replacing(&self, object: Object) -> Catalog {
        self.replacing_all([object])
    }

    /// The same of several, which may have each other's names.
    pub fn replacing_all(&self, objects: impl IntoIterator<Item = Object>) -> Catalog {
        let mut next = self.clone();
        let objects: Vec<Object> = objects.into_iter().collect();
        for before in objects.iter().filter_map(|o| next.by_id.get(&o.id)) {
            next.by_name.remove(&(before.schema.clone(), before.name.clone()));
        }
        for object in objects {
            if matches!(object.body, Body::Schema) {
                next.schemas.insert(object.name.clone(), Arc::new(object));
                continue;
            }
            next.by_name.insert((object.schema.clone(), object.name.clone()), object.id);
            next.by_id.insert(object.id, Arc::new(object));
        }
        next
    }

    /// This catalog without `ids`; unknown ones are ignored.
    pub fn without(&self, ids: &[ObjectId]) -> Catalog {
        let mut next = self.clone();
        for id in ids {
            if let Some(object) = next.by_id.remove(id) {
                next.by_name.remove(&(object.schema.clone(), object.name.clone()));
            }
        }
        next.schemas.retain(|_, schema| !ids.contains(&schema.id));
        next
    }

    /// Error: the name is taken (42P07).
    pub fn check_free(&self, schema: &str, name: &str) -> Result<()> {
        match self.find(schema, name) {
            Some(_) => Err(Error::new(Kind::DuplicateTable, format!("relation \"{name}\" already exists"))),
            None => Ok(()),
        }
    }

    pub fn get(&self, id: ObjectId) -> Option<&Arc<Object>> {
        self.by_id.get(&id).or_else(|| self.schemas.values().find(|s| s.id == id))
    }

    /// Those of `ids` that there are.
    pub fn present(&self, ids: &[ObjectId]) -> Vec<ObjectId> {
        ids.iter().copied().filter(|id| self.get(*id).is_some()).collect()
    }

    pub fn find(&self, schema: &str, name: &str) -> Option<&Arc<Object>> {
        let id = self.by_name.get(&(schema.to_owned(), name.to_owned()))?;
        self.by_id.get(id)
    }

    /// The first object of this name in these schemas.
    pub fn find_in(&self, path: &[String], name: &str) -> Option<&Arc<Object>> {
        path.iter().find_map(|schema| self.find(schema, name))
    }

    /// A schema that a user made.
    pub fn schema(&self, name: &str) -> Option<&Arc<Object>> {
        self.schemas.get(name)
    }

    /// Who may do what with a schema.
    pub fn schema_access(&self, name: &str) -> Access {
        self.schema(name).map_or_else(|| self.roles.schema(name), |schema| schema.access.clone())
    }

    /// Schemas that users made, by name.
    pub fn schemas(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.schemas.values()
    }

    /// Whether objects of users can stand in a schema of this name.
    pub fn has_schema(&self, name: &str) -> bool {
        name == PUBLIC || self.schemas.contains_key(name)
    }

    /// In order of creation, so that each object stands behind what it reads.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.by_id.values().filter(|o| !o.pending.dropped)
    }

    /// All that has an id, schemas and what open transactions have dropped too.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.by_id.values().chain(self.schemas.values())
    }

    /// Objects that read `id` themselves.
    pub fn dependants(&self, id: ObjectId) -> impl Iterator<Item = &Arc<Object>> {
        self.by_id.values().filter(move |o| o.depends_on.contains(&id))
    }

    /// `ids` and all that reads them, directly or through others: readers before what they read.
    pub fn with_dependants(&self, ids: &[ObjectId]) -> Vec<ObjectId> {
        let mut all: BTreeSet<ObjectId> = ids.iter().copied().collect();
        // Objects come in order of creation and read only older ones: one pass finds the closure.
        for object in self.by_id.values() {
            if object.depends_on.iter().any(|d| all.contains(d)) {
                all.insert(object.id);
            }
        }
        all.into_iter().rev().collect()
    }

    /// The indexes on `id`, oldest first.
    pub fn indexes_on(&self, id: ObjectId) -> impl Iterator<Item = &Arc<Object>> {
        self.dependants(id).filter(|o| o.index().is_some())
    }

    /// For DROP without CASCADE. Error: something outside `ids` reads one of them (2BP01), with a line for each.
    pub fn check_droppable(&self, ids: &[ObjectId]) -> Result<()> {
        for &id in ids {
            let Some(target) = self.get(id) else { continue };
            let target = format!("{} {}", target.kind_name(), target.name);
            let lines: Vec<String> = self
                .with_dependants(&[id])
                .into_iter()
                .rev()
                .filter(|d| !ids.contains(d))
                .filter_map(|d| self.get(d))
                // An index goes with what it is on, without being asked about, and so does what a subscription has made.
                .filter(|o| o.index().is_none() && o.schema != SYSTEM && !o.pending.dropped)
                .map(|o| format!("{} {} depends on {}", o.kind_name(), o.name, self.named_dependency(o, id, &target)))
                .collect();
            if !lines.is_empty() {
                return Err(Error::new(Kind::DependentObjectsExist, format!("cannot drop {target} because other objects depend on it"))
                    .with_detail(lines.join("\n"))
                    .with_hint("Use DROP ... CASCADE to drop the dependent objects too."));
            }
        }
        Ok(())
    }

    /// What stands behind "depends on": the dropped object itself, or the one between.
    fn named_dependency(&self, object: &Object, dropped: ObjectId, target: &str) -> String {
        if object.depends_on.contains(&dropped) {
            return target.to_owned();
        }
        let closure = self.with_dependants(&[dropped]);
        let between = object.depends_on.iter().find(|d| closure.contains(d)).and_then(|d| self.get(*d));
        between.map_or_else(|| target.to_owned(), |o| format!("{} {}", o.kind_name(), o.name))
    }
}

/// The durable form of one object.
pub fn encode(object: &Object) -> Result<Vec<u8>> {
    serde_json::to_vec(&Record { version: FORMAT_VERSION, object })
        .map_err(|e| Error::internal(format!("object \"{}\" cannot be written", object.name)).caused_by(e))
}

/// The inverse of [`encode`]. Error: damaged, or written by a newer release.
pub fn decode(bytes: &[u8]) -> Result<Object> {
    let damaged = |e: serde_json::Error| Error::new(Kind::DataCorrupted, "a catalog record is damaged").with_detail(e.to_string());
    let head: Record<serde::de::IgnoredAny> = serde_json::from_slice(bytes).map_err(damaged)?;
    if head.version > FORMAT_VERSION {
        return Err(Error::new(Kind::ConfigFile, "the data directory was written by a newer release")
            .with_detail(format!("a catalog record has version {}, this release reads up to {FORMAT_VERSION}", head.version)));
    }
    serde_json::from_slice::<Record<Object>>(bytes).map(|record| record.object).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::object::View;

    fn view(id: u32, name: &str, depends_on: &[u32]) -> Object {
        Object {
            id: ObjectId(id),
            schema: PUBLIC.into(),
            name: name.into(),
            sql: format!("CREATE VIEW {name} AS SELECT 1"),
            depends_on: depends_on.iter().map(|d| ObjectId(*d)).collect(),
            body: Body::View(View { query: "SELECT 1".into(), columns: vec![] }),
            path: vec![PUBLIC.to_owned()],
            zone: None,
            uncommitted: false,
            pending: Default::default(),
            comments: Default::default(),
            access: Default::default(),
        }
    }

    #[test]
    fn names_are_unique_and_free_again_after_a_drop() {
        let catalog = Catalog::with_objects([view(1, "a", &[])]).unwrap();
        assert_eq!(catalog.with(view(2, "a", &[])).unwrap_err().sqlstate(), "42P07");
        assert!(catalog.without(&[ObjectId(1)]).with(view(2, "a", &[])).is_ok());
    }

    #[test]
    fn a_drop_names_everything_that_depends() {
        let catalog = Catalog::with_objects([view(1, "a", &[]), view(2, "b", &[1]), view(3, "c", &[2])]).unwrap();
        let error = catalog.check_droppable(&[ObjectId(1)]).unwrap_err();
        assert_eq!(error.sqlstate(), "2BP01");
        assert_eq!(error.detail(), Some("view b depends on view a\nview c depends on view b"));
        assert!(catalog.check_droppable(&[ObjectId(1), ObjectId(2), ObjectId(3)]).is_ok());
        assert_eq!(catalog.with_dependants(&[ObjectId(1)]), [ObjectId(3), ObjectId(2), ObjectId(1)]);
    }

    #[test]
    fn objects_survive_their_durable_form_and_newer_ones_are_refused() {
        let bytes = encode(&view(7, "v", &[1])).unwrap();
        let back = decode(&bytes).unwrap();
        assert_eq!((back.id, back.name.as_str(), back.depends_on.as_slice()), (ObjectId(7), "v", &[ObjectId(1)][..]));
        let newer = String::from_utf8(bytes).unwrap().replace("\"version\":1", "\"version\":99");
        assert_eq!(decode(newer.as_bytes()).unwrap_err().kind(), Kind::ConfigFile);
        assert_eq!(decode(b"{").unwrap_err().kind(), Kind::DataCorrupted);
    }
}
