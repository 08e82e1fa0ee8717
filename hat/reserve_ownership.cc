#include "hat/reserve_ownership.h"

#include "hat/system.h"

namespace hatcheck::inline HATCHECK_BACKEND {

bool USE_HAT_RESERVES(System& sys) {
  // Relaxed: it is 1 only while the boot CPU is alone, and the others start after it was cleared.
  return sys.use_boot_reserve.load(std::memory_order_relaxed) != 0 ||
         sys.reserve_ownership->may_use(sys);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
