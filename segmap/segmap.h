// segmap's calls: windows onto files, MAXBSIZE bytes at a time.
//
// What a caller does:
//
//   read     va = segmap_getmapflt(vp, off, len, SM_FAULT, S_READ); copy; segmap_release(flags)
//   write    the same with S_WRITE; or with SM_PAGECREATE, segmap_pagecreate, copy, fill up what a
//            new page has not got, segmap_pageunlock(S_WRITE); segmap_release(SM_WRITE, ...)
//   fbread   segmap_getmap; segmap_fault(F_SOFTLOCK); use; segmap_fault(F_SOFTUNLOCK);
//            segmap_release
//
// segmap_copy.h does the copying. Between calls that change the same bytes the file system keeps
// order, not segmap.
//
// Preconditions common to all: no segmap mutex held; M6 of segmap/locking.h for segmap_getmapflt.
// The file's vnode is held by the caller from getmap to release; between, segmap holds none. A
// vnode_t that was ever given to segmap outlives the Segmap, as the kernel's vnode cache does for
// vnodes; it may be recycled (vn_recycle) at any time nobody uses it.
#ifndef HATCHECK_SEGMAP_SEGMAP_H_
#define HATCHECK_SEGMAP_SEGMAP_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/functional/function_ref.h"
#include "absl/status/statusor.h"
#include "segmap/segmap_fault.h"
#include "segmap/smap.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// forcefault of segmap_getmapflt.
inline constexpr int SM_PAGECREATE = 0;  // no: the caller faults, or creates pages
inline constexpr int SM_FAULT = 1;       // load the translations of the range
inline constexpr int SM_LOCKPROTO = 2;   // the same; kpm only if writing needs no file system

// flags of segmap_release. Any but SM_DONTNEED alone passes the window to vop_putpage.
inline constexpr uint32_t SM_WRITE = 0x01;
inline constexpr uint32_t SM_ASYNC = 0x02;
inline constexpr uint32_t SM_FREE = 0x04;      // free the pages (last reference only)
inline constexpr uint32_t SM_INVAL = 0x08;     // write and destroy them
inline constexpr uint32_t SM_DONTNEED = 0x10;  // ... to be reused first (last reference only)
inline constexpr uint32_t SM_DESTROY = 0x20;   // destroy them unwritten

// ---- Life (segmap.cc).

// A segment at [base, base + size) of sys, within the segkmap window. Panics if they are not
// multiples of MAXBSIZE. Refuses (InvalidArgument) more than 4 free lists per CPU and sizes that do
// not fit the pages.
absl::StatusOr<std::unique_ptr<Segmap>> segmap_create(System& sys, uintptr_t base, uint64_t size,
                                                      const SegmapConfig& config);

// ---- Windows (segmap.cc).

// The address of the slot that shows [off, off + MAXBSIZE) of vp rounded down, with a reference
// that segmap_release gives back: add off % MAXBSIZE. Sleeps for a slot if all are in use. The
// range [off, off + len) must lie in one slot (panic). With forcefault the translations of the
// range are loaded, if they are not there; a failure to do so is met again when the range is
// accessed or faulted. With kpm the address may be one of the kpm window (segmap_kpm.h), with the
// page locked.
uintptr_t segmap_getmapflt(Segmap& seg, vnode_t* vp, uint64_t off, size_t len, int forcefault,
                           seg_rw rw);
// The whole slot, no fault, rw S_OTHER.
uintptr_t segmap_getmap(Segmap& seg, vnode_t* vp, uint64_t off);

// Gives one reference back; addr is what getmap returned (panic if it is not the start of a slot).
// With flags, what vop_putpage returns, else 0. An error loses nothing: pages that could not be
// written are still there and modified.
int segmap_release(Segmap& seg, uintptr_t addr, uint32_t flags);

// ---- Operations of the segment (segmap_ops.cc).

void segmap_free(Segmap& seg);  // nothing: the kernel's segment is for ever
// 0, or EACCES if the segment does not allow it.
int segmap_checkprot(const Segmap& seg, uintptr_t addr, size_t len, uint32_t prot);
// Fills in the protection of each page of [addr, addr + len]; protv has room for them.
int segmap_getprot(const Segmap& seg, uintptr_t addr, size_t len, uint32_t* protv);
// These three tell of the first slot, whatever addr is; nobody relies on them.
uint64_t segmap_getoffset(Segmap& seg, uintptr_t addr);
int segmap_getvp(Segmap& seg, uintptr_t addr, vnode_t** vpp);
struct memid_t {
  const vnode_t* vp;
  uint64_t off;
};
int segmap_getmemid(Segmap& seg, uintptr_t addr, memid_t* memid);
inline constexpr int MAP_SHARED_TYPE = 1;
int segmap_gettype(const Segmap& seg, uintptr_t addr);
int segmap_kluster(const Segmap& seg, uintptr_t addr, int64_t delta);  // 0: any
int segmap_pagelock(Segmap& seg, uintptr_t addr, size_t len);          // ENOTSUP
const void* segmap_getpolicy(const Segmap& seg, uintptr_t addr);       // none
int segmap_capable(const Segmap& seg, int capability);                 // 0: none
// Calls add(pfn) for the pages of the slots in use. For a crash dump: the system is stopped,
// nothing is locked for long.
void segmap_dump(Segmap& seg, absl::FunctionRef<void(pfn_t)> add);

// Reading, *totals is what all CPUs have counted. Writing is refused with EACCES.
enum class KstatRw { kRead, kWrite };
int segmap_kstat_update(const Segmap& seg, SegmapStatTotals* totals, KstatRw rw);

// What a kernel segment of this kind is never asked for. Each panics with its name.
[[noreturn]] void segmap_dup(Segmap& seg);
[[noreturn]] void segmap_unmap(Segmap& seg);
[[noreturn]] void segmap_setprot(Segmap& seg);
[[noreturn]] void segmap_swapout(Segmap& seg);
[[noreturn]] void segmap_sync(Segmap& seg);
[[noreturn]] void segmap_incore(Segmap& seg);
[[noreturn]] void segmap_lockop(Segmap& seg);
[[noreturn]] void segmap_advise(Segmap& seg);
[[noreturn]] void segmap_setpagesize(Segmap& seg);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_SEGMAP_SEGMAP_H_
