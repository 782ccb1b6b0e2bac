#!/usr/bin/env bash
# Pins everything of each .in file under infra/, with hashes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
resolver=../.tools/uv
[ -x "$resolver/bin/uv" ] || { ../.tools/venv/bin/python -m venv "$resolver" && "$resolver/bin/pip" install --quiet --require-hashes --requirement lock.txt; }
# lock NAME PYTHON: the oldest Python that it is for
lock() {
  {
    echo "# Written by \`make lock\` out of $1.in; do not edit."
    "$resolver/bin/uv" pip compile --quiet --universal --python-version "$2" --generate-hashes --no-header \
      --no-emit-index-url --no-emit-find-links "$1.in"
  } >"$1.new"
  mv "$1.new" "$1.txt"
}
lock requirements 3.10
lock bench 3.11
lock peers 3.11
lock eyes/bench 3.11
lock lock 3.10
lock training/requirements 3.11
lock checkov 3.11
