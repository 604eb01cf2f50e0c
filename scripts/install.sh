#!/usr/bin/env bash
# Installs what is missing on a Debian-like machine, and nothing that is there.
#   scripts/install.sh GROUP...     groups: build, psql, kafka, postgres, clients
# Says in one line what could not be installed and how to do it by hand, then exits 1.
set -uo pipefail

packages=() reasons=()
need() { packages+=("$1"); reasons+=("$1 ($2)"); }
has() { command -v "$1" >/dev/null 2>&1; }
# A library has no command to look for: ask the package manager, or else the compiler's search path.
has_library() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed' || pkg-config --exists "$2" 2>/dev/null; }
has_file() { compgen -G "$1" >/dev/null; }
has_libclang() { has_file '/usr/lib/llvm-*/lib/libclang*.so*' || has_file '/usr/lib*/libclang*.so*' || [ -n "${LIBCLANG_PATH:-}" ]; }
java_version() { java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1; }
has_postgres() { has postgres || has_file '/usr/lib/postgresql/*/bin/postgres'; }

for group in "$@"; do
  case $group in
  build)
    if ! has cargo; then
      echo "install: a Rust toolchain is missing (cargo); install one with rustup (rust-toolchain 1.95 or later) and run this again" >&2
      exit 1
    fi
    has clang || need clang "compiles and links RocksDB"
    has mold || need mold "the linker"
    has cmake || need cmake "builds native libraries"
    has make || need make "builds librdkafka"
    has pkg-config || need pkg-config "finds native libraries"
    has_libclang || need libclang-dev "RocksDB's bindings"
    has_library libssl-dev libssl || need libssl-dev "TLS to Kafka"
    has_library zlib1g-dev zlib || need zlib1g-dev "compressed Kafka batches"
    ;;
  psql) has psql || need postgresql-client "psql, for the demo and the tests" ;;
  kafka)
    version=$(java_version)
    [ "${version:-0}" -ge 17 ] || need default-jre-headless "runs the Kafka of the tests"
    # Maven brings Kafka's jars, once; afterwards they are kept.
    [ -e "${KAFKA_LIBS:-$HOME/.cache/kafka-libs}/.complete" ] || has mvn || need maven "fetches Kafka's jars for the tests, once"
    ;;
  postgres) has_postgres || need postgresql "the second judge of the oracle" ;;
  clients)
    has python3 || need python3 "runs the clients' checks"
    python3 -c 'import venv' 2>/dev/null || need python3-venv "Python clients"
    has npm || need npm "Node clients"
    has go || need golang-go "pgx"
    has javac || need default-jdk-headless "pgjdbc"
    has mvn || need maven "fetches pgjdbc"
    ;;
  *) echo "install: unknown group \"$group\"; groups are build, psql, kafka, postgres, clients" >&2; exit 2 ;;
  esac
done
[ ${#packages[@]} -eq 0 ] && exit 0

list=$(printf '%s, ' "${reasons[@]}")
echo "install: missing: ${list%, }"
by_hand="install by hand: apt-get install -y --no-install-recommends ${packages[*]}"
if ! has apt-get; then
  echo "install: there is no apt-get here; install these with your package manager: ${packages[*]}" >&2
  exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  if has sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=(sudo)
  else
    echo "install: not root and no sudo without a password; $by_hand" >&2
    exit 1
  fi
fi
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install_all() { "${as_root[@]}" apt-get install -y --no-install-recommends "${packages[@]}" >"$log" 2>&1; }
# The package lists may be old or absent: try, refresh, try once more.
if ! install_all; then
  "${as_root[@]}" apt-get update >"$log" 2>&1
  if ! install_all; then
    tail -3 "$log" >&2
    echo "install: apt-get failed; $by_hand" >&2
    exit 1
  fi
fi
echo "install: done"
