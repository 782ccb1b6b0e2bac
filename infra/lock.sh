#!/usr/bin/env bash
# Pins everything of infra/requirements.in, with hashes, for every Python from 3.10 on.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
resolver=../.tools/uv
[ -x "$resolver/bin/uv" ] || { ../.tools/venv/bin/python -m venv "$resolver" && "$resolver/bin/pip" install --quiet uv==0.13.9; }
{
  echo '# Written by `make lock` out of requirements.in; do not edit.'
  "$resolver/bin/uv" pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-header \
    --no-emit-index-url --no-emit-find-links requirements.in
} >requirements.new
mv requirements.new requirements.txt
