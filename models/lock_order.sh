#!/bin/bash
# lock_order.sh EXPLORER HATSTRESS SCRIPT HEADER... -- [FLAG...]: the order of locks of this
# workspace. With --update its docs/ are written, not those of Bazel's copy.
set -eu
explorer=$PWD/$1 hatstress=$PWD/$2 script=$PWD/$3
shift 3
headers=()
while [[ $# -gt 0 && "$1" == *.h ]]; do
  headers+=("$PWD/$1")
  shift
done
docs=${BUILD_WORKSPACE_DIRECTORY:?run it by: bazel run //models:lock_order}/docs
exec python3 -B "$script" --doc="$docs/lock-order.md" --svg="$docs/lock-order.svg" \
  --explorer="$explorer" --hatstress="$hatstress" "$@" --headers "${headers[@]}"
