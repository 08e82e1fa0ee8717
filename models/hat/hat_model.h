// HatModel: the base of all scenarios of the HAT.
//
// It builds a System as small as will do, with address spaces, pages and CPUs; takes everything
// down again; and ends every execution with the audit (hat/audit.h), so that a scenario states only
// what is special to it.
//
// A model engine builds one of these for each execution, up to millions of times. So the sizes are
// what the scenario needs and not more: pages of 16 bytes, tables of two entries.
//
//   two_levels()    user addresses 0 and 16, in one table; kernel addresses from kernelbase
//   three_levels()  user addresses 0 to 48; two tables below a middle one, so that the end of a
//                   table may be the end of its parent
//
// In both a large page has two small ones, and tables go as soon as they are empty. There is one
// htable bucket unless said otherwise, and no kernel heap window: memory for htables and hments
// costs no mapping.
//
// Set-up (constructors) and the final check run on CPU 0 alone. Thread i is CPU i. Pages are EXCL
// from new_page() to the end, whoever uses them: the scenario's bodies are written so that the
// contract of p_selock is kept, and say where they lock pages themselves.
#ifndef HATCHECK_MODELS_HAT_HAT_MODEL_H_
#define HATCHECK_MODELS_HAT_HAT_MODEL_H_

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

#include "hat/audit.h"
#include "hat/hat.h"
#include "hat/hat_load.h"
#include "hat/hat_page.h"
#include "hat/hment.h"
#include "hat/htable.h"
#include "hat/pte_ops.h"
#include "hat/system.h"
#include "models/create_page.h"
#include "platform/platform.h"
#include "platform/scenario.h"
#include "vm/page_alloc.h"

namespace hatcheck::inline HATCHECK_BACKEND {

inline constexpr uint32_t kReadOnly = PROT_READ_ATTR | PROT_USER_ATTR;
inline constexpr uint32_t kReadWrite = kReadOnly | PROT_WRITE_ATTR;

// A leaf as hat_memload makes it for a user page.
inline constexpr uint32_t kCached = HAT_STORECACHING_OK;

class HatModel : public ScenarioDefaults {
 public:
  static SystemConfig two_levels();
  static SystemConfig three_levels();
  // The same with as many CPUs.
  static SystemConfig with_cpus(SystemConfig config, uint32_t ncpus);
  static SystemConfig with_inval(SystemConfig config, InvalidationDesign design);
  // Two htable buckets with a mutex each: parent and child are not under one mutex.
  static SystemConfig with_two_buckets(SystemConfig config);
  // A mutex for each page and, as far as the hash goes, for each table: what threads do to objects
  // that have nothing to do with each other commutes.
  static SystemConfig with_own_locks(SystemConfig config, uint32_t buckets = 4);

  // Small enough for all executions, if the scenario does not say otherwise.
  static constexpr Bounds kBounds{.iterations = 100, .must_exhaust = true};
  // Too large for a test: what fits into a test's time. A longer search takes --executions.
  static constexpr Bounds kBounded{.iterations = 100, .executions = 2000};

  // The final check: the scenario's own, then the audit.
  void after();

 protected:
  explicit HatModel(const SystemConfig& config);
  virtual ~HatModel();

  // What must hold at the end besides the audit. CPUs run what they ran last; holds taken with
  // table() have been dropped.
  virtual void check() {}
  AuditOptions audit_options;

  uint64_t pagesize() const { return sys.mmu().pagesize(); }

  // --- set-up
  hat_t* new_hat();
  // A named data page, EXCL. Frames are given out in ascending order, so with mlist_num_lock 2
  // pages made one after the other have different mlists.
  page_t* new_page(vnode_t* vp = nullptr);
  // A page that a body destroys: none of the destructor's business.
  page_t* new_doomed_page();
  // The first of two pages that form a large one, both EXCL.
  page_t* new_large_page();
  // The table of `level` at va, with a hold that is dropped before the final check.
  htable_t* table(hat_t* hat, uintptr_t va, level_t level = 0);
  // The CPU runs the hat, as if it had done hat_switch.
  void put_on(CpuId cpu, hat_t* hat);
  // Takes all memory but so many pages. The last one is not given to page tables.
  void exhaust_frames(int64_t left = 1);
  // From now on kmem has nothing for those who cannot sleep.
  void exhaust_kmem();
  // Empties the hments' reserve.
  void drain_hment_reserve();

  // --- bodies. The calls of hat.h, under a_lock as reader where that is asked.
  void load(hat_t* hat, uintptr_t va, page_t* pp, uint32_t attr = kReadWrite,
            uint32_t flags = HAT_LOAD);
  // The same for the large page of which `first` is the first page.
  void load_large(hat_t* hat, uintptr_t va, page_t* first, uint32_t flags = HAT_LOAD);
  void unload(hat_t* hat, uintptr_t va, uint64_t pages = 1, uint32_t flags = HAT_UNLOAD);
  // The first two pages of source's address space, which are the range of one table. `at` is where
  // the sharer has them.
  void share(hat_t* sharer, hat_t* source, uintptr_t at = 0);
  void unshare(hat_t* sharer, uintptr_t at = 0);
  void exit_space(hat_t* hat);
  // Gives stolen tables, linked by ht_next, back to the system; nullptr: none.
  void free_stolen(htable_t* list);
  // Steals a table, if one can be had, and gives it back.
  void rob();
  // The mapping half of a load, into a table that is held: no search, no a_lock.
  void map(htable_t* ht, uint32_t entry, page_t* pp, uint32_t attr = kReadWrite,
           uint32_t flags = HAT_LOAD);
  // The unmapping half of an unload; nothing if the entry is not valid.
  void unmap(htable_t* ht, uint32_t entry, uint32_t flags = HAT_UNLOAD);
  // One instruction of the calling CPU.
  AccessResult read(uintptr_t va) { return access(this_cpu(), va, AccessKind::kRead); }
  AccessResult write(uintptr_t va, uint64_t value) {
    return access(this_cpu(), va, AccessKind::kWrite, value);
  }
  AccessResult access(CpuId cpu, uintptr_t va, AccessKind kind, uint64_t value = 0);

  // --- checks
  // The table, or nullptr, without a hold. Quiescent.
  htable_t* find(hat_t* hat, uintptr_t va, level_t level = 0);
  // Number of records of pp's mappings. Quiescent.
  uint32_t records(page_t* pp) const;
  bool is_embedded(const page_t* pp) const;
  bool is_mapped(hat_t* hat, uintptr_t va);
  bool has_flag(const hat_t* hat, uint32_t flag) const;
  static int32_t valid_count(const htable_t* ht);
  static int32_t lock_count(const htable_t* ht);
  static uint32_t nrm(const page_t* pp) { return pp->p_nrm.load(std::memory_order_relaxed); }

  System sys;
  vnode_t file{"file", 1, 0, nullptr};
  vnode_t sorted_file{"sorted", 2, VMODSORT, nullptr};

 private:
  std::deque<as_t> spaces_;
  std::vector<page_t*> pages_;
  std::vector<htable_t*> held_;
  uint64_t next_page_ = 0;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MODELS_HAT_HAT_MODEL_H_
