"""asyncpg: everything binary, statements prepared and cached, introspection of types, COPY of records, pools."""

import asyncio
import datetime as dt
import decimal
import io
import json

import asyncpg

import check
from check import ARRAYS, ENDLESS, SCALARS, Different, Suite, column, equal, holds

ADDRESS = dict(host=check.HOST, port=check.PORT, user=check.USER, database=check.DATABASE)


async def connect(**more):
    return await asyncpg.connect(**{**ADDRESS, "server_settings": {"application_name": "asyncpg", "TimeZone": "UTC"}, **more})


async def probe():
    await (await connect()).close()


suite = Suite("asyncpg", probe=lambda: asyncio.run(probe()))


def checked(what, prepares=False):
    """A check that is a coroutine over one new connection."""

    def keep(function):
        add(what, function, prepares)
        return function

    return keep


def add(what, function, prepares=False):
    async def body():
        c = await connect()
        try:
            await asyncio.wait_for(function(c), check.LIMIT_SECONDS - 1)
        finally:
            c.terminate()

    suite.add(what, lambda: asyncio.run(body()), prepares)


async def refused(sqlstate, awaitable):
    try:
        result = await awaitable
    except asyncpg.PostgresError as error:
        if error.sqlstate != sqlstate:
            raise Different(f"error {sqlstate}", f"{error.sqlstate}: {error}") from error
        return error
    raise Different(f"error {sqlstate}", result)


async def totals(c):
    if check.CONTROL:
        await c.execute("refresh materialized view apg_totals")
    return [tuple(r) for r in await c.fetch("select customer, orders, total from apg_totals order by customer")]


async def fresh(c, name):
    await c.execute(f"drop table if exists {name}")
    await c.execute(f"create table {name} (id bigint primary key, n int)")


@checked("a table, rows and a materialized view", prepares=True)
async def begin(c):
    for statement in check.beginning("apg"):
        await c.execute(statement)
    equal(await totals(c), check.FIRST_TOTALS)


@checked("a table with a column of every type", prepares=True)
async def table_of_types(c):
    await c.execute(f"create table apg_types (id integer primary key, {check.columns_of_all_types()})")


# Types


def comes_back(type_name, value, text, row):
    async def body(c):
        equal(await c.fetchval(f"select $1::{type_name}", value), value)
        equal(await c.fetchval(f"select ($1::{type_name})::text", value), text)
        equal(await c.fetchval(f"select $1::{type_name}", None), None)
        name = column(type_name)
        await c.execute(f"insert into apg_types (id, {name}) values ($1, $2), ($3, null)", row, value, row + 1000)
        equal([tuple(r) for r in await c.fetch(f"select id, {name} from apg_types where id = any($1) order by id", [row, row + 1000])], [(row, value), (row + 1000, None)])
        equal(await c.fetchval(f"select id from apg_types where {name} = $1", value), row)

    return body


for number, (type_name, value, text) in enumerate(SCALARS + ARRAYS):
    add(f"{type_name} as parameter, result and column", comes_back(type_name, value, text, number))


@checked("jsonb and json, as text and through a codec of one's own")
async def json_values(c):
    equal(json.loads(await c.fetchval("select $1::jsonb", json.dumps(check.JSON_VALUE))), check.JSON_VALUE)
    await c.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    await c.execute("insert into apg_types (id, c_jsonb) values ($1, $2)", 2000, check.JSON_VALUE)
    equal(await c.fetchval("select c_jsonb from apg_types where id = 2000"), check.JSON_VALUE)
    equal(json.loads(await c.fetchval("select $1::json", json.dumps(check.JSON_VALUE))), check.JSON_VALUE)


@checked("floats and times at their edges")
async def edges(c):
    equal(repr(tuple(await c.fetchrow("select 'inf'::float8, '-inf'::float8, 'nan'::float8, $1::float8, $2::float4", float("inf"), float("-inf")))), "(inf, -inf, nan, inf, -inf)")
    values = [dt.date(1, 1, 1), dt.date(9999, 12, 31), dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999), dt.time(0, 0), dt.timedelta(days=-1, microseconds=1)]
    equal(list(await c.fetchrow("select $1::date, $2::date, $3::timestamp, $4::timestamp, $5::time, $6::interval", *values)), values)


@checked("numeric: scale kept, small and large, zero")
async def numerics(c):
    for text in ("0", "0.00", "1", "-1.50", "100", "0.000001", "12345678901234567890.12345", "-99999999999999999999"):
        got = await c.fetchval("select $1::numeric", decimal.Decimal(text))
        equal(got, decimal.Decimal(text))
        equal(await c.fetchval("select $1::numeric(38,6)::text", decimal.Decimal(text)), f"{decimal.Decimal(text):.6f}")


@checked("types of parameters, inferred from columns, casts, LIMIT, ANY, INSERT")
async def inferred(c):
    cases = [
        ("select * from apg_orders where id = $1", ["int8"]),
        ("select * from apg_orders where customer = $1 and amount > $2", ["text", "numeric"]),
        ("select * from apg_orders where at between $1 and $2", ["timestamptz", "timestamptz"]),
        ("select * from apg_orders where id = any($1)", ["int8[]"]),
        ("select * from apg_orders where id in ($1, $2)", ["int8", "int8"]),
        ("select * from apg_orders limit $1 offset $2", ["int8", "int8"]),
        ("insert into apg_orders values ($1, $2, $3, $4)", ["int8", "text", "numeric", "timestamptz"]),
        ("update apg_orders set amount = $1 where id = $2", ["numeric", "int8"]),
        ("select $1::int + 1, $2::text", ["int4", "text"]),
        ("select $1 || 'x'", ["text"]),
        ("select 1.5 + $1", ["numeric"]),
        ("select coalesce($1, 5)", ["int4"]),
        ("select case when $1 then 1 else 2 end", ["bool"]),
        ("select upper($1)", ["text"]),
        ("select $1", ["text"]),
    ]
    wrong = []
    # PostgreSQL compares varchar as text; either type is sent alike.
    for query, expected in cases:
        try:
            got = ["text" if p.name == "varchar" else p.name for p in (await c.prepare(query)).get_parameters()]
        except asyncpg.PostgresError as error:
            got = str(error)
        if got != expected:
            wrong.append((query, expected, got))
    equal(wrong, [])


@checked("types of columns as a prepared statement tells them")
async def attributes(c):
    statement = await c.prepare("select id, customer, amount, at, array[1] as a, now() - now() as d from apg_orders")
    equal([(a.name, a.type.name) for a in statement.get_attributes()], [("id", "int8"), ("customer", "varchar"), ("amount", "numeric"), ("at", "timestamptz"), ("a", "int4[]"), ("d", "interval")])
    equal(statement.get_statusmsg(), None)


# Records and introspection


@checked("an anonymous record")
async def record(c):
    equal(tuple(await c.fetchval("select row(1, 'x', null)")), (1, "x", None))


@checked("a row of a table as a record of its row type")
async def row_type(c):
    got = await c.fetchval("select o from apg_orders o where id = 1")
    equal((got["id"], got["customer"], got["amount"]), (1, "ann", decimal.Decimal("10.50")))


@checked("an array of rows")
async def array_of_rows(c):
    got = await c.fetchval("select array_agg(o order by id) from apg_orders o where id <= 2")
    equal([r["customer"] for r in got], ["ann", "bob"])


@checked("columns of the catalog: oid, name, \"char\", name[], int2vector, regclass")
async def catalog_types(c):
    got = await c.fetchrow("select c.oid, relname, relkind, 'apg_orders'::regclass::text, indkey from pg_class c join pg_index i on i.indrelid = c.oid where relname = 'apg_orders'")
    holds(got["oid"] >= 16384, "an OID of a user's object", got["oid"])
    equal((got["relname"], got["relkind"], got[3], list(got["indkey"])), ("apg_orders", b"r", "apg_orders", [1]))
    equal(await c.fetchval("select current_schemas(false)"), ["public"])


@checked("reload_schema_state and a statement after DDL")
async def after_ddl(c):
    await fresh(c, "apg_replan")
    await c.execute("insert into apg_replan values (1, 1)")
    equal(tuple(await c.fetchrow("select * from apg_replan where id = $1", 1)), (1, 1))
    await c.execute("drop table apg_replan")
    await c.execute("create table apg_replan (id bigint primary key, t text, n int)")
    await c.execute("insert into apg_replan values (1, 'x', 2)")
    try:
        got = await c.fetchrow("select * from apg_replan where id = $1", 1)
    except asyncpg.InvalidCachedStatementError:
        # PostgreSQL's way: 0A000, and the client prepares anew.
        await c.reload_schema_state()
        got = await c.fetchrow("select * from apg_replan where id = $1", 1)
    equal(tuple(got), (1, "x", 2))


# Statements


@checked("fetch, fetchrow, fetchval, execute and their tags")
async def statements(c):
    await fresh(c, "apg_tags")
    equal(await c.execute("insert into apg_tags values (1, 1), (2, 2)"), "INSERT 0 2")
    equal(await c.execute("update apg_tags set n = $1 where id = $2", 5, 1), "UPDATE 1")
    equal(await c.execute("delete from apg_tags"), "DELETE 2")
    equal(await c.execute("select 1; select 2"), "SELECT 1")
    equal(await c.fetchrow("select 1 where false"), None)
    equal(await c.fetch("insert into apg_tags values (3, 3) returning id, n"), [(3, 3)])
    equal(await c.fetch("-- nothing"), [])


@checked("executemany: all or nothing")
async def executemany(c):
    await fresh(c, "apg_many")
    await c.executemany("insert into apg_many values ($1, $2)", [(i, i) for i in range(1000)])
    equal(await c.fetchval("select count(*) from apg_many"), 1000)
    await refused("23505", c.executemany("insert into apg_many values ($1, $2)", [(2000, 1), (1, 1)]))
    equal(await c.fetchval("select count(*) from apg_many"), 1000)


@checked("a prepared statement used many times, with EXPLAIN and its query")
async def prepared(c):
    statement = await c.prepare("select customer from apg_orders where id = $1", name="apg_named")
    for i in range(50):
        equal(await statement.fetchval(1 + i % 2), ["ann", "bob"][i % 2])
    equal(await c.fetchval("select count(*) from pg_prepared_statements where name = 'apg_named'"), 1)
    equal(await statement.fetchmany([(1,), (2,)]), [("ann",), ("bob",)])


@checked("values of eight megabytes")
async def large(c):
    data = bytes(range(256)) * (1 << 15)
    holds(await c.fetchval("select $1::bytea", data) == data, "the same 8 MiB", "others")


@checked("a result of a hundred thousand rows")
async def many_rows(c):
    rows = await c.fetch("select g, g::text as t from generate_series(1, 100000) g")
    equal((len(rows), sum(r["g"] for r in rows)), (100000, 5000050000))


# Errors


def fails(sqlstate, statement, position):
    async def body(c):
        error = await refused(sqlstate, c.fetch(statement))
        if position is not None:
            equal(error.as_dict().get("position"), str(position))
        equal(await c.fetchval("select 1"), 1)

    return body


for sqlstate, statement, position in check.ERRORS:
    add(f"error {sqlstate}: {statement.format(p='t')}", fails(sqlstate, statement.format(p="apg"), position))


@checked("an error's class and fields")
async def error_fields(c):
    error = await refused("23505", c.execute("insert into apg_orders values ($1, 'x')", 1))
    equal(type(error), asyncpg.UniqueViolationError)
    equal((error.schema_name, error.table_name, error.constraint_name), ("public", "apg_orders", "apg_orders_pkey"))


@checked("notices reach the listener")
async def notices(c):
    seen = []
    c.add_log_listener(lambda _, message: seen.append((message.severity_en, message.message)))
    await c.execute("drop table if exists apg_nosuch")
    await asyncio.sleep(0)
    equal(seen, [("NOTICE", 'table "apg_nosuch" does not exist, skipping')])


# Transactions, cursors


@checked("transactions: COMMIT, ROLLBACK, nested with a savepoint")
async def transactions(c):
    await fresh(c, "apg_tx")
    async with c.transaction():
        await c.execute("insert into apg_tx values (1, 1)")
        try:
            async with c.transaction():
                await c.execute("insert into apg_tx values (2, 2)")
                await c.execute("insert into apg_tx values (1, 1)")
        except asyncpg.UniqueViolationError:
            pass
        holds(c.is_in_transaction(), "an open transaction", False)
    transaction = c.transaction()
    await transaction.start()
    await c.execute("delete from apg_tx")
    await transaction.rollback()
    equal([r["id"] for r in await c.fetch("select id from apg_tx")], [1])


@checked("a failed transaction: 25P02")
async def failed(c):
    transaction = c.transaction()
    await transaction.start()
    await refused("22012", c.execute("select 1/0"))
    await refused("25P02", c.fetch("select 1"))
    await refused("25P02", c.execute("select 1"))
    await transaction.rollback()
    equal(await c.fetchval("select 1"), 1)


@checked("isolation levels, read only, deferrable")
async def isolation(c):
    for level in ("read_uncommitted", "read_committed", "repeatable_read", "serializable"):
        async with c.transaction(isolation=level, readonly=True, deferrable=True):
            equal(await c.fetchval("show transaction_isolation"), level.replace("_", " "))
            equal(await c.fetchval("show transaction_read_only"), "on")
    async with c.transaction(readonly=True):
        await refused("25006", c.execute("insert into apg_orders values (1, 'x')"))


@checked("cursors: portals with row limits, prefetch, forward")
async def cursors(c):
    async with c.transaction():
        got = [r["g"] async for r in c.cursor("select g from generate_series(1, $1::int) g order by g", 1000, prefetch=7)]
        equal(got, list(range(1, 1001)))
        cursor = await c.cursor("select g from generate_series(1, 10) g order by g")
        equal(await cursor.fetch(3), [(1,), (2,), (3,)])
        equal(await cursor.forward(2), 2)
        equal(await cursor.fetchrow(), (6,))
        equal(len(await cursor.fetch(100)), 4)
        equal(await cursor.fetchrow(), None)
        first, second = await c.cursor("select 1 as a"), await c.cursor("select 2 as a")
        equal((await second.fetchrow(), await first.fetchrow()), ((2,), (1,)))


# COPY


@checked("copy_records_to_table: binary, every type")
async def copy_records(c):
    await c.execute("delete from apg_types where id = 3000")
    types = SCALARS + ARRAYS
    tag = await c.copy_records_to_table("apg_types", columns=["id"] + [column(t) for t, _, _ in types], records=[[3000] + [v for _, v, _ in types]])
    equal(tag, "COPY 1")
    row = await c.fetchrow(f"select {', '.join(column(t) for t, _, _ in types)} from apg_types where id = 3000")
    for (_, value, _), got in zip(types, row):
        equal(got, value)


@checked("copy_records_to_table: a hundred thousand")
async def copy_many(c):
    await fresh(c, "apg_copy")
    equal(await c.copy_records_to_table("apg_copy", records=((i, i % 10) for i in range(100000))), "COPY 100000")
    equal(await c.fetchval("select sum(n) from apg_copy"), 450000)
    await c.execute("drop table apg_copy")


@checked("copy_from_table, copy_from_query, copy_to_table as CSV")
async def copy_csv(c):
    out = io.BytesIO()
    equal(await c.copy_from_query("select id, customer from apg_orders where id <= $1 order by id", 2, output=out, format="csv", header=True), "COPY 2")
    equal(out.getvalue(), b"id,customer\n1,ann\n2,bob\n")
    await fresh(c, "apg_csv")
    equal(await c.copy_to_table("apg_csv", source=io.BytesIO(b"n;id\n5;1\n;2\n"), columns=["n", "id"], format="csv", header=True, delimiter=";"), "COPY 2")
    out = io.BytesIO()
    await c.copy_from_table("apg_csv", output=out)
    equal(sorted(out.getvalue().splitlines()), [b"1\t5", b"2\t\\N"])


@checked("copy_from_table in binary")
async def copy_binary(c):
    out = io.BytesIO()
    await c.copy_from_query("select 1::int4, null::text", output=out, format="binary")
    equal(out.getvalue(), b"PGCOPY\n\xff\r\n\0" + bytes(8) + b"\0\2\0\0\0\4\0\0\0\1\xff\xff\xff\xff" + b"\xff\xff")


# Session


@checked("settings of the server that the client is told")
async def settings(c):
    got = c.get_settings()
    equal((got.client_encoding, got.TimeZone, got.application_name, got.standard_conforming_strings), ("UTF8", "UTC", "asyncpg", "on"))
    version = c.get_server_version()
    equal(version.major, 15)
    await c.execute("set timezone to 'Asia/Tokyo'")
    equal(c.get_settings().TimeZone, "Asia/Tokyo")
    await c.reset()
    equal(await c.fetchval("show timezone"), "UTC")


@checked("reset: settings, cursors, transaction")
async def reset(c):
    await c.execute("set application_name = 'x'")
    await c.execute("begin")
    await c.execute("declare k cursor for select 1")
    await c.reset()
    holds(not c.is_in_transaction(), "no transaction", True)
    equal(await c.fetchval("show application_name"), "asyncpg")


@checked("a pool: taken, given back, reset between users")
async def pool(_):
    async with asyncpg.create_pool(**ADDRESS, min_size=1, max_size=2) as p:
        for _ in range(3):
            async with p.acquire() as c:
                equal(await c.fetchval("show statement_timeout"), "0")
                await c.execute("set statement_timeout = 5000")
        got = await asyncio.gather(*(p.fetchval("select $1::int", i) for i in range(20)))
        equal(got, list(range(20)))


@checked("a command_timeout and server settings from the start")
async def start(_):
    c = await connect(server_settings={"application_name": "x", "search_path": "public", "statement_timeout": "3000"}, command_timeout=5)
    equal(await c.fetchval("show statement_timeout"), "3s")
    await c.close()


@checked("an unknown database: 3D000")
async def unknown_database(_):
    await refused("3D000", connect(database="nosuch_db"))


# What would keep a server busy if it went wrong stands last.


@checked("a timeout cancels the statement, and the connection goes on")
async def timeout(c):
    try:
        await c.fetch(ENDLESS, timeout=0.3)
    except asyncio.TimeoutError:
        pass
    else:
        raise Different("TimeoutError", "an answer")
    equal(await asyncio.wait_for(c.fetchval("select 1"), 5), 1)


@checked("a task that is cancelled cancels the statement")
async def cancelled(c):
    task = asyncio.create_task(c.fetch(ENDLESS))
    await asyncio.sleep(0.3)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    equal(await asyncio.wait_for(c.fetchval("select 1"), 5), 1)


@checked("the view follows an INSERT", prepares=True)
async def follows(c):
    await c.execute("insert into apg_orders values ($1, $2, $3, now())", 4, "ann", decimal.Decimal("1.25"))
    end = asyncio.get_running_loop().time() + check.FOLLOW_SECONDS
    while (got := await totals(c)) != check.LAST_TOTALS and asyncio.get_running_loop().time() < end:
        await asyncio.sleep(0.02)
    equal(got, check.LAST_TOTALS)


suite.run()
