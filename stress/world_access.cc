// Accessing memory through the simulated hardware and checking what is seen; taking pages away.
#include <cstdint>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "stress/sparse_backing.h"
#include "stress/world.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr uint32_t kStampWord = 0;

// A CPU has forgotten what it wrote where once it remembers this many pages.
constexpr size_t kMostRemembered = 200000;

}  // namespace

// One access, and all that can be said about it. What the address shows is looked up before and
// after: only if nothing changed meanwhile is the page known for sure.
bool World::access_once(Worker& w, Process& p, uintptr_t va, uint32_t word, AccessKind kind) {
  const uint64_t version = p.layout_version.load(std::memory_order_acquire);
  View shown;
  {
    ReaderGuard guard(p.as.a_lock);
    shown = view(p, va);
  }
  if (shown.shadow == nullptr) return false;
  const uint64_t value = kind == AccessKind::kWrite ? ++w.next_value : 0;
  const Expectation before = shown.shadow->look(va);
  const AccessResult got =
      sys.machine.access(w.cpu, va + word * sizeof(uint64_t), kind, Privilege::kUser, value);
  const Expectation after = shown.shadow->look(va);
  const bool same_layout = p.layout_version.load(std::memory_order_acquire) == version;
  if (!got.ok) return false;
  if (!same_layout) {
    if (kind == AccessKind::kWrite) w.written.clear();  // it may have gone to either page
    return true;
  }
  const absl::Status status = oracle.check(va, got.pfn, before, after);
  if (!status.ok()) {
    report_violation(absl::StrFormat("cpu %d accessed va 0x%x of process %d: %s", w.cpu, va, p.id,
                                     status.message()));
  }
  if (kind == AccessKind::kWrite && before.version == after.version &&
      before.belief == Belief::kMapped && !before.writable) {
    report_violation(
        absl::StrFormat("oracle O4: cpu %d wrote through va 0x%x of process %d, which is read-only",
                        w.cpu, va, p.id));
  }
  if (shown.id.vp == nullptr) return true;
  const uint64_t owner = shown.id.vp->v_id;
  if (word == kStampWord) {
    const uint64_t stamp = page_stamp(owner, shown.id.off);
    if (got.value == stamp) return true;
    report_violation(absl::StrFormat(
        "data: cpu %d read va 0x%x of process %d and found the page of another owner: frame %d has "
        "stamp 0x%x, expected 0x%x (%s offset 0x%x)",
        w.cpu, va, p.id, got.pfn, got.value, stamp, shown.id.vp->v_name, shown.id.off));
  }
  const auto key = std::make_pair(owner, shown.id.off);
  const auto it = w.written.find(key);
  if (it != w.written.end() && got.value != it->second) {
    report_violation(absl::StrFormat(
        "data (invariant 32): cpu %d wrote %d to its word of %s offset 0x%x, but va 0x%x of "
        "process "
        "%d shows %d (frame %d): a modification was lost",
        w.cpu, it->second, shown.id.vp->v_name, shown.id.off, va, p.id, got.value, got.pfn));
  }
  if (kind == AccessKind::kWrite) {
    if (w.written.size() >= kMostRemembered) w.written.clear();
    w.written[key] = value;
  }
  return true;
}

bool World::touch(Worker& w, uintptr_t va, AccessKind kind) {
  constexpr int kMostFaults = 4;
  Process& p = *w.home->process;
  const uint32_t word = kind == AccessKind::kExec ? kStampWord : 1 + w.cpu;
  for (int attempt = 0; attempt < kMostFaults; ++attempt) {
    if (access_once(w, p, va, word, kind)) {
      if (word != kStampWord) access_once(w, p, va, kStampWord, AccessKind::kRead);
      return true;
    }
    if (fault(p, va, kind) != FaultResult::kMapped) return false;
  }
  return false;
}

// One turn of the clock over all pages at most. A page that is modified is written first.
uint64_t World::pageout(uint64_t wanted) {
  uint64_t freed = 0;
  const uint64_t pagesize = sys.mmu().pagesize();
  std::vector<uint8_t> bytes(pagesize);
  for (pfn_t looked = 0; looked < sys.vm.npages && freed < wanted; ++looked) {
    page_t* pp = pageout_hand_;
    pageout_hand_ = page_next(sys.vm, pp);
    if (PP_ISFREE(pp) || PAGE_LOCKED(pp) || !page_trylock(sys.vm, pp, SE_EXCL)) continue;
    vnode_t* vp = pp->p_vnode.load(std::memory_order_relaxed);
    if (PP_ISFREE(pp) || vp == nullptr || vp == &sys.vm.kvp ||
        pp->p_szc.load(std::memory_order_relaxed) != 0) {
      page_unlock(sys.vm, pp);
      continue;
    }
    ++freed;
    const uint64_t off = pp->p_offset.load(std::memory_order_relaxed);
    if (pvn_getdirty(sys.vm, pp, B_FREE | B_ASYNC) == 0) continue;
    sys.machine.mem().read_bytes(pp->p_pagenum, 0, absl::MakeSpan(bytes));
    pvn_write_done(sys.vm, pp, B_FREE | B_ASYNC, vp->v_backing->write(off, bytes));
  }
  return freed;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
