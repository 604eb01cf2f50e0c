"""SQLAlchemy 2 over psycopg 3, psycopg 2 and asyncpg: inspector, reflection, Core, ORM; and pandas reading and writing through it."""

import asyncio
import datetime as dt
import decimal
from functools import partial

import pandas as pd
import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pgd
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import check
from check import Different, Suite, equal, eventually, holds

ADDRESS = f"{check.USER}@{check.HOST}:{check.PORT}/{check.DATABASE}"
ENGINES = {driver: sa.create_engine(f"postgresql+{driver}://{ADDRESS}") for driver in ("psycopg", "psycopg2")}
suite = Suite("sqlalchemy", ENGINES["psycopg"].connect)


def autocommit(engine):
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def run(engine, *statements):
    with autocommit(engine) as c:
        for statement in statements:
            c.execute(sa.text(statement))


def rows(engine, query, **values):
    with engine.connect() as c:
        return [tuple(r) for r in c.execute(sa.text(query), values)]


def checked(what):
    """A check that is made with each driver."""

    def keep(function):
        for driver, engine in ENGINES.items():
            suite.add(f"{driver}: {what}", partial(function, engine))
        return function

    return keep


def totals(engine):
    if check.CONTROL:
        run(engine, "refresh materialized view sqla_totals")
    return rows(engine, "select customer, orders, total from sqla_totals order by customer")


@suite.check("a table, rows and a materialized view", prepares=True)
def begin():
    engine = ENGINES["psycopg"]
    run(engine, "drop view if exists sqla_large", "drop table if exists sqla_lines", *check.beginning("sqla"))
    equal(totals(engine), check.FIRST_TOTALS)


@suite.check("a second table, a view, an index", prepares=True)
def others():
    run(
        ENGINES["psycopg"],
        f"create table sqla_types (id integer primary key, {check.columns_of_all_types()})",
        "create table sqla_lines (order_id bigint, line integer, note text default 'none', primary key (order_id, line))",
        "create view sqla_large as select id, customer from sqla_orders where amount > 10",
        "create index sqla_by_customer on sqla_orders (customer, amount)",
    )


@suite.check("comments on a table and a column", prepares=True)
def comments():
    run(ENGINES["psycopg"], "comment on table sqla_orders is 'orders'", "comment on column sqla_orders.amount is 'in euros'")


# The inspector


@checked("inspector: names of tables, views, materialized views, schemas")
def names(engine):
    i = sa.inspect(engine)
    own = lambda found: sorted(n for n in found if n in ("sqla_orders", "sqla_lines", "sqla_large", "sqla_totals"))  # noqa: E731
    equal(own(i.get_table_names()), ["sqla_lines", "sqla_orders"])
    equal(own(i.get_view_names()), ["sqla_large"])
    equal(own(i.get_materialized_view_names()), ["sqla_totals"])
    equal(i.get_table_names(schema="public"), i.get_table_names())
    holds("public" in i.get_schema_names() and "information_schema" in i.get_schema_names(), "public and information_schema", i.get_schema_names())
    equal(i.default_schema_name, "public")
    equal((i.get_sequence_names(), i.get_temp_table_names(), i.get_foreign_table_names(), i.get_enums(), i.get_domains()), ([], [], [], [], []))


@checked("inspector: has_table, has_index, has_schema, has_sequence")
def has(engine):
    i = sa.inspect(engine)
    equal([i.has_table(n) for n in ("sqla_orders", "sqla_totals", "sqla_large", "sqla_nosuch")], [True, True, True, False])
    equal((i.has_table("sqla_orders", schema="public"), i.has_table("sqla_orders", schema="nosuch")), (True, False))
    equal((i.has_index("sqla_orders", "sqla_by_customer"), i.has_index("sqla_orders", "nosuch")), (True, False))
    equal((i.has_schema("public"), i.has_schema("nosuch"), i.has_sequence("nosuch")), (True, False, False))


@checked("inspector: columns, their types, defaults, comments")
def columns(engine):
    got = [(c["name"], repr(c["type"]), c["nullable"], c["default"], c["comment"]) for c in sa.inspect(engine).get_columns("sqla_orders")]
    equal(
        got,
        [
            ("id", "BIGINT()", False, None, None),
            ("customer", "VARCHAR(length=20)", False, None, None),
            ("amount", "NUMERIC(precision=12, scale=2)", True, "0", "in euros"),
            ("at", "TIMESTAMP(timezone=True)", True, None, None),
        ],
    )
    equal(sa.inspect(engine).get_columns("sqla_lines")[2]["default"], "'none'::text")


@checked("inspector: columns of a view and a materialized view")
def view_columns(engine):
    i = sa.inspect(engine)
    equal([(c["name"], repr(c["type"])) for c in i.get_columns("sqla_totals")], [("customer", "VARCHAR(length=20)"), ("orders", "BIGINT()"), ("total", "NUMERIC()")])
    equal([c["name"] for c in i.get_columns("sqla_large")], ["id", "customer"])


@checked("inspector: columns of every type")
def every_type(engine):
    got = {c["name"]: str(c["type"].compile(dialect=engine.dialect)) for c in sa.inspect(engine).get_columns("sqla_types")}
    as_told = {"time": "TIME WITHOUT TIME ZONE", "timestamp": "TIMESTAMP WITHOUT TIME ZONE", "timestamptz": "TIMESTAMP WITH TIME ZONE"}
    expected = {"id": "INTEGER", "c_jsonb": "JSONB"}
    for type_name, _, _ in check.SCALARS + check.ARRAYS:
        base = type_name.removesuffix("[]")
        expected[check.column(type_name)] = as_told.get(base, base.upper().replace(",", ", ")) + ("[]" if type_name.endswith("[]") else "")
    equal(got, expected)


@checked("inspector: primary keys, indexes, the constraints there are none of")
def keys(engine):
    i = sa.inspect(engine)
    equal((i.get_pk_constraint("sqla_lines")["constrained_columns"], i.get_pk_constraint("sqla_lines")["name"]), (["order_id", "line"], "sqla_lines_pkey"))
    equal(i.get_pk_constraint("sqla_totals")["constrained_columns"], [])
    equal([(x["name"], x["column_names"], x["unique"]) for x in i.get_indexes("sqla_orders")], [("sqla_by_customer", ["customer", "amount"], False)])
    equal((i.get_foreign_keys("sqla_orders"), i.get_unique_constraints("sqla_orders"), i.get_check_constraints("sqla_orders")), ([], [], []))


@checked("inspector: comments, view definitions, OIDs")
def texts(engine):
    i = sa.inspect(engine)
    equal(i.get_table_comment("sqla_orders")["text"], "orders")
    holds("count(*)" in i.get_view_definition("sqla_totals").lower(), "a definition with count(*)", i.get_view_definition("sqla_totals"))
    holds("amount >" in i.get_view_definition("sqla_large").lower(), "a definition with amount >", i.get_view_definition("sqla_large"))
    holds(i.get_table_oid("sqla_orders") >= 16384, "an OID", i.get_table_oid("sqla_orders"))


@checked("inspector: every relation of the schema at once")
def multi(engine):
    i = sa.inspect(engine)
    found = i.get_multi_columns(kind=sa.engine.reflection.ObjectKind.ANY)
    equal([len(found[(None, n)]) for n in ("sqla_orders", "sqla_totals", "sqla_large", "sqla_lines")], [4, 3, 2, 3])
    equal(i.get_multi_pk_constraint()[(None, "sqla_orders")]["constrained_columns"], ["id"])
    for method in (i.get_multi_indexes, i.get_multi_foreign_keys, i.get_multi_unique_constraints, i.get_multi_check_constraints, i.get_multi_table_comment):
        holds((None, "sqla_orders") in method(), f"sqla_orders in {method.__name__}", None)


@checked("inspector: a table that is not there")
def no_such(engine):
    try:
        sa.inspect(engine).get_columns("sqla_nosuch")
    except sa.exc.NoSuchTableError:
        return
    raise Different("NoSuchTableError", "columns")


@checked("MetaData.reflect, and a query over what it found")
def reflect(engine):
    found = sa.MetaData()
    found.reflect(engine, views=True, only=["sqla_orders", "sqla_totals", "sqla_large", "sqla_lines"])
    orders = found.tables["sqla_orders"]
    equal([c.name for c in orders.primary_key], ["id"])
    with engine.connect() as c:
        equal(c.execute(sa.select(orders.c.customer).where(orders.c.id == 2)).scalar_one(), "bob")
        equal(c.execute(sa.select(sa.func.count()).select_from(found.tables["sqla_totals"])).scalar_one(), 2)


# Core and ORM

DEFINED = sa.MetaData()
ITEMS = sa.Table(
    "sqla_items",
    DEFINED,
    sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String(30), nullable=False),
    sa.Column("price", sa.Numeric(10, 2)),
    sa.Column("at", sa.DateTime(timezone=True)),
    sa.Column("tags", pgd.ARRAY(sa.Text)),
    sa.Column("doc", pgd.JSONB),
    sa.Column("ref", sa.Uuid),
    sa.Column("data", sa.LargeBinary),
    sa.Column("span", sa.Interval),
    sa.Column("day", sa.Date),
)
ITEM = dict(id=1, name="é", price=decimal.Decimal("1.50"), at=dt.datetime(2024, 2, 29, tzinfo=dt.timezone.utc), tags=["a", None], doc={"k": [1]}, ref=check.A_UUID, data=b"\x00\xff", span=dt.timedelta(hours=30), day=dt.date(2024, 2, 29))


def fresh(engine):
    DEFINED.drop_all(engine)
    DEFINED.create_all(engine)


@checked("create_all, drop_all, and create_all again when all is there")
def create(engine):
    fresh(engine)
    DEFINED.create_all(engine)
    holds(sa.inspect(engine).has_table("sqla_items"), "the table", None)
    DEFINED.drop_all(engine)
    DEFINED.drop_all(engine)
    equal(sa.inspect(engine).has_table("sqla_items"), False)


@checked("values of many types, written and read")
def values(engine):
    fresh(engine)
    with engine.begin() as c:
        c.execute(ITEMS.insert(), [ITEM])
    with engine.connect() as c:
        equal(dict(c.execute(sa.select(ITEMS).where(ITEMS.c.ref == check.A_UUID)).mappings().one()), ITEM)
        equal(c.execute(sa.select(ITEMS.c.id).where(ITEMS.c.doc["k"][0].as_integer() == 1)).scalar_one(), 1)
        equal(c.execute(sa.select(ITEMS.c.id).where(ITEMS.c.id.in_([1, 2]), ITEMS.c.name.ilike("É"), ITEMS.c.at > dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc))).scalar_one(), 1)


@checked("a thousand rows in one INSERT, with RETURNING")
def many(engine):
    fresh(engine)
    with engine.begin() as c:
        got = c.execute(ITEMS.insert().returning(ITEMS.c.id), [{"id": i, "name": str(i)} for i in range(1000)])
        equal(sorted(r[0] for r in got), list(range(1000)))


@checked("INSERT ON CONFLICT DO UPDATE and DO NOTHING")
def upsert(engine):
    fresh(engine)
    with engine.begin() as c:
        c.execute(ITEMS.insert(), [{"id": 1, "name": "a"}])
        insert = pgd.insert(ITEMS).values(id=1, name="b")
        c.execute(insert.on_conflict_do_nothing())
        c.execute(insert.on_conflict_do_update(index_elements=["id"], set_={"name": insert.excluded.name}))
        equal(c.execute(sa.select(ITEMS.c.name)).scalars().all(), ["b"])


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "sqla_people"
    id: Mapped[int] = mapped_column(sa.BigInteger, primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(sa.String(20))


@checked("ORM: add, get, change, delete, a nested transaction, a rollback")
def orm(engine):
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as s:
        s.add_all([Person(id=1, name="a"), Person(id=2, name="b"), Person(id=3, name="c")])
        s.commit()
        s.get(Person, 1).name = "z"
        s.delete(s.get(Person, 2))
        s.flush()
        try:
            with s.begin_nested():
                s.add(Person(id=9, name="x" * 30))
        except sa.exc.DataError:
            pass
        s.commit()
        s.add(Person(id=10, name="y"))
        s.rollback()
        equal([(p.id, p.name) for p in s.scalars(sa.select(Person).order_by(Person.id))], [(1, "z"), (3, "c")])


@checked("errors: their classes and codes")
def errors(engine):
    with engine.connect() as c:
        for statement, kind, sqlstate in (("select * from nosuch", sa.exc.ProgrammingError, "42P01"), ("insert into sqla_orders values (1, 'x')", sa.exc.IntegrityError, "23505"), ("select 'x'::int", sa.exc.DataError, "22P02"), ("select 1/0", sa.exc.DataError, "22012")):
            try:
                c.execute(sa.text(statement))
            except kind as error:
                equal(getattr(error.orig, "sqlstate", None) or error.orig.pgcode, sqlstate)
            c.rollback()


@checked("isolation levels of an engine")
def isolation(engine):
    for level in ("READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"):
        with engine.connect().execution_options(isolation_level=level) as c:
            equal(c.execute(sa.text("show transaction_isolation")).scalar_one().upper(), level)
            equal(c.get_isolation_level(), level)
    with engine.connect().execution_options(postgresql_readonly=True, postgresql_deferrable=True) as c:
        equal(c.execute(sa.text("show transaction_read_only")).scalar_one(), "on")


@checked("a result streamed by a server-side cursor")
def streamed(engine):
    with engine.connect().execution_options(yield_per=1000) as c:
        equal(sum(r[0] for r in c.execute(sa.text("select g from generate_series(1, 20000) g"))), 200010000)


@checked("a pool: connections given back and tried before use")
def pool(engine):
    pooled = sa.create_engine(engine.url, pool_pre_ping=True, pool_size=2)
    for _ in range(5):
        with pooled.connect() as c:
            equal(c.execute(sa.text("select 1")).scalar_one(), 1)
    pooled.dispose()


@suite.check("asyncpg: a query, a transaction, the inspector")
def asynchronous():
    async def body():
        engine = create_async_engine(f"postgresql+asyncpg://{ADDRESS}")
        async with engine.begin() as c:
            equal((await c.execute(sa.text("select customer from sqla_orders where id = :id"), {"id": 2})).scalar_one(), "bob")
            equal(await c.run_sync(lambda s: sa.inspect(s).get_pk_constraint("sqla_lines")["constrained_columns"]), ["order_id", "line"])
            equal(len(await c.run_sync(lambda s: sa.inspect(s).get_columns("sqla_orders"))), 4)
        await engine.dispose()

    asyncio.run(body())


# pandas


def frame():
    return pd.DataFrame({"a": [1, 2, 3], "t": ["x", "é", None], "x": [0.5, None, 2.0], "at": pd.to_datetime(["2024-01-01", "2024-02-29", None]), "ok": [True, False, True]})


@checked("pandas: to_sql makes a table, read_sql gives the frame back")
def to_sql(engine):
    for _ in range(2):
        frame().to_sql("sqla_frame", engine, index=False, if_exists="replace")
    got = pd.read_sql("select * from sqla_frame order by a", engine)
    equal(got.a.tolist(), [1, 2, 3])
    equal([None if pd.isna(v) else v for v in got.t], ["x", "é", None])
    equal([None if pd.isna(v) else v for v in got.x], [0.5, None, 2.0])
    equal([None if pd.isna(v) else v.isoformat() for v in got["at"]], ["2024-01-01T00:00:00", "2024-02-29T00:00:00", None])
    equal(got.ok.tolist(), [True, False, True])


@checked("pandas: append with method multi and in portions, then read in portions")
def append(engine):
    run(engine, "drop table if exists sqla_portions")
    many = pd.DataFrame({"n": range(1000), "g": ["x"] * 1000})
    many.to_sql("sqla_portions", engine, index=False, if_exists="append", method="multi", chunksize=300)
    many.to_sql("sqla_portions", engine, index=False, if_exists="append")
    equal(sum(len(p) for p in pd.read_sql("select * from sqla_portions", engine, chunksize=700)), 2000)
    with engine.connect().execution_options(stream_results=True) as c:
        equal(sum(p.n.sum() for p in pd.read_sql("select n from sqla_portions", c, chunksize=500)), 999000)


@checked("pandas: read_sql_table of a table and a materialized view, parameters")
def read_table(engine):
    got = pd.read_sql_table("sqla_orders", engine, index_col="id").sort_index()
    equal(got.customer.tolist(), ["ann", "bob", "ann"])
    equal([float(v) for v in got.amount], [10.5, 20.25, 5.0])
    if check.CONTROL:
        run(engine, "refresh materialized view sqla_totals")
    equal(sorted(pd.read_sql_table("sqla_totals", engine).customer), ["ann", "bob"])
    equal(len(pd.read_sql(sa.text("select * from sqla_orders where customer = :who"), engine, params={"who": "ann"})), 2)
    equal(pd.read_sql("select * from sqla_orders", engine, parse_dates=["at"])["at"].notna().sum(), 2)


@suite.check("the view follows an INSERT", prepares=True)
def follows():
    engine = ENGINES["psycopg"]
    with engine.begin() as c:
        c.execute(sa.text("insert into sqla_orders values (:id, :who, :amount, now())"), {"id": 4, "who": "ann", "amount": decimal.Decimal("1.25")})
    eventually(lambda: totals(engine), check.LAST_TOTALS)


suite.run()
