#!/usr/bin/env bash
# Checks docker/ as far as the machine can: `docker compose config` where the plugin is, and everywhere that each file the
# compose file names exists and that each metric on the dashboard is one the server has.
set -euo pipefail
cd "$(dirname "$0")/.."

if docker compose version >/dev/null 2>&1; then
  docker compose -f docker/compose.yaml config --quiet
  echo "docker compose config: ok"
else
  echo "docker compose is not here: docker/compose.yaml was checked for its paths only"
fi

failed=0
while read -r path; do
  [ -e "docker/$path" ] || { echo "docker/compose.yaml: $path does not exist" >&2; failed=1; }
done < <(sed -n 's/^ *- \(\.[^:]*\):.*/\1/p; s/^ *context: \(.*\)/\1/p' docker/compose.yaml)
while read -r path; do
  [ -e "$path" ] || { echo "docker/Dockerfile: $path does not exist" >&2; failed=1; }
done < <(sed -n 's/^COPY \(--from=[^ ]* \)\{0,1\}//p' docker/Dockerfile | awk '!/^\/out/ { for (i = 1; i < NF; i++) print $i }')
while read -r metric; do
  name=${metric%_bucket}
  grep -q "\"$name\"" src/node/metrics.rs || { echo "the dashboard shows $metric, which src/node/metrics.rs does not have" >&2; failed=1; }
done < <(grep -oE 'tidewater_[a-z_]+' docker/grafana/dashboards/tidewater.json | sort -u)
exit "$failed"
