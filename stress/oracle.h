// The oracle: a naive record of who maps what, kept beside the HAT and independent of its
// structures.
//
// Every address space has a ShadowSpace: one cell per page address, in striped hash maps. Whoever
// calls the HAT to change a translation brackets the call with begin() and one of the end
// functions. While a call is in flight both answers (before and after) are allowed; if two calls on
// one address overlapped, the cell is unknown until a call that ran alone has ended.
//
// Two things take translations away without asking the address space:
//   pageunload  bracketed per frame by page_unload_begin/end: an epoch per frame, odd while in
//               progress. A cell remembers the (even) epoch of its load; a later even epoch means
//               surely unmapped. This is exact because a load holds the page SHARED and pageunload
//               EXCL. That of one constituent takes the large translations of all: those of the
//               others (constituent_unload) may be gone then, or be small ones and stay.
//   stealing    not announced, and only from spaces that may be stolen from. While the HAT's steal
//               counters stand as they stood at the last settle(), a mapping that was loaded must
//               still be there; otherwise it may be gone.
//
// What is checked:
//   O1  a translation that is there names the frame that was loaded last
//   O2  what was unloaded is not there when the call has returned
//   O3  what was loaded is there, unless unloaded or stolen
//   O4  a write succeeds only where write permission was given
// at every probe, and for every translation and every cell at each quiescent point.
//
// Locks: one mutex per stripe (class oracle, place 60, leaf).
#ifndef HATCHECK_STRESS_ORACLE_H_
#define HATCHECK_STRESS_ORACLE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "hat/system.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// What the oracle believes of a range of addresses.
inline constexpr LockClass kOracleLock{"oracle", 60};

// What the oracle says about one address.
enum class Belief {
  kUnmapped,  // surely not mapped
  kMapped,    // surely mapped to pfn
  kMaybe,     // mapped to pfn or not at all
  kAny,       // an operation is in flight, or two overlapped
};

struct Expectation {
  Belief belief = Belief::kUnmapped;
  pfn_t pfn = PFN_INVALID;
  bool writable = false;
  bool stealable = true;
  uint64_t version = 0;  // changes with every begin and end, and with the frame's unload epoch
};

// Who was asked what is mapped: the page tables, or a CPU, which may know better or worse.
enum class Saw { kTables, kCpu };

class Oracle;

// The shadow of one address space. Thread safe.
class ShadowSpace {
 public:
  explicit ShadowSpace(Oracle& oracle);

  // Nobody steals from the kernel, nor from an address space whose tables others share. To be
  // called before the space is used.
  void never_stolen_from() { stealable_ = false; }

  void begin(uintptr_t va);
  // The call returned and pp's frame is mapped at va. epoch is Oracle::unload_epoch(pfn), read
  // while the page was locked for the load.
  void end_mapped(uintptr_t va, pfn_t pfn, bool writable, uint64_t epoch);
  void end_unmapped(uintptr_t va);
  // The call returned and left the translation to itself except for its permission.
  void end_protected(uintptr_t va, bool writable);

  // Everything that is believed mapped may now be gone (swap-out).
  void unsettle();

  Expectation look(uintptr_t va) const;

  // Quiescent: visits every address that is believed mapped, surely or maybe.
  void for_each(absl::FunctionRef<void(uintptr_t, const Expectation&)> visit) const;

  // Quiescent, after the comparison: what is gone is unmapped, what is there is sure again, and an
  // unknown cell takes over what is there. now(va) is the frame mapped, PFN_INVALID if none.
  void settle(absl::FunctionRef<pfn_t(uintptr_t)> now);

 private:
  enum class State : uint8_t { kUnmapped, kMapped, kUnknown };
  struct Cell {
    State state = State::kUnmapped;
    bool writable = false;
    bool overlapped = false;
    uint16_t in_flight = 0;
    uint32_t swap_epoch = 0;
    pfn_t pfn = PFN_INVALID;
    uint64_t unload_epoch = 0;
    uint64_t version = 0;
  };
  struct Stripe {
    Stripe() : mutex(kOracleLock) {}
    mutable Mutex mutex;
    absl::flat_hash_map<uintptr_t, Cell> cells;
  };
  static constexpr size_t kStripes = 16;

  Stripe& stripe(uintptr_t va) { return stripes_[(va >> 12) % kStripes]; }
  const Stripe& stripe(uintptr_t va) const { return stripes_[(va >> 12) % kStripes]; }
  // Ends one call on the cell; true if it ran alone, so that its outcome is the cell's new state.
  static bool ends_alone(Cell& cell);
  Expectation believe(const Cell& cell) const;

  Oracle& oracle_;
  bool stealable_ = true;
  Atomic<uint32_t> swap_epoch_{0};
  std::array<Stripe, kStripes> stripes_;
};

class Oracle {
 public:
  explicit Oracle(System& sys);

  // Brackets hat_pageunload of a page; the page is EXCL.
  void page_unload_begin(pfn_t pfn);
  void page_unload_end(pfn_t pfn);
  // Another constituent of pfn's large page is about to be unloaded; all are EXCL.
  void constituent_unload(pfn_t pfn);
  // To be read while the page is locked. Compared by ShadowSpace only.
  uint64_t unload_epoch(pfn_t pfn) const;

  // Have mappings possibly been stolen since the last settle()?
  bool stealing_since_settle() const;
  // A caller is about to steal by hand.
  void note_steal() { steals_by_hand_.fetch_add(1, std::memory_order_relaxed); }
  // Quiescent, after the comparisons: later steals are counted from here.
  void settle();

  // Compares one observation (frame at va, PFN_INVALID if unmapped) with what was believed before
  // and after it was made. Ok, or which rule it breaks.
  absl::Status check(uintptr_t va, pfn_t seen, const Expectation& before, const Expectation& after,
                     Saw saw = Saw::kTables) const;

  // Quiescent: every translation of hat below the kernel against the shadow, both ways; then
  // settles the shadow. Call settle() once after all spaces have been compared.
  absl::Status compare(hat_t* hat, ShadowSpace& space) const;

 private:
  uint64_t steals() const;

  System& sys_;
  std::unique_ptr<Atomic<uint64_t>[]> epochs_;
  Atomic<uint64_t> steals_by_hand_{0};
  Atomic<uint64_t> settled_steals_{0};
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_ORACLE_H_
