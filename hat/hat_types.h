// The three objects of the HAT layer: hat_t, htable_t, hment_t, and their flag values.
//
// Field names are illumos's. Next to each field stands who may change it and who may look at it
// without that protection; a field with unlocked readers is an Atomic, all others are Guarded.
#ifndef HATCHECK_HAT_HAT_TYPES_H_
#define HATCHECK_HAT_HAT_TYPES_H_

#include <array>
#include <cstdint>
#include <memory>

#include "hat/locking.h"
#include "machine/cpuset.h"
#include "machine/pte.h"
#include "platform/platform.h"
#include "vm/address_space.h"
#include "vm/page.h"

namespace hatcheck::inline HATCHECK_BACKEND {

using level_t = int;

inline constexpr int kMaxLevels = 4;

// x86pte_set found a page table where a large page was to go.
inline constexpr x86pte_t LPAGE_ERROR = ~x86pte_t{0};
// "Every address" for hat_tlb_inval.
inline constexpr uintptr_t DEMAP_ALL_ADDR = ~uintptr_t{0};
// "No end" for htable_walk.
inline constexpr uintptr_t HTABLE_WALK_TO_END = ~uintptr_t{0};

// hat_flags.
inline constexpr uint32_t HAT_FREEING = 0x1;
inline constexpr uint32_t HAT_VICTIM = 0x4;
inline constexpr uint32_t HAT_SHARED = 0x8;

// Load flags.
inline constexpr uint32_t HAT_LOAD = 0x0;
inline constexpr uint32_t HAT_LOAD_LOCK = 0x1;
inline constexpr uint32_t HAT_LOAD_ADV = 0x4;
inline constexpr uint32_t HAT_LOAD_CONTIG = 0x10;
inline constexpr uint32_t HAT_LOAD_NOCONSIST = 0x20;
inline constexpr uint32_t HAT_LOAD_SHARE = 0x40;
inline constexpr uint32_t HAT_LOAD_REMAP = 0x80;
inline constexpr uint32_t HAT_RELOAD_SHARE = 0x100;
inline constexpr uint32_t HAT_NO_KALLOC = 0x200;
inline constexpr uint32_t HAT_LOAD_TEXT = 0x400;

// Attributes.
inline constexpr uint32_t PROT_READ_ATTR = 0x1;
inline constexpr uint32_t PROT_WRITE_ATTR = 0x2;
inline constexpr uint32_t PROT_EXEC_ATTR = 0x4;
inline constexpr uint32_t PROT_USER_ATTR = 0x8;
inline constexpr uint32_t PROT_ALL_ATTR = 0xf;
inline constexpr uint32_t HAT_NOFAULT = 0x10;
inline constexpr uint32_t HAT_NOSYNC = 0x20;
inline constexpr uint32_t HAT_STRICTORDER = 0x0;
inline constexpr uint32_t HAT_UNORDERED_OK = 0x100;
inline constexpr uint32_t HAT_MERGING_OK = 0x200;
inline constexpr uint32_t HAT_LOADCACHING_OK = 0x300;
inline constexpr uint32_t HAT_STORECACHING_OK = 0x400;
inline constexpr uint32_t HAT_ORDER_MASK = 0x700;
inline constexpr uint32_t HAT_PLAT_NOCACHE = 0x100000;

// Unload flags.
inline constexpr uint32_t HAT_UNLOAD = 0x0;
inline constexpr uint32_t HAT_UNLOAD_NOSYNC = 0x2;
inline constexpr uint32_t HAT_UNLOAD_UNLOCK = 0x4;
inline constexpr uint32_t HAT_UNLOAD_OTHER = 0x8;
inline constexpr uint32_t HAT_UNLOAD_UNMAP = 0x10;

// Sync flags.
inline constexpr uint32_t HAT_SYNC_DONTZERO = 0;
inline constexpr uint32_t HAT_SYNC_ZERORM = 1;
inline constexpr uint32_t HAT_SYNC_STOPON_REF = 2;
inline constexpr uint32_t HAT_SYNC_STOPON_MOD = 4;
inline constexpr uint32_t HAT_SYNC_STOPON_RM = 6;
inline constexpr uint32_t HAT_SYNC_STOPON_SHARED = 8;
inline constexpr uint32_t HAT_FORCE_PGUNLOAD = 1;  // accepted and ignored

// ht_flags.
inline constexpr uint32_t HTABLE_SHARED_PFN = 0x2;

struct hat_t;
struct htable_t;

// One hardware page table, or one use of a shared one.
//
// Life rule: a table leaves the hash only when, under its bucket mutex, ht_busy is 1 (the
// remover's own hold) and ht_valid_cnt is 0. Raising ht_valid_cnt needs a hold, so what the
// remover saw stays true until it drops the mutex.
struct htable_t {
  // Chain links while hashed (bucket mutex); ht_next alone links the tables of a hat's cache
  // (hat_mutex), of the reserve (reserve mutex) or of a private stolen list.
  Guarded<htable_t*> ht_next{nullptr};
  Guarded<htable_t*> ht_prev{nullptr};
  // Identity: constant while hashed, changed only while nobody else can reach the table.
  Guarded<hat_t*> ht_hat{nullptr};
  Guarded<uintptr_t> ht_vaddr{0};
  Guarded<level_t> ht_level{0};
  Guarded<uint32_t> ht_flags{0};
  Guarded<pfn_t> ht_pfn{PFN_INVALID};
  // Holds: one per pointer a thread keeps, per child table, per sharer. Changed under the bucket
  // mutex; hment_steal and htable_steal's unmap loop look at it without.
  Atomic<int32_t> ht_busy{0};
  // Valid entries, leaf or pointer. Raised only by a thread that holds ht_busy; to be trusted only
  // under the bucket mutex with ht_busy 1.
  Atomic<int32_t> ht_valid_cnt{0};
  // HAT_LOAD_LOCKs outstanding here (user hats only).
  Atomic<int32_t> ht_lock_cnt{0};
  // Table one level up that points here; we own one hold on it. Set under our bucket mutex.
  Guarded<htable_t*> ht_parent{nullptr};
  // The table whose frame we reuse (HTABLE_SHARED_PFN); we own one hold on it.
  Guarded<htable_t*> ht_shares{nullptr};
};

// One mapping of a page that has more than one (or once had).
//
// An hment is on two lists at a time: the page's (hm_next/hm_prev, under the page's mlist) and the
// index that finds it by (table, entry, frame) (hm_hash, hm_parent..., under the bucket's
// hash_lock). The frame belongs to the key because the index may briefly hold two hments with equal
// table and entry: the unmap of the old page overlaps the map of a new one.
struct hment_t {
  Guarded<hment_t*> hm_next{nullptr};  // also the free-list link on the reserve
  Guarded<hment_t*> hm_prev{nullptr};
  // Set before insertion, constant while inserted.
  Guarded<htable_t*> hm_htable{nullptr};
  Guarded<uint32_t> hm_entry{0};
  Guarded<pfn_t> hm_pfn{PFN_INVALID};
  // Index links: the chain uses hm_hash_left as its next pointer, the tree uses all four.
  Guarded<hment_t*> hm_hash_left{nullptr};
  Guarded<hment_t*> hm_hash_right{nullptr};
  Guarded<hment_t*> hm_hash_parent{nullptr};
  Guarded<int> hm_hash_balance{0};
};

// A user of a page's address in the kpm window (hat/kpm_mapping.h). Belongs to whoever maps the
// page in.
struct kpme {
  // Links of the page's p_kpmelist (mlist).
  Guarded<kpme*> kpe_next{nullptr};
  Guarded<kpme*> kpe_prev{nullptr};
  // The page on whose list it is, or null. Changed under the page's mlist; segmap looks without.
  Atomic<page_t*> kpe_page{nullptr};
};

// One address space.
struct hat_t {
  hat_t() : hat_mutex(kHatLock), hat_switch_mutex(kHatSwitchLock) {}

  Mutex hat_mutex;         // hat_ht_cached only
  Mutex hat_switch_mutex;  // joining hat_cpus against invalidation (captured design)
  Guarded<as_t*> hat_as{nullptr};
  Atomic<uint32_t> hat_stats{0};
  // Valid leaf PTEs per page level. htable_walk reads it unlocked to bound its search.
  std::array<Atomic<int64_t>, kMaxLevels> hat_pages_mapped{};
  // 4K pages mapped through shared tables; plain arithmetic under the caller's a_lock in the
  // kernel, atomic here because hat_get_mapped_size and htable_walk look without it.
  Atomic<int64_t> hat_ism_pgcnt{0};
  // CPUs whose MMU runs this hat. Not maintained for the kernel's hat (System::khat_cpuset).
  AtomicCpuSet hat_cpus;
  // HAT_VICTIM and HAT_FREEING change under hat_list_lock; all changes are atomic
  // read-modify-writes, because HAT_SHARED is set without that lock.
  Atomic<uint32_t> hat_flags{0};
  Guarded<htable_t*> hat_htable{nullptr};  // top table, set once
  // User hats: kas_hat->hat_next is the head, kas_hat->hat_prev the tail (hat_list_lock).
  Guarded<hat_t*> hat_next{nullptr};
  Guarded<hat_t*> hat_prev{nullptr};
  Guarded<uint32_t> hat_num_hash{0};
  std::unique_ptr<Guarded<htable_t*>[]> hat_ht_hash;  // array constant, chains per bucket mutex
  // LIFO through ht_next of empty, zeroed tables (hat_mutex); htable_alloc peeks for null.
  Atomic<htable_t*> hat_ht_cached{nullptr};
  // Threads outside this address space that still touch its tables after having removed a mapping
  // (hati_page_unmap). Raised under the mlist of a page this hat maps, so while the hat is surely
  // alive; hat_free_end waits for 0.
  Atomic<uint32_t> hat_unmappers{0};
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_HAT_HAT_TYPES_H_
