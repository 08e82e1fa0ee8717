// How a page comes to have an address in the kpm window: two published designs behind one policy.
//
//   linear     (kpm_mapping_linear.cc) all memory is mapped there at boot, with the largest pages
//              that fit, and stays so; users are not recorded. The design of this platform.
//   on demand  (kpm_mapping_on_demand.cc) a page is mapped there from its first mapin to its last
//              mapout, with one small page; users are recorded on the page. The design that segmap
//              needs for its kpm variant, which relies on kpe_page.
//
// On-demand rules. A user is a kpme, on the page's p_kpmelist, or anonymous (no kpme). mapin of a
// kpme that is on the list already changes nothing; one that is on another page's list is a bug.
// hat_pageunload takes every kpme off the page's list (kpe_page becomes null) and unmaps the page;
// anonymous users, whom nobody could tell, are a bug then.
//
//   55  kpe_page == pp iff the kpme is on pp's p_kpmelist; p_kpmref == length of that list +
//       anonymous users; pp has a translation in the window iff p_kpmref is not 0
//
// Locks: p_kpmelist, p_kpmref and the links of its kpmes change under the page's mlist, by holders
// of p_selock; so the EXCL owner of a page reads them without the mlist. kpe_page is read unlocked
// as well, to be looked at again with the page locked. The translation changes under the same
// mlist: its entry is off-list, and its table was made at boot.
#ifndef HATCHECK_HAT_KPM_MAPPING_H_
#define HATCHECK_HAT_KPM_MAPPING_H_

#include <cstdint>
#include <memory>

#include "hat/hat_types.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct System;

class KpmMapping {
 public:
  virtual ~KpmMapping() = default;
  virtual const char* name() const = 0;

  // The level whose tables of the window are needed at boot.
  virtual level_t boot_table_level(const System& sys) const = 0;
  // Boot: fills or prepares the window [kpm_vbase, kpm_eaddr), which is not empty.
  virtual void boot(System& sys) = 0;

  // pp is locked in any mode; va is its address in the window. No mlist held.
  virtual void mapin(System& sys, page_t* pp, kpme* kpme, uintptr_t va) = 0;
  virtual void mapout(System& sys, page_t* pp, kpme* kpme, uintptr_t va) = 0;
  // The part of hat_pageunload. pp is EXCL, no mlist held.
  virtual void pageunload(System& sys, page_t* pp) = 0;

  // Whether users are recorded on pages.
  virtual bool records_users() const = 0;
};

std::unique_ptr<KpmMapping> make_linear_kpm();
std::unique_ptr<KpmMapping> make_on_demand_kpm();

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_KPM_MAPPING_H_
