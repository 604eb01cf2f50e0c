//! Values as Postgres prints them, and texts as Postgres reads them.
//!
//! Three parties need the same text for a value: the wire (results, parameters), files (COPY, CSV) and SQL (casts to and
//! from text). So there is one place that knows it. Printing resolves a column's type once, into a [`Column`] that
//! borrows the typed array; a value then costs one predictable branch and no allocation. Reading goes the other way: a
//! [`Reader`] appends texts to one column. The leaves are plain functions per type, for whoever has a single value.
//!
//! | file | what it knows |
//! | --- | --- |
//! | column.rs, reader.rs | whole columns: array to text, text to array |
//! | number.rs, decimal.rs | integers, floats (shortest digits that read back), numerics (scale kept) |
//! | calendar.rs, datetime.rs, zone.rs | days and clocks; dates, times and timestamps; session time zones |
//! | interval.rs | `1 year 2 mons 3 days 04:05:06.789`, ISO 8601 and the verbose forms |
//! | bytes.rs, json.rs | booleans, bytea, uuid; jsonb in canonical form |
//! | nested.rs | quoting of arrays and records |
//!
//! Nothing here panics on any text or value, and nothing asks a clock: `now` and `today` are not read as dates.

pub mod bytes;
pub mod calendar;
mod column;
pub mod datetime;
pub mod decimal;
pub mod interval;
pub mod json;
mod nested;
pub mod number;
mod reader;
mod zone;

use crate::error::{Error, Kind};
use arrow::datatypes::{DataType, Field, FieldRef};
use std::sync::Arc;

pub use column::{Column, NAME_OF_OID, canonical_array, canonical_type, is_jsonb, is_vector, write_value};
pub use reader::{Reader, parse_value};
pub use zone::{Zone, shown_offset};

/// Key of the field metadata that tells types apart which share an Arrow type: `jsonb`, `json`, `uuid`, `varchar`, `oid`, `name`, ….
pub const TYPE_KEY: &str = "tw.type";

/// Key of the field metadata with the type modifier, as Postgres counts it (`varchar(10)` is 14).
pub const TYPMOD_KEY: &str = "tw.typmod";

/// Key of the field metadata of a struct that is a relation's row: the OIDs of the row's type and of arrays of it, with a comma.
pub const ROW_KEY: &str = "tw.row";

/// The field of a list's items. What tells apart types that share an Arrow type stands at the list's own field, so that lists of one Arrow type can meet each other
/// whatever they hold; members of structs carry theirs. `None`: no list.
pub fn item_of(field: &Field) -> Option<FieldRef> {
    let (DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) | DataType::ListView(item)) = field.data_type() else {
        return None;
    };
    let marks = field.metadata().iter().filter(|(key, _)| [TYPE_KEY, TYPMOD_KEY, ROW_KEY].contains(&key.as_str()) && !item.metadata().contains_key(*key));
    let of_vector = |mark: &String| if mark == "oidvector" { "oid".to_owned() } else { "int2".to_owned() };
    let marks: Vec<(String, String)> = marks.map(|(k, v)| (k.clone(), if is_vector(field) { of_vector(v) } else { v.clone() })).collect();
    if marks.is_empty() {
        return Some(item.clone());
    }
    let mut marked = item.as_ref().clone();
    marked.metadata_mut().extend(marks);
    Some(Arc::new(marked))
}

/// A list of such items.
pub fn list_of(name: &str, item: Field) -> Field {
    let marks = item.metadata().clone();
    let item = item.with_metadata(Default::default()).with_name("item").with_nullable(true);
    Field::new(name, DataType::List(Arc::new(item)), true).with_metadata(marks)
}

/// What of a session's settings changes how values print and read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TextStyle {
    /// The session's `TimeZone`, in which a timestamptz prints and in which one without an offset is read.
    pub timezone: Zone,
}

impl TextStyle {
    pub const UTC: TextStyle = TextStyle { timezone: Zone::Utc };
}

impl Default for TextStyle {
    fn default() -> Self {
        Self::UTC
    }
}

/// `invalid input syntax for type integer: "abc"`, the message of every reader here.
fn invalid_syntax(kind: Kind, type_name: &str, text: &str) -> Error {
    Error::new(kind, format!("invalid input syntax for type {type_name}: \"{text}\""))
}

/// Blanks as C's `isspace` sees them, which Postgres skips around numbers, dates and booleans.
fn trim(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\x0b')
}
