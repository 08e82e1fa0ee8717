// vnode_t: a file as the page layer sees it, and the calls that move pages between it and its
// backing.
//
// Names follow the kernel: vop_getpage and vop_putpage stand for a file system's VOP_GETPAGE and
// VOP_PUTPAGE, the pvn_ functions for the helpers every file system uses. I/O is synchronous: with
// B_ASYNC a call does not wait for locks, but the transfer itself is done when it returns.
//
// Modified pages: pvn_getdirty clears P_REF and P_MOD before the transfer begins. A write by a CPU
// during the transfer sets P_MOD again (in the PTE, or by fault on a VMODSORT vnode), so no
// modification is lost; a failed transfer sets P_MOD back.
//
// Locks: none of its own. vop_* and pvn_vplist_dirty sleep for page locks, I/O locks and memory: no
// mutex may be held, and no lock on a page of the range.
#ifndef HATCHECK_VM_VNODE_H_
#define HATCHECK_VM_VNODE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "platform/platform.h"
#include "vm/page.h"
#include "vm/vnode_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// v_flag: modified pages are kept at the tail of v_pages, and clearing P_MOD write-protects.
inline constexpr uint32_t VMODSORT = 0x1;

// Why a page is wanted.
enum seg_rw { S_OTHER, S_READ, S_WRITE, S_EXEC, S_CREATE };

// Protections, as in mmap.
inline constexpr uint32_t PROT_WRITE_PAGE = 0x2;
inline constexpr uint32_t PROT_ALL_PAGE = 0xf;

// Flags of vop_putpage.
inline constexpr uint32_t B_ASYNC = 0x400;
inline constexpr uint32_t B_DELWRI = 0x800;
inline constexpr uint32_t B_DONTNEED = 0x2000;
inline constexpr uint32_t B_FREE = 0x8000;
inline constexpr uint32_t B_INVAL = 0x10000;
inline constexpr uint32_t B_FORCE = 0x20000;
inline constexpr uint32_t B_TRUNC = 0x100000;

struct vnode_t {
  // To be destroyed after its pages are (vn_recycle), or after the Vm.
  //
  // id: unique within the Vm (vm.kvp has 0). The page hash uses it instead of the address, so that
  // equal runs have equal chains. backing may be null for a vnode that is never read or written.
  vnode_t(std::string name, uint64_t id, uint32_t flag, std::unique_ptr<VnodeBacking> backing)
      : v_name(std::move(name)), v_id(id), v_flag(flag), v_backing(std::move(backing)) {}
  vnode_t(const vnode_t&) = delete;
  vnode_t& operator=(const vnode_t&) = delete;

  const std::string v_name;
  const uint64_t v_id;
  const uint32_t v_flag;
  // Ring of pages through p_vpnext; written under vph, peeked at by vn_has_cached_data.
  Atomic<page_t*> v_pages{nullptr};
  const std::unique_ptr<VnodeBacking> v_backing;
  // Of a block device, of which there may be many vnodes: the one that has the pages. To be set
  // before the vnode is shared.
  vnode_t* v_common = nullptr;
};

// The vnode that has vp's pages.
inline vnode_t* common_vnode(vnode_t* vp) { return vp->v_common != nullptr ? vp->v_common : vp; }

inline bool IS_VMODSORT(const vnode_t* vp) { return (vp->v_flag & VMODSORT) != 0; }

// Unlocked hint (relaxed: nothing is concluded from it but whether to go and look).
inline bool vn_has_cached_data(const vnode_t* vp) {
  return vp->v_pages.load(std::memory_order_relaxed) != nullptr;
}

// The pages of [off, off + len), off page aligned, len > 0, read from the backing if need be.
//
// pl receives the pages in order and a nullptr after the last, so it needs one element more than
// there are pages. Each page: valid data, not free, I/O lock released, locked SHARED, or EXCL for
// S_CREATE (a page made by S_CREATE is not read but zeroed). *protp, if given: PROT_ALL_PAGE,
// without PROT_WRITE_PAGE if rw is not S_WRITE or S_CREATE and a page reaches beyond the end of the
// data, where a write needs the file system first. pl empty: read ahead of the first page, nothing
// returned. Returns 0, or an errno value (EIO of the backing; ENOSYS without backing) and no page
// held.
int vop_getpage(Vm& vm, vnode_t* vp, uint64_t off, size_t len, uint32_t* protp,
                absl::Span<page_t*> pl, seg_rw rw);

// The same for one page.
int vop_getpage(Vm& vm, vnode_t* vp, uint64_t off, seg_rw rw, page_t** pp);

// Writes the modified pages of [off, off + len) to the backing (len 0: to the end). flags:
//   B_INVAL  destroy the pages afterwards     B_TRUNC  without writing them
//   B_FREE   free the pages afterwards        B_DONTNEED  ... to be reused first
//   B_ASYNC  pages that are locked by others are left alone (not with B_INVAL)
//   B_FORCE  with B_INVAL: destroy them even if the write fails
// Without B_ASYNC it returns after transfers by others that were under way when it was called, too.
// Bytes beyond the end of the data are not written. Returns the first error of the backing; its
// pages are modified again and stay.
int vop_putpage(Vm& vm, vnode_t* vp, uint64_t off, size_t len, uint32_t flags);

// Decides about one page for vop_putpage. In: pp locked (EXCL for B_INVAL and B_FREE), not free.
// 0: nothing to write; pp has been dealt with and is no longer held by the caller.
// 1: to be written. pp is I/O locked, REF and MOD are clear; EXCL with B_INVAL, else SHARED.
int pvn_getdirty(Vm& vm, page_t* pp, uint32_t flags);

// Transfers a page that pvn_getdirty handed out to the backing, as far as the data reaches, and
// ends the transfer. Returns the backing's error.
int pvn_putapage(Vm& vm, page_t* pp, uint32_t flags);

// Ends the transfer of a page that pvn_getdirty handed out; consumes its I/O lock and page lock.
void pvn_write_done(Vm& vm, page_t* pp, uint32_t flags, int error);

// vop_putpage for all pages at off and beyond, by walking v_pages. In: no mutex held.
int pvn_vplist_dirty(Vm& vm, vnode_t* vp, uint64_t off, uint32_t flags);

// Prepares the vnode for another life, or for destruction: all its pages are destroyed unwritten.
// 0, or EBUSY if memory-locked pages remain. In: nobody else creates pages for vp.
int vn_recycle(Vm& vm, vnode_t* vp);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_VNODE_H_
