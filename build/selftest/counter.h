#ifndef HATCHECK_BUILD_SELFTEST_COUNTER_H_
#define HATCHECK_BUILD_SELFTEST_COUNTER_H_

#include <string>

#include "build/selftest/fake_platform.h"

namespace selftest {
inline namespace HATCHECK_SELFTEST_NAMESPACE {

class Counter {
 public:
  void add(int n);
  int total() const;
  std::string name() const;  // in a file of its own: the patched library leaves it alone

 private:
  int total_ = 0;
};

}  // namespace HATCHECK_SELFTEST_NAMESPACE
}  // namespace selftest

#endif  // HATCHECK_BUILD_SELFTEST_COUNTER_H_
