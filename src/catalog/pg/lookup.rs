//! From a text to the OID that regclass, regtype and their like read in it.

use super::classes;
use super::facts::Facts;
use super::functions;
use super::names::{Path, Reg};
use super::namespaces;
use super::quoting::split;
use super::type_names;
use crate::catalog::catalog::DATABASE;
use crate::error::{Error, Kind, Result};

/// The OID of what a text names. Digits are an OID themselves, whether anything has it or not; `-` is 0.
/// Errors are worded as Postgres words them: 42P01 (relation), 42704 (type, role), 42883 (function, operator), 3F000 (schema).
pub fn oid_of(facts: &Facts, kind: Reg, text: &str, search_path: &[String]) -> Result<u32> {
    if text == "-" {
        return Ok(0);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map_err(|_| Error::new(Kind::NumericOutOfRange, format!("value \"{text}\" is out of range for type oid")));
    }
    let path = Path::new(facts, search_path);
    match kind {
        Reg::Class => class(facts, text, &path),
        Reg::Type => type_names::parse(text)?.resolve(facts, &path),
        Reg::Proc => function(facts, text, &path),
        Reg::Procedure => procedure(facts, text, &path),
        Reg::Operator => operator(facts, text, &path),
        Reg::Namespace => {
            let name = single(text)?;
            namespaces::oid_of(facts, &name).ok_or_else(|| no_schema(&name))
        }
        Reg::Role => {
            let name = single(text)?;
            facts.catalog.roles().find(&name).map(|role| role.oid)
        }
    }
}

fn single(text: &str) -> Result<String> {
    match split(text)?.as_mut_slice() {
        [name] => Ok(std::mem::take(name)),
        _ => Err(Error::new(Kind::Syntax, "invalid name syntax")),
    }
}

fn no_schema(name: &str) -> Error {
    Error::new(Kind::InvalidSchemaName, format!("schema \"{name}\" does not exist"))
}

fn class(facts: &Facts, text: &str, path: &Path) -> Result<u32> {
    let names = split(text)?;
    if names.len() > 3 {
        return Err(Error::new(Kind::Syntax, format!("improper relation name (too many dotted names): {}", names.join("."))));
    }
    let found = in_schemas(facts, &names, path, |namespace, name| classes::find(facts, namespace, name).map(|class| class.oid))?;
    found.ok_or_else(|| Error::new(Kind::UndefinedTable, format!("relation \"{}\" does not exist", names.join("."))))
}

/// What a name of up to three parts finds: in the schema that it names, or in the first of the path that has it. Errors: there is no such schema
/// (3F000), it is of another database (0A000), it has too many parts (42601).
pub fn in_schemas<T>(facts: &Facts, names: &[String], path: &Path, find: impl Fn(u32, &str) -> Option<T>) -> Result<Option<T>> {
    let (schema, name) = match names {
        [name] => return Ok(path.find(|namespace| find(namespace, name))),
        [schema, name] => (schema, name),
        [database, schema, name] if database == DATABASE => (schema, name),
        [_, _, _] => return Err(Error::not_supported(format!("cross-database references are not implemented: \"{}\"", names.join(".")))),
        _ => return Err(Error::new(Kind::Syntax, format!("improper qualified name (too many dotted names): {}", names.join(".")))),
    };
    let namespace = namespaces::oid_of(facts, schema).ok_or_else(|| no_schema(schema))?;
    Ok(find(namespace, name))
}

fn no_function(text: &str) -> Error {
    Error::new(Kind::UndefinedFunction, format!("function \"{text}\" does not exist"))
}

fn function(facts: &Facts, text: &str, path: &Path) -> Result<u32> {
    let names = split(text)?;
    let named = |namespace: u32, name: &str| {
        let found: Vec<u32> = functions::named(name).filter(|f| f.namespace == namespace).map(|f| f.oid).collect();
        (!found.is_empty()).then_some(found)
    };
    match in_schemas(facts, &names, path, named)?.unwrap_or_default().as_slice() {
        [] => Err(no_function(&names.join("."))),
        [oid] => Ok(*oid),
        _ => Err(Error::new(Kind::UndefinedFunction, format!("more than one function named \"{}\"", names.join(".")))),
    }
}

/// `name(type, …)`: the name, and OIDs of the types.
fn with_arguments(facts: &Facts, text: &str, path: &Path) -> Result<(String, Vec<u32>)> {
    let malformed = |what: &str| Error::new(Kind::InvalidText, what);
    let (name, rest) = text.split_once('(').ok_or_else(|| malformed("expected a left parenthesis"))?;
    let inside = rest.trim_end().strip_suffix(')').ok_or_else(|| malformed("expected a right parenthesis"))?;
    let mut arguments = Vec::new();
    for argument in inside.split(',').map(str::trim).filter(|_| !inside.trim().is_empty()) {
        arguments.push(if argument.eq_ignore_ascii_case("none") { 0 } else { type_names::parse(argument)?.resolve(facts, path)? });
    }
    Ok((name.trim().to_owned(), arguments))
}

fn procedure(facts: &Facts, text: &str, path: &Path) -> Result<u32> {
    let (name, arguments) = with_arguments(facts, text, path)?;
    let fits = |namespace: u32, name: &str| functions::named(name).find(|f| f.namespace == namespace && f.takes == arguments).map(|f| f.oid);
    in_schemas(facts, &split(&name)?, path, fits)?.ok_or_else(|| no_function(text))
}

fn operator(facts: &Facts, text: &str, path: &Path) -> Result<u32> {
    let (name, arguments) = with_arguments(facts, text, path)?;
    let name = name.rsplit('.').next().unwrap_or_default();
    let found = functions::operators_named(name).find(|o| arguments == [o.left, o.right]).map(|o| o.oid);
    found.ok_or_else(|| Error::new(Kind::UndefinedFunction, format!("operator does not exist: {text}")))
}
