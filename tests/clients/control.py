"""A real PostgreSQL of our own, on a free port of 127.0.0.1, its data thrown away: the control of the checks."""

import contextlib
import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import tempfile

PLACES = ["/usr/lib/postgresql/15/bin", "/usr/local/pgsql/bin", "/opt/homebrew/opt/postgresql@15/bin"]
SETTINGS = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "off", "timezone": "UTC", "max_connections": "200"}


def program(name):
    for place in PLACES:
        if os.access(f"{place}/{name}", os.X_OK):
            return f"{place}/{name}"
    found = shutil.which(name)
    if not found:
        raise SystemExit(f"{name} of PostgreSQL 15 is not installed: the control needs it")
    return found


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def postgres(user, database):
    """Starts it with this superuser and database, gives its port, stops it."""
    folder = tempfile.mkdtemp(prefix="tidewater-control-")
    # PostgreSQL does not run as root; its packages make a user for it.
    owner = {}
    if os.geteuid() == 0:
        account = pwd.getpwnam("postgres")
        os.chown(folder, account.pw_uid, account.pw_gid)
        owner = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    data, port = f"{folder}/data", free_port()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PG")} | {"LC_ALL": "C"}

    def run(*command):
        done = subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **owner)
        if done.returncode != 0:
            raise SystemExit(f"{pathlib.Path(command[0]).name} failed: {done.stdout}")

    try:
        run(program("initdb"), "-D", data, "-U", user, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        with open(f"{data}/postgresql.conf", "a", encoding="utf-8") as f:
            f.writelines(f"{name} = '{value}'\n" for name, value in (SETTINGS | {"port": str(port)}).items())
        # -l, for the server must not hold our pipe.
        run(program("pg_ctl"), "-D", data, "-l", f"{folder}/log", "-w", "start")
        try:
            if database != "postgres":
                run(program("createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", user, database)
            yield port
        finally:
            run(program("pg_ctl"), "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
