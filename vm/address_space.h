// as_t: an address space. Which hat translates for it, and what its addresses mean.
//
// Segments are plain descriptions; who handles a fault (stress/) looks the address up here and asks
// the page layer and the HAT for the rest.
//
// Invariants:
//
//   1  segments do not overlap and are not empty
//   2  base and size are multiples of the page size of their s_szc's base page; the caller's duty,
//      since an as_t knows no geometry
//
// Locks: a_lock (place 1). Held as reader for looking, as writer for changing; asserted. The HAT
// wants it too for every call on a user hat.
#ifndef HATCHECK_VM_ADDRESS_SPACE_H_
#define HATCHECK_VM_ADDRESS_SPACE_H_

#include <cstdint>
#include <map>

#include "platform/platform.h"
#include "vm/locking.h"
#include "vm/vnode.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct hat_t;  // belongs to hat/

enum class SegType { kShared, kPrivate };

struct seg_t {
  uintptr_t s_base = 0;
  uint64_t s_size = 0;      // bytes
  uint32_t s_prot = 0;      // PROT_* bits
  vnode_t* s_vp = nullptr;  // nullptr: anonymous
  uint64_t s_offset = 0;    // of s_base in s_vp, bytes
  SegType s_type = SegType::kPrivate;
  int s_szc = 0;  // preferred page size code

  uintptr_t end() const { return s_base + s_size; }
  bool contains(uintptr_t addr) const { return addr >= s_base && addr - s_base < s_size; }
  // Offset in s_vp of an address inside.
  uint64_t offset_of(uintptr_t addr) const { return s_offset + (addr - s_base); }
};

struct as_t {
  explicit as_t(uint32_t instance = 0) : a_lock(kAsLock, instance) {}
  as_t(const as_t&) = delete;
  as_t& operator=(const as_t&) = delete;

  RwLock a_lock;
  hat_t* a_hat = nullptr;                 // a_lock; set when the address space is made
  std::map<uintptr_t, seg_t> a_segments;  // by s_base; a_lock
};

// Of the calling thread.
inline bool AS_READ_HELD(const as_t* as) { return as->a_lock.read_held(); }
inline bool AS_WRITE_HELD(const as_t* as) { return as->a_lock.write_held(); }
inline bool AS_LOCK_HELD(const as_t* as) { return AS_READ_HELD(as) || AS_WRITE_HELD(as); }

// Adds a segment. False, and nothing changed, if it is empty, wraps round or overlaps another.
// a_lock held as writer.
bool as_addseg(as_t* as, const seg_t& seg);

// The segment that contains addr, or nullptr. a_lock held; valid until the list changes.
const seg_t* as_segat(const as_t* as, uintptr_t addr);

// The first segment that ends after addr (it may begin after addr), or nullptr: with seg->end() as
// the next addr this iterates over all. a_lock held.
const seg_t* as_findseg(const as_t* as, uintptr_t addr);

// Splits the segment around addr into two at addr; nothing to do if a boundary is there. False if
// no segment contains addr. a_lock held as writer.
bool as_split(as_t* as, uintptr_t addr);

// Removes what lies in [base, base + size), splitting at its ends; calls nothing. a_lock held as
// writer. Returns the number of bytes that were covered by segments.
uint64_t as_unmap(as_t* as, uintptr_t base, uint64_t size);

// Gives what lies in [base, base + size) another protection, splitting at its ends. a_lock held as
// writer. False if part of the range is not covered; what is covered is changed nonetheless.
bool as_setprot(as_t* as, uintptr_t base, uint64_t size, uint32_t prot);

// The lowest hole of `size` bytes at or above `from`, aligned to `align` (a power of two), that
// ends at or below `limit`; 0 if there is none. a_lock held.
uintptr_t as_gap(const as_t* as, uint64_t size, uint64_t align, uintptr_t from, uintptr_t limit);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_ADDRESS_SPACE_H_
