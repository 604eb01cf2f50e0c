//! One moment of the spans, before or after the changes: the rows that are there, as often as they are, with their groups of peers.

use super::marks::Prefix;
use super::span::Spans;
use crate::dataflow::ops::ordered::order_part;
use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;
use std::ops::Range;
use std::sync::Arc;

/// See the module.
pub(super) struct Moment {
    /// Of each row, its ordinal in the spans.
    pub entries: UInt32Array,
    pub parts: Vec<Part>,
    /// Of each row, its group; a group belongs to one part.
    groups: Vec<u32>,
    /// Where each group begins, and behind the last one the end.
    starts: Vec<usize>,
}

/// One span: ordinals of rows that are there, and of those that are asked for.
pub(super) struct Part {
    pub rows: Range<usize>,
    pub wanted: Range<usize>,
    /// What the partition's rows before came to.
    pub prefix: Arc<Prefix>,
}

impl Moment {
    /// `weights`: the spans' old or new ones.
    pub fn new(spans: &Spans, weights: &[i64]) -> Moment {
        let (mut entries, mut parts, mut groups, mut starts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for span in &spans.spans {
            let start = entries.len();
            let mut wanted = start..start;
            let mut last: Option<&[u8]> = None;
            for entry in span.rows.clone() {
                if entry == span.wanted.start {
                    wanted = entries.len()..entries.len();
                }
                let order = order_part(spans.rows.row(entry));
                if weights[entry] > 0 && last != Some(order) {
                    starts.push(entries.len());
                    last = Some(order);
                }
                for _ in 0..weights[entry] {
                    entries.push(entry as u32);
                    groups.push(starts.len() as u32 - 1);
                }
                if entry + 1 == span.wanted.end {
                    wanted.end = entries.len();
                }
            }
            parts.push(Part { rows: start..entries.len(), wanted, prefix: span.prefix.clone() });
        }
        starts.push(entries.len());
        Moment { entries: entries.into(), parts, groups, starts }
    }

    pub fn len(&self) -> usize {
        self.groups.len()
    }

    /// How many rows are asked for.
    pub fn wanted(&self) -> usize {
        self.parts.iter().map(|part| part.wanted.len()).sum()
    }

    /// The rows that are asked for, with their part.
    pub fn each_wanted(&self) -> impl Iterator<Item = (&Part, usize)> {
        self.parts.iter().flat_map(|part| part.wanted.clone().map(move |row| (part, row)))
    }

    pub fn group(&self, row: usize) -> u32 {
        self.groups[row]
    }

    pub fn peers(&self, row: usize) -> Range<usize> {
        let group = self.groups[row] as usize;
        self.starts[group]..self.starts[group + 1]
    }

    /// Where the group that is `steps` away from the row's begins, or ends; within the part.
    pub fn group_end(&self, part: &Part, row: usize, steps: i64, behind: bool) -> usize {
        let (first, last) = (i64::from(self.groups[part.rows.start]), i64::from(self.groups[part.rows.end - 1]));
        let at = i64::from(self.groups[row]).saturating_add(steps).saturating_add(i64::from(behind));
        self.starts[at.clamp(first, last + 1) as usize]
    }

    /// A column of the spans as the rows that are there have it.
    pub fn column(&self, of_entries: &ArrayRef) -> crate::error::Result<ArrayRef> {
        Ok(take(of_entries, &self.entries, None)?)
    }

    /// Of each row that is asked for, its ordinal in the spans.
    pub fn wanted_entries(&self) -> UInt32Array {
        self.each_wanted().map(|(_, row)| self.entries.value(row)).collect::<Vec<_>>().into()
    }
}
