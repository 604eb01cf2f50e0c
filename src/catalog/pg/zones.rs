//! pg_timezone_names: the time zones that `SET TimeZone` takes, and what they are now.

use super::facts::Facts;
use super::relations::Relation;
use super::sheet::Sheet;
use crate::error::Result;
use arrow::array::RecordBatch;
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::{OffsetComponents, OffsetName, TZ_VARIANTS, TzOffset};

pub fn rows(relation: &'static Relation, facts: &Facts) -> Result<RecordBatch> {
    let now = DateTime::from_timestamp_micros(facts.now).unwrap_or_default().naive_utc();
    let zones: Vec<(&str, TzOffset)> = TZ_VARIANTS.iter().map(|zone| (zone.name(), zone.offset_from_utc_datetime(&now))).collect();
    Sheet::new(relation, zones.len())
        .column("name", zones.iter().map(|z| z.0))
        .column("abbrev", zones.iter().map(|z| z.1.abbreviation()))
        .column("utc_offset", zones.iter().map(|z| i64::from(z.1.fix().local_minus_utc()) * 1_000_000))
        .column("is_dst", zones.iter().map(|z| !z.1.dst_offset().is_zero()))
        .finish()
}
