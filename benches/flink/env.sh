# Where things live; the scripts beside this file read it. All of it can be set from outside.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${FLINK_VERSION:=2.2.1}"
: "${KAFKA_CONNECTOR_VERSION:=5.0.0-2.2}"
: "${FLINK_VENV:=$HOME/.cache/tidewater/flink-$FLINK_VERSION}"   # installed once
: "${FLINK_RUN:=/tmp/tidewater-flink}"                           # conf, logs, pids, checkpoints, RocksDB files: thrown away
: "${FLINK_REST_PORT:=18081}"
: "${FLINK_RPC_PORT:=16123}"
: "${SQL_GATEWAY_PORT:=18083}"
: "${TM_MEMORY:=4096m}"
: "${SLOTS:=2}"
export FLINK_VERSION KAFKA_CONNECTOR_VERSION FLINK_VENV FLINK_RUN FLINK_REST_PORT FLINK_RPC_PORT SQL_GATEWAY_PORT TM_MEMORY SLOTS
