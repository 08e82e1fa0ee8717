#include "hat/system.h"

#include <bit>

#include "hat/hat_boot.h"
#include "hat/page_ops.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

void check_power_of_two(uint32_t value, const char* what) {
  HAT_ASSERT(std::has_single_bit(value),
             std::string(what) + " must be a power of two: " + std::to_string(value));
}

const SystemConfig& checked(const SystemConfig& config) {
  check_power_of_two(config.mlist_num_lock, "mlist_num_lock");
  check_power_of_two(config.hash_num_lock, "hash_num_lock");
  check_power_of_two(config.hment_num_hash, "hment_num_hash");
  check_power_of_two(config.htable_num_lock, "htable_num_lock");
  if (config.hat_num_hash != 0) check_power_of_two(config.hat_num_hash, "hat_num_hash");
  HAT_ASSERT(config.machine.mmu.num_level >= 2, "a hat needs two levels of tables");
  return config;
}

uint64_t round_up(uint64_t value, uint64_t unit) { return (value + unit - 1) & ~(unit - 1); }

bool is_amd64(const MmuGeometry& mmu) { return mmu.num_level == 4 && mmu.bits_per_level == 9; }

// Windows from kernelbase upwards. The last page of the address space is the nucleus, so no window
// ends at 0.
void lay_out_kernel(System& sys) {
  const MmuGeometry& mmu = sys.mmu();
  const uint64_t nframes = sys.machine.config().nframes;
  sys.kernelbase = mmu.kernelbase();
  // A large page of distance; on shapes whose kernel begins behind the hole the hole is enough.
  const uintptr_t below = sys.kernelbase - mmu.level_size(1);
  sys.userlimit = mmu.in_va_hole(below) ? mmu.hole_start() : below;

  sys.kmap_addr = sys.kernelbase;
  sys.kmap_eaddr = sys.kmap_addr + sys.config.kmap_bytes;
  sys.heap_addr = round_up(sys.kmap_eaddr, mmu.level_size(1));
  sys.heap_eaddr = sys.heap_addr + sys.config.kernelheap_bytes;
  sys.kpm_vbase = is_amd64(mmu) ? uintptr_t{0xfffffe0000000000}
                                : round_up(sys.heap_eaddr, mmu.level_size(mmu.max_page_level));
  sys.kpm_eaddr = sys.kpm_vbase + (sys.config.map_kpm ? nframes * mmu.pagesize() : 0);

  const uint64_t room = uintptr_t{0} - mmu.pagesize() - sys.kernelbase;
  const bool fits =
      sys.config.kmap_bytes % mmu.level_size(1) == 0 && sys.config.kmap_bytes <= room &&
      sys.config.kernelheap_bytes % mmu.pagesize() == 0 && sys.config.kernelheap_bytes <= room &&
      sys.heap_eaddr - sys.kernelbase <= room &&
      (sys.kpm_eaddr == sys.kpm_vbase ||
       (sys.heap_eaddr <= sys.kpm_vbase && sys.kpm_vbase < sys.kpm_eaddr &&
        sys.kpm_eaddr - sys.kernelbase <= room));
  HAT_ASSERT(fits, "kmap_bytes " + std::to_string(sys.config.kmap_bytes) + ", kernelheap_bytes " +
                       std::to_string(sys.config.kernelheap_bytes) + " and kpm do not fit into " +
                       std::to_string(room) + " bytes above kernelbase");
}

std::unique_ptr<HmentIndex> make_index(const SystemConfig& config) {
  return config.index == IndexDesign::kChain
             ? make_chain_index(config.hment_num_hash, config.hash_num_lock)
             : make_avl_index(config.hment_num_hash, config.hash_num_lock);
}

}  // namespace

SystemConfig SystemConfig::tiny() {
  SystemConfig config;
  // 16 pages of 32 bytes: 8 for users in two tables, 8 for the kernel in two.
  config.machine.mmu = MmuGeometry{.num_level = 2, .bits_per_level = 2, .max_page_level = 0};
  config.machine.ncpus = 2;
  config.machine.nframes = 24;
  config.machine.tlb_entries = 4;
  config.machine.psc_entries = 2;
  config.vm = VmConfig::tiny();
  config.mlist_num_lock = 2;
  config.hash_num_lock = 1;
  config.hment_num_hash = 2;
  config.htable_num_lock = 2;
  config.hat_num_hash = 2;
  config.htable_reserve_amount = 1;
  config.hment_reserve_amount = 2;
  config.htable_steal_passes = 1;
  config.kmap_bytes = config.machine.mmu.level_size(1);
  // The rest of the kernel's second table, but for the nucleus.
  config.kernelheap_bytes = config.machine.mmu.level_size(1) - config.machine.mmu.pagesize();
  config.map_kpm = false;
  return config;
}

System::System(const SystemConfig& wanted)
    : config(checked(wanted)),
      machine(config.machine),
      vm(config.vm, machine),
      hatstat(config.machine.ncpus),
      cpus(config.machine.ncpus),
      khat_cpuset(config.machine.ncpus),
      hat_list_lock(kHatListLock),
      hat_list_cv("hat_list_cv"),
      mlist_lock(kMlistLock, config.mlist_num_lock),
      htable_mutex(kHtableLock, config.htable_num_lock),
      hment_index(make_index(config)),
      htable_reserve(kHtableReserveLock, config.htable_reserve_amount),
      hment_reserve(kHmentReserveLock, config.hment_reserve_amount),
      force_steal_per_million(config.force_steal_per_million),
      alloc_faults(config.alloc_failures_per_million),
      hat_cache("hat", &alloc_faults),
      htable_cache("htable", &alloc_faults),
      hment_cache("hment", &alloc_faults),
      invalidation(config.invalidation == InvalidationDesign::kCaptured
                       ? make_captured_invalidation()
                       : make_shootdown_invalidation()),
      reserve_ownership(config.reserves == ReserveDesign::kThread ? make_thread_ownership()
                                                                  : make_depth_ownership()),
      kpm(config.kpm == KpmDesign::kLinear ? make_linear_kpm() : make_on_demand_kpm()),
      page_ops(make_page_ops(*this)) {
  name_objects(cpus.data(), cpus.size(), "cpu");
  vm.set_mapping_ops(page_ops.get());
  lay_out_kernel(*this);
  hat_boot(*this);
}

System::~System() {
  hat_shutdown(*this);
  vm.set_mapping_ops(nullptr);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
