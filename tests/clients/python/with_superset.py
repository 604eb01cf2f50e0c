"""Apache Superset, through its own models: a database by its engine spec for PostgreSQL, a dataset on a materialized view, the queries of charts, SQL Lab's.

Its metadata are in an SQLite file of this run; no browser and no server are needed.
"""

import contextlib
import logging
import os
import pathlib
import tempfile

import check
from check import Suite, equal, eventually, holds

SCRATCH = pathlib.Path(os.environ.get("TMPDIR") or tempfile.mkdtemp())
CONFIG = SCRATCH / "superset_config.py"
CONFIG.write_text(f"""
SECRET_KEY = "{'not a secret ' * 4}"
SQLALCHEMY_DATABASE_URI = "sqlite:///{SCRATCH}/superset.db?check_same_thread=false"
FILTER_STATE_CACHE_CONFIG = EXPLORE_FORM_DATA_CACHE_CONFIG = {{"CACHE_TYPE": "SimpleCache"}}
""")
os.environ |= {"SUPERSET_CONFIG_PATH": str(CONFIG), "SUPERSET_HOME": str(SCRATCH)}
logging.disable(logging.CRITICAL)

from superset.app import create_app  # noqa: E402

app = create_app()


def probe():
    import psycopg2

    psycopg2.connect(host=check.HOST, port=check.PORT, user=check.USER, dbname=check.DATABASE).close()


suite = Suite("superset", probe=probe)


@contextlib.contextmanager
def superset():
    """Superset as its administrator, and the database."""
    from flask import g
    from superset import security_manager
    from superset.extensions import db
    from superset.models.core import Database

    with app.app_context():
        g.user = security_manager.find_user("admin")
        yield db.session.query(Database).first()


def sql(database, statement):
    """As SQL Lab runs it; rows as tuples."""
    return [tuple(r) for r in database.get_df(statement, schema="public").itertuples(index=False)]


def run(database, statement):
    with database.get_sqla_engine() as engine, engine.begin() as c:
        c.execute(statement)


def totals(database):
    if check.CONTROL:
        run(database, "refresh materialized view ss_totals")
    return [(c, int(n), round(float(t), 2)) for c, n, t in sql(database, "select customer, orders, total from ss_totals order by customer")]


def texts(expected):
    return [(c, n, float(t)) for c, n, t in expected]


def dataset(database, name):
    from superset.connectors.sqla.models import SqlaTable
    from superset.extensions import db

    found = db.session.query(SqlaTable).filter_by(table_name=name).first()
    if found is None:
        found = SqlaTable(table_name=name, schema="public", database=database)
        db.session.add(found)
        db.session.flush()
        found.fetch_metadata()
        db.session.commit()
    return found


def chart(table, **query):
    """A chart's query; its rows as tuples."""
    asked = {"metrics": [], "columns": [], "filter": [], "orderby": [], "is_timeseries": False, "from_dttm": None, "to_dttm": None, "granularity": None, "row_limit": 100, "extras": {}}
    result = table.query(asked | {"groupby": query.get("columns", [])} | query)
    equal((str(result.status.value), result.error_message), ("success", None))
    return [tuple(r) for r in result.df.itertuples(index=False)]


def metric(column, aggregate):
    return {"expressionType": "SIMPLE", "column": {"column_name": column}, "aggregate": aggregate, "label": f"{aggregate} of {column}"}


@suite.check("a database of its engine spec; a table, rows and a materialized view", prepares=True)
def begin():
    from flask_appbuilder import Model
    from superset import security_manager
    from superset.extensions import db
    from superset.models.core import Database

    with app.app_context():
        Model.metadata.create_all(db.engine)
        security_manager.add_user("admin", "a", "b", "a@localhost", security_manager.add_role("Admin"), password="x")
        db.session.add(Database(database_name="ours", sqlalchemy_uri=f"postgresql+psycopg2://{check.USER}@{check.HOST}:{check.PORT}/{check.DATABASE}"))
        db.session.commit()
    with superset() as database:
        equal(database.db_engine_spec.engine, "postgresql")
        for statement in check.beginning("ss"):
            run(database, statement)
        equal(totals(database), texts(check.FIRST_TOTALS))


@suite.check("schemas, tables and views of the editor")
def lists():
    with superset() as database:
        holds({"public", "information_schema"} <= set(database.get_all_schema_names()), "the schemas", database.get_all_schema_names())
        catalog = database.get_default_catalog()
        equal(catalog, check.DATABASE)
        names = {t.table for t in map(as_table, database.get_all_table_names_in_schema(catalog, "public"))}
        holds("ss_orders" in names and "ss_totals" not in names, "ss_orders and no view", names)
        views = {t.table for t in map(as_table, database.get_all_view_names_in_schema(catalog, "public"))}
        holds("ss_totals" in views, "ss_totals among the views", views)


def as_table(listed):
    from superset.sql.parse import Table

    return Table(*listed)


@suite.check("datasets: columns with their types, the time column found")
def datasets():
    with superset() as database:
        columns = [(c.column_name, c.type, c.is_dttm) for c in dataset(database, "ss_totals").columns]
        equal(columns, [("customer", "VARCHAR(20)", False), ("orders", "BIGINT", False), ("total", "NUMERIC", False)])
        table = dataset(database, "ss_orders")
        equal({c.column_name: c.is_dttm for c in table.columns}, {"id": False, "customer": False, "amount": False, "at": True})
        equal(table.main_dttm_col, "at")


@suite.check("charts on the view: sums, filters, order, a big number")
def charts():
    with superset() as database:
        table = dataset(database, "ss_totals")
        found = chart(table, metrics=[metric("total", "SUM")], columns=["customer"], filter=[{"col": "total", "op": ">", "val": 16}, {"col": "customer", "op": "ILIKE", "val": "%B%"}])
        equal([(c, float(t)) for c, t in found], [("bob", 20.25)])
        found = chart(table, metrics=[metric("total", "MAX")], columns=["customer"], orderby=[(metric("total", "MAX"), True)], filter=[{"col": "customer", "op": "IN", "val": ["ann", "bob", "x"]}])
        equal([c for c, _ in found], ["ann", "bob"])
        equal([(int(n),) for n, in chart(table, metrics=[metric("customer", "COUNT_DISTINCT")])], [(2,)])
        equal([(c,) for c, in chart(table, columns=["customer"], row_limit=1, orderby=[("customer", False)])], [("bob",)])


@suite.check("a chart over time, by day, in a range")
def over_time():
    import datetime as dt

    with superset() as database:
        table = dataset(database, "ss_orders")
        day = {"from_dttm": dt.datetime(2024, 1, 1), "to_dttm": dt.datetime(2024, 2, 1), "granularity": "at", "is_timeseries": True, "extras": {"time_grain_sqla": "P1D"}}
        found = chart(table, metrics=[metric("amount", "SUM")], **day)
        equal(sorted((str(t)[:10], float(a)) for t, a in found), [("2024-01-01", 10.5), ("2024-01-02", 20.25)])


@suite.check("SQL Lab: a preview, an error's words, a query that is stopped")
def sql_lab():
    import threading

    from superset.sql.parse import Table

    with superset() as database:
        equal(len(sql(database, database.select_star(Table("ss_totals", "public"), limit=1))), 1)
        spec = database.db_engine_spec
        try:
            sql(database, "select nosuch from ss_totals")
            holds(False, "an error", "rows")
        except Exception as error:
            told = spec.extract_errors(Exception(spec.extract_error_message(error)))[0]
            equal((told.error_type.value, "nosuch" in told.message), ("COLUMN_DOES_NOT_EXIST_ERROR", True))
        with database.get_raw_connection() as endless, database.get_raw_connection() as other:
            cursor = endless.cursor()
            number = spec.get_cancel_query_id(cursor, None)
            stop = threading.Timer(0.5, lambda: spec.cancel_query(other.cursor(), None, number))
            stop.start()
            try:
                cursor.execute(check.ENDLESS)
                holds(False, "a query that is stopped", "its end")
            except Exception as error:
                holds("terminat" in str(error) or "closed" in str(error), "a connection that was ended", error)


@suite.check("an INSERT arrives in the view, and in its chart")
def follow():
    with superset() as database:
        run(database, "insert into ss_orders values (4, 'ann', 1.25, null)")
        eventually(lambda: totals(database), texts(check.LAST_TOTALS))
        found = chart(dataset(database, "ss_totals"), metrics=[metric("total", "SUM")], columns=["customer"], orderby=[("customer", True)])
        equal([(c, float(t)) for c, t in found], [("ann", 16.75), ("bob", 20.25)])


if __name__ == "__main__":
    suite.run()
