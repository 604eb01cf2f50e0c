#!/usr/bin/env python3
"""Runs real clients against a server that listens on 127.0.0.1.

    run.py --port 8433                     every client against the Tidewater there
    run.py --port 8433 --light             those that install and run fast
    run.py --port 8433 --quick             the few that `make test` runs; one that cannot be installed is told and left out
    run.py --port 8433 psql pgjdbc         some of them
    run.py --port 8433 psql --only COPY    the checks of psql that have COPY in their names
    run.py --control                       against a real PostgreSQL 15, started for it: this is how we know that a check is right
    run.py --list                          the clients

What a client needs is installed once, in the versions pinned here and in the files beside, into the folder TIDEWATER_CLIENTS
(~/.cache/tidewater/clients). User and database are PGUSER and PGDATABASE (tidewater, tidewater). Each check prints a line:
`ok client: what` or `FAIL client: what: expected … got …`; the exit code is 1 if any failed. What known.txt lists is `known client: what: why` when it fails,
and FAIL when it does not: the list is to be true.
"""

import argparse
import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import control  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ.get("TIDEWATER_CLIENTS") or pathlib.Path.home() / ".cache" / "tidewater" / "clients")
PGJDBC = "42.7.13"
UNUSED_DAYS = 7  # an installation that nobody has used for so long is removed when another is made
QUICK = ("psql", "psycopg3", "asyncpg", "node-pg", "bi")  # what `make test` runs, 40 s at most
CLIENT_SECONDS = 1800  # a bound, not a measure; every check has its own


class Missing(Exception):
    """A program that has to be on the machine already."""


def needs(program):
    if not shutil.which(program):
        raise Missing(f"{program} is not installed")
    return program


def installed(name, files, build):
    """The folder of an installation, made anew when one of the files that describe it has changed."""
    digest = hashlib.sha256(b"".join(f.name.encode() + f.read_bytes() for f in files) + sys.version.encode()).hexdigest()[:12]
    CACHE.mkdir(parents=True, exist_ok=True)
    folder = CACHE / f"{name}-{digest}"
    with open(CACHE / f"{name}.lock", "w", encoding="utf-8") as lock:
        # Two runs on one machine install once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / ".complete").exists():
            print(f"installing {name}", file=sys.stderr, flush=True)
            for other in CACHE.glob(f"{name}-*"):
                # Of another checkout perhaps, or of an installation that broke off.
                if other == folder or age_days(other / ".complete") > UNUSED_DAYS:
                    shutil.rmtree(other, ignore_errors=True)
            folder.mkdir()
            build(folder)
        (folder / ".complete").touch()
    return folder


def age_days(file):
    return (time.time() - file.stat().st_mtime) / 86400 if file.exists() else 0


def run(*command, **more):
    """A step of an installation."""
    done = subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{pathlib.Path(str(command[0])).name} {command[1]} failed: {' '.join(done.stdout.split())[-600:]}")


def python(pins):
    """The interpreter of a virtual environment with the packages of python/<pins>.txt."""
    wanted = HERE / "python" / f"{pins}.txt"

    def build(folder):
        run(sys.executable, "-m", "venv", folder)
        run(folder / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1", "--timeout", "20", "--requirement", wanted)

    return installed(f"python-{pins}", [wanted], build) / "bin" / "python"


def with_python(pins, program):
    return lambda: ([python(pins), HERE / "python" / program], {})


def with_psql():
    needs("psql")
    return [sys.executable, HERE / "python" / "with_psql.py"], {}


def with_node(program):
    def command():
        wanted = HERE / "node" / "package.json"

        def build(folder):
            shutil.copy(wanted, folder)
            run(needs("npm"), "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock", "--fetch-retries=1", "--fetch-timeout=20000", cwd=folder)

        needs("node")
        folder = installed("node", [wanted], build)
        return ["node", "--no-deprecation", HERE / "node" / program], {"NODE_PATH": str(folder / "node_modules")}

    return command


def with_pgjdbc():
    sources = sorted((HERE / "pgjdbc").glob("*.java"))

    def build(folder):
        run(needs("mvn"), "-q", "-B", "dependency:copy", f"-Dartifact=org.postgresql:postgresql:{PGJDBC}", f"-DoutputDirectory={folder}")
        run(needs("javac"), "-cp", folder / f"postgresql-{PGJDBC}.jar", "-d", folder, *sources)

    needs("java")
    folder = installed("pgjdbc", [*sources, HERE / "run.py"], build)
    return ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{folder / f'postgresql-{PGJDBC}.jar'}:{folder}", "WithPgjdbc"], {}


def with_pgx():
    sources = sorted((HERE / "pgx").iterdir())

    def build(folder):
        own = os.environ | {"GOPATH": str(CACHE / "go"), "GOFLAGS": "-modcacherw -buildvcs=false", "GOTOOLCHAIN": "local"}
        run(needs("go"), "build", "-p", "1", "-o", folder / "client", ".", cwd=HERE / "pgx", env=own)

    return [installed("pgx", sources, build) / "client"], {}


def with_rust(client):
    def command():
        folder = HERE / "rust"
        sources = [folder / "Cargo.toml", folder / "Cargo.lock", *sorted((folder / "src").glob("*.rs"))]

        def build(target):
            run(needs("cargo"), "build", "--release", "--locked", "--quiet", "--target-dir", target, cwd=folder)

        return [installed("rust", sources, build) / "release" / "tidewater-rust-clients", client], {}

    return command


# In the order of what one looks at first; True for the light ones.
CLIENTS = {
    "psql": (True, with_psql),
    "psycopg3": (True, with_python("drivers", "with_psycopg3.py")),
    "psycopg2": (True, with_python("drivers", "with_psycopg2.py")),
    "asyncpg": (True, with_python("drivers", "with_asyncpg.py")),
    "node-pg": (True, with_node("with_node_pg.js")),
    "postgres-js": (True, with_node("with_postgres_js.js")),
    "pgjdbc": (True, with_pgjdbc),
    "pgx": (True, with_pgx),
    "tokio-postgres": (False, with_rust("tokio-postgres")),
    "sqlx": (False, with_rust("sqlx")),
    "sqlalchemy": (False, with_python("data", "with_sqlalchemy.py")),
    "adbc": (False, with_python("data", "with_adbc.py")),
    "duckdb": (False, with_python("data", "with_duckdb.py")),
    "dbt": (False, with_python("dbt", "with_dbt.py")),
    "superset": (False, with_python("superset", "with_superset.py")),
    "bi": (True, with_python("drivers", "with_bi.py")),
}


class Known:
    """Checks of known.txt: `client: what | why it differs`."""

    def __init__(self, client):
        lines = (HERE / "known.txt").read_text(encoding="utf-8").splitlines()
        told = [line.split(" | ", 1) for line in lines if line.startswith(f"{client}: ")]
        self.client, self.why, self.seen = client, {check.removeprefix(f"{client}: "): why for check, why in told}, set()

    def judged(self, line):
        for what, why in self.why.items():
            if line.startswith((f"ok {self.client}: {what}\n", f"FAIL {self.client}: {what}: ")):
                self.seen.add(what)
                failed = line.startswith("FAIL ")
                return f"known {self.client}: {what}: {why}\n" if failed else f"FAIL {self.client}: {what}: expected it to fail got ok: take it out of known.txt\n"
        return line

    def unseen(self):
        return [f"FAIL {self.client}: {what}: expected a check of this name got none: take it out of known.txt" for what in self.why if what not in self.seen]


def checks_of(client, prepare, environment, arguments):
    """Installs and runs one client; gives how many of its checks passed, failed as known.txt says, and failed."""
    try:
        command, more = prepare()
    except (Missing, RuntimeError) as error:
        if arguments.quick:
            print(f"NOT TESTED {client}: it could not be installed: {error}", flush=True)
            return 0, 0, 0
        print(f"FAIL {client}: install: expected a client got {error}", flush=True)
        return 0, 0, 1
    quiet, known = arguments.quiet, Known("no client" if arguments.control else client)
    passed = listed = failed = 0
    ended = False
    with tempfile.TemporaryDirectory(prefix=f"tidewater-{client}-") as scratch:
        errors = pathlib.Path(scratch) / "stderr"
        with open(errors, "w", encoding="utf-8") as stderr:
            program = subprocess.Popen([str(c) for c in command], env=environment | more | {"TMPDIR": scratch}, cwd=scratch, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True, errors="replace")
            try:
                for line in program.stdout:
                    line = known.judged(line)
                    listed += line.startswith("known ")
                    passed += line.startswith("ok ")
                    failed += line.startswith("FAIL ")
                    ended = ended or line == f"end {client}\n"
                    if line.startswith("FAIL ") or line.startswith(("ok ", "known ")) and not quiet:
                        print(line, end="", flush=True)
                program.wait(timeout=CLIENT_SECONDS)
            finally:
                program.kill()
        if not ended:
            told = " ".join(errors.read_text(encoding="utf-8", errors="replace").split())[-600:]
            print(f"FAIL {client}: the whole program: expected it to come to its end got exit code {program.returncode}: {told}", flush=True)
            failed += 1
    for line in [] if arguments.only or not ended else known.unseen():
        print(line, flush=True)
        failed += 1
    return passed, listed, failed


def environment_for(port, arguments):
    """Nothing of the caller's PG… variables but user and database."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return kept | {
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGUSER": os.environ.get("PGUSER", "tidewater"),
        "PGDATABASE": os.environ.get("PGDATABASE", "tidewater"),
        "TIDEWATER_CONTROL": "1" if arguments.control else "0",
        "TIDEWATER_CHECK": arguments.only,
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clients", nargs="*", metavar="client", help="one of the list; all of them if none is named")
    parser.add_argument("--port", type=int, help="where the server listens, on 127.0.0.1")
    parser.add_argument("--light", action="store_true", help="only the clients that install and run fast")
    parser.add_argument("--quick", action="store_true", help="only the clients of `make test`; one that cannot be installed is told and left out")
    parser.add_argument("--control", action="store_true", help="the server is a real PostgreSQL 15; without --port one is started")
    parser.add_argument("--only", default="", metavar="TEXT", help="only checks whose names contain this, and those that prepare them")
    parser.add_argument("--quiet", action="store_true", help="leave the ok lines out")
    parser.add_argument("--list", action="store_true", help="list the clients and end")
    arguments = parser.parse_args()
    unknown = [c for c in arguments.clients if c not in CLIENTS]
    if unknown:
        parser.error(f"no client {', '.join(unknown)}; there are {', '.join(CLIENTS)}")
    if not (arguments.list or arguments.port or arguments.control):
        parser.error("--port is needed")
    return arguments


def main():
    arguments = parsed()
    if arguments.list:
        for client, (light, _) in CLIENTS.items():
            print(f"{client}{'  light' if light else ''}")
        return 0
    chosen = arguments.clients or arguments.quick and QUICK or [c for c, (light, _) in CLIENTS.items() if light or not arguments.light]
    table = []
    with contextlib.ExitStack() as stack:
        port = arguments.port
        if port is None:
            port = stack.enter_context(control.postgres(os.environ.get("PGUSER", "tidewater"), os.environ.get("PGDATABASE", "tidewater")))
        for client in chosen:
            started = time.monotonic()
            table.append((client, *checks_of(client, CLIENTS[client][1], environment_for(port, arguments), arguments), time.monotonic() - started))
    print()
    table.append(("all", *(sum(row[i] for row in table) for i in range(1, 5))))
    for client, passed, listed, failed, seconds in table:
        print(f"{client:<12} {passed:>4} ok {listed:>4} known {failed:>4} failed {seconds:>6.1f} s")
    return 1 if table[-1][3] else 0


if __name__ == "__main__":
    sys.exit(main())
