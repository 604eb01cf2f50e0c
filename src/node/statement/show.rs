//! `SHOW …` and `DESCRIBE name`.

use super::drop::kind_of;
use super::select::{Results, text_column};
use super::target::find_relation;
use super::{Context, Outcome};
use crate::catalog::catalog::{DATABASE, PUBLIC, SYSTEM};
use crate::catalog::object::Body;
use crate::error::{Error, Kind, Result};
use crate::sql::ast::{Name, ObjectKind, Show};
use arrow::datatypes::FieldRef;

type Rows = Vec<Vec<Option<String>>>;

pub(super) fn execute(context: &Context, show: &Show) -> Result<Outcome> {
    let rows: Rows = match show {
        Show::Objects(kind) => {
            let catalog = context.engine.catalog();
            let mut names: Vec<String> = catalog.objects().filter(|o| kind_of(o) == Some(*kind)).map(|o| o.shown_name()).collect();
            names.sort();
            names.into_iter().map(|n| vec![Some(n)]).collect()
        }
        Show::Indexes(on) => indexes(context, on.as_ref())?,
        Show::Schemas => {
            let catalog = context.engine.catalog();
            let mut names: Vec<&str> = catalog.schemas().map(|s| s.name.as_str()).chain([PUBLIC, SYSTEM]).collect();
            names.sort_unstable();
            names.into_iter().map(|n| vec![Some(n.to_owned())]).collect()
        }
        Show::Databases => vec![vec![Some(DATABASE.to_owned())]],
        Show::Columns(name) => return columns(context, name),
        Show::Create(kind, name) => vec![create(context, *kind, name)?],
        Show::Setting(name) => vec![vec![Some(context.settings.show(name)?)]],
        Show::AllSettings => context.settings.all().into_iter().map(|(name, value)| vec![Some(name), Some(value), None]).collect(),
    };
    Ok(Outcome::rows(Results::texts(shape(show), &rows, "SHOW")?))
}

/// The columns of the answer.
pub(super) fn shape(show: &Show) -> Vec<FieldRef> {
    match show {
        Show::Objects(_) | Show::Schemas | Show::Databases => vec![text_column("Name")],
        Show::Indexes(_) => ["Name", "On", "Key", "Include"].map(text_column).to_vec(),
        Show::Columns(_) => column_shape(),
        Show::Create(..) => vec![text_column("Name"), text_column("Create Sql")],
        Show::Setting(name) => vec![text_column(name)],
        Show::AllSettings => vec![text_column("name"), text_column("setting"), text_column("description")],
    }
}

/// In order of name; the columns as they were written.
fn indexes(context: &Context, on: Option<&Name>) -> Result<Rows> {
    let on = on.map(|name| find_relation(context, name)).transpose()?;
    let catalog = context.engine.catalog();
    let mut rows = Rows::new();
    for (object, index) in catalog.objects().filter_map(|o| Some((o, o.index()?))) {
        let Some(base) = catalog.get(index.on).filter(|b| on.as_ref().is_none_or(|on| on.id == b.id)) else { continue };
        let name = |column: usize| base.columns()[column].name.as_str();
        let key = index.key.iter().map(|c| {
            let nulls = if c.nulls_first == c.descending { "" } else { [" NULLS LAST", " NULLS FIRST"][usize::from(c.nulls_first)] };
            format!("{}{}{nulls}", name(c.column), if c.descending { " DESC" } else { "" })
        });
        let include = match &index.include {
            Some(columns) => columns.iter().map(|c| name(*c)).collect::<Vec<_>>().join(", "),
            None => "all columns".to_owned(),
        };
        rows.push([object.shown_name(), base.shown_name(), key.collect::<Vec<_>>().join(", "), include].map(Some).to_vec());
    }
    rows.sort();
    Ok(rows)
}

fn create(context: &Context, kind: ObjectKind, name: &Name) -> Result<Vec<Option<String>>> {
    let object = find_relation(context, name)?;
    if kind_of(&object) != Some(kind) {
        return Err(Error::new(Kind::WrongObjectType, format!("\"{}\" is not a {}", name.name, kind.name())).at(name.position));
    }
    Ok(vec![Some(format!("{}.{}", object.schema, object.name)), Some(object.sql.clone())])
}

pub(super) fn column_shape() -> Vec<FieldRef> {
    ["Name", "Type", "Nullable", "Default", "Key"].map(text_column).to_vec()
}

/// The columns of a relation.
pub(super) fn columns(context: &Context, name: &Name) -> Result<Outcome> {
    let rows: Rows = if name.schema.as_deref() == Some(SYSTEM) {
        system_columns(context, name)?
    } else {
        let object = find_relation(context, name)?;
        let key: &[usize] = if let Body::Table(table) = &object.body { &table.primary_key } else { &[] };
        let row = |(i, c): (usize, &crate::catalog::object::Column)| {
            let default = c.default.clone().or_else(|| c.generated.as_ref().map(|g| format!("generated always as ({g})")));
            vec![
                Some(c.name.clone()),
                Some(c.sql_type.clone()),
                Some(if c.not_null { "no" } else { "yes" }.to_owned()),
                default,
                key.contains(&i).then(|| "primary key".to_owned()),
            ]
        };
        object.columns().iter().enumerate().map(row).collect()
    };
    Ok(Outcome::rows(Results::texts(column_shape(), &rows, "DESCRIBE")?))
}

fn system_columns(context: &Context, name: &Name) -> Result<Rows> {
    let relations = context.engine.system_relations();
    let Some((_, schema)) = relations.iter().find(|(n, _)| *n == name.name) else {
        return Err(Error::new(Kind::UndefinedTable, format!("relation \"{SYSTEM}.{}\" does not exist", name.name)).at(name.position));
    };
    Ok(schema.fields().iter().map(|f| vec![Some(f.name().clone()), Some(crate::sql::types::sql_type(f)), Some("yes".to_owned()), None, None]).collect())
}
