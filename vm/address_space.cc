// See vm/address_space.h.
#include "vm/address_space.h"

#include <algorithm>
#include <iterator>

namespace hatcheck::inline HATCHECK_BACKEND {

namespace {

using Segments = std::map<uintptr_t, seg_t>;

// The first segment that ends after addr.
Segments::const_iterator first_after(const Segments& segments, uintptr_t addr) {
  auto it = segments.upper_bound(addr);
  if (it != segments.begin() && std::prev(it)->second.contains(addr)) --it;
  return it;
}

}  // namespace

bool as_addseg(as_t* as, const seg_t& seg) {
  HAT_ASSERT(AS_WRITE_HELD(as));
  // A segment may end at the very top of the address space, where end() is 0.
  const uintptr_t last = seg.s_base + (seg.s_size - 1);
  if (seg.s_size == 0 || last < seg.s_base) return false;
  const auto it = first_after(as->a_segments, seg.s_base);
  if (it != as->a_segments.end() && it->second.s_base <= last) return false;
  as->a_segments.emplace(seg.s_base, seg);
  return true;
}

const seg_t* as_findseg(const as_t* as, uintptr_t addr) {
  HAT_ASSERT(AS_LOCK_HELD(as));
  const auto it = first_after(as->a_segments, addr);
  return it == as->a_segments.end() ? nullptr : &it->second;
}

const seg_t* as_segat(const as_t* as, uintptr_t addr) {
  const seg_t* seg = as_findseg(as, addr);
  return seg != nullptr && seg->contains(addr) ? seg : nullptr;
}

bool as_split(as_t* as, uintptr_t addr) {
  HAT_ASSERT(AS_WRITE_HELD(as));
  auto it = as->a_segments.upper_bound(addr);
  if (it == as->a_segments.begin()) return false;
  seg_t& low = std::prev(it)->second;
  if (!low.contains(addr)) return false;
  if (low.s_base == addr) return true;
  seg_t high = low;
  high.s_base = addr;
  high.s_size = low.s_size - (addr - low.s_base);
  high.s_offset = low.offset_of(addr);
  low.s_size = addr - low.s_base;
  as->a_segments.emplace_hint(it, addr, high);
  return true;
}

uint64_t as_unmap(as_t* as, uintptr_t base, uint64_t size) {
  as_split(as, base);
  as_split(as, base + size);
  uint64_t covered = 0;
  auto it = as->a_segments.lower_bound(base);
  while (it != as->a_segments.end() && it->first - base < size) {
    covered += it->second.s_size;
    it = as->a_segments.erase(it);
  }
  return covered;
}

bool as_setprot(as_t* as, uintptr_t base, uint64_t size, uint32_t prot) {
  as_split(as, base);
  as_split(as, base + size);
  uint64_t covered = 0;
  for (auto it = as->a_segments.lower_bound(base);
       it != as->a_segments.end() && it->first - base < size; ++it) {
    it->second.s_prot = prot;
    covered += it->second.s_size;
  }
  return covered == size;
}

uintptr_t as_gap(const as_t* as, uint64_t size, uint64_t align, uintptr_t from, uintptr_t limit) {
  HAT_ASSERT(AS_LOCK_HELD(as));
  uintptr_t at = (from + align - 1) & ~(align - 1);
  for (;;) {
    if (at < from || at > limit || limit - at < size) return 0;
    const seg_t* seg = as_findseg(as, at);
    if (seg == nullptr || (seg->s_base >= at && seg->s_base - at >= size)) return at;
    from = seg->end();
    if (from <= at) return 0;  // the segment reaches the top of the address space
    at = (from + align - 1) & ~(align - 1);
  }
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
