#!/usr/bin/env bash
# Installs what the tests need, and runs them all: linters, types, tests, notebooks, real browsers.
# Needs Python 3.11 or later, git and the package index; on Debian and its kin it also installs Chromium and curl
# when they are missing. Arguments go to pytest:  bash tests/run.sh tests/core -x
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
  || missing+=(chromium fonts-dejavu-core)
command -v curl >/dev/null || missing+=(curl)
if [ ${#missing[@]} -gt 0 ] && command -v apt-get >/dev/null; then
  as_root=(); [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  echo "installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

[ -x .venv/bin/python ] || "${PYTHON:-python3}" -m venv .venv
.venv/bin/python -m pip install -q --upgrade pip
.venv/bin/python -m pip install -q -e ".[test]"
export PATH="$PWD/.venv/bin:$PATH"   # node and the command line tool come from here

# The tools for the JavaScript, anew only when their versions have changed.
if ! cmp -s tests/js/package-lock.json tests/js/node_modules/.installed; then
  npm --prefix tests/js ci --loglevel=error
  cp tests/js/package-lock.json tests/js/node_modules/.installed
fi

beatra-nb fetch
ruff check .
ruff format --check .
mypy
# One worker more than there are cores: browsers and kernels leave much of a core waiting.
exec python -m pytest -n "$(($(python -c 'import os; print(os.cpu_count() or 1)') + 1))" --dist loadfile --no-loadscope-reorder "$@"
