#!/bin/sh
# Prints each tool that building and testing need, its version, and for a missing one the command that
# installs it. Exits 1 when a needed one is missing.
set -eu

missing=0
case $(uname -s) in
  Darwin) linux=false; install="brew install" ;;
  *) linux=true; install="sudo apt-get install" ;;
esac

found() { printf '  %-14s %s\n' "$1" "$2"; }

absent() {
  printf '  %-14s MISSING  %s\n' "$1" "$2"
  missing=1
}

# tool NAME INSTALL-COMMAND VERSION-COMMAND...
tool() {
  name=$1
  how=$2
  shift 2
  if command -v "$1" >/dev/null 2>&1 && version=$("$@" 2>&1 | head -n 1); then
    found "$name" "$version"
  else
    absent "$name" "$how"
  fi
}

echo "To build and run:"
tool rustc "see https://rustup.rs, then: rustup toolchain install 1.95.0" rustc --version
tool cargo "see https://rustup.rs" cargo --version
if $linux; then tool cc "$install build-essential" cc --version; else tool cc "xcode-select --install" cc --version; fi

echo "To test (make test):"
if cargo nextest --version >/dev/null 2>&1; then
  found nextest "$(cargo nextest --version | head -n 1)"
else
  found nextest "not here, cargo test is used; faster with: cargo install cargo-nextest --locked"
fi
if python3 -c 'import ensurepip, venv' >/dev/null 2>&1; then
  found python3 "$(python3 --version)"
elif $linux; then
  absent python3 "$install python3 python3-venv"
else
  absent python3 "$install python3"
fi
postgres=$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb /opt/homebrew/opt/postgresql*/bin/initdb 2>/dev/null | tail -n 1 || true)
if [ -n "$postgres" ]; then
  found postgresql "$("$postgres" --version)"
else
  absent postgresql "$install postgresql   (or: make setup DEBIAN=1)"
fi
tool node "$install nodejs   (or: make setup DEBIAN=1)" node --version
tool npm "$install npm   (or: make setup DEBIAN=1)" npm --version
if $linux; then tool strace "$install strace   (or: make setup DEBIAN=1)" strace --version; fi

[ "$missing" = 0 ] || {
  echo "Install what is missing, then run the same command again."
  exit 1
}
