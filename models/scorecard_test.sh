#!/bin/bash
# Unit tests of scorecard.py, in the folder that has the tables as data.
set -eu
exec python3 -B models/scorecard_test.py -v
