#!/bin/bash
# Runs the unit tests of the Python and shell tools.
set -euo pipefail
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"
exec python3 -B -m unittest -v tools_test patch_test
