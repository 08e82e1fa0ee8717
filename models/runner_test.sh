#!/bin/bash
# runner_test.sh RUNNER: the command line of a scenario runner.
set -u
. "$(dirname "$0")/expect.sh"
program=("$1")

one=hment/two_threads_add_the_first_mapping
expect "an exhausted search is clean" 0 "^$one: exhausted, [0-9]+ executions" --scenario="$one"
expect "a bounded search says by what" 3 "bounded \(by 5 executions\)" \
  --scenario="$one" --search=random --executions=5
expect "a preemption bound is named" 3 "bounded \(by 1 preemptions\)" \
  --scenario="$one" --search=bound --context_bound=1
expect "--iterations and dashes are understood" 3 "bounded \(by 4 executions\)" \
  --scenario="$one" --search=random --iterations=4 --max-steps=9999
expect "a pattern selects" 0 "^hment/two_pages_on_one_mlist: " --scenario='hment/*pages*'
expect "the beginning of a name selects" 0 "^$one: " --scenario=hment/two_threads_add
expect "commas separate several" 0 "^hment/mapcnt_during_promotion: " --scenario="$one,hment/mapcnt"
expect "an unknown scenario gets the nearest" 2 "nearest: $one" --scenario="${one}s"
expect "an unknown flag gets the nearest" 2 "nearest: --scenario" --scenaro=x
expect "an unknown search gets those there are" 2 \
  "expected one of dpor, bound, random, full; nearest: dpor" --search=dopr
expect "a search of another engine is refused" 2 "unknown search" --search=pct
expect "a bad number says what is expected" 2 "expected a number, 0 or more" --executions=many
expect "a bad duration says what is expected" 2 "expected a duration" --time=fast
expect "a replay needs its scenario" 2 "needs the --scenario" --replay=0x1
expect "a scenario that is not one word is refused" 2 "unexpected argument" "$one"
expect "--list names scenarios and claims" 0 "the first is embedded" --list
expect "--list names the searches" 0 "relacy: dpor \(the usual one\)" --list
expect "--help names the flags" 0 "--keep_going" --help
expect "a replayed execution is shown" 3 "enter mlist" --scenario="$one" --replay=0x5
expect "JSON carries the verdict" 0 '"verdict": "exhausted"' --scenario="$one" --json=-
export HATCHECK_SEARCH=random HATCHECK_EXECUTIONS=3
expect "the environment sets flags" 3 "bounded \(by 3 executions\)" --scenario="$one"
expect "the command line wins" 0 "exhausted" --scenario="$one" --search=dpor --executions=0
export HATCHECK_SEARCH=dopr
expect "bad flags in the environment are refused" 2 "unknown search" --scenario="$one"

exit "$failed"
