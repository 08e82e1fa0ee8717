#include "build/selftest/counter.h"

namespace selftest {
inline namespace HATCHECK_SELFTEST_NAMESPACE {

void Counter::add(int n) { total_ += n; }

int Counter::total() const { return total_; }

}  // namespace HATCHECK_SELFTEST_NAMESPACE
}  // namespace selftest
