#!/bin/bash
# Runs scenarios on every model engine and writes the table of models/README.md.
#
#   models/update_index.sh [TIME [SCENARIOS]]
#
# TIME bounds each scenario's search, 60s by default; SCENARIOS are names or patterns as in
# --scenario, all by default. The rows of others stay.
set -eu
cd "$(dirname "$0")/.."
time=${1:-60s}
scenarios=${2:-}
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

arguments=()
for engine in relacy explorer; do
  bazel build "//models:$engine" || { echo "no engine $engine; its column is left out"; continue; }
  "bazel-bin/models/$engine" --list >"$results/list"
  # Exit code 3: some of them were bounded.
  "bazel-bin/models/$engine" --scenario="$scenarios" --keep_going --time="$time" \
    --executions=100000000 --json="$results/$engine.json" || [[ $? -eq 3 ]]
  arguments+=("--results=$results/$engine.json")
done
python3 -B models/index.py --list="$results/list" "${arguments[@]}" models/README.md
