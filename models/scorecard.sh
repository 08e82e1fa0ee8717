#!/bin/bash
# The scorecard of this workspace, which it reads and builds: not that of Bazel's copy.
set -eu
cd "${BUILD_WORKSPACE_DIRECTORY:?run it by: bazel run //models:scorecard}"
exec python3 -B models/scorecard.py "$@"
