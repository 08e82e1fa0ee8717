#!/bin/bash
# every_subject_has_a_test.sh RUNNER SUBJECT...: every scenario belongs to one of the subjects, and
# every subject has a scenario.
set -euo pipefail
runner=$1
shift
found=$("$runner" --list | sed -n 's|^\([a-z0-9_]*\)/[a-z0-9_]* .*|\1|p' | sort -u)
wanted=$(printf '%s\n' "$@" | sort -u)
if [[ "$found" != "$wanted" ]]; then
  echo "FAIL: the subjects of models/BUILD.bazel (left) are not those of the scenarios (right):"
  diff <(echo "$wanted") <(echo "$found")
  exit 1
fi
