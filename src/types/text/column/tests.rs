use super::*;
use arrow::array::{DictionaryArray, LargeStringArray, ListBuilder, StringBuilder, StringViewArray, StructArray, TimestampSecondArray, UInt64Array};
use arrow::datatypes::{Int8Type, Int32Type, IntervalMonthDayNano};
use std::collections::HashMap;

fn texts(field: &Field, array: ArrayRef, style: &TextStyle) -> Vec<String> {
    let array = canonical_array(&array).unwrap();
    let column = Column::new(field, array.as_ref(), style).unwrap();
    (0..array.len())
        .map(|row| {
            let mut out = Vec::new();
            if column.is_null(row) {
                return "null".to_string();
            }
            column.write(row, &mut out);
            String::from_utf8(out).unwrap()
        })
        .collect()
}

fn plain(array: ArrayRef) -> Vec<String> {
    let field = Field::new("c", array.data_type().clone(), true);
    texts(&field, array, &TextStyle::UTC)
}

#[test]
fn every_scalar_type_prints() {
    assert_eq!(plain(Arc::new(BooleanArray::from(vec![Some(true), Some(false), None]))), ["t", "f", "null"]);
    assert_eq!(plain(Arc::new(Int16Array::from(vec![-5]))), ["-5"]);
    assert_eq!(plain(Arc::new(Int64Array::from(vec![i64::MIN]))), ["-9223372036854775808"]);
    assert_eq!(plain(Arc::new(Float64Array::from(vec![100.0]))), ["100"]);
    assert_eq!(plain(Arc::new(Decimal128Array::from(vec![1550]).with_precision_and_scale(12, 2).unwrap())), ["15.50"]);
    assert_eq!(plain(Arc::new(StringArray::from(vec!["a b"]))), ["a b"]);
    assert_eq!(plain(Arc::new(BinaryArray::from(vec![&b"\x00\xff"[..]]))), ["\\x00ff"]);
    assert_eq!(plain(Arc::new(Date32Array::from(vec![11_016]))), ["2000-02-29"]);
    assert_eq!(plain(Arc::new(Time64MicrosecondArray::from(vec![1_500_000]))), ["00:00:01.5"]);
    assert_eq!(plain(Arc::new(TimestampMicrosecondArray::from(vec![0]))), ["1970-01-01 00:00:00"]);
    let interval = IntervalMonthDayNano::new(14, 3, 14_706_789_000_000);
    assert_eq!(plain(Arc::new(IntervalMonthDayNanoArray::from(vec![interval]))), ["1 year 2 mons 3 days 04:05:06.789"]);
}

#[test]
fn timestamptz_prints_in_the_session_zone_and_jsonb_with_spaces() {
    let style = TextStyle { timezone: Zone::parse("Europe/Berlin").unwrap() };
    let array: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0]).with_timezone("UTC"));
    let field = Field::new("c", array.data_type().clone(), true);
    assert_eq!(texts(&field, array, &style), ["1970-01-01 01:00:00+01"]);
    let field = Field::new("c", DataType::Utf8, true).with_metadata(HashMap::from([(TYPE_KEY.to_string(), "jsonb".to_string())]));
    assert_eq!(texts(&field, Arc::new(StringArray::from(vec![r#"{"a":1}"#])), &style), [r#"{"a": 1}"#]);
}

#[test]
fn arrays_and_records_nest_and_quote() {
    let mut builder = ListBuilder::new(StringBuilder::new());
    builder.append_value([Some("a"), None, Some("b c"), Some(""), Some("null")]);
    builder.append_value([None::<&str>; 0]);
    builder.append_null();
    assert_eq!(plain(Arc::new(builder.finish())), ["{a,NULL,\"b c\",\"\",\"null\"}", "{}", "null"]);
    let inner = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), Some(2)]), Some([Some(3), None])]);
    let field = Arc::new(Field::new("item", inner.data_type().clone(), true));
    let outer = ListArray::new(field, arrow::buffer::OffsetBuffer::from_lengths([2]), Arc::new(inner), None);
    assert_eq!(plain(Arc::new(outer)), ["{{1,2},{3,NULL}}"]);
    let record = StructArray::from(vec![
        (Arc::new(Field::new("a", DataType::Int32, true)), Arc::new(Int32Array::from(vec![1])) as ArrayRef),
        (Arc::new(Field::new("b", DataType::Utf8, true)), Arc::new(StringArray::from(vec!["a b"])) as ArrayRef),
        (Arc::new(Field::new("c", DataType::Utf8, true)), Arc::new(StringArray::from(vec![None::<&str>])) as ArrayRef),
    ]);
    assert_eq!(plain(Arc::new(record)), ["(1,\"a b\",)"]);
}

#[test]
fn other_layouts_become_canonical() {
    assert_eq!(plain(Arc::new(StringViewArray::from(vec!["x"]))), ["x"]);
    assert_eq!(plain(Arc::new(LargeStringArray::from(vec!["x"]))), ["x"]);
    assert_eq!(plain(Arc::new(UInt64Array::from(vec![u64::MAX]))), ["18446744073709551615"]);
    assert_eq!(plain(Arc::new(TimestampSecondArray::from(vec![1]))), ["1970-01-01 00:00:01"]);
    let dictionary: DictionaryArray<Int8Type> = vec!["a", "b", "a"].into_iter().collect();
    assert_eq!(plain(Arc::new(dictionary)), ["a", "b", "a"]);
    assert_eq!(plain(arrow::array::new_null_array(&DataType::Null, 2)), ["null", "null"]);
    let mut out = Vec::new();
    let array: ArrayRef = Arc::new(Int32Array::from(vec![1, 2]));
    write_value(&Field::new("c", DataType::Int32, true), &array, 1, &mut out, &TextStyle::UTC).unwrap();
    assert_eq!(out, b"2");
}
