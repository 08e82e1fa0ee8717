#!/bin/bash
# To be sourced by a test of a program's command line.
#
#   expect NAME CODE REGEX PROGRAM ARGUMENT...   it ends with the code, and a line matches
#   fail WHAT
#   exit "$failed"                               at the end
#
# With program=(PROGRAM ARGUMENT...) that is what every command begins with.
failed=0
program=()

fail() {
  echo "FAILED: $1"
  failed=1
}

expect() {
  local name=$1 code=$2 regex=$3 output got
  shift 3
  output=$("${program[@]}" "$@" 2>&1)
  got=$?
  if [[ "$got" != "$code" ]] || ! grep -qE -e "$regex" <<<"$output"; then
    fail "$name: expected exit code $code and a line like '$regex', got $got:"
    sed 's/^/  | /' <<<"$output"
  fi
}
