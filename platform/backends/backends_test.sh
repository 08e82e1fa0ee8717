#!/bin/sh
# platform.h compiles for exactly one backend, every header compiles on its own, and objects of two
# backends do not link. Run in the root of the workspace, as Bazel does.
set -u
failed=0

compile() {
  "${CXX:-g++}" -std=c++20 -Wall -Wextra -Werror -I. -fsyntax-only -x c++ "$@" -
}

fail() {
  echo "FAILED: $1"
  failed=1
}

for defines in "" "-DHATCHECK_ON_THREADS -DHATCHECK_ON_RELACY" \
  "-DHATCHECK_ON_THREADS -DHATCHECK_ON_RELACY -DHATCHECK_ON_EXPLORER"; do
  # shellcheck disable=SC2086  # several defines
  if echo '#include "platform/platform.h"' | compile $defines 2>errors.txt; then
    fail "compiles with '$defines'"
  elif ! grep -q "define exactly one of" errors.txt; then
    fail "'$defines' is refused without the reason"
  fi
done

for header in platform/*.h; do
  case "$header" in
    # Part of platform.h; says so when included first.
    platform/check.h | platform/contract.h) continue ;;
  esac
  echo "#include \"$header\"" | compile -DHATCHECK_ON_THREADS || fail "$header"
done
echo '#include "platform/observe.h"' | compile -DHATCHECK_ON_THREADS -DHATCHECK_OBSERVE ||
  fail "observe.h in the observed build"

for header in platform/check.h platform/contract.h; do
  if echo "#include \"$header\"" | compile -DHATCHECK_ON_THREADS 2>errors.txt; then
    fail "$header compiles without platform.h"
  elif ! grep -q "include platform/platform.h" errors.txt; then
    fail "$header is refused without the reason"
  fi
done

# Guarded costs nothing, and the plain backend has no trace of the statistics.
cat >plain.cc <<'SOURCE'
#include "platform/platform.h"
using hatcheck::Guarded, hatcheck::Mutex, hatcheck::Atomic;
static_assert(sizeof(Guarded<char>) == 1 && sizeof(Atomic<char>) == 1);
void f(Mutex& mutex, Atomic<int>& word) {
  mutex.enter();
  word.fetch_add(1, std::memory_order_relaxed);
  mutex.exit();
}
SOURCE
"${CXX:-g++}" -std=c++20 -O2 -I. -DHATCHECK_ON_THREADS -S -o plain.s plain.cc || fail "plain.cc"
if grep -q stats_ plain.s; then fail "the plain backend calls statistics"; fi
if ! grep -q on_threads plain.s; then fail "the namespace of the backend is not in the symbols"; fi

rm -f plain.cc plain.s errors.txt
exit "$failed"
