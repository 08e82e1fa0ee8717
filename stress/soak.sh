#!/bin/bash
# soak.sh HATSTRESS [FLAG...]: a minute of a workload with a seed of its own, with 8 threads and then
# with 64.
set -euo pipefail
evidence="${TEST_UNDECLARED_OUTPUTS_DIR:-.}/evidence"
"$1" "${@:2}" --duration=60s --threads=8 --evidence="$evidence"
"$1" "${@:2}" --duration=60s --threads=64 --evidence="$evidence"
