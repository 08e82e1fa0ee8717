#include "segmap/smap_hash.h"

#include "absl/strings/str_cat.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// sh_mtx held.
smap* search(const smaphash& bucket, const vnode_t* vp, uint64_t off) {
  smap* smp = bucket.sh_hash_list();
  while (smp != nullptr && (smp->sm_vp() != vp || smp->sm_off() != off)) smp = smp->sm_hash();
  return smp;
}

}  // namespace

smaphash& smap_hash_bucket(Segmap& seg, const vnode_t* vp, uint64_t off) {
  // The published function takes bits 6 and up, and 3 and up, of an address; numbers are dense.
  const uint64_t id = vp->v_id << 6;
  const uint64_t key = (id >> 6) + (id >> 3) + (off >> seg.maxbshift);
  return seg.smd_hash[key & (seg.smd_hash.size() - 1)];
}

smap* smap_find(Segmap& seg, const vnode_t* vp, uint64_t off) {
  smaphash& bucket = smap_hash_bucket(seg, vp, off);
  MutexGuard guard(bucket.sh_mtx);
  return search(bucket, vp, off);
}

smap* segmap_hashin(Segmap& seg, smap* smp, vnode_t* vp, uint64_t off) {
  HAT_ASSERT(smp->sm_mtx.held() && smp->sm_vp() == nullptr && smp->sm_hash() == nullptr);
  smaphash& bucket = smap_hash_bucket(seg, vp, off);
  MutexGuard guard(bucket.sh_mtx);
  smap* const other = search(bucket, vp, off);
  if (other != nullptr) return other;
  smp->sm_vp = vp;
  smp->sm_off = off;
  smp->sm_hash = bucket.sh_hash_list();
  bucket.sh_hash_list = smp;
  return nullptr;
}

void segmap_hashout(Segmap& seg, smap* smp) {
  HAT_ASSERT(smp->sm_mtx.held());
  smaphash& bucket = smap_hash_bucket(seg, smp->sm_vp(), smp->sm_off());
  {
    MutexGuard guard(bucket.sh_mtx);
    smap* prev = nullptr;
    smap* at = bucket.sh_hash_list();
    for (; at != nullptr && at != smp; at = at->sm_hash()) prev = at;
    if (at == nullptr) {
      panic(absl::StrCat("invariant 45: slot ", smp->sm_index, " is not on the chain of (vnode ",
                         smp->sm_vp()->v_id, ", ", smp->sm_off(), ")"));
    }
    if (prev == nullptr) {
      bucket.sh_hash_list = smp->sm_hash();
    } else {
      prev->sm_hash = smp->sm_hash();
    }
  }
  // Off the chain nobody else reads these.
  smp->sm_hash = nullptr;
  smp->sm_vp = nullptr;
  smp->sm_off = 0;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
