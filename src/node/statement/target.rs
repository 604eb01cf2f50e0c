//! The table that a DML statement changes.

use super::Context;
use super::access::check_schema;
use crate::catalog::access::Privileges;
use crate::catalog::catalog::{Catalog, PUBLIC};
use crate::catalog::object::{Body, Column, Object, Table};
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{Name, Statement};
use crate::sql::types::folded;
use arrow::datatypes::SchemaRef;
use datafusion::sql::sqlparser::ast::{Ident, ObjectName, Spanned};
use std::sync::Arc;

/// A table of the catalog as it was when the statement began.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) object: Arc<Object>,
    pub(super) table: Arc<Table>,
}

impl Target {
    /// Error: no such relation (42P01), or not one that is written to (42809).
    pub(super) fn find(context: &Context, statement: &Statement, name: &ObjectName, verb: &str) -> Result<Target> {
        Target::named(context, &object_name(statement, name)?, verb)
    }

    /// The same of a name that is folded already.
    pub(super) fn named(context: &Context, name: &Name, verb: &str) -> Result<Target> {
        let object = find_relation(context, name)?;
        match &object.body {
            Body::Table(table) => {
                context.check_may(&object, privilege_of(verb)?)?;
                Ok(Target { table: Arc::new(table.clone()), object })
            }
            _ => {
                let what = object.kind_name();
                Err(Error::new(Kind::WrongObjectType, format!("cannot {verb} {what} \"{}\"", name.name))
                    .with_hint(format!("a {what} gets its rows from what it reads; write to a table"))
                    .at(name.position))
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.object.name
    }

    pub(super) fn columns(&self) -> &[Column] {
        &self.table.columns
    }

    pub(super) fn schema(&self) -> SchemaRef {
        self.object.arrow_schema()
    }

    /// The ordinal of a column that a statement names. Error: 42703.
    pub(super) fn column(&self, statement: &Statement, ident: &Ident) -> Result<usize> {
        let name = folded(ident);
        self.columns().iter().position(|c| c.name == name).ok_or_else(|| {
            let error = Error::new(Kind::UndefinedColumn, format!("column \"{name}\" of relation \"{}\" does not exist", self.name()));
            match statement.source.position(ident.span.start) {
                Some(position) => error.at(position),
                None => error,
            }
        })
    }
}

/// What a statement that changes rows needs.
fn privilege_of(verb: &str) -> Result<Privileges> {
    match verb {
        "insert into" | "copy to" => Ok(Privileges::INSERT),
        "update" => Ok(Privileges::UPDATE),
        "delete from" => Ok(Privileges::DELETE),
        _ => Err(Error::internal(format!("no privilege is known for \"{verb}\""))),
    }
}

/// `schema.name` or `name`, folded.
fn object_name(statement: &Statement, name: &ObjectName) -> Result<Name> {
    let parts: Vec<String> = name.0.iter().filter_map(|p| p.as_ident()).map(folded).collect();
    let position = statement.source.position(name.span().start).unwrap_or(1);
    match parts.as_slice() {
        [name] => Ok(Name { schema: None, name: name.clone(), position }),
        [schema, name] | [_, schema, name] => Ok(Name { schema: Some(schema.clone()), name: name.clone(), position }),
        _ => Err(Error::new(Kind::Syntax, "improper qualified name (too many dotted names)").at(position)),
    }
}

/// A relation of the catalog. Error: 42P01.
pub(super) fn find_relation(context: &Context, name: &Name) -> Result<Arc<Object>> {
    let catalog = context.engine.catalog();
    match &name.schema {
        Some(_) => find_in(&catalog, context.role(), name),
        None => {
            let found = context.find(name).ok_or_else(|| undefined(name))?;
            check_schema(&catalog, context.role(), &found.schema, Privileges::USAGE)?;
            Ok(found)
        }
    }
}

/// The same for a role; a name that has no schema is one of `public`. Error: 42P01, or 42501 for its schema.
pub(super) fn find_in(catalog: &Catalog, role: u32, name: &Name) -> Result<Arc<Object>> {
    let schema = name.schema.as_deref().unwrap_or(PUBLIC);
    if catalog.has_schema(schema) {
        check_schema(catalog, role, schema, Privileges::USAGE)?;
    }
    catalog.find(schema, &name.name).cloned().ok_or_else(|| undefined(name))
}

fn undefined(name: &Name) -> Error {
    let shown = name.schema.as_ref().map_or_else(|| name.name.clone(), |s| format!("{s}.{}", name.name));
    Error::new(Kind::UndefinedTable, format!("relation \"{shown}\" does not exist")).at(name.position)
}
