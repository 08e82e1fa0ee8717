#include "absl/strings/str_cat.h"
#include "build/selftest/counter.h"

namespace selftest {
inline namespace HATCHECK_SELFTEST_NAMESPACE {

std::string Counter::name() const { return absl::StrCat("counter on ", HATCHECK_SELFTEST_BACKEND); }

}  // namespace HATCHECK_SELFTEST_NAMESPACE
}  // namespace selftest
