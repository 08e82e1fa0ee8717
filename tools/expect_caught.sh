#!/bin/bash
# expect_caught.sh PROGRAM EXIT_CODE REGEX [ARGUMENT...]
#
# Runs PROGRAM with the arguments and succeeds if it ends with EXIT_CODE and a line of its output
# matches REGEX: the planted fault was caught, under the right name.
set -u

program=$1 want=$2 regex=$3
shift 3

log="${TEST_TMPDIR:-/tmp}/expect_caught.$$.log"
trap 'rm -f "$log"' EXIT

[[ "$program" == */* ]] || program="./$program"
"$program" "$@" >"$log" 2>&1
code=$?

show() {
  echo "  command: $program $*"
  echo "  expected: exit code $want and a line matching: $regex"
  echo "  exit code: $code; last lines of its output:"
  tail -n 40 "$log" | sed 's/^/  | /'
}

if [[ "$code" -eq 0 && "$want" -ne 0 ]]; then
  echo "FAIL: the planted fault was NOT caught: the program ended with exit code 0"
  show "$@"
  exit 1
fi
if [[ "$code" -ne "$want" ]]; then
  echo "FAIL: the planted fault was NOT caught as expected: wrong exit code"
  show "$@"
  exit 1
fi
line=$(grep -E -m 1 -e "$regex" "$log")
case $? in
  0) echo "caught: $line" ;;
  1)
    echo "FAIL: the planted fault was NOT caught under the expected name"
    show "$@"
    exit 1
    ;;
  *)
    echo "FAIL: not a regular expression: $regex"
    exit 1
    ;;
esac
