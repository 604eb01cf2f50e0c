//! Rows and deltas as text, one line per row: `7 | ann`, with its weight before it in a delta: `+1 | 7 | ann`. For people and tests; nothing reads it back.

use super::delta::Delta;
use crate::error::Result;
use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use std::fmt::Write;

/// One text per row; NULL is `NULL`.
pub fn rows(batch: &RecordBatch) -> Result<Vec<String>> {
    let options = FormatOptions::new().with_null("NULL");
    let columns = batch.columns().iter().map(|c| Ok(ArrayFormatter::try_new(c, &options)?)).collect::<Result<Vec<_>>>()?;
    let row = |i: usize| {
        let mut text = String::new();
        for (c, column) in columns.iter().enumerate() {
            let gap = if c == 0 { "" } else { " | " };
            // A value that cannot be shown (a timestamp out of the calendar) still has a place in its row.
            if write!(text, "{gap}{}", column.value(i)).is_err() {
                text.push('?');
            }
        }
        text
    };
    Ok((0..batch.num_rows()).map(row).collect())
}

/// One text per row, weight first.
pub fn delta(delta: &Delta) -> Result<Vec<String>> {
    let rows = rows(delta.batch())?;
    Ok(rows.into_iter().enumerate().map(|(i, row)| format!("{:+} | {row}", delta.weight(i))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use std::sync::Arc;

    #[test]
    fn a_line_per_row() {
        let columns: [(&str, ArrayRef); 2] =
            [("id", Arc::new(Int64Array::from(vec![Some(7), None]))), ("name", Arc::new(StringArray::from(vec!["ann", "bob"])))];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        assert_eq!(delta(&Delta::new(batch, vec![1, -2])).unwrap(), ["+1 | 7 | ann", "-2 | NULL | bob"]);
    }
}
