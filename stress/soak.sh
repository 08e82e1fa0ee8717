#!/bin/bash
# soak.sh HATSTRESS THREADS [FLAG...]: a minute of a workload with so many threads, then one with
# 64. Each draws a seed of its own and prints it.
set -euo pipefail
evidence="${TEST_UNDECLARED_OUTPUTS_DIR:-.}/evidence"
for threads in "$2" 64; do
  "$1" "${@:3}" --duration=60s --threads="$threads" --evidence="$evidence"
done
