#include "vm/vm.h"

#include <algorithm>
#include <bit>

#include "vm/page_list.h"

namespace hatcheck::inline HATCHECK_BACKEND {

PageMappingOps::~PageMappingOps() = default;

namespace {

// Stands in until the HAT is connected: nothing is mapped, so the software bits are all there is.
class NoMappings : public PageMappingOps {
 public:
  explicit NoMappings(Vm& vm) : vm_(vm) {}
  uint32_t hment_mapcnt(page_t*) override { return 0; }
  void hat_pageunload(page_t*) override {}
  uint32_t hat_pagesync(page_t* pp, uint32_t) override {
    return pp->p_nrm.load(std::memory_order_relaxed);
  }
  void hat_page_setattr(page_t* pp, uint32_t bits) override {
    const uint8_t set = static_cast<uint8_t>(bits);
    if ((pp->p_nrm.load(std::memory_order_relaxed) & set) == set) return;
    vnode_t* vp = pp->p_vnode.load(std::memory_order_relaxed);
    if ((set & P_MOD) == 0 || vp == nullptr || !IS_VMODSORT(vp)) {
      pp->p_nrm.fetch_or(set, std::memory_order_relaxed);
      return;
    }
    MutexGuard guard(page_vnode_mutex(vm_, vp));
    pp->p_nrm.fetch_or(set, std::memory_order_relaxed);
    page_vpmove_to_tail(vm_, pp);
  }
  void hat_page_clrattr(page_t* pp, uint32_t bits) override {
    pp->p_nrm.fetch_and(static_cast<uint8_t>(~bits), std::memory_order_relaxed);
  }

 private:
  Vm& vm_;
};

int max_szc_of(const Machine& machine) { return machine.mmu().max_page_level; }

// Fills in what the configuration leaves to the memory size.
VmConfig resolve(VmConfig config, pfn_t npages) {
  if (config.page_hash_size == 0) {
    config.page_hash_size =
        static_cast<uint32_t>(std::bit_ceil(std::clamp<pfn_t>(npages / 4, 1, 1u << 24)));
  }
  if (config.throttlefree < 0) config.throttlefree = static_cast<int64_t>(npages / 256);
  if (config.pageout_reserve < 0) config.pageout_reserve = config.throttlefree / 2;
  if (config.t_minarmem < 0) {
    config.t_minarmem = static_cast<int64_t>(std::min<pfn_t>(npages / 64, 25));
  }
  HAT_ASSERT(std::has_single_bit(config.page_hash_size), "page_hash_size is a power of two");
  HAT_ASSERT(config.free_lists > 0 && config.reserved_frames <= npages);
  return config;
}

// Wide enough for the number of lists asked for and for the largest group.
int list_shift_of(const VmConfig& config, const Machine& machine, pfn_t npages) {
  const pfn_t share = std::max<pfn_t>((npages + config.free_lists - 1) / config.free_lists,
                                      machine.mmu().level_frames(max_szc_of(machine)));
  return std::countr_zero(std::bit_ceil(share));
}

}  // namespace

VmConfig VmConfig::tiny() {
  VmConfig config;
  config.page_hash_size = 1;
  config.ph_locks = config.vph_locks = config.pse_locks = config.pio_locks = 1;
  config.page_szc_locks = config.free_lists = 1;
  config.throttlefree = config.pageout_reserve = config.t_minarmem = 0;
  return config;
}

Vm::Vm(const VmConfig& wanted, Machine& the_machine)
    : machine(the_machine),
      config(resolve(wanted, the_machine.mem().size())),
      pagesize(the_machine.mmu().pagesize()),
      pageshift(the_machine.mmu().page_shift()),
      npages(the_machine.mem().size()),
      max_szc(max_szc_of(the_machine)),
      pages(std::make_unique<page_t[]>(npages)),
      kvp("kvp", 0, 0, nullptr),
      page_hash(std::make_unique<Atomic<page_t*>[]>(config.page_hash_size)),
      ph_mutex(kPageHashLock, config.ph_locks),
      vph_mutex(kVnodePagesLock, config.vph_locks),
      pse_mutex(kPageSelockLock, config.pse_locks),
      pio_mutex(kPageIoLock, config.pio_locks),
      page_szc_mutex(kPageSzcLock, config.page_szc_locks),
      list_shift(list_shift_of(config, the_machine, npages)),
      new_freemem_lock(kNewFreememLock),
      freemem_cv("freemem_cv"),
      freemem_lock(kFreememLock),
      availrmem_cv("availrmem_cv"),
      availrmem_count(static_cast<int64_t>(npages - config.reserved_frames)),
      nomemwait(std::make_unique<Guarded<bool>[]>(the_machine.ncpus())),
      no_mappings_(std::make_unique<NoMappings>(*this)),
      ops_(no_mappings_.get()) {
  for (pfn_t first = 0; first < npages; first += pfn_t{1} << list_shift) {
    lists.emplace_back(static_cast<uint32_t>(lists.size()));
  }
  name_objects(pages.get(), npages, "page");
  name_objects(&kvp, 1, "vnode");
  for (pfn_t pfn = 0; pfn < npages; ++pfn) {
    page_t* pp = &pages[pfn];
    pp->p_pagenum = pfn;
    if (pfn < config.reserved_frames) {
      machine.mem().set_kind(pfn, FrameKind::kData);
    } else {
      // In ascending order, so that what is allocated lies together and large groups stay whole.
      page_list_add(*this, pp, /*first=*/false);
    }
  }
  page_unpromise(*this, static_cast<int64_t>(npages - config.reserved_frames));
}

Vm::~Vm() = default;

void Vm::set_mapping_ops(PageMappingOps* ops) { ops_ = ops != nullptr ? ops : no_mappings_.get(); }

}  // namespace hatcheck::inline HATCHECK_BACKEND
