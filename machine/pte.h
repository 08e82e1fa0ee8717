// The x86-64 page-table entry: bits, masks and the few operations everybody needs.
//
// An entry is a plain 64-bit value; where it lives (an Atomic word of a frame) is PhysMem's
// business. The frame number always starts at bit 12, whatever page size the MmuGeometry has, so
// that a dump of a two-level toy machine reads like a dump of amd64.
//
// An entry above level 0 is either a pointer to the table one level down or, with PT_PAGESIZE set,
// a large page. Pointer entries carry PT_PTPBITS and allow everything: only leaf entries restrict.
//
// No locks, no state: every function is a pure function of its arguments.
#ifndef HATCHECK_MACHINE_PTE_H_
#define HATCHECK_MACHINE_PTE_H_

#include <cstdint>

#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

using pfn_t = uint64_t;
using x86pte_t = uint64_t;

inline constexpr pfn_t PFN_INVALID = ~pfn_t{0};

inline constexpr x86pte_t PT_VALID = 0x001;
inline constexpr x86pte_t PT_WRITABLE = 0x002;
inline constexpr x86pte_t PT_USER = 0x004;
inline constexpr x86pte_t PT_WRITETHRU = 0x008;
inline constexpr x86pte_t PT_NOCACHE = 0x010;
inline constexpr x86pte_t PT_REF = 0x020;
inline constexpr x86pte_t PT_MOD = 0x040;
inline constexpr x86pte_t PT_PAGESIZE = 0x080;  // above level 0
inline constexpr x86pte_t PT_PAT_4K = 0x080;    // at level 0: the same bit
inline constexpr x86pte_t PT_GLOBAL = 0x100;
inline constexpr x86pte_t PT_PAT_LARGE = 0x1000;
inline constexpr x86pte_t PT_NX = uint64_t{1} << 63;

// Bits the hardware ignores. As a field they are ordered: PT_SOFTWARE bits >= PT_NOSYNC mean that
// REF and MOD are not synced to the page, >= PT_NOCONSIST that the mapping is on no page's list
// either.
inline constexpr x86pte_t PT_SOFTWARE = 0xe00;
inline constexpr x86pte_t PT_NOSYNC = 0x200;
inline constexpr x86pte_t PT_NOCONSIST = 0x400;

// The address of a small page or a table; of a large page, whose bit 12 is PT_PAT_LARGE.
inline constexpr x86pte_t PT_PADDR = 0x000ffffffffff000;
inline constexpr x86pte_t PT_PADDR_LGPG = PT_PADDR & ~PT_PAT_LARGE;
inline constexpr int PT_PADDR_SHIFT = 12;

// Low bits of every pointer entry. PT_REF is set from the start: the hardware never has to write
// into a pointer entry, so software may change one with an exact compare-and-swap.
inline constexpr x86pte_t PT_PTPBITS = PT_VALID | PT_USER | PT_WRITABLE | PT_REF;

constexpr bool PTE_ISVALID(x86pte_t pte) { return (pte & PT_VALID) != 0; }

// A valid leaf: a page of the size that belongs to `level`.
constexpr bool PTE_ISPAGE(x86pte_t pte, int level) {
  return PTE_ISVALID(pte) && (level == 0 || (pte & PT_PAGESIZE) != 0);
}

// A valid pointer to a table of level - 1.
constexpr bool PTE_ISPTP(x86pte_t pte, int level) {
  return PTE_ISVALID(pte) && level > 0 && (pte & PT_PAGESIZE) == 0;
}

// Frame number of an entry found at `level`: the (first) frame of the page, or the table's frame.
constexpr pfn_t PTE2PFN(x86pte_t pte, int level) {
  const bool large = level > 0 && (pte & PT_PAGESIZE) != 0;
  return (pte & (large ? PT_PADDR_LGPG : PT_PADDR)) >> PT_PADDR_SHIFT;
}

// Base value of a leaf: address, PT_VALID, and PT_PAGESIZE above level 0. Everything else is or'ed
// in by the caller.
constexpr x86pte_t MAKEPTE(pfn_t pfn, int level) {
  return (pfn << PT_PADDR_SHIFT) | PT_VALID | (level > 0 ? PT_PAGESIZE : 0);
}

// Value of a pointer entry to the table in frame `pfn`.
constexpr x86pte_t MAKEPTP(pfn_t pfn) { return (pfn << PT_PADDR_SHIFT) | PT_PTPBITS; }

// Equal but for what the hardware sets by itself.
constexpr bool PTE_EQUIV(x86pte_t a, x86pte_t b) {
  return (a | PT_REF | PT_MOD) == (b | PT_REF | PT_MOD);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MACHINE_PTE_H_
