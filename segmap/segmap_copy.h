// Copying between a window and a buffer, by the calling CPU's instructions: what uiomove does for a
// file system. A page's part of the range is one string instruction; a translation that is missing,
// or read-only when it is written to, is faulted in, as often as pageout takes it away.
//
// Preconditions: the caller has the window (segmap_getmapflt) and the range lies in it; the calling
// thread's CPU runs an address space in which the kernel is mapped. No locks are held or taken but
// those of segmap_fault and of the machine.
#ifndef HATCHECK_SEGMAP_SEGMAP_COPY_H_
#define HATCHECK_SEGMAP_SEGMAP_COPY_H_

#include <cstddef>
#include <cstdint>

#include "absl/types/span.h"
#include "segmap/smap.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Both return 0 or the errno value of the fault that could not be repaired; *done is the number of
// bytes that were moved, whole pages' parts from the front.
int segmap_copy_from(Segmap& seg, uintptr_t addr, absl::Span<uint8_t> to, size_t* done);
int segmap_copy_to(Segmap& seg, uintptr_t addr, absl::Span<const uint8_t> from, size_t* done);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_SEGMAP_SEGMAP_COPY_H_
