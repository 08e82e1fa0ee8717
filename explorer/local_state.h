// CAPTURE_LOCAL_STATE(thread): notes a fingerprint of everything local to the calling code, that is
// its stack and the registers that survive calls.
//
// Two equal fingerprints at the same operation mean that the code between them has changed nothing
// of its own: a loop around it that found the same values would go round for ever. To be used at
// the top of an Engine function that scenario code calls, and nowhere else: the prologue of that
// function saves the registers just below its frame address.
#ifndef HATCHECK_EXPLORER_LOCAL_STATE_H_
#define HATCHECK_EXPLORER_LOCAL_STATE_H_

#include <cstdint>
#include <cstring>

namespace explorer {

inline constexpr uintptr_t kSavedRegisterBytes = 5 * sizeof(void*);

inline uint64_t fingerprint(uintptr_t from, uintptr_t to) {
  uint64_t hash = to - from;
  for (; from + sizeof(uint64_t) <= to; from += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, reinterpret_cast<const void*>(from), sizeof(word));
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
  }
  return hash;
}

}  // namespace explorer

#define CAPTURE_LOCAL_STATE(thread)                                                              \
  do {                                                                                           \
    asm volatile("" ::: "rbx", "r12", "r13", "r14", "r15");                                      \
    if (watch_states_) {                                                                         \
      note_state((thread),                                                                       \
                 reinterpret_cast<uintptr_t>(__builtin_frame_address(0)) - kSavedRegisterBytes); \
    }                                                                                            \
  } while (false)

#endif  // HATCHECK_EXPLORER_LOCAL_STATE_H_
