// Backing store that remembers only the pages that were written, and hands out stamped pages
// otherwise.
//
// Every page of every vnode of the stress world starts with a word that names its owner
// (page_stamp), so that whoever reads through a translation can tell whether the page is the one
// the address promises.
#ifndef HATCHECK_STRESS_SPARSE_BACKING_H_
#define HATCHECK_STRESS_SPARSE_BACKING_H_

#include <array>
#include <cstdint>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "platform/platform.h"
#include "vm/vnode_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// What a vnode has on its disk. Leaf.
inline constexpr LockClass kBackingLock{"backing", 61};

// First word of the page at byte offset `off` of vnode `id`. Never 0.
inline uint64_t page_stamp(uint64_t id, uint64_t off) {
  return (id + 1) << 44 ^ (off >> 12) ^ 0x5a;
}

class SparseBacking final : public VnodeBacking {
 public:
  SparseBacking(uint64_t vnode_id, uint64_t pagesize) : id_(vnode_id), pagesize_(pagesize) {}

  int read(uint64_t off, absl::Span<uint8_t> to) override;
  int write(uint64_t off, absl::Span<const uint8_t> from) override;
  // Without end, so that no page is beyond it.
  uint64_t size() override { return ~uint64_t{0} >> 1; }
  int resize(uint64_t) override { return 0; }

 private:
  struct Stripe {
    Stripe() : mutex(kBackingLock) {}
    Mutex mutex;
    absl::flat_hash_map<uint64_t, std::vector<uint8_t>> pages;  // by page number
  };
  static constexpr size_t kStripes = 8;

  // The stored page, or a fresh stamped one. The stripe's mutex held.
  std::vector<uint8_t> page_at(Stripe& stripe, uint64_t number);

  const uint64_t id_;
  const uint64_t pagesize_;
  std::array<Stripe, kStripes> stripes_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_SPARSE_BACKING_H_
