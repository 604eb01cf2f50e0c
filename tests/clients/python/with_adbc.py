"""ADBC's PostgreSQL driver: results as Arrow through COPY in binary, parameters, ingestion, objects of the catalog."""

import datetime as dt
import decimal

import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

import check
from check import Different, Suite, equal, eventually, holds

suite = Suite("adbc", lambda: connect())


def connect():
    return adbc.connect(f"postgresql://{check.USER}@{check.HOST}:{check.PORT}/{check.DATABASE}", autocommit=True)


def run(c, statement, values=None):
    with c.cursor() as cur:
        cur.execute(statement, values)


def table(c, query, values=None):
    with c.cursor() as cur:
        cur.execute(query, values)
        return cur.fetch_arrow_table()


def rows(c, query, values=None):
    return [tuple(r.values()) for r in table(c, query, values).to_pylist()]


def totals(c):
    if check.CONTROL:
        run(c, "refresh materialized view adbc_totals")
    return rows(c, "select customer, orders, total::text as total from adbc_totals order by customer")


@suite.check("a table, rows and a materialized view", prepares=True)
def begin(c):
    for statement in check.beginning("adbc"):
        run(c, statement)
    equal(totals(c), [(a, n, str(t)) for a, n, t in check.FIRST_TOTALS])


@suite.check("the schema of a result: types of Arrow")
def schema(c):
    found = table(c, "select 1::int2 as a, 2::int4 as b, 3::int8 as c, 1.5::float4 as d, 1.5::float8 as e, true as f, 'x'::text as g, 'y'::varchar(3) as h, '\\x00'::bytea as i, date '2024-02-29' as j, time '01:02:03' as k, timestamp '2024-02-29 01:02:03' as l, timestamptz '2024-02-29 01:02:03+00' as m, array[1, 2] as n, interval '1 day' as o")
    told = {f.name: str(f.type) for f in found.schema}
    expected = {"a": "int16", "b": "int32", "c": "int64", "d": "float", "e": "double", "f": "bool", "g": "string", "h": "string", "i": "binary", "j": "date32[day]", "k": "time64[us]", "l": "timestamp[us]", "n": "list<item: int32>", "o": "month_day_nano_interval"}
    equal({k: v for k, v in told.items() if k != "m"}, expected)
    holds(told["m"].startswith("timestamp[us, tz="), "a timestamp with a zone", told["m"])
    row = found.drop_columns(["m", "o", "d"]).to_pylist()[0]
    equal(list(row.values()), [1, 2, 3, 1.5, True, "x", "y", b"\0", dt.date(2024, 2, 29), dt.time(1, 2, 3), dt.datetime(2024, 2, 29, 1, 2, 3), [1, 2]])


@suite.check("numeric, uuid, jsonb, NULLs")
def others(c):
    equal(rows(c, "select 12.50::numeric(10,2)::text as a, '0188b1c2-7b2c-7def-8123-456789abcdef'::uuid::text as b, null::int as c, null::text as d"), [("12.50", "0188b1c2-7b2c-7def-8123-456789abcdef", None, None)])
    got = rows(c, "select 12.50::numeric(10,2) as a")[0][0]
    equal(decimal.Decimal(str(got)), decimal.Decimal("12.50"))


@suite.check("parameters")
def parameters(c):
    equal(rows(c, "select customer from adbc_orders where id = $1", (2,)), [("bob",)])
    equal(rows(c, "select $1::int + 1 as a, $2::text as b, $3::boolean as c", (1, "x", True)), [(2, "x", True)])


@suite.check("a hundred thousand rows")
def many(c):
    found = table(c, "select g, g::text as t from generate_series(1, 100000) g")
    equal((found.num_rows, sum(found["g"].to_pylist())), (100000, 5000050000))


@suite.check("ingestion: a table made and filled, and more appended")
def ingest(c):
    run(c, "drop table if exists adbc_frame")
    frame = pa.table({"a": pa.array([1, 2, None], pa.int64()), "t": ["x", None, "é"], "x": [0.5, 1.5, None], "at": pa.array([dt.datetime(2024, 2, 29), None, None], pa.timestamp("us"))})
    with c.cursor() as cur:
        equal(cur.adbc_ingest("adbc_frame", frame, mode="create"), 3)
        equal(cur.adbc_ingest("adbc_frame", frame, mode="append"), 3)
    equal(rows(c, "select a, t, x, at from adbc_frame where a = 1 limit 1"), [(1, "x", 0.5, dt.datetime(2024, 2, 29))])
    equal(rows(c, "select count(*) as n from adbc_frame"), [(6,)])


@suite.check("ingestion into a table that is there, of other types")
def ingest_existing(c):
    run(c, "drop table if exists adbc_into")
    run(c, "create table adbc_into (id bigint primary key, name varchar(10), ok boolean)")
    with c.cursor() as cur:
        cur.adbc_ingest("adbc_into", pa.table({"id": pa.array(range(1000), pa.int64()), "name": ["x"] * 1000, "ok": [True] * 1000}), mode="append")
    equal(rows(c, "select count(*) as n, max(id) as m from adbc_into"), [(1000, 999)])


@suite.check("transactions: COMMIT and ROLLBACK")
def transactions(c):
    run(c, "drop table if exists adbc_tx")
    run(c, "create table adbc_tx (id bigint primary key)")
    with adbc.connect(f"postgresql://{check.USER}@{check.HOST}:{check.PORT}/{check.DATABASE}") as own:
        run(own, "insert into adbc_tx values (1)")
        own.rollback()
        run(own, "insert into adbc_tx values (2)")
        own.commit()
    equal(rows(c, "select id from adbc_tx"), [(2,)])


@suite.check("errors: SQLSTATE")
def errors(c):
    for sqlstate, statement in (("42P01", "select * from nosuch"), ("42601", "selct 1"), ("22012", "select 1/0"), ("23505", "insert into adbc_orders values (1, 'x')")):
        try:
            rows(c, statement)
        except adbc.Error as error:
            equal(error.sqlstate, sqlstate)
        else:
            raise Different(f"error {sqlstate}", "rows")


@suite.check("objects of the catalog: tables, views, columns, keys")
def objects(c):
    found = c.adbc_get_objects(depth="all", catalog_filter=check.DATABASE, db_schema_filter="public", table_name_filter="adbc_%").read_all().to_pylist()
    tables = {t["table_name"]: t for t in found[0]["catalog_db_schemas"][0]["db_schema_tables"]}
    equal((tables["adbc_orders"]["table_type"], tables["adbc_totals"]["table_type"]), ("table", "materialized view"))
    equal([x["column_name"] for x in tables["adbc_orders"]["table_columns"]], ["id", "customer", "amount", "at"])
    equal([(x["constraint_type"], x["constraint_column_names"]) for x in tables["adbc_orders"]["table_constraints"]], [("PRIMARY KEY", ["id"])])


@suite.check("the schema of a table, and what the server says of itself")
def table_schema(c):
    equal([f.name for f in c.adbc_get_table_schema("adbc_orders")], ["id", "customer", "amount", "at"])
    equal(c.adbc_get_info()["vendor_name"], "PostgreSQL")
    holds("materialized_view" in c.adbc_get_table_types(), "materialized_view", c.adbc_get_table_types())


@suite.check("the view follows an INSERT", prepares=True)
def follows(c):
    run(c, "insert into adbc_orders values ($1, $2, $3::numeric, now())", (4, "ann", "1.25"))
    eventually(lambda: totals(c), [(a, n, str(t)) for a, n, t in check.LAST_TOTALS])


suite.run()
