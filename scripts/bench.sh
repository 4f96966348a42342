#!/bin/sh
# Measures, and keeps the raw numbers, named after the commit they were made on.
#
#   sh scripts/bench.sh PYTHON VENV [suite ...]
set -eu

python=$1
venv=$2
shift 2
if [ ! -f "$venv/ready" ]; then
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/python" -m pip install -q --disable-pip-version-check -r bench/requirements.txt
  : >"$venv/ready"
fi
command -v valgrind >/dev/null 2>&1 || {
  echo "valgrind counts instructions; install it (Debian: apt-get install valgrind)" >&2
  exit 1
}

commit=$(git rev-parse --short HEAD)
git diff --quiet HEAD -- || commit="$commit-changed"
cargo build --release --bin lakegate --bin bench --workspace
LAKEGATE_BIN=$CARGO_TARGET_DIR/release/lakegate
LAKEGATE_BENCH_COMMIT=$commit
LAKEGATE_BENCH_PYTHON=$venv/bin/python
# The emulator of S3 is started as the tests start it.
LAKEGATE_PYTHON=$LAKEGATE_BENCH_PYTHON
LAKEGATE_BENCH_DATA=${LAKEGATE_BENCH_DATA:-${XDG_CACHE_HOME:-$HOME/.cache}/lakegate/bench}
LAKEGATE_BENCH_PEERS=$("$venv/bin/python" -m pip list --format=freeze 2>/dev/null | grep -iE '^(deltalake|duckdb|moto|pysail|roapi|tpchgen-cli)==' | tr '\n' ' ')
export LAKEGATE_BIN LAKEGATE_PYTHON LAKEGATE_BENCH_COMMIT LAKEGATE_BENCH_PYTHON LAKEGATE_BENCH_DATA LAKEGATE_BENCH_PEERS
mkdir -p bench/runs "$LAKEGATE_BENCH_DATA"
raw=bench/runs/$commit.jsonl
"$CARGO_TARGET_DIR/release/bench" "$@" >"$raw"
"$CARGO_TARGET_DIR/release/bench" report "$raw" >"bench/runs/$commit.md"
cat "bench/runs/$commit.md"
