// The list of hats, their flags, and what each CPU's thread has left behind.
#include "hat/audit_internal.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Invariant 26. Fills hats and hat_names.
absl::Status collect_hats(HatAudit& audit) {
  System& sys = audit.sys;
  hat_t* const kas = sys.kas_hat();
  audit.hats.push_back(kas);
  audit.hat_names.emplace(kas, 0);
  const hat_t* prev = nullptr;
  for (hat_t* hat = kas->hat_next(); hat != nullptr; hat = hat->hat_next()) {
    const size_t name = audit.hats.size();
    if (!audit.hat_names.emplace(hat, name).second) {
      return broken(26, "hat after hat=", name - 1, " is ", audit.name(hat), " again");
    }
    audit.hats.push_back(hat);
    if (hat->hat_prev() != prev) {
      return broken(26, audit.name(hat), ": hat_prev is not the hat before it");
    }
    prev = hat;
  }
  if (kas->hat_prev() != prev) {
    return broken(26, "hat=0: hat_prev is not the tail, hat=", audit.hats.size() - 1);
  }
  const auto allocated = static_cast<uint64_t>(sys.hat_cache.outstanding());
  if (allocated != audit.hats.size()) {
    return broken(26, allocated, " hats allocated, ", audit.hats.size(), " on the list");
  }
  audit.counts.hats = audit.hats.size();
  return absl::OkStatus();
}

absl::Status check_flags(const HatAudit& audit) {
  for (const hat_t* hat : audit.hats) {
    const uint32_t flags = hat->hat_flags.load(kQuiescent);
    if ((flags & HAT_VICTIM) != 0) {
      return broken(24, audit.name(hat), ": HAT_VICTIM, and nobody steals: hat_flags ", flags);
    }
    if (hat == audit.sys.kas_hat() && flags != 0) {
      return broken(25, audit.name(hat), ": hat_flags ", flags);
    }
    if (is_freeing(hat) && !hat->hat_cpus.snapshot().empty()) {
      return broken(25, audit.name(hat), ": HAT_FREEING, but cpu ",
                    *hat->hat_cpus.snapshot().begin(), " is in hat_cpus");
    }
    const uint32_t unmappers = hat->hat_unmappers.load(kQuiescent);
    if (unmappers != 0) return broken("U", audit.name(hat), ": hat_unmappers ", unmappers);
  }
  const uint32_t waiters = audit.sys.hat_free_waiters.load(kQuiescent);
  if (waiters != 0) return broken("U", "hat_free_waiters ", waiters);
  return absl::OkStatus();
}

absl::Status check_depths(const HatAudit& audit) {
  for (size_t cpu = 0; cpu < audit.sys.cpus.size(); ++cpu) {
    const int depth = audit.sys.cpus[cpu].t_hatdepth();
    if (depth != 0) return broken(58, "cpu ", cpu, ": t_hatdepth ", depth);
  }
  // The calling thread is in no load, so it may have the reserves only if it never gave them up.
  if (audit.sys.reserve_ownership->may_use(audit.sys)) {
    return broken(59, "cpu ", this_cpu(), " still owns the reserves (",
                  audit.sys.reserve_ownership->name(), " design)");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status audit_hats(HatAudit& audit) {
  absl::Status status = collect_hats(audit);
  if (status.ok()) status = check_flags(audit);
  if (status.ok()) status = check_depths(audit);
  return status;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
