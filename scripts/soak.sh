#!/bin/sh
# Runs the long proofs and keeps their report, named after the commit they ran on.
#
#   sh scripts/soak.sh [kills] [faults] [push] [answer]
set -eu

commit=$(git rev-parse --short HEAD)
git diff --quiet HEAD -- || commit="$commit-changed"
mkdir -p docs/soak
report=docs/soak/$commit.txt
{
  echo "commit $commit"
  echo "$(uname -sm), $(getconf _NPROCESSORS_ONLN) processors, $(rustc --version), dev profile"
  date -u '+%Y-%m-%dT%H:%MZ'
} >"$report"
cargo build -p lakegate-e2e --example soak
"$CARGO_TARGET_DIR/debug/examples/soak" "$@" >>"$report"
cat "$report"
