// hment_prepare: the mapping list of a page while others change it, in particular while the mlist
// is dropped for an allocation.
//
// The bodies are the mapping and unmapping halves of a load and an unload, on tables that are held
// for the whole run, so that the steps are those of the list and not those of finding a table.
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Page `page` and two address spaces with a table each.
class OnePage : public HatModel {
 protected:
  explicit OnePage(const SystemConfig& config = two_levels()) : HatModel(config) {}

  page_t* const page = new_page();
  htable_t* const one = table(new_hat(), 0);
  htable_t* const two = table(new_hat(), 0);
};

class TwoFirstMappings : public OnePage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment/two_threads_add_the_first_mapping";
  static constexpr const char* kClaim = "the first is embedded, the second turns it into a list";

  void thread(int index) { map(index == 0 ? one : two, 0, page); }
  void check() override {
    HAT_ASSERT(records(page) == 2 && !is_embedded(page));
    HAT_ASSERT(is_mapped(one->ht_hat(), 0) && is_mapped(two->ht_hat(), 0));
  }
};

class ThreeFirstMappings : public OnePage {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "hment/three_threads_add_the_first_mapping";
  static constexpr const char* kClaim = "all three are recorded, whoever does the promotion";

  ThreeFirstMappings() : OnePage(with_cpus(two_levels(), 3)) {}
  void thread(int index) { map(index == 0 ? one : two, index == 2 ? 1 : 0, page); }
  void check() override { HAT_ASSERT(records(page) == 3 && !is_embedded(page)); }
};

class FourFirstMappings : public OnePage {
 public:
  static constexpr int kThreads = 4;
  static constexpr const char* kName = "hment/four_threads_add_the_first_mapping";
  static constexpr const char* kClaim = "all four are recorded, whoever does the promotion";
  static constexpr Bounds kBounds = kBounded;

  FourFirstMappings() : OnePage(with_cpus(two_levels(), 4)) {}
  void thread(int index) { map(index % 2 == 0 ? one : two, index / 2, page); }
  void check() override { HAT_ASSERT(records(page) == 4 && !is_embedded(page)); }
};

// Both need the promotion; one of the two finds it done when it has the mlist again, with an hment
// in hand that it then uses for its own mapping.
class TwoPromotions : public OnePage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment/two_threads_promote_an_embedded_mapping";
  static constexpr const char* kClaim = "the embedded mapping becomes one hment, not two";

  TwoPromotions() { map(one, 0, page); }
  void thread(int index) {
    if (index == 0) {
      map(two, 0, page);
    } else {
      map(one, 1, page);
    }
  }
  void check() override { HAT_ASSERT(records(page) == 3 && !is_embedded(page)); }
};

// While the promoter allocates, the mapping it wanted to promote goes: it ends with its own mapping
// embedded and gives the hment back, or with a list.
class PromotionAgainstUnmap : public OnePage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment/promotion_against_unmap_of_the_only_mapping";
  static constexpr const char* kClaim = "exactly the new mapping is left, and no hment leaks";

  PromotionAgainstUnmap() { map(one, 0, page); }
  void thread(int index) {
    if (index == 0) {
      map(two, 0, page);
    } else {
      unmap(one, 0);
    }
  }
  void check() override {
    HAT_ASSERT(records(page) == 1);
    HAT_ASSERT(!is_mapped(one->ht_hat(), 0) && is_mapped(two->ht_hat(), 0));
  }
};

// The embedded mapping goes and the same thread makes another one embedded while the promoter
// allocates.
class PromotionAgainstReplacement : public OnePage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment/promotion_against_replacement_of_the_embedded";
  static constexpr const char* kClaim = "what is promoted is what is embedded now, not before";

  PromotionAgainstReplacement() { map(one, 0, page); }
  void thread(int index) {
    if (index == 0) {
      map(two, 0, page);
    } else {
      unmap(one, 0);
      map(one, 1, page);
    }
  }
  void check() override {
    HAT_ASSERT(records(page) == 2);
    HAT_ASSERT(is_mapped(two->ht_hat(), 0) && is_mapped(one->ht_hat(), pagesize()));
  }
};

class RefaultEmbedded : public OnePage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment/two_faults_on_one_address_of_an_unmapped_page";
  static constexpr const char* kClaim = "one installs, the other finds it; it is counted once";

  void thread(int) { map(one, 0, page); }
  void check() override {
    HAT_ASSERT(records(page) == 1 && is_embedded(page));
    HAT_ASSERT(valid_count(one) == 1);
  }
};

// The page has a list, so each of the two gets an hment; one is spare and goes back.
class RefaultListed : public OnePage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment/two_faults_on_one_address_of_a_listed_page";
  static constexpr const char* kClaim = "the second fault gives its hment back";

  RefaultListed() {
    map(two, 0, page);
    map(two, 1, page);
  }
  void thread(int) { map(one, 0, page); }
  void check() override {
    HAT_ASSERT(records(page) == 3);
    HAT_ASSERT(valid_count(one) == 1);
  }
};

class RefaultEmbeddedAgainstUnmap : public OnePage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment/refault_of_the_embedded_mapping_against_unmap";
  static constexpr const char* kClaim = "mapped or not, PTE and record agree";

  RefaultEmbeddedAgainstUnmap() { map(one, 0, page); }
  void thread(int index) {
    if (index == 0) {
      map(one, 0, page);
    } else {
      unmap(one, 0);
    }
  }
  void check() override { HAT_ASSERT(records(page) == (is_mapped(one->ht_hat(), 0) ? 1u : 0u)); }
};

class RefaultListedAgainstUnmap : public OnePage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment/refault_of_a_listed_mapping_against_unmap";
  static constexpr const char* kClaim = "mapped or not, PTE and record agree";

  RefaultListedAgainstUnmap() {
    map(two, 0, page);
    map(one, 0, page);
  }
  void thread(int index) {
    if (index == 0) {
      map(one, 0, page);
    } else {
      unmap(one, 0);
    }
  }
  void check() override { HAT_ASSERT(records(page) == (is_mapped(one->ht_hat(), 0) ? 2u : 1u)); }
};

// A list of one stays a list, so another mapping costs an hment; while it is allocated the list
// empties, and the new mapping is embedded.
class ListedPageLosesItsLast : public OnePage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment/one_more_mapping_against_unmap_of_a_list_of_one";
  static constexpr const char* kClaim = "the new mapping is on the list, or embedded after its end";

  ListedPageLosesItsLast() {
    map(one, 0, page);
    map(one, 1, page);
    unmap(one, 1);
  }
  void thread(int index) {
    if (index == 0) {
      map(two, 0, page);
    } else {
      unmap(one, 0);
    }
  }
  void check() override { HAT_ASSERT(records(page) == 1 && is_mapped(two->ht_hat(), 0)); }
};

// The promoter wants to make a list of the very mapping that another thread is adding.
class SameMappingTwiceAndAnother : public OnePage {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "hment/two_faults_on_one_address_against_promotion";
  static constexpr const char* kClaim = "one record per PTE, whoever was first";

  SameMappingTwiceAndAnother() : OnePage(with_cpus(two_levels(), 3)) {}
  void thread(int index) { map(index == 0 ? two : one, 0, page); }
  void check() override {
    HAT_ASSERT(records(page) == 2);
    HAT_ASSERT(valid_count(one) == 1 && valid_count(two) == 1);
  }
};

// Two pages with one mlist between them, so that neither may be held while the other is entered.
class TwoPagesOneMlist : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment/two_pages_on_one_mlist";
  static constexpr const char* kClaim = "promotions of two pages under one mutex do not mix";

  TwoPagesOneMlist() : HatModel(one_mlist()) {
    map(one_, 0, a_);
    map(two_, 0, b_);
  }
  void thread(int index) {
    if (index == 0) {
      map(one_, 1, b_);
    } else {
      map(two_, 1, a_);
    }
  }
  void check() override { HAT_ASSERT(records(a_) == 2 && records(b_) == 2); }

 private:
  static SystemConfig one_mlist() {
    SystemConfig config = two_levels();
    config.mlist_num_lock = 1;
    return config;
  }

  page_t* const a_ = new_page();
  page_t* const b_ = new_page();
  htable_t* const one_ = table(new_hat(), 0);
  htable_t* const two_ = table(new_hat(), 0);
};

// Two pages with different mlists whose hments fall into one bucket: there only the hash_lock keeps
// the threads apart. With several buckets it has to be the lock of this one.
template <IndexDesign kIndex, uint32_t kBuckets>
class TwoRecordsOneBucket : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName =
      kIndex == IndexDesign::kChain
          ? (kBuckets == 1 ? "hment/two_records_in_one_bucket_chain"
                           : "hment/two_records_in_one_of_two_buckets_chain")
          : (kBuckets == 1 ? "hment/two_records_in_one_bucket_avl"
                           : "hment/two_records_in_one_of_two_buckets_avl");
  static constexpr const char* kClaim = "insertion and removal share a bucket under its lock";

  TwoRecordsOneBucket() : HatModel(with_index()) {
    map(one_, 0, a_);
    map(two_, 1 - same_bucket_, a_);
    map(one_, 1, b_);
    map(two_, same_bucket_, b_);
    unmap(one_, 0);
  }
  void thread(int index) {
    if (index == 0) {
      map(one_, 0, a_);
    } else {
      unmap(two_, same_bucket_);
    }
  }
  void check() override { HAT_ASSERT(records(a_) == 2 && records(b_) == 1); }

 private:
  static SystemConfig with_index() {
    SystemConfig config = two_levels();
    config.index = kIndex;
    config.hment_num_hash = config.hash_num_lock = kBuckets;
    return config;
  }

  page_t* const a_ = new_page();
  page_t* const b_ = new_page();
  htable_t* const one_ = table(new_hat(), 0);
  htable_t* const two_ = table(new_hat(), 0);
  // The entry of two_ whose records fall into the bucket of entry 0 of one_.
  const uint32_t same_bucket_ =
      sys.hment_index->bucket_of(two_, 1) == sys.hment_index->bucket_of(one_, 0) ? 1 : 0;
};

// Thread 0 has cleared the PTE of the old page and not yet removed its record when thread 1 maps
// another page there: for a moment the index has two hments of equal table and entry.
template <IndexDesign kIndex>
class OldAndNewAtOneEntry : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = kIndex == IndexDesign::kChain
                                           ? "hment/unmap_against_map_of_another_page_chain"
                                           : "hment/unmap_against_map_of_another_page_avl";
  static constexpr const char* kClaim = "the unmapper removes the record of the page it unmapped";

  OldAndNewAtOneEntry() : HatModel(with_index()) {
    map(two_, 0, old_);
    map(one_, 0, old_);
    map(two_, 1, new_);
    map(one_, 1, new_);
  }
  void thread(int index) {
    if (index == 0) {
      unmap(one_, 0);
      return;
    }
    // The address belongs to thread 0 until its PTE is gone.
    if (!PTE_ISVALID(x86pte_get(sys, one_, 0))) map(one_, 0, new_);
  }
  void check() override {
    HAT_ASSERT(records(old_) == 1);
    HAT_ASSERT(records(new_) == (is_mapped(one_->ht_hat(), 0) ? 3u : 2u));
  }

 private:
  static SystemConfig with_index() {
    SystemConfig config = two_levels();
    config.index = kIndex;
    return config;
  }

  page_t* const old_ = new_page();
  page_t* const new_ = new_page();
  htable_t* const one_ = table(new_hat(), 0);
  htable_t* const two_ = table(new_hat(), 0);
};

// A page that is mapped all the time, first by an embedded mapping, then by a list.
class CountDuringPromotion : public OnePage {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "hment/mapcnt_during_promotion";
  static constexpr const char* kClaim = "a page that is mapped all the time never counts 0";

  CountDuringPromotion() { map(one, 0, page); }
  void thread(int index) {
    if (index == 0) {
      map(two, 0, page);
    } else {
      const uint32_t count = hment_mapcnt(sys, page);
      HAT_ASSERT(count == 1 || count == 2);
    }
  }
};

}  // namespace

std::vector<AnyScenario> hment_prepare_scenarios() {
  return scenario_list<
      TwoFirstMappings, ThreeFirstMappings, FourFirstMappings, TwoPromotions, PromotionAgainstUnmap,
      PromotionAgainstReplacement, RefaultEmbedded, RefaultListed, RefaultEmbeddedAgainstUnmap,
      RefaultListedAgainstUnmap, ListedPageLosesItsLast, SameMappingTwiceAndAnother,
      TwoPagesOneMlist, TwoRecordsOneBucket<IndexDesign::kChain, 1>,
      TwoRecordsOneBucket<IndexDesign::kAvl, 1>, TwoRecordsOneBucket<IndexDesign::kChain, 2>,
      TwoRecordsOneBucket<IndexDesign::kAvl, 2>, OldAndNewAtOneEntry<IndexDesign::kChain>,
      OldAndNewAtOneEntry<IndexDesign::kAvl>, CountDuringPromotion>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
