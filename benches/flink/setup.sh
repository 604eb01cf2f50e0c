#!/usr/bin/env bash
# Installs Flink, if it is not there: its jars from PyPI (apache-flink-libraries; the Python API itself is not needed), the Kafka connector and the
# SQL Gateway from Maven. Needs python3 with venv, mvn and Java 17.
set -euo pipefail
source "$(dirname "$0")/env.sh"
[ -e "$FLINK_VENV/.complete" ] && exit 0
mkdir -p "$FLINK_VENV"
[ -x "$FLINK_VENV/bin/pip" ] || python3 -m venv "$FLINK_VENV"
"$FLINK_VENV/bin/pip" install --quiet --no-deps "apache-flink-libraries==$FLINK_VERSION"
home=$(echo "$FLINK_VENV"/lib/python3*/site-packages/pyflink)
jar() { # artifact version folder
  [ -f "$3/$1-$2.jar" ] && return
  mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy \
    -Dartifact="org.apache.flink:$1:$2" -DoutputDirectory="$3" -Dmdep.useBaseVersion=true
}
jar flink-sql-connector-kafka "$KAFKA_CONNECTOR_VERSION" "$home/lib"
jar flink-sql-gateway "$FLINK_VERSION" "$home/opt"
touch "$FLINK_VENV/.complete"
