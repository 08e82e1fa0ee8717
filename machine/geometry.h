// The shape of the page tables: how many levels, how many address bits each one resolves.
//
// The default is amd64: four levels of 512 entries, 4 KiB pages, 2 MiB large pages. A model uses
// something like {.num_level = 2, .bits_per_level = 1}: tables of two entries, 16-byte pages, six
// address bits. The rule that ties the sizes together is that a frame holds exactly one table of
// 8-byte entries, so a page is 8 << bits_per_level bytes.
//
// Addresses are canonical: the bits above va_bits() all equal bit va_bits() - 1. What is not
// canonical is the hole, [hole_start(), hole_end()), with an exclusive end: hole_end() is the first
// byte of the upper half. (The kernel's own constant names the last byte of the hole, yet was used
// as an exclusive end.)
//
// A value; no locks.
#ifndef HATCHECK_MACHINE_GEOMETRY_H_
#define HATCHECK_MACHINE_GEOMETRY_H_

#include <cstdint>

#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

static_assert(sizeof(uintptr_t) == 8, "simulated addresses are 64-bit");

struct MmuGeometry {
  int num_level = 4;
  int bits_per_level = 9;
  int max_page_level = 1;  // highest level that may hold a leaf

  // What the rest of this file, the TLB's tags and the PTE format can represent.
  constexpr bool valid() const {
    return num_level >= 1 && num_level <= 5 && bits_per_level >= 1 && bits_per_level <= 10 &&
           va_bits() < 64 && max_page_level >= 0 && max_page_level <= 3 &&
           max_page_level <= max_level();
  }

  constexpr int max_level() const { return num_level - 1; }
  constexpr uint32_t ptes_per_table() const { return uint32_t{1} << bits_per_level; }

  constexpr int page_shift() const { return bits_per_level + 3; }
  constexpr uintptr_t pagesize() const { return level_size(0); }
  constexpr int va_bits() const { return page_shift() + num_level * bits_per_level; }

  // What one entry at `level` covers. level_size(num_level) is the whole address range.
  constexpr int level_shift(int level) const { return page_shift() + level * bits_per_level; }
  constexpr uintptr_t level_size(int level) const { return uintptr_t{1} << level_shift(level); }
  constexpr uintptr_t level_offset(int level) const { return level_size(level) - 1; }
  constexpr uintptr_t level_mask(int level) const { return ~level_offset(level); }
  // Frames in a page of `level`.
  constexpr uint64_t level_frames(int level) const {
    return uint64_t{1} << (level * bits_per_level);
  }

  constexpr uintptr_t hole_start() const { return uintptr_t{1} << (va_bits() - 1); }
  constexpr uintptr_t hole_end() const { return ~hole_start() + 1; }
  constexpr bool in_va_hole(uintptr_t va) const { return va >= hole_start() && va < hole_end(); }

  // Which entry of a table of `level` translates va.
  constexpr uint32_t index(uintptr_t va, int level) const {
    return static_cast<uint32_t>(va >> level_shift(level)) & (ptes_per_table() - 1);
  }

  // First address of the kernel: illumos's on amd64, the upper half on any other shape.
  constexpr uintptr_t kernelbase() const {
    return num_level == 4 && bits_per_level == 9 ? uintptr_t{0xfffffd8000000000} : hole_end();
  }

  // First address that entry `entry` of a top table translates.
  constexpr uintptr_t top_entry_va(uint32_t entry) const {
    const uintptr_t low = uintptr_t{entry} << level_shift(max_level());
    return low < hole_start() ? low : low | hole_end();
  }
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MACHINE_GEOMETRY_H_
