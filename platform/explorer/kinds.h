// The engine's kinds of findings and the platform's: the same phrases, one by one.
#ifndef HATCHECK_PLATFORM_EXPLORER_KINDS_H_
#define HATCHECK_PLATFORM_EXPLORER_KINDS_H_

#include "explorer/finding.h"
#include "platform/explorer/backend.h"
#include "platform/verdict.h"

namespace hatcheck::inline HATCHECK_BACKEND {

inline explorer::Kind to_explorer(Kind kind) {
  for (int i = 0; i < explorer::kKinds; ++i) {
    if (explorer::phrase(static_cast<explorer::Kind>(i)) == phrase(kind)) {
      return static_cast<explorer::Kind>(i);
    }
  }
  return explorer::Kind::kCrash;
}

inline Kind to_platform(explorer::Kind kind) {
  return kind_of(explorer::phrase(kind)).value_or(Kind::kCrash);  // a stack overflow
}

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_EXPLORER_KINDS_H_
