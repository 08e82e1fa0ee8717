#include "models/segmap/segmap_model.h"

#include <cstring>
#include <string>
#include <utility>

#include "vm/vnode_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr uint64_t kFilePages = 4;

SystemConfig system_for(const SegmapShape& shape) {
  SystemConfig config = SystemConfig::tiny();
  // Half of the addresses are the kernel's: the window's table, and the nucleus in the last page.
  config.machine.mmu = shape.kpm
                           ? MmuGeometry{.num_level = 3, .bits_per_level = 2, .max_page_level = 0}
                           : MmuGeometry{.num_level = 3, .bits_per_level = 1, .max_page_level = 0};
  config.machine.ncpus = shape.ncpus;
  config.machine.nframes = shape.kpm ? 24 : 16;
  config.machine.tlb_entries = 1;
  config.machine.psc_entries = 1;
  config.mlist_num_lock = shape.mlists;
  config.vm.pse_locks = config.vm.pio_locks = shape.page_locks;
  config.hash_num_lock = 1;
  config.hment_num_hash = 1;
  config.htable_num_lock = 1;
  config.hat_num_hash = 1;
  config.htable_reserve_amount = 0;
  config.hment_reserve_amount = 0;
  config.kmap_bytes = config.machine.mmu.level_size(1);
  config.kernelheap_bytes = 0;
  config.map_kpm = shape.kpm;
  config.kpm = shape.kpm ? KpmDesign::kOnDemand : KpmDesign::kLinear;
  return config;
}

std::unique_ptr<VnodeBacking> numbered_pages(uint64_t pagesize) {
  auto backing = std::make_unique<MemoryBacking>(kFilePages * pagesize, kFilePages * pagesize);
  for (uint64_t page = 0; page < kFilePages; ++page) {
    const uint64_t word = page + 1;
    uint8_t bytes[sizeof(word)];
    std::memcpy(bytes, &word, sizeof(word));
    backing->write(page * pagesize, bytes);
  }
  return backing;
}

}  // namespace

SegmapModel::SegmapModel(const SegmapShape& shape)
    : sys(system_for(shape)), file("file", 1, shape.vnode_flag, numbered_pages(sys.vm.pagesize)) {
  name_objects(&file, 1, "vnode", 1);
  SegmapConfig config;
  config.maxbsize = static_cast<uint32_t>(sys.vm.pagesize) * shape.pages_per_slot;
  config.nfreelist = shape.lists;
  config.kpm = shape.kpm;
  config.waiting = shape.waiting;
  config.statistics = shape.statistics;
  config.prot = shape.prot;
  if (shape.colours > 1) config.shmsize = uint64_t{shape.colours} * config.maxbsize;
  auto created = segmap_create(sys, sys.kmap_addr, uint64_t{shape.slots} * config.maxbsize, config);
  HAT_ASSERT(created.ok(), std::string(created.status().message()));
  segment = *std::move(created);
}

SegmapModel::~SegmapModel() { end_with(file); }

void SegmapModel::after() {
  check();
  absl::Status status = hat_audit(sys);
  if (status.ok()) status = segmap_audit(seg());
  HAT_ASSERT(status.ok(), std::string(status.message()));
}

uintptr_t SegmapModel::get(uint64_t piece, seg_rw rw, int forcefault) {
  return segmap_getmapflt(seg(), &file, piece * slotsize(), slotsize(), forcefault, rw);
}

uint64_t SegmapModel::read_word(uintptr_t va) {
  for (;;) {
    const AccessResult result =
        sys.machine.access(this_cpu(), va, AccessKind::kRead, Privilege::kKernel);
    if (result.ok) return result.value;
    segmap_fault(seg(), sys.kas_hat(), va & ~(pagesize() - 1), pagesize(), F_INVAL, S_READ);
  }
}

void SegmapModel::write_word(uintptr_t va, uint64_t value) {
  while (!sys.machine.access(this_cpu(), va, AccessKind::kWrite, Privilege::kKernel, value).ok) {
    segmap_fault(seg(), sys.kas_hat(), va & ~(pagesize() - 1), pagesize(), F_INVAL, S_WRITE);
  }
}

uint64_t SegmapModel::on_disk(uint64_t page) {
  uint64_t word = 0;
  uint8_t bytes[sizeof(word)];
  file.v_backing->read(page * pagesize(), bytes);
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
