// Reserves by recursion depth: a load that runs inside another load of the same thread may use
// them.
//
// Nothing is shared between threads, so nobody ever waits; any number of threads may be drawing on
// the reserves at once.
#include "hat/reserve_ownership.h"
#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr int kMaxDepth = 16;

class DepthOwnership final : public ReserveOwnership {
 public:
  const char* name() const override { return "depth"; }

  void enter(System& sys, uint32_t /*flags*/) override {
    System::PerCpu& me = sys.me();
    const int depth = me.t_hatdepth() + 1;
    HAT_ASSERT(depth < kMaxDepth, "invariant 58: cpu " + std::to_string(this_cpu()) +
                                      ": t_hatdepth " + std::to_string(depth));
    me.t_hatdepth = depth;
  }

  void exit(System& sys, uint32_t /*flags*/) override {
    System::PerCpu& me = sys.me();
    const int depth = me.t_hatdepth() - 1;
    HAT_ASSERT(depth >= 0, "invariant 58: cpu " + std::to_string(this_cpu()) + ": t_hatdepth " +
                               std::to_string(depth));
    me.t_hatdepth = depth;
  }

  bool may_use(System& sys) const override {
    const System::PerCpu& me = sys.me();
    return me.t_hatdepth() > 1 || me.t_vmem_populating();
  }

  bool nested_load_is_noconsist(System& /*sys*/) const override { return false; }
};

}  // namespace

std::unique_ptr<ReserveOwnership> make_depth_ownership() {
  return std::make_unique<DepthOwnership>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
