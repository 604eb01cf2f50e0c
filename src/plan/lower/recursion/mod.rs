//! WITH RECURSIVE: a `Recursion` whose body is what the recursive term does to rows of the loop variable. What of the term does not read the variable
//! (other tables, subqueries over them) is lowered outside of the loop, and comes in through a port: it is kept once, on all workers.
//!
//! ```text
//!   WITH RECURSIVE t AS (SELECT a, b FROM edges  UNION  SELECT t.a, e.b FROM t JOIN edges e ON e.a = t.b)
//!                        +- outside, port 1 -+          +-- body: Join(port 0 = t with level, port 2) --+
//! ```

mod body;
mod mutual;

use crate::dataflow::operator::Input;
use crate::dataflow::ops::recursion::{Limit, Recursion, Variable};
use crate::error::{Error, Result};
use crate::plan::node::{Planner, Stream, nullable};
use datafusion::logical_expr::RecursiveQuery;
use std::sync::Arc;

impl Planner<'_> {
    pub(super) fn recursive_query(&mut self, node: &RecursiveQuery) -> Result<Stream> {
        if self.loops.is_empty()
            && let Some((_, known)) = self.recursions.iter().find(|(query, _)| query == node)
        {
            return Ok(known.clone());
        }
        let schema = nullable(node.static_term.schema().fields());
        let base = self.lower(&node.static_term)?;
        self.enter(vec![(node.name.clone(), Arc::clone(&schema))], false);
        let base = self.port(base)?;
        let derived = self.in_loop(&node.recursive_term)?;
        let (body, ports) = self.leave()?;
        let Input::Port(port) = base.input else { return Err(Error::internal("a loop's base is one of its ports")) };
        let variable = Variable {
            name: node.name.clone(),
            schema: Arc::clone(&schema),
            distinct: node.is_distinct,
            base: vec![port as usize - 1],
            derived: vec![derived.input],
            state: self.table(),
        };
        let spec = Recursion { variables: vec![variable], body, inputs: ports.len(), limit: Limit::default(), results: vec![0] };
        let key = node.is_distinct.then(|| (0..schema.fields().len()).collect());
        let what = format!("Recursion {}", self.recursions.len());
        let (input, append_only) = self.add(what, &ports.iter().collect::<Vec<_>>(), |_| Ok(Arc::new(spec)))?;
        let stream = Stream { input, schema, append_only, key, event_time: Vec::new() };
        if self.loops.is_empty() {
            self.recursions.push((node.clone(), stream.clone()));
        }
        Ok(stream)
    }
}
