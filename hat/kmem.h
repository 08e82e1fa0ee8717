// Kernel memory for the HAT's own objects.
//
// Objects come from an ObjectCache, but memory must stand behind them: when the bytes handed out
// outgrow the bytes backed, the allocator takes a page and maps it into the kernel heap window with
// hat_memload, as a kernel's slab allocator would. That is the recursion the reserves exist for: a
// load allocates an hment, the allocation loads a translation.
#ifndef HATCHECK_HAT_KMEM_H_
#define HATCHECK_HAT_KMEM_H_

#include "hat/hat_types.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// What one page of the heap window backs. A fixed number: a page of a toy machine may be smaller
// than one object.
inline constexpr int64_t kSlabBytes = 4096;

// nullptr if flag is kNoSleep and the fault plan says so or no page can be had. No HAT mutex held.
htable_t* kmem_alloc_htable(System& sys, KmFlag flag, Where where = Where::here());
hment_t* kmem_alloc_hment(System& sys, KmFlag flag, Where where = Where::here());
hat_t* kmem_alloc_hat(System& sys, Where where = Where::here());

void kmem_free_htable(System& sys, htable_t* ht, Where where = Where::here());
void kmem_free_hment(System& sys, hment_t* hm, Where where = Where::here());
void kmem_free_hat(System& sys, hat_t* hat, Where where = Where::here());

// Asks caches to give memory back before tables are stolen. No HAT mutex held.
void kmem_reap(System& sys);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_KMEM_H_
