#!/bin/sh
# Runs a command with a throw-away PostgreSQL: scripts/with-postgres.sh [--durable] COMMAND [ARGUMENT...]
#
# The server listens on a socket in a temporary folder, on no port; its URL is in LAKEGATE_TEST_POSTGRES. It
# is stopped and removed afterwards, and the exit code is the command's. A server of your own is used
# instead when LAKEGATE_TEST_POSTGRES is set already: each test makes a schema in it and leaves it there.
#
# Tests need no durability, as what they prove is not about a crash of this server; with --durable it syncs what it
# commits, as a server does that is measured.
set -eu

careless="-c fsync=off -c full_page_writes=off"
[ "${1:-}" != --durable ] || { careless=; shift; }
[ $# -gt 0 ] || { echo "usage: scripts/with-postgres.sh [--durable] COMMAND [ARGUMENT...]" >&2; exit 2; }
[ -z "${LAKEGATE_TEST_POSTGRES:-}" ] || exec "$@"

bin=
if command -v initdb >/dev/null 2>&1; then
  bin=$(dirname "$(command -v initdb)")/
else
  # The newest of those that Debian and Homebrew keep off the path.
  for found in /usr/lib/postgresql/*/bin/initdb /opt/homebrew/opt/postgresql*/bin/initdb /usr/local/opt/postgresql*/bin/initdb; do
    [ ! -x "$found" ] || bin=$(dirname "$found")/
  done
fi
if [ -z "$bin" ]; then
  echo "PostgreSQL is missing. Install it: sudo apt-get install postgresql (Debian), brew install postgresql (macOS)" >&2
  exit 1
fi

# Short, because the path of a socket may have about 100 bytes.
folder=$(mktemp -d /tmp/lakegate-pg.XXXXXX)
chmod 755 "$folder"

# PostgreSQL refuses to run as root.
as_server() { "$@"; }
if [ "$(id -u)" = 0 ]; then
  chown postgres "$folder"
  as_server() { runuser -u postgres -- "$@"; }
fi

stop() {
  code=$?
  trap - EXIT INT TERM
  as_server "${bin}pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1 || true
  rm -rf "$folder"
  exit "$code"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

cd "$folder"
if ! {
  as_server "${bin}initdb" -D "$folder/data" -U lakegate -A trust -E UTF8 --locale=C -N &&
  as_server "${bin}pg_ctl" -D "$folder/data" -l "$folder/server.log" -w -t 60 \
    -o "-k $folder -c listen_addresses='' -c max_connections=300 $careless" start
} >"$folder/start.log" 2>&1 </dev/null; then
  cat "$folder/start.log" "$folder/server.log" >&2 2>/dev/null || true
  exit 1
fi
cd "$OLDPWD"

LAKEGATE_TEST_POSTGRES="postgres://lakegate@localhost/postgres?host=$folder"
export LAKEGATE_TEST_POSTGRES
"$@"
