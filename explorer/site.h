// Site: the place in the source that performed an operation, and Name: what a lock is called.
//
// Every operation takes a defaulted Site, so reports name the caller's line. The strings are
// literals of the compiler. clang 14 with libstdc++ 12 has no std::source_location, g++ 12 no
// __builtin_COLUMN: the column comes from whichever there is.
#ifndef HATCHECK_EXPLORER_SITE_H_
#define HATCHECK_EXPLORER_SITE_H_

#include <cstdint>
#include <string>
#ifdef __clang__
#define EXPLORER_COLUMN __builtin_COLUMN()
#else
#include <source_location>
#define EXPLORER_COLUMN static_cast<int>(std::source_location::current().column())
#endif

namespace explorer {

struct Site {
  const char* file = "";
  const char* function = "";
  int line = 0;
  // From 1, 0 if unknown. Of a call: of its parenthesis (g++), or of where its expression begins
  // (clang).
  int column = 0;

  static constexpr Site here(const char* file = __builtin_FILE(),
                             const char* function = __builtin_FUNCTION(),
                             int line = __builtin_LINE(), int column = EXPLORER_COLUMN) {
    return Site{file, function, line, column};
  }
};

#undef EXPLORER_COLUMN

// "queue.cc:12 (push)"
inline std::string to_string(const Site& site) {
  return std::string(site.file) + ":" + std::to_string(site.line) + " (" + site.function + ")";
}

// A family of objects and the number in it: "mlist[3]"; kNoNumber for an object without siblings,
// kNextNumber for one that is numbered in the order in which they are described.
struct Name {
  static constexpr uint32_t kNoNumber = ~0u;
  static constexpr uint32_t kNextNumber = ~0u - 1;

  const char* family = "";
  uint32_t number = kNoNumber;
};

inline std::string to_string(const Name& name) {
  std::string text = name.family;
  if (name.number != Name::kNoNumber) text += "[" + std::to_string(name.number) + "]";
  return text;
}

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_SITE_H_
