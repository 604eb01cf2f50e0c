#!/usr/bin/env bash
# A real Apache Kafka, one node (KRaft), without Docker: its jars come through Maven, its data is thrown away.
#   kafka.sh libs                fetch the jars, if they are not there
#   kafka.sh start PORT DIR      begin with an empty DIR: a broker on 127.0.0.1:PORT (its controller on PORT+1); waits until it answers
#   kafka.sh restart PORT DIR    the same broker again, with the data it had
#   kafka.sh stop DIR            stop the broker that runs from DIR, and wait until it is gone
#   kafka.sh guard PID DIR       wait until process PID is gone, then stop the broker that runs from DIR and remove DIR
# Needs a Java runtime 17+, mvn (first time only) and about 400 MB of memory. Jars are kept in ${KAFKA_LIBS:-~/.cache/kafka-libs}.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
libs=${KAFKA_LIBS:-$HOME/.cache/kafka-libs}

fetch_libs() {
  [ -e "$libs/.complete" ] && return
  mkdir -p "$libs"
  # Two runs on one machine fetch once.
  exec 9>"$libs/.lock"
  flock 9
  [ -e "$libs/.complete" ] && return
  command -v mvn >/dev/null || { echo "kafka.sh: mvn is missing; install maven to fetch Kafka's jars (once)" >&2; exit 1; }
  (cd "$here" && mvn -q -B dependency:copy-dependencies -DoutputDirectory="$libs") || { echo "kafka.sh: mvn could not fetch Kafka's jars" >&2; exit 1; }
  touch "$libs/.complete"
}

write_config() {
  local port=$1 dir=$2
  cat >"$dir/server.properties" <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:$((port + 1))
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/data
num.partitions=1
auto.create.topics.enable=false
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
PROPERTIES
}

# Waits until the broker says that it is up; $1 = lines of the log that belong to earlier runs.
launch() {
  local port=$1 dir=$2 seen=0
  [ -e "$dir/kafka.log" ] && seen=$(wc -l <"$dir/kafka.log")
  # Its own session: a Ctrl-C on the test run must not reach it before the tests have ended.
  setsid nohup java -Xmx384m -cp "$libs/*" kafka.Kafka "$dir/server.properties" >>"$dir/kafka.log" 2>&1 </dev/null 9>&- &
  echo $! >"$dir/pid"
  for _ in $(seq 1 480); do
    tail -n "+$((seen + 1))" "$dir/kafka.log" | grep -q 'Kafka Server started' && { echo "kafka is up on 127.0.0.1:$port"; return; }
    kill -0 "$(cat "$dir/pid")" 2>/dev/null || break
    sleep 0.25
  done
  echo "kafka.sh: the broker did not start:" >&2
  tail -5 "$dir/kafka.log" >&2
  exit 1
}

stop_broker() {
  local dir=$1 pid
  pid=$(cat "$dir/pid" 2>/dev/null) || return 0
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 1 120); do kill -0 "$pid" 2>/dev/null || return 0; sleep 0.25; done
  kill -9 "$pid" 2>/dev/null || true
}

case ${1:-} in
libs) fetch_libs ;;
start)
  fetch_libs
  mkdir -p "$3"
  rm -rf "$3/data" "$3/kafka.log"
  write_config "$2" "$3"
  id=$(java -cp "$libs/*" kafka.tools.StorageTool random-uuid 2>/dev/null | tail -1)
  java -cp "$libs/*" kafka.tools.StorageTool format -t "$id" -c "$3/server.properties" >"$3/format.log" 2>&1
  launch "$2" "$3"
  ;;
restart) launch "$2" "$3" ;;
stop) stop_broker "$2" ;;
guard)
  while kill -0 "$2" 2>/dev/null; do sleep 1; done
  stop_broker "$3"
  rm -rf "$3"
  ;;
*) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
