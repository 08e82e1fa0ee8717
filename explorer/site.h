// Site: the place in the source that performed an operation, and Name: what a lock is called.
//
// Every operation takes a defaulted Site, so reports name the caller's line. The strings are
// literals of the compiler. std::source_location is not used: clang 14 with libstdc++ 12 lacks it.
#ifndef HATCHECK_EXPLORER_SITE_H_
#define HATCHECK_EXPLORER_SITE_H_

#include <cstdint>
#include <string>

namespace explorer {

struct Site {
  const char* file = "";
  const char* function = "";
  int line = 0;

  static constexpr Site here(const char* file = __builtin_FILE(),
                             const char* function = __builtin_FUNCTION(),
                             int line = __builtin_LINE()) {
    return Site{file, function, line};
  }
};

// "queue.cc:12 (push)"
inline std::string to_string(const Site& site) {
  return std::string(site.file) + ":" + std::to_string(site.line) + " (" + site.function + ")";
}

// A family of objects and the number in it: "mlist[3]"; kNoNumber for an object without siblings.
struct Name {
  static constexpr uint32_t kNoNumber = ~0u;

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
