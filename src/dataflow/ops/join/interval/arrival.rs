//! What happens when rows of one side come: they meet the other side's rows, tell which of those have their first partner, and are kept.

use super::{Expiry, Running};
use crate::dataflow::operator::Output;
use crate::dataflow::ops::consolidate::codec_of;
use crate::dataflow::ops::groups::{Groups, NO_GROUP};
use crate::dataflow::ops::join::pairs::Matched;
use crate::dataflow::ops::join::preserved::shown;
use crate::dataflow::ops::join::project;
use crate::dataflow::ops::join::side::{Change, Side};
use crate::dataflow::ops::windowed::timestamps;
use crate::error::Result;
use crate::types::delta::Delta;
use crate::types::key::{Rows, window_key};
use crate::types::time::{Step, Watermarks};
use arrow::array::{Array, BooleanArray, UInt32Array};
use std::collections::HashSet;

impl Running {
    /// The epoch's rows of a side that are not late, together.
    pub(super) fn in_time(&self, side: usize, deltas: Vec<Delta>, step: &Step, out: &mut Output) -> Result<Option<Delta>> {
        let drops = self.spec.expiry[1 - side].as_ref();
        let mut kept = Vec::with_capacity(deltas.len());
        for delta in deltas {
            let delta = match drops {
                Some(expiry) => expiry.bound.split_late(delta, expiry.other, &step.before, out)?,
                None => delta,
            };
            if !delta.is_empty() {
                kept.push(delta);
            }
        }
        if kept.is_empty() { Ok(None) } else { Delta::concat(&self.rows[side].schema, &kept).map(Some) }
    }

    pub(super) fn arrive(&mut self, own: usize, delta: Delta, step: &Step, out: &mut Output) -> Result<()> {
        let kind = self.spec.join.kind;
        let matched = self.meet(own, &delta, out)?;
        if kind.preserves(1 - own).is_some() {
            self.first_partners(own, &delta, &step.before, out)?;
        }
        let groups = self.places(own, &delta, &step.before)?;
        let change = Change { delta, groups };
        self.rows[own].add(&change)?;
        let Some(preserved) = kind.preserves(own) else { return Ok(()) };
        let Change { delta, mut groups } = change;
        groups.of_row.iter_mut().zip(&matched).filter(|(_, matched)| **matched).for_each(|(group, _)| *group = NO_GROUP);
        let change = Change { delta, groups };
        self.unmatched[own].add(&change)?;
        let rows = shown(preserved, own, &change.delta, BooleanArray::from(matched), &self.pairing.schema)?;
        self.give(&rows, out)
    }

    /// Gives the pairs with the other side's rows; tells which rows have a partner.
    fn meet(&mut self, own: usize, delta: &Delta, out: &mut Output) -> Result<Vec<bool>> {
        let mut matched = vec![false; delta.rows()];
        let (change, origin) = self.probes(own, delta, Table::Rows)?;
        let (join, pairs) = (&self.spec.join, self.spec.join.kind.pairs());
        self.pairing.probe(own, &change, &mut self.rows[1 - own], out, |out, found| {
            found.own.values().iter().for_each(|probe| matched[origin[*probe as usize] as usize] = true);
            if pairs {
                out.push(project(&join.output, &join.schema, &found.rows)?);
            }
            Ok(())
        })?;
        Ok(matched)
    }

    /// Corrects what was given out for rows of the other side that had no partner before these.
    fn first_partners(&mut self, own: usize, delta: &Delta, before: &Watermarks, out: &mut Output) -> Result<()> {
        let other = 1 - own;
        let Some(preserved) = self.spec.join.kind.preserves(other) else { return Ok(()) };
        let (change, _) = self.probes(own, delta, Table::Unmatched)?;
        let mut found = Found { seen: HashSet::new(), rows: Vec::new() };
        let (from, width) =
            if other == 0 { (0, self.rows[0].schema.fields().len()) } else { (self.rows[0].schema.fields().len(), self.rows[1].schema.fields().len()) };
        let columns = (from..from + width).collect::<Vec<_>>();
        let schema = self.rows[other].schema.clone();
        let codec = codec_of(&schema)?;
        // What fails here has failed, and was told, when the rows met.
        let mut told = Output::default();
        self.pairing.probe(own, &change, &mut self.unmatched[other], &mut told, |_, matched| found.add(&codec, &columns, &change.delta, matched))?;
        for rows in std::mem::take(&mut found.rows) {
            let batch = arrow::array::RecordBatch::try_new(schema.clone(), rows.batch().columns().to_vec())?;
            let rows = rows.with_batch(batch);
            let groups = self.places(other, &rows, before)?;
            let gone = Change { delta: rows.negate(), groups };
            self.unmatched[other].add(&gone)?;
            let all = |matched: bool| BooleanArray::from(vec![matched; rows.rows()]);
            let (before, now) =
                (shown(preserved, other, &gone.delta, all(false), &self.pairing.schema)?, shown(preserved, other, &rows, all(true), &self.pairing.schema)?);
            self.give(&before, out)?;
            self.give(&now, out)?;
        }
        Ok(())
    }

    fn give(&self, rows: &Delta, out: &mut Output) -> Result<()> {
        if !rows.is_empty() {
            out.push(project(&self.spec.join.output, &self.spec.join.schema, rows)?);
        }
        Ok(())
    }

    /// Where rows of a side are kept; dead ones, and those that can have no partner, are not.
    fn places(&self, side: usize, delta: &Delta, before: &Watermarks) -> Result<Groups> {
        let keys = self.rows[side].key_rows(delta)?;
        let mut groups = Groups::default();
        let Some(expiry) = &self.spec.expiry[side] else {
            (0..delta.rows()).for_each(|row| if keys.is_missing(row) { groups.of_row.push(NO_GROUP) } else { groups.add(row as u32, keys.row(row)) });
            return Ok(groups);
        };
        let times = timestamps(delta.column(expiry.column))?;
        let mut key = Vec::new();
        for row in 0..delta.rows() {
            if keys.is_missing(row) || times.is_null(row) || expiry.is_dead(times.value(row), before) {
                groups.of_row.push(NO_GROUP);
                continue;
            }
            key.clear();
            key.extend_from_slice(&window_key(bucket_end(times.value(row), self.buckets[side])));
            key.extend_from_slice(keys.row(row));
            groups.add(row as u32, &key);
        }
        Ok(groups)
    }

    /// Where partners of a side's rows may lie in the other side's table: rows repeated once for each such place, and which row each of them is.
    fn probes(&mut self, own: usize, delta: &Delta, table: Table) -> Result<(Change, Vec<u32>)> {
        let other = 1 - own;
        let keys = self.rows[own].key_rows(delta)?;
        let (mut groups, mut origin) = (Groups::default(), Vec::with_capacity(delta.rows()));
        match &self.spec.expiry[other] {
            None => {
                for row in (0..delta.rows()).filter(|row| !keys.is_missing(*row)) {
                    groups.add(origin.len() as u32, keys.row(row));
                    origin.push(row as u32);
                }
            }
            Some(expiry) => {
                let side: &mut Side = match table {
                    Table::Rows => &mut self.rows[other],
                    Table::Unmatched => &mut self.unmatched[other],
                };
                let ends = side.windows()?;
                let times = timestamps(delta.column(expiry.other))?;
                let (bucket, most) = (self.buckets[other], upper(expiry, self.spec.expiry[own].as_ref()));
                let mut key = Vec::new();
                for row in (0..delta.rows()).filter(|row| !keys.is_missing(*row) && times.is_valid(*row)) {
                    let time = times.value(row);
                    let (least, most) = (time.saturating_sub(expiry.offset), most.map_or(i64::MAX, |offset| time.saturating_add(offset)));
                    let first = ends.partition_point(|end| *end <= least && *end != i64::MAX);
                    for end in ends[first..].iter().take_while(|end| end.saturating_sub(bucket) <= most) {
                        key.clear();
                        key.extend_from_slice(&window_key(*end));
                        key.extend_from_slice(keys.row(row));
                        groups.add(origin.len() as u32, &key);
                        origin.push(row as u32);
                    }
                }
            }
        }
        let once = origin.len() == delta.rows() && origin.iter().enumerate().all(|(i, row)| i as u32 == *row);
        let delta = if once { delta.clone() } else { delta.take(&UInt32Array::from(origin.clone()))? };
        Ok((Change { delta, groups }, origin))
    }
}

#[derive(Clone, Copy)]
enum Table {
    Rows,
    Unmatched,
}

/// Partners' times are at most this far behind the time by which they are looked for, if the other inequality speaks of the same columns.
fn upper(expiry: &Expiry, own: Option<&Expiry>) -> Option<i64> {
    own.filter(|own| own.other == expiry.column && own.column == expiry.other).map(|own| own.offset)
}

/// The end of the bucket that holds `time`; a bucket holds its start and not its end.
fn bucket_end(time: i64, length: i64) -> i64 {
    time.div_euclid(length).saturating_add(1).saturating_mul(length)
}

/// Rows of the other side, each once however many partners it has found.
struct Found {
    seen: HashSet<Vec<u8>>,
    rows: Vec<Delta>,
}

impl Found {
    /// `columns` are those of the other side in a pair; `own` are the rows that were looked up with.
    fn add(&mut self, codec: &crate::types::key::Codec, columns: &[usize], own: &Delta, matched: Matched) -> Result<()> {
        let batch = matched.rows.batch().project(columns)?;
        let mut encoded = Rows::default();
        codec.encode(batch.columns(), &mut encoded)?;
        let fresh = (0..batch.num_rows()).filter(|i| self.seen.insert(encoded.row(*i).to_vec())).map(|i| i as u32).collect::<Vec<_>>();
        if fresh.is_empty() {
            return Ok(());
        }
        // A pair's weight is the product of both rows'.
        let weights = fresh.iter().map(|i| matched.rows.weight(*i as usize) / own.weight(matched.own.value(*i as usize) as usize)).collect::<Vec<_>>();
        let rows = arrow::compute::take_record_batch(&batch, &UInt32Array::from(fresh))?;
        self.rows.push(Delta::new(rows, weights));
        Ok(())
    }
}
