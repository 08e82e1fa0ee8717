// Large pages that are found through one of their small ones, or give way to small ones.
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

// The first half is also mapped by itself, small.
class SmallMappingBeside : public SecondHalf {
 public:
  static constexpr int kThreads = 1;
  static constexpr const char* kName = "unload/a_small_mapping_beside_what_is_unloaded";
  static constexpr const char* kClaim = "what does not map the page stays, small pages stay mapped";

  SmallMappingBeside() { load(small_, 0, large); }
  void thread(int) {
    hat_pageunload(sys, large + 1, HAT_FORCE_PGUNLOAD);
    HAT_ASSERT(!is_mapped(hat, 0) && is_mapped(small_, 0), "the other half's own mapping is gone");
    load_large(hat, 0, large);
    hat_page_demote(sys, large);
    HAT_ASSERT(!is_mapped(hat, 0) && is_mapped(small_, 0), "a demotion takes large mappings only");
    // The base class knows the first only.
    page_destroy(sys.vm, large + 1, 0);
  }

 private:
  hat_t* const small_ = new_hat();
};

// What the unloader of a large page finds in its place is a pointer, not a leaf.
template <InvalidationDesign kDesign>
class LargeUnloadAgainstTable : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName =
      kDesign == InvalidationDesign::kCaptured
          ? "unload/large_unload_against_a_page_table_in_its_place_captured"
          : "unload/large_unload_against_a_page_table_in_its_place";
  static constexpr const char* kClaim = "a pointer entry is not taken for a mapping";

  LargeUnloadAgainstTable() : HatModel(with_inval(two_levels(), kDesign)) {
    load_large(hat_, 0, large_);
  }
  void thread(int index) {
    if (index == 0) {
      unload(hat_, 0, 2);
    } else {
      hat_pageunload(sys, large_, HAT_FORCE_PGUNLOAD);
      load(hat_, 0, small_);
    }
  }
  void check() override {
    HAT_ASSERT(records(large_) == 0);
    HAT_ASSERT(records(small_) == (is_mapped(hat_, 0) ? 1u : 0u));
  }

 private:
  page_t* const small_ = new_page();
  page_t* const large_ = new_large_page();
  hat_t* const hat_ = new_hat();
};

// CPU 1 reads through the mapping of the whole.
class DestructionAgainstAccess : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "unload/destruction_of_a_large_page_against_access";
  static constexpr const char* kClaim = "no mapping of any size is left, and no CPU uses one";

  DestructionAgainstAccess() : HatModel(two_levels()) {
    load_large(hat_, 0, large_);
    put_on(1, hat_);
    access(1, pagesize(), AccessKind::kRead);
  }
  void thread(int index) {
    if (index == 0) {
      page_destroy_pages(sys.vm, large_);
    } else {
      read(pagesize());
    }
  }
  void check() override { HAT_ASSERT(!is_mapped(hat_, 0)); }

 private:
  page_t* const large_ = page_alloc_large(sys.vm, &file, 0, 1);
  hat_t* const hat_ = new_hat();
};

}  // namespace

std::vector<AnyScenario> large_page_scenarios() {
  return scenario_list<PageunloadOfTheSecondHalf, DemotionThroughTheSecondHalf,
                       DestructionAgainstAccess, SmallMappingBeside,
                       LargeUnloadAgainstTable<InvalidationDesign::kShootdown>,
                       LargeUnloadAgainstTable<InvalidationDesign::kCaptured>>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
