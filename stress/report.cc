#include "stress/report.h"

#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "stress/format.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

std::string section(const std::string& title, const std::string& body) {
  return absl::StrCat("\n", title, "\n", body);
}

std::string operations_table(const RunResult& r) {
  const double s = std::max(absl::ToDoubleSeconds(r.elapsed), 1e-9);
  Table table({"operation", "count", "per second", "done", "nothing to do", "gave way"});
  const auto add = [&](const OpTotals& t) {
    table.row({t.name, grouped(t.total()), rounded(static_cast<double>(t.total()) / s),
               percent(t.done, t.total()), percent(t.nothing, t.total()),
               percent(t.retries, t.total())});
  };
  OpTotals all{.name = "all"};
  for (const OpTotals& t : r.ops) {
    add(t);
    all.done += t.done;
    all.nothing += t.nothing;
    all.retries += t.retries;
  }
  add(all);
  return table.text();
}

std::string hatstat_table(const HatStatTotals& stats) {
  Table table({"HAT event", "count"});
#define HATCHECK_ROW(name) table.row({#name, grouped(stats.name)});
  HATCHECK_HAT_STATS(HATCHECK_ROW)
#undef HATCHECK_ROW
  return table.text();
}

std::string locks_table(const LockReport& locks) {
  Table table({"lock class", "place", "taken", "contended", "failed try", "wait p50", "wait p99",
               "hold p50", "hold p99"});
  for (const LockClassReport& c : locks) {
    const bool waited = c.contended > 0;
    table.row({c.name, std::to_string(c.place), grouped(c.acquisitions),
               percent(c.contended, c.acquisitions), grouped(c.failed_tryenters),
               waited ? nanoseconds(percentile_ns(c.wait_times, 0.50)) : "-",
               waited ? nanoseconds(percentile_ns(c.wait_times, 0.99)) : "-",
               nanoseconds(percentile_ns(c.hold_times, 0.50)),
               nanoseconds(percentile_ns(c.hold_times, 0.99))});
  }
  return table.empty() ? "  (not counted in this build)\n" : table.text();
}

std::string machine_table(const RunResult& r) {
  const CoreStats& c = r.machine.cores;
  Table table({"machine and memory", "count"});
  table.row({"accesses", grouped(c.accesses)});
  table.row({"  TLB hits", percent(c.tlb_hits, c.accesses)});
  table.row({"  faults", percent(c.faults, c.accesses)});
  table.row({"page walks", grouped(c.walks)});
  table.row({"  begun below the root", percent(c.psc_hits, c.walks)});
  table.row({"  races with software", grouped(c.pte_races)});
  table.row({"TLB fills", grouped(c.tlb_fills)});
  table.row({"REF / MOD bits set", absl::StrCat(grouped(c.ref_sets), " / ", grouped(c.mod_sets))});
  table.row({"cross calls", grouped(r.machine.xc_calls)});
  table.row({"  with all CPUs captured", grouped(r.machine.xc_captures)});
  table.row({"  CPUs interrupted", grouped(c.interrupts)});
  table.row({"pages freed by the pageout thread", grouped(r.paged_out)});
  table.row({"free memory at the end, of all pages",
             absl::StrCat(grouped(r.memory.freemem), " of ", grouped(r.memory.pages))});
  table.row({"page tables at the end", grouped(r.memory.page_tables)});
  table.row(
      {"htables / hments in reserve", absl::StrCat(grouped(r.memory.htables_in_reserve), " / ",
                                                   grouped(r.memory.hments_in_reserve))});
  return table.text();
}

std::string audits_table(const AuditSummary& audits) {
  Table table({"counted by audits", "last", "most"});
  const auto add = [&](const char* name, uint64_t AuditCounts::*field) {
    table.row({name, grouped(audits.last.*field), grouped(audits.most.*field)});
  };
  add("address spaces", &AuditCounts::hats);
  add("page tables", &AuditCounts::tables);
  add("mappings", &AuditCounts::mappings);
  add("  embedded in the page", &AuditCounts::embedded);
  add("  with an hment", &AuditCounts::hments);
  add("longest mapping list", &AuditCounts::longest_list);
  add("pages", &AuditCounts::pages);
  add("TLB entries", &AuditCounts::tlb_entries);
  return table.text();
}

}  // namespace

Options resolved(const Options& options, const SystemConfig& config, const World& world) {
  Options o = options;
  o.hats = static_cast<uint32_t>(world.slots.size());
  o.pages = config.machine.nframes;
  o.mlist_locks = config.mlist_num_lock;
  o.hash_locks = config.hash_num_lock;
  o.htable_reserve = config.htable_reserve_amount;
  o.hment_reserve = config.hment_reserve_amount;
  o.fail_rate = config.alloc_failures_per_million / 1e6;
  o.steal_rate = config.force_steal_per_million / 1e6;
  return o;
}

Facts system_facts(const Options& o, const SystemConfig& config, const World& world) {
  std::string index, invalidation, owner, mod;
  for (const auto& [name, value] : option_values(o)) {
    if (name == "index") index = value;
    if (name == "invalidation") invalidation = value;
    if (name == "reserve_owner") owner = value;
    if (name == "mod") mod = value;
  }
  const MmuGeometry& mmu = config.machine.mmu;
  const uint64_t megabytes = config.machine.nframes * mmu.pagesize() >> 20;
  size_t mappings = 0;
  for (const auto& program : world.programs) mappings += program->segments.size();
  return {
      {"index",
       absl::StrFormat("%s, %d mlist locks, %d hash locks, %d buckets", index,
                       config.mlist_num_lock, config.hash_num_lock, config.hment_num_hash)},
      {"invalidation", invalidation},
      {"reserves",
       absl::StrFormat("%d htables, %d hments, owned by %s", config.htable_reserve_amount,
                       config.hment_reserve_amount, owner)},
      {"MOD", mod},
      {"machine", absl::StrFormat("%d CPUs and one for pageout, %d levels, %d frames (%d MiB), TLB "
                                  "of %d entries",
                                  o.threads, mmu.num_level, config.machine.nframes, megabytes,
                                  config.machine.tlb_entries)},
      {"faults",
       absl::StrFormat("%g%% of no-sleep allocations fail, %g%% of page tables are stolen",
                       o.fail_rate * 100, o.steal_rate * 100)},
      {"input", absl::StrFormat("%d processes with %d mappings, run as %d address spaces",
                                world.programs.size(), mappings, world.slots.size())},
      {"files",
       absl::StrFormat("%d files, %d large pages, %d shared memory segments", world.files.size(),
                       world.large_groups.size(), world.shared_memory.size())},
  };
}

std::string header(const Options& o, const Facts& facts) {
  std::string text = absl::StrFormat("hatstress: workload %s, seed %d, %d threads, %s\n",
                                     o.workload, o.seed, o.threads, seconds(o.duration));
  absl::StrAppend(&text, "  options      ");
  for (const auto& [name, value] : option_values(o)) {
    absl::StrAppend(&text, " ", shell_quoted(absl::StrCat("--", name, "=", value)));
  }
  absl::StrAppend(&text, "\n");
  for (const auto& [name, value] : facts) {
    absl::StrAppendFormat(&text, "  %-13s %s\n", name, value);
  }
  return text;
}

std::string result_tables(const RunResult& r) {
  std::string text = section("Operations", operations_table(r));
  absl::StrAppend(&text, section("HAT statistics", hatstat_table(r.hatstat)));
  if (r.complete) absl::StrAppend(&text, section("Machine and memory", machine_table(r)));
  absl::StrAppend(&text, section("Locks (waits of contended acquisitions; times are upper bounds)",
                                 locks_table(r.locks)));
  absl::StrAppend(&text, section(absl::StrFormat("Audits: %d, %s in all", r.audits.count,
                                                 seconds(r.audits.time)),
                                 audits_table(r.audits)));
  return text;
}

std::string verdict_line(const RunResult& r, uint64_t seed) {
  const std::string amount =
      absl::StrFormat("%s operations in %s, %d audits", rounded(static_cast<double>(r.operations)),
                      seconds(r.elapsed), r.audits.count);
  if (r.interrupted) {
    return absl::StrFormat("interrupted: %s so far, no violation up to here (seed %d)", amount,
                           seed);
  }
  return absl::StrFormat("clean: %s, no violation (seed %d)", amount, seed);
}

std::string violation_block(const Failure& failure, const std::string& operation,
                            const std::string& cpus, const std::string& evidence,
                            const std::string& rerun) {
  const std::string line(78, '=');
  std::string text = absl::StrCat("\n", line, "\nviolated (", std::string(phrase(failure.kind)),
                                  "): ", failure.message, "\n");
  // A crash has a backtrace instead.
  if (*failure.where.file != '\0') {
    absl::StrAppend(&text, "  at         ", to_string(failure.where), "\n");
  }
  absl::StrAppend(&text, "  cpu        ", failure.cpu, "\n");
  absl::StrAppend(&text, "  operation  ", operation, "\n");
  if (!cpus.empty()) absl::StrAppend(&text, "\n", cpus, "\n");
  if (!evidence.empty()) absl::StrAppend(&text, "  evidence   ", evidence, "\n");
  absl::StrAppend(&text, "  rerun      ", rerun, "\n", line, "\n");
  return text;
}

// ---- The live line.

LiveLine::LiveLine(std::FILE* terminal) : out_(terminal), active_(isatty(fileno(terminal)) == 1) {}

// Over the last two seconds.
double LiveLine::rate(const Progress& p) {
  recent_.emplace_back(p.elapsed, p.operations);
  while (recent_.size() > 2 && p.elapsed - recent_.front().first > absl::Seconds(2)) {
    recent_.pop_front();
  }
  const double time = absl::ToDoubleSeconds(p.elapsed - recent_.front().first);
  return time <= 0 ? 0 : static_cast<double>(p.operations - recent_.front().second) / time;
}

void LiveLine::show(const Progress& p) {
  if (!active_) return;
  const std::unique_lock lock(mutex_);
  if (closed_) return;
  const std::string text = absl::StrFormat(
      "%9s ops/s  %3.0f%%, %s left  %d audits  %s steals  %s shootdowns", rounded(rate(p)),
      p.share_done * 100, seconds(p.left), p.audits, rounded(static_cast<double>(p.steals)),
      rounded(static_cast<double>(p.shootdowns)));
  // Back to the first column, write, and clear what an earlier, longer line has left.
  absl::FPrintF(out_, "\r%s\x1b[K", text);
  std::fflush(out_);
}

void LiveLine::close() {
  if (!active_) return;
  const std::unique_lock lock(mutex_);
  if (!closed_) absl::FPrintF(out_, "\r\x1b[K");
  std::fflush(out_);
  closed_ = true;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
