// LockClass: the name of a family of locks and its place in the documented lock order.
//
// Every Mutex and RwLock belongs to a class and has an instance number in it ("mlist[3]").
// Classes are constexpr objects at namespace scope:
//
//   inline constexpr LockClass kMlist{"mlist", 20};
//
// Precondition: `place` is 0 to 63 and no two classes share one; the observed build checks it.
// Lock places: a thread takes locks in the order of growing places (outer small, inner large); a
// lock with a smaller place than one already held may only be taken with tryenter. Two locks of one
// class are never held together unless the class says in which order (Nests). LockOrder
// (lock_order.h) checks all of it. This header is independent of the backend.
#ifndef HATCHECK_PLATFORM_LOCK_CLASS_H_
#define HATCHECK_PLATFORM_LOCK_CLASS_H_

#include <cstdint>
#include <string>

namespace hatcheck {

// Whether a thread may hold two locks of the class, and which it takes first.
enum class Nests : uint8_t { kNever, kLargerNumberFirst };

struct LockClass {
  const char* name;
  int place;
  Nests nests = Nests::kNever;
};

inline constexpr int kMaxLockClasses = 64;

// "mlist[3]"
inline std::string lock_name(const LockClass* lock_class, uint32_t instance) {
  if (lock_class == nullptr) return "?";
  return std::string(lock_class->name) + "[" + std::to_string(instance) + "]";
}

}  // namespace hatcheck

#endif  // HATCHECK_PLATFORM_LOCK_CLASS_H_
