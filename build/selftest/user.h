#ifndef HATCHECK_BUILD_SELFTEST_USER_H_
#define HATCHECK_BUILD_SELFTEST_USER_H_

#include "build/selftest/counter.h"

namespace selftest {
inline namespace HATCHECK_SELFTEST_NAMESPACE {

// Adds one, `times` times.
Counter count_up(int times);

}  // namespace HATCHECK_SELFTEST_NAMESPACE
}  // namespace selftest

#endif  // HATCHECK_BUILD_SELFTEST_USER_H_
