// SegmapModel: the base of all scenarios of segmap.
//
// It builds a System and a segment as small as will do, with one file in memory; takes everything
// down again; and ends every execution with the audits of the HAT and of segmap, so that a scenario
// states only what is special to it.
//
// A slot shows one page of 16 bytes (two words), or two where a scenario says so; with kpm pages
// are 32 bytes. Word 0 of page p of the file is p + 1, the others are 0. Pieces of the file are
// numbered by slots.
//
// Set-up and the final check run on CPU 0 alone. Thread i is CPU i.
#ifndef HATCHECK_MODELS_SEGMAP_SEGMAP_MODEL_H_
#define HATCHECK_MODELS_SEGMAP_SEGMAP_MODEL_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "hat/audit.h"
#include "hat/hat.h"
#include "hat/hat_page.h"
#include "models/create_page.h"
#include "platform/platform.h"
#include "platform/scenario.h"
#include "segmap/audit.h"
#include "segmap/segmap.h"
#include "segmap/smap_freelist.h"
#include "segmap/smap_hash.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct SegmapShape {
  uint32_t slots = 2;
  uint32_t lists = 1;
  uint32_t pages_per_slot = 1;
  bool kpm = false;
  uint32_t mlists = 1;
  WaitingDesign waiting = WaitingDesign::kCounted;
  uint32_t vnode_flag = 0;
  uint32_t ncpus = 2;
  uint32_t page_locks = 1;  // each of pse and pio
  uint32_t colours = 1;
  uint32_t prot = PROT_READ_ATTR | PROT_WRITE_ATTR;
  bool statistics = false;
};

class SegmapModel : public ScenarioDefaults {
 public:
  // A model engine runs as many as it takes.
  static constexpr Bounds kBounds{.iterations = 100};

  // The final check: the scenario's own, then the audits.
  void after();

 protected:
  explicit SegmapModel(const SegmapShape& shape = {});
  virtual ~SegmapModel();

  // What must hold at the end besides the audits. Windows that are out are given back here.
  virtual void check() {}

  uint64_t pagesize() const { return sys.vm.pagesize; }
  uint64_t slotsize() const { return segment->maxbsize; }
  Segmap& seg() { return *segment; }

  // --- set-up and bodies
  uintptr_t get(uint64_t piece, seg_rw rw = S_OTHER, int forcefault = SM_PAGECREATE);
  int put(uintptr_t addr, uint32_t flags = 0) { return segmap_release(seg(), addr, flags); }
  // One instruction of the calling CPU, with kernel rights; faults are repaired by segmap_fault.
  uint64_t read_word(uintptr_t va);
  void write_word(uintptr_t va, uint64_t value);
  // The first word of a piece, through a window of its own.
  void write_piece(uint64_t piece, uint64_t value) {
    const uintptr_t addr = get(piece, S_WRITE, SM_FAULT);
    write_word(addr, value);
    put(addr);
  }
  // The page of the file, by number, locked and unlocked.
  page_t* lock_page(uint64_t page, se_t se) {
    return page_lookup(sys.vm, &file, page * pagesize(), se);
  }
  void unlock_page(page_t* pp) { page_unlock(sys.vm, pp); }
  // The same page as it is, or nullptr.
  page_t* page_at(uint64_t page) { return page_exists(sys.vm, &file, page * pagesize()); }
  // For the destructor of who has a file of its own: no window and no page of it is left.
  void end_with(vnode_t& vp) {
    segment.reset();
    vn_recycle(sys.vm, &vp);
  }

  // --- checks
  smap* slot_of(uint64_t piece) { return smap_find(seg(), &file, piece * slotsize()); }
  bool mapped(uintptr_t va) { return hat_probe(sys, sys.kas_hat(), va); }
  // Word 0 of a page of the file as its backing has it.
  uint64_t on_disk(uint64_t page);

  System sys;
  vnode_t file;
  std::unique_ptr<Segmap> segment;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MODELS_SEGMAP_SEGMAP_MODEL_H_
