#include "stress/workload.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "stress/maps.h"
#include "stress/segmap_world.h"
#include "stress/world.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t kLarge = 2 << 20;
constexpr uint32_t kRead = PROT_READ_ATTR;
constexpr uint32_t kWrite = PROT_WRITE_ATTR;
constexpr uint32_t kExec = PROT_EXEC_ATTR;
// Reserves at least, with --reserve_owner=thread.
constexpr int64_t kOwnersReserve = 20;

seg_t segment(uintptr_t base, uint64_t size, uint32_t prot, vnode_t* vp, SegType type,
              uint64_t offset = 0, int szc = 0) {
  seg_t seg;
  seg.s_base = base;
  seg.s_size = size;
  seg.s_prot = prot;
  seg.s_vp = vp;
  seg.s_offset = offset;
  seg.s_type = type;
  seg.s_szc = szc;
  return seg;
}

// Two large pages and one piece of shared memory, which any process may use.
void add_common(World& world, uint32_t groups) {
  world.add_large_groups(groups);
  world.add_shared_memory(2 * kLarge);
}

void add_large_segment(World& world, ProcessTemplate* program) {
  if (world.large_groups.empty()) return;
  program->segments.push_back(segment(0x600000000000, world.large_groups.size() * kLarge,
                                      kRead | kWrite, world.large_groups.front().vp,
                                      SegType::kShared, 0, 1));
}

void add_slots(World& world, uint32_t count) {
  for (uint32_t i = 0; i < count; ++i) {
    world.add_slot(world.programs[i % world.programs.size()].get());
  }
}

// Programs like most: text, data, heap, a common file, a common file whose modified pages are kept
// sorted.
void build_mix(World& world, uint32_t hats) {
  add_common(world, 4);
  vnode_t* shared = world.add_file("shared", false);
  vnode_t* sorted = world.add_file("sorted", true);
  for (int i = 0; i < 4; ++i) {
    vnode_t* text = world.add_file(absl::StrCat("text", i), false);
    ProcessTemplate program{absl::StrCat("program", i), {}};
    auto& s = program.segments;
    s.push_back(segment(0x400000, 64 * kPage, kRead | kExec, text, SegType::kPrivate));
    s.push_back(segment(0x600000, 32 * kPage, kRead | kWrite, text, SegType::kPrivate, 64 * kPage));
    s.push_back(segment(0x1000000, 1024 * kPage, kRead | kWrite, nullptr, SegType::kPrivate));
    // Not at the same address everywhere.
    s.push_back(segment(0x7f0000000000 + i * kLarge * 64, 256 * kPage, kRead | kWrite, shared,
                        SegType::kShared));
    s.push_back(segment(0x7f8000000000, 128 * kPage, kRead | kWrite, sorted, SegType::kShared));
    add_large_segment(world, &program);
    world.add_program(std::move(program));
  }
  add_slots(world, hats);
}

// Many processes, few pages.
void build_share(World& world, uint32_t hats) {
  vnode_t* shared = world.add_file("shared", false);
  for (int i = 0; i < 3; ++i) {
    ProcessTemplate program{absl::StrCat("sharer", i), {}};
    program.segments.push_back(
        segment(0x400000 + i * kLarge, 16 * kPage, kRead | kWrite, shared, SegType::kShared));
    world.add_program(std::move(program));
  }
  add_slots(world, hats);
}

// Few pages per table, far apart: tables come and go.
void build_churn(World& world, uint32_t hats) {
  add_common(world, 2);
  vnode_t* shared = world.add_file("shared", false);
  ProcessTemplate program{"sparse", {}};
  for (uintptr_t i = 0; i < 48; ++i) {
    // Neighbouring tables, tables under different parents, and under different grandparents.
    const uintptr_t far = i % 3 == 0 ? kLarge : i % 3 == 1 ? kLarge * 512 : kLarge * 512 * 512;
    program.segments.push_back(segment(0x1000000 + (1 + i) * far, 2 * kPage, kRead | kWrite, shared,
                                       SegType::kShared, i * 2 * kPage));
  }
  std::sort(program.segments.begin(), program.segments.end(),
            [](const seg_t& a, const seg_t& b) { return a.s_base < b.s_base; });
  world.add_program(std::move(program));
  add_slots(world, hats);
}

// Few processes and few pages: every CPU has everything in its TLB.
void build_shootdown(World& world, uint32_t hats) {
  add_common(world, 1);
  vnode_t* shared = world.add_file("shared", false);
  vnode_t* sorted = world.add_file("sorted", true);
  ProcessTemplate program{"hot", {}};
  program.segments.push_back(
      segment(0x400000, 8 * kPage, kRead | kWrite, shared, SegType::kShared));
  program.segments.push_back(
      segment(0x800000, 4 * kPage, kRead | kWrite, sorted, SegType::kShared));
  program.segments.push_back(
      segment(0x1000000, 16 * kPage, kRead | kWrite, nullptr, SegType::kPrivate));
  add_large_segment(world, &program);
  world.add_program(std::move(program));
  add_slots(world, hats);
}

// Processes of a few pages, which are gone as soon as they are there.
void build_turnover(World& world, uint32_t hats) {
  world.add_shared_memory(2 * kLarge);
  vnode_t* shared = world.add_file("shared", false);
  for (int i = 0; i < 2; ++i) {
    ProcessTemplate program{absl::StrCat("short", i), {}};
    program.segments.push_back(
        segment(0x400000 + i * kLarge, 8 * kPage, kRead | kWrite, shared, SegType::kShared));
    program.segments.push_back(
        segment(0x1000000, 8 * kPage, kRead | kWrite, nullptr, SegType::kPrivate));
    world.add_program(std::move(program));
  }
  add_slots(world, hats);
}

// One process of the real machine.
ProcessTemplate program_of(World& world, const ProcessMaps& maps,
                           std::map<std::pair<std::string, uint64_t>, vnode_t*>* files) {
  ProcessTemplate program{maps.name, {}};
  for (const MapsLine& line : maps.lines) {
    if (line.start >= world.sys.userlimit || line.end > world.sys.userlimit) continue;  // vsyscall
    vnode_t* vp = nullptr;
    if (line.is_file()) {
      vnode_t*& known = (*files)[{line.device, line.inode}];
      // Every fourth file keeps its modified pages sorted, so that both kinds are met.
      if (known == nullptr) known = world.add_file(line.path, files->size() % 4 == 0);
      vp = known;
    } else if (line.shared) {
      vp = world.add_file(absl::StrCat("shared:", line.path), false);
    }
    const uint32_t prot =
        (line.read ? kRead : 0) | (line.write ? kWrite : 0) | (line.exec ? kExec : 0);
    program.segments.push_back(segment(line.start, line.end - line.start, prot, vp,
                                       line.shared ? SegType::kShared : SegType::kPrivate,
                                       line.offset / kPage * kPage));
  }
  return program;
}

absl::Status build_maps(World& world, uint32_t hats, const std::string& folder) {
  absl::StatusOr<std::vector<ProcessMaps>> all =
      folder.empty() ? read_live_maps() : read_maps_folder(folder);
  if (!all.ok()) return all.status();
  std::map<std::pair<std::string, uint64_t>, vnode_t*> files;
  for (const ProcessMaps& maps : *all) world.add_program(program_of(world, maps, &files));
  // A machine with few processes is run several times over, so that pages have company.
  const uint32_t at_least = 64;
  const uint32_t processes = static_cast<uint32_t>(world.programs.size());
  add_slots(world, hats != 0 ? hats : std::max(processes, at_least));
  world.input = *std::move(all);
  return absl::OkStatus();
}

// Every operation, by how often it happens to a busy process.
std::vector<WeightedOp> mixed_weights() {
  return {{"fault", 120},     {"refault", 40},   {"touch", 400},    {"unload", 80}, {"protect", 30},
          {"speculate", 30},  {"sync", 20},      {"probe", 60},     {"lock", 15},   {"devload", 5},
          {"pageunload", 30}, {"pagesync", 30},  {"pageout", 15},   {"large", 8},   {"switch", 30},
          {"exit", 4},        {"fork", 4},       {"swapout", 2},    {"attach", 6},  {"detach", 4},
          {"window", 15},     {"idle", 10},      {"steal", 1},      {"reap", 1},    {"offlist", 5},
          {"array", 2},       {"attrs", 4},      {"bits", 4},       {"keep", 1},    {"graft", 3},
          {"mempte", 1},      {"large_bits", 2}, {"reap_mapped", 1}};
}

std::vector<WeightedOp> pressure_weights() {
  std::vector<WeightedOp> weights = mixed_weights();
  weights.push_back({"resv", 60});
  weights.push_back({"hog", 30});
  return weights;
}

Workload segmap_workload() {
  return {"segmap",
          "real files, read and written through segmap's windows",
          {{"seg_read", 300},
           {"seg_write", 200},
           {"seg_create", 60},
           {"seg_fbread", 60},
           {"seg_fbzero", 20},
           {"seg_device", 40},
           {"seg_ahead", 60},
           {"seg_truncate", 4},
           {"seg_extend", 8},
           {"seg_sync", 4},
           {"seg_pageout", 100},
           {"seg_discard", 8},
           {"seg_recycle", 1},
           {"seg_stat", 2},
           {"pageunload", 40},
           {"pagesync", 40},
           {"steal", 2},
           {"reap", 1}},
          0,
          4096,
          0.1};
}

Workload maps_workload() {
  return {"maps",
          "the memory maps of real processes, faulted, touched, unmapped and exited",
          {{"fault", 250},
           {"refault", 60},
           {"touch", 400},
           {"unload", 60},
           {"protect", 20},
           {"sync", 10},
           {"probe", 60},
           {"pageunload", 25},
           {"pagesync", 25},
           {"pageout", 10},
           {"switch", 60},
           {"exit", 6},
           {"fork", 4},
           {"swapout", 1},
           {"window", 10},
           {"idle", 5}},
          0,
          65536};
}

std::vector<Workload> make_workloads() {
  std::vector<Workload> all = {maps_workload()};
  all.push_back({"mix", "every operation at random", mixed_weights(), 32, 32768});
  all.push_back({"share",
                 "many address spaces map the same few pages: long mapping lists",
                 {{"fault", 300},
                  {"refault", 60},
                  {"touch", 200},
                  {"unload", 120},
                  {"pageunload", 2},
                  {"pagesync", 4},
                  {"probe", 60},
                  {"switch", 300},
                  {"exit", 1},
                  {"steal", 1}},
                 1500,
                 32768});
  all.push_back({"churn",
                 "address spaces and page tables come and go",
                 {{"fault", 300},   {"touch", 100},     {"speculate", 100}, {"unload", 300},
                  {"probe", 40},    {"pageunload", 40}, {"lock", 20},       {"exit", 20},
                  {"fork", 10},     {"swapout", 10},    {"steal", 20},      {"reap", 4},
                  {"switch", 60},   {"attach", 10},     {"detach", 10},     {"large", 3},
                  {"devload", 20},  {"offlist", 20},    {"array", 1},       {"attrs", 10},
                  {"bits", 10},     {"keep", 2},        {"graft", 4},       {"mempte", 2},
                  {"large_bits", 2}},
                 64,
                 32768,
                 0,
                 0.02});
  all.push_back({"shootdown",
                 "CPUs use memory while others unload, protect and remap it",
                 {{"touch", 600},
                  {"unload", 60},
                  {"protect", 60},
                  {"pageunload", 40},
                  {"pagesync", 40},
                  {"pageout", 40},
                  {"sync", 20},
                  {"window", 60},
                  {"idle", 40},
                  {"switch", 20},
                  {"large", 4},
                  {"attach", 5},
                  {"detach", 5},
                  {"reap", 1},
                  {"reap_mapped", 2},
                  {"fork", 2},
                  {"exit", 2}},
                 3,
                 8192});
  all.push_back({"turnover",
                 "small processes exit and fork while their pages are taken away",
                 {{"fault", 200},
                  {"touch", 60},
                  {"unload", 20},
                  {"pageunload", 120},
                  {"pagesync", 20},
                  {"pageout", 20},
                  {"exit", 120},
                  {"fork", 60},
                  {"swapout", 20},
                  {"attach", 10},
                  {"steal", 40},
                  {"switch", 20}},
                 6,
                 8192,
                 0,
                 0.05});
  all.push_back({"pressure", "allocations fail, reserves are empty, tables are stolen",
                 pressure_weights(), 48, 12288, 0.3, 0.05, 0});
  all.push_back(segmap_workload());
  return all;
}

}  // namespace

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

SegmapSetup segmap_setup(const Options& options) {
  SegmapSetup setup;
  setup.files = options.files;
  setup.file_bytes = options.file_size;
  setup.slots = options.slots;
  setup.free_lists = options.free_lists;
  setup.kpm = options.kpm;
  setup.waiting = options.waiting;
  setup.io_errors = options.io_errors;
  setup.folder = options.folder;
  return setup;
}

SystemConfig system_config(const Options& options, const Workload& workload) {
  const auto per_million = [](double own, double wanted) {
    return static_cast<uint32_t>((wanted < 0 ? own : wanted) * 1e6);
  };
  // An owner takes from the reserves alone: without any, it would wait for ever for a victim while
  // the first process is built.
  const int64_t least = options.reserve_owner == ReserveDesign::kThread ? kOwnersReserve : 0;
  const auto reserve = [&workload, least](int64_t wanted) {
    return static_cast<uint32_t>(wanted < 0 ? std::max(workload.default_reserve, least) : wanted);
  };
  const uint32_t published_locks = options.index == IndexDesign::kChain ? 256 : 2048;
  SystemConfig config;
  config.machine.ncpus = options.threads + 1;  // the last one is the pageout thread's
  config.machine.nframes = options.pages != 0 ? options.pages : workload.default_pages;
  config.machine.mod_variant = options.mod_variant;
  config.index = options.index;
  config.invalidation = options.invalidation;
  config.reserves = options.reserve_owner;
  config.mlist_num_lock = options.mlist_locks != 0 ? options.mlist_locks : published_locks;
  config.hash_num_lock = options.hash_locks != 0 ? options.hash_locks : published_locks;
  if (options.buckets != 0) config.hment_num_hash = config.hat_num_hash = options.buckets;
  config.htable_reserve_amount = reserve(options.htable_reserve);
  config.hment_reserve_amount = reserve(options.hment_reserve);
  config.alloc_failures_per_million = per_million(workload.default_fail_rate, options.fail_rate);
  config.force_steal_per_million = per_million(workload.default_steal_rate, options.steal_rate);
  if (std::string(workload.name) == "segmap") configure_system(segmap_setup(options), &config);
  return config;
}

absl::StatusOr<std::unique_ptr<World>> build_world(const Options& options, const Workload& workload,
                                                   System& sys) {
  // Nothing fails while the world is built. A builder that draws on reserves that are empty, while
  // there is nobody yet to steal from, would ask for ever.
  const uint32_t fail_rate = sys.alloc_faults.per_million.exchange(0, std::memory_order_relaxed);
  const absl::Cleanup restore = [&sys, fail_rate] {
    sys.alloc_faults.per_million.store(fail_rate, std::memory_order_relaxed);
  };
  auto world = std::make_unique<World>(sys, options.focus);
  const uint32_t hats = options.hats != 0 ? options.hats : workload.default_hats;
  const std::string name = workload.name;
  if (name == "maps") {
    const absl::Status status = build_maps(*world, hats, options.maps_dir);
    if (!status.ok()) return status;
  } else if (name == "share") {
    build_share(*world, hats);
  } else if (name == "churn") {
    build_churn(*world, hats);
  } else if (name == "turnover") {
    build_turnover(*world, hats);
  } else if (name == "shootdown") {
    build_shootdown(*world, hats);
  } else if (name == "segmap") {
    auto segmap = SegmapWorld::create(sys, segmap_setup(options), options.seed);
    if (!segmap.ok()) return segmap.status();
    world->segmap = *std::move(segmap);
  } else {
    build_mix(*world, hats);
  }
  return world;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
