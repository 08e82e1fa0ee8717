// Operations and workloads that do the tests' bidding: a calm one, and one for each way in which a
// run can go wrong. Linked before stresslib it takes the place of ops.cc and workload.cc; all else
// of hatstress is the real thing.
#include <signal.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/strings/str_cat.h"
#include "stress/maps.h"
#include "stress/op_bodies.h"
#include "stress/workload.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr LockClass kFirst{"planted.first", 57};
constexpr LockClass kSecond{"planted.second", 58};

// Never destroyed: threads may still hold them when the process ends.
struct Shared {
  Mutex first{kFirst};
  Mutex second{kSecond};
  CondVar never_signalled{"never signalled"};
};
Shared& shared() {
  static Shared* const all = new Shared;
  return *all;
}

OpResult op_panic(World&, Worker& w, const Draw&) {
  panic(absl::StrCat("planted panic on cpu ", w.cpu));
}

// Two CPUs take two mutexes, each in its own order.
OpResult op_cross(World&, Worker& w, const Draw&) {
  Mutex& mine = w.cpu % 2 == 0 ? shared().first : shared().second;
  Mutex& other = w.cpu % 2 == 0 ? shared().second : shared().first;
  mine.enter();
  delay(1);
  other.enter();
  other.exit();
  mine.exit();
  return OpResult::kDone;
}

OpResult op_oversleep(World&, Worker&, const Draw&) {
  MutexGuard guard(shared().first);
  for (;;) shared().never_signalled.wait(shared().first);
}

OpResult op_loop(World&, Worker&, const Draw&) {
  for (;;) delay(1);
}

// Only CPU 1 does not come back.
OpResult op_loop_alone(World& world, Worker& w, const Draw& d) {
  return w.cpu == 1 ? op_loop(world, w, d) : OpResult::kNothingToDo;
}

OpResult op_keep_lock(World&, Worker&, const Draw&) ABSL_NO_THREAD_SAFETY_ANALYSIS {
  if (shared().first.tryenter()) return OpResult::kDone;
  return OpResult::kRetry;
}

// The oracle is told of a mapping that was never loaded: the next audit must notice.
OpResult op_lie(World& world, Worker& w, const Draw& d) {
  Process& p = home_process(world, w, d);
  ReaderGuard guard(p.as.a_lock);
  constexpr uintptr_t kNobodys = 0x123456789000;
  p.shadow.begin(kNobodys);
  p.shadow.end_mapped(kNobodys, 77, true, world.oracle.unload_epoch(77));
  return OpResult::kDone;
}

OpResult op_crash(World&, Worker&, const Draw&) {
  raise(SIGSEGV);
  return OpResult::kDone;
}

OpResult op_abort(World&, Worker&, const Draw&) { abort(); }

// Unprotected, for ThreadSanitizer to find.
OpResult op_race(World&, Worker& w, const Draw&) {
  [[maybe_unused]] static uint64_t counter = 0;
  counter += w.cpu + 1;
  return OpResult::kDone;
}

// Unprotected, for the pauses to find.
OpResult op_field_race(World&, Worker& w, const Draw&) {
  static Guarded<uint64_t> counter{0};
  counter = counter() + w.cpu + 1;
  return OpResult::kDone;
}

constexpr OpRow kOps[] = {
    {"fault", "as in hatstress", op_fault},
    {"touch", "as in hatstress", op_touch},
    {"unload", "as in hatstress", op_unload},
    {"exit", "as in hatstress", op_exit},
    {"fork", "as in hatstress", op_fork},
    {"panic", "panics", op_panic},
    {"cross", "takes two locks in different orders", op_cross},
    {"oversleep", "sleeps for ever", op_oversleep},
    {"loop", "never returns", op_loop},
    {"loop_alone", "never returns on CPU 1", op_loop_alone},
    {"keep_lock", "returns with a lock held", op_keep_lock},
    {"lie", "tells the oracle what is not so", op_lie},
    {"crash", "SIGSEGV", op_crash},
    {"abort", "SIGABRT", op_abort},
    {"race", "a data race", op_race},
    {"field_race", "a data race on a Guarded", op_field_race},
};

Workload planted(const char* name, const char* op, uint32_t weight) {
  Workload w{name, "planted", {{"fault", 100}, {"touch", 100}, {"unload", 100}}, 4, 8192};
  if (op != nullptr) w.weights.push_back({op, weight});
  return w;
}

std::vector<Workload> make_workloads() {
  std::vector<Workload> all = {planted("calm", nullptr, 0)};
  // Processes come and go all the time, so that closing meets every halt.
  all.push_back(planted("busy", "exit", 300));
  all.back().weights.push_back({"fork", 300});
  for (const char* op : {"panic", "cross", "loop", "loop_alone", "keep_lock", "crash", "abort"}) {
    all.push_back(planted(op, op, 1));
  }
  all.push_back(planted("oversleep", "oversleep", 50));
  all.push_back(planted("lie", "lie", 20));
  all.push_back(planted("race", "race", 100));
  all.push_back(planted("field_race", "field_race", 100));
  // Its input is saved with the evidence.
  all.push_back(planted("maps", "panic", 1));
  return all;
}

}  // namespace

absl::Span<const OpRow> op_table() { return kOps; }

uint32_t op_index(const char* name) {
  for (uint32_t i = 0; i < op_table().size(); ++i) {
    if (std::strcmp(kOps[i].name, name) == 0) return i;
  }
  panic(absl::StrCat("no operation is called ", name));
}

const std::vector<Workload>& workloads() {
  static const std::vector<Workload> all = make_workloads();
  return all;
}

const Workload* find_workload(const std::string& name) {
  for (const Workload& w : workloads()) {
    if (w.name == name) return &w;
  }
  return nullptr;
}

SystemConfig system_config(const Options& options, const Workload& workload) {
  SystemConfig config;
  config.machine.ncpus = options.threads + 1;
  config.machine.nframes = options.pages != 0 ? options.pages : workload.default_pages;
  return config;
}

absl::StatusOr<std::unique_ptr<World>> build_world(const Options& options, const Workload& workload,
                                                   System& sys) {
  auto world = std::make_unique<World>(sys);
  if (options.workload == "maps") {
    auto maps = options.maps_dir.empty() ? read_live_maps() : read_maps_folder(options.maps_dir);
    if (!maps.ok()) return maps.status();
    world->input = *std::move(maps);
  }
  ProcessTemplate program{"planted", {}};
  seg_t seg;
  seg.s_base = 0x400000;
  seg.s_size = 16 * sys.mmu().pagesize();
  seg.s_prot = PROT_READ_ATTR | PROT_WRITE_ATTR;
  seg.s_vp = world->add_file("file", false);
  seg.s_type = SegType::kShared;
  program.segments.push_back(seg);
  world->add_program(std::move(program));
  const uint32_t hats = options.hats != 0 ? options.hats : workload.default_hats;
  for (uint32_t i = 0; i < hats; ++i) world->add_slot(world->programs.front().get());
  return world;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
