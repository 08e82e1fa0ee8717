// kpm as this platform has it: all memory, for ever. See hat/kpm_mapping.h.
#include "hat/hat.h"
#include "hat/kpm_mapping.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class LinearKpm final : public KpmMapping {
 public:
  const char* name() const override { return "linear"; }

  level_t boot_table_level(const System& sys) const override { return sys.mmu().max_page_level; }

  void boot(System& sys) override {
    // No holds are needed: these mappings stay.
    hat_devload(sys, sys.kas_hat(), sys.kpm_vbase, sys.kpm_eaddr - sys.kpm_vbase, 0,
                PROT_READ_ATTR | PROT_WRITE_ATTR | HAT_STORECACHING_OK, HAT_LOAD_NOCONSIST);
  }

  void mapin(System&, page_t*, kpme*, uintptr_t) override {}
  void mapout(System&, page_t*, kpme*, uintptr_t) override {}
  void pageunload(System&, page_t*) override {}
  bool records_users() const override { return false; }
};

}  // namespace

std::unique_ptr<KpmMapping> make_linear_kpm() { return std::make_unique<LinearKpm>(); }

}  // namespace hatcheck::inline HATCHECK_BACKEND
