// Physical memory: numbered frames of 64-bit words, some of them page tables.
//
// Thread safety: any thread may use any word at any time; words are Atomic, because hardware
// walkers and software meet in page tables with no lock between them, and because memory itself has
// none.
//
// Each frame has a kind and a life. The kind says what the frame may be used for:
//
//   kFree   nobody's: no translation may lead here
//   kData   page contents: translations of any privilege may lead here
//   kTable  a page table: the walker may read it, only kernel translations may lead here
//
// Who owns a frame (the page layer, the page-table allocator) sets its kind; owning is exclusive,
// so set_kind calls on one frame never overlap. Every set_kind begins a new life of the frame, also
// when the kind stays what it was: the owner thereby declares that no translation cached before is
// left anywhere. The simulated CPUs remember the life they saw when they cached a translation and
// panic when they use it in a later one (walker.h), so a stale entry is noticed even if the frame
// has been given out again for the same purpose.
//
// Invariants:
//   F1  A new PhysMem is all zeroes, and every frame is kFree in life 0.
//   F2  On real threads, memory is spent on frames that have been touched, not on frames that exist
//       (zero_array.h).
//
// No locks.
#ifndef HATCHECK_MACHINE_FRAMES_H_
#define HATCHECK_MACHINE_FRAMES_H_

#include <cstdint>

#include "absl/types/span.h"
#include "machine/pte.h"
#include "machine/zero_array.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

enum class FrameKind : uint8_t { kFree, kData, kTable };

// "free", "data", "table".
const char* frame_kind_name(FrameKind kind);

// A kind together with the number of set_kind calls so far.
class FrameLife {
 public:
  constexpr FrameLife() = default;
  constexpr explicit FrameLife(uint32_t packed) : packed_(packed) {}

  constexpr FrameKind kind() const { return static_cast<FrameKind>(packed_ & kKindMask); }
  constexpr uint32_t packed() const { return packed_; }
  constexpr FrameLife next(FrameKind kind) const {
    return FrameLife((packed_ & ~kKindMask) + kKindMask + 1 + static_cast<uint32_t>(kind));
  }
  friend constexpr bool operator==(FrameLife a, FrameLife b) = default;

 private:
  static constexpr uint32_t kKindMask = 3;
  uint32_t packed_ = 0;
};

class PhysMem {
 public:
  PhysMem(pfn_t nframes, int words_per_frame);
  PhysMem(const PhysMem&) = delete;
  PhysMem& operator=(const PhysMem&) = delete;

  pfn_t size() const { return nframes_; }
  int words_per_frame() const { return words_per_frame_; }
  uint32_t frame_bytes() const { return static_cast<uint32_t>(words_per_frame_) * 8; }

  // Word `index` of a frame. Panics if there is no such word.
  Atomic<uint64_t>& word(pfn_t pfn, uint32_t index) {
    if (pfn >= nframes_ || index >= static_cast<uint32_t>(words_per_frame_)) {
      no_such_word(pfn, index);
    }
    return words_[pfn * static_cast<uint32_t>(words_per_frame_) + index];
  }

  // Whole frames, word by word: others may see a part done.
  void zero(pfn_t pfn);
  void copy(pfn_t from, pfn_t to);

  // Bytes [offset, offset + size) of one frame, little-endian within words. Neighbouring bytes of a
  // partly written word keep whatever another thread writes to them meanwhile.
  void read_bytes(pfn_t pfn, uint32_t offset, absl::Span<uint8_t> to);
  void write_bytes(pfn_t pfn, uint32_t offset, absl::Span<const uint8_t> from);

  // REQUIRES: the caller owns the frame, and no CPU caches a translation to it.
  void set_kind(pfn_t pfn, FrameKind kind);
  FrameKind kind(pfn_t pfn) const { return life(pfn).kind(); }

  FrameLife life(pfn_t pfn) const {
    if (pfn >= nframes_) {
      no_such_word(pfn, 0);
    }
    // Acquire, to pair with set_kind: a walker that read a PTE made after set_kind sees that kind.
    return FrameLife(lives_[pfn].load(std::memory_order_acquire));
  }

 private:
  [[noreturn]] void no_such_word(pfn_t pfn, uint32_t index) const;

  const pfn_t nframes_;
  const int words_per_frame_;
  ZeroArray<uint64_t> words_;
  ZeroArray<uint32_t> lives_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MACHINE_FRAMES_H_
