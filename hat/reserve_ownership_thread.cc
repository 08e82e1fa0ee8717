// Reserves by owner: one thread at a time draws on them, and while it does, no other load begins.
//
//   depth 1, no owner        go on
//   depth 1, another owner   wait until there is none
//   depth > 1                wait until there is none, become the owner
//   back at depth 0          the owner gives up, wakes everybody and trims the reserves
//
// The owner is changed under hat_reserves_lock only. A thread recognises itself without the lock,
// since nobody else can make it the owner or take that away.
#include "hat/hment_reserve.h"
#include "hat/htable_alloc.h"
#include "hat/reserve_ownership.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr int kMaxDepth = 16;
// In t_hatdepth while its thread trims the reserves on the way out. Trimming frees kernel memory; a
// load nested in that must not trim again when it leaves.
constexpr int kTrimming = 0x80;

int depth_of(const System::PerCpu& cpu) { return cpu.t_hatdepth() & (kTrimming - 1); }

// A load that must not allocate counts as nested from the start, so that it uses the reserves.
int weight(uint32_t flags) { return (flags & HAT_NO_KALLOC) != 0 ? 2 : 1; }

std::string describe_depth(int depth) {
  return "invariant 58: cpu " + std::to_string(this_cpu()) + ": t_hatdepth " +
         std::to_string(depth);
}

class ThreadOwnership final : public ReserveOwnership {
 public:
  const char* name() const override { return "thread"; }

  void enter(System& sys, uint32_t flags) override {
    System::PerCpu& me = sys.me();
    me.t_hatdepth = me.t_hatdepth() + weight(flags);
    const int depth = depth_of(me);
    HAT_ASSERT(depth < kMaxDepth, describe_depth(depth));

    // Relaxed: whether it is me cannot change under me, and missing another thread's ownership by
    // a hair only means that this load began before it.
    const System::PerCpu* const owner = owner_.load(std::memory_order_relaxed);
    if (owner == &me || (owner == nullptr && depth == 1)) return;

    MutexGuard guard(hat_reserves_lock_);
    while (owner_.load(std::memory_order_relaxed) != nullptr) {
      hat_reserves_cv_.wait(hat_reserves_lock_);
    }
    if (depth > 1) owner_.store(&me, std::memory_order_relaxed);
  }

  void exit(System& sys, uint32_t flags) override {
    System::PerCpu& me = sys.me();
    const int depth = depth_of(me) - weight(flags);
    HAT_ASSERT(depth >= 0, describe_depth(depth));
    me.t_hatdepth = me.t_hatdepth() - weight(flags);
    if (depth > 0 || owner_.load(std::memory_order_relaxed) != &me) return;

    {
      MutexGuard guard(hat_reserves_lock_);
      owner_.store(nullptr, std::memory_order_relaxed);
      hat_reserves_cv_.broadcast();
    }
    if ((flags & HAT_NO_KALLOC) != 0 || (me.t_hatdepth() & kTrimming) != 0) return;
    me.t_hatdepth = me.t_hatdepth() | kTrimming;
    htable_adjust_reserve(sys);
    hment_adjust_reserve(sys);
    me.t_hatdepth = me.t_hatdepth() & ~kTrimming;
  }

  bool may_use(System& sys) const override {
    const System::PerCpu& me = sys.me();
    return owner_.load(std::memory_order_relaxed) == &me || me.t_vmem_populating();
  }

  bool nested_load_is_noconsist(System& sys) const override { return depth_of(sys.me()) > 1; }

 private:
  Mutex hat_reserves_lock_{kHatReservesLock};
  CondVar hat_reserves_cv_{"hat_reserves_cv"};
  // Written under hat_reserves_lock_.
  Atomic<System::PerCpu*> owner_{nullptr};
};

}  // namespace

std::unique_ptr<ReserveOwnership> make_thread_ownership() {
  return std::make_unique<ThreadOwnership>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
