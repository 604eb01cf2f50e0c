//! Functions and operators as pg_proc and pg_operator have them: their names, and what they take and give.

use super::facts::Facts;
use super::names::{self, Path};
use super::quoting::quoted;
use super::statics::{Record, records};
use std::collections::HashMap;
use std::sync::LazyLock;

/// One function.
pub struct Function {
    pub oid: u32,
    pub name: &'static str,
    pub namespace: u32,
    /// OIDs of the types of what goes in.
    pub takes: Vec<u32>,
    pub gives: u32,
    pub returns_set: bool,
    /// OID of the items' type if the last one may be repeated; 0: it may not.
    variadic: u32,
    /// Types, modes and names of all arguments, also of what comes out, if they are told.
    all_types: Option<Vec<u32>>,
    modes: Option<Vec<char>>,
    argument_names: Option<Vec<&'static str>>,
}

/// One operator.
pub struct Operator {
    pub oid: u32,
    pub name: &'static str,
    /// OIDs of types; 0: none on that side.
    pub left: u32,
    pub right: u32,
}

static FUNCTIONS: LazyLock<Vec<Function>> = LazyLock::new(|| records("pg_proc").map(|r| function(&r)).collect());
static OPERATORS: LazyLock<Vec<Operator>> = LazyLock::new(|| records("pg_operator").map(|r| operator(&r)).collect());
static BY_NAME: LazyLock<HashMap<&'static str, Vec<usize>>> = LazyLock::new(|| {
    let mut by_name: HashMap<&'static str, Vec<usize>> = HashMap::new();
    for (place, function) in FUNCTIONS.iter().enumerate() {
        by_name.entry(function.name).or_default().push(place);
    }
    by_name
});

fn function(record: &Record) -> Function {
    let argument_names = record.text("proargnames").trim_matches(['{', '}']);
    Function {
        oid: record.number("oid"),
        name: record.text("proname"),
        namespace: record.number("pronamespace"),
        takes: record.numbers("proargtypes").unwrap_or_default(),
        gives: record.number("prorettype"),
        returns_set: record.flag("proretset"),
        variadic: record.number("provariadic"),
        all_types: record.numbers("proallargtypes"),
        modes: record.letters("proargmodes"),
        argument_names: (!argument_names.is_empty()).then(|| argument_names.split(',').map(|n| n.trim_matches('"')).collect()),
    }
}

fn operator(record: &Record) -> Operator {
    Operator { oid: record.number("oid"), name: record.text("oprname"), left: record.number("oprleft"), right: record.number("oprright") }
}

pub fn by_oid(oid: u32) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by_key(&oid, |f| f.oid).ok().map(|place| &FUNCTIONS[place])
}

/// All functions of that name, in any schema.
pub fn named(name: &str) -> impl Iterator<Item = &'static Function> {
    BY_NAME.get(name).into_iter().flatten().map(|place| &FUNCTIONS[*place])
}

/// The OID of the first function of that name; 0: there is none.
pub fn only(name: &str) -> u32 {
    named(name).next().map_or(0, |f| f.oid)
}

pub fn operator_by_oid(oid: u32) -> Option<&'static Operator> {
    OPERATORS.binary_search_by_key(&oid, |o| o.oid).ok().map(|place| &OPERATORS[place])
}

pub fn operators_named(name: &str) -> impl Iterator<Item = &'static Operator> {
    OPERATORS.iter().filter(move |o| o.name == name)
}

/// pg_get_function_arguments(): `a integer, VARIADIC "any"`. `None`: there is no such function.
pub fn arguments(facts: &Facts, oid: u32) -> Option<String> {
    let function = by_oid(oid)?;
    let of_mode = |wanted: fn(char) -> bool| function.all_arguments().into_iter().filter(move |a| wanted(a.mode));
    let texts = of_mode(|mode| mode != 't').map(|argument| {
        let mode = match argument.mode {
            'o' => "OUT ",
            'b' => "INOUT ",
            'v' => "VARIADIC ",
            _ => "",
        };
        format!("{mode}{}", argument.text(facts))
    });
    Some(texts.collect::<Vec<_>>().join(", "))
}

/// pg_get_function_result(): `SETOF record`, `TABLE(a text)`. `None`: there is no such function.
pub fn result(facts: &Facts, oid: u32) -> Option<String> {
    let function = by_oid(oid)?;
    let table: Vec<String> = function.all_arguments().iter().filter(|a| a.mode == 't').map(|a| a.text(facts)).collect();
    if !table.is_empty() {
        return Some(format!("TABLE({})", table.join(", ")));
    }
    let set = if function.returns_set { "SETOF " } else { "" };
    Some(format!("{set}{}", names::format_type(facts, function.gives, None)))
}

/// One argument: `i` in, `o` out, `b` both, `v` the repeated one, `t` a column of the result.
struct Argument {
    mode: char,
    name: &'static str,
    type_oid: u32,
}

impl Argument {
    fn text(&self, facts: &Facts) -> String {
        let type_name = names::format_type(facts, self.type_oid, None);
        if self.name.is_empty() { type_name } else { format!("{} {type_name}", quoted(self.name)) }
    }
}

impl Function {
    fn all_arguments(&self) -> Vec<Argument> {
        let types = self.all_types.as_ref().unwrap_or(&self.takes);
        let last = types.len().saturating_sub(1);
        let mode = |place: usize| match &self.modes {
            Some(modes) => modes.get(place).copied().unwrap_or('i'),
            None if self.variadic != 0 && place == last => 'v',
            None => 'i',
        };
        let name = |place: usize| self.argument_names.as_ref().and_then(|names| names.get(place)).copied().unwrap_or_default();
        types.iter().enumerate().map(|(place, type_oid)| Argument { mode: mode(place), name: name(place), type_oid: *type_oid }).collect()
    }

    /// `abs(integer)`, as regprocedure prints it.
    pub fn signature(&self, facts: &Facts, path: &Path) -> String {
        let arguments: Vec<String> = self.takes.iter().map(|t| names::type_name(facts, *t, None, path)).collect();
        let is_found = path.contains(self.namespace);
        let name = if is_found { quoted(self.name).into_owned() } else { names::in_schema(facts, self.namespace, self.name) };
        format!("{name}({})", arguments.join(","))
    }
}

impl Operator {
    /// `+(integer,integer)`, as regoperator prints it.
    pub fn signature(&self, facts: &Facts, path: &Path) -> String {
        let operand = |oid: u32| if oid == 0 { "NONE".to_owned() } else { names::type_name(facts, oid, None, path) };
        format!("{}({},{})", self.name, operand(self.left), operand(self.right))
    }
}
