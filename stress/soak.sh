#!/bin/bash
# soak.sh HATSTRESS [FLAG...]: a minute of a workload with 8 threads, then one with 64. Each draws a
# seed of its own and prints it.
set -euo pipefail
evidence="${TEST_UNDECLARED_OUTPUTS_DIR:-.}/evidence"
"$1" "${@:2}" --duration=60s --threads=8 --evidence="$evidence"
"$1" "${@:2}" --duration=60s --threads=64 --evidence="$evidence"
