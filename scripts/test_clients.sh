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
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
http=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"${CARGO_TARGET_DIR:-target}/release/tidewater" serve --data-dir "$folder/data" --listen "127.0.0.1:$port" --http "127.0.0.1:$http" > "$folder/log" 2>&1 &
server=$!
trap 'kill "$server" 2> /dev/null; wait "$server" 2> /dev/null; rm -rf "$folder"' EXIT
for _ in $(seq 100); do
  psql -X -q -h 127.0.0.1 -p "$port" -U tidewater -d tidewater -c 'SELECT 1' > /dev/null 2>&1 && break
  sleep 0.1
done
# shellcheck disable=SC2086
python3 tests/clients/run.py --port "$port" --quiet ${CLIENTS:-}
