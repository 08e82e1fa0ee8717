#!/bin/bash
# page_flag_test.sh EXPLORER RELACY: --html of the scenario runner.
set -u
. "$(dirname "$0")/expect.sh"
explorer=$PWD/$1
relacy=$PWD/$2

clean=hment/two_threads_add_the_first_mapping
violated=segmap/release_to_another_list_published
page=$TEST_TMPDIR/page.html

expect "a file that cannot be written ends the run before it starts" 2 \
  '^[^ ]*: --html: cannot write /no/such/folder/x.html .*expected a file in a folder that exists' \
  "$explorer" --scenario="$clean" --html=/no/such/folder/x.html
expect "an engine without pages says which has them" 2 "makes no pages; explorer does" \
  "$relacy" --scenario="$clean" --html="$page"
expect "without a violation there is no page" 0 "not written, as there is no violation" \
  "$explorer" --scenario="$clean" --html="$page"
[[ ! -e "$page" ]] || fail "a page was written without a violation"
expect "a violation becomes a page" 0 "page.html: written" \
  "$explorer" --scenario="$violated" --html="$page"
grep -q "<title>$violated: lost wake-up</title>" "$page" || fail "no page of the lost wake-up"
expect "a replay becomes a page" 3 "page.html: written" \
  "$explorer" --scenario="$clean" --replay=a --html="$page"
expect "a replay is shown" 3 "enter mlist" "$explorer" --scenario="$clean" --replay=a
cd "$TEST_TMPDIR" && mkdir -p here elsewhere && cd elsewhere
expect "a relative path is where bazel run was called" 0 "here/x.html: written" \
  env BUILD_WORKING_DIRECTORY="$TEST_TMPDIR/here" "$explorer" --scenario="$violated" \
  --html=x.html

export TEST_UNDECLARED_OUTPUTS_DIR=$TEST_TMPDIR/outputs
mkdir "$TEST_UNDECLARED_OUTPUTS_DIR"
"$explorer" --scenario="$violated" --test >/dev/null
[[ -z "$(ls "$TEST_UNDECLARED_OUTPUTS_DIR")" ]] || fail "a violation that is expected left a page"

exit "$failed"
