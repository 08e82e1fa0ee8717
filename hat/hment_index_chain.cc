// Buckets as singly linked chains through hm_hash_left; insertion at the head.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "hat/hment_index.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

class ChainIndex final : public HmentIndex {
 public:
  ChainIndex(uint32_t num_buckets, uint32_t num_locks)
      : HmentIndex(num_buckets, num_locks), heads_(new Guarded<hment_t*>[num_buckets]) {}

  const char* name() const override { return "chain"; }

  void insert(hment_t* hm) override {
    const uint32_t bucket = bucket_of(hm->hm_htable(), hm->hm_entry());
    MutexGuard guard(lock_of(bucket));
    hm->hm_hash_left = heads_[bucket]();
    heads_[bucket] = hm;
  }

  hment_t* remove(const HmentKey& key) override {
    const uint32_t bucket = bucket_of(key.ht, key.entry);
    MutexGuard guard(lock_of(bucket));
    // `from` is the link that leads to hm.
    Guarded<hment_t*>* from = &heads_[bucket];
    for (hment_t* hm = (*from)(); hm != nullptr; hm = (*from)()) {
      if (hment_key(hm) == key) {
        *from = hm->hm_hash_left();
        hm->hm_hash_left = nullptr;
        return hm;
      }
      from = &hm->hm_hash_left;
    }
    return nullptr;
  }

  void for_each(absl::FunctionRef<void(uint32_t, hment_t*)> visit) const override {
    for (uint32_t bucket = 0; bucket < num_buckets(); ++bucket) {
      for (hment_t* hm = heads_[bucket](); hm != nullptr; hm = hm->hm_hash_left()) {
        visit(bucket, hm);
      }
    }
  }

  std::string check_shape() const override {
    for (uint32_t bucket = 0; bucket < num_buckets(); ++bucket) {
      std::string complaint = check_chain(bucket);
      if (!complaint.empty()) return complaint;
    }
    return {};
  }

 private:
  std::string check_chain(uint32_t bucket) const {
    std::vector<HmentKey> keys;
    const hment_t* slow = heads_[bucket]();  // goes half as fast: in a cycle it is met again
    for (const hment_t* hm = slow; hm != nullptr; hm = hm->hm_hash_left()) {
      std::string complaint = check_bucket(bucket, hm);
      if (!complaint.empty()) return complaint;
      keys.push_back(hment_key(hm));
      if (keys.size() == 1) continue;
      if (keys.size() % 2 == 1) slow = slow->hm_hash_left();
      if (slow == hm) return absl::StrCat("hment chain ", bucket, " has a cycle");
    }
    std::sort(keys.begin(), keys.end(),
              [](const HmentKey& a, const HmentKey& b) { return hment_compare(a, b) < 0; });
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice == keys.end()) return {};
    return absl::StrCat("invariant 6: hment ", to_string(*twice), " is twice in chain ", bucket);
  }

  const std::unique_ptr<Guarded<hment_t*>[]> heads_;  // each under its bucket's lock
};

}  // namespace

std::unique_ptr<HmentIndex> make_chain_index(uint32_t num_buckets, uint32_t num_locks) {
  return std::make_unique<ChainIndex>(num_buckets, num_locks);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
