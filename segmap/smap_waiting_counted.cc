// The default waiting protocol: rules W1 to W3 of segmap/locking.h.
#include <algorithm>
#include <array>

#include "segmap/smap_freelist.h"
#include "vm/page.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

enum class ListState {
  kTaken,    // a slot was found
  kEmpty,    // either queue was seen empty, under its mutex
  kSkipped,  // all there were are busy
};

// Looks through one list, its release queue included.
ListState scan_list(Segmap& seg, smfree& list, FreeSlot* found,
                    smap** skipped) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  smap* passed_over = nullptr;
  std::array<bool, 2> looked_through{};
  const auto seen = [&](const sm_freeq* queue) -> bool& {
    return looked_through[queue == &list.sm_freeq[0] ? 0 : 1];
  };
  for (;;) {
    // Relaxed: looked at again under the mutex.
    sm_freeq* const allocq = list.sm_allocq.load(std::memory_order_relaxed);
    allocq->smq_mtx.enter();
    if (list.sm_allocq.load(std::memory_order_relaxed) != allocq) {
      allocq->smq_mtx.exit();
      continue;
    }
    *found = smap_scan_queue(seg, *allocq, &passed_over);
    if (found->smp != nullptr) {
      allocq->smq_mtx.exit();
      smap_clear_links(found->smp);
      return ListState::kTaken;
    }
    sm_freeq* const releq = list.sm_releq.load(std::memory_order_relaxed);
    if (!releq->smq_mtx.tryenter()) {
      // Whoever has it may be waiting for ours. Wait for him with nothing held.
      allocq->smq_mtx.exit();
      releq->smq_mtx.enter();
      releq->smq_mtx.exit();
      continue;
    }
    seen(allocq) = true;
    // A queue that was looked through before may have slots again by now. Their releases came after
    // that, and so have their wake-ups (W2).
    const bool go_on = releq->smq_free() != nullptr && !seen(releq);
    if (go_on) {
      list.sm_allocq.store(releq, std::memory_order_relaxed);
      list.sm_releq.store(allocq, std::memory_order_relaxed);
    }
    releq->smq_mtx.exit();
    allocq->smq_mtx.exit();
    if (go_on) continue;
    if (passed_over == nullptr) return ListState::kEmpty;
    *skipped = passed_over;
    return ListState::kSkipped;
  }
}

// Looks through all lists of the colour of list `first`, beginning with that one.
FreeSlot scan_lists(Segmap& seg, uint32_t first, smap** skipped) {
  FreeSlot found;
  uint32_t ndx = first;
  do {
    if (scan_list(seg, seg.smd_free[ndx], &found, skipped) == ListState::kTaken) return found;
    ndx = (ndx + seg.smd_ncolor) & (seg.smd_nfree - 1);
  } while (ndx != first);
  return {};
}

// W3: waits for the slot that was passed over, and takes it if it is still free.
FreeSlot wait_for_busy(Segmap& seg, smap* smp) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  smp->sm_mtx.enter();
  if (smp->sm_refcnt() != 0 || !smap_on_queue(smp)) {
    smp->sm_mtx.exit();
    return {};
  }
  FreeSlot slot{smp, nullptr};
  page_t* busy = nullptr;
  if (smap_lock_page(seg, smp, &slot.pp, &busy)) {
    smap_unqueue(seg, smp);
    return slot;
  }
  smp->sm_mtx.exit();
  // With nothing held. Granted or not, whoever had the page has let go of it by then.
  if (page_lock(seg.sys.vm, busy, SE_SHARED, nullptr, P_NO_RECLAIM)) page_unlock(seg.sys.vm, busy);
  return {};
}

class CountedWaiting final : public SmapWaiting {
 public:
  const char* name() const override { return "counted"; }

  smap* get_free_smp(Segmap& seg, uint32_t free_ndx) override {
    smwait& wait = seg.smd_wait[free_ndx & (seg.smd_ncolor - 1)];
    for (;;) {
      smap* skipped = nullptr;
      FreeSlot slot = scan_lists(seg, free_ndx, &skipped);
      if (slot.smp == nullptr) slot = look_again_and_wait(seg, free_ndx, wait);
      if (slot.smp != nullptr) {
        grab_smp(seg, slot.smp, slot.pp);
        return slot.smp;
      }
    }
  }

  // Without analysis: smap_append enters the mutex of the queue that it returns.
  void smapadd(Segmap& seg, smap* smp) override ABSL_NO_THREAD_SAFETY_ANALYSIS {
    bool was_empty;
    smap_append(seg, smp, &was_empty).smq_mtx.exit();
    smwait& wait = seg.smd_wait[smp->sm_free_ndx & (seg.smd_ncolor - 1)];
    // Relaxed: ordered by the queue's mutex (segmap/locking.h).
    if (wait.sw_want.load(std::memory_order_relaxed) == 0) return;
    MutexGuard guard(wait.sw_mtx);
    const uint32_t want = wait.sw_want.load(std::memory_order_relaxed);
    if (wait.sw_wakeups() >= want) return;
    wait.sw_wakeups = wait.sw_wakeups() + 1;
    wait.sw_cv.signal();
  }

  uint32_t waiting(const Segmap& seg, uint32_t free_ndx) const override {
    return seg.smd_wait[free_ndx & (seg.smd_ncolor - 1)].sw_want.load(std::memory_order_relaxed);
  }

 private:
  static void count_in(smwait& wait) {
    MutexGuard guard(wait.sw_mtx);
    wait.sw_want.store(wait.sw_want.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  }

  // sw_mtx held.
  static void count_out(smwait& wait) {
    const uint32_t want = wait.sw_want.load(std::memory_order_relaxed) - 1;
    wait.sw_want.store(want, std::memory_order_relaxed);
    wait.sw_wakeups = std::min(wait.sw_wakeups(), want);
  }

  // W1. A slot, or nothing after a wait: look again then.
  static FreeSlot look_again_and_wait(Segmap& seg, uint32_t free_ndx, smwait& wait) {
    count_in(wait);
    smap* skipped = nullptr;
    const FreeSlot slot = scan_lists(seg, free_ndx, &skipped);
    {
      MutexGuard guard(wait.sw_mtx);
      if (slot.smp == nullptr && skipped == nullptr) {
        SMSTAT_INC(seg, get_nofree);
        while (wait.sw_wakeups() == 0) wait.sw_cv.wait(wait.sw_mtx);
        wait.sw_wakeups = wait.sw_wakeups() - 1;
      }
      count_out(wait);
    }
    return slot.smp == nullptr && skipped != nullptr ? wait_for_busy(seg, skipped) : slot;
  }
};

}  // namespace

std::unique_ptr<SmapWaiting> make_counted_waiting() { return std::make_unique<CountedWaiting>(); }

}  // namespace hatcheck::inline HATCHECK_BACKEND
