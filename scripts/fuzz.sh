#!/bin/sh
# Fuzzes what reads the bytes of strangers: the targets of tests/fuzz, under libFuzzer and AddressSanitizer.
#
#   sh scripts/fuzz.sh build                  builds the targets and writes what they start from
#   sh scripts/fuzz.sh targets                lists them
#   sh scripts/fuzz.sh run TARGET SECONDS     runs one; prints what it did in a line, fails when it found something
#
# Needs a nightly toolchain. What is built and found is kept outside of the checkout, in LAKEGATE_FUZZ, so that a run
# begins where the last one ended; bytes that were found to break a law are in its folder `found`.
set -eu

version=0.13.2
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lakegate
home=${LAKEGATE_FUZZ:-$cache/fuzz}
tool=$cache/cargo-fuzz-$version
built=$home/target-$(pwd | cksum | cut -d' ' -f1)
nightly=${LAKEGATE_NIGHTLY:-nightly}

targets() {
  sed -n 's/^path = "targets\/\(.*\)\.rs"$/\1/p' tests/fuzz/Cargo.toml
}

build() {
  rustc "+$nightly" --version >/dev/null 2>&1 || {
    echo "fuzzing needs a nightly toolchain; install it: rustup toolchain install nightly --profile minimal" >&2
    exit 1
  }
  [ -x "$tool/bin/cargo-fuzz" ] || cargo install cargo-fuzz --version "$version" --locked --root "$tool"
  rm -rf "$home/seeds"
  # Of the whole workspace, so that nothing is built with other features than for the tests.
  cargo build -q --workspace --example seeds
  "${CARGO_TARGET_DIR:-target}/debug/examples/seeds" "$home/seeds"
  # Libraries as they are shipped; the manifest turns the checks of our own code on. Settings of the main build are
  # not for this one.
  (
    unset CARGO_BUILD_BUILD_DIR CARGO_BUILD_TARGET_DIR RUSTFLAGS
    RUSTUP_TOOLCHAIN=$nightly CARGO_TARGET_DIR=$built "$tool/bin/cargo-fuzz" fuzz build -O --no-cfg-fuzzing \
      --codegen-units 16 --fuzz-dir tests/fuzz
  )
}

# The most bytes of an input, the MiB of one allocation and of the process, and words to put in.
limits() {
  case $1 in
    statement) echo "-max_len=4096 -malloc_limit_mb=16 -rss_limit_mb=640 -dict=tests/fuzz/sql.dict" ;;
    json | ndjson | csv | infer) echo "-max_len=8192 -malloc_limit_mb=16 -rss_limit_mb=640 -dict=tests/fuzz/text.dict" ;;
    flight) echo "-max_len=8192 -malloc_limit_mb=16 -rss_limit_mb=640" ;;
    gunzip | unzstd) echo "-max_len=16384 -malloc_limit_mb=17 -rss_limit_mb=640" ;;
    answers) echo "-max_len=8192 -malloc_limit_mb=32 -rss_limit_mb=640" ;;
    # A message or a page may be decoded as a whole, to the bounds that ARCHITECTURE.md names.
    *) echo "-max_len=32768 -malloc_limit_mb=129 -rss_limit_mb=1024" ;;
  esac
}

# Whether the input that took ten seconds did so because others had the processors: it takes less of their time. It is none
# that is kept, then.
waited() {
  late=$(sed -n 's/.*Test unit written to \(.*-timeout-.*\)/\1/p' "$log" | tail -n 1)
  # shellcheck disable=SC2046
  [ -n "$late" ] && (ulimit -t 10 && "$program" -timeout=600 $(limits "$1") "$late") >/dev/null 2>&1 && rm -f "$late"
}

run() {
  program=$built/$(rustc "+$nightly" -vV | sed -n 's/^host: //p')/release/$1
  [ -x "$program" ] || {
    echo "it is not built: sh scripts/fuzz.sh build" >&2
    exit 1
  }
  mkdir -p "$home/corpus/$1" "$home/found" "$home/seeds/$1" "$home/logs"
  log=$home/logs/$1.txt
  runs=0
  end=$(($(date +%s) + $2))
  while left=$((end - $(date +%s))) && [ "$left" -gt 0 ]; do
    failed=
    # shellcheck disable=SC2046
    ASAN_OPTIONS=detect_odr_violation=0:quarantine_size_mb=16 "$program" -max_total_time="$left" -timeout=10 \
      -artifact_prefix="$home/found/$1-" -print_final_stats=1 $(limits "$1") "$home/corpus/$1" "$home/seeds/$1" \
      >"$log" 2>&1 || failed=yes
    more=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    runs=$((runs + ${more:-0}))
    [ -n "$failed" ] || break
    waited "$1" && continue
    tail -n 25 "$log" >&2
    found=$(sed -n 's/.*ERROR: \(.*\)/\1/p' "$log" | head -n 1)
    echo "${found:-it ended early}; see logs/$1.txt beside found/" >&2
    exit 1
  done
  peak=$(sed -n 's/^stat::peak_rss_mb: *//p' "$log")
  edges=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d' ' -f2)
  echo "$runs inputs, $edges edges, peak $peak MiB"
}

case ${1:-} in
  build) build ;;
  targets) targets ;;
  run) run "$2" "$3" ;;
  *)
    sed -n '2,9s/^# \{0,1\}//p' "$0"
    exit 2
    ;;
esac
