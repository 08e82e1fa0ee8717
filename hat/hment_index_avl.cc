// Buckets as AVL trees, balanced by boost::intrusive's algorithms over the links in hment_t.
//
// The algorithms want a header node above the root of each tree. A bucket stores its root only (8
// bytes): all buckets of one lock share a header, which is set up for a bucket while its lock is
// held. So the parent link of every root leads to the header of its lock, and stays right when the
// header serves another bucket. A header per bucket would be 72 bytes for each of 65536 buckets,
// 4.7 MB, and a cache line more per operation.
#include <boost/intrusive/avltree_algorithms.hpp>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "hat/hment_index.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

struct HmentNodeTraits {
  using node = hment_t;
  using node_ptr = hment_t*;
  using const_node_ptr = const hment_t*;
  using balance = int;

  static node_ptr get_parent(const_node_ptr n) { return n->hm_hash_parent(); }
  static void set_parent(node_ptr n, node_ptr parent) { n->hm_hash_parent = parent; }
  static node_ptr get_left(const_node_ptr n) { return n->hm_hash_left(); }
  static void set_left(node_ptr n, node_ptr left) { n->hm_hash_left = left; }
  static node_ptr get_right(const_node_ptr n) { return n->hm_hash_right(); }
  static void set_right(node_ptr n, node_ptr right) { n->hm_hash_right = right; }
  static balance get_balance(const_node_ptr n) { return n->hm_hash_balance(); }
  static void set_balance(node_ptr n, balance b) { n->hm_hash_balance = b; }
  static balance negative() { return -1; }
  static balance zero() { return 0; }
  static balance positive() { return 1; }
};

using Tree = boost::intrusive::avltree_algorithms<HmentNodeTraits>;

struct KeyLess {
  bool operator()(const hment_t* node, const HmentKey& key) const {
    return hment_compare(hment_key(node), key) < 0;
  }
  bool operator()(const HmentKey& key, const hment_t* node) const {
    return hment_compare(key, hment_key(node)) < 0;
  }
};

// An AVL tree this high has more nodes than there is memory.
constexpr int kMaxHeight = 64;

class AvlIndex final : public HmentIndex {
 public:
  AvlIndex(uint32_t num_buckets, uint32_t num_locks)
      : HmentIndex(num_buckets, num_locks),
        roots_(new Guarded<hment_t*>[num_buckets]),
        headers_(new hment_t[num_locks]) {}

  const char* name() const override { return "avl"; }

  void insert(hment_t* hm) override {
    const HmentKey key = hment_key(hm);
    const uint32_t bucket = bucket_of(key.ht, key.entry);
    MutexGuard guard(lock_of(bucket));
    hment_t* header = header_for(bucket);
    Tree::insert_commit_data place;
    const bool fresh = Tree::insert_unique_check(header, key, KeyLess(), place).second;
    HAT_ASSERT(fresh, "invariant 6: hment " + to_string(key) + " is already in the index");
    Tree::insert_unique_commit(header, hm, place);
    roots_[bucket] = header->hm_hash_parent();
  }

  hment_t* remove(const HmentKey& key) override {
    const uint32_t bucket = bucket_of(key.ht, key.entry);
    MutexGuard guard(lock_of(bucket));
    hment_t* header = header_for(bucket);
    hment_t* hm = Tree::find(header, key, KeyLess());
    if (hm == header) return nullptr;
    Tree::erase(header, hm);
    roots_[bucket] = header->hm_hash_parent();
    return hm;
  }

  void for_each(absl::FunctionRef<void(uint32_t, hment_t*)> visit) const override {
    for (uint32_t bucket = 0; bucket < num_buckets(); ++bucket) {
      visit_subtree(bucket, roots_[bucket](), visit, 0);
    }
  }

  std::string check_shape() const override {
    for (uint32_t bucket = 0; bucket < num_buckets(); ++bucket) {
      ShapeCheck check;
      check.bucket = bucket;
      check_subtree(check, roots_[bucket](), &headers_[lock_index(bucket)], 0);
      if (!check.complaint.empty()) return check.complaint;
    }
    return {};
  }

 private:
  // The header, made ready for a bucket whose lock is held. Of its links only the one to the root
  // is used: the algorithms keep those to the first and last node of a tree, but we never look.
  hment_t* header_for(uint32_t bucket) {
    hment_t* header = &headers_[lock_index(bucket)];
    header->hm_hash_parent = roots_[bucket]();
    return header;
  }

  static void visit_subtree(uint32_t bucket, hment_t* node,
                            absl::FunctionRef<void(uint32_t, hment_t*)> visit, int depth) {
    if (node == nullptr || depth > kMaxHeight) return;
    visit_subtree(bucket, node->hm_hash_left(), visit, depth + 1);
    visit(bucket, node);
    visit_subtree(bucket, node->hm_hash_right(), visit, depth + 1);
  }

  struct ShapeCheck {
    uint32_t bucket = 0;
    const hment_t* last = nullptr;  // in order
    std::string complaint;
  };

  // Height of the subtree; stops at the first complaint.
  int check_subtree(ShapeCheck& check, const hment_t* node, const hment_t* parent,
                    int depth) const {
    if (node == nullptr || !check.complaint.empty()) return 0;
    const auto complain = [&check](const hment_t* at, const char* what) {
      check.complaint =
          absl::StrCat("hment tree ", check.bucket, ": ", to_string(hment_key(at)), " ", what);
      return 0;
    };
    if (depth > kMaxHeight) return complain(node, "is too deep: a cycle");
    if (node->hm_hash_parent() != parent) return complain(node, "has a wrong parent link");
    check.complaint = check_bucket(check.bucket, node);
    const int left = check_subtree(check, node->hm_hash_left(), node, depth + 1);
    if (!check.complaint.empty()) return 0;
    if (check.last != nullptr && hment_compare(hment_key(check.last), hment_key(node)) >= 0) {
      return complain(node, "is out of order or twice in the index (invariant 6)");
    }
    check.last = node;
    const int right = check_subtree(check, node->hm_hash_right(), node, depth + 1);
    if (!check.complaint.empty()) return 0;
    if (right - left != node->hm_hash_balance()) {
      return complain(node, "has a balance that its subtrees do not");
    }
    if (right - left < -1 || right - left > 1) return complain(node, "is out of balance");
    return 1 + (left > right ? left : right);
  }

  const std::unique_ptr<Guarded<hment_t*>[]> roots_;  // each under its bucket's lock
  const std::unique_ptr<hment_t[]> headers_;          // each under the lock of its index
};

}  // namespace

std::unique_ptr<HmentIndex> make_avl_index(uint32_t num_buckets, uint32_t num_locks) {
  return std::make_unique<AvlIndex>(num_buckets, num_locks);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
