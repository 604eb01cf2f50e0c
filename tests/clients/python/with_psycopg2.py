"""psycopg 2: values written into the text, server-side cursors, COPY, transactions."""

import datetime as dt
import decimal
import io
import time

import psycopg2
import psycopg2.extensions as ext
import psycopg2.extras as extras
import psycopg2.pool
from psycopg2 import sql

import check
from check import ARRAYS, ENDLESS, SCALARS, Suite, column, equal, eventually, holds, later, refused

ADDRESS = dict(host=check.HOST, port=check.PORT, user=check.USER, dbname=check.DATABASE)
extras.register_uuid()


def connect(**more):
    c = psycopg2.connect(**{**ADDRESS, "options": "-c TimeZone=UTC", **more})
    c.autocommit = True
    return c


suite = Suite("psycopg2", connect)


def run(c, statement, values=None):
    """Executes on a new cursor, and gives the cursor."""
    cur = c.cursor()
    cur.execute(statement, values)
    return cur


def rows(c, statement, values=None):
    return run(c, statement, values).fetchall()


def one(c, statement, values=None):
    return run(c, statement, values).fetchone()[0]


@suite.check("a table, rows and a materialized view", prepares=True)
def begin(c):
    for statement in check.beginning("psy2"):
        run(c, statement)
    equal(totals(c), check.FIRST_TOTALS)


@suite.check("a table with a column of every type", prepares=True)
def table_of_types(c):
    run(c, f"create table psy2_types (id integer primary key, {check.columns_of_all_types()})")


def totals(c):
    if check.CONTROL:
        run(c, "refresh materialized view psy2_totals")
    return rows(c, "select customer, orders, total from psy2_totals order by customer")


def fresh(c, name):
    run(c, f"drop table if exists {name}")
    run(c, f"create table {name} (id bigint primary key, n int)")


# Types


def plain(type_name, value):
    """bytea comes as memoryview; arrays of some types come as their text."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, list):
        return [plain(type_name, v) for v in value]
    return value


AS_TEXT = ("bytea[]",)  # psycopg 2 has no reader for it


def is_written(type_name, value, text, row):
    def body(c):
        equal(plain(type_name, one(c, f"select cast(%s as {type_name})", [value])) if type_name not in AS_TEXT else value, value)
        equal(one(c, f"select cast(cast(%s as {type_name}) as text)", [value]), text)
        name = column(type_name)
        cast = f"cast(%s as {type_name})"
        run(c, f"insert into psy2_types (id, {name}) values (%s, {cast}), (%s, %s)", [row, value, row + 1000, None])
        equal(rows(c, f"select id, {name}::text from psy2_types where id in %s order by id", [(row, row + 1000)]), [(row, text), (row + 1000, None)])
        equal(rows(c, f"select id from psy2_types where {name} = {cast}", [value]), [(row,)])

    return body


for number, (type_name, value, text) in enumerate(SCALARS + ARRAYS):
    if type_name != "smallint":
        suite.add(f"{type_name} as literal, result and column", is_written(type_name, value, text, number))


@suite.check("smallint as literal, result and column")
def smallint(c):
    run(c, "insert into psy2_types (id, c_smallint) values (1, %s)", [-32768])
    equal(rows(c, "select id, c_smallint from psy2_types where c_smallint = %s", [-32768]), [(1, -32768)])


@suite.check("values without a cast go into columns of their types")
def no_casts(c):
    chosen = [(t, v) for t, v, _ in SCALARS]
    run(c, f"insert into psy2_types (id, {', '.join(column(t) for t, _ in chosen)}) values ({', '.join(['%s'] * (len(chosen) + 1))})", [5000] + [v for _, v in chosen])
    got = run(c, f"select {', '.join(column(t) for t, _ in chosen)} from psy2_types where id = 5000").fetchone()
    equal([plain("", g) for g in got], [v for _, v in chosen])


@suite.check("jsonb and json, written and read")
def json(c):
    run(c, "insert into psy2_types (id, c_jsonb) values (%s, %s)", [2000, extras.Json(check.JSON_VALUE)])
    equal(one(c, "select c_jsonb from psy2_types where id = 2000"), check.JSON_VALUE)
    equal(one(c, "select %s::json", [extras.Json(check.JSON_VALUE)]), check.JSON_VALUE)


@suite.check("floats: infinities and no number")
def float_edges(c):
    got = run(c, "select %s, %s, %s", [float("inf"), float("-inf"), float("nan")]).fetchone()
    equal(repr(got), "(inf, -inf, nan)")


@suite.check("timestamptz in the zone of the session")
def time_zone(c):
    run(c, "set timezone to 'America/St_Johns'")
    equal(c.get_parameter_status("TimeZone"), "America/St_Johns")
    equal(one(c, "select '2024-07-01 00:00:00+00'::timestamptz").isoformat(), "2024-06-30T21:30:00-02:30")


@suite.check("literals: quotes, backslashes, percent signs, tuples for IN, lists for ANY")
def literals(c):
    equal(one(c, "select %s", [check.AWKWARD]), check.AWKWARD)
    equal(one(c, "select E'a\\\\b\\n' || %s || '100%%'", ["x"]), "a\\b\nx100%")
    equal(rows(c, "select id from psy2_orders where id in %s order by id", [(1, 3)]), [(1,), (3,)])
    equal(rows(c, "select id from psy2_orders where customer = any(%s) order by id", [["bob", "eve"]]), [(2,)])
    equal(one(c, "select %(a)s + %(b)s", {"a": 1, "b": decimal.Decimal("2.5")}), decimal.Decimal("3.5"))
    equal(run(c, "select null, true, %s", [None]).fetchone(), (None, True, None))


@suite.check("composed identifiers")
def composed(c):
    run(c, 'drop table if exists "Psy2 Odd"')
    run(c, sql.SQL("create table {} ({} bigint primary key)").format(sql.Identifier("Psy2 Odd"), sql.Identifier("Key")))
    equal(run(c, sql.SQL("select {} from {}").format(sql.Identifier("Key"), sql.Identifier("Psy2 Odd"))).fetchall(), [])
    run(c, 'drop table "Psy2 Odd"')


# Errors


def fails(sqlstate, statement, position):
    def body(c):
        error = refused(sqlstate, run, c, statement)
        equal(error.diag.severity, "ERROR")
        if position is not None:
            equal(error.diag.statement_position, str(position))
        equal(one(c, "select 1"), 1)

    return body


for sqlstate, statement, position in check.ERRORS:
    suite.add(f"error {sqlstate}: {statement.format(p='t')}", fails(sqlstate, statement.format(p="psy2"), position))


@suite.check("the message of an error shows its line with a caret")
def caret(c):
    error = refused("42703", run, c, "select 1,\n  nosuch\nfrom psy2_orders")
    equal(error.pgerror, 'ERROR:  column "nosuch" does not exist\nLINE 2:   nosuch\n          ^\n')


@suite.check("notices are collected")
def notices(c):
    run(c, "drop table if exists psy2_nosuch")
    run(c, "rollback")
    equal(c.notices, ['NOTICE:  table "psy2_nosuch" does not exist, skipping\n', "WARNING:  there is no transaction in progress\n"])


# Results


@suite.check("what a result says of its columns")
def description(c):
    cur = run(c, "select id, customer, amount, 1 as one from psy2_orders")
    equal([(d.name, d.type_code, d.internal_size, d.precision, d.scale) for d in cur.description], [("id", 20, 8, None, None), ("customer", 1043, 20, None, None), ("amount", 1700, 12, 12, 2), ("one", 23, 4, None, None)])
    holds(cur.description[0].table_oid, "the table's OID", cur.description[0].table_oid)
    equal(cur.description[2].table_column, 3)


@suite.check("row counts and tags")
def tags(c):
    fresh(c, "psy2_tags")
    cur = c.cursor()
    got = []
    for statement in ("insert into psy2_tags values (1, 1), (2, 2)", "update psy2_tags set n = 3", "delete from psy2_tags where id = 1", "select * from psy2_tags", "set application_name = 'x'"):
        cur.execute(statement)
        got.append((cur.statusmessage, cur.rowcount))
    equal(got, [("INSERT 0 2", 2), ("UPDATE 2", 2), ("DELETE 1", 1), ("SELECT 1", 1), ("SET", -1)])


@suite.check("several statements at once: the last result")
def several(c):
    equal(rows(c, "select 1; select 2"), [(2,)])


@suite.check("an empty statement")
def empty(c):
    try:
        run(c, "")
    except psycopg2.ProgrammingError as error:
        equal(str(error), "can't execute an empty query")


@suite.check("dictionary and named tuple cursors")
def cursors(c):
    with c.cursor(cursor_factory=extras.RealDictCursor) as cur:
        cur.execute("select id, customer from psy2_orders where id = 1")
        equal(dict(cur.fetchone()), {"id": 1, "customer": "ann"})
    with c.cursor(cursor_factory=extras.NamedTupleCursor) as cur:
        cur.execute("select id, customer from psy2_orders where id = 1")
        equal(cur.fetchone().customer, "ann")
    with c.cursor(cursor_factory=extras.DictCursor) as cur:
        cur.execute("select id, customer from psy2_orders where id = 1")
        equal(cur.fetchone()["customer"], "ann")


@suite.check("executemany, execute_batch, execute_values")
def many(c):
    fresh(c, "psy2_many")
    cur = c.cursor()
    cur.executemany("insert into psy2_many values (%s, %s)", [(i, i) for i in range(20)])
    extras.execute_batch(cur, "insert into psy2_many values (%s, %s)", [(i, i) for i in range(20, 220)], page_size=50)
    got = extras.execute_values(cur, "insert into psy2_many values %s returning id", [(i, i) for i in range(220, 1220)], page_size=500, fetch=True)
    equal(len(got), 1000)
    equal(one(c, "select count(*) from psy2_many"), 1220)


@suite.check("text of eight megabytes")
def large(c):
    text = "ünïcode " * (1 << 20)
    equal(one(c, "select length(%s)", [text]), len(text))
    holds(one(c, "select %s", [text]) == text, "the same text", "another")


# Transactions


@suite.check("COMMIT keeps, ROLLBACK undoes, own writes are seen")
def transactions(c):
    fresh(c, "psy2_tx")
    c.autocommit = False
    run(c, "insert into psy2_tx values (1, 1)")
    equal(c.get_transaction_status(), ext.TRANSACTION_STATUS_INTRANS)
    equal(one(c, "select count(*) from psy2_tx"), 1)
    c.rollback()
    equal(one(c, "select count(*) from psy2_tx"), 0)
    with c:
        run(c, "insert into psy2_tx values (2, 2)")
    equal(c.get_transaction_status(), ext.TRANSACTION_STATUS_IDLE)
    equal(one(c, "select count(*) from psy2_tx"), 1)


@suite.check("a failed transaction answers 25P02 until ROLLBACK")
def failed(c):
    c.autocommit = False
    refused("42P01", run, c, "select * from nosuch")
    equal(c.get_transaction_status(), ext.TRANSACTION_STATUS_INERROR)
    refused("25P02", run, c, "select 1")
    c.rollback()
    equal(one(c, "select 1"), 1)


@suite.check("savepoints")
def savepoints(c):
    fresh(c, "psy2_save")
    c.autocommit = False
    run(c, "insert into psy2_save values (1, 1)")
    run(c, "savepoint a")
    refused("23505", run, c, "insert into psy2_save values (1, 1)")
    run(c, "rollback to savepoint a")
    run(c, "insert into psy2_save values (2, 2)")
    run(c, "release savepoint a")
    c.commit()
    equal(one(c, "select count(*) from psy2_save"), 2)


@suite.check("isolation levels, read only, deferrable")
def isolation(c):
    for level, name in ((ext.ISOLATION_LEVEL_READ_COMMITTED, "read committed"), (ext.ISOLATION_LEVEL_REPEATABLE_READ, "repeatable read"), (ext.ISOLATION_LEVEL_SERIALIZABLE, "serializable"), (ext.ISOLATION_LEVEL_READ_UNCOMMITTED, "read uncommitted")):
        c.set_session(isolation_level=level, readonly=True, deferrable=True, autocommit=False)
        equal(one(c, "show transaction_isolation"), name)
        refused("25006", run, c, "insert into psy2_orders values (1, 'x')")
        c.rollback()


@suite.check("session settings under autocommit: SET SESSION CHARACTERISTICS")
def characteristics(c):
    c.set_session(isolation_level="REPEATABLE READ", readonly=True, autocommit=True)
    equal(one(c, "show default_transaction_isolation"), "repeatable read")
    equal(one(c, "show default_transaction_read_only"), "on")


@suite.check("CREATE TABLE and its first rows in one transaction")
def ddl_in_transaction(c):
    run(c, "drop table if exists psy2_script")
    c.autocommit = False
    run(c, "create table psy2_script (id bigint primary key, n int)")
    run(c, "insert into psy2_script values (1, 2)")
    c.commit()
    equal(rows(c, "select * from psy2_script"), [(1, 2)])
    c.rollback()


# Cursors, COPY


@suite.check("a named cursor: fetches, iteration by itersize")
def named_cursor(c):
    c.autocommit = False
    with c.cursor("psy2_named") as cur:
        cur.itersize = 300
        cur.execute("select g from generate_series(1, %s) g order by g", [1000])
        equal(cur.fetchone(), (1,))
        equal(cur.fetchmany(2), [(2,), (3,)])
        equal(sum(r[0] for r in cur), 500500 - 6)
    c.rollback()


@suite.check("a named cursor that scrolls, and one WITH HOLD")
def scroll_and_hold(c):
    c.autocommit = False
    with c.cursor("psy2_scroll", scrollable=True) as cur:
        cur.execute("select g from generate_series(1, 10) g order by g")
        cur.scroll(5)
        equal(cur.fetchone(), (6,))
        cur.scroll(0, mode="absolute")
        equal(cur.fetchone(), (1,))
    cur = c.cursor("psy2_hold", withhold=True)
    cur.execute("select g from generate_series(1, 10) g order by g")
    c.commit()
    equal(len(cur.fetchall()), 10)
    cur.close()


@suite.check("COPY out as text and CSV")
def copy_out(c):
    out = io.StringIO()
    c.cursor().copy_to(out, "psy2_orders", columns=("id", "customer"))
    equal(sorted(out.getvalue().splitlines()), ["1\tann", "2\tbob", "3\tann"])
    out = io.StringIO()
    c.cursor().copy_expert("copy (select customer, at from psy2_orders where id in (1, 3) order by id) to stdout with csv header", out)
    equal(out.getvalue(), "customer,at\nann,2024-01-01 00:00:00+00\nann,\n")


@suite.check("COPY in as text and CSV, and its row count")
def copy_in(c):
    fresh(c, "psy2_copy")
    cur = c.cursor()
    cur.copy_from(io.StringIO("1|10\n2|-\n"), "psy2_copy", sep="|", null="-")
    equal(cur.rowcount, 2)
    cur.copy_expert("copy psy2_copy (n, id) from stdin with (format csv, header)", io.StringIO("n,id\n30,3\n,4\n"))
    equal(rows(c, "select id, n from psy2_copy order by id"), [(1, 10), (2, None), (3, 30), (4, None)])


@suite.check("a bad row of COPY is told with its line, and nothing is loaded")
def copy_bad_row(c):
    fresh(c, "psy2_bad")
    error = refused("22P02", c.cursor().copy_from, io.StringIO("1\t1\n2\tx\n"), "psy2_bad")
    equal(error.diag.context, 'COPY psy2_bad, line 2, column n: "x"')
    equal(one(c, "select count(*) from psy2_bad"), 0)


# Session


@suite.check("reset, as a pool does it")
def reset(c):
    fresh(c, "psy2_reset")
    c.autocommit = False
    run(c, "set application_name = 'x'")
    c.commit()
    run(c, "insert into psy2_reset values (1, 1)")
    c.reset()
    equal(one(c, "show application_name"), "")
    equal(one(c, "select count(*) from psy2_reset"), 0)
    c.rollback()


@suite.check("a pool of connections")
def pool():
    p = psycopg2.pool.ThreadedConnectionPool(1, 3, **ADDRESS)
    taken = [p.getconn() for _ in range(3)]
    equal([one(c, "select 1") for c in taken], [1, 1, 1])
    for c in taken:
        p.putconn(c)
    p.closeall()


@suite.check("what the server says of itself")
def server(c):
    holds(150000 <= c.server_version < 160000, "a version 15", c.server_version)
    equal((c.encoding, c.get_parameter_status("server_encoding"), c.get_parameter_status("DateStyle")), ("UTF8", "UTF8", "ISO, MDY"))
    holds(c.get_backend_pid() > 0, "a process number", c.get_backend_pid())


@suite.check("the client's encoding: LATIN1 and back")
def encoding(c):
    c.set_client_encoding("LATIN1")
    equal(one(c, "select 'é' || %s", ["ü"]), "éü")
    c.set_client_encoding("UTF8")
    equal(one(c, "select 'é🌊'"), "é🌊")


@suite.check("DateStyle other than ISO comes as text of that style")
def date_style(c):
    equal(one(c, "select '2024-02-29'::date"), dt.date(2024, 2, 29))
    run(c, "set datestyle to 'SQL, DMY'")
    equal(c.get_parameter_status("DateStyle"), "SQL, DMY")
    equal(one(c, "select '2024-02-29'::date::text"), "29/02/2024")


# What would keep a server busy if it went wrong stands last.


@suite.check("cancel ends a statement that computes")
def cancel(c):
    started = time.monotonic()
    later(0.3, c.cancel)
    refused("57014", run, c, ENDLESS)
    holds(time.monotonic() - started < check.CANCEL_SECONDS, f"an end within {check.CANCEL_SECONDS:.0f} s", time.monotonic() - started)
    equal(one(c, "select 1"), 1)


@suite.check("the view follows an INSERT", prepares=True)
def follows(c):
    run(c, "insert into psy2_orders values (%s, %s, %s, now())", [4, "ann", decimal.Decimal("1.25")])
    eventually(lambda: totals(c), check.LAST_TOTALS)


suite.run()
