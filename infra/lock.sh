#!/usr/bin/env bash
# Pins everything of infra/requirements.in, infra/bench.in, infra/peers.in and infra/checkov.in, with hashes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
resolver=../.tools/uv
[ -x "$resolver/bin/uv" ] || { ../.tools/venv/bin/python -m venv "$resolver" && "$resolver/bin/pip" install --quiet uv==0.13.9; }
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
lock checkov 3.11
