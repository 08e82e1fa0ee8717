#include "hat/hat_boot.h"

#include "hat/hat.h"
#include "hat/hment_reserve.h"
#include "hat/htable.h"
#include "hat/htable_alloc.h"
#include "hat/htable_walk.h"
#include "hat/kmem.h"
#include "hat/kpm_mapping.h"
#include "hat/pte_ops.h"
#include "vm/page_alloc.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// What the boot loader maps at address 0: the nucleus, once more, twice.
constexpr uint32_t kLowMappings = 2;

// Frames of the boot loader are made from seeds that no htable has.
constexpr uintptr_t kBootSeed = uintptr_t{1} << 50;

uintptr_t nucleus_va(const System& sys) { return uintptr_t{0} - sys.mmu().pagesize(); }

// --- the boot loader: knows page tables, but nothing of hats and htables ------------------------

class BootLoader {
 public:
  explicit BootLoader(System& sys) : sys_(sys), mmu_(sys.mmu()) {}

  // Returns the frame of the top table.
  pfn_t load() {
    const pfn_t nucleus = take_frame();
    root_ = take_table();
    const x86pte_t leaf = MAKEPTE(nucleus, 0) | PT_WRITABLE | PT_REF | PT_MOD;
    // The nucleus stays for ever and belongs to no mapping list.
    map(nucleus_va(sys_), leaf | PT_GLOBAL | PT_NOCONSIST);
    for (uint32_t i = 0; i < kLowMappings; ++i) map(i * mmu_.pagesize(), leaf);
    return root_;
  }

 private:
  pfn_t take_frame() {
    page_t* const pp = page_get_physical(sys_.vm, kBootSeed + next_seed_++);
    if (pp == nullptr) panic("boot: no memory for the first page tables");
    page_downgrade(sys_.vm, pp);
    return pp->p_pagenum;
  }

  pfn_t take_table() {
    const pfn_t pfn = take_frame();
    // htable_attach will claim it.
    page_unlock(sys_.vm, page_numtopp_nolock(sys_.vm, pfn));
    sys_.machine.mem().zero(pfn);
    sys_.machine.mem().set_kind(pfn, FrameKind::kTable);
    return pfn;
  }

  void map(uintptr_t va, x86pte_t leaf) {
    PhysMem& mem = sys_.machine.mem();
    pfn_t table = root_;
    for (level_t level = mmu_.max_level(); level > 0; --level) {
      // Relaxed: there is no other CPU and no hardware walk yet.
      Atomic<x86pte_t>& pte = mem.word(table, mmu_.index(va, level));
      if (pte.load(std::memory_order_relaxed) == 0) {
        pte.store(MAKEPTP(take_table()), std::memory_order_relaxed);
      }
      table = PTE2PFN(pte.load(std::memory_order_relaxed), level);
    }
    mem.word(table, mmu_.index(va, 0)).store(leaf, std::memory_order_relaxed);
  }

  System& sys_;
  const MmuGeometry& mmu_;
  uintptr_t next_seed_ = 0;
  pfn_t root_ = PFN_INVALID;
};

// --- how many tables boot will take -------------------------------------------------------------

// Tables of one level that a window needs.
uint64_t tables_at(const MmuGeometry& mmu, uintptr_t base, uint64_t len, level_t level) {
  if (len == 0) return 0;
  const int shift = mmu.level_shift(level + 1);
  return ((base + len - 1) >> shift) - (base >> shift) + 1;
}

uint64_t tables_above(const MmuGeometry& mmu, uintptr_t base, uint64_t len, level_t lowest) {
  uint64_t tables = 0;
  for (level_t level = lowest; level < mmu.max_level(); ++level) {
    tables += tables_at(mmu, base, len, level);
  }
  return tables;
}

// kmem loads into the heap window while it allocates for a load that is in progress. Such a nested
// load takes its tables from the reserve, at most one per level. A reserve too small for every CPU
// to do that at the same time would leave it without: then it must find the tables there.
bool heap_tables_at_boot(const System& sys) {
  const uint64_t nested =
      uint64_t{sys.machine.ncpus()} * static_cast<uint64_t>(sys.mmu().max_level());
  return sys.config.htable_reserve_amount < nested;
}

// An upper bound: the windows share some.
uint32_t boot_tables(const System& sys) {
  const MmuGeometry& mmu = sys.mmu();
  uint64_t tables = 1 + 2 * static_cast<uint64_t>(mmu.max_level());  // nucleus and low mappings
  tables += tables_above(mmu, sys.kmap_addr, sys.kmap_eaddr - sys.kmap_addr, 0);
  tables += tables_above(mmu, sys.heap_addr, sys.heap_eaddr - sys.heap_addr,
                         heap_tables_at_boot(sys) ? 0 : mmu.max_level() - 1);
  // Memory that does not fill a large page is mapped with smaller ones at the end.
  tables += tables_above(mmu, sys.kpm_vbase, sys.kpm_eaddr - sys.kpm_vbase,
                         sys.kpm->boot_table_level(sys));
  tables += static_cast<uint64_t>(mmu.max_page_level);
  return static_cast<uint32_t>(tables);
}

// --- steps of boot ------------------------------------------------------------------------------

void start_cpu(System& sys, CpuId cpu) {
  hat_t* const kas = sys.kas_hat();
  sys.khat_cpuset.add(cpu);
  sys.cpus[cpu].cpu_current_hat.store(kas, std::memory_order_relaxed);
  const pfn_t root = kas->hat_htable()->ht_pfn();
  sys.machine.with_core(cpu, [root](Core& core) { core.load_cr3(root); });
}

// The mappings that the boot loader left below kernelbase have no records: not hat_unload's
// business.
void clear_boot_mappings(System& sys) {
  hat_t* const kas = sys.kas_hat();
  htable_t* ht = nullptr;
  uintptr_t va = 0;
  while (va < sys.kernelbase && htable_walk(sys, kas, &ht, &va, sys.kernelbase) != 0) {
    const level_t level = ht->ht_level();
    x86pte_inval(sys, ht, htable_va2entry(sys, va, ht), 0);
    HTABLE_DEC(sys, ht);
    kas->hat_pages_mapped[level].fetch_sub(1, std::memory_order_relaxed);
    va += sys.mmu().level_size(level);
  }
  // With the last mapping gone this frees the table, and then those above it.
  if (ht != nullptr) htable_release(sys, ht);
}

// htable_attach leaves a hold on each table of the nucleus.
void record_attached(System& sys) {
  hat_t* const kas = sys.kas_hat();
  for (uint32_t bucket = 0; bucket < kas->hat_num_hash(); ++bucket) {
    for (htable_t* ht = kas->hat_ht_hash[bucket](); ht != nullptr; ht = ht->ht_next()) {
      if (ht->ht_parent() != nullptr) sys.precreated_tables.push_back(ht);
    }
  }
}

void hat_init_finish(System& sys) {
  record_attached(sys);
  hat_precreate_tables(sys, sys.kmap_addr, sys.heap_eaddr - sys.kmap_addr,
                       sys.mmu().max_level() - 1);
  if (heap_tables_at_boot(sys)) {
    hat_precreate_tables(sys, sys.heap_addr, sys.heap_eaddr - sys.heap_addr, 0);
  }
  hat_kmap_init(sys, sys.kmap_addr, sys.kmap_eaddr - sys.kmap_addr);
  if (sys.kpm_eaddr != sys.kpm_vbase) sys.kpm->boot(sys);
  sys.use_boot_reserve.store(0, std::memory_order_relaxed);
  // What boot took in advance goes back.
  htable_purge_hat(sys, sys.kas_hat());
  htable_adjust_reserve(sys);
  hment_adjust_reserve(sys);
}

}  // namespace

void hat_precreate_tables(System& sys, uintptr_t base, uint64_t len, level_t level) {
  if (len == 0) return;
  const uint64_t span = sys.mmu().level_size(level + 1);
  const uintptr_t first = base & ~(span - 1);
  const uint64_t last_offset = base + (len - 1) - first;
  for (uint64_t offset = 0; offset <= last_offset; offset += span) {
    htable_t* const ht = htable_create(sys, sys.kas_hat(), first + offset, level, nullptr);
    sys.precreated_tables.push_back(ht);
  }
}

void hat_boot(System& sys) {
  htable_initial_reserve(sys, boot_tables(sys));
  hment_reserve_fill(sys, 0);

  hat_t* const kas = sys.hat_cache.alloc(KmFlag::kSleep);
  hat_init_empty(sys, kas, &sys.kas);
  sys.kas.a_hat = kas;

  const pfn_t root = BootLoader(sys).load();
  htable_attach(sys, kas, 0, sys.mmu().max_level(), nullptr, root);
  start_cpu(sys, 0);
  clear_boot_mappings(sys);
  hat_init_finish(sys);
  for (CpuId cpu = 1; cpu < sys.machine.ncpus(); ++cpu) start_cpu(sys, cpu);
}

void hat_shutdown(System& sys) {
  hat_t* const kas = sys.kas_hat();
  uint64_t left = 0;
  for (hat_t* hat = kas->hat_next(); hat != nullptr; hat = hat->hat_next()) ++left;
  if (left != 0) {
    panic("System destroyed with " + std::to_string(left) + " user hats left; the newest has " +
          std::to_string(kas->hat_next()->hat_pages_mapped[0].load(std::memory_order_relaxed)) +
          " small pages mapped");
  }
  for (CpuId cpu = 0; cpu < sys.machine.ncpus(); ++cpu) {
    if (sys.cpus[cpu].cpu_current_hat.load(std::memory_order_relaxed) != kas) {
      panic("System destroyed while cpu " + std::to_string(cpu) + " runs a user hat");
    }
  }
  // Gives back the mapping records; the tables go as a whole below.
  hat_unload(sys, kas, sys.kmap_addr, sys.kmap_eaddr - sys.kmap_addr, HAT_UNLOAD);
  hat_unload(sys, kas, sys.heap_addr, sys.heap_eaddr - sys.heap_addr, HAT_UNLOAD);
  for (CpuId cpu = 0; cpu < sys.machine.ncpus(); ++cpu) {
    sys.machine.with_core(cpu, [](Core& core) {
      core.load_cr3(PFN_INVALID);
      core.flush_all();
    });
  }
  kas->hat_flags.fetch_or(HAT_FREEING, std::memory_order_relaxed);
  htable_purge_hat(sys, kas);
  while (htable_t* const ht = htable_get_reserve(sys)) kmem_free_htable(sys, ht);
  while (hment_t* const hm = hment_get_reserve(sys)) kmem_free_hment(sys, hm);
  sys.kas.a_hat = nullptr;
  sys.hat_cache.free(kas);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
