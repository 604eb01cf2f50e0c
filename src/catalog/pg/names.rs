//! From an OID to the text that regclass, regtype and their like print: quoted where it has to be, with its schema where the name
//! alone would find something else or nothing.

use super::classes::{self, Class};
use super::facts::Facts;
use super::functions;
use super::namespaces;
use super::oids;
use super::quoting::{qualified, quoted};
use super::row_types;
use super::statics::records;
use super::types;

/// The types that are names of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reg {
    Class,
    Type,
    /// regproc: a function by its name.
    Proc,
    /// regprocedure: a function by its name and what it takes.
    Procedure,
    /// regoperator.
    Operator,
    Namespace,
    Role,
}

/// Schemas that a name without one is looked for in, in order, as OIDs.
#[derive(Clone, Debug)]
pub struct Path(Vec<u32>);

impl Path {
    /// `search_path`: names; those of no schema (`$user`) count for nothing. pg_catalog comes first if it is not named.
    pub fn new(facts: &Facts, search_path: &[String]) -> Path {
        let mut found: Vec<u32> = search_path.iter().filter_map(|name| namespaces::oid_of(facts, name)).collect();
        if !found.contains(&oids::PG_CATALOG) {
            found.insert(0, oids::PG_CATALOG);
        }
        Path(found)
    }

    /// The one that a session begins with.
    pub fn usual() -> Path {
        Path(vec![oids::PG_CATALOG, oids::PUBLIC])
    }

    pub fn contains(&self, namespace: u32) -> bool {
        self.0.contains(&namespace)
    }

    /// The first answer of a schema in the path.
    pub fn find<T>(&self, in_schema: impl FnMut(u32) -> Option<T>) -> Option<T> {
        self.0.iter().copied().find_map(in_schema)
    }
}

/// The name of what has that OID, as Postgres prints it; `-` for 0. `None`: nothing has it, Postgres prints the number.
pub fn name_of(facts: &Facts, kind: Reg, oid: u32, search_path: &[String]) -> Option<String> {
    if oid == 0 {
        return Some("-".into());
    }
    let path = Path::new(facts, search_path);
    match kind {
        Reg::Class => class_name(facts, oid, &path),
        Reg::Type => type_exists(facts, oid).then(|| type_name(facts, oid, None, &path)),
        Reg::Proc => functions::by_oid(oid).map(|f| {
            let is_only = functions::named(f.name).count() == 1;
            let is_found = is_only && path.contains(f.namespace);
            if is_found { quoted(f.name).into_owned() } else { in_schema(facts, f.namespace, f.name) }
        }),
        Reg::Procedure => functions::by_oid(oid).map(|f| f.signature(facts, &path)),
        Reg::Operator => functions::operator_by_oid(oid).map(|o| o.signature(facts, &path)),
        Reg::Namespace => namespaces::name_of(facts, oid).map(|name| quoted(name).into_owned()),
        Reg::Role => facts.catalog.roles().get(oid).map(|role| quoted(&role.name).into_owned()),
    }
}

/// pg_table_is_visible() and its like: a name without a schema finds it. `class`: the relation that lists its kind, `pg_class`, `pg_type`, ….
/// `None`: nothing there has that OID.
pub fn is_visible(facts: &Facts, class: &str, oid: u32, search_path: &[String]) -> Option<bool> {
    let path = Path::new(facts, search_path);
    match class {
        "pg_class" => classes::by_oid(facts, oid).map(|c| class_is_visible(facts, &c, &path)),
        "pg_type" => match (types::by_oid(oid), classes::by_type(facts, oid)) {
            (Some(t), _) => Some(type_is_visible(facts, oid, t.name, &path)),
            (None, Some(c)) => Some(type_is_visible(facts, oid, &row_type_name(facts, &c, oid), &path)),
            (None, None) => None,
        },
        "pg_proc" => functions::by_oid(oid).map(|f| path.contains(f.namespace)),
        // Everything else that there is stands in pg_catalog, which is always searched.
        _ => records(class).any(|r| r.number::<u32>("oid") == oid).then_some(true),
    }
}

/// The name of a role as aclitem prints it: quoted where it has to be; the number, if there is no such role.
pub fn role_name(facts: &Facts, oid: u32) -> String {
    facts.catalog.roles().get(oid).map_or_else(|| oid.to_string(), |role| quoted(&role.name).into_owned())
}

/// The name of a relation, with its schema if that is needed.
pub fn class_name(facts: &Facts, oid: u32, path: &Path) -> Option<String> {
    let class = classes::by_oid(facts, oid)?;
    let is_visible = class_is_visible(facts, &class, path);
    Some(if is_visible { quoted(&class.name).into_owned() } else { in_schema(facts, class.namespace, &class.name) })
}

fn class_is_visible(facts: &Facts, class: &Class<'_>, path: &Path) -> bool {
    path.find(|namespace| classes::find(facts, namespace, &class.name)).is_some_and(|found| found.oid == class.oid)
}

fn type_is_visible(facts: &Facts, oid: u32, name: &str, path: &Path) -> bool {
    path.find(|namespace| type_in(facts, namespace, name)) == Some(oid)
}

fn row_type_name(facts: &Facts, class: &Class<'_>, type_oid: u32) -> String {
    if class.row_type == type_oid { class.name.to_string() } else { row_types::array_name(facts, class) }
}

/// The OID of the type of that name in one schema.
pub fn type_in(facts: &Facts, namespace: u32, name: &str) -> Option<u32> {
    if let Some(t) = types::find(namespace, name) {
        return Some(t.oid);
    }
    let row = classes::find(facts, namespace, name).map(|class| class.row_type).filter(|oid| *oid != 0);
    row.or_else(|| {
        let class = classes::find(facts, namespace, name.strip_prefix('_')?)?;
        (class.row_type != 0 && row_types::array_name(facts, &class) == name).then_some(class.row_array)
    })
}

fn type_exists(facts: &Facts, oid: u32) -> bool {
    types::by_oid(oid).is_some() || classes::by_type(facts, oid).is_some()
}

/// `schema.name` of a schema's OID.
pub fn in_schema(facts: &Facts, namespace: u32, name: &str) -> String {
    namespaces::name_of(facts, namespace).map_or_else(|| quoted(name).into_owned(), |schema| qualified(schema, name))
}

/// format_type(): the SQL name of a type; `-` for 0, `???` for an OID that no type has. `modifier`: `None` is NULL.
pub fn format_type(facts: &Facts, oid: u32, modifier: Option<i32>) -> String {
    type_name(facts, oid, modifier, &Path::usual())
}

/// The same, where other schemas are searched.
pub fn type_name(facts: &Facts, oid: u32, modifier: Option<i32>, path: &Path) -> String {
    if oid == 0 {
        return "-".into();
    }
    let Some(t) = types::by_oid(oid) else { return row_name(facts, oid, path).unwrap_or_else(|| "???".into()) };
    if t.is_array() {
        return format!("{}[]", type_name(facts, t.element, modifier, path));
    }
    let more = types::modifier_text(oid, modifier.unwrap_or(-1));
    match (sql_name(oid), oid) {
        (Some((before, behind)), _) => format!("{before}{more}{behind}"),
        // Without a length, and with one; `character` alone would mean one character.
        (None, oids::BPCHAR) if modifier.is_none() || !more.is_empty() => format!("character{more}"),
        _ if type_is_visible(facts, oid, t.name, path) => format!("{}{more}", quoted(t.name)),
        _ => in_schema(facts, t.namespace, t.name),
    }
}

/// The name in standard SQL of types that Postgres calls otherwise: what stands before the modifier, and behind it.
fn sql_name(oid: u32) -> Option<(&'static str, &'static str)> {
    Some(match oid {
        oids::BOOL => ("boolean", ""),
        oids::INT2 => ("smallint", ""),
        oids::INT4 => ("integer", ""),
        oids::INT8 => ("bigint", ""),
        oids::FLOAT4 => ("real", ""),
        oids::FLOAT8 => ("double precision", ""),
        oids::NUMERIC => ("numeric", ""),
        oids::VARCHAR => ("character varying", ""),
        oids::TIME => ("time", " without time zone"),
        oids::TIMESTAMP => ("timestamp", " without time zone"),
        oids::TIMESTAMPTZ => ("timestamp", " with time zone"),
        oids::INTERVAL => ("interval", ""),
        _ => return None,
    })
}

fn row_name(facts: &Facts, type_oid: u32, path: &Path) -> Option<String> {
    let class = classes::by_type(facts, type_oid)?;
    let is_visible = type_is_visible(facts, class.row_type, &class.name, path);
    let name = if is_visible { quoted(&class.name).into_owned() } else { in_schema(facts, class.namespace, &class.name) };
    Some(if class.row_type == type_oid { name } else { format!("{name}[]") })
}

/// pg_get_userbyid().
pub fn user_name(facts: &Facts, oid: u32) -> String {
    facts.catalog.roles().name_of(oid)
}
