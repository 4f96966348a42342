#!/bin/sh
# Runs the long proofs and adds what they say to a report, named after the commit they ran on.
#
#   sh scripts/soak.sh [part[=count] ...]
#
# tests/e2e/examples/soak says what the parts are, and what they count; with fewer than it takes a line says "reduced".
# Parts that are run at different times on one commit come into one report, each run with its date.
set -eu

commit=$(git rev-parse --short HEAD)
git diff --quiet HEAD -- || commit="$commit-changed"
mkdir -p docs/soak
report=docs/soak/$commit.txt
# Of the whole workspace, so that what the tests are built with is what these are built with.
cargo build --workspace --example soak --example seeds
case " ${*:-fuzz} " in
  # Without its programs the part fails, the others need not.
  *" fuzz"*) sh scripts/fuzz.sh build || echo "the targets for fuzzing could not be built" >&2 ;;
esac
[ ! -s "$report" ] || echo >>"$report"
{
  echo "commit $commit"
  echo "$(uname -sm), $(getconf _NPROCESSORS_ONLN) processors, $(rustc --version), dev profile"
  date -u '+%Y-%m-%dT%H:%MZ'
} >>"$report"
status=0
"$CARGO_TARGET_DIR/debug/examples/soak" "$@" >>"$report" || status=$?
cat "$report"
exit "$status"
