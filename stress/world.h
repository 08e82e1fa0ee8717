// The world above the HAT: processes with address spaces, files, shared memory, and the threads
// that live in them. Plays the part of the segment drivers: decides what a fault means and calls
// the HAT as they do.
//
// Rules that keep the world legal (the HAT's preconditions):
//   W1  A thread runs in a process only as its resident; a slot is closed by waiting until there
//   are
//       none and keeping new ones out. A thread never waits for a slot while it is resident in
//       another.
//   W2  Loads, unloads and attribute changes hold the process' a_lock; exit holds it as writer.
//   W3  A page given to a load is locked SHARED; pageunload, demotion and freeing lock it EXCL.
//   W4  Which page a private address shows (copy on write) changes only under its anon stripe, with
//       the old translation unloaded first.
//   W5  A modified page is written to its vnode before its frame is freed. Lost REF/MOD bits are
//       therefore lost data, and the data check sees them; sooner still the comparison of a page
//       that has just been unloaded and is called clean with what its vnode has.
//   W6  Loads of one large page into one process exclude each other. A load that steps down to
//   small
//       pages creates their table, and must not find that another one has put a large page there.
//
// A known gap of the protocol, which has to be allowed for: hat_unload that finds its entry cleared
// by a hat_pageunload or a steal under way returns at once, while that one still flushes. For that
// long a CPU may reach the old page through its TLB (hat/README.md). So an access that cannot be
// right is judged a second time, after passing through the mlist of the page it reached, which the
// other one holds until its flush is complete. A translation that nobody flushes is still there.
//
// Data checks. Word 0 of a page names its owner. Word 1+c is written by CPU c alone, through
// whatever translation it has, with ever larger numbers; CPU c remembers the last one per page and
// expects it through every other translation, also after the page has been away. A write of which
// it is not certain what page it went to makes it forget all.
#ifndef HATCHECK_STRESS_WORLD_H_
#define HATCHECK_STRESS_WORLD_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "hat/hat.h"
#include "hat/system.h"
#include "stress/maps.h"
#include "stress/oracle.h"
#include "stress/process.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// One stress thread's own state. Touched by that thread only.
struct Worker {
  CpuId cpu = 0;
  Slot* home = nullptr;  // where it is resident, or null
  uint64_t next_value = 0;
  // Last value this CPU wrote to its word of a page, by (vnode id, offset).
  absl::flat_hash_map<std::pair<uint64_t, uint64_t>, uint64_t> written;
};

// A large page kept for the large-page operations.
struct LargeGroup {
  vnode_t* vp;
  uint64_t off;
  bool whole = true;  // not broken up; World::group_mutex
};

// Breaking up and rebuilding large pages: before any page lock.
inline constexpr LockClass kGroupLock{"large_group", 0};

// Shared memory with shared page tables: a hat of its own, preloaded, that others attach to.
struct SharedMemory {
  std::unique_ptr<Process> holder;
  vnode_t* vp;
  uint64_t bytes;
  uintptr_t base;  // same address in the holder and in every process that attaches
};

enum class FaultResult { kMapped, kNoSegment, kProtection, kError };

class SegmapWorld;

class World {
 public:
  // focus: of how many segments, and of how many pages of each, pick_segment and pick_page choose
  // most often.
  explicit World(System& sys, uint32_t focus = 64);
  ~World();

  System& sys;
  Oracle oracle;
  ShadowSpace kernel_shadow{oracle};  // the segkmap windows

  // ---- Building; single threaded.

  vnode_t* add_file(const std::string& name, bool vmodsort);
  const ProcessTemplate* add_program(ProcessTemplate program);
  void add_slot(const ProcessTemplate* program);
  // Up to count large pages; fewer if there is no contiguous memory.
  void add_large_groups(uint32_t count);
  void add_shared_memory(uint64_t bytes);

  std::vector<ProcessMaps> input;  // what `maps` was built from, for the evidence of a failure
  std::vector<std::unique_ptr<vnode_t>> files;
  std::vector<std::unique_ptr<ProcessTemplate>> programs;
  std::vector<std::unique_ptr<Slot>> slots;
  std::vector<LargeGroup> large_groups;
  Mutex group_mutex{kGroupLock};
  std::vector<std::unique_ptr<SharedMemory>> shared_memory;

  // Of the segmap workload, else null.
  std::unique_ptr<SegmapWorld> segmap;

  // ---- Being in a process.

  // Makes the worker a resident of slot, leaving the one it was in.
  void enter(Worker& w, Slot& slot);
  void leave(Worker& w);
  // Leaves if the slot is being closed. Called between operations.
  void leave_if_closing(Worker& w);
  // Holds the slot open without running in it; false if it is being closed. Never waits.
  bool visit(Slot& slot);
  void end_visit(Slot& slot);
  // Closes the slot: true if this thread did. The caller is resident nowhere. Then replaces its
  // process.
  bool close(Slot& slot);
  void reopen(Slot& slot);

  // ---- Life of a process. The slot is closed, or not yet used.

  void exec(Slot& slot);
  void exit(Slot& slot);
  // Makes slot's new process a copy of parent, which is visited.
  void fork(Slot& slot, Process& parent);

  // ---- Memory of a process.

  // What an address shows and whose shadow knows about it. A null vp: memory that nobody has
  // touched yet, or no segment. a_lock held.
  struct View {
    PageId id;
    ShadowSpace* shadow = nullptr;
  };
  View view(Process& p, uintptr_t va);
  // Handles a fault as a segment driver does. No lock held.
  FaultResult fault(Process& p, uintptr_t va, AccessKind kind);
  // Accesses the calling worker's word (or, reading, the stamp) of the page at va in its home
  // process and checks what it sees. False if the address cannot be accessed.
  bool touch(Worker& w, uintptr_t va, AccessKind kind);
  // Reads the stamp of the page at va in the worker's home process, which may not be mapped, and
  // checks it. False after a fault.
  bool speculate(Worker& w, uintptr_t va);
  // After an access that should have faulted (`first`): whether it succeeds again on the same frame
  // when all that was being taken away from that frame has been flushed.
  bool still_reaches(CpuId cpu, uintptr_t va, AccessKind kind, Privilege priv,
                     const AccessResult& first);
  // Reports a CPU that reads va after the call that took it away has returned.
  void expect_unreachable(CpuId cpu, uintptr_t va, Privilege priv, const char* call);
  // hat_unload of whole pages, bracketed for the oracle. a_lock held.
  void unload(Process& p, uintptr_t va, uint64_t pages);
  // Loads the page id at va for this kind of access, with prot (user) and load flags; bracketed.
  // a_lock held.
  FaultResult load(Process& p, uintptr_t va, PageId id, AccessKind kind, uint32_t prot,
                   uint32_t flags);
  // Loads the large page whose segment this is around va, with one entry if it still is one and
  // nothing is in the way, else page by page. a_lock held.
  FaultResult load_large(Process& p, const seg_t& seg, uintptr_t va);

  // ---- Large pages.

  // Locks every constituent without waiting, in page order; empty if one is missing or busy.
  std::vector<page_t*> lock_group(const LargeGroup& group, se_t mode);
  void unlock_pages(const std::vector<page_t*>& pages);
  // Unloads every constituent, and with demote breaks the page up. All are EXCL.
  void unload_group(const std::vector<page_t*>& pages, bool demote);
  // The same for who has but one of the constituents: false if another one is busy.
  bool try_demote(const LargeGroup& group, uint64_t page);
  // Of what was a large page, and is none any more.
  void expect_no_large_mapping(page_t* leader);
  // The segment of p that maps the large groups, or null. a_lock held.
  const seg_t* large_segment(Process& p);
  // Makes a large page of this identity again if there is memory. Nothing locked.
  bool build_group(const LargeGroup& group);

  // ---- The kernel's segkmap window: one page per CPU.

  uintptr_t window(CpuId cpu) const { return sys.kmap_addr + cpu * sys.mmu().pagesize(); }
  // Maps id there, and takes it away again. Only by that CPU.
  bool map_window(CpuId cpu, PageId id);
  void unmap_window(CpuId cpu);
  // Asks the HAT what that CPU has mapped there, and checks it.
  void probe_window(CpuId cpu);
  // Reads the window of any CPU with kernel rights and checks what is found.
  void peek_window(CpuId reader, CpuId owner);

  // A page that nothing maps and that is not marked modified has nothing that its backing has not.
  // In: pp EXCL, not free, its mappings gone.
  void check_clean_page(page_t* pp);

  // Quiescent: oracle against HAT for every process.
  absl::Status compare();

  // Takes pages from their owners until enough is free. For the pageout thread.
  uint64_t pageout(uint64_t wanted);

  uint64_t focus() const { return focus_; }
  // A random segment of p, or null if it has none; a_lock held. Likewise a random page of a
  // segment. Most often one of the first few, so that threads meet.
  const seg_t* pick_segment(Process& p, uint64_t random);
  uintptr_t pick_page(const seg_t& seg, uint64_t random) const;
  // The shared memory that a segment is attached to, or null.
  SharedMemory* shared_memory_of(const seg_t& seg);
  uint64_t large_page_bytes() const { return sys.mmu().level_size(1); }

 private:
  class UnloadWatch;  // brackets every hat_pageunload for the oracle

  std::unique_ptr<Process> new_process();
  void start_hat(Process& p);
  // The anonymous page behind a private address for this access, copying on write. Stripe mutex
  // held; *dropped receives a reference to be let go after the mutex.
  PageId private_page(Process& p, const seg_t& seg, uintptr_t va, AccessKind kind, bool* may_write,
                      AnonRef* dropped);
  // One access of a worker and what is wrong with it, if anything is.
  struct Outcome {
    bool ok = false;       // no fault
    bool certain = false;  // of what is wrong: no second look is needed
    pfn_t pfn = PFN_INVALID;
    uint64_t layout_version = 0, version = 0;
    std::string wrong;
  };
  Outcome access_once(Worker& w, Process& p, uintptr_t va, uint32_t word, AccessKind kind);
  bool access_checked(Worker& w, Process& p, uintptr_t va, uint32_t word, AccessKind kind);
  std::string check_word(Worker& w, const Process& p, uintptr_t va, uint32_t word, const PageId& id,
                         const AccessResult& got) const;
  // Returns when every removal of a mapping of the frame that was under way is complete.
  void pass_through_mlist(pfn_t pfn);
  void inherit(Process& child, Process& parent);

  // Quiescent: what only operations may hold, that nobody can write to a page unnoticed whose vnode
  // is to be told, and where all memory that was promised has gone.
  absl::Status compare_page(const page_t& page) const;
  absl::Status compare_pages() const;
  int64_t promised_pages() const;

  std::unique_ptr<UnloadWatch> watch_;
  const uint64_t focus_;
  const int64_t promised_;  // when the world was made
  Atomic<uint64_t> next_id_{1};
  page_t* pageout_hand_ = nullptr;  // the pageout thread's
};

// Reports a broken rule of the oracle or the data check; does not return.
[[noreturn]] void report_violation(const std::string& message, Where where = Where::here());

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_WORLD_H_
