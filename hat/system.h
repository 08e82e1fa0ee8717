// System: everything the kernel keeps in file-scope variables, in one object.
//
// A System is a machine, its page layer and its HAT layer. Build as many as you like: nothing is
// shared between them. The constructor boots it (hat_boot.cc): the kernel's hat with its top table,
// the kernel heap window, the segkmap window and the kpm mapping, filled reserves. The destructor
// takes everything down and reports leaked hats, tables and mapping records.
//
// Functions of this layer are free functions with the kernel's names that take the System first.
//
// Locks: see hat/locking.h. The arrays of locks live here; which lock protects what is said at the
// field protected.
#ifndef HATCHECK_HAT_SYSTEM_H_
#define HATCHECK_HAT_SYSTEM_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "hat/hat_types.h"
#include "hat/hatstat.h"
#include "hat/hment_index.h"
#include "hat/kpm_mapping.h"
#include "hat/locking.h"
#include "hat/pte_invalidation.h"
#include "hat/reserve_ownership.h"
#include "machine/machine.h"
#include "platform/platform.h"
#include "vm/lock_array.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

enum class IndexDesign { kChain, kAvl };
enum class InvalidationDesign { kCaptured, kShootdown };
enum class ReserveDesign { kThread, kDepth };
enum class KpmDesign { kLinear, kOnDemand };

// Sizes and design choices. The defaults are the kernel's with the AVL index.
struct SystemConfig {
  MachineConfig machine;
  VmConfig vm;

  IndexDesign index = IndexDesign::kAvl;
  InvalidationDesign invalidation = InvalidationDesign::kShootdown;
  ReserveDesign reserves = ReserveDesign::kDepth;

  uint32_t mlist_num_lock = 2048;   // power of two
  uint32_t hash_num_lock = 2048;    // power of two
  uint32_t hment_num_hash = 65536;  // power of two
  uint32_t htable_num_lock = 128;   // power of two
  uint32_t hat_num_hash = 0;        // buckets per hat, power of two; 0: from the memory size

  uint32_t htable_reserve_amount = 200;
  uint32_t hment_reserve_amount = 200;
  uint32_t htable_steal_passes = 8;  // clamped to 1..512

  // Chance per million that ptable_alloc pretends to be short of memory ("force_steal").
  uint32_t force_steal_per_million = 0;
  // Chance per million that a no-sleep allocation of an htable or hment fails.
  uint32_t alloc_failures_per_million = 0;

  uint64_t kmap_bytes = 16u << 20;        // segkmap window, multiple of a level-1 span
  uint64_t kernelheap_bytes = 64u << 20;  // address range for kmem slabs
  bool map_kpm = true;                    // have a kpm window, at segkpm's base
  KpmDesign kpm = KpmDesign::kLinear;

  // Two levels, a handful of frames, two or three of everything: one execution of a model is then a
  // few hundred steps.
  static SystemConfig tiny();
};

// A reserve of htables or hments: a LIFO list with a count that is read unlocked.
template <class T>
struct Reserve {
  Reserve(const LockClass& lock_class, uint32_t target) : mutex(lock_class), amount(target) {}
  Mutex mutex;
  Guarded<T*> pool{nullptr};
  Atomic<uint32_t> count{0};
  Atomic<uint32_t> amount;  // target: freed objects go here while count is below
};

struct System {
  explicit System(const SystemConfig& config);
  ~System();
  System(const System&) = delete;
  System& operator=(const System&) = delete;

  // State of one CPU, and of the one thread that runs on it. The thread part is touched only by
  // that thread.
  struct alignas(64) PerCpu {
    Atomic<hat_t*> cpu_current_hat{nullptr};  // read by service routines of cross calls
    // TLB_CPU_HALTED and TLB_INVAL_ALL (hat/shootdown.h).
    Atomic<uint32_t> mcpu_tlb_info{0};
    // Thread part.
    Guarded<int> t_hatdepth{0};
    Guarded<bool> t_vmem_populating{false};  // owns a "vmem populate lock": may use reserves
    Guarded<int64_t> kmem_credit{0};         // part of kmem_in_use that no object uses yet
  };

  const SystemConfig config;
  Machine machine;
  Vm vm;
  HatStats hatstat;

  std::vector<PerCpu> cpus;
  PerCpu& me() { return cpus[this_cpu()]; }

  // The kernel's address space. kas.a_hat is not on the list of user hats; its hat_next and
  // hat_prev are the head and the tail of that list.
  as_t kas;
  AtomicCpuSet khat_cpuset;  // CPUs that have started; target of kernel shootdowns

  Mutex hat_list_lock;
  CondVar hat_list_cv;
  // Exiters asleep in hat_free_end for hat_unmappers.
  Atomic<uint32_t> hat_free_waiters{0};

  const LockArray mlist_lock;
  const LockArray htable_mutex;
  std::unique_ptr<HmentIndex> hment_index;

  Reserve<htable_t> htable_reserve;
  Reserve<hment_t> hment_reserve;

  Atomic<uint32_t> use_boot_reserve{1};
  // Before the first user hat, allocations may sleep; afterwards failure leads to stealing.
  Atomic<uint32_t> can_steal_post_boot{0};
  // Nonzero while tables are being stolen or purged: freed ones are not to be cached.
  Atomic<uint32_t> htable_dont_cache{0};
  Atomic<int64_t> active_ptables{0};
  Atomic<uint32_t> htable_steal_start{0};     // rotating first bucket of htable_steal
  Atomic<page_t*> hment_steal_last{nullptr};  // where hment_steal's last round ended
  Atomic<uint32_t> force_steal_per_million;

  AllocFaults alloc_faults;
  ObjectCache<hat_t> hat_cache;
  ObjectCache<htable_t> htable_cache;
  ObjectCache<hment_t> hment_cache;

  // Kernel heap window for slabs (hat/kmem.h).
  Atomic<int64_t> kmem_in_use{0};        // bytes handed out to objects and CPUs
  Atomic<int64_t> kmem_backed{0};        // bytes with pages behind them
  Atomic<uint64_t> kmem_next_offset{0};  // next unused page of the window

  std::unique_ptr<PteInvalidation> invalidation;
  std::unique_ptr<ReserveOwnership> reserve_ownership;
  std::unique_ptr<KpmMapping> kpm;
  std::unique_ptr<PageMappingOps> page_ops;  // what vm/ calls to unload and sync pages

  // Fixed kernel addresses (from the geometry).
  uintptr_t kernelbase;             // first kernel address
  uintptr_t userlimit;              // first address users may not map
  uintptr_t kmap_addr, kmap_eaddr;  // segkmap window
  uintptr_t heap_addr, heap_eaddr;  // slab window
  uintptr_t kpm_vbase, kpm_eaddr;   // an address for every frame

  // Tables that the kernel keeps for ever: one hold per mention here, besides those of children and
  // sharers. The level-0 tables of the segkmap window, in the order of their addresses
  // (hat_kmap_table), and those that keep the kernel's top-level entries constant (hat_boot.cc). A
  // table may be mentioned several times.
  std::vector<htable_t*> kmap_tables;
  std::vector<htable_t*> precreated_tables;
  // On-demand kpm: the level-0 tables of its window in the order of their addresses, all of them
  // among precreated_tables.
  std::vector<htable_t*> kpm_tables;

  const MmuGeometry& mmu() const { return machine.mmu(); }
  hat_t* kas_hat() const { return kas.a_hat; }
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_SYSTEM_H_
