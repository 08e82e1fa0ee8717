// The waiting protocol of the published source, defects included (S17): kept to show what they do.
// segmap/locking.h says what is wrong with it; nothing here is to be relied upon.
#include "segmap/smap_freelist.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// After a look that passed over slots whose page was locked: a quarter of a second.
constexpr uint32_t kPageLockedTicks = 250;

enum class Step { kTaken, kRestart, kNextList };

// One round over a list. kNextList: both queue mutexes are held.
Step look_at(Segmap& seg, smfree& list, FreeSlot* found) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  sm_freeq* const allocq = list.sm_allocq.load(std::memory_order_relaxed);
  allocq->smq_mtx.enter();
  smap* skipped = nullptr;
  *found = smap_scan_queue(seg, *allocq, &skipped);
  if (found->smp != nullptr) {
    allocq->smq_mtx.exit();
    smap_clear_links(found->smp);
    return Step::kTaken;
  }
  // Empty, or nothing that can be had: the same here.
  if (list.sm_allocq.load(std::memory_order_relaxed) != allocq) {
    allocq->smq_mtx.exit();
    return Step::kRestart;
  }
  sm_freeq* const releq = list.sm_releq.load(std::memory_order_relaxed);
  if (!releq->smq_mtx.tryenter()) {
    // A guard against inversion of priorities.
    allocq->smq_mtx.exit();
    releq->smq_mtx.enter();
    releq->smq_mtx.exit();
    return Step::kRestart;
  }
  if (releq->smq_free() == nullptr) return Step::kNextList;
  list.sm_allocq.store(releq, std::memory_order_relaxed);
  list.sm_releq.store(allocq, std::memory_order_relaxed);
  releq->smq_mtx.exit();
  allocq->smq_mtx.exit();
  if (skipped != nullptr) {
    // Pages are locked for longer than mutexes.
    if (seg.segmap_kpm) {
      delay(kPageLockedTicks);
    } else {
      yield();
    }
  }
  return Step::kRestart;
}

class PublishedWaiting final : public SmapWaiting {
 public:
  const char* name() const override { return "published"; }

  smap* get_free_smp(Segmap& seg, uint32_t free_ndx) override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    uint32_t ndx = free_ndx;
    for (;;) {
      smfree& list = seg.smd_free[ndx];
      FreeSlot slot;
      switch (look_at(seg, list, &slot)) {
        case Step::kTaken:
          grab_smp(seg, slot.smp, slot.pp);
          return slot.smp;
        case Step::kRestart:
          continue;
        case Step::kNextList:
          break;
      }
      sm_freeq& zero = list.sm_freeq[0];
      sm_freeq& one = list.sm_freeq[1];
      ndx = (ndx + seg.smd_ncolor) & (seg.smd_nfree - 1);
      if (ndx != free_ndx) {
        one.smq_mtx.exit();
        zero.smq_mtx.exit();
        continue;
      }
      SMSTAT_INC(seg, get_nofree);
      list.sm_want.fetch_add(1, std::memory_order_relaxed);
      one.smq_mtx.exit();
      list.sm_free_cv.wait(zero.smq_mtx);
      list.sm_want.fetch_sub(1, std::memory_order_relaxed);
      zero.smq_mtx.exit();
    }
  }

  // Without analysis: smap_append enters the mutex of the queue that it returns.
  void smapadd(Segmap& seg, smap* smp) override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    smfree& list = seg.smd_free[smp->sm_free_ndx];
    bool was_empty;
    sm_freeq& queue = smap_append(seg, smp, &was_empty);
    const bool wanted = was_empty && list.sm_want.load(std::memory_order_relaxed) != 0;
    queue.smq_mtx.exit();
    if (!wanted) return;
    MutexGuard guard(list.sm_freeq[0].smq_mtx);
    if (list.sm_want.load(std::memory_order_relaxed) != 0) list.sm_free_cv.signal();
  }

  uint32_t waiting(const Segmap& seg, uint32_t free_ndx) const override {
    return seg.smd_free[free_ndx].sm_want.load(std::memory_order_relaxed);
  }
};

}  // namespace

std::unique_ptr<SmapWaiting> make_published_waiting() {
  return std::make_unique<PublishedWaiting>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
