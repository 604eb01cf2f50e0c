//! Rows that come out for themselves: unmatched ones of an outer join, matched or unmatched ones of semi and anti joins.
//!
//! Without a residual a key's status is whether the other side has a row under it. With a residual each row has its own: then the rows under the keys
//! that the other side's change touches are matched against that side before and after it.

use super::side::{Change, Side};
use super::{Running, project};
use crate::dataflow::operator::{EvalErrors, Output};
use crate::dataflow::ops::groups::NO_GROUP;
use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::key::Rows;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use std::sync::Arc;

/// What comes out of one side's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preserved {
    /// Unmatched rows, with NULLs for the other side.
    Padded,
    Matched,
    Unmatched,
    /// All rows, and whether they match.
    Marked,
}

/// Stored rows of one side whose status may flip, with their status before the epoch's change.
pub(super) struct Candidates {
    rows: Change,
    matched: Vec<bool>,
}

impl Running {
    /// For each side: the stored rows whose status the other side's change may flip. Takes the changes into the counts. Must see the rows of both sides as they were.
    pub(super) fn preserved_before(&mut self, changes: &[Change; 2], out: &mut Output) -> Result<[Option<Candidates>; 2]> {
        let flips = [self.sides[0].count(&changes[0])?, self.sides[1].count(&changes[1])?];
        let mut before = [None, None];
        for own in 0..2 {
            let Some(kind) = self.spec.kind.preserves(own) else { continue };
            let (side, other) = pick(&mut self.sides, own);
            let change = &changes[1 - own];
            if self.pairing.residual.is_none() {
                let flips = flips[1 - own].iter().map(|(before, after)| (*before > 0, *after > 0));
                let rows = flipped(side, change, flips)?;
                for (rows, matched) in rows {
                    self.emit(kind, own, &rows.negate(), |_| !matched, out)?;
                    self.emit(kind, own, &rows, |_| matched, out)?;
                }
            } else if change.groups.len() > 0 {
                let (rows, _) = side.rows_of(&change.groups.keys, &change.groups.hashes)?;
                let rows = side.grouped(rows)?;
                let mut old = Output::default();
                let counts = self.pairing.match_counts(own, &rows, other, &mut old)?;
                self.note(old, Weighing::TakeBack, out);
                before[own] = Some(Candidates { rows, matched: counts.iter().map(|c| *c > 0).collect() });
            }
        }
        Ok(before)
    }

    /// Gives out the change's own rows by their new status, and candidates whose status flipped. Must see the rows of both sides as they are.
    pub(super) fn preserved_after(&mut self, changes: &[Change; 2], before: [Option<Candidates>; 2], out: &mut Output) -> Result<()> {
        for (own, candidates) in before.into_iter().enumerate() {
            let Some(kind) = self.spec.kind.preserves(own) else { continue };
            let (_, other) = pick(&mut self.sides, own);
            let (change, mut new) = (&changes[own], Output::default());
            if self.pairing.residual.is_none() {
                let counts = match &mut other.counts {
                    Some(counts) => counts.get(&change.groups.keys, &change.groups.hashes)?,
                    None => Vec::new(),
                };
                let matched = |row: usize| {
                    let group = change.groups.of_row[row];
                    group != NO_GROUP && counts[group as usize] > 0
                };
                self.emit(kind, own, &change.delta, matched, out)?;
                continue;
            }
            let counts = self.pairing.match_counts(own, change, other, &mut new)?;
            let flipped = match candidates {
                None => None,
                Some(candidates) => {
                    let counts = self.pairing.match_counts(own, &candidates.rows, other, &mut new)?;
                    let flips = (0..counts.len()).filter(|i| (counts[*i] > 0) != candidates.matched[*i]).collect::<Vec<_>>();
                    let rows = candidates.rows.take(flips.iter().map(|i| *i as u32).collect())?;
                    Some((rows, flips.iter().map(|i| counts[*i] > 0).collect::<Vec<_>>()))
                }
            };
            self.note(new, Weighing::Add, out);
            self.emit(kind, own, &change.delta, |row| counts[row] > 0, out)?;
            if let Some((rows, matched)) = flipped {
                self.emit(kind, own, &rows.negate(), |row| !matched[row], out)?;
                self.emit(kind, own, &rows, |row| matched[row], out)?;
            }
        }
        Ok(())
    }

    /// Passes errors of the residual on. Where pairs come out, each pair's error is told when the pair is made; elsewhere errors of the pairs before are taken back, and those of
    /// the pairs after added.
    fn note(&self, met: Output, weighing: Weighing, out: &mut Output) {
        if self.spec.kind.pairs() {
            return;
        }
        out.errors.extend(met.errors.into_iter().map(|errors| match weighing {
            Weighing::Add => errors,
            Weighing::TakeBack => EvalErrors { rows: errors.rows.negate(), errors: errors.errors },
        }));
    }

    /// Pushes what comes out of `rows` of side `own`, given which of them match.
    fn emit(&self, kind: Preserved, own: usize, rows: &Delta, matched: impl Fn(usize) -> bool, out: &mut Output) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let matched = (0..rows.rows()).map(matched).collect::<BooleanArray>();
        out.push(project(&self.spec.output, &self.spec.schema, &shown(kind, own, rows, matched, &self.pairing.schema)?)?);
        Ok(())
    }
}

/// What comes out of `rows` of side `own`, given which of them match: before the output columns are picked. `pairs`: columns of both sides.
pub(super) fn shown(kind: Preserved, own: usize, rows: &Delta, matched: BooleanArray, pairs: &SchemaRef) -> Result<Delta> {
    match kind {
        Preserved::Padded => pad(own, &rows.filter(&arrow::compute::not(&matched)?)?, pairs),
        Preserved::Matched => rows.filter(&matched),
        Preserved::Unmatched => rows.filter(&arrow::compute::not(&matched)?),
        Preserved::Marked => {
            let fields = rows.schema().fields().iter().cloned().chain([Arc::new(Field::new("mark", DataType::Boolean, true))]).collect::<Vec<_>>();
            let columns = rows.batch().columns().iter().cloned().chain([Arc::new(matched) as ArrayRef]).collect();
            Ok(rows.with_batch(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?))
        }
    }
}

/// NULLs on the other side.
fn pad(own: usize, rows: &Delta, pairs: &SchemaRef) -> Result<Delta> {
    let width = rows.batch().num_columns();
    let others = if own == 0 { &pairs.fields()[width..] } else { &pairs.fields()[..pairs.fields().len() - width] };
    let nulls = others.iter().map(|f| new_null_array(f.data_type(), rows.rows()));
    let own_columns = rows.batch().columns().iter().cloned();
    let columns = if own == 0 { own_columns.chain(nulls).collect() } else { nulls.chain(own_columns).collect() };
    let options = RecordBatchOptions::new().with_row_count(Some(rows.rows()));
    Ok(rows.with_batch(RecordBatch::try_new_with_options(Arc::clone(pairs), columns, &options)?))
}

enum Weighing {
    Add,
    TakeBack,
}

fn pick(sides: &mut [Side; 2], own: usize) -> (&mut Side, &mut Side) {
    let [left, right] = sides;
    if own == 0 { (left, right) } else { (right, left) }
}

/// The stored rows of `side` under the keys of the other side's `change` whose status flips (before, after), by their new status.
fn flipped(side: &mut Side, change: &Change, flips: impl Iterator<Item = (bool, bool)>) -> Result<Vec<(Delta, bool)>> {
    let mut by_status = [(Rows::default(), Vec::new()), (Rows::default(), Vec::new())];
    for (group, (_, after)) in flips.enumerate().filter(|(_, (before, after))| before != after) {
        let (keys, hashes) = &mut by_status[usize::from(after)];
        keys.push(change.groups.keys.row(group));
        hashes.push(change.groups.hashes[group]);
    }
    let mut rows = Vec::new();
    for (status, (keys, hashes)) in by_status.iter().enumerate().filter(|(_, (keys, _))| !keys.is_empty()) {
        rows.push((side.rows_of(keys, hashes)?.0, status == 1));
    }
    Ok(rows)
}
