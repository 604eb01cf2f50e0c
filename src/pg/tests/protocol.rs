//! The two query protocols, message by message.

use super::fake::{TestServer, VALUES};
use super::raw::{Raw, bind, close, describe, execute, message, parse, query, sync};

fn check(cases: &[(&[Vec<u8>], &str)]) {
    let server = TestServer::start();
    let mut raw = Raw::connect(&server);
    for (messages, expected) in cases {
        assert_eq!(raw.ask(messages), *expected);
    }
}

#[test]
fn simple_queries_answer_statement_by_statement() {
    check(&[
        (&[query("rows 2")], "T2 | D 0,row 0 | D 1,row 1 | C SELECT 2 | Z I"),
        (&[query("rows 0")], "T2 | C SELECT 0 | Z I"),
        (&[query("")], "I | Z I"),
        (&[query("-- ping")], "I | Z I"),
        (&[query(" ; ; ")], "I | Z I"),
        (&[query("rows 1; do INSERT 0 3; rows 1")], "T2 | D 0,row 0 | C SELECT 1 | C INSERT 0 3 | T2 | D 0,row 0 | C SELECT 1 | Z I"),
        (&[query("rows 1; fail; rows 1")], "T2 | D 0,row 0 | C SELECT 1 | ERROR 42P01 relation \"x\" does not exist | Z I"),
        (&[query("rows 1; syntax")], "ERROR 42601 syntax error at or near \"syntax\" | Z I"),
        (&[query("late")], "T2 | D 0,row 0 | ERROR 22012 division by zero | Z I"),
        (&[query("notice")], "NOTICE 42P07 relation \"v\" already exists, skipping | C NOTICE | Z I"),
        (&[query("set TimeZone Asia/Tokyo")], "S TimeZone Asia/Tokyo | C SET | Z I"),
        (&[query("begin")], "C BEGIN | Z T"),
        (&[query("fail")], "ERROR 42P01 relation \"x\" does not exist | Z E"),
        (&[query("rows 1")], "ERROR 25P02 current transaction is aborted, commands ignored until end of transaction block | Z E"),
        (&[query("commit")], "C ROLLBACK | Z I"),
        (&[message(b'd', b"x"), message(b'c', b""), query("do A")], "C A | Z I"),
        (&[message(b'F', b"\0\0\0\0")], "ERROR 0A000 function calls over the fastpath protocol are not supported | Z I"),
    ]);
}

#[test]
fn many_statements_in_one_query_and_many_rows() {
    let server = TestServer::start();
    let mut raw = Raw::connect(&server);
    let answer = raw.ask(&[query(&"do X;".repeat(5000))]);
    assert_eq!(answer.matches("C X").count(), 5000);
    raw.send(&query("rows 100000"));
    let lines = raw.answers();
    assert_eq!(lines.len(), 100_003);
    assert_eq!(lines[100_000], "D 99999,row 99999");
    assert_eq!(lines[100_001], "C SELECT 100000");
}

#[test]
fn the_extended_protocol_step_by_step() {
    let run = |sql: &str| [parse("", sql, &[]), describe(b'S', ""), bind("", "", &[], &[], &[]), describe(b'P', ""), execute("", 0), sync()];
    check(&[
        (&run("rows 1"), "1 | t  | T2 | 2 | T2 | D 0,row 0 | C SELECT 1 | Z I"),
        (&run("do DELETE 3"), "1 | t  | n | 2 | n | C DELETE 3 | Z I"),
        (&run(""), "1 | t  | n | 2 | n | I | Z I"),
        (&[parse("", "a; b", &[]), sync()], "ERROR 42601 cannot insert multiple commands into a prepared statement | Z I"),
        (&[parse("s", "rows 1", &[]), sync()], "1 | Z I"),
        (&[parse("s", "rows 1", &[]), sync()], "ERROR 42P05 prepared statement \"s\" already exists | Z I"),
        (&[close(b'S', "s"), close(b'S', "nothing"), parse("s", "rows 2", &[]), sync()], "3 | 3 | 1 | Z I"),
        (&[bind("", "none", &[], &[], &[]), sync()], "ERROR 26000 prepared statement \"none\" does not exist | Z I"),
        (&[describe(b'S', "none"), sync()], "ERROR 26000 prepared statement \"none\" does not exist | Z I"),
        (&[describe(b'P', "none"), sync()], "ERROR 34000 portal \"none\" does not exist | Z I"),
        (&[execute("none", 0), sync()], "ERROR 34000 portal \"none\" does not exist | Z I"),
        (&[bind("", "s", &[], &[None], &[]), sync()], "ERROR 08P01 bind message supplies 1 parameters, but prepared statement \"s\" requires 0 | Z I"),
        (&[bind("", "s", &[], &[], &[0, 1, 0]), sync()], "ERROR 08P01 bind message has 3 result formats but query has 2 columns | Z I"),
        (&[bind("", "s", &[1, 0], &[], &[]), sync()], "ERROR 08P01 bind message has 2 parameter formats but 0 parameters | Z I"),
        (&[bind("", "s", &[], &[], &[7]), sync()], "ERROR 22023 unsupported format code: 7 | Z I"),
        (&[bind("", "s", &[], &[], &[1, 0]), execute("", 0), sync()], "2 | D 00000000,row 0 | D 00000001,row 1 | C SELECT 2 | Z I"),
    ]);
}

#[test]
fn an_error_skips_to_the_next_sync() {
    check(&[
        (
            &[parse("", "syntax", &[]), bind("", "", &[], &[], &[]), execute("", 0), query("rows 1"), sync()],
            "ERROR 42601 syntax error at or near \"syntax\" | Z I",
        ),
        (&[query("do A")], "C A | Z I"),
    ]);
    let server = TestServer::start();
    let mut raw = Raw::connect(&server);
    let step = |sql: &str| [parse("", sql, &[]), bind("", "", &[], &[], &[]), execute("", 0)].concat();
    raw.send(&[step("do A"), step("fail"), step("do B"), sync(), step("do C"), sync()].concat());
    assert_eq!(raw.answers().join(" | "), "1 | 2 | C A | 1 | 2 | ERROR 42P01 relation \"x\" does not exist | Z I");
    assert_eq!(raw.answers().join(" | "), "1 | 2 | C C | Z I");
}

#[test]
fn portals_give_rows_in_portions_and_end_with_their_transaction() {
    let open = |portal: &str, sql: &str| [parse("", sql, &[]), bind(portal, "", &[], &[], &[])].concat();
    check(&[
        (&[query("begin")], "C BEGIN | Z T"),
        (
            &[open("a", "rows 3"), open("b", "rows 2"), execute("a", 2), execute("b", 1), sync()],
            "1 | 2 | 1 | 2 | D 0,row 0 | D 1,row 1 | s | D 0,row 0 | s | Z T",
        ),
        (&[execute("a", 2), execute("a", 0), execute("b", i32::MAX), sync()], "D 2,row 2 | C SELECT 1 | C SELECT 0 | D 1,row 1 | C SELECT 1 | Z T"),
        (&[bind("a", "", &[], &[], &[]), sync()], "ERROR 42P03 cursor \"a\" already exists | Z E"),
        (&[query("rollback")], "C ROLLBACK | Z I"),
        (&[execute("a", 0), sync()], "ERROR 34000 portal \"a\" does not exist | Z I"),
        // Without a block a portal lives up to Sync.
        (
            &[open("c", "rows 5"), execute("c", 2), execute("c", 2), message(b'H', b""), execute("c", 2), execute("c", 1), sync()],
            "1 | 2 | D 0,row 0 | D 1,row 1 | s | D 2,row 2 | D 3,null | s | D 4,row 4 | C SELECT 1 | C SELECT 0 | Z I",
        ),
        (&[execute("c", 1), sync()], "ERROR 34000 portal \"c\" does not exist | Z I"),
        // Exactly as many rows as asked for: Postgres does not look ahead either.
        (&[open("", "rows 2"), execute("", 2), execute("", -5), sync()], "1 | 2 | D 0,row 0 | D 1,row 1 | s | C SELECT 0 | Z I"),
        (&[open("", "do X"), execute("", 0), execute("", 0), sync()], "1 | 2 | C X | ERROR 55000 portal \"\" cannot be run | Z I"),
        (&[open("", "rows 1"), sync(), execute("", 0), sync()], "1 | 2 | Z I"),
    ]);
}

#[test]
fn parameters_are_declared_or_inferred_and_come_in_both_formats() {
    let echo = |types: &str, oids: &[u32], formats: &[i16], values: &[Option<&[u8]>]| {
        [parse("", &format!("echo {types}"), oids), describe(b'S', ""), bind("", "", formats, values, &[]), execute("", 0), sync()].concat()
    };
    let cases: &[(Vec<u8>, &str)] = &[
        (echo("int4 text", &[], &[], &[Some(b"7"), None]), "1 | t 23,25 | T2 | 2 | D 7,null | C SELECT 1 | Z I"),
        (echo("int4", &[20], &[1], &[Some(&7i64.to_be_bytes())]), "1 | t 20 | T1 | 2 | D 7 | C SELECT 1 | Z I"),
        (echo("int8 int2", &[0, 701], &[0, 1], &[Some(b"5"), Some(&1e300f64.to_be_bytes())]), "1 | t 20,701 | T2 | 2 | D 5,1e+300 | C SELECT 1 | Z I"),
        (echo("numeric", &[], &[], &[Some(b"1.50")]), "1 | t 1700 | T1 | 2 | D 1.50 | C SELECT 1 | Z I"),
        (echo("unknown", &[], &[1], &[Some(b"hi")]), "1 | t 705 | T1 | 2 | D hi | C SELECT 1 | Z I"),
        (echo("int4", &[], &[], &[Some(b"x")]), "1 | t 23 | T1 | ERROR 22P02 invalid input syntax for type integer: \"x\" | Z I"),
        (echo("int4", &[], &[1], &[Some(b"xyz")]), "1 | t 23 | T1 | ERROR 22P03 incorrect binary data format in bind parameter | Z I"),
        (echo("text", &[], &[], &[Some(b"\xff")]), "1 | t 25 | T1 | ERROR 22021 invalid byte sequence for encoding \"UTF8\": 0xff | Z I"),
        (echo("text", &[], &[], &[Some(b"a\0b")]), "1 | t 25 | T1 | ERROR 22021 invalid byte sequence for encoding \"UTF8\": 0x00 | Z I"),
    ];
    let server = TestServer::start();
    let mut raw = Raw::connect(&server);
    for (messages, expected) in cases {
        assert_eq!(raw.ask(std::slice::from_ref(messages)), *expected);
    }
}

#[test]
fn every_type_prints_as_text() {
    let server = TestServer::start();
    let mut raw = Raw::connect(&server);
    raw.send(&query("types"));
    let lines = raw.answers();
    let hex = |text: &str| if text.is_ascii() { text.to_string() } else { text.bytes().map(|b| format!("{b:02x}")).collect() };
    let expected: Vec<String> = VALUES.iter().map(|(_, text)| hex(text)).collect();
    assert_eq!(lines[1], format!("D {}", expected.join(",")));
    assert_eq!(lines[2], format!("D {}", vec!["null"; VALUES.len()].join(",")));
}

#[test]
fn malformed_messages_are_errors_of_their_own() {
    check(&[
        (&[message(b'Q', b"no zero")], "ERROR 08P01 invalid string in message | Z I"),
        (&[message(b'Q', b"a\0b\0")], "ERROR 08P01 invalid message format | Z I"),
        (&[message(b'P', b"\0rows 1\0\xff\xff"), sync()], "ERROR 08P01 insufficient data left in message | Z I"),
        (&[message(b'B', b"\0\0\0\0\0\x01\0\0\x10\0abc"), sync()], "ERROR 08P01 insufficient data left in message | Z I"),
        (&[message(b'B', b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0"), sync()], "ERROR 08P01 insufficient data left in message | Z I"),
        (&[message(b'E', b"\0\0"), sync()], "ERROR 08P01 insufficient data left in message | Z I"),
        (&[message(b'D', b"Zx\0"), sync()], "ERROR 08P01 invalid DESCRIBE message subtype 90 | Z I"),
        (&[message(b'C', b""), sync()], "ERROR 08P01 insufficient data left in message | Z I"),
        (&[message(b'H', b"x"), sync()], "ERROR 08P01 invalid message format | Z I"),
        (&[query("do A")], "C A | Z I"),
    ]);
    for bad in [&b"!\0\0\0\x04"[..], b"Q\0\0\0\x01", b"Q\xff\xff\xff\xff", b"p\0\0\0\x05x"] {
        let server = TestServer::start();
        let answer = Raw::connect(&server).ask(&[bad.to_vec()]);
        assert!(answer.starts_with("FATAL 08P01 ") && answer.ends_with("closed") || answer.starts_with("ERROR 08P01"), "{answer}");
    }
}
