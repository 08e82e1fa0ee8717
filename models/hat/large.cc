// Large pages that are found through one of their small ones.
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// The mapping of the whole is recorded at the first page; the one that is to go is the second.
class SecondHalf : public HatModel {
 protected:
  SecondHalf() : HatModel(two_levels()) { load_large(hat, 0, large); }

  page_t* const large = new_large_page();
  hat_t* const hat = new_hat();
};

class PageunloadOfTheSecondHalf : public SecondHalf {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/pageunload_of_half_a_large_page_against_unload";
  static constexpr const char* kClaim = "no mapping of any size is left of the page";

  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, large + 1, HAT_FORCE_PGUNLOAD);
      HAT_ASSERT(!hat_page_is_mapped(sys, large + 1), "the page is still mapped");
    } else {
      unload(hat, 0, 2);
    }
  }
  void check() override { HAT_ASSERT(records(large) == 0); }
};

class DemotionThroughTheSecondHalf : public SecondHalf {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/demotion_of_a_large_page_by_its_second_half";
  static constexpr const char* kClaim = "the large mapping goes with the size code, whoever asks";

  void thread(int index) {
    if (index == 0) {
      hat_page_demote(sys, large + 1);
      HAT_ASSERT(!hat_page_is_mapped(sys, large), "a small page has a large mapping");
    } else {
      unload(hat, 0, 2);
    }
  }
  void check() override {
    HAT_ASSERT(large->p_szc.load(std::memory_order_relaxed) == 0);
    HAT_ASSERT(records(large) == 0);
    // The base class knows the first only.
    page_destroy(sys.vm, large + 1, 0);
  }
};

}  // namespace

std::vector<AnyScenario> large_page_scenarios() {
  return scenario_list<PageunloadOfTheSecondHalf, DemotionThroughTheSecondHalf>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
