#include "stress/oracle.h"

#include "absl/strings/str_format.h"
#include "hat/htable.h"
#include "hat/htable_walk.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// An epoch counts in its lower half begins and ends of pageunloads of the frame itself, in its
// upper half those of other constituents.
constexpr uint64_t kOfConstituents = uint64_t{1} << 32;
constexpr uint64_t own_unloads(uint64_t epoch) { return epoch % kOfConstituents; }

}  // namespace

ShadowSpace::ShadowSpace(Oracle& oracle) : oracle_(oracle) {}

void ShadowSpace::begin(uintptr_t va) {
  Stripe& s = stripe(va);
  MutexGuard guard(s.mutex);
  Cell& cell = s.cells[va];
  ++cell.version;
  if (++cell.in_flight > 1) cell.overlapped = true;
}

bool ShadowSpace::ends_alone(Cell& cell) {
  ++cell.version;
  HAT_ASSERT(cell.in_flight > 0, "oracle: end without begin");
  --cell.in_flight;
  if (!cell.overlapped) return true;
  cell.state = State::kUnknown;
  if (cell.in_flight == 0) cell.overlapped = false;
  return false;
}

void ShadowSpace::end_mapped(uintptr_t va, pfn_t pfn, bool writable, uint64_t epoch) {
  Stripe& s = stripe(va);
  MutexGuard guard(s.mutex);
  Cell& cell = s.cells[va];
  if (!ends_alone(cell)) return;
  cell.state = State::kMapped;
  cell.pfn = pfn;
  cell.writable = writable;
  cell.unload_epoch = epoch;
  cell.swap_epoch = swap_epoch_.load(std::memory_order_acquire);
}

void ShadowSpace::end_unmapped(uintptr_t va) {
  Stripe& s = stripe(va);
  MutexGuard guard(s.mutex);
  Cell& cell = s.cells[va];
  if (ends_alone(cell)) cell.state = State::kUnmapped;
}

void ShadowSpace::end_protected(uintptr_t va, bool writable) {
  Stripe& s = stripe(va);
  MutexGuard guard(s.mutex);
  Cell& cell = s.cells[va];
  if (ends_alone(cell)) cell.writable = writable;
}

void ShadowSpace::unsettle() { swap_epoch_.fetch_add(1, std::memory_order_acq_rel); }

Expectation ShadowSpace::believe(const Cell& cell) const {
  Expectation e;
  e.pfn = cell.pfn;
  e.writable = cell.writable;
  e.stealable = stealable_;
  e.version = cell.version;
  if (cell.in_flight > 0 || cell.state == State::kUnknown) {
    e.belief = Belief::kAny;
    return e;
  }
  if (cell.state == State::kUnmapped) return e;
  const uint64_t epoch = oracle_.unload_epoch(cell.pfn);
  e.version += epoch;
  if (own_unloads(epoch) > own_unloads(cell.unload_epoch) + 1) {
    e.belief = Belief::kUnmapped;
  } else if (epoch != cell.unload_epoch ||
             swap_epoch_.load(std::memory_order_acquire) != cell.swap_epoch) {
    e.belief = Belief::kMaybe;
  } else {
    e.belief = Belief::kMapped;
  }
  return e;
}

Expectation ShadowSpace::look(uintptr_t va) const {
  const Stripe& s = stripe(va);
  MutexGuard guard(s.mutex);
  const auto it = s.cells.find(va);
  return it == s.cells.end() ? Expectation{} : believe(it->second);
}

void ShadowSpace::for_each(absl::FunctionRef<void(uintptr_t, const Expectation&)> visit) const {
  for (const Stripe& s : stripes_) {
    MutexGuard guard(s.mutex);
    for (const auto& [va, cell] : s.cells) {
      const Expectation e = believe(cell);
      if (e.belief != Belief::kUnmapped) visit(va, e);
    }
  }
}

void ShadowSpace::settle(absl::FunctionRef<pfn_t(uintptr_t)> now) {
  const uint32_t swap_epoch = swap_epoch_.load(std::memory_order_acquire);
  for (Stripe& s : stripes_) {
    MutexGuard guard(s.mutex);
    for (auto it = s.cells.begin(); it != s.cells.end();) {
      Cell& cell = it->second;
      HAT_ASSERT(cell.in_flight == 0, "oracle: a call is in flight at a quiescent point");
      const pfn_t pfn = now(it->first);
      if (pfn == PFN_INVALID) {
        s.cells.erase(it++);
        continue;
      }
      if (cell.state == State::kUnknown) {
        cell.pfn = pfn;
        cell.writable = true;
      }
      cell.state = State::kMapped;
      cell.swap_epoch = swap_epoch;
      cell.unload_epoch = oracle_.unload_epoch(pfn);
      ++it;
    }
  }
}

Oracle::Oracle(System& sys)
    : sys_(sys), epochs_(std::make_unique<Atomic<uint64_t>[]>(sys.config.machine.nframes)) {}

void Oracle::page_unload_begin(pfn_t pfn) {
  const uint64_t before = epochs_[pfn].fetch_add(1, std::memory_order_acq_rel);
  HAT_ASSERT(before % 2 == 0, "oracle: two pageunloads of one page at a time");
}

void Oracle::page_unload_end(pfn_t pfn) { epochs_[pfn].fetch_add(1, std::memory_order_acq_rel); }

void Oracle::constituent_unload(pfn_t pfn) {
  epochs_[pfn].fetch_add(kOfConstituents, std::memory_order_acq_rel);
}

uint64_t Oracle::unload_epoch(pfn_t pfn) const {
  return epochs_[pfn].load(std::memory_order_acquire);
}

uint64_t Oracle::steals() const {
  const HatStatTotals total = sys_.hatstat.sum();
  return total.hs_hm_steals + total.hs_steals + steals_by_hand_.load(std::memory_order_relaxed);
}

bool Oracle::stealing_since_settle() const {
  return steals() != settled_steals_.load(std::memory_order_relaxed);
}

void Oracle::settle() { settled_steals_.store(steals(), std::memory_order_relaxed); }

absl::Status Oracle::check(uintptr_t va, pfn_t seen, const Expectation& before,
                           const Expectation& after, Saw saw) const {
  const char* const finds = saw == Saw::kTables ? "the HAT maps" : "the CPU reaches";
  if (before.version != after.version) return absl::OkStatus();
  if (before.belief != after.belief || before.belief == Belief::kAny) return absl::OkStatus();
  if (seen != PFN_INVALID && before.belief == Belief::kUnmapped) {
    return absl::InternalError(absl::StrFormat(
        "oracle O2: va 0x%x was unloaded, but %s frame %d there still", va, finds, seen));
  }
  if (seen != PFN_INVALID && seen != before.pfn) {
    return absl::InternalError(
        absl::StrFormat("oracle O1: va 0x%x was loaded with frame %d, but %s frame %d there", va,
                        before.pfn, finds, seen));
  }
  if (seen == PFN_INVALID && before.belief == Belief::kMapped &&
      !(before.stealable && stealing_since_settle())) {
    return absl::InternalError(absl::StrFormat(
        "oracle O3: va 0x%x was loaded with frame %d and never unloaded or stolen, but the HAT "
        "has no translation there",
        va, before.pfn));
  }
  return absl::OkStatus();
}

absl::Status Oracle::compare(hat_t* hat, ShadowSpace& space) const {
  absl::Status bad;
  // One way: every translation must be one the shadow allows.
  htable_t* ht = nullptr;
  uintptr_t va = 0;
  const MmuGeometry& mmu = sys_.mmu();
  absl::flat_hash_map<uintptr_t, pfn_t> there;
  for (;;) {
    const x86pte_t pte = htable_walk(sys_, hat, &ht, &va, sys_.userlimit);
    if (ht == nullptr) break;
    const level_t level = ht->ht_level();
    const pfn_t first = PTE2PFN(pte, level);
    const bool shared_table = (ht->ht_flags() & HTABLE_SHARED_PFN) != 0;
    for (uint64_t i = 0; i < mmu.level_size(level) / mmu.pagesize(); ++i) {
      const uintptr_t at = va + i * mmu.pagesize();
      there[at] = first + i;
      if (shared_table) continue;  // loaded through another hat: its shadow has it
      const Expectation e = space.look(at);
      absl::Status one = check(at, first + i, e, e);
      if (one.ok() && e.belief != Belief::kAny && (pte & PT_WRITABLE) != 0 && !e.writable) {
        one = absl::InternalError(
            absl::StrFormat("oracle O4: va 0x%x is writable, but was loaded read-only", at));
      }
      if (bad.ok() && !one.ok()) bad = one;
    }
    va += mmu.level_size(level);
  }
  if (!bad.ok()) return bad;
  // The other way: what must be there is there.
  const auto now = [&there](uintptr_t at) {
    const auto it = there.find(at);
    return it == there.end() ? PFN_INVALID : it->second;
  };
  space.for_each([&](uintptr_t at, const Expectation& e) {
    const absl::Status one = check(at, now(at), e, e);
    if (bad.ok() && !one.ok()) bad = one;
  });
  if (bad.ok()) space.settle(now);
  return bad;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
