"""psycopg 3: parameters in text and binary, transactions, cursors, COPY, pipelines, prepared statements, cancel."""

import asyncio
import decimal
import time

import psycopg
from psycopg import sql
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row, namedtuple_row
from psycopg.types import TypeInfo
from psycopg.types.composite import CompositeInfo, register_composite
from psycopg.types.json import Json, Jsonb

import check
from check import ARRAYS, ENDLESS, SCALARS, STREAMING, Suite, column, equal, eventually, holds, later, refused

ADDRESS = dict(host=check.HOST, port=check.PORT, user=check.USER, dbname=check.DATABASE)


def connect(**more):
    return psycopg.connect(**{**ADDRESS, "autocommit": True, "application_name": "psycopg3", **more})


def connect_utc():
    return connect(options="-c TimeZone=UTC")


suite = Suite("psycopg3", connect_utc)


@suite.check("a table, rows and a materialized view", prepares=True)
def begin(c):
    for statement in check.beginning("psy3"):
        c.execute(statement)
    equal(totals(c), check.FIRST_TOTALS)


@suite.check("a table with a column of every type", prepares=True)
def table_of_types(c):
    c.execute(f"create table psy3_types (id integer primary key, {check.columns_of_all_types()})")


def totals(c):
    if check.CONTROL:
        c.execute("refresh materialized view psy3_totals")
    return c.execute("select customer, orders, total from psy3_totals order by customer").fetchall()


def one(c, query, parameters=None, **more):
    return c.execute(query, parameters, **more).fetchone()[0]


def fresh(c, name):
    c.execute(f"drop table if exists {name}")
    c.execute(f"create table {name} (id bigint primary key, n int)")


# Types


def comes_back(type_name, value, text, placeholder, binary):
    def body(c):
        with c.cursor(binary=binary) as cur:
            equal(cur.execute(f"select {placeholder}::{type_name}", [value]).fetchone()[0], value)
            equal(cur.execute(f"select {placeholder}::{type_name}::text", [value]).fetchone()[0], text)
            equal(cur.execute(f"select {placeholder}::{type_name}", [None]).fetchone()[0], None)

    return body


def is_written_and_found(type_name, value, row):
    def body(c):
        name = column(type_name)
        c.execute(f"insert into psy3_types (id, {name}) values (%s, %s), (%s, %s)", [row, value, row + 1000, None])
        for binary in (False, True):
            with c.cursor(binary=binary) as cur:
                cur.execute(f"select id, {name} from psy3_types where id in (%s, %s) order by id", [row, row + 1000])
                equal(cur.fetchall(), [(row, value), (row + 1000, None)])
                cur.execute(f"select id from psy3_types where {name} = %s::{type_name}", [value])
                equal(cur.fetchall(), [(row,)])

    return body


for number, (type_name, value, text) in enumerate(SCALARS + ARRAYS):
    suite.add(f"{type_name} as text parameter and result", comes_back(type_name, value, text, "%t", False))
    suite.add(f"{type_name} as binary parameter and result", comes_back(type_name, value, text, "%b", True))
    suite.add(f"{type_name} in a column, written and found", is_written_and_found(type_name, value, number))


@suite.check("json parameter and result, text and binary")
def json(c):
    for binary in (False, True):
        with c.cursor(binary=binary) as cur:
            equal(cur.execute("select %s::json", [Json(check.JSON_VALUE)]).fetchone()[0], check.JSON_VALUE)


@suite.check("jsonb parameter and result, text and binary")
def jsonb(c):
    for placeholder, binary in (("%t", False), ("%b", True)):
        with c.cursor(binary=binary) as cur:
            equal(cur.execute(f"select {placeholder}::jsonb", [Jsonb(check.JSON_VALUE)]).fetchone()[0], check.JSON_VALUE)
            equal(cur.execute(f"select {placeholder}::jsonb->>'a'", [Jsonb(check.JSON_VALUE)]).fetchone()[0], '[1, 2.5, null, "x\\"y"]')


@suite.check("jsonb in a column, written and found")
def jsonb_column(c):
    c.execute("insert into psy3_types (id, c_jsonb) values (%s, %s)", [2000, Jsonb(check.JSON_VALUE)])
    equal(one(c, "select c_jsonb from psy3_types where id = 2000"), check.JSON_VALUE)
    equal(one(c, "select id from psy3_types where c_jsonb @> %s", [Jsonb({"b": {"c": True}})]), 2000)


@suite.check("double precision: infinities and no number")
def float_edges(c):
    for binary in (False, True):
        with c.cursor(binary=binary) as cur:
            got = cur.execute("select %s::float8, %s::float8, %s::float8", [float("inf"), float("-inf"), float("nan")]).fetchone()
            equal(repr(got), "(inf, -inf, nan)")


@suite.check("dates and times at their edges")
def time_edges(c):
    import datetime as dt

    values = [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), dt.time(0, 0)]
    for placeholder, binary in (("%t", False), ("%b", True)):
        with c.cursor(binary=binary) as cur:
            cur.execute("select " + ", ".join(f"{placeholder}::{t}" for t in ("date", "date", "timestamp", "timestamp", "time")), values)
            equal(list(cur.fetchone()), values)


@suite.check("timestamptz in the zone of the session, which the client is told")
def time_zone(c):
    c.execute("set time zone 'Asia/Kolkata'")
    equal(c.info.parameter_status("TimeZone"), "Asia/Kolkata")
    for binary in (False, True):
        with c.cursor(binary=binary) as cur:
            got = cur.execute("select timestamptz '2024-01-01 00:00:00+00'").fetchone()[0]
            equal(got.isoformat(), "2024-01-01T05:30:00+05:30")
    equal(one(c, "select (timestamptz '2024-01-01 00:00:00+00')::text"), "2024-01-01 05:30:00+05:30")


@suite.check("no type declared: taken from the column, the cast, the comparison")
def inferred(c):
    equal(one(c, "select customer from psy3_orders where id = %s", ["2"]), "bob")
    equal(one(c, "select count(*) from psy3_orders where at >= %s", ["2024-01-02"]), 1)
    equal(one(c, "select count(*) from psy3_orders where id = any(%s)", [[1, 2, 77]]), 2)
    equal(one(c, "select count(*) from psy3_orders where customer = any(%s)", [["ann"]]), 2)
    equal(len(c.execute("select id from psy3_orders order by id limit %s offset %s", [1, 1]).fetchall()), 1)
    equal(one(c, "select %s || 'x'", ["y"]), "yx")


@suite.check("a parameter used twice, and a thousand parameters")
def many_parameters(c):
    equal(c.execute("select %(a)s::int, %(a)s::int + 1", {"a": 4}).fetchone(), (4, 5))
    equal(one(c, "select " + " + ".join(["%s::bigint"] * 1000), [1] * 1000), 1000)


@suite.check("values of eight megabytes")
def large_values(c):
    text = "ünïcode " * (1 << 20)
    equal(one(c, "select length(%s::text)", [text]), len(text))
    data = bytes(range(256)) * (1 << 15)
    with c.cursor(binary=True) as cur:
        holds(cur.execute("select %s::bytea", [data]).fetchone()[0] == data, "the same 8 MiB", "others")


# Errors


def fails(sqlstate, statement, position):
    def body(c):
        error = refused(sqlstate, c.execute, statement)
        equal(error.diag.severity_nonlocalized, "ERROR")
        if position is not None:
            equal(error.diag.statement_position, str(position))
        equal(one(c, "select 1"), 1)

    return body


for sqlstate, statement, position in check.ERRORS:
    suite.add(f"error {sqlstate}: {statement.format(p='t')}", fails(sqlstate, statement.format(p="psy3"), position))


@suite.check("errors with a parameter: the same codes in the extended protocol")
def errors_extended(c):
    refused("42P01", c.execute, "select * from nosuch where id = %s", [1])
    refused("42703", c.execute, "select nosuch from psy3_orders where id = %s", [1])
    refused("22P02", c.execute, "select %s::integer", ["x"])
    refused("22P02", c.execute, "select id from psy3_orders where id = %s", ["x"])
    refused("42601", c.execute, "select %s +", [1])
    refused("22012", c.execute, "select 1 / %s", [0])
    equal(one(c, "select 1"), 1)


@suite.check("23505 names schema, table and constraint")
def unique_violation(c):
    error = refused("23505", c.execute, "insert into psy3_orders values (1, 'x')")
    equal((error.diag.schema_name, error.diag.table_name, error.diag.constraint_name), ("public", "psy3_orders", "psy3_orders_pkey"))
    equal(error.diag.message_detail, "Key (id)=(1) already exists.")


@suite.check("23502 names table and column")
def not_null_violation(c):
    error = refused("23502", c.execute, "insert into psy3_orders (id) values (1)")
    equal((error.diag.table_name, error.diag.column_name), ("psy3_orders", "customer"))


@suite.check("the place of an error counts characters, not bytes")
def position_in_characters(c):
    equal(refused("42703", c.execute, "select 'åß🌊', nosuch from psy3_orders").diag.statement_position, "15")


@suite.check("notices reach the handler")
def notices(c):
    seen = []
    c.add_notice_handler(lambda d: seen.append((d.severity_nonlocalized, d.sqlstate, d.message_primary)))
    c.execute("drop table if exists psy3_nosuch")
    c.execute("create table if not exists psy3_orders (id bigint primary key)")
    c.execute("commit")
    equal(
        seen,
        [
            ("NOTICE", "00000", 'table "psy3_nosuch" does not exist, skipping'),
            ("NOTICE", "42P07", 'relation "psy3_orders" already exists, skipping'),
            ("WARNING", "25P01", "there is no transaction in progress"),
        ],
    )


# Results


@suite.check("row counts and command tags")
def tags(c):
    c.execute("drop table if exists psy3_tags")
    equal(c.execute("create table psy3_tags (id bigint primary key, n int)").statusmessage, "CREATE TABLE")
    cur = c.execute("insert into psy3_tags select g, g from generate_series(1, 10) g")
    equal((cur.statusmessage, cur.rowcount), ("INSERT 0 10", 10))
    cur = c.execute("update psy3_tags set n = 0 where id <= 3")
    equal((cur.statusmessage, cur.rowcount), ("UPDATE 3", 3))
    cur = c.execute("delete from psy3_tags where id > %s", [8])
    equal((cur.statusmessage, cur.rowcount), ("DELETE 2", 2))
    cur = c.execute("select * from psy3_tags")
    equal((cur.statusmessage, cur.rowcount), ("SELECT 8", 8))
    equal(c.execute("drop table psy3_tags").statusmessage, "DROP TABLE")


@suite.check("what a result says of its columns")
def description(c):
    cur = c.execute("select id, customer, amount, at, 1 as one, 'x' from psy3_orders")
    got = [(d.name, d.type_code, d.precision, d.scale, d.display_size) for d in cur.description]
    equal(
        got,
        [
            ("id", 20, None, None, None),
            ("customer", 1043, None, None, 20),
            ("amount", 1700, 12, 2, None),
            ("at", 1184, None, None, None),
            ("one", 23, None, None, None),
            ("?column?", 25, None, None, None),
        ],
    )
    result = cur.pgresult
    holds(result.ftable(0) > 0, "the table's OID", result.ftable(0))
    equal([result.ftablecol(i) for i in range(6)], [1, 2, 3, 4, 0, 0])


@suite.check("column names as PostgreSQL gives them")
def names(c):
    cur = c.execute("select 1, count(*), max(id), lower('A'), case when true then 1 end, '1'::int, now()::date, coalesce(1, 2), amount + 1, id as \"Id\" from psy3_orders group by id, amount limit 1")
    equal([d.name for d in cur.description], ["?column?", "count", "max", "lower", "case", "int4", "now", "coalesce", "?column?", "Id"])


@suite.check("two columns of one name, and no column at all")
def same_names(c):
    equal(c.execute("select 1 as a, 2 as a").fetchone(), (1, 2))
    cur = c.execute("select from psy3_orders")
    equal((len(cur.description), cur.rowcount), (0, 3))


@suite.check("rows as named tuples and dictionaries")
def row_factories(c):
    c.row_factory = namedtuple_row
    equal(c.execute("select id, customer from psy3_orders where id = 1").fetchone().customer, "ann")
    with c.cursor(row_factory=dict_row) as cur:
        equal(cur.execute("select id, customer from psy3_orders where id = 1").fetchone(), {"id": 1, "customer": "ann"})


@suite.check("several statements in one message, several results")
def several(c):
    cur = c.execute("select 1; select 2, 3; set application_name = 'x'")
    results = [cur.fetchall()]
    while cur.nextset():
        results.append(cur.fetchall() if cur.description else cur.statusmessage)
    equal(results, [[(1,)], [(2, 3)], "SET"])


@suite.check("empty statements and comments")
def empty(c):
    for statement in ("", " ", ";", "-- nothing", "/* nothing */"):
        equal(c.execute(statement).description, None)


@suite.check("RETURNING")
def returning(c):
    fresh(c, "psy3_returning")
    cur = c.execute("insert into psy3_returning values (%s, %s), (2, 2) returning id, n + 1", [1, 1])
    equal(cur.fetchall(), [(1, 2), (2, 3)])
    equal(one(c, "update psy3_returning set n = 7 where id = %s returning n", [1]), 7)
    equal(one(c, "delete from psy3_returning where id = %s returning n", [1]), 7)
    equal(c.execute("delete from psy3_returning returning *").fetchall(), [(2, 2)])


@suite.check("identifiers and literals composed on the client")
def composed(c):
    c.execute("drop table if exists \"psy3 Odd\"\"name\"")
    name = sql.Identifier('psy3 Odd"name')
    c.execute(sql.SQL("create table {} (\"Key\" bigint primary key)").format(name))
    c.execute(sql.SQL("insert into {} values ({})").format(name, sql.Literal(5)))
    equal(c.execute(sql.SQL("select {} from {}").format(sql.Identifier("Key"), name)).fetchone(), (5,))
    c.execute(sql.SQL("drop table {}").format(name))


@suite.check("the client cursor, which writes values into the text")
def client_cursor(c):
    with psycopg.ClientCursor(c) as cur:
        for type_name, value, text in SCALARS + ARRAYS:
            cur.execute(f"select cast(%s as {type_name}), cast(cast(%s as {type_name}) as text)", [value, value])
            equal(cur.fetchone(), (value, text))


# Transactions


@suite.check("COMMIT keeps, ROLLBACK undoes, own writes are seen")
def transactions(c):
    fresh(c, "psy3_tx")
    c.autocommit = False
    c.execute("insert into psy3_tx values (1, 1)")
    equal(c.info.transaction_status, TransactionStatus.INTRANS)
    equal(one(c, "select count(*) from psy3_tx"), 1)
    with connect() as other:
        equal(one(other, "select count(*) from psy3_tx"), 0)
    c.rollback()
    equal(c.info.transaction_status, TransactionStatus.IDLE)
    equal(one(c, "select count(*) from psy3_tx"), 0)
    c.execute("insert into psy3_tx values (2, 2)")
    c.commit()
    with connect() as other:
        equal(one(other, "select count(*) from psy3_tx"), 1)


@suite.check("a failed transaction answers 25P02 until it ends")
def failed_transaction(c):
    fresh(c, "psy3_failed")
    c.autocommit = False
    c.execute("insert into psy3_failed values (1, 1)")
    refused("22012", c.execute, "select 1/0")
    equal(c.info.transaction_status, TransactionStatus.INERROR)
    refused("25P02", c.execute, "select 1")
    refused("25P02", c.execute, "select %s::int", [1])
    equal(c.execute("commit").statusmessage, "ROLLBACK")
    equal(c.info.transaction_status, TransactionStatus.IDLE)
    equal(one(c, "select count(*) from psy3_failed"), 0)


@suite.check("savepoints: nested transactions, the inner one undone")
def savepoints(c):
    fresh(c, "psy3_nested")
    with c.transaction():
        c.execute("insert into psy3_nested values (1, 1)")
        try:
            with c.transaction():
                c.execute("insert into psy3_nested values (2, 2)")
                c.execute("select 1/0")
        except psycopg.errors.DivisionByZero:
            pass
        with c.transaction():
            c.execute("insert into psy3_nested values (3, 3)")
    equal([r[0] for r in c.execute("select id from psy3_nested order by id")], [1, 3])


@suite.check("SAVEPOINT, ROLLBACK TO, RELEASE by name")
def named_savepoints(c):
    fresh(c, "psy3_save")
    c.execute("begin")
    c.execute("insert into psy3_save values (1, 1)")
    c.execute("savepoint a")
    c.execute("update psy3_save set n = 2")
    c.execute("savepoint b")
    c.execute("delete from psy3_save")
    c.execute("rollback to savepoint b")
    equal(one(c, "select n from psy3_save"), 2)
    c.execute("rollback to a")
    equal(one(c, "select n from psy3_save"), 1)
    equal(c.execute("release savepoint a").statusmessage, "RELEASE")
    refused("3B001", c.execute, "rollback to a")
    c.execute("rollback")


def isolated(level):
    def body(c):
        c.autocommit, c.isolation_level = False, level
        equal(one(c, "show transaction_isolation"), level.name.lower().replace("_", " "))
        equal(one(c, "select count(*) from psy3_orders where id = 1"), 1)
        c.rollback()

    return body


for level in psycopg.IsolationLevel:
    suite.add(f"isolation level {level.name}", isolated(level))


@suite.check("REPEATABLE READ keeps its snapshot, READ COMMITTED does not")
def snapshots(c):
    fresh(c, "psy3_snap")
    with connect() as other:
        for level, expected in ((psycopg.IsolationLevel.REPEATABLE_READ, 0), (psycopg.IsolationLevel.READ_COMMITTED, 1)):
            other.execute("delete from psy3_snap")
            c.autocommit, c.isolation_level = False, level
            equal(one(c, "select count(*) from psy3_snap"), 0)
            other.execute("insert into psy3_snap values (1, 1)")
            equal(one(c, "select count(*) from psy3_snap"), expected)
            c.rollback()


@suite.check("a read-only transaction refuses writes with 25006")
def read_only(c):
    c.autocommit, c.read_only = False, True
    equal(one(c, "show transaction_read_only"), "on")
    refused("25006", c.execute, "insert into psy3_orders values (1, 'x')")
    c.rollback()


@suite.check("CREATE TABLE and its first rows in one transaction, psycopg's default")
def ddl_in_transaction(c):
    c.execute("drop table if exists psy3_script")
    c.autocommit = False
    c.execute("create table psy3_script (id bigint primary key, n int)")
    c.execute("insert into psy3_script values (%s, %s)", (1, 100))
    equal(c.execute("select * from psy3_script").fetchone(), (1, 100))
    c.commit()
    equal(one(c, "select count(*) from psy3_script"), 1)
    c.rollback()


@suite.check("statements of one message are one transaction")
def implicit_transaction(c):
    fresh(c, "psy3_implicit")
    refused("22012", c.execute, "insert into psy3_implicit values (1, 1); select 1/0")
    equal(one(c, "select count(*) from psy3_implicit"), 0)


# Cursors


@suite.check("a server-side cursor: fetchone, fetchmany, the rest, iteration")
def server_cursor(c):
    c.autocommit = False
    with c.cursor("psy3_cur") as cur:
        cur.execute("select g from generate_series(1, %s) g", [1000])
        equal([d.name for d in cur.description], ["g"])
        equal(cur.fetchone(), (1,))
        equal([r[0] for r in cur.fetchmany(3)], [2, 3, 4])
        equal(len(cur.fetchall()), 996)
        equal(cur.fetchone(), None)
    with c.cursor("psy3_iterated") as cur:
        cur.itersize = 100
        cur.execute("select g from generate_series(1, 1000) g")
        equal(sum(r[0] for r in cur), 500500)
    c.rollback()


@suite.check("a server-side cursor with binary rows")
def server_cursor_binary(c):
    c.autocommit = False
    with c.cursor("psy3_binary", binary=True) as cur:
        cur.execute("select id, customer, amount from psy3_orders order by id")
        equal(cur.fetchmany(1), [(1, "ann", decimal.Decimal("10.50"))])
    c.rollback()


@suite.check("a cursor that scrolls")
def scrolling(c):
    c.autocommit = False
    with c.cursor("psy3_scroll", scrollable=True) as cur:
        cur.execute("select g from generate_series(1, 10) g")
        cur.scroll(4)
        equal(cur.fetchone(), (5,))
        cur.scroll(1, mode="absolute")
        equal(cur.fetchone(), (2,))
        cur.scroll(-2)
        equal(cur.fetchone(), (1,))
    c.rollback()


@suite.check("a cursor WITH HOLD outlives COMMIT")
def with_hold(c):
    c.autocommit = False
    cur = c.cursor("psy3_hold", withhold=True)
    cur.execute("select g from generate_series(1, 10) g")
    equal(cur.fetchone(), (1,))
    c.commit()
    equal(len(cur.fetchall()), 9)
    cur.close()
    c.commit()


@suite.check("a cursor ends with its transaction: 34000")
def cursor_ends(c):
    c.execute("begin")
    c.execute("declare psy3_gone cursor for select 1")
    c.execute("commit")
    refused("34000", c.execute, "fetch psy3_gone")


@suite.check("DECLARE, FETCH, MOVE, CLOSE as statements, with their tags")
def sql_cursor(c):
    c.execute("begin")
    equal(c.execute("declare k no scroll cursor for select g from generate_series(1, 10) g").statusmessage, "DECLARE CURSOR")
    cur = c.execute("fetch 3 from k")
    equal((cur.fetchall(), cur.statusmessage), ([(1,), (2,), (3,)], "FETCH 3"))
    equal(c.execute("move 2 in k").statusmessage, "MOVE 2")
    equal(c.execute("fetch next from k").fetchall(), [(6,)])
    equal(c.execute("fetch forward all from k").statusmessage, "FETCH 4")
    equal(c.execute("fetch k").fetchall(), [])
    equal(c.execute("close k").statusmessage, "CLOSE CURSOR")
    c.execute("commit")
    refused("25P01", c.execute, "declare k cursor for select 1")


@suite.check("rows one by one from a stream of a million, left early")
def stream(c):
    first = set()
    for row in c.cursor().stream("select g from generate_series(1, 1000000) g"):
        first.add(row[0])
        if len(first) == 3:
            break
    equal(len(first), 3)
    equal(one(c, "select 1"), 1)


# COPY


@suite.check("COPY TO STDOUT as text, a table and a query")
def copy_out(c):
    with c.cursor().copy("copy psy3_orders (id, customer, at) to stdout") as copy:
        got = sorted(b"".join(copy).decode().splitlines())
    equal(got, ["1\tann\t2024-01-01 00:00:00+00", "2\tbob\t2024-01-02 00:00:00+00", "3\tann\t\\N"])
    cur = c.cursor()
    with cur.copy("copy (select 'a\tb' || chr(10) || '\\', null) to stdout") as copy:
        equal(b"".join(copy), b"a\\tb\\n\\\\\t\\N\n")
    equal(cur.rowcount, 1)


@suite.check("COPY TO STDOUT as CSV with header, delimiter, NULL")
def copy_out_csv(c):
    with c.cursor().copy("copy (select 1 as a, 'x;\"y' as b, null as c, '' as d) to stdout (format csv, header, delimiter ';', null '-')") as copy:
        equal(b"".join(copy), b'a;b;c;d\n1;"x;""y";-;\n')


@suite.check("COPY TO STDOUT binary, rows of every type")
def copy_out_binary(c):
    types = SCALARS + ARRAYS
    query = "select " + ", ".join(f"cast({sql.Literal(v).as_string(c)} as {t})" for t, v, _ in types)
    with c.cursor().copy(f"copy ({query}) to stdout (format binary)") as copy:
        copy.set_types([t.split("(")[0] + ("[]" if t.endswith("[]") and "(" in t else "") for t, _, _ in types])
        row = copy.read_row()
    for (_, value, _), got in zip(types, row):
        equal(got, value)


@suite.check("COPY FROM STDIN as text, with a list of columns")
def copy_in(c):
    fresh(c, "psy3_in")
    cur = c.cursor()
    with cur.copy("copy psy3_in (n, id) from stdin") as copy:
        copy.write("10\t1\n\\N\t2\n")
        copy.write_row((30, 3))
    equal((cur.rowcount, cur.statusmessage), (3, "COPY 3"))
    equal(c.execute("select id, n from psy3_in order by id").fetchall(), [(1, 10), (2, None), (3, 30)])


@suite.check("COPY FROM STDIN as CSV with header and quotes over lines")
def copy_in_csv(c):
    c.execute("drop table if exists psy3_csv")
    c.execute("create table psy3_csv (id bigint primary key, t text)")
    with c.cursor().copy("copy psy3_csv from stdin with (format csv, header true, null 'NIL')") as copy:
        copy.write('id,t\n1,"two\nlines, ""quoted"""\n2,NIL\n3,\n')
    equal(c.execute("select id, t from psy3_csv order by id").fetchall(), [(1, 'two\nlines, "quoted"'), (2, None), (3, "")])


@suite.check("COPY FROM STDIN binary, rows of every type")
def copy_in_binary(c):
    c.execute("delete from psy3_types where id = 3000")
    types = SCALARS + ARRAYS
    with c.cursor().copy(f"copy psy3_types (id, {', '.join(column(t) for t, _, _ in types)}) from stdin (format binary)") as copy:
        copy.set_types(["int4"] + [t.split("(")[0] + ("[]" if t.endswith("[]") and "(" in t else "") for t, _, _ in types])
        copy.write_row([3000] + [v for _, v, _ in types])
    row = c.execute(f"select {', '.join(column(t) for t, _, _ in types)} from psy3_types where id = 3000").fetchone()
    for (_, value, _), got in zip(types, row):
        equal(got, value)


@suite.check("COPY of 200,000 rows in and out")
def copy_many(c):
    fresh(c, "psy3_many")
    with c.cursor().copy("copy psy3_many from stdin") as copy:
        for block in range(200):
            copy.write("".join(f"{block * 1000 + i}\t{i}\n" for i in range(1000)))
    equal(c.execute("select count(*), sum(n) from psy3_many").fetchone(), (200000, 99900000))
    with c.cursor().copy("copy psy3_many to stdout") as copy:
        equal(sum(bytes(block).count(b"\n") for block in copy), 200000)
    c.execute("drop table psy3_many")


@suite.check("a bad row of COPY is told with its line, and nothing is loaded")
def copy_bad_row(c):
    fresh(c, "psy3_bad")

    def load(text):
        with c.cursor().copy("copy psy3_bad from stdin") as copy:
            copy.write(text)

    error = refused("22P02", load, "1\t1\n2\tx\n3\t3\n")
    equal(error.diag.context, 'COPY psy3_bad, line 2, column n: "x"')
    error = refused("22P04", load, "1\n")
    equal(error.diag.message_primary, 'missing data for column "n"')
    refused("22P04", load, "1\t1\t1\n")
    refused("23505", load, "1\t1\n1\t1\n")
    equal(one(c, "select count(*) from psy3_bad"), 0)


@suite.check("COPY given up by the client: 57014, nothing is loaded")
def copy_given_up(c):
    fresh(c, "psy3_given_up")

    def load():
        with c.cursor().copy("copy psy3_given_up from stdin") as copy:
            copy.write("1\t1\n")
            raise ValueError("no more")

    try:
        load()
    except (ValueError, psycopg.errors.QueryCanceled):
        pass
    equal(one(c, "select count(*) from psy3_given_up"), 0)


@suite.check("COPY inside a transaction is undone by ROLLBACK")
def copy_rolled_back(c):
    fresh(c, "psy3_copy_tx")
    c.autocommit = False
    with c.cursor().copy("copy psy3_copy_tx from stdin") as copy:
        copy.write("1\t1\n")
    equal(one(c, "select count(*) from psy3_copy_tx"), 1)
    c.rollback()
    equal(one(c, "select count(*) from psy3_copy_tx"), 0)


# Pipelines, prepared statements


@suite.check("a pipeline: many statements before the first answer")
def pipeline(c):
    fresh(c, "psy3_pipe")
    with c.pipeline():
        for i in range(100):
            c.execute("insert into psy3_pipe values (%s, %s)", [i, i])
        count = c.execute("select count(*) from psy3_pipe")
        equal(count.fetchone(), (100,))


@suite.check("a pipeline: after an error the rest up to Sync is skipped, then it goes on")
def pipeline_error(c):
    fresh(c, "psy3_pipe_error")
    with c.pipeline() as p:
        good = c.execute("insert into psy3_pipe_error values (%s, 1)", [1])
        p.sync()
        try:
            # The error may come with any of these, as the answers arrive.
            c.execute("insert into psy3_pipe_error values (%s, 1)", [1])
            c.execute("insert into psy3_pipe_error values (%s, 1)", [2])
            p.sync()
        except psycopg.errors.UniqueViolation:
            p.sync()
        else:
            raise check.Different("UniqueViolation", "no error")
        equal(good.rowcount, 1)
        after = c.execute("select array_agg(id order by id) from psy3_pipe_error")
        equal(after.fetchone()[0], [1])


@suite.check("executemany, with RETURNING and its row counts")
def executemany(c):
    fresh(c, "psy3_batch")
    cur = c.cursor()
    cur.executemany("insert into psy3_batch values (%s, %s)", [(i, i % 7) for i in range(500)])
    equal(cur.rowcount, 500)
    cur.executemany("delete from psy3_batch where n = %s returning id", [(0,), (1,)], returning=True)
    first = len(cur.fetchall())
    holds(cur.nextset(), "a second result", None)
    equal((first, len(cur.fetchall())), (72, 72))


@suite.check("a statement prepared once and used many times")
def prepared(c):
    for i in range(20):
        equal(one(c, "select customer from psy3_orders where id = %s", [1 + i % 2], prepare=True), ["ann", "bob"][i % 2])
    equal(one(c, "select count(*) from pg_prepared_statements where statement like '%%psy3_orders where id%%' and name <> ''"), 1)


@suite.check("a prepared statement after its table was made anew")
def prepared_after_ddl(c):
    fresh(c, "psy3_replan")
    c.execute("insert into psy3_replan values (1, 1)")
    for _ in range(3):
        equal(one(c, "select n from psy3_replan where id = %s", [1], prepare=True), 1)
    fresh(c, "psy3_replan")
    c.execute("insert into psy3_replan values (1, 2)")
    equal(one(c, "select n from psy3_replan where id = %s", [1], prepare=True), 2)


@suite.check("PREPARE, EXECUTE, DEALLOCATE as statements")
def sql_prepare(c):
    c.execute("prepare psy3_p (int, text) as select $1 + 1, $2")
    equal(c.execute("execute psy3_p(1, 'x')").fetchone(), (2, "x"))
    refused("42P05", c.execute, "prepare psy3_p as select 1")
    equal(c.execute("deallocate psy3_p").statusmessage, "DEALLOCATE")
    refused("26000", c.execute, "execute psy3_p(1, 'x')")


@suite.check("many connections at a time")
def many_connections():
    connections = [connect() for _ in range(50)]
    try:
        equal([one(c, "select %s::int", [i]) for i, c in enumerate(connections)], list(range(50)))
    finally:
        for c in connections:
            c.close()


# Session, catalog


@suite.check("what the server says of itself at the start")
def parameters(c):
    holds(150000 <= c.info.server_version < 160000, "a version 15", c.info.server_version)
    status = {name: c.info.parameter_status(name) for name in ("server_encoding", "client_encoding", "integer_datetimes", "standard_conforming_strings", "IntervalStyle", "DateStyle", "application_name")}
    equal(
        status,
        {
            "server_encoding": "UTF8",
            "client_encoding": "UTF8",
            "integer_datetimes": "on",
            "standard_conforming_strings": "on",
            "IntervalStyle": "postgres",
            "DateStyle": "ISO, MDY",
            "application_name": "psycopg3",
        },
    )
    equal(c.info.encoding, "utf-8")
    equal(one(c, "select version()").split(".")[0], "PostgreSQL 15")
    equal(one(c, "select pg_backend_pid()"), c.info.backend_pid)


@suite.check("settings given with the connection")
def start_options():
    with connect(application_name="its name", options="-c statement_timeout=3000 -c search_path=public,pg_catalog -c DateStyle=ISO,MDY") as c:
        equal(one(c, "show application_name"), "its name")
        equal(one(c, "show statement_timeout"), "3s")
        equal(one(c, "show search_path"), "public,pg_catalog")
        equal(one(c, "select application_name from pg_stat_activity where pid = pg_backend_pid()"), "its name")


@suite.check("SET, SET LOCAL, RESET, SHOW, current_setting, set_config")
def settings(c):
    c.execute("set application_name = 'a'")
    c.execute("begin")
    c.execute("set local application_name = 'b'")
    equal(one(c, "show application_name"), "b")
    c.execute("commit")
    equal(one(c, "select current_setting('application_name')"), "a")
    c.execute("begin")
    c.execute("set application_name = 'c'")
    c.execute("rollback")
    equal(one(c, "show application_name"), "a")
    equal(one(c, "select set_config('application_name', 'd', false)"), "d")
    equal(c.info.parameter_status("application_name"), "d")
    c.execute("reset application_name")
    equal(one(c, "show application_name"), "psycopg3")
    equal(one(c, "select current_setting('nosuch.setting', true)"), None)
    refused("42704", c.execute, "set nosuch = 1")
    refused("22023", c.execute, "set statement_timeout = 'soon'")


@suite.check("settings of one session are not another's")
def settings_apart(c):
    with connect(options="-c TimeZone=UTC") as other:
        c.execute("set time zone 'Asia/Tokyo'")
        equal(one(other, "show TimeZone"), "UTC")


@suite.check("an unknown database: 3D000, in PostgreSQL's words")
def unknown_database():
    try:
        connect(dbname="nosuch_db").close()
    except psycopg.OperationalError as error:
        holds('FATAL:  database "nosuch_db" does not exist' in str(error), 'FATAL:  database "nosuch_db" does not exist', str(error))
    else:
        raise check.Different("FATAL", "a connection")


@suite.check("TypeInfo of base types, and of none")
def type_info(c):
    got = [(i.name, i.oid, i.array_oid) for i in (TypeInfo.fetch(c, n) for n in ("int4", "numeric", "text", "uuid", "jsonb", "timestamptz"))]
    equal(got, [("int4", 23, 1007), ("numeric", 1700, 1231), ("text", 25, 1009), ("uuid", 2950, 2951), ("jsonb", 3802, 3807), ("timestamptz", 1184, 1185)])
    equal(TypeInfo.fetch(c, "hstore"), None)


@suite.check("a table's row type, by CompositeInfo, and a row of it")
def composite(c):
    info = CompositeInfo.fetch(c, "psy3_orders")
    equal((info.field_names, info.field_types), (("id", "customer", "amount", "at"), (20, 1043, 1700, 1184)))
    register_composite(info, c)
    row = one(c, "select o from psy3_orders o where id = 1")
    equal((row.id, row.customer, row.amount), (1, "ann", decimal.Decimal("10.50")))


@suite.check("asynchronous: statements, a cursor, a transaction")
def asynchronous():
    async def body():
        async with await psycopg.AsyncConnection.connect(**ADDRESS) as c:
            cur = await c.execute("select id from psy3_orders where id = %s", [2])
            equal(await cur.fetchone(), (2,))
            async with c.transaction(), c.cursor("psy3_async") as cur:
                await cur.execute("select g from generate_series(1, 100) g")
                equal(len([r async for r in cur]), 100)

    asyncio.run(body())


# What would keep a server busy if it went wrong stands last.


def cancelled(c, statement, cancel):
    timer = later(0.3, cancel)
    started = time.monotonic()
    refused("57014", c.execute, statement)
    holds(time.monotonic() - started < check.CANCEL_SECONDS, f"an end within {check.CANCEL_SECONDS:.0f} s", time.monotonic() - started)
    timer.join()
    equal(one(c, "select 1"), 1)


@suite.check("cancel ends a statement that computes")
def cancel(c):
    cancelled(c, ENDLESS, c.cancel)


@suite.check("cancel ends a statement whose rows are streaming")
def cancel_stream(c):
    rows = c.cursor().stream(STREAMING)
    next(rows)
    c.cancel()

    def drain():
        for _ in rows:
            pass

    refused("57014", drain)
    equal(one(c, "select 1"), 1)


@suite.check("pg_cancel_backend from another session")
def cancel_backend(c):
    with connect() as other:
        cancelled(c, ENDLESS, lambda: other.execute("select pg_cancel_backend(%s)", [c.info.backend_pid]))


@suite.check("pg_terminate_backend from another session: 57P01")
def terminate_backend(c):
    with connect() as other:
        timer = later(0.3, lambda: other.execute("select pg_terminate_backend(%s)", [c.info.backend_pid]))
        refused("57P01", c.execute, ENDLESS)
        holds(c.broken, "a connection that is gone", c.broken)
        timer.join()


@suite.check("statement_timeout: 57014")
def statement_timeout(c):
    c.execute("set statement_timeout = '200ms'")
    equal(one(c, "show statement_timeout"), "200ms")
    error = refused("57014", c.execute, ENDLESS)
    equal(error.diag.message_primary, "canceling statement due to statement timeout")
    equal(one(c, "select 1"), 1)


@suite.check("idle_in_transaction_session_timeout: the connection ends")
def idle_timeout(c):
    c.execute("set idle_in_transaction_session_timeout = 200")
    c.execute("begin")
    time.sleep(0.6)
    refused("25P03", c.execute, "select 1")


@suite.check("the view follows an INSERT", prepares=True)
def follows(c):
    c.execute("insert into psy3_orders values (%s, %s, %s, now())", [4, "ann", decimal.Decimal("1.25")])
    eventually(lambda: totals(c), check.LAST_TOTALS)


suite.run()
