#include "models/options.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>

#include "absl/flags/flag.h"
#include "absl/flags/marshalling.h"
#include "absl/flags/reflection.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"
#include "platform/nearest.h"

ABSL_FLAG(std::string, scenario, "",
          "names, beginnings of names, patterns with * and ?, separated by commas; empty: all");
ABSL_FLAG(std::string, search, "",
          "dpor, bound, pct, random, full; empty: the engine's usual one. See --list");
ABSL_FLAG(int32_t, preemptions, -1,
          "--search=bound: preemptions per execution; -1: scenario's own");
ABSL_FLAG(uint64_t, executions, 0,
          "at most so many; 0: what the scenario says. With --test only for scenarios that ask for "
          "no number");
ABSL_FLAG(absl::Duration, time, absl::ZeroDuration(),
          "start no further execution of a scenario after this long, like 60s; 0: no limit");
ABSL_FLAG(uint64_t, seed, 1, "of a random search");
ABSL_FLAG(uint64_t, max_steps, 0, "longest execution; a longer one is a livelock; 0: usual limit");
ABSL_FLAG(std::string, replay, "", "one execution: the text that a violation printed, or @FILE");
ABSL_FLAG(int32_t, jobs, 1, "processes that share a search");
ABSL_FLAG(std::string, checkpoint, "",
          "keep the state of a search in this file: at an interrupt, at a bound, now and then");
ABSL_FLAG(absl::Duration, checkpoint_every, absl::Minutes(1), "how often that is written");
ABSL_FLAG(std::string, resume, "", "go on from such a file, and keep the state there");
ABSL_FLAG(bool, report_inversions, true,
          "locks in an order that could deadlock are looked for, and are a violation");
ABSL_FLAG(bool, list, false, "print the scenarios and searches, run nothing");
ABSL_FLAG(bool, keep_going, false, "go on with the next scenario after a violation");
ABSL_FLAG(bool, clean_only, false, "only the scenarios that must end clean");
ABSL_FLAG(std::string, json, "", "file for the results as JSON; - is standard output");
ABSL_FLAG(std::string, html, "",
          "file for the first violation as a page; empty: with --test one in "
          "$TEST_UNDECLARED_OUTPUTS_DIR, where a test has that");
ABSL_FLAG(bool, test, false,
          "exit with 0 also for a bounded result, unless the scenario demands an exhausted one");

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr int kMostJobs = 256;

const std::vector<std::string>& flag_names() {
  static const std::vector<std::string> names = {
      "scenario", "search",     "preemptions",      "executions",
      "time",     "seed",       "max_steps",        "replay",
      "jobs",     "checkpoint", "resume",           "checkpoint_every",
      "list",     "keep_going", "clean_only",       "json",
      "html",     "test",       "report_inversions"};
  return names;
}

// The words of other tools for the same things.
const std::map<std::string, std::string>& aliases() {
  static const std::map<std::string, std::string> words = {{"context_bound", "preemptions"},
                                                           {"iterations", "executions"}};
  return words;
}

absl::CommandLineFlag* flag_named(const std::string& name) {
  const auto& names = flag_names();
  return std::find(names.begin(), names.end(), name) != names.end()
             ? absl::FindCommandLineFlag(name)
             : nullptr;
}

std::string value_kind(const absl::CommandLineFlag& flag) {
  if (flag.IsOfType<absl::Duration>()) return "a duration like 60s or 5m";
  if (flag.IsOfType<bool>()) return "true or false";
  if (flag.IsOfType<uint64_t>()) return "a number, 0 or more";
  if (flag.IsOfType<int32_t>()) return "a whole number";
  return "text";
}

absl::Status set_flag(const std::string& where, const std::string& name, const std::string& value) {
  absl::CommandLineFlag* const flag = flag_named(name);
  std::string ignored;
  if (!flag->ParseFrom(value, &ignored)) {
    return absl::InvalidArgumentError(absl::StrFormat("%s: '%s' is not a valid value; expected %s",
                                                      where, value, value_kind(*flag)));
  }
  return absl::OkStatus();
}

absl::Status read_environment() {
  for (const std::string& name : flag_names()) {
    const std::string variable = absl::StrCat("HATCHECK_", absl::AsciiStrToUpper(name));
    if (const char* value = ::getenv(variable.c_str())) {
      const absl::Status status = set_flag(variable, name, value);
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

absl::Status unknown_flag(const std::string& arg, const std::string& name) {
  std::vector<std::string> names = flag_names();
  for (const auto& [alias, unused] : aliases()) names.push_back(alias);
  names.push_back("help");
  return absl::InvalidArgumentError(absl::StrFormat(
      "unknown flag '%s'; nearest: --%s (--help lists all)", arg, nearest(name, names)));
}

// One argument, which may take the next one as its value. Advances *at past what it used.
absl::Status read_argument(const std::vector<std::string>& args, size_t* at, bool* help) {
  const std::string& arg = args[(*at)++];
  if (!absl::StartsWith(arg, "-")) {
    return absl::InvalidArgumentError(
        absl::StrFormat("unexpected argument '%s'; expected flags like --scenario=hment/*", arg));
  }
  const size_t start = std::min(arg.find_first_not_of('-'), arg.size());
  const size_t equals = arg.find('=', start);
  std::string name = arg.substr(start, equals == std::string::npos ? equals : equals - start);
  std::replace(name.begin(), name.end(), '-', '_');
  if (name == "help" || name == "h") {
    *help = true;
    return absl::OkStatus();
  }
  if (const auto alias = aliases().find(name); alias != aliases().end()) name = alias->second;
  const bool off = flag_named(name) == nullptr && absl::StartsWith(name, "no") &&
                   flag_named(name.substr(2)) != nullptr;
  if (off) name = name.substr(2);
  absl::CommandLineFlag* const flag = flag_named(name);
  if (flag == nullptr || (off && !flag->IsOfType<bool>())) return unknown_flag(arg, name);
  std::string value;
  if (equals != std::string::npos) {
    value = arg.substr(equals + 1);
  } else if (flag->IsOfType<bool>()) {
    value = off ? "false" : "true";
  } else if (*at < args.size()) {
    value = args[(*at)++];
  } else {
    return absl::InvalidArgumentError(
        absl::StrFormat("--%s needs a value; expected %s", name, value_kind(*flag)));
  }
  return set_flag("--" + name, name, value);
}

absl::StatusOr<std::string> replay_text(const std::string& value) {
  if (!absl::StartsWith(value, "@")) return value;
  std::ifstream file(value.substr(1));
  if (!file) {
    return absl::InvalidArgumentError(absl::StrCat("--replay: cannot read ", value.substr(1)));
  }
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  return std::string(absl::StripAsciiWhitespace(text));
}

std::vector<std::string> offered_searches() {
  std::vector<std::string> names;
  for (const auto& [name, search] : kSearchNames) {
    if (offers(search) && search != Search::kReplay) names.emplace_back(name);
  }
  return names;
}

// `bazel run` starts programs elsewhere than where it was called, and says where that was.
std::string from_here(const std::string& path) {
  const char* const here = ::getenv("BUILD_WORKING_DIRECTORY");
  if (path.empty() || path == "-" || path[0] == '/' || here == nullptr) return path;
  return absl::StrCat(here, "/", path);
}

// A file that can be written is worth knowing before a search that takes hours.
absl::Status can_write_page(const std::string& path) {
  if (!kPages) {
    return absl::InvalidArgumentError(
        absl::StrCat("--html: the engine ", kEngineName, " makes no pages; explorer does"));
  }
  const bool there = ::access(path.c_str(), F_OK) == 0;
  std::FILE* const file = std::fopen(path.c_str(), "a");
  if (file == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("--html: cannot write ", path, " (",
                                                   std::strerror(errno),
                                                   "); expected a file in a folder that exists"));
  }
  std::fclose(file);
  if (!there) std::remove(path.c_str());
  return absl::OkStatus();
}

// What divides a search among processes and machines, and keeps its state.
absl::Status long_search_flags(SearchOptions* o) {
  o->jobs = absl::GetFlag(FLAGS_jobs);
  o->checkpoint = from_here(absl::GetFlag(FLAGS_checkpoint));
  o->resume = from_here(absl::GetFlag(FLAGS_resume));
  o->checkpoint_every = absl::ToChronoMilliseconds(absl::GetFlag(FLAGS_checkpoint_every));
  if (o->jobs < 1 || o->jobs > kMostJobs) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--jobs: expected a number of processes, 1 to %d", kMostJobs));
  }
  if (o->checkpoint_every <= std::chrono::milliseconds(0)) {
    return absl::InvalidArgumentError("--checkpoint_every: expected a duration like 60s, over 0");
  }
  if (!o->checkpoint.empty() && !o->resume.empty() && o->checkpoint != o->resume) {
    return absl::InvalidArgumentError(
        "--resume keeps the state in its own file; expected no other --checkpoint with it");
  }
  if (!o->resume.empty()) o->checkpoint = o->resume;
  if (!kLongSearches && (o->jobs > 1 || !o->checkpoint.empty())) {
    return absl::InvalidArgumentError(
        absl::StrCat("the engine ", kEngineName,
                     " has no --jobs, --checkpoint and --resume; nearest: the engine explorer"));
  }
  return absl::OkStatus();
}

// Bazel's protocol for tests that run in several shards.
absl::Status shards_from_bazel(SearchOptions* o) {
  const char* const total = ::getenv("TEST_TOTAL_SHARDS");
  const char* const index = ::getenv("TEST_SHARD_INDEX");
  if (total == nullptr || index == nullptr) return absl::OkStatus();
  if (!absl::SimpleAtoi(total, &o->shards) || !absl::SimpleAtoi(index, &o->shard) ||
      o->shards < 1 || o->shard < 0 || o->shard >= o->shards) {
    return absl::InvalidArgumentError(
        absl::StrCat("TEST_TOTAL_SHARDS=", total, " and TEST_SHARD_INDEX=", index,
                     ": expected a number of shards, and one from 0 to that less one"));
  }
  if (const char* const file = ::getenv("TEST_SHARD_STATUS_FILE")) {
    // Its being there says that the protocol is understood.
    if (!std::ofstream(file, std::ios::app)) {
      return absl::InvalidArgumentError(
          absl::StrCat("TEST_SHARD_STATUS_FILE: cannot write ", file));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<RunnerOptions> from_flags() {
  RunnerOptions o;
  o.scenario = absl::GetFlag(FLAGS_scenario);
  o.options.preemptions = absl::GetFlag(FLAGS_preemptions);
  o.options.executions = absl::GetFlag(FLAGS_executions);
  o.options.time = absl::ToChronoMilliseconds(absl::GetFlag(FLAGS_time));
  o.options.seed = absl::GetFlag(FLAGS_seed);
  o.options.max_steps = absl::GetFlag(FLAGS_max_steps);
  o.options.report_inversions = absl::GetFlag(FLAGS_report_inversions);
  o.json = from_here(absl::GetFlag(FLAGS_json));
  o.html = from_here(absl::GetFlag(FLAGS_html));
  o.list = absl::GetFlag(FLAGS_list);
  o.keep_going = absl::GetFlag(FLAGS_keep_going);
  o.clean_only = absl::GetFlag(FLAGS_clean_only);
  o.test = absl::GetFlag(FLAGS_test);
  if (o.options.time < std::chrono::milliseconds(0)) {
    return absl::InvalidArgumentError("--time: expected a duration like 60s, 0 or more");
  }
  absl::Status status = long_search_flags(&o.options);
  if (status.ok()) status = shards_from_bazel(&o.options);
  if (!status.ok()) return status;
  if (!o.html.empty()) {
    status = can_write_page(o.html);
    if (!status.ok()) return status;
  }
  const std::string search = absl::GetFlag(FLAGS_search);
  if (!search.empty()) {
    o.search = search_named(search);
    if (!o.search.has_value() || !offers(*o.search) || o.search == Search::kReplay) {
      return absl::InvalidArgumentError(unknown_choice(
          absl::StrCat("search of the engine ", kEngineName), search, offered_searches()));
    }
  }
  const std::string replay = absl::GetFlag(FLAGS_replay);
  if (!replay.empty()) {
    if (!offers(Search::kReplay)) {
      return absl::InvalidArgumentError(absl::StrCat("the engine ", kEngineName, " cannot replay"));
    }
    const absl::StatusOr<std::string> text = replay_text(replay);
    if (!text.ok()) return text.status();
    o.search = Search::kReplay;
    o.options.replay = *text;
  }
  return o;
}

absl::StatusOr<std::vector<AnyScenario>> select_one(const std::vector<AnyScenario>& all,
                                                    const std::string& text) {
  std::vector<AnyScenario> same;
  std::vector<AnyScenario> matching;
  std::vector<std::string> names;
  const bool pattern = text.find_first_of("*?[") != std::string::npos;
  for (const AnyScenario& scenario : all) {
    names.emplace_back(scenario.name);
    if (text == scenario.name) same.push_back(scenario);
    if (pattern ? ::fnmatch(text.c_str(), scenario.name, 0) == 0
                : absl::StartsWith(scenario.name, text)) {
      matching.push_back(scenario);
    }
  }
  if (!same.empty()) return same;
  if (!matching.empty()) return matching;
  return absl::InvalidArgumentError(absl::StrFormat(
      "unknown scenario '%s'; nearest: %s (--list names all)", text, nearest(text, names)));
}

}  // namespace

absl::StatusOr<RunnerOptions> parse_options(const std::vector<std::string>& args) {
  absl::Status status = read_environment();
  bool help = false;
  for (size_t at = 0; status.ok() && at < args.size();) status = read_argument(args, &at, &help);
  if (!status.ok()) return status;
  absl::StatusOr<RunnerOptions> options = from_flags();
  if (options.ok()) options->help = help;
  return options;
}

std::string help_text() {
  std::string text = absl::StrCat(
      "Runs scenarios on the engine '", kEngineName,
      "'.\nExit codes: 0 exhausted and clean, 1 violated, 2 bad usage, 3 clean but bounded, 4 "
      "internal\nerror or nondeterministic scenario.\n\n");
  for (const std::string& name : flag_names()) {
    const absl::CommandLineFlag* const flag = absl::FindCommandLineFlag(name);
    absl::StrAppendFormat(&text, "  --%-14s %s (default: %s)\n", name, flag->Help(),
                          flag->DefaultValue().empty() ? "empty" : flag->DefaultValue());
  }
  absl::StrAppend(&text, "\nEach flag can also be set as HATCHECK_<FLAG> in the environment.\n");
  return text;
}

absl::StatusOr<std::vector<AnyScenario>> select_scenarios(const std::vector<AnyScenario>& all,
                                                          const std::string& text) {
  if (text.empty()) return all;
  std::vector<AnyScenario> selected;
  for (const absl::string_view part : absl::StrSplit(text, ',')) {
    const absl::StatusOr<std::vector<AnyScenario>> found = select_one(all, std::string(part));
    if (!found.ok()) return found.status();
    selected.insert(selected.end(), found->begin(), found->end());
  }
  return selected;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
