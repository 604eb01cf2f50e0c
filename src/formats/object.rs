//! A JSON object into columns. Fields are looked up by prediction: producers write the same fields in the same order, so the next field is compared with
//! the one behind the last hit before anything is searched.

use super::column::{Column, Rules};
use super::scan::{Bad, Checked, Cursor, bad_value};
use crate::error::Result;
use arrow::array::ArrayRef;
use arrow::datatypes::Fields;
use std::collections::HashMap;

/// The columns of one object: of a record, or of a struct inside one.
pub struct Object {
    columns: Vec<Column>,
    /// `"name":` of each column: what its field looks like.
    quoted: Vec<Box<[u8]>>,
    exact: HashMap<Box<[u8]>, usize, foldhash::fast::FixedState>,
    /// By lower-cased name: SQL folds `dateTime` to `datetime`, the JSON does not.
    folded: HashMap<Box<[u8]>, usize, foldhash::fast::FixedState>,
    missing_is_null: bool,
}

impl Object {
    /// Error: a type that JSON values cannot fill.
    pub fn new(fields: &Fields, not_null: &[bool], rules: Rules) -> Result<Object> {
        let columns = fields.iter().zip(not_null).map(|(f, n)| Column::new(f, *n, rules)).collect::<Result<Vec<_>>>()?;
        // A name that JSON would escape is never predicted; the look-up finds it.
        let quoted = fields.iter().map(|f| format!("\"{}\":", f.name()).into_bytes().into()).collect();
        let by_name = |fold: fn(&str) -> String| fields.iter().enumerate().map(|(i, f)| (fold(f.name()).into_bytes().into(), i)).collect();
        Ok(Object { columns, quoted, exact: by_name(str::to_string), folded: by_name(str::to_lowercase), missing_is_null: rules.missing_is_null })
    }

    /// Appends one value to each column from the object at the cursor. After an error the columns must be cut back.
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Checked<()> {
        let row = self.columns.first().map_or(0, Column::rows);
        cursor.expect(b'{')?;
        cursor.enter()?;
        cursor.blanks();
        let mut filled = 0;
        if !cursor.take(b'}') {
            let mut expected = 0;
            loop {
                let found = self.field(cursor, expected, row)?;
                cursor.blanks();
                match found {
                    Some(at) => {
                        filled += self.fill(cursor, at, row)?;
                        expected = at + 1;
                    }
                    None => {
                        cursor.skip()?;
                    }
                }
                cursor.blanks();
                if cursor.take(b'}') {
                    break;
                }
                cursor.expect(b',')?;
                cursor.blanks();
            }
        }
        cursor.leave();
        if filled < self.columns.len() { self.fill_missing(row) } else { Ok(()) }
    }

    /// The column of the field at the cursor, which moves to its value; `None`: not declared.
    #[inline]
    fn field(&self, cursor: &mut Cursor<'_>, expected: usize, row: usize) -> Checked<Option<usize>> {
        if let Some(quoted) = self.quoted.get(expected)
            && cursor.take_all(quoted)
        {
            return Ok(Some(expected));
        }
        if cursor.peek() != b'"' {
            return cursor.unexpected("a field name");
        }
        let key = cursor.string()?;
        let found = if key.escaped { self.find(key.text(&mut Vec::new())?.as_bytes(), row) } else { self.find(key.raw, row) };
        cursor.blanks();
        cursor.expect(b':')?;
        Ok(found)
    }

    fn find(&self, key: &[u8], row: usize) -> Option<usize> {
        if let Some(at) = self.exact.get(key) {
            return Some(*at);
        }
        // The column's own name, once seen, wins over another spelling of it.
        let folded = String::from_utf8_lossy(key).to_lowercase();
        self.folded.get(folded.as_bytes()).copied().filter(|at| self.columns[*at].rows() == row)
    }

    /// Of a field that comes twice the last value counts. Gives how many more columns are filled.
    #[inline]
    fn fill(&mut self, cursor: &mut Cursor<'_>, at: usize, row: usize) -> Checked<usize> {
        let column = &mut self.columns[at];
        let again = column.rows() > row;
        if again {
            column.truncate(row);
        }
        match column.append(cursor) {
            Ok(()) => Ok(usize::from(!again)),
            Err(bad) => Err(named(&column.name, bad)),
        }
    }

    #[cold]
    fn fill_missing(&mut self, row: usize) -> Checked<()> {
        for column in self.columns.iter_mut().filter(|c| c.rows() == row) {
            if column.not_null {
                return bad_value(format!("field \"{}\" is missing", column.name));
            }
            if !self.missing_is_null {
                return bad_value(format!("field \"{}\" is missing (missing_fields = 'null' would take it as NULL)", column.name));
            }
            column.append_null()?;
        }
        Ok(())
    }

    /// One NULL in each column: the object itself is null.
    pub fn append_nulls(&mut self) -> Checked<()> {
        self.columns.iter_mut().try_for_each(Column::append_null)
    }

    /// Cuts each column back to its first `rows` values.
    pub fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|c| c.truncate(rows));
    }

    /// The columns in declared order, and a fresh start.
    pub fn finish(&mut self) -> Result<Vec<ArrayRef>> {
        self.columns.iter_mut().map(Column::finish).collect()
    }
}

#[cold]
fn named(column: &str, mut bad: Box<Bad>) -> Box<Bad> {
    if let Bad::Value(message) = bad.as_mut() {
        // A field of a struct names itself first: the outer names go before it.
        *message = match message.strip_prefix("column \"") {
            Some(inner) => format!("column \"{column}.{inner}"),
            None => format!("column \"{column}\": {message}"),
        };
    }
    bad
}
