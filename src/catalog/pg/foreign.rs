//! pg_foreign_table and its like: a source is a foreign table, its connector a foreign server, all by one wrapper.

use super::classes::{self, Class};
use super::facts::Facts;
use super::oids;
use super::relations::Relation;
use super::sheet::Sheet;
use crate::catalog::object::{Body, Feed};
use crate::error::Result;
use crate::types::secret::{is_secret, referred};
use arrow::array::RecordBatch;
use std::collections::BTreeSet;

pub const WRAPPER_NAME: &str = "tidewater";

/// The feed of a source.
pub fn feed<'a>(class: &Class<'a>) -> Option<&'a Feed> {
    match &class.object()?.body {
        Body::Source(source) => Some(&source.feed),
        _ => None,
    }
}

/// The foreign server of a source.
pub fn server_of(class: &Class<'_>) -> Option<u32> {
    feed(class).map(|feed| oids::server(&feed.connector))
}

pub fn wrapper_rows(relation: &'static Relation, _facts: &Facts) -> Result<RecordBatch> {
    Sheet::new(relation, 1).all("oid", oids::WRAPPER).all("fdwname", WRAPPER_NAME).all("fdwowner", oids::OWNER).finish()
}

/// The connectors that sources have.
pub fn connectors(facts: &Facts) -> BTreeSet<&str> {
    classes::of_users(facts).iter().filter_map(|class| feed(class).map(|f| f.connector.as_str())).collect()
}

pub fn server_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let connectors = connectors(facts);
    Sheet::new(relation, connectors.len())
        .column("oid", connectors.iter().map(|c| oids::server(c)))
        .column("srvname", connectors.iter().copied())
        .all("srvowner", oids::OWNER)
        .all("srvfdw", oids::WRAPPER)
        .finish()
}

pub fn table_rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let sources: Vec<(u32, &Feed)> = classes::of_users(facts).iter().filter_map(|class| Some((class.oid, feed(class)?))).collect();
    Sheet::new(relation, sources.len())
        .column("ftrelid", sources.iter().map(|s| s.0))
        .column("ftserver", sources.iter().map(|s| oids::server(&s.1.connector)))
        .column("ftoptions", sources.iter().map(|s| options(s.1)))
        .finish()
}

/// `name=value` of each option that is no secret.
fn options(feed: &Feed) -> Vec<String> {
    let told = feed.options.iter().filter(|(name, value)| !is_secret(name) && referred(value).is_none());
    told.map(|(name, value)| format!("{name}={value}")).collect()
}
