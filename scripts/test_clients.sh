#!/usr/bin/env bash
# Runs clients of tests/clients against a server of its own, on an empty folder: all, or those that CLIENTS="psql dbt" or CLIENTS=--quick chooses.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v python3 > /dev/null; then
  echo "NOT TESTED: no client, for python3 is not installed"
  [ "${CLIENTS:-}" = --quick ]
  exit
fi
folder=$(mktemp -d)
# Below the ports of outgoing connections, one of which could have it before the server does.
read -r port http < <(python3 - << 'PYTHON'
import random, socket

def free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

print(*[port for port in random.sample(range(10000, 32000), 100) if free(port)][:2])
PYTHON
)
"${CARGO_TARGET_DIR:-target}/release/tidewater" serve --data-dir "$folder/data" --listen "127.0.0.1:$port" --http "127.0.0.1:$http" > "$folder/log" 2>&1 &
server=$!
trap 'kill "$server" 2> /dev/null; wait "$server" 2> /dev/null; rm -rf "$folder"' EXIT
for _ in $(seq 100); do
  psql -X -q -h 127.0.0.1 -p "$port" -U tidewater -d tidewater -c 'SELECT 1' > /dev/null 2>&1 && break
  sleep 0.1
done
# shellcheck disable=SC2086
python3 tests/clients/run.py --port "$port" --quiet ${CLIENTS:-}
