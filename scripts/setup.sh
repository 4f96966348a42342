#!/bin/sh
# Makes ready what the tests need: Debian packages (only when CI=true or DEBIAN=1), a Python
# environment with the pinned clients that read what Lakegate writes and an emulator of S3, one more for clients that
# do not go together with those, and an emulator of Azure's store in a folder whose name ends in its version. What is missing fails with the command that installs
# it; nothing is skipped.
#
#   sh scripts/setup.sh PYTHON VENV OLDER_VENV AZURITE
set -eu

python=$1
venv=$2
older=$3
azurite=$4
here=$(dirname "$0")

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

postgres_is_here() {
  command -v initdb >/dev/null 2>&1 || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ||
    ls /opt/homebrew/opt/postgresql*/bin/initdb >/dev/null 2>&1
}

strace_is_here() {
  [ "$(uname -s)" != Linux ] || command -v strace >/dev/null 2>&1
}

node_is_here() {
  command -v node >/dev/null 2>&1 && command -v npm >/dev/null 2>&1
}

if ! postgres_is_here || ! strace_is_here || ! node_is_here || ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
  if [ "${CI:-}" = true ] || [ "${DEBIAN:-}" = 1 ]; then
    as_root apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
      postgresql strace python3 python3-venv
    node_is_here || as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends nodejs npm
  else
    sh "$here/doctor.sh"
    exit 1
  fi
fi

environment() {
  [ ! -f "$1/ready" ] || return 0
  rm -rf "$1"
  "$python" -m venv "$1"
  "$1/bin/python" -m pip install -q --disable-pip-version-check -r "$here/../tests/$2"
  : >"$1/ready"
}

environment "$venv" requirements.txt
environment "$older" clients/requirements-sqlalchemy.txt

if [ ! -f "$azurite/ready" ]; then
  rm -rf "$azurite"
  mkdir -p "$azurite"
  npm install --silent --no-fund --no-audit --no-save --prefix "$azurite" "azurite@${azurite##*-}"
  : >"$azurite/ready"
fi
