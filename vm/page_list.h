// Internal to vm/: free and cache lists, and promises out of freemem. See page_alloc.h.
#ifndef HATCHECK_VM_PAGE_LIST_H_
#define HATCHECK_VM_PAGE_LIST_H_

#include <cstdint>

#include "platform/platform.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// The pair of lists for a frame.
inline page_list_t& page_list_of(Vm& vm, const page_t* pp) {
  return vm.lists[pp->p_pagenum >> vm.list_shift];
}

// Puts pp (EXCL, not free) on the list its identity calls for and sets P_FREE. first: it is to be
// reused before the others. Tells the machine. freemem is the caller's business.
void page_list_add(Vm& vm, page_t* pp, bool first);

// Takes pp (EXCL, P_FREE) off its list and clears P_FREE. Tells the machine.
void page_list_sub(Vm& vm, page_t* pp);

// A free page for somebody who has been promised one: EXCL, not free, no identity, p_nrm 0. Free
// lists first, beginning with the calling CPU's; then the cache lists. In: no mutex held.
page_t* page_get_frame(Vm& vm);

// The same for a whole group: root and the count - 1 pages after it, which lie on one pair of
// lists. False, and nothing changed, unless all of them are free and can be locked now.
bool page_get_group(Vm& vm, page_t* root, uint64_t count);

// Takes n pages out of freemem if at least `floor` are left: a promise, to be kept by taking as
// many pages off the lists. False and no change otherwise.
bool page_promise(Vm& vm, int64_t npages, int64_t floor);

// Adds n pages to freemem, after they were put on lists or when a promise is not needed, and wakes
// those who wait for memory.
void page_unpromise(Vm& vm, int64_t npages);

// Sleeps until freemem was seen at `level` or above. In: no mutex held.
void page_wait_for_memory(Vm& vm, int64_t level);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_PAGE_LIST_H_
