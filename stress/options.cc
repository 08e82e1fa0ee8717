#include "stress/options.h"

#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <iostream>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "absl/flags/flag.h"
#include "absl/flags/marshalling.h"
#include "absl/flags/reflection.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "platform/nearest.h"
#include "stress/workload.h"

ABSL_FLAG(std::string, workload, "maps", "what the threads do; --list names all workloads");
ABSL_FLAG(uint32_t, threads, 0, "virtual CPUs, one thread each; 0: as many as the host has");
ABSL_FLAG(absl::Duration, duration, absl::Seconds(60), "how long to run, like 60s or 5m");
ABSL_FLAG(uint64_t, ops, 0, "stop each thread after this many operations; 0: by time only");
ABSL_FLAG(uint64_t, seed, 0, "seed of every thread's operation sequence; 0: from the clock");
ABSL_FLAG(uint32_t, hats, 0, "address spaces; 0: the workload's own number");
ABSL_FLAG(uint32_t, focus, 64,
          "segments of an address space, and pages of each, that most operations go to");
ABSL_FLAG(uint64_t, pages, 0, "physical frames; 0: the workload's own number");
ABSL_FLAG(std::string, maps, "", "folder of saved maps files for --workload=maps; empty: /proc");
ABSL_FLAG(std::string, index, "avl", "mapping-list index: chain or avl");
ABSL_FLAG(std::string, invalidation, "shootdown", "PTE invalidation: captured or shootdown");
ABSL_FLAG(std::string, reserve_owner, "depth", "who may use the reserves: thread or depth");
ABSL_FLAG(std::string, mod, "recheck",
          "how the hardware sets MOD: recheck, or blind, which wants --invalidation=captured");
ABSL_FLAG(uint32_t, mlist_locks, 0, "mapping-list locks, a power of two; 0: as published");
ABSL_FLAG(uint32_t, hash_locks, 0, "hment hash locks, a power of two; 0: as published");
ABSL_FLAG(uint32_t, buckets, 0,
          "buckets of the hment hash and of each table hash, a power of two; 0: as published");
ABSL_FLAG(int64_t, htable_reserve, -1, "htables kept in reserve; -1: the workload's own number");
ABSL_FLAG(int64_t, hment_reserve, -1, "hments kept in reserve; -1: the workload's own number");
ABSL_FLAG(double, fail_rate, -1, "share of no-sleep allocations that fail, 0 to 1; -1: workload");
ABSL_FLAG(double, steal_rate, -1,
          "share of table allocations forced to steal, 0 to 1; -1: workload");
ABSL_FLAG(uint32_t, files, 4, "segmap: files under test, 1 to 64");
ABSL_FLAG(uint64_t, file_size, 262144, "segmap: largest size of a file in bytes");
ABSL_FLAG(uint32_t, slots, 16, "segmap: windows of 8192 bytes, 1 to 2048");
ABSL_FLAG(uint32_t, free_lists, 0, "segmap: free lists; 0: as many as CPUs");
ABSL_FLAG(bool, kpm, false, "segmap: the kpm variant, with pages as large as slots");
ABSL_FLAG(std::string, waiting, "counted", "segmap: waiting for a slot: counted or published");
ABSL_FLAG(double, io_errors, 0.002, "segmap: share of transfers that fail or stop early, 0 to 1");
ABSL_FLAG(std::string, folder, "", "segmap: where the files are made; empty: TMPDIR, or /tmp");
ABSL_FLAG(uint32_t, pause_rate, 100,
          "pauses a second, per thread, before operations on what threads share; 0: none");
ABSL_FLAG(absl::Duration, audit_interval, absl::Seconds(5), "time between quiescent audits");
ABSL_FLAG(absl::Duration, stuck_after, absl::Seconds(30),
          "no operation ends for so long: the run is reported as stuck");
ABSL_FLAG(bool, report_inversions, true,
          "locks in an order that could deadlock are looked for, and are a violation");
ABSL_FLAG(std::string, json, "", "file for the result as JSON; - is standard output");
ABSL_FLAG(std::string, evidence, "hatstress-evidence", "folder made when a violation is found");
ABSL_FLAG(bool, dump_ops, false,
          "print the operations the seed draws (--ops of them), run nothing");
ABSL_FLAG(bool, list, false, "print the workloads and operations, run nothing");

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// The platform's CPUs, but for the one of the pageout thread.
constexpr uint32_t kMostThreads = kMaxCpus - 1;

// In the order of --help.
const std::vector<std::string>& flag_names() {
  static const std::vector<std::string> names = {"workload",
                                                 "threads",
                                                 "duration",
                                                 "ops",
                                                 "seed",
                                                 "hats",
                                                 "focus",
                                                 "pages",
                                                 "maps",
                                                 "index",
                                                 "invalidation",
                                                 "reserve_owner",
                                                 "mod",
                                                 "mlist_locks",
                                                 "hash_locks",
                                                 "buckets",
                                                 "htable_reserve",
                                                 "hment_reserve",
                                                 "fail_rate",
                                                 "steal_rate",
                                                 "files",
                                                 "file_size",
                                                 "slots",
                                                 "free_lists",
                                                 "kpm",
                                                 "waiting",
                                                 "io_errors",
                                                 "folder",
                                                 "pause_rate",
                                                 "audit_interval",
                                                 "stuck_after",
                                                 "report_inversions",
                                                 "json",
                                                 "evidence",
                                                 "dump_ops",
                                                 "list"};
  return names;
}

// What a value of the flag looks like, for messages.
std::string value_kind(const absl::CommandLineFlag& flag) {
  if (flag.IsOfType<absl::Duration>()) return "a duration like 60s or 5m";
  if (flag.IsOfType<double>()) return "a number";
  if (flag.IsOfType<bool>()) return "true or false";
  if (flag.IsOfType<uint32_t>() || flag.IsOfType<uint64_t>()) return "a number, 0 or more";
  if (flag.IsOfType<int64_t>()) return "a whole number";
  return "text";
}

absl::Status set_flag(const std::string& where, const std::string& name, const std::string& value) {
  absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
  std::string ignored;
  if (!flag->ParseFrom(value, &ignored)) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: '%s' is not a valid value; expected %s",
                                                      where, value, value_kind(*flag)));
  }
  return absl::OkStatus();
}

bool known(const std::string& name) {
  return std::find(flag_names().begin(), flag_names().end(), name) != flag_names().end();
}

// Flags are process-wide: an earlier call may have left values. (absl::FlagSaver logs what it
// does.)
void reset_flags() {
  for (const std::string& name : flag_names()) {
    absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    std::string ignored;
    flag->ParseFrom(flag->DefaultValue(), &ignored);
  }
}

absl::Status read_environment() {
  for (const std::string& name : flag_names()) {
    const std::string variable = absl::StrCat("HATCHECK_", absl::AsciiStrToUpper(name));
    if (const char* value = getenv(variable.c_str())) {
      const absl::Status status = set_flag(variable, name, value);
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

// --name=value, --name value, and --name / --noname for switches.
absl::Status read_arguments(const std::vector<std::string>& args) {
  for (size_t i = 0; i < args.size(); ++i) {
    const std::string& arg = args[i];
    if (!absl::StartsWith(arg, "-")) {
      return absl::InvalidArgumentError(
          absl::StrFormat("unexpected argument '%s'; expected flags like --workload=mix", arg));
    }
    const size_t start = arg.find_first_not_of('-');
    const std::string body = start == std::string::npos ? "" : arg.substr(start);
    const size_t equals = body.find('=');
    std::string name = body.substr(0, equals);
    std::replace(name.begin(), name.end(), '-', '_');
    std::string value = equals == std::string::npos ? "" : body.substr(equals + 1);
    bool negated = false;
    if (!known(name) && absl::StartsWith(name, "no") && known(name.substr(2)) &&
        equals == std::string::npos) {
      name = name.substr(2);
      negated = absl::FindCommandLineFlag(name)->IsOfType<bool>();
      if (!negated) name = "no" + name;
    }
    if (!known(name)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "unknown flag '%s'; nearest: --%s (--help lists all)", arg, nearest(name, flag_names())));
    }
    if (equals == std::string::npos) {
      if (absl::FindCommandLineFlag(name)->IsOfType<bool>()) {
        value = negated ? "false" : "true";
      } else if (i + 1 < args.size()) {
        value = args[++i];
      } else {
        return absl::InvalidArgumentError(absl::StrFormat(
            "--%s needs a value; expected %s", name, value_kind(*absl::FindCommandLineFlag(name))));
      }
    }
    const absl::Status status = set_flag("--" + name, name, value);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

template <class T>
absl::Status choose_one(const char* flag, const std::string& value,
                        const std::map<std::string, T>& choices, T* out) {
  const auto it = choices.find(value);
  if (it != choices.end()) {
    *out = it->second;
    return absl::OkStatus();
  }
  std::vector<std::string> names;
  for (const auto& [name, unused] : choices) names.push_back(name);
  return absl::InvalidArgumentError(
      unknown_choice(absl::StrCat("value of --", flag), value, names));
}

const std::map<std::string, IndexDesign> kIndexes = {{"chain", IndexDesign::kChain},
                                                     {"avl", IndexDesign::kAvl}};
const std::map<std::string, InvalidationDesign> kInvalidations = {
    {"captured", InvalidationDesign::kCaptured}, {"shootdown", InvalidationDesign::kShootdown}};
const std::map<std::string, ReserveDesign> kOwners = {{"thread", ReserveDesign::kThread},
                                                      {"depth", ReserveDesign::kDepth}};
const std::map<std::string, ModVariant> kMods = {{"recheck", ModVariant::kRecheck},
                                                 {"blind", ModVariant::kBlindDirty}};

const std::map<std::string, WaitingDesign> kWaitings = {{"counted", WaitingDesign::kCounted},
                                                        {"published", WaitingDesign::kPublished}};

template <class T>
std::string name_of(const std::map<std::string, T>& choices, T value) {
  for (const auto& [name, choice] : choices) {
    if (choice == value) return name;
  }
  return "?";
}

absl::Status out_of_range(const char* flag, const std::string& got, const std::string& wanted) {
  return absl::InvalidArgumentError(
      absl::StrFormat("--%s=%s is out of range; expected %s", flag, got, wanted));
}

absl::Status check_power_of_two(const char* flag, uint32_t value) {
  if ((value & (value - 1)) == 0 && value <= 65536) return absl::OkStatus();
  uint32_t near = 1;
  while (near < value && near < 65536) near *= 2;
  return out_of_range(flag, absl::StrCat(value),
                      absl::StrCat("a power of two up to 65536; nearest: ", near));
}

absl::Status check_rate(const char* flag, double value) {
  if (value == -1 || (value >= 0 && value <= 1)) return absl::OkStatus();
  return out_of_range(flag, absl::StrCat(value), "0 to 1 (0.3 is 30%)");
}

absl::Status check_reserve(const char* flag, int64_t value, ReserveDesign owner) {
  if (value < -1 || value > 1000000) {
    return out_of_range(flag, absl::StrCat(value), "0 to 1000000, or -1");
  }
  if (value == 0 && owner == ReserveDesign::kThread) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--", flag, "=0 with --reserve_owner=thread: expected 1 or more, as the owner takes from ",
        "nowhere else, and who builds the first process would wait for ever"));
  }
  return absl::OkStatus();
}

absl::Status check_segmap(const Options& o) {
  if (o.files == 0 || o.files > 64) {
    return out_of_range("files", absl::StrCat(o.files), "1 to 64");
  }
  if (o.file_size < 64 || o.file_size > (uint64_t{1} << 30)) {
    return out_of_range("file_size", absl::StrCat(o.file_size), "64 to 1073741824 (1 GiB)");
  }
  if (o.slots == 0 || o.slots > 2048) {
    return out_of_range("slots", absl::StrCat(o.slots), "1 to 2048");
  }
  if (o.io_errors < 0 || o.io_errors > 1) {
    return out_of_range("io_errors", absl::StrCat(o.io_errors), "0 to 1 (0.3 is 30%)");
  }
  return absl::OkStatus();
}

absl::Status check(const Options& o) {
  if (find_workload(o.workload) == nullptr) {
    std::vector<std::string> names;
    for (const Workload& w : workloads()) names.push_back(w.name);
    return absl::InvalidArgumentError(unknown_choice("workload", o.workload, names));
  }
  if (o.threads > kMostThreads) {
    return out_of_range("threads", absl::StrCat(o.threads), absl::StrCat("0 to ", kMostThreads));
  }
  if (o.hats > 100000) return out_of_range("hats", absl::StrCat(o.hats), "0 to 100000");
  if (o.focus == 0) return out_of_range("focus", "0", "1 or more");
  if (o.pages != 0 && (o.pages < 4096 || o.pages > (1u << 22))) {
    return out_of_range("pages", absl::StrCat(o.pages), "4096 to 4194304 (16 GiB), or 0");
  }
  if (o.duration <= absl::ZeroDuration()) {
    return out_of_range("duration", absl::FormatDuration(o.duration), "more than 0s");
  }
  if (o.audit_interval <= absl::ZeroDuration()) {
    return out_of_range("audit_interval", absl::FormatDuration(o.audit_interval), "more than 0s");
  }
  if (o.stuck_after <= absl::ZeroDuration()) {
    return out_of_range("stuck_after", absl::FormatDuration(o.stuck_after), "more than 0s");
  }
  if (o.pause_rate > 1000000) {
    return out_of_range("pause_rate", absl::StrCat(o.pause_rate), "0 to 1000000");
  }
  if (!o.maps_dir.empty() && o.workload != "maps") {
    return absl::InvalidArgumentError("--maps goes with --workload=maps only");
  }
  if (o.dump_ops && o.ops == 0) {
    return absl::InvalidArgumentError("--dump_ops needs --ops=N: how many to print per thread");
  }
  absl::Status status = check_segmap(o);
  if (status.ok()) status = check_power_of_two("mlist_locks", o.mlist_locks);
  if (status.ok()) status = check_power_of_two("hash_locks", o.hash_locks);
  if (status.ok()) status = check_power_of_two("buckets", o.buckets);
  if (status.ok()) status = check_rate("fail_rate", o.fail_rate);
  if (status.ok()) status = check_rate("steal_rate", o.steal_rate);
  if (status.ok()) status = check_reserve("htable_reserve", o.htable_reserve, o.reserve_owner);
  if (status.ok()) status = check_reserve("hment_reserve", o.hment_reserve, o.reserve_owner);
  return status;
}

absl::StatusOr<Options> from_flags() {
  Options o;
  o.workload = absl::GetFlag(FLAGS_workload);
  o.threads = absl::GetFlag(FLAGS_threads);
  o.duration = absl::GetFlag(FLAGS_duration);
  o.ops = absl::GetFlag(FLAGS_ops);
  o.seed = absl::GetFlag(FLAGS_seed);
  o.hats = absl::GetFlag(FLAGS_hats);
  o.focus = absl::GetFlag(FLAGS_focus);
  o.pages = absl::GetFlag(FLAGS_pages);
  o.maps_dir = absl::GetFlag(FLAGS_maps);
  o.mlist_locks = absl::GetFlag(FLAGS_mlist_locks);
  o.hash_locks = absl::GetFlag(FLAGS_hash_locks);
  o.buckets = absl::GetFlag(FLAGS_buckets);
  o.htable_reserve = absl::GetFlag(FLAGS_htable_reserve);
  o.hment_reserve = absl::GetFlag(FLAGS_hment_reserve);
  o.fail_rate = absl::GetFlag(FLAGS_fail_rate);
  o.steal_rate = absl::GetFlag(FLAGS_steal_rate);
  o.files = absl::GetFlag(FLAGS_files);
  o.file_size = absl::GetFlag(FLAGS_file_size);
  o.slots = absl::GetFlag(FLAGS_slots);
  o.free_lists = absl::GetFlag(FLAGS_free_lists);
  o.kpm = absl::GetFlag(FLAGS_kpm);
  o.io_errors = absl::GetFlag(FLAGS_io_errors);
  o.folder = absl::GetFlag(FLAGS_folder);
  o.pause_rate = absl::GetFlag(FLAGS_pause_rate);
  o.audit_interval = absl::GetFlag(FLAGS_audit_interval);
  o.stuck_after = absl::GetFlag(FLAGS_stuck_after);
  o.report_inversions = absl::GetFlag(FLAGS_report_inversions);
  o.json = absl::GetFlag(FLAGS_json);
  o.evidence = absl::GetFlag(FLAGS_evidence);
  o.dump_ops = absl::GetFlag(FLAGS_dump_ops);
  o.list = absl::GetFlag(FLAGS_list);
  absl::Status status = choose_one("index", absl::GetFlag(FLAGS_index), kIndexes, &o.index);
  if (status.ok()) {
    status = choose_one("invalidation", absl::GetFlag(FLAGS_invalidation), kInvalidations,
                        &o.invalidation);
  }
  if (status.ok()) {
    status =
        choose_one("reserve_owner", absl::GetFlag(FLAGS_reserve_owner), kOwners, &o.reserve_owner);
  }
  if (status.ok()) status = choose_one("mod", absl::GetFlag(FLAGS_mod), kMods, &o.mod_variant);
  if (status.ok()) {
    status = choose_one("waiting", absl::GetFlag(FLAGS_waiting), kWaitings, &o.waiting);
  }
  if (status.ok()) status = check(o);
  if (!status.ok()) return status;
  if (o.threads == 0) {
    o.threads = std::clamp<uint32_t>(std::thread::hardware_concurrency(), 1, kMostThreads);
  }
  if (o.seed == 0) o.seed = static_cast<uint64_t>(absl::ToUnixNanos(absl::Now())) % 1000000000 + 1;
  return o;
}

void print_help() {
  std::cout << "hatstress: soaks the HAT layer with real threads and checks it at every step.\n\n"
               "Flags (each also as HATCHECK_<FLAG> in the environment):\n";
  for (const std::string& name : flag_names()) {
    const absl::CommandLineFlag* flag = absl::FindCommandLineFlag(name);
    std::cout << absl::StreamFormat("  --%-16s %s (default: %s)\n", name, flag->Help(),
                                    flag->DefaultValue());
  }
  std::cout << "\nExit codes: 0 clean, 1 violation found, 2 bad usage.\n";
}

}  // namespace

absl::StatusOr<Options> parse_options(int argc, char** argv, bool* exit_now) {
  *exit_now = false;
  const std::vector<std::string> args(argv + std::min(argc, 1), argv + argc);
  if (std::find(args.begin(), args.end(), "--help") != args.end() ||
      std::find(args.begin(), args.end(), "-h") != args.end()) {
    print_help();
    *exit_now = true;
    return Options{};
  }
  reset_flags();
  absl::Status status = read_environment();
  if (status.ok()) status = read_arguments(args);
  if (!status.ok()) return status;
  return from_flags();
}

std::vector<std::pair<std::string, std::string>> option_values(const Options& o) {
  const auto text = [](auto value) { return absl::UnparseFlag(value); };
  const auto time = [](absl::Duration value) { return absl::FormatDuration(value); };
  return {
      {"workload", o.workload},
      {"threads", text(o.threads)},
      {"duration", time(o.duration)},
      {"ops", text(o.ops)},
      {"seed", text(o.seed)},
      {"hats", text(o.hats)},
      {"focus", text(o.focus)},
      {"pages", text(o.pages)},
      {"maps", o.maps_dir},
      {"index", name_of(kIndexes, o.index)},
      {"invalidation", name_of(kInvalidations, o.invalidation)},
      {"reserve_owner", name_of(kOwners, o.reserve_owner)},
      {"mod", name_of(kMods, o.mod_variant)},
      {"mlist_locks", text(o.mlist_locks)},
      {"hash_locks", text(o.hash_locks)},
      {"buckets", text(o.buckets)},
      {"htable_reserve", text(o.htable_reserve)},
      {"hment_reserve", text(o.hment_reserve)},
      {"fail_rate", text(o.fail_rate)},
      {"steal_rate", text(o.steal_rate)},
      {"files", text(o.files)},
      {"file_size", text(o.file_size)},
      {"slots", text(o.slots)},
      {"free_lists", text(o.free_lists)},
      {"kpm", text(o.kpm)},
      {"waiting", name_of(kWaitings, o.waiting)},
      {"io_errors", text(o.io_errors)},
      {"folder", o.folder},
      {"pause_rate", absl::StrCat(o.pause_rate)},
      {"audit_interval", time(o.audit_interval)},
      {"stuck_after", time(o.stuck_after)},
      {"report_inversions", text(o.report_inversions)},
      {"json", o.json},
      {"evidence", o.evidence},
      {"dump_ops", text(o.dump_ops)},
      {"list", text(o.list)},
  };
}

std::string shell_quoted(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](char c) {
    return absl::ascii_isalnum(c) || std::strchr("-_=./:,+@%", c) != nullptr;
  });
  return plain ? word : absl::StrCat("'", absl::StrReplaceAll(word, {{"'", "'\\''"}}), "'");
}

std::string command_line(const Options& options) {
  static const std::set<std::string> always = {"workload", "threads", "seed"};
  // What a run prints where has nothing to do with what it does.
  static const std::set<std::string> never = {"json", "dump_ops", "list"};
  const auto values = option_values(options);
  const auto defaults = option_values(Options{});
  std::vector<std::string> parts;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto& [name, value] = values[i];
    if (never.count(name) != 0 || (value == defaults[i].second && always.count(name) == 0))
      continue;
    parts.push_back(shell_quoted(absl::StrCat("--", name, "=", value)));
  }
  return absl::StrJoin(parts, " ");
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
