//! Forms that drivers send, beside what other tests show: rows of relations, parameters that nothing declares, cursors that go back, statements
//! that were prepared before their relations changed.

use crate::server::Server;
use tokio_postgres::types::Type;

#[test]
fn a_relation_is_a_value_of_its_row_type() {
    let server = Server::start();
    let mut a = server.connect();
    a.run("CREATE TABLE item (id INT PRIMARY KEY, doc JSONB); INSERT INTO item VALUES (1, '{\"k\": [7]}'), (2, NULL)");
    assert_eq!(a.texts("SELECT i, (i).id FROM item i ORDER BY id"), [["(1,\"{\"\"k\"\": [7]}\")", "1"], ["(2,)", "2"]]);
    assert_eq!(a.one("SELECT array_agg(item ORDER BY id) FROM item WHERE id = 2"), "{\"(2,)\"}");
    assert_eq!(a.one("SELECT o FROM (SELECT 1 AS a, 'x' AS b) o"), "(1,x)");
    assert_eq!(a.one("SELECT doc['k'][0] FROM item WHERE id = 1"), "7");
    assert_eq!(a.fails("SELECT nosuch FROM item").code, "42703");
    let statement = a.prepare("SELECT item FROM item");
    let column = &statement.columns()[0];
    assert_eq!((column.name(), column.type_().name(), column.type_().schema()), ("item", "item", "public"));
    // A column of that name comes first.
    a.run("CREATE TABLE word (word TEXT); INSERT INTO word VALUES ('x')");
    assert_eq!(a.one("SELECT word FROM word"), "x");
    a.run("CREATE VIEW rows AS SELECT i AS row FROM item i");
    assert_eq!(a.one("SELECT count(row) FROM rows"), "2");
}

#[test]
fn parameters_are_what_stands_beside_them() {
    let server = Server::start();
    let mut a = server.connect();
    a.run("CREATE TABLE item (id BIGINT, name TEXT, data BYTEA)");
    let mut types = |sql: &str| a.prepare(sql).params().to_vec();
    assert_eq!(types("SELECT coalesce($1, 5)"), [Type::INT4]);
    assert_eq!(types("SELECT CASE WHEN $1 THEN 1 ELSE 2 END"), [Type::BOOL]);
    assert_eq!(types("SELECT coalesce(id, $1), nullif(name, $2) FROM item"), [Type::INT8, Type::TEXT]);
    assert_eq!(types("INSERT INTO item VALUES ($1::smallint, $2)"), [Type::INT2, Type::TEXT]);
    a.run("INSERT INTO item VALUES (-9223372036854775808, U&'d\\0061t', '\\x00'), (1, NULL, NULL)");
    assert_eq!(a.one("SELECT name FROM item WHERE id < 0"), "dat");
    assert_eq!(a.one("SELECT ARRAY['\\x00'::bytea, NULL]"), "{\"\\\\x00\",NULL}");
    assert_eq!(a.one("SELECT count(*) FROM item WHERE name NOT LIKE 'x/_' || '%' ESCAPE '/'"), "1");
    assert_eq!(a.fails("SELECT 1 + FROM item").code, "42601");
    assert_eq!(a.fails("SELECT nosuch(1, 'x')").message, "function nosuch(integer, unknown) does not exist");
}

#[test]
fn a_cursor_that_scrolls() {
    let server = Server::start();
    let mut a = server.connect();
    a.run("BEGIN; DECLARE c SCROLL CURSOR FOR SELECT g FROM generate_series(1, 20000) g ORDER BY g");
    let mut fetch = |what: &str| a.texts(&format!("FETCH {what} c")).concat().join(",");
    assert_eq!(fetch("2 FROM"), "1,2");
    assert_eq!(fetch("PRIOR FROM"), "1");
    assert_eq!(fetch("PRIOR FROM"), "");
    assert_eq!(fetch("LAST FROM"), "20000");
    assert_eq!(fetch("NEXT FROM"), "");
    assert_eq!(fetch("BACKWARD 3 FROM"), "20000,19999,19998");
    assert_eq!(fetch("ABSOLUTE 10000 FROM"), "10000");
    assert_eq!(fetch("RELATIVE -9998 FROM"), "2");
    assert_eq!(fetch("RELATIVE 0 FROM"), "2");
    assert_eq!(fetch("BACKWARD ALL FROM"), "1");
    a.run("MOVE FORWARD 5 FROM c");
    assert_eq!(a.one("FETCH c"), "6");
    a.run("DECLARE d CURSOR FOR SELECT 1");
    assert_eq!(a.fails("FETCH PRIOR FROM d").code, "55000");
}

#[test]
fn what_is_prepared_is_listed_and_may_be_outdated() {
    let server = Server::start();
    let (mut a, mut b) = (server.connect(), server.connect());
    a.run("CREATE TABLE item (id INT); PREPARE by_sql (INT) AS SELECT * FROM item WHERE id = $1");
    let statement = a.prepare("SELECT * FROM item");
    let listed = a.texts("SELECT statement, parameter_types::text, from_sql FROM pg_prepared_statements ORDER BY from_sql");
    assert_eq!(listed[0][0], "SELECT * FROM item");
    assert_eq!(listed.iter().map(|r| r[2].as_str()).collect::<Vec<_>>(), ["f", "t"]);
    assert!(listed[1][0].starts_with("PREPARE by_sql"), "{listed:?}");
    assert_eq!(b.one("SELECT count(*) FROM pg_prepared_statements"), "0");
    b.run("DROP TABLE item; CREATE TABLE item (id INT, name TEXT)");
    let refused = a.try_query(&statement, &[]).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.message.as_str()), ("0A000", "cached plan must not change result type"));
}

#[test]
fn copy_quotes_what_it_is_told_to() {
    let server = Server::start();
    let mut a = server.connect();
    let mut copied =
        |options: &str| String::from_utf8(a.copy_out(&format!("COPY (SELECT 1 AS a, 'x' AS b, NULL AS c) TO STDOUT ({options})")).unwrap()).unwrap();
    assert_eq!(copied("FORMAT csv, FORCE_QUOTE (a)"), "\"1\",x,\n");
    assert_eq!(copied("FORMAT csv, FORCE_QUOTE *, HEADER"), "a,b,c\n\"1\",\"x\",\n");
    assert_eq!(a.copy_out("COPY (SELECT 1 AS a) TO STDOUT (FORMAT csv, FORCE_QUOTE (z))").unwrap_err().code, "42P10");
    assert_eq!(a.copy_out("COPY (SELECT 1 AS a) TO STDOUT (FORCE_QUOTE (a))").unwrap_err().code, "0A000");
}
