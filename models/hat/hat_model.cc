#include "models/hat/hat_model.h"

#include <string>

#include "hat/hment_reserve.h"
#include "hat/htable_alloc.h"
#include "hat/htable_steal.h"
#include "hat/kmem.h"
#include "hat/shootdown.h"
#include "vm/page_cache.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

SystemConfig smallest() {
  SystemConfig config = SystemConfig::tiny();
  config.machine.nframes = 14;
  config.machine.tlb_entries = 1;
  config.machine.psc_entries = 1;
  config.mlist_num_lock = 2;
  config.hash_num_lock = 1;
  config.hment_num_hash = 1;
  config.htable_num_lock = 1;
  config.hat_num_hash = 1;
  config.htable_reserve_amount = 0;
  config.hment_reserve_amount = 0;
  config.kmap_bytes = 0;
  config.kernelheap_bytes = 0;
  config.map_kpm = false;
  return config;
}

}  // namespace

SystemConfig HatModel::two_levels() {
  SystemConfig config = smallest();
  config.machine.mmu = MmuGeometry{.num_level = 2, .bits_per_level = 1, .max_page_level = 1};
  return config;
}

SystemConfig HatModel::three_levels() {
  SystemConfig config = smallest();
  config.machine.mmu = MmuGeometry{.num_level = 3, .bits_per_level = 1, .max_page_level = 2};
  config.machine.nframes = 20;
  return config;
}

SystemConfig HatModel::with_cpus(SystemConfig config, uint32_t ncpus) {
  config.machine.ncpus = ncpus;
  return config;
}

SystemConfig HatModel::with_inval(SystemConfig config, InvalidationDesign design) {
  config.invalidation = design;
  return config;
}

SystemConfig HatModel::with_two_buckets(SystemConfig config) {
  config.htable_num_lock = config.hat_num_hash = 2;
  return config;
}

SystemConfig HatModel::with_own_locks(SystemConfig config, uint32_t buckets) {
  config.htable_num_lock = config.hat_num_hash = buckets;
  config.vm.pse_locks = 32;
  return config;
}

HatModel::HatModel(const SystemConfig& config) : sys(config) {
  name_objects(&file, 1, "vnode", 1);
  name_objects(&sorted_file, 1, "vnode", 2);
}

HatModel::~HatModel() {
  for (CpuId cpu = 0; cpu < sys.machine.ncpus(); ++cpu) put_on(cpu, sys.kas_hat());
  for (htable_t* const ht : held_) htable_release(sys, ht);
  for (as_t& as : spaces_) {
    if (as.a_hat != nullptr) exit_space(as.a_hat);
  }
  for (page_t* const pp : pages_) {
    if (pp->p_szc.load(std::memory_order_relaxed) == 0) {
      page_destroy(sys.vm, pp, 0);
    } else {
      page_destroy_pages(sys.vm, pp);
    }
  }
}

void HatModel::after() {
  for (htable_t* const ht : held_) htable_release(sys, ht);
  held_.clear();
  check();
  const absl::Status status = hat_audit(sys, audit_options);
  HAT_ASSERT(status.ok(), std::string(status.message()));
}

// --- set-up

hat_t* HatModel::new_hat() {
  as_t& as = spaces_.emplace_back(static_cast<uint32_t>(spaces_.size()));
  WriterGuard guard(as.a_lock);
  as.a_hat = hat_alloc(sys, &as);
  return as.a_hat;
}

page_t* HatModel::new_page(vnode_t* vp) {
  if (vp == nullptr) vp = &file;
  page_t* const pp = create_page(sys.vm, vp, next_page_++ * pagesize());
  HAT_ASSERT(pp != nullptr, "the model's machine has too few frames");
  pages_.push_back(pp);
  return pp;
}

page_t* HatModel::new_doomed_page() {
  page_t* const pp = new_page();
  pages_.pop_back();
  return pp;
}

page_t* HatModel::new_large_page() {
  const uint64_t count = page_get_pagecnt(sys.vm, 1);
  next_page_ = (next_page_ + count - 1) / count * count;
  page_t* const pp = page_alloc_large(sys.vm, &file, next_page_ * pagesize(), 1);
  HAT_ASSERT(pp != nullptr, "the model's machine has too few frames");
  next_page_ += count;
  pages_.push_back(pp);
  return pp;
}

htable_t* HatModel::table(hat_t* hat, uintptr_t va, level_t level) {
  held_.push_back(htable_create(sys, hat, va, level, nullptr));
  return held_.back();
}

void HatModel::put_on(CpuId cpu, hat_t* hat) {
  Atomic<hat_t*>& current = sys.cpus[cpu].cpu_current_hat;
  hat_t* const old = current.load(std::memory_order_relaxed);
  if (old == hat) return;
  if (old != sys.kas_hat()) old->hat_cpus.del(cpu);
  if (hat != sys.kas_hat()) hat->hat_cpus.add(cpu);
  current.store(hat, std::memory_order_relaxed);
  const pfn_t root = hat->hat_htable()->ht_pfn();
  sys.machine.with_core(cpu, [root](Core& core) { core.load_cr3(root); });
}

void HatModel::exhaust_frames(int64_t left) {
  while (freemem(sys.vm) > left) new_page();
}

void HatModel::exhaust_kmem() {
  sys.alloc_faults.per_million.store(1'000'000, std::memory_order_relaxed);
}

void HatModel::drain_hment_reserve() {
  while (hment_t* const hm = hment_get_reserve(sys)) kmem_free_hment(sys, hm);
}

// --- bodies

void HatModel::load(hat_t* hat, uintptr_t va, page_t* pp, uint32_t attr, uint32_t flags) {
  ReaderGuard guard(hat->hat_as()->a_lock);
  hat_memload(sys, hat, va, pp, attr, flags);
}

void HatModel::load_large(hat_t* hat, uintptr_t va, page_t* first, uint32_t flags) {
  std::array<page_t*, 2> pages = {first, first + 1};
  ReaderGuard guard(hat->hat_as()->a_lock);
  hat_memload_array(sys, hat, va, pages.size() * pagesize(), pages.data(), kReadWrite, flags);
}

void HatModel::unload(hat_t* hat, uintptr_t va, uint64_t pages, uint32_t flags) {
  ReaderGuard guard(hat->hat_as()->a_lock);
  hat_unload(sys, hat, va, pages * pagesize(), flags);
}

void HatModel::share(hat_t* sharer, hat_t* source, uintptr_t at) {
  ReaderGuard guard(sharer->hat_as()->a_lock);
  hat_share(sys, sharer, at, source, 0, 2 * pagesize(), 0);
}

void HatModel::unshare(hat_t* sharer, uintptr_t at) {
  ReaderGuard guard(sharer->hat_as()->a_lock);
  hat_unshare(sys, sharer, at, 2 * pagesize(), 0);
}

void HatModel::free_stolen(htable_t* list) {
  while (list != nullptr) {
    htable_t* const ht = list;
    list = ht->ht_next();
    htable_free(sys, ht);
  }
}

void HatModel::rob() { free_stolen(htable_steal(sys, 1)); }

void HatModel::exit_space(hat_t* hat) {
  as_t* const as = hat->hat_as();
  WriterGuard guard(as->a_lock);
  hat_free_start(sys, hat);
  hat_unload(sys, hat, 0, sys.userlimit, HAT_UNLOAD_UNMAP);
  hat_free_end(sys, hat);
  as->a_hat = nullptr;
}

void HatModel::map(htable_t* ht, uint32_t entry, page_t* pp, uint32_t attr, uint32_t flags) {
  const x86pte_t pte = hati_mkpte(pp->p_pagenum, attr | kCached, 0, flags);
  const bool mapped = hati_pte_map(sys, ht, entry, pp, pte, flags);
  HAT_ASSERT(mapped, "a small page cannot meet a page table");
}

void HatModel::unmap(htable_t* ht, uint32_t entry, uint32_t flags) {
  const x86pte_t pte = x86pte_get(sys, ht, entry);
  if (PTE_ISVALID(pte)) hat_pte_unmap(sys, ht, entry, flags, pte);
}

AccessResult HatModel::access(CpuId cpu, uintptr_t va, AccessKind kind, uint64_t value) {
  return sys.machine.access(cpu, va, kind, Privilege::kUser, value);
}

// --- checks

htable_t* HatModel::find(hat_t* hat, uintptr_t va, level_t level) {
  const uintptr_t base = htable_base(sys, va, level);
  const uint32_t bucket = htable_hash(sys, hat, base, level);
  MutexGuard guard(htable_mutex_of(sys, bucket));
  return htable_search(sys, hat, bucket, base, level);
}

uint32_t HatModel::records(page_t* pp) const { return is_embedded(pp) ? 1 : pp->p_share(); }

bool HatModel::is_embedded(const page_t* pp) const {
  return pp->p_embed.load(std::memory_order_relaxed) != 0;
}

bool HatModel::is_mapped(hat_t* hat, uintptr_t va) { return hat_probe(sys, hat, va); }

bool HatModel::has_flag(const hat_t* hat, uint32_t flag) const {
  return (hat->hat_flags.load(std::memory_order_relaxed) & flag) != 0;
}

int32_t HatModel::valid_count(const htable_t* ht) {
  return ht->ht_valid_cnt.load(std::memory_order_relaxed);
}

int32_t HatModel::lock_count(const htable_t* ht) {
  return ht->ht_lock_cnt.load(std::memory_order_relaxed);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
