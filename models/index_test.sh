#!/bin/bash
# index_test.sh RUNNER INDEX README: the README lists the scenarios that there are.
set -eu
"$1" --list >"$TEST_TMPDIR/list"
exec python3 -B "$2" --check --list="$TEST_TMPDIR/list" "$3"
