#include "hat/hment_index.h"

#include <bit>
#include <string>

#include "absl/strings/str_format.h"

namespace hatcheck::inline HATCHECK_BACKEND {

int hment_compare(const HmentKey& a, const HmentKey& b) {
  // Tables are ordered by address; any total order would do.
  const auto at = reinterpret_cast<uintptr_t>(a.ht);
  const auto bt = reinterpret_cast<uintptr_t>(b.ht);
  if (at != bt) return at < bt ? -1 : 1;
  if (a.entry != b.entry) return a.entry < b.entry ? -1 : 1;
  if (a.pfn != b.pfn) return a.pfn < b.pfn ? -1 : 1;
  return 0;
}

std::string to_string(const HmentKey& key) {
  if (key.ht == nullptr) return absl::StrFormat("no htable entry=%u pfn=%u", key.entry, key.pfn);
  return absl::StrFormat("htable va=%#x level=%d entry=%u pfn=%u", key.ht->ht_vaddr(),
                         key.ht->ht_level(), key.entry, key.pfn);
}

HmentIndex::HmentIndex(uint32_t num_buckets, uint32_t num_locks)
    : num_buckets_(num_buckets), hash_lock_(kHmentHashLock, num_locks) {
  HAT_ASSERT(std::has_single_bit(num_buckets), "the number of hment buckets is a power of two");
}

uint32_t HmentIndex::bucket_of(const htable_t* ht, uint32_t entry) const {
  const pfn_t pfn = ht->ht_pfn();
  return static_cast<uint32_t>((pfn << 9) + pfn + entry) & (num_buckets_ - 1);
}

std::string HmentIndex::check_bucket(uint32_t bucket, const hment_t* hm) const {
  const HmentKey key = hment_key(hm);
  if (key.ht == nullptr) return absl::StrFormat("invariant 5: hment without htable in the index");
  const uint32_t expected = bucket_of(key.ht, key.entry);
  if (bucket == expected) return {};
  return absl::StrFormat("invariant 5: hment %s is in bucket %u, its key hashes to %u",
                         to_string(key), bucket, expected);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
