// vm_audit: a check of the whole page layer while nobody is inside it.
//
// Preconditions: quiescent. No thread is in a function of vm/, and what they did happens before the
// call. Locks on pages may be held (page tables keep theirs SHARED for life).
#ifndef HATCHECK_VM_AUDIT_H_
#define HATCHECK_VM_AUDIT_H_

#include "absl/status/status.h"
#include "platform/platform.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// OK, or an internal error whose message names the first invariant broken, the object and the
// fields: "invariant 42: page 17 ...". Checked, in this order:
//
//   41  every p_selock has a legal value, no free page is locked, no EWANTED is left behind
//   F2  P_FREE pages are exactly those on the lists; each is on one list, the one for its frame
//   F3  free-list pages have no identity, cache-list pages have one
//   F1  freemem == free + cache == number of P_FREE pages
//   40  P_FREE pages have no mapping, kpm user, memory lock, REF/MOD bits or I/O lock, and p_szc 0;
//       their frames are FrameKind::kFree, and no other page's frame is
//   42  each page with an identity is on exactly one chain, the right one, and on its vnode's ring;
//       (vnode, offset) is unique; pages without are on neither; rings contain no markers
//   G   the members of a large page agree on p_szc and lie in one aligned group
//   R   availrmem is neither negative nor larger than memory
absl::Status vm_audit(Vm& vm);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_AUDIT_H_
