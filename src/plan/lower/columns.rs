//! The columns that an operator names by ordinal: expressions in a query (keys, arguments, order) are computed once by a Project below it.
//! Where all of them are plain columns there is no Project, and equal sub-plans above it stay equal.

use crate::dataflow::ops::project::Project;
use crate::error::Result;
use crate::plan::EventTime;
use crate::plan::expr::{bind, canonical, column};
use crate::plan::node::{Planner, Stream};
use crate::plan::time::event_time;
use crate::types::expr::ExprRef;
use arrow::datatypes::{Field, Schema};
use datafusion::common::DFSchema;
use datafusion::logical_expr::Expr;
use std::sync::Arc;

/// See the module.
pub(crate) struct Columns<'s> {
    input: Stream,
    schema: &'s DFSchema,
    exprs: Vec<ExprRef>,
    names: Vec<String>,
    times: Vec<EventTime>,
    keep_input: bool,
}

impl<'s> Columns<'s> {
    /// Only what is placed.
    pub fn of(input: Stream, schema: &'s DFSchema) -> Self {
        Columns { input, schema, exprs: Vec::new(), names: Vec::new(), times: Vec::new(), keep_input: false }
    }

    /// All columns of the input, and behind them what is placed.
    pub fn beside(input: Stream, schema: &'s DFSchema) -> Self {
        let fields = input.schema.fields();
        let exprs = fields.iter().enumerate().map(|(i, f)| column(i, f.name(), f.data_type())).collect();
        let names = fields.iter().map(|f| f.name().clone()).collect();
        let times = input.event_time.clone();
        Columns { input, schema, exprs, names, times, keep_input: true }
    }

    pub fn schema(&self) -> &'s DFSchema {
        self.schema
    }

    /// A place for `expr`, to be looked up in what [`Columns::finish`] gives.
    pub fn place(&mut self, expr: &Expr) -> Result<usize> {
        let bound = bind(expr, self.schema)?;
        let identity = canonical(&bound);
        if let Some(known) = self.exprs.iter().position(|e| canonical(e) == identity) {
            return Ok(known);
        }
        if let Some((kind, sources)) = event_time(expr, self.schema, &self.input.event_time) {
            self.times.push(EventTime { column: self.exprs.len(), sources, kind });
        }
        self.names.push(bound.sql());
        self.exprs.push(bound);
        Ok(self.exprs.len() - 1)
    }

    /// A column if there is none: what keeps rows keeps them as the bytes of columns.
    pub fn place_any(&mut self) -> Result<()> {
        if self.exprs.is_empty() {
            self.place(&datafusion::logical_expr::lit(true))?;
        }
        Ok(())
    }

    /// The stream with these columns, and the ordinal in it of each place.
    pub fn finish(self, planner: &mut Planner<'_>) -> Result<(Stream, Vec<usize>)> {
        let width = self.input.schema.fields().len();
        if self.keep_input && self.exprs.len() == width {
            return Ok((self.input, (0..width).collect()));
        }
        let plain = self.exprs.iter().map(|e| e.as_column()).collect::<Option<Vec<_>>>();
        if let (false, Some(ordinals)) = (self.keep_input, plain) {
            return Ok((self.input, ordinals));
        }
        let places = (0..self.exprs.len()).collect();
        let field = |(e, name): (&ExprRef, &String)| match e.as_column() {
            Some(i) => self.input.schema.field(i).clone().with_nullable(true),
            None => Field::new(name, e.data_type().clone(), true),
        };
        let schema = Arc::new(Schema::new(self.exprs.iter().zip(&self.names).map(field).collect::<Vec<_>>()));
        let key = key_through(&self.input.key, &self.exprs);
        let (input, append_only) = planner.project(&self.input, self.exprs, &schema)?;
        Ok((Stream { input, schema, append_only, key, event_time: self.times }, places))
    }
}

/// Where the columns of a key are in a projection; `None`: one of them is not in it.
pub(crate) fn key_through(key: &Option<Vec<usize>>, exprs: &[ExprRef]) -> Option<Vec<usize>> {
    let place = |c: &usize| exprs.iter().position(|e| e.as_column() == Some(*c));
    key.as_ref()?.iter().map(place).collect()
}

impl Planner<'_> {
    /// A Project node over `input`.
    pub(crate) fn project(
        &mut self,
        input: &Stream,
        exprs: Vec<ExprRef>,
        schema: &arrow::datatypes::SchemaRef,
    ) -> Result<(crate::dataflow::operator::Input, bool)> {
        let what = format!("Project {:?}", exprs.iter().map(canonical).collect::<Vec<_>>());
        self.add(what, &[input], |_| Ok(Arc::new(Project::new(exprs, Arc::clone(schema))?)))
    }
}
