#include "stress/ops.h"

#include <cstring>

#include "absl/strings/str_cat.h"
#include "stress/op_bodies.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr OpRow kOps[] = {
    {"fault", "load the translation that an address needs", op_fault},
    {"refault", "load a translation that is there already", op_refault},
    {"touch", "read, write or execute through the TLB, and check what is seen", op_touch},
    {"speculate", "read an address, mapped or not, as a CPU that guesses does", op_speculate},
    {"unload", "unload 1 to 16 pages of a segment", op_unload},
    {"protect", "take away or give back write permission; a write must then fault", op_protect},
    {"sync", "collect REF and MOD of a range (hat_sync)", op_sync},
    {"probe", "ask the HAT what is mapped and compare with the oracle", op_probe},
    {"lock", "load locked, check that it stays, unlock", op_lock},
    {"devload", "map device frames here and there; exactly those are unloaded", op_devload},
    {"offlist", "map a page of memory without a record of it (HAT_LOAD_NOCONSIST)", op_offlist},
    {"array", "load an array of pages that is a large page, or nearly (hat_memload_array)",
     op_array},
    {"attrs", "change attributes of one page of three, and look at all three", op_attrs},
    {"bits", "read and write a page that nobody else has, and collect REF and MOD", op_bits},
    {"large_bits", "the same through a large page, and beside it a small one", op_large_bits},
    {"keep", "swap out around what is loaded locked", op_keep},
    {"graft", "share memory at any address, with something in the way (hat_share)", op_graft},
    {"mempte", "prepare a kernel entry to be set by hand (hat_mempte_setup)", op_mempte},
    {"resv", "have memory promised, waiting for it if need be (page_resv)", op_resv},
    {"pageunload", "unload a page from every address space (hat_pageunload)", op_pageunload},
    {"pagesync", "collect REF and MOD of a page (hat_pagesync)", op_pagesync},
    {"pageout", "write a few pages back and free them", op_pageout},
    {"hog", "create many pages at once, waiting for memory, and destroy them", op_hog},
    {"steal", "steal an hment or a page table by hand", op_steal},
    {"reap", "give cached page tables back (htable_reap)", op_reap},
    {"reap_mapped", "the same, while a translation is there that must stay", op_reap_mapped},
    {"large", "load, unload, break up or rebuild a large page", op_large},
    {"switch", "run another process on this CPU", op_switch},
    {"exit", "a process exits and another starts in its place", op_exit},
    {"fork", "a process becomes a copy of another", op_fork},
    {"swapout", "swap a process out (hat_swapout)", op_swapout},
    {"attach", "attach shared memory with shared page tables (hat_share)", op_attach},
    {"detach", "detach it (hat_unshare)", op_detach},
    {"window", "map, read and unmap a page of the kernel's segkmap window", op_window},
    {"idle", "let the CPU go idle and wake, then read kernel windows", op_idle},
    {"seg_read", "read a range of a file through a window and compare", op_seg_read},
    {"seg_write", "overwrite a range of a file through a window", op_seg_write},
    {"seg_create", "overwrite whole pages without reading them (segmap_pagecreate)", op_seg_create},
    {"seg_fbread", "read soft locked pages: no access may fault", op_seg_fbread},
    {"seg_fbzero", "clear pages that stay locked until F_SOFTUNLOCK", op_seg_fbzero},
    {"seg_device", "let a device write into pages that are locked meanwhile", op_seg_device},
    {"seg_ahead", "read ahead (segmap_faulta)", op_seg_ahead},
    {"seg_truncate", "cut a file off", op_seg_truncate},
    {"seg_extend", "extend a file", op_seg_extend},
    {"seg_sync", "write a file's modified pages back", op_seg_sync},
    {"seg_pageout", "write a few pages of a file back, or free them", op_seg_pageout},
    {"seg_discard", "throw away a slot's pages that are on disk (SM_DESTROY)", op_seg_discard},
    {"seg_recycle", "write a file back, compare it on disk, recycle its vnode", op_seg_recycle},
    {"seg_stat", "read segmap's statistics; writing them must be refused", op_seg_stat},
};

}  // namespace

absl::Span<const OpRow> op_table() { return kOps; }

uint32_t op_index(const char* name) {
  for (uint32_t i = 0; i < op_table().size(); ++i) {
    if (std::strcmp(kOps[i].name, name) == 0) return i;
  }
  panic(absl::StrCat("stress: no operation is called ", name));
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
