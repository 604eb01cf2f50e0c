"""What the Python programs of this folder share: checks that stand alone, each with its own connection and its own time limit.

A program makes a Suite, adds functions with `@suite.check("what it shows")` and ends with `suite.run()`. A check passes when it returns.
One line is printed for each: `ok client: what` or `FAIL client: what: expected … got …`, and `end client` after the last. TIDEWATER_CHECK=words runs only checks whose
name contains the words (and those that prepare). Against a real PostgreSQL (TIDEWATER_CONTROL=1) `Suite.refresh` refreshes a
materialized view, which Tidewater does by itself.
"""

import datetime as dt
import decimal
import inspect
import os
import socket
import threading
import time
import uuid

HOST = os.environ.get("PGHOST", "127.0.0.1")
PORT = int(os.environ.get("PGPORT", "8433"))
USER = os.environ.get("PGUSER", "tidewater")
DATABASE = os.environ.get("PGDATABASE", "tidewater")
CONTROL = os.environ.get("TIDEWATER_CONTROL") == "1"
ONLY = os.environ.get("TIDEWATER_CHECK", "")

LIMIT_SECONDS = 20.0  # of one check; the slowest takes two
FOLLOW_SECONDS = 5.0  # until a view shows what was written
CANCEL_SECONDS = 5.0  # until a cancelled statement has ended

# Busy for hours, in any server: what is cancelled is this.
ENDLESS = "select count(*) from generate_series(1, 1000000) a, generate_series(1, 1000000) b where a + b < 0"
# As endless, but its first rows come at once.
STREAMING = "select a.g from generate_series(1, 1000000) a(g), generate_series(1, 1000000) b(g)"


class Different(Exception):
    """A value that is not the expected one."""

    def __init__(self, expected, got):
        if isinstance(expected, str) and isinstance(got, str):
            expected, got = first_difference(expected, got)
        super().__init__(f"expected {expected!r} got {got!r}")


def first_difference(expected, got):
    """Of long texts only the first line that differs."""
    for e, g in zip(expected.split("\n"), got.split("\n")):
        if e != g and "\n" in expected:
            return e, g
    return expected, got


def equal(got, expected):
    if type(got) is not type(expected) and isinstance(expected, (bool, str, bytes)) or got != expected:
        raise Different(expected, got)


def holds(condition, expected, got):
    """For what is not an equality; `expected` says it in words."""
    if not condition:
        raise Different(expected, got)


def refused(sqlstate, call, *arguments):
    """The call must fail with this SQLSTATE; gives the exception back."""
    try:
        result = call(*arguments)
    except Exception as error:
        got = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or getattr(getattr(error, "orig", None), "sqlstate", None)
        if got != sqlstate:
            raise Different(f"error {sqlstate}", f"{type(error).__name__} {got}: {error}") from error
        return error
    raise Different(f"error {sqlstate}", result)


def eventually(read, expected):
    """Waits, with a bound, until read() gives the expected value."""
    end = time.monotonic() + FOLLOW_SECONDS
    while (got := read()) != expected:
        if time.monotonic() > end:
            raise Different(expected, got)
        time.sleep(0.02)


def later(seconds, call):
    """Calls from another thread, after a while; what becomes of it is seen in the check, not here."""

    def quietly():
        try:
            call()
        except Exception:
            pass

    timer = threading.Timer(seconds, quietly)
    timer.daemon = True
    timer.start()
    return timer


class Suite:
    def __init__(self, client, connect=None, probe=None):
        """connect() gives a new connection, with close(); checks that take an argument get one. probe() tries whether one can be had."""
        self.client, self.connect, self.checks = client, connect, []
        self.probe = probe or (lambda: connect().close())

    def check(self, what, prepares=False):
        def keep(function):
            self.add(what, function, prepares)
            return function

        return keep

    def add(self, what, function, prepares=False):
        if prepares or ONLY in what:
            self.checks.append((what, function))

    def run(self):
        if problem := self._outcome(self.probe):
            # Nothing else could be told.
            print(f"FAIL {self.client}: connect: {problem}\nend {self.client}", flush=True)
            os._exit(1)
        failed = 0
        for what, function in self.checks:
            problem = self._outcome(function)
            failed += problem is not None
            print(f"ok {self.client}: {what}" if problem is None else f"FAIL {self.client}: {what}: {problem}", flush=True)
        print(f"end {self.client}", flush=True)
        # A check that was given up may still hang in its thread.
        os._exit(1 if failed else 0)

    def _outcome(self, function):
        """None, or what went wrong in one line."""
        result = [f"expected an answer got none in {LIMIT_SECONDS:.0f} s"]

        def body():
            try:
                self._call(function)
                result[0] = None
            except Different as wrong:
                result[0] = one_line(wrong)
            except BaseException as error:
                result[0] = f"expected no error got {type(error).__name__}: {one_line(error)}"

        self.current = None
        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        thread.join(LIMIT_SECONDS)
        if thread.is_alive():
            hang_up(self.current)
        return result[0]

    def _call(self, function):
        if not inspect.signature(function).parameters:
            return function()
        connection = self.current = self.connect()
        try:
            function(connection)
        finally:
            connection.close()


def hang_up(connection):
    """The server sees a client that is gone, while another thread still waits in this connection."""
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as s:
            s.shutdown(socket.SHUT_RDWR)
    except Exception:
        pass


def one_line(error):
    text = " ".join(str(error).split())
    return text if len(text) <= 500 else text[:500] + "…"


UTC = dt.timezone.utc
A_UUID = uuid.UUID("0188b1c2-7b2c-7def-8123-456789abcdef")
AWKWARD = "tab\there, quote ' and \", back\\slash, {brace}, å, 🌊"

# (type, a value of it, the text that a cast to text gives)
SCALARS = [
    ("boolean", True, "true"),
    ("smallint", -32768, "-32768"),
    ("integer", 2147483647, "2147483647"),
    ("bigint", -9223372036854775808, "-9223372036854775808"),
    ("real", 1.5, "1.5"),
    ("double precision", 1e300, "1e+300"),
    ("numeric(20,5)", decimal.Decimal("123456789012345.67800"), "123456789012345.67800"),
    ("text", AWKWARD, AWKWARD),
    ("varchar(5)", "abcde", "abcde"),
    ("bytea", b"\x00\xff\\'", "\\x00ff5c27"),
    ("date", dt.date(2024, 2, 29), "2024-02-29"),
    ("time", dt.time(23, 59, 59, 999999), "23:59:59.999999"),
    ("timestamp", dt.datetime(2024, 2, 29, 12, 34, 56, 789000), "2024-02-29 12:34:56.789"),
    ("timestamptz", dt.datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC), "2024-02-29 12:34:56+00"),
    ("interval", dt.timedelta(days=3, hours=4, microseconds=5), "3 days 04:00:00.000005"),
    ("uuid", A_UUID, str(A_UUID)),
]
ARRAYS = [
    ("boolean[]", [True, None, False], "{t,NULL,f}"),
    ("smallint[]", [1, None, -1], "{1,NULL,-1}"),
    ("integer[]", [1, None, 100000], "{1,NULL,100000}"),
    ("bigint[]", [1, None, 10000000000], "{1,NULL,10000000000}"),
    ("real[]", [1.5, None], "{1.5,NULL}"),
    ("double precision[]", [0.1, None], "{0.1,NULL}"),
    ("numeric(10,2)[]", [decimal.Decimal("1.50"), None], "{1.50,NULL}"),
    ("text[]", ["a", "b c", 'd"e', "f\\g", "", "NULL", None, "h,i", "{}"], '{a,"b c","d\\"e","f\\\\g","","NULL",NULL,"h,i","{}"}'),
    ("varchar(5)[]", ["abc", None], "{abc,NULL}"),
    ("bytea[]", [b"\x00", None], '{"\\\\x00",NULL}'),
    ("date[]", [dt.date(2024, 2, 29), None], "{2024-02-29,NULL}"),
    ("time[]", [dt.time(1, 2, 3), None], "{01:02:03,NULL}"),
    ("timestamp[]", [dt.datetime(2024, 2, 29, 1, 2, 3), None], '{"2024-02-29 01:02:03",NULL}'),
    ("timestamptz[]", [dt.datetime(2024, 2, 29, 1, 2, 3, tzinfo=UTC), None], '{"2024-02-29 01:02:03+00",NULL}'),
    ("interval[]", [dt.timedelta(days=1), None], '{"1 day",NULL}'),
    ("uuid[]", [A_UUID, None], "{" + str(A_UUID) + ",NULL}"),
]
JSON_VALUE = {"a": [1, 2.5, None, "x\"y"], "b": {"c": True}}


def column(type_name):
    """The name of the column for a type in the table of types."""
    return "c_" + "".join(c for c in type_name.replace("[]", "_array") if c.isalpha() or c == "_")


def columns_of_all_types():
    return ", ".join(f"{column(t)} {t}" for t, _, _ in SCALARS + ARRAYS + [("jsonb", None, None)])


# Statements that every client's program begins with, for a prefix of its own.
def beginning(prefix):
    return [
        f"drop materialized view if exists {prefix}_totals",
        f"drop table if exists {prefix}_orders",
        f"drop table if exists {prefix}_types",
        f"create table {prefix}_orders (id bigint primary key, customer varchar(20) not null, amount numeric(12,2) default 0, at timestamptz)",
        f"insert into {prefix}_orders values (1, 'ann', 10.50, '2024-01-01 00:00:00+00'), (2, 'bob', 20.25, '2024-01-02 00:00:00+00'), (3, 'ann', 5.00, null)",
        f"create materialized view {prefix}_totals as select customer, count(*) as orders, sum(amount) as total from {prefix}_orders group by customer",
    ]


FIRST_TOTALS = [("ann", 2, decimal.Decimal("15.50")), ("bob", 1, decimal.Decimal("20.25"))]
LAST_TOTALS = [("ann", 3, decimal.Decimal("16.75")), ("bob", 1, decimal.Decimal("20.25"))]

# (SQLSTATE, statement over the orders of a prefix, the place of the error in it or None)
ERRORS = [
    ("42601", "select 1 + from {p}_orders", 12),
    ("42P01", "select * from nosuch", 15),
    ("42703", "select nosuch from {p}_orders", 8),
    ("42883", "select nosuch(1)", 8),
    ("22012", "select 1/(id-id) from {p}_orders", None),
    ("22003", "select 9223372036854775807::bigint + id from {p}_orders", None),
    ("22P02", "select 'x'::integer", 8),
    ("22007", "select 'x'::date", 8),
    ("22001", "insert into {p}_orders values (1, 'longer than twenty characters')", None),
    ("23505", "insert into {p}_orders values (1, 'ann')", None),
    ("23502", "insert into {p}_orders (id) values (1)", None),
    ("42P07", "create table {p}_orders (id bigint primary key)", None),
    ("42803", "select customer, count(*) from {p}_orders", 8),
    ("42804", "update {p}_orders set at = true where id = 1", None),
    ("42702", "select id from {p}_orders a, {p}_orders b", 8),
    ("42704", "select 1::nosuch", 11),
    ("42809", "drop view {p}_orders", None),
    ("2BP01", "drop table {p}_orders", None),
    ("3F000", "create table nosuch.t (id bigint primary key)", 14),
    ("26000", "execute nosuch", None),
    ("34000", "close nosuch", None),
]
