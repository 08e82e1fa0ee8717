// How a PTE is taken away from the hardware: two published designs behind one policy.
//
//   captured   (pte_invalidation_captured.cc) the PTE is cleared inside a cross call while every
//              CPU that runs the hat is held; hat_switch_mutex keeps further ones from joining
//   shootdown  (pte_invalidation_shootdown.cc) the PTE is cleared by compare-and-swap, then the
//              CPUs that may have cached it are told; hat_switch takes no mutex
//
// With the captured design no first write through a clean TLB entry can fall between clear and
// flush; with the shootdown design it can, see hat-facts 3.14 and machine/ ModVariant::kBlindDirty.
#ifndef HATCHECK_HAT_PTE_INVALIDATION_H_
#define HATCHECK_HAT_PTE_INVALIDATION_H_

#include <memory>

#include "hat/hat_types.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct System;

class PteInvalidation {
 public:
  virtual ~PteInvalidation() = default;
  virtual const char* name() const = 0;

  // Clears the entry and flushes it from every TLB that may hold it; the work of x86pte_inval.
  // Entry: a hold on ht; may be called with mlist and htable mutexes held. expect: 0 for "whatever
  // is there", else the leaf that the caller saw: if another frame is mapped by now, or a page
  // table has taken the place of a large page, nothing is changed. Returns the value found.
  virtual x86pte_t invalidate(System& sys, htable_t* ht, uint32_t entry, x86pte_t expect,
                              Atomic<x86pte_t>& pte) = 0;

  // True if hat_switch must hold hat_switch_mutex while it joins a hat.
  virtual bool joins_under_switch_mutex() const = 0;
};

// Whether `found` is what invalidate() was to clear. A frame number alone does not tell: the frame
// of an unloaded large page may come back as the page table in its place.
inline bool is_expected(x86pte_t found, x86pte_t expect, level_t level) {
  return expect == 0 ||
         (PTE_ISPAGE(found, level) && PTE2PFN(found, level) == PTE2PFN(expect, level));
}

std::unique_ptr<PteInvalidation> make_captured_invalidation();
std::unique_ptr<PteInvalidation> make_shootdown_invalidation();

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_PTE_INVALIDATION_H_
