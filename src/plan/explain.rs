//! Plans as text. [`graph`] is stable: the catalog keeps it to tell whether a later plan is the one that built the state.
//!
//! ```text
//!   0 Aggregate by (k): count(*) <- relation 7 [by (0)]   t3: groups by (k), bounded by number of groups
//! ```

use super::{ViewKey, ViewPlan};
use crate::dataflow::operator::{Distribution, Fragment, FragmentNode, Input};
use crate::types::ids::ObjectId;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The graph with state tables, one node a line; what runs inside a node stands below it, numbered within it.
pub(super) fn graph(plan: &ViewPlan) -> String {
    let mut text = String::new();
    write_nodes(&plan.fragment, "", &mut text);
    text
}

fn write_nodes(fragment: &Fragment, owner: &str, text: &mut String) {
    for (i, node) in fragment.nodes.iter().enumerate() {
        // Inside of a node nothing is spread: all of it runs where the node does.
        let spread = if owner.is_empty() { node.spec.distribution() } else { vec![Distribution::Any; node.inputs.len()] };
        let ports = node.inputs.iter().zip(spread).map(|(input, spread)| format!("{}{}", source(input, owner), spread_of(&spread)));
        let ports = ports.collect::<Vec<_>>().join(", ");
        let arrow = if ports.is_empty() { "" } else { " <- " };
        let _ = writeln!(text, "{owner}{i} {}{arrow}{ports}{}", titled(node), state(node));
        if let Some(nested) = node.spec.nested() {
            write_nodes(nested, &format!("{owner}{i}."), text);
        }
    }
}

/// The incremental plan as a tree from the result down. A node that is read twice is shown once, then by its number.
pub(super) fn tree(plan: &ViewPlan, names: &BTreeMap<ObjectId, String>) -> String {
    let mut text = String::new();
    let last = plan.fragment.nodes.len().saturating_sub(1);
    let mut shown = vec![false; plan.fragment.nodes.len()];
    Tree { plan, names, shown: &mut shown, text: &mut text }.write(last, 0);
    let _ = match &plan.key {
        ViewKey::Unique(columns) => {
            let names = columns.iter().map(|c| plan.schema.field(*c).name().as_str()).collect::<Vec<_>>();
            writeln!(text, "key: {}", names.join(", "))
        }
        ViewKey::Row | ViewKey::Index(_) => writeln!(text, "key: the whole row"),
        ViewKey::Append => writeln!(text, "append-only"),
        ViewKey::Nothing => writeln!(text, "nothing is kept"),
    };
    text
}

struct Tree<'a> {
    plan: &'a ViewPlan,
    names: &'a BTreeMap<ObjectId, String>,
    shown: &'a mut [bool],
    text: &'a mut String,
}

impl Tree<'_> {
    fn write(&mut self, at: usize, depth: usize) {
        let node = &self.plan.fragment.nodes[at];
        let indent = "  ".repeat(depth);
        if std::mem::replace(&mut self.shown[at], true) {
            let _ = writeln!(self.text, "{indent}{} (as above, node {at})", node.spec.name());
            return;
        }
        let _ = writeln!(self.text, "{indent}{}", titled(node));
        for input in &node.inputs {
            match input {
                Input::Node(n) => self.write(n.0 as usize, depth + 1),
                Input::Port(_) => {}
                Input::Relation(r) => {
                    let name = self.names.get(r).map_or_else(|| format!("relation {r}"), String::clone);
                    let _ = writeln!(self.text, "{indent}  {name}");
                }
            }
        }
    }
}

fn titled(node: &FragmentNode) -> String {
    let details = node.spec.details();
    if details.is_empty() { node.spec.name().to_string() } else { format!("{} {details}", node.spec.name()) }
}

fn source(input: &Input, owner: &str) -> String {
    match input {
        Input::Node(n) => format!("{owner}{}", n.0),
        Input::Relation(r) => format!("relation {r}"),
        Input::Port(p) => format!("port {p}"),
    }
}

fn spread_of(distribution: &Distribution) -> String {
    match distribution {
        Distribution::Any => String::new(),
        Distribution::Hash(columns) => format!(" by {columns:?}"),
        Distribution::Single => " on one worker".to_string(),
    }
}

/// The node's own tables: those of nested nodes stand with these.
fn state(node: &FragmentNode) -> String {
    let nested = node.spec.nested().iter().flat_map(|f| &f.nodes).flat_map(|n| n.spec.state_tables()).collect::<Vec<_>>();
    node.spec.state_tables().iter().filter(|t| !nested.contains(t)).map(|t| format!("; {}: {}, bounded by {}", t.id, t.what, t.bounded_by)).collect()
}
