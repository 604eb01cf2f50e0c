//! Which state of a plan grows for ever: state that only keys or rows bound, below which a relation stands that never ends. Tables never count, for their
//! rows are the user's to delete; a view that only ever appends to what comes from a source counts as the source does.
//!
//! ```text
//!   source ─ Filter ─ Aggregate by (card)  ─ …      grows: a group per card that was ever seen
//!   source ─ Aggregate by (window, card)   ─ …      does not: closed windows are dropped
//!   table  ─ Aggregate by (card)           ─ …      does not: as many groups as the table has cards
//! ```

use super::ViewPlan;
use crate::dataflow::operator::{Bound, Distribution, FragmentNode, Input};
use crate::types::ids::ObjectId;
use arrow::datatypes::DataType;

/// One operator whose state grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Growing {
    /// As one writes it: `JOIN ON a = b`, `GROUP BY card`.
    pub operator: String,
    pub how: &'static str,
    /// What to write instead.
    pub hint: &'static str,
}

/// The operators of a plan whose state grows without bound, in the order of the graph. `endless`: relations whose rows never end.
pub fn growing(plan: &ViewPlan, endless: &dyn Fn(ObjectId) -> bool) -> Vec<Growing> {
    let nodes = &plan.fragment.nodes;
    let mut flows: Vec<bool> = Vec::with_capacity(nodes.len());
    let mut found: Vec<Growing> = Vec::new();
    for node in nodes {
        let flows_in = |input: &Input| match input {
            Input::Node(n) => flows[n.0 as usize],
            Input::Relation(r) => endless(*r),
            Input::Port(_) => false,
        };
        let flow = node.inputs.iter().any(flows_in);
        let few = has_few_keys(node, nodes);
        // A temporal join keeps rows of its right side alone.
        let kept = if node.spec.name() == "TemporalJoin" { node.inputs.get(1).is_some_and(&flows_in) } else { flow };
        let is_endless = |bound: Bound| match bound {
            Bound::Keys(_) => !few,
            Bound::Rows(_) | Bound::Nothing => true,
            Bound::Watermark | Bound::Constant(_) | Bound::View => false,
        };
        let tables = node.spec.state_tables();
        let grows = match node.spec.name() {
            // Each side's rows are in a table of their own.
            "AsofJoin" => node.inputs.iter().zip(&tables).any(|(input, table)| flows_in(input) && is_endless(table.bounded_by)),
            _ => kept && tables.iter().any(|t| is_endless(t.bounded_by)),
        };
        if grows {
            let growing = worded(node);
            if !found.contains(&growing) {
                found.push(growing);
            }
        }
        // What takes its rows back when their time has passed gives out as many as are recent.
        // Windows of processing time are none of these: closed ones keep their rows.
        let recent = node.spec.has_timer() && node.spec.watermarks().is_empty() && !node.spec.append_only(&vec![true; node.inputs.len()]);
        flows.push(flow && !recent && !(few && only_keys(node)));
    }
    found
}

/// Whether what it gives out has no more rows than it has keys.
fn only_keys(node: &FragmentNode) -> bool {
    let tables = node.spec.state_tables();
    !tables.is_empty() && tables.iter().all(|t| matches!(t.bounded_by, Bound::Keys(_) | Bound::Constant(_)))
}

/// One group, or groups by booleans alone.
fn has_few_keys(node: &FragmentNode, nodes: &[FragmentNode]) -> bool {
    node.inputs.iter().zip(node.spec.distribution()).all(|(input, distribution)| match (input, distribution) {
        (_, Distribution::Single) => true,
        (Input::Node(n), Distribution::Hash(columns)) => {
            let schema = nodes[n.0 as usize].spec.schema();
            columns.iter().all(|c| schema.field(*c).data_type() == &DataType::Boolean)
        }
        _ => false,
    })
}

const WINDOW: &str = "group by window_start and window_end of TUMBLE or HOP over a source with a watermark, or keep recent rows only with a temporal filter";

fn worded(node: &FragmentNode) -> Growing {
    let details = node.spec.details();
    match node.spec.name() {
        "Aggregate" => {
            let keys = between(&details, "group by (", ')');
            let operator = if keys.is_empty() { format!("aggregate{}", details.trim_start_matches("group by ()")) } else { format!("GROUP BY {keys}") };
            let how = if keys.is_empty() { "keeps every different value that ever comes" } else { "keeps a group for every key that ever comes" };
            Growing { operator, how, hint: WINDOW }
        }
        "Join" | "IntervalJoin" => Growing {
            operator: format!("JOIN ON {}", details.split_once(" on ").map_or(details.as_str(), |(_, on)| on)),
            how: "keeps every row of its sources",
            hint: "join on equal windows of TUMBLE or HOP, bound the times of both sides by an interval, or keep recent rows only with a temporal filter",
        },
        "AsofJoin" => {
            let on = details.split_once(" on ").map_or(details.as_str(), |(_, on)| on).split(';').next().unwrap_or_default();
            let forgets = node.spec.state_tables().iter().all(|t| t.bounded_by != Bound::Nothing);
            let (how, hint) = match forgets {
                true => (
                    "keeps the newest row of every key that ever comes",
                    "keys that are few, such as currencies, need nothing; else join what keeps recent rows only",
                ),
                false => (
                    "keeps every row of its sources",
                    "join sources and append-only tables whose times have watermarks by >= or >: then recent rows and the newest of each key are kept",
                ),
            };
            Growing { operator: format!("ASOF JOIN ON {on}"), how, hint }
        }
        "Distinct" => Growing { operator: "DISTINCT".to_string(), how: "keeps every different row that ever comes", hint: WINDOW },
        "TopK" => {
            let keys = between(&details, "partition by (", ')');
            let operator = if keys.is_empty() { "ORDER BY … LIMIT".to_string() } else { format!("row_number() PARTITION BY {keys}") };
            Growing {
                operator,
                how: "keeps rows of every partition that ever comes",
                hint: "partition by window_start and window_end of TUMBLE or HOP as well",
            }
        }
        "Recursion" => Growing {
            operator: "WITH RECURSIVE".to_string(),
            how: "keeps every different row that is ever derived, and the rows it is derived from",
            hint: "let it read tables, whose rows can be deleted, or views that keep recent rows only",
        },
        "Over" => {
            let keys = between(&details, "partition by (", ')');
            let operator = if keys.is_empty() { "OVER without PARTITION BY".to_string() } else { format!("OVER (PARTITION BY {keys})") };
            Growing { operator, how: "keeps every row that ever comes", hint: "partition by window_start and window_end of TUMBLE or HOP as well" }
        }
        name => Growing { operator: format!("{name} {details}").trim().to_string(), how: "keeps what ever comes", hint: WINDOW },
    }
}

/// What stands behind `from` up to the last `to` before a colon or the end: names may hold parentheses.
fn between<'a>(text: &'a str, from: &str, to: char) -> &'a str {
    let Some((_, rest)) = text.split_once(from) else { return "" };
    let mut depth = 0;
    for (at, c) in rest.char_indices() {
        match c {
            '(' => depth += 1,
            c if c == to && depth == 0 => return &rest[..at],
            ')' => depth -= 1,
            _ => {}
        }
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::oracle::Judge;
    use crate::plan::{Request, incremental};
    use crate::types::ids::TableId;

    /// Relation 3 of the oracle's world, `e`, is the only one that never ends.
    fn operators(sql: &str) -> Vec<String> {
        let query = Judge::new().bind(sql).unwrap();
        let mut next = 0;
        let mut allocate = || {
            next += 1;
            TableId(next)
        };
        let plan = incremental(Request { query: &query, emit_on_window_close: false, allocate: &mut allocate }).unwrap();
        growing(&plan, &|r| r == ObjectId(3)).into_iter().map(|g| g.operator).collect()
    }

    #[test]
    fn keys_and_rows_of_a_source_grow_those_of_tables_and_windows_do_not() {
        let cases: &[(&str, &[&str])] = &[
            ("SELECT auction, count(*) AS n FROM e GROUP BY auction", &["GROUP BY auction"]),
            ("SELECT count(*) AS n, max(price) AS p FROM e", &[]),
            ("SELECT count(DISTINCT auction) AS n FROM e", &["aggregate: count(DISTINCT auction)"]),
            ("SELECT price > 10 AS dear, count(*) AS n FROM e GROUP BY price > 10", &[]),
            ("SELECT DISTINCT auction FROM e", &["DISTINCT"]),
            ("SELECT e.auction FROM e JOIN e AS f ON e.auction = f.price", &["JOIN ON auction = price"]),
            ("SELECT e.auction FROM e JOIN p ON e.auction = p.seller AND p.ts BETWEEN e.ts AND e.ts + INTERVAL '1 hour'", &[]),
            ("SELECT e.auction FROM e JOIN p ON e.auction = p.seller AND tw_asof(e.ts >= p.ts)", &[]),
            ("SELECT p.name FROM p JOIN e ON e.auction = p.seller AND tw_asof(p.ts >= e.ts)", &["ASOF JOIN ON seller = auction AND nearest ts >= ts"]),
            ("SELECT e.auction FROM e JOIN p ON e.auction = p.seller AND tw_asof(e.ts <= p.ts)", &["ASOF JOIN ON auction = seller AND nearest ts <= ts"]),
            ("SELECT e.auction FROM e JOIN b ON tw_asof(e.price >= b.w)", &["ASOF JOIN ON nearest price >= w"]),
            ("SELECT a.id FROM a JOIN b ON a.g = b.k AND tw_asof(a.v >= b.w)", &[]),
            ("SELECT e.auction FROM e JOIN a ON e.auction = a.id", &["JOIN ON auction = id"]),
            ("SELECT auction, tw_window_start(ts, INTERVAL '10 seconds') AS ws, count(*) AS n FROM e GROUP BY 1, 2", &[]),
            ("SELECT auction FROM e WHERE price > 10", &[]),
            ("SELECT g, count(*) AS n FROM a GROUP BY g", &[]),
            ("SELECT DISTINCT a.g FROM a JOIN a AS c ON a.id = c.v", &[]),
            ("SELECT auction FROM e ORDER BY price LIMIT 3", &[]),
            ("WITH RECURSIVE t AS (SELECT auction AS n FROM e UNION SELECT e.price FROM t JOIN e ON e.auction = t.n) SELECT n FROM t", &["WITH RECURSIVE"]),
            ("WITH RECURSIVE t AS (SELECT k FROM b UNION SELECT b.w FROM t JOIN b ON b.k = t.k) SELECT k FROM t", &[]),
            ("SELECT lag(price) OVER (PARTITION BY auction ORDER BY ts) AS p FROM e", &["OVER (PARTITION BY auction)"]),
            ("SELECT count(*) OVER (PARTITION BY tw_window_end(ts, INTERVAL '10 seconds')) AS n FROM e", &[]),
        ];
        for (sql, expected) in cases {
            assert_eq!(operators(sql), *expected, "{sql}");
        }
    }
}
