#!/bin/bash
# long_search_test.sh RUNNER: searches that are kept, resumed, killed and shared, from the command
# line of the explorer's runner.
set -u
. "$(dirname "$0")/expect.sh"
runner=$1
program=("$runner")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

one=hment/three_threads_add_the_first_mapping
expect "a search says what it took" 0 \
  "^$one: exhausted, 246 executions, 0 cut short, [0-9]+ events, longest [0-9]+, " --scenario=$one
expect "several processes find the same" 0 "^$one: exhausted, 246 executions, " \
  --scenario=$one --jobs=2
expect "a bounded search is kept" 3 "bounded \(by 100 executions\)" \
  --scenario=$one --executions=100 --checkpoint="$dir/kept"
expect "a bounded search says how large the whole seems" 3 \
  "the whole: about [1-9][0-9]{2} executions" \
  --scenario=$one --executions=100
expect "what is there is not written over" 2 "kept exists already: go on from it with --resume" \
  --scenario=$one --checkpoint="$dir/kept"
expect "a checkpoint of another scenario is refused" 2 "its scenario is $one, here it is" \
  --scenario=hment/two_threads_add_the_first_mapping --resume="$dir/kept"
expect "a checkpoint of another search is refused" 2 "its search is dpor, here it is bound" \
  --scenario=$one --search=bound --resume="$dir/kept"
expect "a kept search ends as an uninterrupted one" 0 "exhausted, 246 executions, 0 cut short" \
  --scenario=$one --resume="$dir/kept"
head -c 300 "$dir/kept" >"$dir/damaged"
expect "a damaged checkpoint is refused" 2 "is damaged" --scenario=$one --resume="$dir/damaged"
expect "a missing checkpoint is named" 2 "cannot read the checkpoint $dir/missing" \
  --scenario=$one --resume="$dir/missing"
expect "a place that cannot be written is named" 2 "cannot write the checkpoint" \
  --scenario=$one --checkpoint=/proc/no/such/place
expect "a checkpoint is of one scenario" 2 "expected one --scenario" \
  --scenario=hment/ --checkpoint="$dir/several"
expect "no processes are refused" 2 "expected a number of processes, 1 to" \
  --scenario=$one --jobs=0
expect "--resume and another --checkpoint are refused" 2 "expected no other --checkpoint" \
  --resume="$dir/kept" --checkpoint="$dir/other"

# The shards of Bazel's protocol: each says what it covers, together they have every execution.
# As 4 does not divide 246, one of them 4 times is not the whole.
sum=0
for index in 0 1 2 3; do
  output=$(TEST_TOTAL_SHARDS=4 TEST_SHARD_INDEX=$index TEST_SHARD_STATUS_FILE="$dir/status$index" \
    "$runner" --scenario=$one)
  executions=$(sed -n 's/.*exhausted, \([0-9]*\) executions.*/\1/p' <<<"$output")
  if ! grep -q "covered: shard $((index + 1)) of 4: [0-9]* of [0-9]* parts" <<<"$output" ||
    [[ ! -f "$dir/status$index" || "${executions:-246}" == 246 ]]; then
    fail "shard $index of 4: $output"
  fi
  sum=$((sum + ${executions:-0}))
done
if [[ "$sum" != 246 ]]; then
  fail "the shards have $sum executions, not 246"
fi
export TEST_TOTAL_SHARDS=4 TEST_SHARD_INDEX=4
expect "a shard that is none is refused" 2 "expected a number of shards" --scenario=$one
unset TEST_TOTAL_SHARDS TEST_SHARD_INDEX

# Killed in mid-search, once it has written its checkpoint anew.
long=hment/two_threads_promote_an_embedded_mapping
whole=$("$runner" --scenario=$long --search=bound --preemptions=2 --json=- |
  sed -n 's/^ *"\(executions\|cut_short\|events\)": /\1 /p')
"$runner" --scenario=$long --search=bound --preemptions=2 --checkpoint="$dir/killed" \
  --checkpoint_every=1ms >/dev/null 2>&1 &
process=$!
first=
while kill -0 $process 2>/dev/null; do
  now=$(stat -c %i "$dir/killed" 2>/dev/null) || continue
  first=${first:-$now}
  [[ "$now" == "$first" ]] && continue
  kill -9 $process
  break
done
wait $process
if [[ $? != 137 ]]; then
  fail "the search ended before it could be killed"
fi
kept=$("$runner" --scenario=$long --search=bound --preemptions=2 --resume="$dir/killed" \
  --executions=1 | sed -n 's/.*bounded (by 1 executions), \([0-9]*\) executions.*/\1/p')
if [[ "${kept:-0}" -lt 2 ]]; then
  fail "killed: nothing was kept of the search, it has ${kept:-no} executions"
fi
resumed=$("$runner" --scenario=$long --search=bound --preemptions=2 --resume="$dir/killed" \
  --json=- |
  sed -n 's/^ *"\(executions\|cut_short\|events\)": /\1 /p')
if [[ "$resumed" != "$whole" || -z "$whole" ]]; then
  fail "killed and resumed: expected '$whole', got '$resumed'"
fi

exit "$failed"
