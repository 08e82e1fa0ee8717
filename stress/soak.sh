#!/bin/bash
# soak.sh HATSTRESS [FLAG...]: a minute of a workload with many threads and a seed of its own, first as it
# is and then with 64 threads.
set -euo pipefail
evidence="${TEST_UNDECLARED_OUTPUTS_DIR:-.}/evidence"
"$1" "${@:2}" --duration=60s --threads=8 --evidence="$evidence"
"$1" "${@:2}" --duration=60s --threads=64 --evidence="$evidence"
