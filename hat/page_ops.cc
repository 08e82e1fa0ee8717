#include "hat/page_ops.h"

#include "hat/hat_page.h"
#include "hat/hment.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

static_assert(kPageSyncZeroRm == HAT_SYNC_ZERORM, "vm/ hands its flags through");

class HatPageOps final : public PageMappingOps {
 public:
  explicit HatPageOps(System& sys) : sys_(sys) {}

  uint32_t hment_mapcnt(page_t* pp) override { return hatcheck::hment_mapcnt(sys_, pp); }
  void hat_pageunload(page_t* pp) override { hatcheck::hat_pageunload(sys_, pp); }
  uint32_t hat_pagesync(page_t* pp, uint32_t flags) override {
    return hatcheck::hat_pagesync(sys_, pp, flags);
  }
  void hat_page_setattr(page_t* pp, uint32_t bits) override {
    hatcheck::hat_page_setattr(sys_, pp, bits);
  }
  void hat_page_clrattr(page_t* pp, uint32_t bits) override {
    hatcheck::hat_page_clrattr(sys_, pp, bits);
  }

 private:
  System& sys_;
};

}  // namespace

std::unique_ptr<PageMappingOps> make_page_ops(System& sys) {
  return std::make_unique<HatPageOps>(sys);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
