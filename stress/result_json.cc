#include "stress/result_json.h"

#include <algorithm>

#include "nlohmann/json.hpp"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// Keeps the order in which keys are added.
using Json = nlohmann::ordered_json;

Json operations(const RunResult& r, double seconds) {
  Json list = Json::array();
  for (const OpTotals& t : r.ops) {
    list.push_back({{"name", t.name},
                    {"count", t.total()},
                    {"per_s", static_cast<double>(t.total()) / seconds},
                    {"done", t.done},
                    {"nothing_to_do", t.nothing},
                    {"gave_way", t.retries}});
  }
  return list;
}

Json hatstat(const HatStatTotals& stats) {
  Json all;
#define HATCHECK_FIELD(name) all[#name] = stats.name;
  HATCHECK_HAT_STATS(HATCHECK_FIELD)
#undef HATCHECK_FIELD
  return all;
}

Json times(uint64_t total, const TimeHistogram& histogram) {
  return {{"total_ns", total},
          {"p50_ns", percentile_ns(histogram, 0.50)},
          {"p99_ns", percentile_ns(histogram, 0.99)}};
}

Json locks(const LockReport& report) {
  Json list = Json::array();
  for (const LockClassReport& c : report) {
    list.push_back({{"class", c.name},
                    {"place", c.place},
                    {"acquisitions", c.acquisitions},
                    {"contended", c.contended},
                    {"failed_tryenters", c.failed_tryenters},
                    {"wait", times(c.wait_ns, c.wait_times)},
                    {"hold", times(c.hold_ns, c.hold_times)}});
  }
  return list;
}

Json counts(const AuditCounts& c) {
  return {{"hats", c.hats},         {"tables", c.tables},          {"mappings", c.mappings},
          {"embedded", c.embedded}, {"hments", c.hments},          {"longest_list", c.longest_list},
          {"pages", c.pages},       {"tlb_entries", c.tlb_entries}};
}

Json machine(const MachineStats& m) {
  const CoreStats& c = m.cores;
  return {{"accesses", c.accesses},     {"tlb_hits", c.tlb_hits},    {"walks", c.walks},
          {"psc_hits", c.psc_hits},     {"tlb_fills", c.tlb_fills},  {"ref_sets", c.ref_sets},
          {"mod_sets", c.mod_sets},     {"pte_races", c.pte_races},  {"faults", c.faults},
          {"interrupts", c.interrupts}, {"cross_calls", m.xc_calls}, {"captures", m.xc_captures}};
}

Json memory(const MemoryCounters& m) {
  return {{"pages", m.pages},
          {"freemem", m.freemem},
          {"availrmem", m.availrmem},
          {"page_tables", m.page_tables},
          {"htables_in_reserve", m.htables_in_reserve},
          {"hments_in_reserve", m.hments_in_reserve}};
}

Json violation(const Violation& v) {
  return {{"kind", std::string(phrase(v.failure.kind))},
          {"message", v.failure.message},
          {"file", v.failure.where.file},
          {"line", v.failure.where.line},
          {"function", v.failure.where.function},
          {"cpu", v.failure.cpu},
          {"operation", v.operation},
          {"evidence", v.evidence}};
}

template <class Pairs>
Json object(const Pairs& pairs) {
  Json all;
  for (const auto& [name, value] : pairs) all[name] = value;
  return all;
}

}  // namespace

std::string result_json(const ResultForJson& r) {
  const RunResult& result = r.result;
  const double seconds = absl::ToDoubleSeconds(result.elapsed);
  const double divisor = std::max(seconds, 1e-9);
  Json all;
  all["program"] = "hatstress";
  all["verdict"] = r.violation ? "violated" : result.interrupted ? "interrupted" : "clean";
  all["seed"] = r.options.seed;
  all["command"] = r.command;
  all["options"] = object(option_values(r.options));
  all["facts"] = object(r.facts);
  all["elapsed_s"] = seconds;
  all["operations"] = result.operations;
  all["ops_per_s"] = static_cast<double>(result.operations) / divisor;
  all["ops"] = operations(result, divisor);
  all["hatstat"] = hatstat(result.hatstat);
  all["locks"] = locks(result.locks);
  all["lock_edges"] = Json::parse(lock_edges_json(result.lock_edges));
  all["audits"] = {{"count", result.audits.count},
                   {"seconds", absl::ToDoubleSeconds(result.audits.time)},
                   {"last", counts(result.audits.last)},
                   {"most", counts(result.audits.most)}};
  all["paged_out"] = result.paged_out;
  if (result.complete) {
    all["machine"] = machine(result.machine);
    all["memory"] = memory(result.memory);
  }
  if (r.violation) all["violation"] = violation(*r.violation);
  // Paths and messages may hold bytes that are not UTF-8: they are replaced, not refused.
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
