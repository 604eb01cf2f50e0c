#!/usr/bin/env bash
# The demo: a server on an embedded default, sql/fraud.sql, and the flagged cards changing live.
# With a terminal it goes on until Ctrl-C; without one it prints the view five times, a second apart.
set -euo pipefail
cd "$(dirname "$0")/.."

binary=${CARGO_TARGET_DIR:-$HOME/.cache/tidewater/target}/release/tidewater
data_dir=${TIDEWATER_DATA_DIR:-./tidewater-data}
listen=${TIDEWATER_LISTEN:-127.0.0.1:8433}
host=${listen%:*} port=${listen##*:}
log=$data_dir/server.log
server=

query() { PGOPTIONS= psql -X -q -A -t -F '  ' -v ON_ERROR_STOP=1 "host=$host port=$port user=tidewater dbname=tidewater connect_timeout=5" "$@"; }

stop() {
  trap - INT TERM HUP EXIT
  [ -t 1 ] && printf '\033[?25h\n' # the cursor again
  if [ -n "$server" ] && kill -0 "$server" 2>/dev/null; then
    kill -TERM "$server"
    wait "$server" || true
    echo "stopped; \`make demo\` goes on from here, \`make clean-demo\` throws the data away"
  fi
}
trap stop EXIT
trap 'exit 0' INT TERM HUP

mkdir -p "$data_dir"
# Its own session, so that a Ctrl-C reaches this script alone, which then stops the server in order.
setsid "$binary" serve --data-dir "$data_dir" --listen "$listen" >"$log" 2>&1 </dev/null &
server=$!
for _ in $(seq 1 600); do
  query -c 'SELECT 1' >/dev/null 2>&1 && break
  if ! kill -0 "$server" 2>/dev/null; then
    tail -n 1 "$log" >&2
    exit 1
  fi
  sleep 0.05
done
query -f sql/fraud.sql 2>&1 >/dev/null | { grep -v 'already exists, skipping' >&2 || true; }

cards_sql="SELECT card, merchants, spent, to_char(first_seen, 'HH24:MI:SS'), to_char(last_window, 'HH24:MI:SS') FROM flagged_cards ORDER BY last_window DESC, card LIMIT 12"
state_sql="SELECT (SELECT count(*) FROM flagged_cards), sum(rows), sum(late_rows), to_char(max(watermark) AT TIME ZONE 'UTC', 'HH24:MI:SS'), (SELECT round(extract(epoch FROM now() - clock) * 1000) FROM tidewater.epochs) FROM tidewater.sources WHERE source = 'payments'"

rows_before= time_before= text=
add() { local line; printf -v line "$@"; text+=$line$'\n'; }

# One frame into $text: a line about the stream, a table of the newest flagged cards.
frame() {
  local state cards flagged rows late watermark age now rate=-
  state=$(query -F '|' -c "$state_sql")
  cards=$(query -F '|' -c "$cards_sql")
  IFS='|' read -r flagged rows late watermark age <<<"$state"
  now=$(date +%s%N)
  [ -z "$rows_before" ] || rate=$(((rows - rows_before) * 1000000000 / (now - time_before)))
  rows_before=$rows time_before=$now text=
  add 'Cards with 3 or more merchants and more than $500 within 2 minutes'
  add '%s events/s   fresh to %s ms   %s events in all   %s late   %s cards flagged   complete up to %s' "$rate" "${age:--}" "${rows:-0}" "${late:-0}" "${flagged:-0}" "${watermark:--}"
  add ''
  add '%-22s %9s %10s   %-10s %-10s' card merchants spent first last
  while IFS='|' read -r card merchants spent first last; do
    [ -z "$card" ] || add '%-22s %9s %10s   %-10s %-10s' "$card" "$merchants" "$spent" "$first" "$last"
  done <<<"$cards"
}

if [ -t 1 ]; then
  printf '\033[?25l\033[2J' # no cursor, a clear screen
  while true; do
    frame
    add ''
    add 'Ctrl-C stops. In another terminal: psql -h %s -p %s -U tidewater tidewater' "$host" "$port"
    # Home, each line cleared to its end, then everything below: nothing flickers.
    printf '\033[H%s\033[J' "${text//$'\n'/$'\033[K\n'}"
    sleep 0.5
  done
else
  for _ in 1 2 3 4 5; do
    sleep 1
    frame
    printf '%s\n' "$text"
  done
fi
