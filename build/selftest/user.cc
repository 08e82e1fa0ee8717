#include "build/selftest/user.h"

namespace selftest {
inline namespace HATCHECK_SELFTEST_NAMESPACE {

Counter count_up(int times) {
  Counter counter;
  for (int i = 0; i < times; ++i) counter.add(1);
  return counter;
}

}  // namespace HATCHECK_SELFTEST_NAMESPACE
}  // namespace selftest
