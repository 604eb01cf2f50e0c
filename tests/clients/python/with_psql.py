"""psql: the shell's own statements (\\d and its family), carets, COPY, cursors, cancel, completion.

What \\d prints is compared whole with what PostgreSQL 15 prints, where PostgreSQL's text is the right one; lists are looked through for
the lines of this test.
"""

import os
import pty
import re
import select
import signal
import subprocess
import tempfile
import time

import check
from check import ENDLESS, STREAMING, Different, Suite, equal, eventually, holds

BASE = ["psql", "--no-psqlrc", "--host", check.HOST, "--port", str(check.PORT), "--username", check.USER]
# The output must not depend on who runs it.
ENVIRONMENT = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"PSQL_PAGER": "", "LC_ALL": "C.UTF-8", "PGTZ": "UTC", "PGAPPNAME": "psql test", "HOME": "/nonexistent"}

suite = Suite("psql", probe=lambda: answer("select 1"))


class Done:
    def __init__(self, process):
        self.out, self.err, self.code = process.stdout, process.stderr, process.returncode


def psql(text, *options, database=check.DATABASE, environment=None):
    """Runs a script of statements and backslash commands."""
    command = [*BASE, "--dbname", database, "--quiet", *options]
    return Done(subprocess.run(command, input=text, capture_output=True, text=True, timeout=check.LIMIT_SECONDS - 1, env=ENVIRONMENT | (environment or {})))


def answer(text, *options, **more):
    """What a script prints, which must not fail; one line per row, columns parted by |."""
    done = psql(text, "--no-align", "--tuples-only", *options, **more)
    if done.err:
        raise Different("no error", done.err)
    return done.out.rstrip("\n")


def shown(text):
    """What a script prints as people see it; runs of blanks and dashes are one."""
    done = psql(text)
    if done.err:
        raise Different("no error", done.err)
    return narrow(done.out)


def narrow(text):
    return "\n".join(re.sub("--+", "-", " ".join(line.split())) for line in text.strip().split("\n"))


def has_lines(got, *lines):
    for line in lines:
        holds(line in got.split("\n"), f"the line {line}", got)


def totals():
    refresh = "refresh materialized view psql_totals;" if check.CONTROL else ""
    return answer(f"{refresh} select customer, orders, total from psql_totals order by customer")


OTHERS = """
comment on table psql_orders is 'orders of the shell';
comment on column psql_orders.amount is 'in euros';
comment on materialized view psql_totals is 'one row per customer';
create view psql_large as select id, customer from psql_orders where amount > 10;
create index psql_by_customer on psql_orders (customer, id desc);
create table psql_lines (order_id bigint, line integer, t text default 'none', tags integer[], doc jsonb, primary key (order_id, line));
"""


@suite.check("a table, rows and a materialized view", prepares=True)
def begin():
    psql("drop view if exists psql_large; drop table if exists psql_lines")
    for statement in check.beginning("psql"):
        done = psql(statement)
        holds("ERROR" not in done.err, "no error", done.err)
    equal(totals(), "ann|2|15.50\nbob|1|20.25")


@suite.check("comments, a view, an index, a second table", prepares=True)
def others():
    errors = [psql(statement).err for statement in OTHERS.strip().split("\n")]
    equal([e for e in errors if e], [])


# Describing


@suite.check("\\d of a table: columns, defaults, indexes")
def describe_table():
    equal(
        shown("\\d psql_orders"),
        narrow("""
                     Table "public.psql_orders"
  Column  |           Type           | Collation | Nullable | Default
----------+--------------------------+-----------+----------+---------
 id       | bigint                   |           | not null |
 customer | character varying(20)    |           | not null |
 amount   | numeric(12,2)            |           |          | 0
 at       | timestamp with time zone |           |          |
Indexes:
    "psql_orders_pkey" PRIMARY KEY, btree (id)
    "psql_by_customer" btree (customer, id DESC)
"""),
    )


@suite.check("\\d of a table with a key of two columns, arrays, jsonb, a text default")
def describe_lines():
    equal(
        shown("\\d psql_lines"),
        narrow("""
                Table "public.psql_lines"
  Column  |   Type    | Collation | Nullable |   Default
----------+-----------+-----------+----------+--------------
 order_id | bigint    |           | not null |
 line     | integer   |           | not null |
 t        | text      |           |          | 'none'::text
 tags     | integer[] |           |          |
 doc      | jsonb     |           |          |
Indexes:
    "psql_lines_pkey" PRIMARY KEY, btree (order_id, line)
"""),
    )


@suite.check("\\d+ of a table: storage and comments")
def describe_table_plus():
    equal(
        shown("\\d+ psql_orders").split("\nAccess method")[0],
        narrow("""
                                             Table "public.psql_orders"
  Column  |           Type           | Collation | Nullable | Default | Storage  | Compression | Stats target | Description
----------+--------------------------+-----------+----------+---------+----------+-------------+--------------+-------------
 id       | bigint                   |           | not null |         | plain    |             |              |
 customer | character varying(20)    |           | not null |         | extended |             |              |
 amount   | numeric(12,2)            |           |          | 0       | main     |             |              | in euros
 at       | timestamp with time zone |           |          |         | plain    |             |              |
Indexes:
    "psql_orders_pkey" PRIMARY KEY, btree (id)
    "psql_by_customer" btree (customer, id DESC)
"""),
    )


@suite.check("\\d of a materialized view")
def describe_materialized_view():
    equal(
        shown("\\d psql_totals"),
        narrow("""
               Materialized view "public.psql_totals"
  Column  |         Type          | Collation | Nullable | Default
----------+-----------------------+-----------+----------+---------
 customer | character varying(20) |           |          |
 orders   | bigint                |           |          |
 total    | numeric               |           |          |
"""),
    )


@suite.check("\\d+ of a materialized view: its query")
def describe_materialized_view_plus():
    got = " ".join(shown("\\d+ psql_totals").split("View definition:")[1].lower().split())
    for part in ("select", "count(*) as orders", "sum(", "as total", "from psql_orders", "group by"):
        holds(part in got, f"a query with {part}", got)


@suite.check("\\d of a view")
def describe_view():
    equal(
        shown("\\d psql_large"),
        narrow("""
                      View "public.psql_large"
  Column  |         Type          | Collation | Nullable | Default
----------+-----------------------+-----------+----------+---------
 id       | bigint                |           |          |
 customer | character varying(20) |           |          |
"""),
    )


@suite.check("\\d of an index")
def describe_index():
    equal(
        shown("\\d psql_by_customer").replace("public.btree", "btree"),
        narrow("""
               Index "public.psql_by_customer"
  Column  |         Type          | Key? | Definition
----------+-----------------------+------+------------
 customer | character varying(20) | yes  | customer
 id       | bigint                | yes  | id
btree, for table "public.psql_orders"
"""),
    )


@suite.check("\\d of something that is not there")
def describe_nothing():
    equal(psql("\\unset QUIET\n\\d psql_nosuch").err, 'Did not find any relation named "psql_nosuch".\n')


@suite.check("\\d of a pattern, a quoted name, a name with its schema")
def describe_pattern():
    equal(shown("\\d psql_o*").count("Table \"public.psql_orders\""), 1)
    equal(shown("\\d public.psql_orders"), shown("\\d \"psql_orders\""))
    equal(psql("\\d \"PSQL_ORDERS\"").out, "")
    equal(shown("\\d PSQL_ORDERS"), shown("\\d psql_orders"))


@suite.check("\\d of a relation of the catalog")
def describe_catalog():
    has_lines(shown("\\d pg_class"), "relname | name | | not null |")
    holds('View "information_schema.tables"' in shown("\\d information_schema.tables"), "a view", None)


@suite.check("\\d alone, \\dt, \\dv, \\dm, \\di: what there is, each with its kind")
def lists():
    for command, kinds in (("\\d", "r v m"), ("\\dt", "r"), ("\\dv", "v"), ("\\dm", "m"), ("\\di", "i"), ("\\dtvm", "r v m"), ("\\dt public.*", "r")):
        got = answer(command).split("\n")
        for name, kind, word in (("psql_orders", "r", "table"), ("psql_large", "v", "view"), ("psql_totals", "m", "materialized view"), ("psql_by_customer", "i", "index")):
            expected = f"public|{name}|{word}|{check.USER}" + ("|psql_orders" if kind == "i" else "")
            holds((expected in got) == (kind in kinds.split()), f"{expected} {'' if kind in kinds else 'not '}in {command}", "\n".join(got))


@suite.check("\\dt+ and \\dm+: persistence, access method, size, comment")
def lists_plus():
    fields = [line.split("|") for line in answer("\\dt+ psql_orders").split("\n")]
    equal(fields[0][:6], ["public", "psql_orders", "table", check.USER, "permanent", "heap"])
    holds(fields[0][6].split()[-1] in ("bytes", "kB", "MB"), "a size", fields[0][6])
    equal(fields[0][7], "orders of the shell")
    equal(answer("\\dm+ psql_totals").split("|")[-1], "one row per customer")
    holds("psql_by_customer|index" in answer("\\di+ psql_*"), "the index", None)


@suite.check("\\dn, \\du, \\l, \\df, \\dT, \\do, \\dC, \\db, \\dx and the other lists")
def other_lists():
    holds("public|" in answer("\\dn"), "public", answer("\\dn"))
    holds("public|" in answer("\\dn+"), "public", None)
    holds(any(line.startswith(f"{check.USER}|") for line in answer("\\du").split("\n")), check.USER, answer("\\du"))
    holds(any(line.startswith(f"{check.DATABASE}|{check.USER}|UTF8|") for line in answer("\\l").split("\n")), check.DATABASE, answer("\\l"))
    has_lines(answer("\\df lower"), "pg_catalog|lower|text|text|func")
    has_lines(answer("\\dT pg_catalog.int4"), "pg_catalog|integer|-2 billion to 2 billion integer, 4-byte storage")
    holds(any("|integer|integer|boolean" in line for line in answer("\\do =").split("\n")), "integer = integer", None)
    holds("bigint|integer|" in answer("\\dC integer").replace("int4", "bigint|integer|") or "integer|bigint" in answer("\\dC integer"), "integer to bigint", answer("\\dC integer"))
    holds("pg_default" in answer("\\db"), "pg_default", answer("\\db"))
    for command in ("\\ds", "\\dx", "\\dy", "\\dD", "\\dE", "\\dg", "\\dO", "\\dp", "\\z", "\\dd", "\\ddp", "\\da sum", "\\dA", "\\dc", "\\dL", "\\dl", "\\des", "\\det", "\\deu", "\\dew", "\\dF", "\\drds", "\\dRp", "\\dRs", "\\dX", "\\dP", "\\dconfig TimeZone", "\\l+", "\\du+", "\\dT+ pg_catalog.int4", "\\df+ lower"):
        done = psql(command)
        holds("ERROR" not in done.err, f"{command} without error", done.err)


@suite.check("\\dp: a table of one's own has no grants noted")
def privileges():
    equal(answer("\\dp psql_orders"), "public|psql_orders|table|||")


@suite.check("\\sv: a view as a statement")
def show_view():
    got = " ".join(answer("\\sv psql_large").lower().replace("psql_orders.", "").split())
    holds(got.startswith("create or replace view public.psql_large as select id, customer from psql_orders where"), "CREATE OR REPLACE VIEW …", got)


@suite.check("\\gdesc: the columns of a statement that is not run")
def gdesc():
    equal(
        answer("select id, customer, amount, 1 as one, array[1.5] as a, at from psql_orders \\gdesc"),
        "id|bigint\ncustomer|character varying(20)\namount|numeric(12,2)\none|integer\na|numeric[]\nat|timestamp with time zone",
    )


@suite.check("\\gset, \\gexec, \\gx, \\crosstabview, \\watch's statement twice")
def client_commands():
    equal(answer("select 7 as a, 'x' as b \\gset\n\\echo :a :b"), "7 x")
    equal(answer("select 'select ' || g from generate_series(1, 2) g order by g \\gexec"), "1\n2")
    equal(answer("select 1 as a, 2 as b \\gx"), "a|1\nb|2")
    equal(shown("select 'r' as r, 'c' as c, 5 as v \\crosstabview").split("\n")[2].split(), ["r", "|", "5"])


@suite.check("completion of names with the Tab key")
def completion():
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.clear()
        os.environ.update(ENVIRONMENT | {"TERM": "dumb"})
        os.execvp("psql", [*BASE, "--dbname", check.DATABASE])
    try:
        read_until(terminal, b"=>", b"=#")
        for typed, completed in ((b"select * from psql_ord", b"psql_orders "), (b"\\d psql_tot", b"psql_totals "), (b"refresh materialized view psql_t", b"psql_totals "), (b"drop view psql_l", b"psql_large "), (b"select * from psql_orders where cust", b"customer "), (b"set search_p", b"search_path "), (b"insert into psql_lin", b"psql_lines ")):
            os.write(terminal, typed + b"\t")
            read_until(terminal, completed)
            os.write(terminal, b"\x03")
            read_until(terminal, b"=>", b"=#")
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


def read_until(terminal, *ends):
    got = b""
    stop = time.monotonic() + 4
    while not any(e in got for e in ends):
        if not select.select([terminal], [], [], max(0, stop - time.monotonic()))[0]:
            raise Different(f"{ends[0].decode()} on the terminal", got.decode(errors="replace"))
        got += os.read(terminal, 65536)


# Errors


@suite.check("the caret below the place of an error, in the second line too")
def caret():
    equal(psql("select nosuch from psql_orders").err, 'ERROR:  column "nosuch" does not exist\nLINE 1: select nosuch from psql_orders\n               ^\n')
    equal(psql("select id,\n       customer,\n  nosuch\nfrom psql_orders").err, 'ERROR:  column "nosuch" does not exist\nLINE 3:   nosuch\n          ^\n')
    equal(psql("select 'åß🌊' as a, nosuch").err.split("\n")[2].index("^"), len("LINE 1: select 'åß🌊' as a, ") + 1)


@suite.check("syntax errors in PostgreSQL's words")
def syntax():
    equal(psql("selct 1").err, 'ERROR:  syntax error at or near "selct"\nLINE 1: selct 1\n        ^\n')
    equal(psql("select 1 from").err, 'ERROR:  syntax error at end of input\nLINE 1: select 1 from\n                     ^\n')
    equal(psql("select * from psql_orders wher id = 1").err.split("\n")[0], 'ERROR:  syntax error at or near "id"')


@suite.check("texts of common errors")
def texts():
    for statement, expected in (
        ("select * from nosuch", 'relation "nosuch" does not exist'),
        ("select o.x from psql_orders o", "column o.x does not exist"),
        ("select nosuch(1, 'x')", "function nosuch(integer, unknown) does not exist"),
        ("select 1 / 0", "division by zero"),
        ("select 'x'::int", 'invalid input syntax for type integer: "x"'),
        ("select 300000::smallint", "smallint out of range"),
        ("drop table nosuch", 'table "nosuch" does not exist'),
        ("drop view psql_orders", '"psql_orders" is not a view'),
        ("drop table psql_orders", "cannot drop table psql_orders because other objects depend on it"),
        ("create table psql_orders (id int)", 'relation "psql_orders" already exists'),
        ("set nosuch = 1", 'unrecognized configuration parameter "nosuch"'),
        ("show nosuch", 'unrecognized configuration parameter "nosuch"'),
        ("insert into psql_orders (id, nosuch) values (1, 2)", 'column "nosuch" of relation "psql_orders" does not exist'),
        ("insert into psql_orders (id) values (1, 2)", "INSERT has more expressions than target columns"),
    ):
        equal(psql(statement).err.split("\n")[0], f"ERROR:  {expected}")


@suite.check("SQLSTATE under \\set VERBOSITY verbose, and \\errverbose")
def verbose():
    equal(psql("\\set VERBOSITY verbose\nselect * from nosuch").err.split("\n")[0], 'ERROR:  42P01: relation "nosuch" does not exist')
    holds("22012" in psql("select 1/0;\n\\errverbose").err, "22012", None)


@suite.check("ON_ERROR_STOP and exit codes")
def exit_codes():
    equal(psql("select 1/0;\nselect 2;", "-v", "ON_ERROR_STOP=1").code, 3)
    equal(psql("select 1").code, 0)
    equal(psql("", "-c", "select 1/0").code, 1)
    equal(psql("select 1", database="nosuch_db").code, 2)


@suite.check("an unknown database in PostgreSQL's words")
def unknown_database():
    holds('FATAL:  database "nosuch_db" does not exist' in psql("select 1", database="nosuch_db").err, "FATAL:  …", psql("select 1", database="nosuch_db").err)


@suite.check("notices and warnings")
def notices():
    equal(psql("drop table if exists psql_nosuch").err, 'NOTICE:  table "psql_nosuch" does not exist, skipping\n')
    equal(psql("begin; begin; commit; commit").err, "WARNING:  there is already a transaction in progress\nWARNING:  there is no transaction in progress\n")
    equal(psql("set client_min_messages = error; drop table if exists psql_nosuch").err, "")


# Statements


@suite.check("several statements at once: each result, and one transaction")
def several():
    equal(answer("", "-c", "select 1; select 2"), "1\n2")
    psql("drop table if exists psql_several")
    answer("create table psql_several (id bigint primary key)")
    psql("", "-c", "insert into psql_several values (1); select 1/0")
    equal(answer("select count(*) from psql_several"), "0")


@suite.check("empty statements, comments, dollar quotes, escapes")
def lexical():
    equal(answer(";;\n-- a comment\n/* another /* inner */ */;\nselect $$it's$$, $x$a$$b$x$, E'\\x41\\u00e5'"), "it's|a$$b|Aå")


@suite.check("Unicode escapes, literals over two lines, bits")
def literals():
    equal(answer("select U&'\\0041', 'a'\n'b', B'101'::text"), "A|ab|101")


@suite.check("texts of values as PostgreSQL prints them")
def value_texts():
    cases = [
        ("100::float8", "100"),
        ("0.1::float4 + 0.2::float4", "0.3"),
        ("1e300::float8", "1e+300"),
        ("'inf'::float8", "Infinity"),
        ("1e-7::float8", "1e-07"),
        ("1.50::numeric(5,2)", "1.50"),
        ("10::numeric / 4", "2.5000000000000000"),
        ("true", "t"),
        ("null", ""),
        ("'\\x00ff'::bytea", "\\x00ff"),
        ("timestamp '2024-01-02 03:04:05.600'", "2024-01-02 03:04:05.6"),
        ("timestamptz '2024-01-02 03:04:05+02'", "2024-01-02 01:04:05+00"),
        ("date '2024-01-02'", "2024-01-02"),
        ("time '03:04:05'", "03:04:05"),
        ("interval '1 year 2 months'", "1 year 2 mons"),
        ("interval '1 day 2 hours 3 minutes 4 seconds'", "1 day 02:03:04"),
        ("interval '-90 minutes'", "-01:30:00"),
        ("array['a b', null, '', 'NULL', 'c']", '{"a b",NULL,"","NULL",c}'),
        ("array[true, false]", "{t,f}"),
        ("'{\"b\": 1, \"a\": [1.0, null]}'::jsonb", '{"a": [1.0, null], "b": 1}'),
        ("row(1, 'a b', null)", '(1,"a b",)'),
        ("(-5)::bigint", "-5"),
        ("'x'::varchar(3)", "x"),
    ]
    got = answer("".join(f"select {expression};\n" for expression, _ in cases)).split("\n")
    for (expression, expected), text in zip(cases, got, strict=True):
        equal(f"{expression} = {text}", f"{expression} = {expected}")


@suite.check("names of columns as PostgreSQL gives them")
def column_names():
    equal(psql("select 1, 'x', count(*), sum(id) as s, max(id) + 1, lower('A'), current_date, case when true then 1 end, '1'::int, cast('1' as text), (select 2), exists(select 1), array[1], row(1)  from psql_orders", "--no-align").out.split("\n")[0], "?column?|?column?|count|s|?column?|lower|current_date|case|int4|text|?column?|exists|array|row")


@suite.check("command tags")
def tags():
    script = "create table psql_tags (id bigint primary key);\ninsert into psql_tags values (1), (2);\nupdate psql_tags set id = 3 where id = 1;\ndelete from psql_tags;\ndrop table psql_tags;\nset application_name = 'x';\nbegin;\ncommit;\nbegin;\nrollback;\n"
    psql("drop table if exists psql_tags")
    done = Done(subprocess.run([*BASE, "--dbname", check.DATABASE], input=script, capture_output=True, text=True, timeout=15, env=ENVIRONMENT))
    equal(done.out.split("\n")[:-1], ["CREATE TABLE", "INSERT 0 2", "UPDATE 1", "DELETE 2", "DROP TABLE", "SET", "BEGIN", "COMMIT", "BEGIN", "ROLLBACK"])


@suite.check("EXPLAIN gives a column QUERY PLAN")
def explain():
    equal(psql("explain select * from psql_orders", "--no-align").out.split("\n")[0], "QUERY PLAN")


@suite.check("VALUES and WITH")
def other_queries():
    equal(answer("values (1, 'a'), (2, 'b')"), "1|a\n2|b")
    equal(answer("with x as (select 1 as a) select a + 1 from x"), "2")


@suite.check("TABLE")
def table():
    equal(answer("table psql_totals").count("\n"), 1)


@suite.check("PREPARE, EXECUTE, DEALLOCATE")
def prepare():
    equal(answer("prepare p as select customer from psql_orders where id = $1; execute p(2); deallocate p;"), "bob")
    holds("26000" in psql("\\set VERBOSITY verbose\nexecute p(1)").err, "26000", None)


# Transactions


@suite.check("a failed transaction: 25P02, and COMMIT answers ROLLBACK")
def failed():
    done = psql("\\unset QUIET\n\\set VERBOSITY sqlstate\nbegin;\nselect 1/0;\nselect 1;\ncommit;\nselect 'after'", "--no-align", "--tuples-only")
    equal((done.err, done.out), ("ERROR:  22012\nERROR:  25P02\n", "BEGIN\nROLLBACK\nafter\n"))


@suite.check("the prompt shows the state of the transaction")
def prompt():
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.clear()
        os.environ.update(ENVIRONMENT | {"TERM": "dumb"})
        os.execvp("psql", [*BASE, "--dbname", check.DATABASE, "-v", "PROMPT1=state[%x] "])
    try:
        read_until(terminal, b"state[] ")
        for line, state in ((b"begin;\n", b"state[*] "), (b"select 1/0;\n", b"state[!] "), (b"rollback;\n", b"state[] ")):
            os.write(terminal, line)
            read_until(terminal, state)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(terminal)


@suite.check("ON_ERROR_ROLLBACK: a savepoint before each statement")
def on_error_rollback():
    psql("drop table if exists psql_save")
    answer("create table psql_save (id bigint primary key)")
    psql("\\set ON_ERROR_ROLLBACK on\nbegin;\ninsert into psql_save values (1);\nselect 1/0;\ninsert into psql_save values (2);\ncommit;")
    equal(answer("select count(*) from psql_save"), "2")


@suite.check("--single-transaction: all or nothing")
def single_transaction():
    psql("drop table if exists psql_single")
    answer("create table psql_single (id bigint primary key)")
    psql("insert into psql_single values (1);\nselect 1/0;", "--single-transaction", "-v", "ON_ERROR_STOP=1")
    equal(answer("select count(*) from psql_single"), "0")
    psql("insert into psql_single values (1);\ninsert into psql_single values (2);", "--single-transaction")
    equal(answer("select count(*) from psql_single"), "2")


# Cursors, COPY


@suite.check("FETCH_COUNT: a large result through a cursor")
def fetch_count():
    equal(len(answer("\\set FETCH_COUNT 1000\nselect g from generate_series(1, 100000) g").split("\n")), 100000)
    equal(answer("\\set FETCH_COUNT 2\nselect g from generate_series(1, 5) g order by g"), "1\n2\n3\n4\n5")


@suite.check("DECLARE, FETCH, MOVE, CLOSE")
def cursor():
    equal(answer("begin; declare c cursor for select g from generate_series(1, 9) g order by g; fetch 2 from c; move 3 from c; fetch next from c; fetch forward 2 in c; fetch all c; close c; commit;"), "1\n2\n6\n7\n8\n9")


@suite.check("a cursor that scrolls: PRIOR, FIRST, LAST, ABSOLUTE, RELATIVE")
def scroll():
    equal(answer("begin; declare c scroll cursor for select g from generate_series(1, 9) g order by g; fetch 6 from c; fetch prior from c; fetch first from c; fetch last from c; fetch absolute 3 from c; fetch relative 2 from c; fetch backward 2 from c; commit;"), "1\n2\n3\n4\n5\n6\n5\n1\n9\n3\n5\n4\n3")


@suite.check("\\copy to and from a file, text and CSV")
def copy_file():
    psql("drop table if exists psql_copy")
    answer("create table psql_copy (id bigint primary key, t text)")
    with tempfile.TemporaryDirectory() as folder:
        answer(f"\\copy psql_orders (id, customer) to '{folder}/a'")
        with open(f"{folder}/a", encoding="utf-8") as f:
            equal(sorted(f.read().splitlines()), ["1\tann", "2\tbob", "3\tann"])
        answer(f"\\copy psql_copy from '{folder}/a'")
        answer(f"\\copy (select id, t, null as n from psql_copy where id < 3 order by id) to '{folder}/b' with (format csv, header)")
        with open(f"{folder}/b", encoding="utf-8") as f:
            equal(f.read(), 'id,t,n\n1,ann,\n2,bob,\n')
    equal(answer("select count(*) from psql_copy"), "3")


@suite.check("COPY FROM STDIN in a script")
def copy_inline():
    psql("drop table if exists psql_inline")
    answer("create table psql_inline (id bigint primary key, t text)")
    equal(answer("copy psql_inline from stdin;\n1\ta\\tb\n2\t\\N\n\\.\nselect id, t is null from psql_inline order by id"), "1|f\n2|t")
    equal(answer("copy psql_inline (id, t) from stdin with csv;\n3,\"x,\"\"y\"\"\"\n\\.\nselect t from psql_inline where id = 3"), 'x,"y"')


@suite.check("a bad row of COPY: its line, and nothing loaded")
def copy_bad_row():
    psql("drop table if exists psql_bad")
    answer("create table psql_bad (id bigint primary key, n int)")
    done = psql("copy psql_bad from stdin;\n1\t1\n2\tx\n\\.\n")
    equal(done.err, 'ERROR:  invalid input syntax for type integer: "x"\nCONTEXT:  COPY psql_bad, line 2, column n: "x"\n')
    equal(answer("select count(*) from psql_bad"), "0")


@suite.check("options of COPY: QUOTE, ESCAPE, NULL, FORCE_QUOTE, ENCODING, DELIMITER")
def copy_options():
    equal(answer("copy (select 1 as a, 'x''y' as b, null as c) to stdout with (format csv, quote '''', escape '!', null 'NIL', force_quote (a), encoding 'UTF8')"), "'1','x!'y',NIL")
    equal(answer("copy (select 1 as a, 'x' as b) to stdout with (format csv, force_quote *)"), '"1","x"')
    equal(answer("copy (select 1, null) to stdout (delimiter '|', null '-')"), "1|-")


@suite.check("COPY of a query and of a view to STDOUT")
def copy_query():
    equal(answer("copy (select customer, orders from psql_totals order by 1) to stdout"), "ann\t2\nbob\t1")
    equal(answer("copy (select 1 as a, 'b;c' as b) to stdout with (format csv, header, delimiter ';')"), 'a;b\n1;"b;c"')


# Session


@suite.check("what the server says of itself")
def server():
    equal(answer("\\echo :SERVER_VERSION_NUM")[:2], "15")
    equal(answer("show server_version_num")[:2], "15")
    equal(answer("select version()")[:13], "PostgreSQL 15")
    equal(answer("\\encoding"), "UTF8")
    equal(answer("show server_encoding"), "UTF8")
    equal(answer("select current_database(), current_user, session_user, current_schema()"), f"{check.DATABASE}|{check.USER}|{check.USER}|public")
    holds(f'You are connected to database "{check.DATABASE}" as user "{check.USER}"' in answer("\\conninfo"), "\\conninfo", None)


@suite.check("settings: PGOPTIONS, PGAPPNAME, SET, SHOW, RESET, SHOW ALL")
def settings():
    equal(answer("show statement_timeout; show search_path", environment={"PGOPTIONS": "-c statement_timeout=3000 -c search_path=public"}), "3s\npublic")
    equal(answer("show application_name"), "psql test")
    equal(answer("show timezone; set time zone 'Asia/Tokyo'; show timezone; select timestamptz '2024-01-01 00:00+00'; reset timezone; show timezone"), "UTC\nAsia/Tokyo\n2024-01-01 09:00:00+09\nUTC")
    holds("\nTimeZone|UTC|" in answer("show all"), "TimeZone in SHOW ALL", None)
    equal(answer("select setting, unit from pg_settings where name = 'statement_timeout'"), "0|ms")
    equal(answer("discard all; show application_name"), "psql test")


@suite.check("schemas: CREATE SCHEMA, search_path, \\dn, \\dt of a schema")
def schemas():
    psql("drop table if exists psql_shop.item; drop schema if exists psql_shop")
    answer("create schema psql_shop")
    answer("create table psql_shop.item (id bigint primary key)")
    answer("insert into psql_shop.item values (1)")
    equal(answer("set search_path to psql_shop, public; select count(*) from item; select current_schema()"), "1\npsql_shop")
    has_lines(answer("\\dn"), f"psql_shop|{check.USER}")
    equal(answer("\\dt psql_shop.*"), f"psql_shop|item|table|{check.USER}")
    holds("does not exist" in psql("select * from item").err, "not found without search_path", None)
    answer("drop table psql_shop.item")
    answer("drop schema psql_shop")


# What would keep a server busy if it went wrong stands last.


def interrupted(statement):
    process = subprocess.Popen([*BASE, "--dbname", check.DATABASE, "--output", "/dev/null", "--command", "\\warn connected", "--command", statement], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        equal(process.stderr.readline(), "connected\n")
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=5)
    finally:
        process.kill()
    holds("canceling statement due to user request" in err, "canceling statement due to user request", err)


@suite.check("Ctrl-C ends a statement that computes")
def interrupt():
    interrupted(ENDLESS)


@suite.check("Ctrl-C ends a COPY whose rows are coming")
def interrupt_rows():
    interrupted(f"copy ({STREAMING}) to stdout")


@suite.check("a statement that takes too long")
def statement_timeout():
    equal(psql(f"set statement_timeout = '200ms'; {ENDLESS}").err, "ERROR:  canceling statement due to statement timeout\n")


@suite.check("the view follows an INSERT", prepares=True)
def follows():
    answer("insert into psql_orders values (4, 'ann', 1.25, now())")
    eventually(totals, "ann|3|16.75\nbob|1|20.25")


suite.run()
