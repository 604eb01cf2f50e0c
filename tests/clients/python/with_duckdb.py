"""DuckDB's postgres extension: the database attached, tables and views read through COPY in binary, rows written, filters pushed down."""

import os

import duckdb
import duckdb_extension_postgres_scanner as extension
import psycopg

import check
from check import Different, Suite, equal, eventually, holds

ADDRESS = f"host={check.HOST} port={check.PORT} user={check.USER} dbname={check.DATABASE}"
EXTENSION = os.path.join(os.path.dirname(extension.__file__), "extensions", f"v{duckdb.__version__}", "postgres_scanner.duckdb_extension")


def connect():
    c = duckdb.connect(config={"allow_unsigned_extensions": True, "extension_directory": os.environ.get("TMPDIR", "/tmp")})
    c.execute(f"load '{EXTENSION}'")
    c.execute(f"attach '{ADDRESS}' as pg (type postgres)")
    return c


suite = Suite("duckdb", connect)


def run(*statements):
    """Beside DuckDB, for what it has no words for."""
    with psycopg.connect(ADDRESS, autocommit=True) as c:
        for statement in statements:
            c.execute(statement)


def rows(c, query):
    return c.execute(query).fetchall()


def totals(c):
    if check.CONTROL:
        run("refresh materialized view duck_totals")
    # Anew for each statement: DuckDB reads several at one snapshot.
    return rows(c, "select customer, orders, total::decimal(12,2) from pg.duck_totals order by customer")


@suite.check("a table, rows and a materialized view", prepares=True)
def begin(c):
    run("drop table if exists duck_made", *check.beginning("duck"))
    run("create table duck_types (id bigint primary key, b boolean, i smallint, f double precision, n numeric(10,2), t text, d date, at timestamptz, a integer[], j jsonb, u uuid, raw bytea)")
    run("insert into duck_types values (1, true, 2, 1.5, 1.25, 'é', '2024-02-29', '2024-02-29 00:00:00+00', '{1,2}', '{\"k\": 1}', '0188b1c2-7b2c-7def-8123-456789abcdef', '\\x00ff')")
    c.execute("call pg_clear_cache()")
    equal(totals(c), check.FIRST_TOTALS)


@suite.check("names and types of the columns of a table and a materialized view")
def describe(c):
    equal([r[:2] for r in rows(c, "describe pg.duck_orders")], [("id", "BIGINT"), ("customer", "VARCHAR"), ("amount", "DECIMAL(12,2)"), ("at", "TIMESTAMP WITH TIME ZONE")])
    equal([r[0] for r in rows(c, "describe pg.duck_totals")], ["customer", "orders", "total"])


@suite.check("tables and views in the list of tables")
def tables(c):
    names = {r[2] for r in rows(c, "show all tables") if r[1] == "public"}
    holds({"duck_orders", "duck_totals"} <= names, "duck_orders and duck_totals", sorted(names))


@suite.check("values of many types")
def types(c):
    equal(rows(c, "select b, i, f, n::varchar, t, d::varchar, epoch(\"at\"), a, j->>'k', u::varchar, hex(raw) from pg.duck_types"), [(True, 2, 1.5, "1.25", "é", "2024-02-29", 1709164800.0, [1, 2], "1", "0188b1c2-7b2c-7def-8123-456789abcdef", "00FF")])


@suite.check("filters, aggregates and joins over attached tables")
def query(c):
    equal(rows(c, "select customer from pg.duck_orders where id = 2 and amount > 20"), [("bob",)])
    equal(rows(c, "select o.customer, count(*) from pg.duck_orders o join pg.duck_totals t on t.customer = o.customer group by 1 order by 1"), [("ann", 2), ("bob", 1)])


@suite.check("a query in the server's own words")
def passed_through(c):
    equal(rows(c, "select * from postgres_query('pg', 'select customer, count(*) as n from duck_orders group by customer order by customer')"), [("ann", 2), ("bob", 1)])


@suite.check("a table made from a query, rows added, COPY in binary and text")
def write(c):
    run("drop table if exists duck_made")
    c.execute("call pg_clear_cache()")
    c.execute("create table pg.duck_made as select range as id, 'x' || range as t from range(20000)")
    c.execute("insert into pg.duck_made values (20000, null)")
    equal(rows(c, "select count(*), count(t), max(id) from pg.duck_made"), [(20001, 20000, 20000)])


@suite.check("a transaction that is rolled back")
def rollback(c):
    run("drop table if exists duck_tx", "create table duck_tx (id bigint primary key)")
    c.execute("call pg_clear_cache()")
    c.execute("begin")
    c.execute("insert into pg.duck_tx values (1)")
    equal(rows(c, "select count(*) from pg.duck_tx"), [(1,)])
    c.execute("rollback")
    equal(rows(c, "select count(*) from pg.duck_tx"), [(0,)])


@suite.check("an error of the server is told")
def error(c):
    try:
        rows(c, "select * from postgres_query('pg', 'select * from nosuch')")
    except duckdb.Error as told:
        holds('relation "nosuch" does not exist' in str(told), 'relation "nosuch" does not exist', str(told))
    else:
        raise Different("an error", "rows")


@suite.check("the view follows an INSERT", prepares=True)
def follows(c):
    c.execute("insert into pg.duck_orders values (4, 'ann', 1.25, now())")
    eventually(lambda: totals(c), check.LAST_TOTALS)


suite.run()
