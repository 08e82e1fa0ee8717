// check --times=N [TEXT]: counts to N; ends with 1 and names the invariant if the total is wrong.

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "build/selftest/user.h"

int main(int argc, char** argv) {
  constexpr char kTimes[] = "--times=";
  if (argc < 2 || std::strncmp(argv[1], kTimes, std::strlen(kTimes)) != 0) return 2;
  const int times = std::atoi(argv[1] + std::strlen(kTimes));
  const selftest::Counter counter = selftest::count_up(times);
  const std::string name = counter.name();
  if (counter.total() == times) {
    std::printf("%s: %d of %d\n", name.c_str(), counter.total(), times);
    return 0;
  }
  std::printf("invariant total violated, %s: %d of %d (%s)\n", name.c_str(), counter.total(), times,
              argc > 2 ? argv[2] : "");
  return 1;
}
