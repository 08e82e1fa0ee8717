// Options of hatstress: every flag as one plain struct, parsed and checked in one place.
//
// A flag NAME may also be given in the environment as HATCHECK_NAME; the command line wins. A bad
// flag or value is one line on standard error that says what was expected and the nearest valid
// choice, and exit code 2.
#ifndef HATCHECK_STRESS_OPTIONS_H_
#define HATCHECK_STRESS_OPTIONS_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "hat/system.h"
#include "segmap/smap_waiting.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct Options {
  std::string workload = "maps";  // a name in workload_names()
  uint32_t threads = 0;           // virtual CPUs, one thread each; 0: as many as the host has
  absl::Duration duration = absl::Seconds(60);
  uint64_t ops = 0;      // stop each thread after this many operations; 0: by time only
  uint64_t seed = 0;     // 0: drawn from the clock; always printed
  uint32_t hats = 0;     // address spaces; 0: the workload's own number
  uint32_t focus = 64;   // segments, and pages of each, that most operations go to
  uint64_t pages = 0;    // physical frames; 0: the workload's own number
  std::string maps_dir;  // folder of saved maps files; empty: /proc
  IndexDesign index = IndexDesign::kAvl;
  InvalidationDesign invalidation = InvalidationDesign::kShootdown;
  ReserveDesign reserve_owner = ReserveDesign::kDepth;
  ModVariant mod_variant = ModVariant::kRecheck;
  uint32_t mlist_locks = 0;  // 0: as published with the index design (chain 256, avl 2048)
  uint32_t hash_locks = 0;
  uint32_t buckets = 0;         // of the hment hash, and of each hat's table hash; 0: as published
  int64_t htable_reserve = -1;  // -1: the workload's own number (200, or 0 under pressure)
  int64_t hment_reserve = -1;
  double fail_rate = -1;  // share of no-sleep allocations that fail, 0..1; -1: the workload's own
  // Of --workload=segmap.
  uint32_t files = 4;
  uint64_t file_size = 256 << 10;  // bytes a file may have at most
  uint32_t slots = 16;
  uint32_t free_lists = 0;  // 0: as many as CPUs
  bool kpm = false;
  WaitingDesign waiting = WaitingDesign::kCounted;
  double io_errors = 0.002;  // share of transfers that fail
  std::string folder;        // where the files are made; empty: TMPDIR, or /tmp
  double steal_rate =
      -1;  // share of table allocations that steal although memory is left; likewise
  uint32_t pause_rate = 100;  // pauses a second and thread (platform/threads/pauses.h)
  absl::Duration audit_interval = absl::Seconds(5);
  absl::Duration stuck_after =
      absl::Seconds(30);                        // no operation ends for so long: reported as stuck
  bool report_inversions = true;                // look for locks in an order that could deadlock
  std::string json;                             // file for the result; "-" is standard output
  std::string evidence = "hatstress-evidence";  // folder made on failure
  bool dump_ops = false;  // print the operations that the seed draws, and run nothing
  bool list = false;      // print the workloads and operations, and run nothing
};

// Parses argv (and the environment) over the defaults. On a bad flag the status message is the
// whole line to print. Also handles --help (prints, *exit_now becomes true).
absl::StatusOr<Options> parse_options(int argc, char** argv, bool* exit_now);

// Every option in the order of --help, with its value as the flag takes it.
std::vector<std::pair<std::string, std::string>> option_values(const Options& options);

// "--workload=maps --threads=4 --seed=...": every option that is not the default, and always those
// three, quoted for a shell. Reruns the same per-thread operation sequences.
std::string command_line(const Options& options);

// A word as a shell takes it.
std::string shell_quoted(const std::string& word);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_OPTIONS_H_
