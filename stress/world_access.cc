// Accessing memory through the simulated hardware and checking what is seen; taking pages away.
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "hat/hat_page.h"
#include "hat/hment.h"
#include "stress/sparse_backing.h"
#include "stress/world.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr uint32_t kStampWord = 0;

// A CPU has forgotten what it wrote where once it remembers this many pages.
constexpr size_t kMostRemembered = 200000;

}  // namespace

// What the page shows is compared with what this CPU knows of the page that the address is certain
// to show.
std::string World::check_word(Worker& w, const Process& p, uintptr_t va, uint32_t word,
                              const PageId& id, const AccessResult& got) const {
  const uint64_t owner = id.vp->v_id;
  if (word == kStampWord) {
    const uint64_t stamp = page_stamp(owner, id.off);
    if (got.value == stamp) return {};
    return absl::StrFormat(
        "data: cpu %d read va 0x%x of process %d and found the page of another owner: frame %d has "
        "stamp 0x%x, expected 0x%x (%s offset 0x%x)",
        w.cpu, va, p.id, got.pfn, got.value, stamp, id.vp->v_name, id.off);
  }
  const auto it = w.written.find({owner, id.off});
  if (it == w.written.end() || got.value == it->second) return {};
  return absl::StrFormat(
      "data (invariant 32): cpu %d wrote %d to its word of %s offset 0x%x, but va 0x%x of process "
      "%d shows %d (frame %d): a modification was lost",
      w.cpu, it->second, id.vp->v_name, id.off, va, p.id, got.value, got.pfn);
}

// One access, and all that can be said about it. What the address shows is looked up before and
// after: only if nothing changed meanwhile, and the frame is the one that was loaded, is it certain
// which page was accessed.
World::Outcome World::access_once(Worker& w, Process& p, uintptr_t va, uint32_t word,
                                  AccessKind kind) {
  const bool write = kind == AccessKind::kWrite;
  Outcome outcome;
  outcome.layout_version = p.layout_version.load(std::memory_order_acquire);
  View shown;
  {
    ReaderGuard guard(p.as.a_lock);
    shown = view(p, va);
  }
  const uint64_t value = write ? ++w.next_value : 0;
  const Expectation before = shown.shadow->look(va);
  const AccessResult got =
      sys.machine.access(w.cpu, va + word * sizeof(uint64_t), kind, Privilege::kUser, value);
  const Expectation after = shown.shadow->look(va);
  if (!got.ok) return outcome;
  outcome.ok = true;
  outcome.pfn = got.pfn;
  const bool same_layout =
      p.layout_version.load(std::memory_order_acquire) == outcome.layout_version;
  outcome.version = after.version;
  const bool certain = same_layout && before.version == after.version && got.pfn == before.pfn &&
                       (before.belief == Belief::kMapped || before.belief == Belief::kMaybe);
  if (write && (!certain || w.written.size() >= kMostRemembered)) w.written.clear();
  if (!same_layout) return outcome;

  const absl::Status status = oracle.check(va, got.pfn, before, after, Saw::kCpu);
  if (!status.ok()) {
    outcome.wrong = absl::StrFormat("cpu %d accessed va 0x%x of process %d: %s", w.cpu, va, p.id,
                                    status.message());
  } else if (write && certain && before.belief == Belief::kMapped && !before.writable) {
    outcome.wrong =
        absl::StrFormat("oracle O4: cpu %d wrote through va 0x%x of process %d, which is read-only",
                        w.cpu, va, p.id);
  } else if (shown.id.vp != nullptr && (certain || word == kStampWord)) {
    outcome.wrong = check_word(w, p, va, word, shown.id, got);
    outcome.certain = certain;
  }
  if (write && certain && shown.id.vp != nullptr) {
    w.written[{shown.id.vp->v_id, shown.id.off}] = value;
  }
  return outcome;
}

void World::pass_through_mlist(pfn_t pfn) {
  page_t* const pp = page_numtopp_nolock(sys.vm, pfn);
  if (pp == nullptr) return;
  // A large mapping is on the list of the first page of its group, whatever p_szc says by now.
  for (int szc = 0; szc <= sys.mmu().max_page_level; ++szc) {
    page_t* const leader = PP_GROUPLEADER(sys.vm, pp, szc);
    x86_hm_enter(sys, leader);
    x86_hm_exit(sys, leader);
  }
}

bool World::still_reaches(CpuId cpu, uintptr_t va, AccessKind kind, Privilege priv,
                          const AccessResult& first) {
  if (!first.ok) return false;
  pass_through_mlist(first.pfn);
  const AccessResult second = sys.machine.access(cpu, va, kind, priv, first.value);
  return second.ok && second.pfn == first.pfn;
}

void World::expect_unreachable(CpuId cpu, uintptr_t va, Privilege priv, const char* call) {
  const AccessResult got = sys.machine.access(cpu, va, AccessKind::kRead, priv);
  if (!still_reaches(cpu, va, AccessKind::kRead, priv, got)) return;
  report_violation(absl::StrFormat("invariant 29: cpu %d still reads frame %d at va 0x%x after %s",
                                   cpu, got.pfn, va, call));
}

// False after a fault.
bool World::access_checked(Worker& w, Process& p, uintptr_t va, uint32_t word, AccessKind kind) {
  const Outcome first = access_once(w, p, va, word, kind);
  if (first.wrong.empty()) return first.ok;
  if (first.certain) report_violation(first.wrong);
  pass_through_mlist(first.pfn);
  const Outcome second = access_once(w, p, va, word, kind);
  // The same translation, and nobody has loaded or unloaded anything at the address in between.
  if (!second.wrong.empty() && second.pfn == first.pfn && second.version == first.version &&
      second.layout_version == first.layout_version) {
    report_violation(first.wrong);
  }
  return second.ok;
}

bool World::speculate(Worker& w, uintptr_t va) {
  return access_checked(w, *w.home->process, va, kStampWord, AccessKind::kRead);
}

void World::check_clean_page(page_t* pp) {
  // A file of segmap's is written through kpm before its page is marked.
  if (segmap != nullptr || hat_ismod(pp)) return;
  const uint64_t pagesize = sys.mmu().pagesize();
  vnode_t* const vp = pp->p_vnode.load(std::memory_order_relaxed);
  const uint64_t off = pp->p_offset.load(std::memory_order_relaxed);
  std::vector<uint8_t> frame(pagesize), disk(pagesize);
  sys.machine.mem().read_bytes(pp->p_pagenum, 0, absl::MakeSpan(frame));
  vp->v_backing->read(off, absl::MakeSpan(disk));
  const auto [in_frame, on_disk] = std::mismatch(frame.begin(), frame.end(), disk.begin());
  if (in_frame == frame.end()) return;
  report_violation(absl::StrFormat(
      "invariant 32: page %d (%s offset 0x%x) was unloaded and is not marked modified, but byte %d "
      "is 0x%x and 0x%x on its disk: a modification was lost",
      pp->p_pagenum, vp->v_name, off, in_frame - frame.begin(), *in_frame, *on_disk));
}

bool World::touch(Worker& w, uintptr_t va, AccessKind kind) {
  constexpr int kMostFaults = 4;
  Process& p = *w.home->process;
  const uint32_t word = kind == AccessKind::kExec ? kStampWord : 1 + w.cpu;
  for (int attempt = 0; attempt < kMostFaults; ++attempt) {
    if (access_checked(w, p, va, word, kind)) {
      if (word != kStampWord) access_checked(w, p, va, kStampWord, AccessKind::kRead);
      return true;
    }
    if (fault(p, va, kind) != FaultResult::kMapped) return false;
  }
  return false;
}

// One turn of the clock over all pages at most. A page that is modified is written first.
uint64_t World::pageout(uint64_t wanted) {
  uint64_t freed = 0;
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
    if (pvn_getdirty(sys.vm, pp, B_FREE | B_ASYNC) == 0) continue;
    pvn_putapage(sys.vm, pp, B_FREE | B_ASYNC);
  }
  return freed;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
