#!/bin/bash
# every_patch_applies.sh MUTANTS.BZL...: Bazel has applied all patches to build this test's data;
# there is a row for each of them, and enough of them.
set -eu
folder=$(dirname "$1")
patches=0
for patch in "$folder"/*.patch; do
  name=$(basename "$patch" .patch)
  grep -q "^        \"$name\": (" "$@" || { echo "no row for $name in $*"; exit 1; }
  [[ -n "$(find "$folder/$name" -name '*.cc')" ]] || { echo "$name was not applied"; exit 1; }
  patches=$((patches + 1))
done
echo "$patches patches"
[[ "$patches" -ge 80 ]]
