//! The loop itself: levels ascending, each settled once.

use super::variable::Derivations;
use super::{LEVEL, Recursion};
use crate::dataflow::operator::{EvalErrors, Input, Operator, Output, Spec};
use crate::error::{Error, Kind, Result};
use crate::state::kept::Kept;
use crate::state::keyed::Slot;
use crate::types::delta::Delta;
use crate::types::time::Step;
use arrow::array::{ArrayRef, AsArray, Int32Array, RecordBatch, RecordBatchOptions, UInt32Array, new_null_array};
use arrow::datatypes::{Int64Type, SchemaRef};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) struct Running {
    spec: Recursion,
    nodes: Vec<Box<dyn Operator>>,
    variables: Vec<Derivations>,
}

/// What waits for a level's turn, by variable.
struct Waiting {
    changes: Vec<Vec<Delta>>,
    again: Vec<Vec<Slot>>,
}

/// By level.
struct Agenda {
    variables: usize,
    levels: BTreeMap<i64, Waiting>,
}

impl Agenda {
    fn at(&mut self, level: i64) -> &mut Waiting {
        let variables = self.variables;
        self.levels.entry(level).or_insert_with(|| Waiting { changes: vec![Vec::new(); variables], again: vec![Vec::new(); variables] })
    }

    /// Rows with the level of what they come from.
    fn derive(&mut self, variable: usize, schema: &SchemaRef, delta: &Delta) -> Result<()> {
        let last = delta.batch().num_columns() - 1;
        let levels = delta.column(last).as_primitive_opt::<Int64Type>().ok_or_else(|| Error::internal("a row in a loop without a level"))?;
        let options = RecordBatchOptions::new().with_row_count(Some(delta.rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), delta.batch().columns()[..last].to_vec(), &options)?;
        let rows = delta.with_batch(batch);
        let first = levels.value(0);
        if levels.values().iter().all(|l| *l == first) {
            self.at(first + 1).changes[variable].push(rows);
            return Ok(());
        }
        let mut parts: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        levels.values().iter().enumerate().for_each(|(row, level)| parts.entry(*level).or_default().push(row as u32));
        for (level, part) in parts {
            self.at(level + 1).changes[variable].push(rows.take(&UInt32Array::from(part))?);
        }
        Ok(())
    }
}

impl Running {
    pub fn new(spec: Recursion, nodes: Vec<Box<dyn Operator>>, variables: Vec<Derivations>) -> Running {
        Running { spec, nodes, variables }
    }

    /// Runs the body once over these rows by port.
    fn pass(&mut self, step: &Step, ports: &[Vec<Delta>], agenda: &mut Agenda, out: &mut Output) -> Result<()> {
        let mut outputs: Vec<Vec<Delta>> = Vec::with_capacity(self.nodes.len());
        let given = |outputs: &[Vec<Delta>], input: &Input| match input {
            Input::Node(n) => outputs[n.0 as usize].clone(),
            Input::Port(p) => ports[*p as usize].clone(),
            Input::Relation(_) => Vec::new(),
        };
        for (node, operator) in self.spec.body.nodes.iter().zip(&mut self.nodes) {
            let mut inputs = node.inputs.iter().map(|i| given(&outputs, i)).collect::<Vec<_>>();
            let mut nested = Output::default();
            if inputs.iter().any(|port| !port.is_empty()) {
                operator.apply(step, &mut inputs, &mut nested)?;
            }
            out.late.append(&mut nested.late);
            for errors in nested.errors {
                out.errors.push(EvalErrors { rows: without_level(&errors.rows)?, errors: errors.errors });
            }
            outputs.push(nested.deltas);
        }
        for (v, variable) in self.spec.variables.iter().enumerate() {
            for derived in &variable.derived {
                given(&outputs, derived).iter().try_for_each(|delta| agenda.derive(v, &variable.schema, delta))?;
            }
        }
        Ok(())
    }

    /// Settles the level, and feeds what moved to the body.
    fn settle(&mut self, step: &Step, level: i64, waiting: Waiting, agenda: &mut Agenda, out: &mut Output) -> Result<()> {
        let mut ports = vec![Vec::new(); self.variables.len() + self.spec.inputs];
        for (v, variable) in self.variables.iter_mut().enumerate() {
            let settled = variable.settle(level, &waiting.changes[v], &waiting.again[v])?;
            settled.again.iter().for_each(|(later, slot)| agenda.at(*later).again[v].push(*slot));
            ports[v].extend(variable.fed(&settled)?);
        }
        if ports.iter().all(Vec::is_empty) {
            return Ok(());
        }
        self.pass(step, &ports, agenda, out)
    }

    fn run(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        let mut agenda = Agenda { variables: self.variables.len(), levels: BTreeMap::new() };
        for (v, variable) in self.spec.variables.iter().enumerate() {
            for base in variable.base.iter().filter(|b| !inputs[**b].is_empty()) {
                agenda.at(0).changes[v].extend(inputs[*base].iter().cloned());
            }
        }
        // First what the other inputs' changes do to rows that were there before.
        let mut ports = vec![Vec::new(); self.variables.len()];
        ports.extend(inputs.iter_mut().map(std::mem::take));
        self.pass(step, &ports, &mut agenda, out)?;
        while let Some((level, waiting)) = agenda.levels.pop_first() {
            self.settle(step, level, waiting, &mut agenda, out)?;
        }
        for (v, variable) in self.variables.iter_mut().enumerate() {
            let (shown, held) = variable.finish()?;
            if self.spec.results.contains(&v) && !shown.is_empty() {
                out.push(result(&self.spec, v, shown)?);
            }
            if !held.is_empty() {
                let spec = &self.spec;
                let error = beyond(spec, v);
                out.errors.push(EvalErrors { errors: vec![error; held.rows()], rows: held });
            }
        }
        Ok(())
    }
}

fn beyond(spec: &Recursion, variable: usize) -> (&'static str, String) {
    let name = &spec.variables[variable].name;
    let passes = spec.limit.levels;
    (Kind::TooComplex.sqlstate(), format!("recursive query \"{name}\" does not end: a row takes more than {passes} passes, or has too many copies"))
}

/// A variable's rows as they come out.
fn result(spec: &Recursion, variable: usize, rows: Delta) -> Result<Delta> {
    if spec.results.len() == 1 {
        return Ok(rows);
    }
    let mut columns: Vec<ArrayRef> = vec![Arc::new(Int32Array::from(vec![variable as i32; rows.rows()]))];
    for v in &spec.results {
        match *v == variable {
            true => columns.extend(rows.batch().columns().iter().cloned()),
            false => columns.extend(spec.variables[*v].schema.fields().iter().map(|f| new_null_array(f.data_type(), rows.rows()))),
        }
    }
    Ok(rows.with_batch(RecordBatch::try_new(spec.schema(), columns)?))
}

/// The rows of an error as a person knows them.
fn without_level(rows: &Delta) -> Result<Delta> {
    let schema = rows.schema();
    let kept = (0..schema.fields().len()).filter(|c| schema.field(*c).name() != LEVEL).collect::<Vec<_>>();
    Ok(rows.with_batch(rows.batch().project(&kept)?))
}

impl Operator for Running {
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        if inputs.iter().any(|port| !port.is_empty()) {
            self.run(step, inputs, out)?;
        }
        self.variables.iter_mut().for_each(Derivations::trim);
        Ok(())
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        self.variables.iter_mut().for_each(|variable| variable.state(each));
        self.nodes.iter_mut().for_each(|node| node.state(each));
    }
}
