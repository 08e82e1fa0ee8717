// A process of the stress world: an address space, its private pages, its shadow, and who is in it.
#ifndef HATCHECK_STRESS_PROCESS_H_
#define HATCHECK_STRESS_PROCESS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "hat/system.h"
#include "stress/oracle.h"
#include "vm/address_space.h"
#include "vm/vnode.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Copy-on-write stripes: after a_lock, before any page lock.
inline constexpr LockClass kAnonLock{"anon", 4};
// Who is in a process. Nothing else is taken under it.
inline constexpr LockClass kProcessLock{"process", 62};

// A vnode for private pages. Its pages are destroyed with it, so drop the last reference only where
// locks may be taken and slept on.
struct AnonVnode {
  AnonVnode(Vm& vm, uint64_t id);
  ~AnonVnode();
  Vm& vm;
  vnode_t vnode;
};

// The page that a private address shows.
struct AnonRef {
  std::shared_ptr<AnonVnode> owner;
  uint64_t offset = 0;
  bool shared = false;  // since a fork: a write must copy first
};

// Identity of a page.
struct PageId {
  vnode_t* vp = nullptr;
  uint64_t off = 0;
  bool operator==(const PageId& o) const { return vp == o.vp && off == o.off; }
};

// One incarnation of an address space.
struct Process {
  Process(System& sys, Oracle& oracle, uint64_t id);

  System& sys;
  const uint64_t id;  // never reused
  as_t as;
  ShadowSpace shadow;
  std::shared_ptr<AnonVnode> anon;  // where its own private pages live
  Atomic<uint64_t> next_anon_offset{0};

  struct AnonStripe {
    AnonStripe() : mutex(kAnonLock) {}
    Mutex mutex;
    absl::flat_hash_map<uintptr_t, AnonRef> refs;  // by page address
  };
  static constexpr size_t kStripes = 16;
  std::array<AnonStripe, kStripes> anon_stripes;
  AnonStripe& anon_stripe(uintptr_t va) { return anon_stripes[(va >> 12) % kStripes]; }

  // Changes whenever a segment or the identity behind some private address changes.
  Atomic<uint64_t> layout_version{0};
};

// What a process looks like when it starts: the segments of an exec.
struct ProcessTemplate {
  std::string name;
  std::vector<seg_t> segments;
};

// A slot of the process table. Its process may be replaced (exit, fork) while nobody is in it.
struct Slot {
  Slot() : mutex(kProcessLock), cv("process") {}
  Mutex mutex;
  CondVar cv;
  Guarded<uint32_t> residents{0};    // threads that run in it, and visitors
  Atomic<bool> closing{false};       // written under mutex; residents peek to leave soon
  std::unique_ptr<Process> process;  // replaced only by the thread that closed the slot
  const ProcessTemplate* program = nullptr;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_PROCESS_H_
