//! Binary formats against bytes that PostgreSQL 15 gave for the same values (`encode(numeric_send(v), 'hex')` and so on).

use super::fake::{VALUES, every_type};
use crate::pg::backend::ResultColumn;
use crate::pg::decode::decode_parameter;
use crate::pg::encode::{Format, RowEncoder, prepare};
use crate::types::text::TextStyle;
use arrow::array::{Array, ArrayRef, Int32Array, ListArray, RecordBatch, StringArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use std::sync::Arc;

const GOLDEN: [(u32, &str); 29] = [
    (16, "01"),
    (17, "00ff"),
    (19, "70675f636c617373"),
    (20, "8000000000000000"),
    (21, "fff9"),
    (23, "0000002a"),
    (25, "612027622720c3a9"),
    (26, "ffffffff"),
    (114, "7b226222203a20317d"),
    (700, "49742400"),
    (701, "7e37e43c8800759c"),
    (1043, "76617279696e67"),
    (1082, "fff49d7b"),
    (1083, "000000036c97ca88"),
    (1114, "0002b5832fc98320"),
    (1184, "0002b5832fc1e200"),
    (1186, "000000036c97ca88000000030000000e"),
    (1700, "0003000140000009000109291a85"),
    (2950, "a0eebc999c0b4ef8bb6d6bb9bd380a11"),
    (3802, "017b2261223a20312c202262223a205b312c20325d7d"),
    (1000, "00000001000000010000001000000003000000010000000101ffffffff0000000100"),
    (1007, "00000001000000010000001700000003000000010000000400000001ffffffff0000000400000003"),
    (1009, "00000001000000010000001900000004000000010000000161ffffffff0000000362206300000000"),
    (1016, "000000000000000000000014"),
    (1022, "0000000100000000000002bd0000000200000001000000083ff8000000000000000000088000000000000000"),
    (1115, "00000001000000000000045a0000000100000001000000080002b5832fc1e200"),
    (1231, "0000000100000001000006a400000002000000010000000c000200000000000900011388ffffffff"),
    (2951, "000000010000000000000b86000000010000000100000010a0eebc999c0b4ef8bb6d6bb9bd380a11"),
    (3807, "000000010000000000000eda000000010000000100000009017b2261223a20317d"),
];

/// The binary form of the first row's value, as hex.
fn binary(field: &Field, array: ArrayRef) -> String {
    let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field.clone()])), vec![array]).unwrap();
    let column = ResultColumn { name: "c".into(), field: Arc::new(field.clone()), table_oid: 0, attribute: 0 };
    let encoder = RowEncoder::new(&[column], &[Format::Binary], TextStyle::UTC);
    let arrays = prepare(&batch).unwrap();
    let mut out = Vec::new();
    encoder.rows(&arrays).unwrap().write(0, &mut out).unwrap();
    // Behind the message's type and length, the count of columns, and the value's length.
    out[11..].iter().map(|b| format!("{b:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn every_type_has_the_bytes_of_postgres() {
    let batch = every_type();
    for (i, ((oid, hex), (same, text))) in GOLDEN.iter().zip(VALUES).enumerate() {
        assert_eq!(*oid, same);
        let schema = batch.schema();
        assert_eq!(binary(schema.field(i), batch.column(i).clone()), *hex, "{oid} {text}");
        let decoded = decode_parameter(*oid, Format::Binary, Some(&bytes(hex)), &TextStyle::UTC).unwrap();
        assert_eq!(decoded.to_data(), batch.column(i).slice(0, 1).to_data(), "{oid} {text}");
    }
}

#[test]
fn arrays_of_arrays_and_records() {
    let inner = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1), Some(2)]), Some([Some(3), None])]);
    let item = Arc::new(Field::new("item", inner.data_type().clone(), true));
    let matrix: ArrayRef = Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([2]), Arc::new(inner), None));
    let golden = "00000002000000010000001700000002000000010000000200000001000000040000000100000004000000020000000400000003ffffffff";
    assert_eq!(binary(&Field::new("c", matrix.data_type().clone(), true), matrix), golden);
    let fields = vec![Field::new("a", DataType::Int32, true), Field::new("b", DataType::Utf8, true), Field::new("c", DataType::Utf8, true)];
    let columns: Vec<ArrayRef> =
        vec![Arc::new(Int32Array::from(vec![1])), Arc::new(StringArray::from(vec!["a b"])), Arc::new(StringArray::from(vec![None::<&str>]))];
    let record: ArrayRef = Arc::new(StructArray::new(fields.into(), columns, None));
    let golden = "00000003000000170000000400000001000000190000000361206200000019ffffffff";
    assert_eq!(binary(&Field::new("c", record.data_type().clone(), true), record), golden);
}

#[test]
fn numerics_of_any_size_come_as_the_narrowest_decimal() {
    let cases = [
        ("0001fffe000000051388", "0.00005", DataType::Decimal128(38, 5)),
        ("0003000140000002007b11d722c4", "-1234567.89", DataType::Decimal128(38, 2)),
        ("0009000700000001000c0d801ed204d2162e23340d801ed21388", "123456789012345678901234567890.5", DataType::Decimal128(38, 1)),
        ("0000000000000000", "0", DataType::Decimal128(38, 0)),
    ];
    for (hex, text, data_type) in cases {
        for (format, value) in [(Format::Binary, bytes(hex)), (Format::Text, text.as_bytes().to_vec())] {
            let decoded = decode_parameter(1700, format, Some(&value), &TextStyle::UTC).unwrap();
            assert_eq!(*decoded.data_type(), data_type, "{text}");
            assert_eq!(binary(&Field::new("c", data_type.clone(), true), decoded), hex, "{text}");
        }
    }
    let wide = decode_parameter(1700, Format::Text, Some(b"12345678901234567890123456789012345678901.5"), &TextStyle::UTC).unwrap();
    assert_eq!(*wide.data_type(), DataType::Decimal256(76, 1));
    let error = |format, value: &[u8]| decode_parameter(1700, format, Some(value), &TextStyle::UTC).unwrap_err().sqlstate();
    assert_eq!(error(Format::Text, &[b'9'; 80]), "22003");
    assert_eq!(error(Format::Binary, &bytes("00000000c0000000")), "0A000");
    for wrong in ["", "00", "0001000000000000", "00010000000000002710", "000100000000ffff0001", "00010000123400000001"] {
        assert!(["22P03", "0A000"].contains(&error(Format::Binary, &bytes(wrong))), "{wrong}");
    }
}

#[test]
fn damaged_binary_values_are_errors() {
    for (oid, hex) in GOLDEN {
        let whole = bytes(hex);
        for end in 0..whole.len() {
            // A shorter text is a text, and numbers may begin with what makes a number; nothing may panic.
            let _ = decode_parameter(oid, Format::Binary, Some(&whole[..end]), &TextStyle::UTC);
            let mut flipped = whole.clone();
            flipped[end] ^= 0x81;
            let _ = decode_parameter(oid, Format::Binary, Some(&flipped), &TextStyle::UTC);
            let _ = decode_parameter(oid, Format::Text, Some(&flipped), &TextStyle::UTC);
        }
    }
}
