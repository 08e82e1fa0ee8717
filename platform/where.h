// Where: the place in the source that performed an operation of the seam, and CpuId: on which CPU.
//
// Every operation takes a defaulted `Where`, so a report names the line of hat/ or vm/ that called
// it and not a line of platform/. clang 14 with libstdc++ 12 has no std::source_location, g++ 12 no
// __builtin_COLUMN: the column comes from whichever there is.
//
// The strings are literals of the compiler: a Where can be copied and kept for ever. This header
// is independent of the backend.
#ifndef HATCHECK_PLATFORM_WHERE_H_
#define HATCHECK_PLATFORM_WHERE_H_

#include <cstdint>
#include <string>
#ifdef __clang__
#define HATCHECK_COLUMN __builtin_COLUMN()
#else
#include <source_location>
#define HATCHECK_COLUMN static_cast<int>(std::source_location::current().column())
#endif

namespace hatcheck {

struct Where {
  const char* file = "";
  const char* function = "";
  int line = 0;
  int column = 0;  // from 1, 0 if unknown

  // The place of the call. As the default argument of another function it is the place where that
  // function is called.
  static constexpr Where here(const char* file = __builtin_FILE(),
                              const char* function = __builtin_FUNCTION(),
                              int line = __builtin_LINE(), int column = HATCHECK_COLUMN) {
    return Where{file, function, line, column};
  }
};

#undef HATCHECK_COLUMN

// "hat/hment.cc:120 (hment_insert)"
inline std::string to_string(const Where& where) {
  return std::string(where.file) + ":" + std::to_string(where.line) + " (" + where.function + ")";
}

// A virtual CPU. One thread runs on a CPU at a time and never migrates, so this is also the index
// of the thread.
using CpuId = uint32_t;

}  // namespace hatcheck

#endif  // HATCHECK_PLATFORM_WHERE_H_
