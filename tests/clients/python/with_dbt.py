"""dbt-postgres: a project (in dbt/) with a materialized view, a view, a table, an incremental table and a seed is built, tested, documented."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

import psycopg2

import check
from check import Different, Suite, equal, eventually, holds

PROJECT = pathlib.Path(__file__).parent.parent / "dbt"
TARGET = tempfile.mkdtemp(prefix="tidewater-dbt-")
check.LIMIT_SECONDS = 180.0  # dbt itself takes some seconds to start


def connect():
    c = psycopg2.connect(host=check.HOST, port=check.PORT, user=check.USER, dbname=check.DATABASE)
    c.autocommit = True
    return c


suite = Suite("dbt", connect)


def dbt(*command, fails=False):
    """Runs dbt in the project; what it prints when it fails is the error, unless it may fail with results."""
    environment = os.environ | {
        "DBT_TARGET_PATH": TARGET,
        "DBT_LOG_PATH": TARGET,
        "DBT_PROFILES_DIR": str(PROJECT),
        "DO_NOT_TRACK": "1",
        "PGHOST": check.HOST,
        "PGPORT": str(check.PORT),
        "PGUSER": check.USER,
        "PGDATABASE": check.DATABASE,
    }
    done = subprocess.run([str(pathlib.Path(sys.executable).parent / "dbt"), "--no-use-colors", "--no-version-check", *command], cwd=PROJECT, env=environment, capture_output=True, text=True, timeout=check.LIMIT_SECONDS - 5)
    if done.returncode != 0 and not (fails and (pathlib.Path(TARGET) / "run_results.json").exists()):
        told = [line for line in done.stdout.split("\n") if "rror" in line or line.startswith("  ")]
        raise Different("exit 0", f"exit {done.returncode}: {' '.join(told) or done.stdout[-600:]}")
    return done.stdout


def rows(c, query):
    cur = c.cursor()
    cur.execute(query)
    return cur.fetchall() if cur.description else None


def kind(c, name):
    return rows(c, f"select c.relkind from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'dbt_test' and c.relname = '{name}'")


def totals(c):
    if check.CONTROL:
        rows(c, "refresh materialized view dbt_test.totals")
    return rows(c, "select customer, orders, total from dbt_test.totals order by customer")


@suite.check("a table and rows; nothing of an earlier run", prepares=True)
def begin(c):
    # Each by itself: what is not there need not be droppable.
    for statement in ("drop view if exists dbt_test.large", "drop materialized view if exists dbt_test.totals", "drop table if exists dbt_test.copied", "drop table if exists dbt_test.added", "drop table if exists dbt_test.countries"):
        try:
            rows(c, statement)
        except psycopg2.Error:
            pass
    for statement in check.beginning("dbt")[1:5]:
        if "_types" not in statement:
            rows(c, statement)


@suite.check("debug: the connection is fine")
def debug():
    holds("All checks passed!" in dbt("debug"), "All checks passed!", None)


@suite.check("run, twice: what becomes of each model is told below", prepares=True)
def run_models(c):
    for run in FIRST, SECOND:
        dbt("run", fails=True)
        for result in json.loads((pathlib.Path(TARGET) / "run_results.json").read_text(encoding="utf-8"))["results"]:
            run[result["unique_id"].split(".")[-1]] = (result["status"], result["message"])
        try:
            run["oid"] = rows(c, "select 'dbt_test.totals'::regclass::oid")
        except psycopg2.Error as error:
            run["oid"] = check.one_line(error)


FIRST, SECOND = {}, {}


def built(c, name, relkind, count):
    for run in FIRST, SECOND:
        status, message = run.get(name, ("not run", ""))
        holds(status == "success", f"{name} built", f"{status}: {message}")
    equal((kind(c, name), rows(c, f"select count(*) from dbt_test.{name}")), ([(relkind,)], [(count,)]))


@suite.check("run: a materialized view with an index; the second run leaves it as it is")
def materialized_view(c):
    equal(totals(c), check.FIRST_TOTALS)
    built(c, "totals", "m", 2)
    holds("customer" in rows(c, "select indexdef from pg_indexes where schemaname = 'dbt_test' and tablename = 'totals'")[0][0], "an index on customer", None)
    equal(SECOND["oid"], FIRST["oid"])


@suite.check("run: a view over it")
def view(c):
    built(c, "large", "v", 1)


@suite.check("run: a table")
def table(c):
    built(c, "copied", "r", 3)


@suite.check("run: an incremental table")
def incremental(c):
    built(c, "added", "r", 3)


@suite.check("seed: a table from a CSV file, twice")
def seed(c):
    dbt("seed")
    dbt("seed")
    equal(rows(c, "select country from dbt_test.countries where customer = 'ann'"), [("FR",)])


@suite.check("test: unique, not_null, accepted_values, relationships")
def data_tests():
    holds("PASS=4" in dbt("test"), "PASS=4", None)


@suite.check("docs generate: every relation with its kind, columns and comment")
def docs():
    dbt("docs", "generate")
    found = json.loads((pathlib.Path(TARGET) / "catalog.json").read_text(encoding="utf-8"))
    totals_node = found["nodes"]["model.tidewater_clients.totals"]
    equal((totals_node["metadata"]["type"], totals_node["metadata"]["comment"]), ("MATERIALIZED VIEW", "one row per customer"))
    equal({n: v["type"] for n, v in totals_node["columns"].items()}, {"customer": "character varying(20)", "orders": "bigint", "total": "numeric"})
    equal(found["sources"]["source.tidewater_clients.shop.dbt_orders"]["metadata"]["type"], "BASE TABLE")


@suite.check("run --full-refresh: the materialized view is made anew")
def full_refresh(c):
    dbt("run", "--full-refresh", "--select", "totals")
    equal(totals(c), check.FIRST_TOTALS)


@suite.check("the view follows an INSERT", prepares=True)
def follows(c):
    rows(c, "insert into dbt_orders values (4, 'ann', 1.25, now())")
    eventually(lambda: totals(c), check.LAST_TOTALS)


suite.run()
