//! OIDs: those that are fixed, and those of what hangs on an object, which are derived from the object's own.
//!
//! An object's OID is its number, from 16384 on. Numbers are never used again, so an OID means one thing for ever. What Postgres
//! gives an OID of its own beside the object (row type, primary key, …) has none in our catalog: the five upper bits tell the
//! part, the 27 lower ones the object. Nothing of it is stored, it is the same after a restart, and it never meets an object's.
//!
//! ```text
//!  31    27 26                        0
//! |  part  |  number of the object     |   part 0: the object itself
//! ```
//!
//! | OIDs | what has them |
//! | --- | --- |
//! | below 14000 | what PostgreSQL has when it is made, with its OIDs |
//! | 14000 to 16383 | fixed: the schema `tidewater` and its relations, the foreign data wrapper |
//! | 16384 to 2^27 | objects |
//! | 2^27 to 2^30 | parts of objects |
//! | 2^30 and above | defaults of columns |

use crate::types::ids::ObjectId;
use xxhash_rust::xxh3::xxh3_64;

/// Schemas.
pub const PG_CATALOG: u32 = 11;
pub const PUBLIC: u32 = 2200;
pub const INFORMATION_SCHEMA: u32 = 13207;
pub const SYSTEM: u32 = 14000;

/// The one database.
pub const DATABASE: u32 = 5;
/// The role that owns everything.
pub const OWNER: u32 = 10;
/// The foreign data wrapper of all sources.
pub const WRAPPER: u32 = 14001;
/// The tablespace of the database.
pub const TABLESPACE: u32 = 1663;

/// Access methods.
pub const HEAP: u32 = 2;
pub const BTREE: u32 = 403;

/// Collations.
pub const DEFAULT_COLLATION: u32 = 100;
pub const C_COLLATION: u32 = 950;

/// Relations of pg_catalog that others name: in pg_depend and pg_description.
pub const PG_TYPE: u32 = 1247;
pub const PG_CLASS: u32 = 1259;
pub const PG_FOREIGN_SERVER: u32 = 1417;
pub const PG_FOREIGN_DATA_WRAPPER: u32 = 2328;
pub const PG_AM: u32 = 2601;
pub const PG_ATTRDEF: u32 = 2604;
pub const PG_CONSTRAINT: u32 = 2606;
pub const PG_NAMESPACE: u32 = 2615;
pub const PG_REWRITE: u32 = 2618;

/// Types.
pub const BOOL: u32 = 16;
pub const BYTEA: u32 = 17;
pub const INT8: u32 = 20;
pub const INT2: u32 = 21;
pub const INT4: u32 = 23;
pub const TEXT: u32 = 25;
pub const XID: u32 = 28;
pub const FLOAT4: u32 = 700;
pub const FLOAT8: u32 = 701;
pub const BPCHAR: u32 = 1042;
pub const VARCHAR: u32 = 1043;
pub const DATE: u32 = 1082;
pub const TIME: u32 = 1083;
pub const TIMESTAMP: u32 = 1114;
pub const TIMESTAMPTZ: u32 = 1184;
pub const INTERVAL: u32 = 1186;
pub const NUMERIC: u32 = 1700;
pub const RECORD: u32 = 2249;
pub const ANYARRAY: u32 = 2277;
pub const UUID: u32 = 2950;

/// What hangs on an object and has an OID of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// pg_type: the type of the relation's rows.
    RowType = 1,
    /// pg_type: arrays of them.
    RowArray = 2,
    /// pg_class: the index of a table's primary key.
    KeyIndex = 3,
    /// pg_constraint: the primary key.
    KeyConstraint = 4,
    /// pg_rewrite: the query of a view or materialized view.
    Rule = 5,
    /// pg_foreign_server: a connector. It hangs on no object: the lower bits are a hash of its name.
    Server = 6,
}

const PART_SHIFT: u32 = 27;
const OBJECT_MASK: u32 = (1 << PART_SHIFT) - 1;

/// The OID of a part.
pub fn of_part(object: ObjectId, part: Part) -> u32 {
    debug_assert!(object.0 <= OBJECT_MASK, "object {object} is too great for derived OIDs");
    ((part as u32) << PART_SHIFT) | (object.0 & OBJECT_MASK)
}

/// The object that a part's OID is derived from; `None`: it is none of that part.
pub fn object_of(oid: u32, part: Part) -> Option<ObjectId> {
    (oid >> PART_SHIFT == part as u32).then_some(ObjectId(oid & OBJECT_MASK))
}

/// The OID of a connector's foreign server.
pub fn server(connector: &str) -> u32 {
    ((Part::Server as u32) << PART_SHIFT) | (xxh3_64(connector.as_bytes()) as u32 & OBJECT_MASK)
}

const FIRST_DEFAULT: u64 = 1 << 30;
const COLUMNS_MAX: u64 = 1600;

/// The OID in pg_attrdef of a column, numbered from 1. Objects whose numbers are two million apart may share one; nothing refers to it but pg_depend.
pub fn default_of(object: ObjectId, column: i16) -> u32 {
    let room = u64::from(u32::MAX) + 1 - FIRST_DEFAULT;
    let place = (u64::from(object.0) * COLUMNS_MAX + u64::from(column.unsigned_abs())) % room;
    (FIRST_DEFAULT + place) as u32
}

const FIRST_LISTING: u32 = 14100;
const LISTING_OIDS: u32 = 3;

/// OIDs of a relation of the schema `tidewater`: itself, its row type, arrays of it.
pub fn listing(place: usize) -> (u32, u32, u32) {
    let first = FIRST_LISTING + LISTING_OIDS * place as u32;
    debug_assert!(first + LISTING_OIDS <= 16384, "listings have run out of OIDs");
    (first, first + 1, first + 2)
}

/// The place of the listing whose OID, or whose types' OID, it is.
pub fn listing_of(oid: u32) -> Option<usize> {
    (FIRST_LISTING..16384).contains(&oid).then(|| ((oid - FIRST_LISTING) / LISTING_OIDS) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn derived_oids_are_distinct_and_lead_back() {
        let mut seen = HashSet::new();
        for number in [16384, 16385, 20_000, OBJECT_MASK] {
            let object = ObjectId(number);
            assert!(seen.insert(number));
            for part in [Part::RowType, Part::RowArray, Part::KeyIndex, Part::KeyConstraint, Part::Rule] {
                let oid = of_part(object, part);
                assert!(seen.insert(oid));
                assert_eq!(object_of(oid, part), Some(object));
                assert_eq!(object_of(oid, Part::Server), None);
            }
            for column in 1..=1600 {
                let oid = default_of(object, column);
                assert!(u64::from(oid) >= FIRST_DEFAULT && (number == OBJECT_MASK || seen.insert(oid)));
            }
        }
        assert_ne!(server("kafka"), server("file"));
        assert_eq!(listing_of(listing(7).2), Some(7));
    }
}
