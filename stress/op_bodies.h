// The bodies of the operation table, by theme. Each takes the world, the calling worker, and its
// draw.
#ifndef HATCHECK_STRESS_OP_BODIES_H_
#define HATCHECK_STRESS_OP_BODIES_H_

#include "stress/ops.h"
#include "stress/world.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// The worker's process for this operation: most often the one it is in, else the one the draw
// names.
Process& home_process(World& world, Worker& w, const Draw& d);

// Steals a page table, or else an hment, and gives it back; false if there was none.
bool steal_by_hand(World& world, bool table);

// Translations of one address space (ops_memory.cc).
OpResult op_fault(World& world, Worker& w, const Draw& d);
OpResult op_refault(World& world, Worker& w, const Draw& d);
OpResult op_touch(World& world, Worker& w, const Draw& d);
OpResult op_speculate(World& world, Worker& w, const Draw& d);
OpResult op_unload(World& world, Worker& w, const Draw& d);
OpResult op_protect(World& world, Worker& w, const Draw& d);
OpResult op_sync(World& world, Worker& w, const Draw& d);
OpResult op_probe(World& world, Worker& w, const Draw& d);
OpResult op_lock(World& world, Worker& w, const Draw& d);

// A CPU's own place in an address space (ops_place.cc).
OpResult op_devload(World& world, Worker& w, const Draw& d);
OpResult op_offlist(World& world, Worker& w, const Draw& d);
OpResult op_array(World& world, Worker& w, const Draw& d);
OpResult op_reap_mapped(World& world, Worker& w, const Draw& d);

// The same place; what the HAT promises of one call (ops_exact.cc).
OpResult op_attrs(World& world, Worker& w, const Draw& d);
OpResult op_bits(World& world, Worker& w, const Draw& d);
OpResult op_large_bits(World& world, Worker& w, const Draw& d);
OpResult op_keep(World& world, Worker& w, const Draw& d);
OpResult op_graft(World& world, Worker& w, const Draw& d);
OpResult op_mempte(World& world, Worker& w, const Draw& d);
OpResult op_resv(World& world, Worker& w, const Draw& d);

// Pages, whoever maps them (ops_page.cc).
OpResult op_pageunload(World& world, Worker& w, const Draw& d);
OpResult op_pagesync(World& world, Worker& w, const Draw& d);
OpResult op_pageout(World& world, Worker& w, const Draw& d);
OpResult op_hog(World& world, Worker& w, const Draw& d);
OpResult op_steal(World& world, Worker& w, const Draw& d);
OpResult op_reap(World& world, Worker& w, const Draw& d);
OpResult op_large(World& world, Worker& w, const Draw& d);

// Whole address spaces and CPUs (ops_process.cc).
OpResult op_switch(World& world, Worker& w, const Draw& d);
OpResult op_exit(World& world, Worker& w, const Draw& d);
OpResult op_fork(World& world, Worker& w, const Draw& d);
OpResult op_swapout(World& world, Worker& w, const Draw& d);
OpResult op_attach(World& world, Worker& w, const Draw& d);
OpResult op_detach(World& world, Worker& w, const Draw& d);
OpResult op_window(World& world, Worker& w, const Draw& d);
OpResult op_idle(World& world, Worker& w, const Draw& d);

// Files through segmap's windows (ops_segmap.cc). Only where the world has a SegmapWorld.
OpResult op_seg_read(World& world, Worker& w, const Draw& d);
OpResult op_seg_write(World& world, Worker& w, const Draw& d);
OpResult op_seg_create(World& world, Worker& w, const Draw& d);
OpResult op_seg_fbread(World& world, Worker& w, const Draw& d);
OpResult op_seg_fbzero(World& world, Worker& w, const Draw& d);
OpResult op_seg_device(World& world, Worker& w, const Draw& d);
OpResult op_seg_ahead(World& world, Worker& w, const Draw& d);
OpResult op_seg_truncate(World& world, Worker& w, const Draw& d);
OpResult op_seg_extend(World& world, Worker& w, const Draw& d);
OpResult op_seg_sync(World& world, Worker& w, const Draw& d);
OpResult op_seg_pageout(World& world, Worker& w, const Draw& d);
OpResult op_seg_discard(World& world, Worker& w, const Draw& d);
OpResult op_seg_recycle(World& world, Worker& w, const Draw& d);
OpResult op_seg_stat(World& world, Worker& w, const Draw& d);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_OP_BODIES_H_
