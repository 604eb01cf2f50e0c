//! WITH MUTUALLY RECURSIVE: bindings that read each other in a circle run in one loop, circle after circle; a binding that is in none is an ordinary query, which
//! may do what a loop may not (aggregate, take away) to the bindings before it.
//!
//! ```text
//!   odd  reads even, edges     \  one loop with two variables          total  aggregates odd:  after the loop
//!   even reads odd, edges      /
//! ```

use crate::dataflow::operator::Input;
use crate::dataflow::ops::filter::Filter;
use crate::dataflow::ops::recursion::{IsVariable, Limit, Recursion, Variable};
use crate::error::{Error, Result};
use crate::plan::expr::column;
use crate::plan::node::{Planner, Stream, nullable};
use crate::plan::recursion::{MutualRecursion, reads};
use crate::types::expr::ExprRef;
use arrow::datatypes::SchemaRef;
use datafusion::logical_expr::{self as logical, LogicalPlan};
use std::sync::Arc;

impl Planner<'_> {
    pub(in crate::plan::lower) fn mutual_recursion(&mut self, node: &MutualRecursion) -> Result<Stream> {
        if !self.loops.is_empty() {
            return Err(Error::not_supported("WITH MUTUALLY RECURSIVE inside of a recursive query is not supported")
                .with_hint("name its result as a view, and read that"));
        }
        let before = self.finished.len();
        for circle in circles(node)? {
            let results = self.circle(node, &circle)?;
            self.finished.extend(circle.iter().map(|i| node.names[*i].clone()).zip(results));
        }
        let stream = self.lower(node.query())?;
        self.finished.truncate(before);
        Ok(stream)
    }

    /// The rows of bindings that read each other; or of one that does not even read itself.
    fn circle(&mut self, node: &MutualRecursion, circle: &[usize]) -> Result<Vec<Stream>> {
        let names = circle.iter().map(|i| node.names[*i].clone()).collect::<Vec<_>>();
        if let [one] = circle
            && !reads(&node.bodies()[*one], &|name| names.iter().any(|n| n == name))?
        {
            return Ok(vec![self.lower(&node.bodies()[*one])?]);
        }
        let schemas = circle.iter().map(|i| nullable(node.bodies()[*i].schema().fields())).collect::<Vec<_>>();
        self.enter(names.iter().cloned().zip(schemas.iter().cloned()).collect(), true);
        let mut variables = Vec::new();
        for ((i, name), schema) in circle.iter().zip(&names).zip(&schemas) {
            variables.push(self.binding(&node.bodies()[*i], name, schema)?);
        }
        let (body, ports) = self.leave()?;
        for variable in &mut variables {
            variable.state = self.table();
        }
        let distinct = variables.iter().map(|v| v.distinct).collect::<Vec<_>>();
        let results = (0..variables.len()).collect();
        let limit: Limit = node.limit();
        let spec = Recursion { variables, body, inputs: ports.len(), limit, results };
        let (schema, what) = (crate::dataflow::operator::Spec::schema(&spec), format!("Mutual recursion {names:?}"));
        let (input, append_only) = self.add(what, &ports.iter().collect::<Vec<_>>(), |_| Ok(Arc::new(spec)))?;
        let all = Stream { input, schema, append_only, key: None, event_time: Vec::new() };
        if let [schema] = &schemas[..] {
            let key = distinct[0].then(|| (0..schema.fields().len()).collect());
            return Ok(vec![Stream { key, ..all }]);
        }
        (0..schemas.len()).map(|v| self.rows_of(&all, v, &schemas, distinct[v])).collect()
    }

    /// The rows of one variable out of those of all.
    fn rows_of(&mut self, all: &Stream, variable: usize, schemas: &[SchemaRef], distinct: bool) -> Result<Stream> {
        let predicate: ExprRef = Arc::new(IsVariable(variable));
        let rows = Arc::clone(&all.schema);
        let (input, append_only) = self.add(format!("Filter {predicate:?}"), &[all], |_| Ok(Arc::new(Filter::new(predicate, rows)?)))?;
        let own = Stream { input, append_only, ..all.clone() };
        let first = 1 + schemas[..variable].iter().map(|s| s.fields().len()).sum::<usize>();
        let fields = schemas[variable].fields();
        let exprs = fields.iter().enumerate().map(|(i, f)| column(first + i, f.name(), f.data_type())).collect();
        let (input, append_only) = self.project(&own, exprs, &schemas[variable])?;
        let key = distinct.then(|| (0..fields.len()).collect());
        Ok(Stream { input, schema: Arc::clone(&schemas[variable]), append_only, key, event_time: Vec::new() })
    }

    /// What derives a binding's rows: the parts of its UNION, those that read the circle and those that do not.
    fn binding(&mut self, body: &LogicalPlan, name: &str, schema: &SchemaRef) -> Result<Variable> {
        let (distinct, rows) = match body {
            LogicalPlan::Distinct(logical::Distinct::All(input)) => (true, input.as_ref()),
            other => (false, other),
        };
        let parts: Vec<&LogicalPlan> = match rows {
            LogicalPlan::Union(union) => union.inputs.iter().map(Arc::as_ref).collect(),
            other => vec![other],
        };
        let variables = self.loops.last().map_or(0, |l| l.variables.len());
        let (mut base, mut derived) = (Vec::new(), Vec::new());
        for part in parts {
            if self.reads_loop(part)? {
                derived.push(self.in_loop(part)?.input);
                continue;
            }
            let outside = self.outside(|planner| planner.lower(part))?;
            let Input::Port(port) = self.port(outside)?.input else { return Err(Error::internal("what is outside of a loop comes in by a port")) };
            base.push(port as usize - variables);
        }
        // The table is asked for when the loop is left, with those of the other variables.
        Ok(Variable { name: name.to_string(), schema: Arc::clone(schema), distinct, base, derived, state: crate::types::ids::TableId(0) })
    }
}

/// The bindings in groups that read each other, each behind those that it reads.
fn circles(node: &MutualRecursion) -> Result<Vec<Vec<usize>>> {
    let count = node.names.len();
    let mut reach = vec![vec![false; count]; count];
    for (i, body) in node.bodies().iter().enumerate() {
        for (j, reached) in reach[i].iter_mut().enumerate() {
            *reached = reads(body, &|name| name == node.names[j])?;
        }
    }
    for via in 0..count {
        let behind = reach[via].clone();
        for row in reach.iter_mut().filter(|row| row[via]) {
            row.iter_mut().zip(&behind).for_each(|(reached, further)| *reached |= further);
        }
    }
    let mut circles: Vec<Vec<usize>> = Vec::new();
    let done = |circles: &[Vec<usize>], i: usize| circles.iter().any(|c| c.contains(&i));
    while let Some(next) = (0..count).find(|i| {
        let waits = |j: usize| reach[*i][j] && !reach[j][*i] && !done(&circles, j);
        !done(&circles, *i) && !(0..count).any(waits)
    }) {
        circles.push((0..count).filter(|j| *j == next || reach[next][*j] && reach[*j][next]).collect());
    }
    Ok(circles)
}
