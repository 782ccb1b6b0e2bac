#!/usr/bin/env bash
# Says what begins, does it, says how long it took: step.sh 'what' command...
set -euo pipefail
title=$1
shift
echo "==> $title"
started=$(date +%s.%N)
status=0
"$@" || status=$?
LC_ALL=C awk -v from="$started" -v to="$(date +%s.%N)" -v status="$status" \
  'BEGIN { printf "    %s, %.1f s\n", status == 0 ? "done" : "failed with status " status, to - from }'
exit "$status"
