//! From what rows had to what they have: -1 with the old results, +1 with the new ones, where they differ.

use super::moment::Moment;
use super::span::Spans;
use crate::dataflow::agg::accumulator::Results;
use crate::dataflow::operator::{EvalErrors, Output};
use crate::dataflow::ops::consolidate::codec_of;
use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::key::Rows;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::{concat, take};
use arrow::datatypes::{Schema, SchemaRef};
use std::cmp::Ordering;
use std::sync::Arc;

type RowError = (&'static str, String);

/// The rows that are asked for at one moment, with their results.
pub(super) struct Outcome {
    /// Of each row, its ordinal in the spans; they rise.
    entries: UInt32Array,
    columns: Vec<ArrayRef>,
    /// Results as bytes.
    keys: Rows,
    /// Empty where no row failed.
    errors: Vec<Option<RowError>>,
}

impl Outcome {
    /// `results`: one column per call.
    pub fn new(moment: &Moment, results: Vec<Results>, schema: &SchemaRef) -> Result<Outcome> {
        let entries = moment.wanted_entries();
        let mut errors = Vec::new();
        for (row, error) in results.iter().flat_map(|r| &r.bad) {
            errors.resize(entries.len(), None);
            errors[*row as usize].get_or_insert_with(|| (error.sqlstate(), error.message().to_string()));
        }
        let columns = results.into_iter().map(|r| r.values).collect::<Vec<_>>();
        let first = schema.fields().len() - columns.len();
        let of_results = Arc::new(Schema::new(schema.fields()[first..].to_vec()));
        let mut keys = Rows::default();
        codec_of(&of_results)?.encode(&columns, &mut keys)?;
        Ok(Outcome { entries, columns, keys, errors })
    }

    fn error(&self, row: usize) -> Option<&RowError> {
        self.errors.get(row).and_then(Option::as_ref)
    }

    /// Rows of one entry, in an order in which equal results meet.
    fn rows_of(&self, next: &mut usize, entry: u32) -> Vec<usize> {
        let start = *next;
        while *next < self.entries.len() && self.entries.value(*next) == entry {
            *next += 1;
        }
        let mut rows = (start..*next).collect::<Vec<_>>();
        if rows.len() > 1 {
            rows.sort_by(|a, b| self.compare(*a, self, *b));
        }
        rows
    }

    fn compare(&self, row: usize, other: &Outcome, theirs: usize) -> Ordering {
        self.keys.row(row).cmp(other.keys.row(theirs)).then_with(|| self.error(row).cmp(&other.error(theirs)))
    }
}

/// Pushes what leads from `old` to `new`; `columns` are the spans' columns of the input.
pub(super) fn changes(schema: &SchemaRef, spans: &Spans, columns: &[ArrayRef], old: &Outcome, new: &Outcome, out: &mut Output) -> Result<()> {
    let (mut good, mut bad) = (Rowset::default(), Rowset::default());
    let (mut errors, mut next_old, mut next_new) = (Vec::new(), 0, 0);
    for entry in spans.spans.iter().flat_map(|span| span.wanted.clone()) {
        let (was, is) = (old.rows_of(&mut next_old, entry as u32), new.rows_of(&mut next_new, entry as u32));
        let mut push = |outcome: &Outcome, row: usize, behind: usize, weight: i64| match outcome.error(row) {
            None => good.push(entry, row + behind, weight),
            Some(error) => {
                bad.push(entry, row + behind, weight);
                errors.push(error.clone());
            }
        };
        let (mut i, mut k) = (0, 0);
        while i < was.len() || k < is.len() {
            let order = match (was.get(i), is.get(k)) {
                (Some(a), Some(b)) => old.compare(*a, new, *b),
                (Some(_), None) => Ordering::Less,
                _ => Ordering::Greater,
            };
            match order {
                Ordering::Less => push(old, was[i], 0, -1),
                Ordering::Greater => push(new, is[k], old.entries.len(), 1),
                Ordering::Equal => {}
            }
            i += usize::from(order != Ordering::Greater);
            k += usize::from(order != Ordering::Less);
        }
    }
    let results = old.columns.iter().zip(&new.columns).map(|(a, b)| Ok(concat(&[a, b])?)).collect::<Result<Vec<_>>>()?;
    if !good.weights.is_empty() {
        out.push(good.delta(schema, columns, &results)?);
    }
    if !bad.weights.is_empty() {
        out.errors.push(EvalErrors { rows: bad.delta(schema, columns, &results)?, errors });
    }
    Ok(())
}

/// Rows of the output: ordinals of the spans, of the old results and the new ones behind them, and weights.
#[derive(Default)]
struct Rowset {
    entries: Vec<u32>,
    results: Vec<u32>,
    weights: Vec<i64>,
}

impl Rowset {
    fn push(&mut self, entry: usize, result: usize, weight: i64) {
        self.entries.push(entry as u32);
        self.results.push(result as u32);
        self.weights.push(weight);
    }

    fn delta(self, schema: &SchemaRef, columns: &[ArrayRef], results: &[ArrayRef]) -> Result<Delta> {
        let (entries, rows) = (UInt32Array::from(self.entries), UInt32Array::from(self.results));
        let of_input = columns.iter().map(|c| Ok(take(c, &entries, None)?));
        let columns = of_input.chain(results.iter().map(|c| Ok(take(c, &rows, None)?))).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.weights.len()));
        Ok(Delta::new(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?, self.weights))
    }
}
