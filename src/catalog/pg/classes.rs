//! pg_class: everything that has columns or is kept in order: the relations of the catalogs themselves, the system's listings, the
//! users' objects, and the indexes of their primary keys, which are no objects of ours. Sinks are none of it.

use super::facts::{Facts, Listing};
use super::names;
use super::namespaces;
use super::oids::{self, Part};
use super::relations::{self, Relation};
use super::sheet::Sheet;
use crate::catalog::catalog::Catalog;
use crate::catalog::object::{Body, Object};
use crate::error::Result;
use crate::types::ids::ObjectId;
use arrow::array::RecordBatch;
use std::borrow::Cow;

/// One row of pg_class.
#[derive(Clone)]
pub struct Class<'a> {
    pub oid: u32,
    pub name: Cow<'a, str>,
    pub namespace: u32,
    /// `r` table, `v` view, `m` materialized view, `f` source (a foreign table), `i` index.
    pub kind: char,
    /// Type of its rows, and type of their arrays; 0: an index has none.
    pub row_type: u32,
    pub row_array: u32,
    pub of: Of<'a>,
}

/// What the row is made from.
#[derive(Clone, Copy)]
pub enum Of<'a> {
    Catalog(&'static Relation),
    Listing(&'a Listing),
    Object(&'a Object),
    /// The primary key of this table.
    Key(&'a Object),
}

/// Bytes of a name.
const NAME_MAX: usize = 63;
const KEY_SUFFIX: &str = "_pkey";

/// All of them, by OID.
pub fn all(facts: &Facts) -> Vec<Class<'_>> {
    let mut classes: Vec<Class> = relations::all().iter().map(of_relation).collect();
    classes.extend(facts.listings.iter().enumerate().map(|(place, listing)| of_listing(place, listing)));
    classes.extend(facts.catalog.objects().filter_map(|object| of_object(facts, object)));
    classes.extend(facts.catalog.objects().filter_map(|object| of_key(facts, object)));
    classes
}

/// Those of users.
pub fn of_users(facts: &Facts) -> Vec<Class<'_>> {
    let objects = facts.catalog.objects().filter_map(|object| of_object(facts, object));
    objects.chain(facts.catalog.objects().filter_map(|object| of_key(facts, object))).collect()
}

pub fn by_oid(facts: &Facts, oid: u32) -> Option<Class<'_>> {
    if let Some(relation) = relations::by_oid(oid) {
        return Some(of_relation(relation));
    }
    if let Some(place) = oids::listing_of(oid) {
        return facts.listings.get(place).map(|listing| of_listing(place, listing)).filter(|class| class.oid == oid);
    }
    if let Some(table) = oids::object_of(oid, Part::KeyIndex) {
        return of_key(facts, facts.catalog.get(table)?);
    }
    of_object(facts, facts.catalog.get(ObjectId(oid))?)
}

/// The class whose row type, or array of it, has that OID.
pub fn by_type(facts: &Facts, type_oid: u32) -> Option<Class<'_>> {
    let class = if let Some(place) = oids::listing_of(type_oid) {
        of_listing(place, facts.listings.get(place)?)
    } else if let Some(object) = oids::object_of(type_oid, Part::RowType).or_else(|| oids::object_of(type_oid, Part::RowArray)) {
        of_object(facts, facts.catalog.get(object)?)?
    } else {
        of_relation(relations::all().iter().find(|r| r.row_type == type_oid || r.row_array == type_oid)?)
    };
    (class.row_type == type_oid || class.row_array == type_oid).then_some(class)
}

/// `namespace`: OID of the schema.
pub fn find<'a>(facts: &'a Facts, namespace: u32, name: &str) -> Option<Class<'a>> {
    match namespace {
        oids::PG_CATALOG | oids::INFORMATION_SCHEMA => relations::find(namespace, name).map(of_relation),
        oids::SYSTEM => facts.listings.iter().enumerate().find(|(_, l)| l.name == name).map(|(place, l)| of_listing(place, l)),
        _ => {
            let schema = namespaces::name_of(facts, namespace)?;
            let object = facts.catalog.find(schema, name).and_then(|object| of_object(facts, object));
            object.or_else(|| key_named(facts, namespace, name))
        }
    }
}

fn key_named<'a>(facts: &'a Facts, namespace: u32, name: &str) -> Option<Class<'a>> {
    if !name.contains(KEY_SUFFIX) {
        return None;
    }
    facts.catalog.objects().filter_map(|object| of_key(facts, object)).find(|class| class.namespace == namespace && class.name == name)
}

fn of_relation(relation: &'static Relation) -> Class<'static> {
    Class {
        oid: relation.oid,
        name: Cow::Borrowed(relation.name),
        namespace: relation.namespace,
        kind: relation.kind,
        row_type: relation.row_type,
        row_array: relation.row_array,
        of: Of::Catalog(relation),
    }
}

fn of_listing(place: usize, listing: &Listing) -> Class<'_> {
    let (oid, row_type, row_array) = oids::listing(place);
    Class { oid, name: Cow::Borrowed(&listing.name), namespace: oids::SYSTEM, kind: 'v', row_type, row_array, of: Of::Listing(listing) }
}

fn of_object<'a>(facts: &'a Facts, object: &'a Object) -> Option<Class<'a>> {
    let kind = match &object.body {
        Body::Source(_) => 'f',
        Body::Table(_) => 'r',
        Body::View(_) => 'v',
        Body::MaterializedView(_) => 'm',
        Body::Index(_) => 'i',
        Body::Sink(_) | Body::Schema => return None,
    };
    let part = |part| if kind == 'i' { 0 } else { oids::of_part(object.id, part) };
    Some(Class {
        oid: object.id.0,
        name: Cow::Borrowed(&object.name),
        namespace: namespaces::oid_of(facts, &object.schema)?,
        kind,
        row_type: part(Part::RowType),
        row_array: part(Part::RowArray),
        of: Of::Object(object),
    })
}

fn of_key<'a>(facts: &'a Facts, table: &'a Object) -> Option<Class<'a>> {
    if table.primary_key().is_empty() {
        return None;
    }
    Some(Class {
        oid: oids::of_part(table.id, Part::KeyIndex),
        name: Cow::Owned(key_name(&facts.catalog, table)),
        namespace: namespaces::oid_of(facts, &table.schema)?,
        kind: 'i',
        row_type: 0,
        row_array: 0,
        of: Of::Key(table),
    })
}

/// As Postgres names a primary key: `t_pkey`, or `t_pkey1` if something has that name.
pub fn key_name(catalog: &Catalog, table: &Object) -> String {
    let end = table.name.floor_char_boundary(NAME_MAX - KEY_SUFFIX.len());
    let stem = format!("{}{KEY_SUFFIX}", &table.name[..end]);
    let numbered = (1..).map(|n| format!("{stem}{n}"));
    std::iter::once(stem.clone()).chain(numbered).find(|name| catalog.find(&table.schema, name).is_none()).unwrap_or(stem)
}

impl<'a> Class<'a> {
    /// The user's object, if it is one; an index of a primary key is none.
    pub fn object(&self) -> Option<&'a Object> {
        match self.of {
            Of::Object(object) => Some(object),
            _ => None,
        }
    }

    /// An index is its table's owner's.
    pub fn owner(&self) -> u32 {
        match self.of {
            Of::Object(object) | Of::Key(object) => object.access.owner,
            Of::Catalog(_) | Of::Listing(_) => oids::OWNER,
        }
    }

    /// The grants on it; `None`: those that there are from the beginning.
    fn grants(&self, facts: &Facts) -> Option<Vec<String>> {
        let object = self.object().filter(|o| o.index().is_none())?;
        object.access.texts(&|role| names::role_name(facts, role))
    }

    /// A table or index keeps rows of its own, and so does a materialized view.
    pub fn is_stored(&self) -> bool {
        matches!(self.kind, 'r' | 'm' | 'i')
    }

    fn access_method(&self) -> u32 {
        match self.kind {
            'r' | 'm' => oids::HEAP,
            'i' => oids::BTREE,
            _ => 0,
        }
    }

    fn has_index(&self, facts: &Facts) -> bool {
        let indexed = |object: &Object| !object.primary_key().is_empty() || facts.catalog.indexes_on(object.id).next().is_some();
        self.kind != 'i' && self.object().is_some_and(indexed)
    }

    fn columns(&self, facts: &Facts) -> i16 {
        let count = match self.of {
            Of::Catalog(relation) => relation.columns.len(),
            Of::Listing(listing) => listing.schema.fields().len(),
            Of::Object(object) if object.index().is_none() => object.columns().len(),
            _ => super::attributes::of(facts, self).len(),
        };
        i16::try_from(count).unwrap_or(i16::MAX)
    }

    /// `WITH` options, as `name=value`; `None`: none.
    fn options(&self) -> Option<Vec<String>> {
        match &self.object()?.body {
            Body::MaterializedView(view) if !view.options.is_empty() => Some(view.options.iter().map(|(name, value)| format!("{name}={value}")).collect()),
            _ => None,
        }
    }
}

pub fn rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let classes = all(facts);
    let is_users = |c: &Class| matches!(c.of, Of::Object(_) | Of::Key(_));
    Sheet::new(relation, classes.len())
        .column("oid", classes.iter().map(|c| c.oid))
        .column("relname", classes.iter().map(|c| c.name.as_ref()))
        .column("relnamespace", classes.iter().map(|c| c.namespace))
        .column("reltype", classes.iter().map(|c| c.row_type))
        .column("relowner", classes.iter().map(Class::owner))
        .column("relam", classes.iter().map(Class::access_method))
        .column("relfilenode", classes.iter().map(|c| if c.is_stored() && is_users(c) { c.oid } else { 0 }))
        .column("reltuples", classes.iter().map(|c| if c.kind == 'i' { 0.0 } else { -1.0 }))
        .column("relhasindex", classes.iter().map(|c| c.has_index(facts)))
        .all("relpersistence", 'p')
        .column("relkind", classes.iter().map(|c| c.kind))
        .column("relnatts", classes.iter().map(|c| c.columns(facts)))
        .column("relhasrules", classes.iter().map(|c| matches!(c.kind, 'v' | 'm')))
        .column("relispopulated", classes.iter().map(|c| c.kind != 'm' || !c.object().is_some_and(Object::is_building)))
        .column("relreplident", classes.iter().map(|c| if is_users(c) && matches!(c.kind, 'r' | 'm') { 'd' } else { 'n' }))
        .column("relacl", classes.iter().map(|c| c.grants(facts)))
        .column("reloptions", classes.iter().map(Class::options))
        .finish()
}
