//! The distinct keys of a batch. Equal keys meet here, in memory that is at hand, so that a state table is asked once per
//! key and epoch and not once per row (design D2).
//!
//! ```text
//!   rows     a  b  a  a  c          keys    a  b  c     (in order of first appearance)
//!   of_row   0  1  0  0  2          first   0  1  4     (ordinal of the first row)
//! ```

use crate::error::Result;
use crate::types::key::{Codec, Rows, hash};
use arrow::array::{Array, ArrayRef};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// A row that belongs to no group: a join key with a NULL in it.
pub(crate) const NO_GROUP: u32 = u32::MAX;

/// See the module.
#[derive(Default)]
pub(crate) struct Groups {
    pub keys: Rows,
    /// Of each key.
    pub hashes: Vec<u64>,
    /// The group of each row, or [`NO_GROUP`].
    pub of_row: Vec<u32>,
    pub first: Vec<u32>,
    table: HashTable<u32>,
}

impl Groups {
    /// Groups `rows` rows by `columns`. With `skip_nulls`, rows with a NULL in any of them belong to no group.
    pub fn of(codec: &Codec, columns: &[ArrayRef], rows: usize, skip_nulls: bool) -> Result<Groups> {
        let mut groups = Groups::with_capacity(rows);
        if columns.is_empty() {
            (0..rows).for_each(|i| groups.add(i as u32, &[]));
            return Ok(groups);
        }
        let mut encoded = Rows::default();
        codec.encode(columns, &mut encoded)?;
        let nulls = columns.iter().filter(|_| skip_nulls).filter_map(|c| c.logical_nulls()).filter(|n| n.null_count() > 0).collect::<Vec<_>>();
        for (i, key) in encoded.iter().enumerate() {
            if nulls.iter().any(|n| n.is_null(i)) {
                groups.of_row.push(NO_GROUP);
            } else {
                groups.add(i as u32, key);
            }
        }
        Ok(groups)
    }

    /// Groups rows that are encoded already.
    pub fn of_rows(rows: &Rows) -> Groups {
        let mut groups = Groups::with_capacity(rows.len());
        rows.iter().enumerate().for_each(|(i, key)| groups.add(i as u32, key));
        groups
    }

    pub fn len(&self) -> usize {
        self.first.len()
    }

    /// Row ordinals ordered by group, and where each group's begin in them (with the end as a last entry). Within a group the rows keep their order.
    pub fn rows_by_group(&self) -> (Vec<u32>, Vec<u32>) {
        let mut starts = vec![0u32; self.len() + 1];
        self.of_row.iter().filter(|g| **g != NO_GROUP).for_each(|g| starts[*g as usize + 1] += 1);
        (0..self.len()).for_each(|g| starts[g + 1] += starts[g]);
        let mut next = starts.clone();
        let mut order = vec![0u32; starts[self.len()] as usize];
        for (row, group) in self.of_row.iter().enumerate().filter(|(_, g)| **g != NO_GROUP) {
            let at = &mut next[*group as usize];
            order[*at as usize] = row as u32;
            *at += 1;
        }
        (order, starts)
    }

    fn with_capacity(rows: usize) -> Groups {
        Groups { of_row: Vec::with_capacity(rows), ..Groups::default() }
    }

    /// Adds row `row` with this key.
    pub fn add(&mut self, row: u32, key: &[u8]) {
        let h = hash(key);
        let (keys, hashes) = (&self.keys, &self.hashes);
        let same = |g: &u32| hashes[*g as usize] == h && keys.row(*g as usize) == key;
        let group = match self.table.entry(h, same, |g| hashes[*g as usize]) {
            Entry::Occupied(group) => *group.get(),
            Entry::Vacant(place) => {
                let group = self.first.len() as u32;
                place.insert(group);
                self.keys.push(key);
                self.hashes.push(h);
                self.first.push(row);
                group
            }
        };
        self.of_row.push(group);
    }
}
