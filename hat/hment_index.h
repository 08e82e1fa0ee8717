// The index that finds an hment by (table, entry, frame): two published designs behind one policy.
//
//   ChainIndex  buckets are singly linked chains (hment_index_chain.cc); published with 256 locks
//   AvlIndex    buckets are AVL trees (hment_index_avl.cc); published with 2048 locks
//
// Both keep the same number of buckets and hash alike. The policy owns the hash locks (class
// hment_hash, place 11, leaf): each member takes the lock of one bucket and drops it before it
// returns. The caller holds the mlist of the page concerned.
//
// Invariant 6: a key (table, entry, frame) is in the index at most once. The tree passes the place
// of an equal key on its way and asserts it in insert(); the chain leaves it to check_shape().
// Invariant 5: an hment is in the one bucket that its key hashes to.
#ifndef HATCHECK_HAT_HMENT_INDEX_H_
#define HATCHECK_HAT_HMENT_INDEX_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "hat/hat_types.h"
#include "hat/locking.h"
#include "platform/platform.h"
#include "vm/lock_array.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Key of the index.
struct HmentKey {
  htable_t* ht;
  uint32_t entry;
  pfn_t pfn;

  friend bool operator==(const HmentKey&, const HmentKey&) = default;
};

// The key of an hment whose hm_htable, hm_entry and hm_pfn are set. They are constant while it is
// in the index, so whoever holds its bucket's lock may read them.
inline HmentKey hment_key(const hment_t* hm) {
  return HmentKey{hm->hm_htable(), hm->hm_entry(), hm->hm_pfn()};
}

// Total order on keys: table, entry, frame. <0, 0, >0.
int hment_compare(const HmentKey& a, const HmentKey& b);

// "htable va=0x200000 level=0 entry=3 pfn=17", for messages.
std::string to_string(const HmentKey& key);

class HmentIndex {
 public:
  // Both counts are powers of two.
  HmentIndex(uint32_t num_buckets, uint32_t num_locks);
  virtual ~HmentIndex() = default;
  HmentIndex(const HmentIndex&) = delete;
  HmentIndex& operator=(const HmentIndex&) = delete;

  virtual const char* name() const = 0;

  // Adds hm, whose hm_htable, hm_entry and hm_pfn are set.
  virtual void insert(hment_t* hm) = 0;

  // Finds the hment with this key, takes it out and returns it; nullptr if there is none.
  virtual hment_t* remove(const HmentKey& key) = 0;

  // Calls visit(bucket, hment) for every hment. Quiescent use only (audits).
  virtual void for_each(absl::FunctionRef<void(uint32_t, hment_t*)> visit) const = 0;

  // Checks the shape of every bucket (order, balance, parent links); returns the first complaint
  // or an empty string. Quiescent use only.
  virtual std::string check_shape() const = 0;

  // 512*ht_pfn + ht_pfn + entry, masked to the number of buckets. The table's frame is constant
  // while it is hashed, so no lock is needed.
  uint32_t bucket_of(const htable_t* ht, uint32_t entry) const;

  uint32_t num_buckets() const { return num_buckets_; }
  uint32_t num_locks() const { return static_cast<uint32_t>(hash_lock_.size()); }

 protected:
  // Which lock a bucket has.
  uint32_t lock_index(uint32_t bucket) const { return bucket & (num_locks() - 1); }
  Mutex& lock_of(uint32_t bucket) const { return hash_lock_[bucket]; }

  // Invariant 5 for one hment found in `bucket`; a complaint or an empty string.
  std::string check_bucket(uint32_t bucket, const hment_t* hm) const;

 private:
  const uint32_t num_buckets_;
  const LockArray hash_lock_;
};

std::unique_ptr<HmentIndex> make_chain_index(uint32_t num_buckets, uint32_t num_locks);
std::unique_ptr<HmentIndex> make_avl_index(uint32_t num_buckets, uint32_t num_locks);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HMENT_INDEX_H_
