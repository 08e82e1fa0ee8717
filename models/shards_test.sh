#!/bin/bash
# shards_test.sh RUNNER SHARDS: what shards.py makes of the shards of a search.
set -u
. "$(dirname "$0")/expect.sh"
runner=$1
program=(python3 -B "$2")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

one=hment/three_threads_add_the_first_mapping
for index in 0 1 2; do
  TEST_TOTAL_SHARDS=3 TEST_SHARD_INDEX=$index "$runner" --scenario=$one \
    --json="$dir/$index" >/dev/null
done
expect "all shards are the whole" 0 "^$one: exhausted, 246 executions in 3 of 3 shards" "$dir"/[012]
expect "a missing shard is named" 3 "shards that are missing: 2\), [0-9]+ executions in 2 of 3" \
  "$dir"/[02]
expect "one that comes twice is refused" 2 "expected each shard of one search once" \
  "$dir"/[012] "$dir/1"
echo nothing >"$dir/bad"
expect "another file is refused" 2 "bad: expected what the explorer's runner writes" "$dir/bad"
expect "a file that is not there is named" 2 "cannot read .*none: No such file" "$dir/none"
expect "no file at all is refused" 2 "expected files that"

# with_edge SHARD HELD TAKEN BY_TRY: the shard's file, with one pair of locks only.
with_edge() {
  python3 - "$dir/$1" "$@" <<'EOF'
import json, sys
path, _, held, taken, by_try = sys.argv[1:]
def lock(name, tried):
    return {"class": name, "number": 7, "at": "a.cc:1 (f)", "by_try": tried, "place": 0}
results = json.load(open(path))
edge = {"outer": lock(held, False), "inner": lock(taken, by_try == "tried")}
results[0]["lock_edges"] = [edge] if held != "none" else []
json.dump(results, open(path, "w"))
EOF
}
with_edge 0 a b waited
with_edge 1 b c waited
with_edge 2 none none none
expect "an order that all keep is none" 0 "exhausted" "$dir"/[012]
with_edge 2 c a waited
expect "what closes a circle is a violation" 1 "violated \(possible circular locking" "$dir"/[012]
expect "with the places" 1 "a\[7\] is taken at a.cc:1" "$dir"/[012]
with_edge 2 c a tried
expect "who tries does not wait" 0 "exhausted" "$dir"/[012]

exit "$failed"
