#!/bin/bash
# The example finds its bug, names both locks, and the mended version is exhausted.
set -uo pipefail
bank="$1"

output=$("$bank")
code=$?
[[ $code -eq 1 ]] || { echo "expected exit code 1, got $code: $output"; exit 1; }
for text in 'violated (deadlock)' 'account[1]' 'account[2]' 'schedule: '; do
  grep -qF -- "$text" <<<"$output" || { echo "no '$text' in: $output"; exit 1; }
done

output=$("$bank" fixed) || { echo "the mended version fails: $output"; exit 1; }
grep -qF "exhausted: 2 executions" <<<"$output" || {
  echo "expected 2 executions: $output"
  exit 1
}
