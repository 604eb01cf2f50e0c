//! A wrapper around an operator that checks the contract on both of its edges: schemas, no empty delta, no zero weight, epochs that only rise, and no
//! retraction where none was promised. Tests and debug runs build every operator with it (`BuildContext::checks`).

use super::operator::{Operator, Output, Spec};
use crate::error::{Error, Result};
use crate::state::kept::Kept;
use crate::types::delta::Delta;
use crate::types::time::{Epoch, Step};
use arrow::datatypes::SchemaRef;

/// `operator`, checked. `inputs`: schema of each port, and whether it never retracts.
pub fn checked(spec: &dyn Spec, inputs: Vec<(SchemaRef, bool)>, operator: Box<dyn Operator>) -> Box<dyn Operator> {
    let append_only = inputs.iter().map(|(_, append_only)| *append_only).collect::<Vec<_>>();
    let timed = spec.has_timer() && spec.watermarks().is_empty();
    Box::new(Checked { name: spec.name(), output: (spec.schema(), spec.append_only(&append_only)), inputs, timed, operator, last: None })
}

struct Checked {
    name: &'static str,
    inputs: Vec<(SchemaRef, bool)>,
    output: (SchemaRef, bool),
    /// Acts on input and on the clock alone.
    timed: bool,
    operator: Box<dyn Operator>,
    last: Option<Epoch>,
}

impl Checked {
    fn check(&self, edge: &str, (schema, append_only): &(SchemaRef, bool), delta: &Delta) -> Result<()> {
        let found = delta.schema();
        let same = found.fields().len() == schema.fields().len()
            && found.fields().iter().zip(schema.fields()).all(|(f, s)| f.data_type().equals_datatype(s.data_type()));
        let broken = if !same {
            format!("schema is {found}, not {schema}")
        } else if delta.is_empty() {
            "an empty delta".to_string()
        } else if delta.weights().is_some_and(|w| w.contains(&0)) {
            "a row of weight 0".to_string()
        } else if *append_only && delta.weights().is_some_and(|w| w.iter().any(|w| *w < 0)) {
            "a retraction where none was promised".to_string()
        } else {
            return Ok(());
        };
        Err(Error::internal(format!("{} of {}: {broken}", edge, self.name)))
    }
}

impl Operator for Checked {
    fn apply(&mut self, step: &Step, inputs: &mut [Vec<Delta>], out: &mut Output) -> Result<()> {
        if self.last.is_some_and(|last| last >= step.epoch) {
            return Err(Error::internal(format!("{} is given epoch {} after {:?}", self.name, step.epoch, self.last)));
        }
        self.last = Some(step.epoch);
        if inputs.len() != self.inputs.len() {
            return Err(Error::internal(format!("{} has {} ports and is given {}", self.name, self.inputs.len(), inputs.len())));
        }
        for (port, expected) in inputs.iter().zip(&self.inputs) {
            port.iter().try_for_each(|delta| self.check("input", expected, delta))?;
        }
        let before = out.deltas.len();
        let waits = self.timed && inputs.iter().all(Vec::is_empty) && self.operator.due().is_none_or(|due| due > step.clock);
        self.operator.apply(step, inputs, out)?;
        if waits && out.deltas.len() > before {
            return Err(Error::internal(format!("{} gives rows before it is due", self.name)));
        }
        if self.operator.due().is_some_and(|due| due <= step.clock) {
            return Err(Error::internal(format!("{} is due again at {:?}, in the step of {}", self.name, self.operator.due(), step.clock)));
        }
        out.deltas[before..].iter().try_for_each(|delta| self.check("output", &self.output, delta))
    }

    fn due(&self) -> Option<i64> {
        self.operator.due()
    }

    fn state(&mut self, each: &mut dyn FnMut(&mut dyn Kept)) {
        self.operator.state(each);
    }
}
