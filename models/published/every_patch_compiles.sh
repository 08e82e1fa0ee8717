#!/bin/bash
# The patched libraries are data of this test, so it runs only if every patch applied and every
# patched file compiled. Here it checks that it was given one for each patch.
set -euo pipefail
patches=$(find -L . -path '*/models/published/*.patch' | wc -l)
libraries=$(find -L . -path '*/models/published/*' -name 'lib*_explorer.*' | wc -l)
echo "$patches patches, $libraries patched libraries"
[[ "$patches" -gt 0 && "$patches" -eq "$libraries" ]]
