//! Golden bytes (they are on disk: a change here is a new format version), and order and round trip over random columns of every type.

use super::*;
use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::SortOptions;
use arrow::datatypes::{Field, Fields, Int32Type, IntervalMonthDayNano, TimeUnit, i256};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::sync::Arc;

fn encoded(columns: &[ArrayRef], orders: &[Order]) -> Rows {
    let codec = codec_of(columns, orders);
    let mut rows = Rows::default();
    codec.encode(columns, &mut rows).unwrap();
    rows
}

fn codec_of(columns: &[ArrayRef], orders: &[Order]) -> Codec {
    Codec::ordered(columns.iter().zip(orders).map(|(c, o)| (c.data_type().clone(), *o)).collect()).unwrap()
}

fn hex(column: ArrayRef, order: Order) -> Vec<String> {
    encoded(&[column], &[order]).iter().map(|r| r.iter().map(|b| format!("{b:02x}")).collect()).collect()
}

const DESC: Order = Order { descending: true, nulls_first: true };

#[test]
fn golden_bytes() {
    let asc = Order::default();
    assert_eq!(hex(Arc::new(Int64Array::from(vec![Some(-1), Some(1), None])), asc), ["027fffffffffffffff", "028000000000000001", "03"]);
    assert_eq!(hex(Arc::new(Int64Array::from(vec![Some(-1), None])), DESC), ["028000000000000000", "01"]);
    assert_eq!(hex(Arc::new(Int16Array::from(vec![258])), asc), ["028102"]);
    assert_eq!(hex(Arc::new(Int32Array::from(vec![-2])), asc), ["027ffffffe"]);
    assert_eq!(hex(Arc::new(BooleanArray::from(vec![Some(false), Some(true), None])), asc), ["0200", "0201", "03"]);
    assert_eq!(
        hex(Arc::new(Float64Array::from(vec![1.5, -1.5, -0.0, f64::NAN])), asc),
        ["02bff8000000000000", "024007ffffffffffff", "028000000000000000", "02fff8000000000000"]
    );
    assert_eq!(hex(Arc::new(Float32Array::from(vec![-f32::NAN])), asc), ["02ffc00000"]);
    assert_eq!(hex(Arc::new(StringArray::from(vec!["ab", "a\0b", ""])), asc), ["0261620001", "026100ff620001", "020001"]);
    assert_eq!(hex(Arc::new(StringArray::from(vec!["a\0"])), DESC), ["029eff00fffe"]);
    assert_eq!(hex(Arc::new(Decimal128Array::from(vec![-1])), asc), ["027fffffffffffffffffffffffffffffff"]);
    let interval = IntervalMonthDayNanoArray::from(vec![IntervalMonthDayNano::new(1, 0, 0), IntervalMonthDayNano::new(0, 30, 0)]);
    assert_eq!(hex(Arc::new(interval), asc), ["0280000000000000000009356907420000"; 2]);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![Some(vec![Some(1), None]), Some(vec![]), None]);
    assert_eq!(hex(Arc::new(list), asc), ["0202800000010300", "0200", "03"]);
    assert_eq!(window_key(1), [2, 0x80, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(hash(b""), 0x2d06800538d394c2);
}

#[test]
fn a_window_key_begins_the_row_of_its_timestamp_and_comes_back() {
    for micros in [i64::MIN, -1, 0, 1_700_000_000_000_000, i64::MAX] {
        let column: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![micros]));
        assert_eq!(encoded(&[column], &[Order::default()]).row(0), window_key(micros));
        assert_eq!(window_of_key(&window_key(micros)), Some(micros));
    }
    assert_eq!(window_of_key(&[NULL_LAST]), None);
}

#[test]
fn intervals_of_equal_length_are_equal_and_keep_their_length() {
    let values = [(1, 0, 0), (0, 30, 0), (0, 29, 86_400_000_000_000), (i32::MAX, i32::MAX, i64::MAX), (i32::MIN, i32::MIN, i64::MIN), (0, 0, -1)];
    let column: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(values.map(|(m, d, n)| IntervalMonthDayNano::new(m, d, n)).to_vec()));
    let rows = encoded(std::slice::from_ref(&column), &[Order::default()]);
    assert_eq!((rows.row(0), rows.row(0)), (rows.row(1), rows.row(2)));
    let codec = codec_of(&[column], &[Order::default()]);
    let back = codec.decode(&mut rows.iter()).unwrap();
    let mut again = Rows::default();
    codec.encode(&back, &mut again).unwrap();
    assert_eq!(rows, again);
}

/// Small domains, so that equal values and prefixes are frequent.
fn random_column(kind: usize, n: usize, rng: &mut StdRng) -> ArrayRef {
    let null = |rng: &mut StdRng| rng.random_range(0..4) == 0;
    macro_rules! pick {
        ($array:ty, $values:expr) => {{
            let values = $values;
            Arc::new((0..n).map(|_| if null(rng) { None } else { Some(values[rng.random_range(0..values.len())].clone()) }).collect::<$array>()) as ArrayRef
        }};
    }
    match kind {
        0 => pick!(BooleanArray, [true, false]),
        1 => pick!(Int16Array, [i16::MIN, -1, 0, 1, i16::MAX]),
        2 => pick!(Int32Array, [i32::MIN, -1, 0, 1, i32::MAX]),
        3 => pick!(Int64Array, [i64::MIN, -1, 0, 1, i64::MAX]),
        4 => pick!(Float32Array, [f32::NEG_INFINITY, -1.5, 0.0, 1.5, f32::INFINITY, f32::NAN]),
        5 => pick!(Float64Array, [f64::NEG_INFINITY, -1e-300, 0.0, 1.5, f64::INFINITY, f64::NAN]),
        6 => pick!(Decimal128Array, [i128::MIN / 4, -1, 0, 1, i128::MAX / 4]),
        7 => pick!(Decimal256Array, [i256::MIN, i256::MINUS_ONE, i256::ZERO, i256::ONE, i256::MAX]),
        8 => pick!(StringArray, ["", "a", "a\0", "a\0\u{1}", "ab", "b", "\0", "ÿ"]),
        9 => pick!(BinaryArray, [vec![], vec![0], vec![0, 0], vec![0, 0xFF], vec![0xFF], vec![0xFF, 0xFE], vec![1]]),
        10 => pick!(Date32Array, [-1, 0, 1]),
        11 => pick!(Time64MicrosecondArray, [0, 1, 86_399_999_999]),
        12 => pick!(TimestampMicrosecondArray, [i64::MIN, -1, 0, 1]),
        13 => Arc::new(random_column(12, n, rng).as_primitive::<arrow::datatypes::TimestampMicrosecondType>().clone().with_timezone("UTC")),
        14 => pick!(UInt64Array, [0, 1, u64::MAX]),
        15 => pick!(UInt32Array, [0, 1, u32::MAX]),
        16 => pick!(Int8Array, [i8::MIN, -1, 0, i8::MAX]),
        17 => {
            let mut builder = FixedSizeBinaryBuilder::new(16);
            (0..n).for_each(|_| if null(rng) { builder.append_null() } else { builder.append_value([rng.random_range(0..3u8); 16]).unwrap() });
            Arc::new(builder.finish())
        }
        18 => {
            let inner = random_column(8, 3 * n, rng);
            let lengths: Vec<usize> = (0..n).map(|_| rng.random_range(0..4)).collect();
            let field = Arc::new(Field::new("item", inner.data_type().clone(), true));
            let nulls = NullBuffer::from((0..n).map(|_| !null(rng)).collect::<Vec<_>>());
            Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), inner, Some(nulls)))
        }
        _ => {
            let (a, b) = (random_column(3, n, rng), random_column(18, n, rng));
            let fields = Fields::from(vec![Field::new("a", a.data_type().clone(), true), Field::new("b", b.data_type().clone(), true)]);
            let nulls = NullBuffer::from((0..n).map(|_| !null(rng)).collect::<Vec<_>>());
            Arc::new(StructArray::new(fields, vec![a, b], Some(nulls)))
        }
    }
}

const KINDS: usize = 20;

#[test]
fn bytes_order_as_arrow_orders() {
    let mut rng = StdRng::seed_from_u64(7);
    for kind in 0..KINDS - 2 {
        for order in [(false, false), (false, true), (true, false), (true, true)].map(|(descending, nulls_first)| Order { descending, nulls_first }) {
            let column = random_column(kind, 60, &mut rng);
            let rows = encoded(std::slice::from_ref(&column), &[order]);
            let compare = make_comparator(&column, &column, SortOptions { descending: order.descending, nulls_first: order.nulls_first }).unwrap();
            for (i, j) in (0..60).flat_map(|i| (0..60).map(move |j| (i, j))) {
                assert_eq!(rows.row(i).cmp(rows.row(j)), compare(i, j), "{:?} {order:?}: rows {i} and {j} of {column:?}", column.data_type());
            }
        }
    }
}

#[test]
fn arrays_order_by_element_then_length() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![]),
        Some(vec![Some(1)]),
        Some(vec![Some(1), Some(0)]),
        Some(vec![Some(1), None]),
        Some(vec![Some(2)]),
        Some(vec![None]),
        None,
    ]);
    let rows = encoded(&[Arc::new(list.clone())], &[Order::default()]);
    assert!(rows.iter().collect::<Vec<_>>().is_sorted());
    let rows = encoded(&[Arc::new(list)], &[DESC]);
    assert_eq!(rows.row(6), [NULL_FIRST]);
    assert!((0..5).all(|i| rows.row(i) > rows.row(i + 1)), "the greatest first, NULL before it");
}

#[test]
fn decoding_gives_back_what_was_encoded() {
    let mut rng = StdRng::seed_from_u64(8);
    for round in 0..200 {
        let columns: Vec<ArrayRef> = (0..rng.random_range(1..5))
            .map(|_| {
                let column = random_column(rng.random_range(0..KINDS), 43, &mut rng);
                column.slice(rng.random_range(0..3), 40) // offsets must be obeyed
            })
            .collect();
        let orders: Vec<Order> = columns.iter().map(|_| Order { descending: rng.random(), nulls_first: rng.random() }).collect();
        let mut rows = encoded(&columns, &orders);
        let codec = codec_of(&columns, &orders);
        let trailing: Vec<Vec<u8>> = rows.iter().map(|r| [r, &[0xFF, 0x00]].concat()).collect();
        let back = codec.decode(&mut trailing.iter().map(Vec::as_slice)).unwrap();
        for (a, b) in columns.iter().zip(&back) {
            let is_float = matches!(a.data_type(), DataType::Float32 | DataType::Float64);
            assert!(is_float || a == b, "round {round}: {a:?}\n{b:?}");
        }
        let before = rows.len();
        codec.encode(&back, &mut rows).unwrap();
        assert!((0..before).all(|i| rows.row(i) == rows.row(before + i)), "round {round}: encoding again gives the same bytes");
    }
}

#[test]
fn damaged_bytes_are_an_error() {
    let mut rng = StdRng::seed_from_u64(9);
    for kind in 0..KINDS {
        let column = random_column(kind, 30, &mut rng);
        for order in [Order::default(), DESC] {
            let codec = codec_of(std::slice::from_ref(&column), &[order]);
            let rows = encoded(std::slice::from_ref(&column), &[order]);
            for row in rows.iter() {
                for end in 0..row.len() {
                    assert!(codec.decode(&mut [&row[..end]].into_iter()).is_err(), "{:?} cut at {end}", column.data_type());
                }
                let mut broken = row.to_vec();
                broken[0] = 0x77;
                assert_eq!(codec.decode(&mut [&broken[..]].into_iter()).unwrap_err().kind(), crate::error::Kind::DataCorrupted);
            }
        }
    }
}

#[test]
fn types_that_cannot_be_stored_are_refused() {
    let error = Codec::new(&[DataType::LargeUtf8]).unwrap_err();
    assert_eq!(error.sqlstate(), "0A000");
    assert!(Codec::new(&[DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))]).is_ok());
}
