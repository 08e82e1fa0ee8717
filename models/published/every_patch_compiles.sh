#!/bin/bash
# The libraries are data of this test: it runs only if every patch applied and every patched file compiled.
set -euo pipefail
count=$(find -L . -path '*models/published*' -name '*_observed.*' | wc -l)
echo "$count patched libraries built"
[[ "$count" -gt 0 ]]
