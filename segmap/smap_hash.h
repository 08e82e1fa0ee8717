// Slots by identity: the hash chains.
//
// Locks: the chain's sh_mtx (place 7), a leaf. An answer found under it is a hint as soon as it is
// dropped: who acts on it enters the slot's sm_mtx and looks at the identity again.
#ifndef HATCHECK_SEGMAP_SMAP_HASH_H_
#define HATCHECK_SEGMAP_SMAP_HASH_H_

#include <cstdint>

#include "segmap/smap.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// The chain of an identity. off: a multiple of MAXBSIZE. Follows SMAP_HASHFUNC, with the vnode's
// number in place of its address, so that equal runs have equal chains.
smaphash& smap_hash_bucket(Segmap& seg, const vnode_t* vp, uint64_t off);

// The slot with that identity, or null. No lock but the chain's; none on return.
smap* smap_find(Segmap& seg, const vnode_t* vp, uint64_t off);

// Gives smp (sm_mtx held, blank, off queue) the identity and puts it on its chain. Returns null, or
// the slot that has the identity already: then nothing has changed.
smap* segmap_hashin(Segmap& seg, smap* smp, vnode_t* vp, uint64_t off);

// Takes smp (sm_mtx held, hashed) off its chain and blanks its identity. Panics if it is not there.
void segmap_hashout(Segmap& seg, smap* smp);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_SEGMAP_SMAP_HASH_H_
