#!/bin/bash
# run_check.sh NAME: runs tools/NAME.py on the workspace that this file really lies in.
set -euo pipefail
tools=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
exec python3 -B "$tools/$1.py" --root="$(dirname "$tools")"
