#include "stress/bench_paths.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "hat/hat.h"
#include "hat/hat_page.h"
#include "hat/system.h"
#include "platform/observe.h"
#include "vm/page_cache.h"
#include "vm/vnode.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr uint64_t kBatch = 256;     // pages per batch: within one page table
constexpr uint64_t kMeasured = 2;    // address spaces that the other paths use
constexpr uint64_t kSharers = 1000;  // mappings of the page that is unloaded
constexpr uintptr_t kBase = 0x10000000;
constexpr uint32_t kProt = PROT_READ_ATTR | PROT_WRITE_ATTR | PROT_USER_ATTR;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds and counts between its construction and stop().
class Meter {
 public:
  Meter() : counts_(path_counts()), start_(now()) {}
  BatchResult stop(uint64_t operations) const {
    BatchResult r;
    r.seconds = now() - start_;
    const PathCounts end = path_counts();
    r.operations = operations;
    r.locks = end.lock_acquisitions - counts_.lock_acquisitions;
    r.atomics =
        end.cas_operations + end.rmw_operations - counts_.cas_operations - counts_.rmw_operations;
    return r;
  }

 private:
  const PathCounts counts_;
  const double start_;
};

class HatPathBench final : public PathBench {
 public:
  explicit HatPathBench(BenchIndex index)
      : binding_(0, 1), sys_(config(index)), file_("file", 1, 0, nullptr) {
    page_t* ring = page_create_va(sys_.vm, &file_, 0, (kBatch + 1) * pagesize(), PG_WAIT);
    while (ring != nullptr) {
      page_t* pp = ring;
      page_sub(&ring, pp);
      page_io_unlock(sys_.vm, pp);
      pages_.push_back(pp);
    }
    for (uint64_t i = 0; i < kSharers; ++i) {
      spaces_.push_back(std::make_unique<as_t>());
      as_t& as = *spaces_.back();
      WriterGuard guard(as.a_lock);
      as.a_hat = hat_alloc(sys_, &as);
    }
    // The two that are measured stay locked, so that the lock's cost is not part of the path.
    for (uint64_t i = 0; i < kMeasured; ++i) spaces_[i]->a_lock.enter(RwMode::kWriter);
    hat_setup(sys_, hat(0));
    // A page that stays keeps the tables of the batch alive.
    map(0, kBatch);
    map(1, kBatch);
  }

  ~HatPathBench() override {
    hat_thread_exit(sys_);
    for (page_t* pp : pages_) hat_pageunload(sys_, pp);
    for (uint64_t i = 0; i < kMeasured; ++i) spaces_[i]->a_lock.exit();
    for (auto& space : spaces_) {
      WriterGuard guard(space->a_lock);
      hat_free_start(sys_, space->a_hat);
      hat_free_end(sys_, space->a_hat);
    }
    for (page_t* pp : pages_) page_destroy(sys_.vm, pp, 0);
  }

  BatchResult run(Path path) override {
    switch (path) {
      case Path::kFirstMap: {
        const BatchResult r = timed([this](uint64_t i) { map(0, i); });
        unmap_batch(0);
        return r;
      }
      case Path::kSecondMap: {
        map_batch(0);
        const BatchResult r = timed([this](uint64_t i) { map(1, i); });
        // The list form stays until the page is unmapped altogether.
        unmap_batch(0);
        unmap_batch(1);
        return r;
      }
      case Path::kRefault: {
        map_batch(0);
        const BatchResult r = timed([this](uint64_t i) { map(0, i); });
        unmap_batch(0);
        return r;
      }
      case Path::kUnload:
        map_batch(0);
        return timed([this](uint64_t i) { unmap(0, i); });
      case Path::kUnloadTouched:
        map_batch(0);
        for (uint64_t i = 0; i < kBatch; ++i) {
          sys_.machine.access(0, va(i), AccessKind::kRead, Privilege::kUser);
        }
        return timed([this](uint64_t i) { unmap(0, i); });
      case Path::kMapUnload:
        return timed([this](uint64_t i) {
          map(0, i);
          unmap(0, i);
        });
      case Path::kPageunload: {
        for (uint64_t s = 0; s < kSharers; ++s) {
          if (s >= kMeasured) spaces_[s]->a_lock.enter(RwMode::kReader);
          map(s, 0);
          if (s >= kMeasured) spaces_[s]->a_lock.exit();
        }
        const Meter meter;
        hat_pageunload(sys_, pages_[0]);
        return meter.stop(kSharers);
      }
      case Path::kPageTable:
        return timed([this](uint64_t i) {
          const uintptr_t far = kBase + sys_.mmu().level_size(1) * (2 + i);
          hat_memload(sys_, hat(0), far, pages_[0], kProt, HAT_LOAD);
          hat_unload(sys_, hat(0), far, pagesize(), HAT_UNLOAD);
        });
    }
    return {};
  }

  PrimitiveCosts primitive_costs() override {
    constexpr int kRounds = 2000;  // no longer than a batch, see bench_hat.cc
    PrimitiveCosts costs;
    Mutex mutex(kMlistLock);
    double start = now();
    for (int i = 0; i < kRounds; ++i) {
      mutex.enter();
      mutex.exit();
    }
    costs.lock = (now() - start) / kRounds * 1e9;
    Atomic<uint64_t> word{0};
    uint64_t expect = 0;
    start = now();
    for (int i = 0; i < kRounds; ++i) {
      word.compare_exchange_strong(expect, expect + 1, std::memory_order_seq_cst,
                                   std::memory_order_acquire);
      expect = i + 1;
    }
    costs.atomic = (now() - start) / kRounds * 1e9;
    return costs;
  }

 private:
  static SystemConfig config(BenchIndex index) {
    SystemConfig c;
    c.machine.ncpus = 1;
    c.index = index == BenchIndex::kChain ? IndexDesign::kChain : IndexDesign::kAvl;
    if (index == BenchIndex::kChain) c.mlist_num_lock = c.hash_num_lock = 256;
    return c;
  }

  uint64_t pagesize() const { return sys_.mmu().pagesize(); }
  hat_t* hat(uint64_t space) { return spaces_[space]->a_hat; }
  uintptr_t va(uint64_t page) const { return kBase + page * pagesize(); }
  void map(uint64_t space, uint64_t page) {
    hat_memload(sys_, hat(space), va(page), pages_[page], kProt, HAT_LOAD);
  }
  void unmap(uint64_t space, uint64_t page) {
    hat_unload(sys_, hat(space), va(page), pagesize(), HAT_UNLOAD);
  }
  void map_batch(uint64_t space) {
    for (uint64_t i = 0; i < kBatch; ++i) map(space, i);
  }
  void unmap_batch(uint64_t space) {
    for (uint64_t i = 0; i < kBatch; ++i) unmap(space, i);
  }
  template <class Body>
  BatchResult timed(Body body) {
    const Meter meter;
    for (uint64_t i = 0; i < kBatch; ++i) body(i);
    return meter.stop(kBatch);
  }

  CpuBinding binding_;
  System sys_;
  vnode_t file_;
  std::vector<page_t*> pages_;  // EXCL for as long as we live
  std::vector<std::unique_ptr<as_t>> spaces_;
};

}  // namespace

std::unique_ptr<PathBench> make_path_bench(BenchIndex index) {
  return std::make_unique<HatPathBench>(index);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
