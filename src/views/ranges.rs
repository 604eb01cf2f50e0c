//! Which stored keys can satisfy a list of conditions. A key is its fields back to back, in an order that bytes keep (see `types::key`), so the conditions on
//! its leading columns make ranges of bytes:
//!
//! ```text
//!   key (a, b, c)     a = 1 AND b IN (2, 3)     ->  [1 2, 1 2+1)  [1 3, 1 3+1)
//!                     a = 1 AND b > 2           ->  [1 2+1, 1 NULL)
//!                     b = 2                     ->  nothing to go by
//! ```
//!
//! Ranges hold at least the rows that satisfy the conditions; where the order of values is not exactly that of their bytes (-0.0 of floats) they hold more.

use super::condition::{Condition, Test};
use crate::error::Result;
use crate::state::store::after_prefix;
use crate::types::key::{Codec, NOT_NULL, Order, Rows};
use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;

/// Ranges that one scan may consist of; a list that would make more is left to the filter.
const MAX_RANGES: usize = 4096;

/// One column of a stored key.
#[derive(Clone, Debug)]
pub struct KeyPart {
    /// Of the relation.
    pub column: usize,
    pub data_type: DataType,
    pub order: Order,
}

/// Keys `from <= key < to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct KeyRanges {
    /// In order, disjoint.
    pub ranges: Vec<KeyRange>,
    /// Leading parts of the key that are bound to single values; all of them: each range is that of one key, its `from`.
    pub points: usize,
    /// Whether the part behind them is bound from a side.
    pub bounded: bool,
    /// The conditions that made the ranges, by their place in the list.
    pub used: Vec<usize>,
}

/// `None`: the conditions ask nothing of the key's first column.
pub fn key_ranges(parts: &[KeyPart], conditions: &[Condition], parameters: &[ScalarValue]) -> Result<Option<KeyRanges>> {
    let mut prefixes: Vec<Vec<u8>> = vec![Vec::new()];
    let (mut used, mut points) = (Vec::new(), 0);
    for part in parts {
        let Some((values, by)) = values(part, conditions, parameters) else { break };
        if prefixes.len() * values.len() > MAX_RANGES {
            break;
        }
        let encoded = encode(part, values)?;
        prefixes = prefixes.iter().flat_map(|p| encoded.iter().map(|v| [p, v].concat())).collect();
        points += 1;
        used.push(by);
    }
    prefixes.sort();
    prefixes.dedup();
    let bounds = match parts.get(points) {
        Some(part) => bounds(part, conditions, parameters, &mut used)?,
        None => None,
    };
    if points == 0 && bounds.is_none() {
        return Ok(None);
    }
    let bounded = bounds.is_some();
    let ranges = prefixes.into_iter().map(|prefix| match &bounds {
        Some((from, to)) => KeyRange { from: [&prefix[..], from].concat(), to: [&prefix[..], to].concat() },
        None => KeyRange { to: after_prefix(&prefix), from: prefix },
    });
    Ok(Some(KeyRanges { ranges: ranges.filter(|r| r.from < r.to).collect(), points, bounded, used }))
}

/// The shortest list of values that the column must be one of, and the condition that says so. No comparison with NULL is true.
fn values(part: &KeyPart, conditions: &[Condition], parameters: &[ScalarValue]) -> Option<(Vec<ScalarValue>, usize)> {
    let of = |(i, condition): (usize, &Condition)| {
        if condition.column != part.column {
            return None;
        }
        let mut values = match &condition.test {
            Test::IsNull => return ScalarValue::try_from(&part.data_type).ok().map(|null| (vec![null], i)),
            Test::Equals(values) => values.iter().map(|v| v.resolved(&part.data_type, parameters)).collect::<Option<Vec<_>>>()?,
            Test::Above { .. } | Test::Below { .. } => return None,
        };
        values.retain(|v| !v.is_null());
        Some((values, i))
    };
    conditions.iter().enumerate().filter_map(of).min_by_key(|(values, _)| values.len())
}

/// The bytes between which the part's field lies; `None`: no condition bounds it. Of several bounds of a side the narrowest counts.
fn bounds(part: &KeyPart, conditions: &[Condition], parameters: &[ScalarValue], used: &mut Vec<usize>) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
    if !has_order(&part.data_type) {
        return Ok(None);
    }
    // Without a bound: all that is not NULL.
    let (mut from, mut to) = (NOT_NULL.start.to_vec(), NOT_NULL.end.to_vec());
    let before = used.len();
    for (i, condition) in conditions.iter().enumerate().filter(|(_, c)| c.column == part.column) {
        let (value, inclusive, above) = match &condition.test {
            Test::Above { value, inclusive } => (value, *inclusive, true),
            Test::Below { value, inclusive } => (value, *inclusive, false),
            Test::IsNull | Test::Equals(_) => continue,
        };
        let Some(value) = value.resolved(&part.data_type, parameters) else { continue };
        used.push(i);
        if value.is_null() {
            to = from.clone();
            continue;
        }
        let inclusive = inclusive || matches!(part.data_type, DataType::Float32 | DataType::Float64);
        let at = encode(part, vec![value])?.row(0).to_vec();
        if above != part.order.descending {
            from = from.max(if inclusive { at } else { after_prefix(&at) });
        } else {
            to = to.min(if inclusive { after_prefix(&at) } else { at });
        }
    }
    Ok((used.len() > before).then_some((from, to)))
}

/// Whether values compare as their bytes do, but for the zeros and NaNs of floats.
pub fn has_order(data_type: &DataType) -> bool {
    !data_type.is_nested() && !matches!(data_type, DataType::Interval(_) | DataType::Null)
}

fn encode(part: &KeyPart, values: Vec<ScalarValue>) -> Result<Rows> {
    let mut rows = Rows::default();
    if !values.is_empty() {
        let column: ArrayRef = ScalarValue::iter_to_array(values)?;
        Codec::ordered(vec![(part.data_type.clone(), part.order)])?.encode(&[column], &mut rows)?;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::condition::conditions;
    use arrow::datatypes::{Field, Schema};
    use arrow::record_batch::RecordBatch;
    use datafusion::common::DFSchema;
    use datafusion::logical_expr::execution_props::ExecutionProps;
    use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
    use datafusion::logical_expr::{Expr, col, lit};
    use datafusion::physical_expr::create_physical_expr;
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    const TYPES: [DataType; 5] = [DataType::Int32, DataType::Utf8, DataType::Float64, DataType::Boolean, DataType::Decimal128(10, 2)];

    fn value(random: &mut StdRng, data_type: &DataType) -> ScalarValue {
        if random.random_ratio(1, 6) {
            return ScalarValue::try_from(data_type).unwrap();
        }
        match data_type {
            DataType::Int32 => ScalarValue::Int32(Some(*[-3, 0, 1, 2, i32::MAX, i32::MIN].get(random.random_range(0..6)).unwrap())),
            DataType::Utf8 => ScalarValue::Utf8(Some(["", "a", "a\0", "a\0b", "ab", "b\u{10FFFF}"][random.random_range(0..6)].to_owned())),
            DataType::Float64 => ScalarValue::Float64(Some([-0.0, 0.0, 1.5, -1.5, f64::INFINITY, f64::NAN][random.random_range(0..6)])),
            DataType::Boolean => ScalarValue::Boolean(Some(random.random())),
            _ => ScalarValue::Decimal128(Some(random.random_range(-2..3) * 50), 10, 2),
        }
    }

    fn filter(random: &mut StdRng, names: &[&str]) -> Expr {
        let at = random.random_range(0..names.len());
        let (column, mut value) = (col(names[at]), || lit(value(random, &TYPES[at])));
        match (value().to_string().len() + at) % 8 {
            0 => column.eq(value()),
            1 => column.gt(value()),
            2 => column.gt_eq(value()),
            3 => column.lt(value()),
            4 => column.lt_eq(value()),
            5 => column.in_list(vec![value(), value(), value()], false),
            6 => column.is_null(),
            _ => column.clone().eq(value()).or(value().eq(column)),
        }
    }

    /// Random rows under random keys: what a filter lets pass has its key in the ranges, and conditions keep most of the others out.
    #[test]
    fn ranges_hold_what_the_filter_lets_pass() {
        let names = ["i", "s", "f", "b", "d"];
        let schema = Schema::new(names.iter().zip(TYPES).map(|(n, t)| Field::new(*n, t, true)).collect::<Vec<_>>());
        let df_schema = DFSchema::try_from(schema.clone()).unwrap();
        let (mut outside, mut passed) = (0, 0);
        for seed in 0..3000 {
            let random = &mut StdRng::seed_from_u64(seed);
            let mut parts: Vec<KeyPart> = (0..5)
                .map(|column| KeyPart { column, data_type: TYPES[column].clone(), order: Order { descending: random.random(), nulls_first: random.random() } })
                .collect();
            let rotated = random.random_range(0..5);
            parts.rotate_left(rotated);
            parts.truncate(random.random_range(1..4));
            let codec = Codec::ordered(parts.iter().map(|p| (p.data_type.clone(), p.order)).collect()).unwrap();
            let columns: Vec<ArrayRef> = TYPES.iter().map(|t| ScalarValue::iter_to_array((0..40).map(|_| value(random, t))).unwrap()).collect();
            let mut keys = Rows::default();
            codec.encode(&parts.iter().map(|p| columns[p.column].clone()).collect::<Vec<_>>(), &mut keys).unwrap();
            let batch = RecordBatch::try_new(schema.clone().into(), columns).unwrap();
            let filters: Vec<Expr> = (0..random.random_range(1..4)).map(|_| filter(random, &names)).collect();
            let all = filters.iter().cloned().reduce(Expr::and).unwrap();
            let physical = create_physical_expr(&all, &df_schema, &ExecutionProps::new(), &PhysicalPlanningContext::default()).unwrap();
            let kept = physical.evaluate(&batch).unwrap().into_array(40).unwrap();
            let kept = arrow::array::AsArray::as_boolean(&kept);
            let Some(found) = key_ranges(&parts, &conditions(&filters, &schema), &[]).unwrap() else { continue };
            assert!(found.ranges.windows(2).all(|w| w[0].to <= w[1].from), "seed {seed}: in order and disjoint");
            for row in 0..40 {
                let inside = found.ranges.iter().any(|r| r.from[..] <= *keys.row(row) && *keys.row(row) < r.to[..]);
                let passes = arrow::array::Array::is_valid(kept, row) && kept.value(row);
                assert!(inside || !passes, "seed {seed}: row {row} passes {all} and is outside");
                outside += usize::from(!inside);
                passed += usize::from(passes);
            }
        }
        assert!(outside > 20_000 && passed > 3000, "{outside} outside, {passed} passed");
    }

    #[test]
    fn leading_columns_make_ranges() {
        let schema = Schema::new(vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Int32, true)]);
        let parts: Vec<KeyPart> = (0..2).map(|column| KeyPart { column, data_type: DataType::Int32, order: Order::default() }).collect();
        let ranges = |filter: Expr| key_ranges(&parts, &conditions([&filter], &schema), &[]).unwrap();
        let of = |filter: Expr| ranges(filter).map(|r| (r.ranges.len(), r.points, r.bounded));
        assert_eq!(of(col("a").eq(lit(1))), Some((1, 1, false)));
        assert_eq!(of(col("a").in_list(vec![lit(1), lit(3), lit(1)], false).and(col("b").gt(lit(2)))), Some((2, 1, true)));
        assert_eq!(of(col("a").eq(lit(1)).and(col("b").eq(lit(2)))), Some((1, 2, false)));
        assert_eq!(of(col("b").eq(lit(2))), None);
        assert_eq!(of(col("a").eq(lit(ScalarValue::Int32(None)))), Some((0, 1, false)), "nothing equals NULL");
        assert_eq!(of(col("a").gt(lit(5)).and(col("a").lt(lit(3)))), Some((0, 0, true)));
        let many = (0..200).map(lit).collect::<Vec<_>>();
        assert_eq!(of(col("a").in_list(many.clone(), false).and(col("b").in_list(many, false))), Some((200, 1, false)), "too many together");
    }
}
