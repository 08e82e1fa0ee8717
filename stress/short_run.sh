#!/bin/bash
# short_run.sh HATSTRESS [FLAG...]: two seconds of a workload, with frequent audits. Each run
# draws a seed of its own and prints it; the evidence of a failure goes where Bazel collects it.
exec "$1" "${@:2}" --duration=2s --audit_interval=1s \
  --evidence="${TEST_UNDECLARED_OUTPUTS_DIR:-.}/evidence"
