// Times the HAT's basic paths and relates each to the sum of the lock acquisitions and atomic
// operations on it, taken one by one without contention on the same machine in the same run. A
// ratio near 1 means that the path is its synchronisation and nothing else.
//
//   bazel run --config=opt //stress:bench_hat --
//       --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
//
// A second thread exists throughout, asleep: in a process of one thread glibc's mutexes use no
// atomic instruction, and neither the path nor the sum would be what a kernel pays.
//
// Columns: locks and atomics per operation (counted on the observed backend), sum_ns (what they
// cost alone), ratio (time of the whole path / sum_ns).
#include <algorithm>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "stress/bench_paths.h"

namespace hatcheck {

const char* path_name(Path path) {
  switch (path) {
    case Path::kFirstMap:
      return "first_map";
    case Path::kSecondMap:
      return "second_map_promotes";
    case Path::kRefault:
      return "refault";
    case Path::kUnload:
      return "unload";
    case Path::kUnloadTouched:
      return "unload_with_shootdown";
    case Path::kMapUnload:
      return "map_and_unload";
    case Path::kPageunload:
      return "pageunload_per_mapping_of_1000";
    case Path::kPageTable:
      return "page_table_create_release";
  }
  return "?";
}

namespace {

PrimitiveCosts median_costs(PathBench& bench) {
  constexpr int kSamples = 5;
  std::vector<double> locks, atomics;
  for (int i = 0; i < kSamples; ++i) {
    const PrimitiveCosts c = bench.primitive_costs();
    locks.push_back(c.lock);
    atomics.push_back(c.atomic);
  }
  std::sort(locks.begin(), locks.end());
  std::sort(atomics.begin(), atomics.end());
  return {locks[kSamples / 2], atomics[kSamples / 2]};
}

// Each repetition measures the primitives anew, so that a machine that changes its speed changes
// both sides of the ratio.
void run_path(benchmark::State& state, BenchIndex index, Path path) {
  double locks = 0, atomics = 0;
  {
    const std::unique_ptr<PathBench> counting = on_observed::make_path_bench(index);
    counting->run(path);  // warm: later batches find caches and reserves as they stay
    const BatchResult counted = counting->run(path);
    locks = static_cast<double>(counted.locks) / counted.operations;
    atomics = static_cast<double>(counted.atomics) / counted.operations;
  }
  const std::unique_ptr<PathBench> bench = on_threads::make_path_bench(index);
  bench->run(path);
  const PrimitiveCosts costs = median_costs(*bench);
  double seconds = 0;
  uint64_t operations = 0;
  for (auto _ : state) {
    const BatchResult batch = bench->run(path);
    state.SetIterationTime(batch.seconds / batch.operations);
    seconds += batch.seconds;
    operations += batch.operations;
  }
  const double ns = seconds / operations * 1e9;
  const double sum = locks * costs.lock + atomics * costs.atomic;
  state.counters["lock_ns"] = costs.lock;
  state.counters["atomic_ns"] = costs.atomic;
  state.counters["locks"] = locks;
  state.counters["atomics"] = atomics;
  state.counters["sum_ns"] = sum;
  state.counters["ratio"] = ns / sum;
}

class SleepingThread {
 public:
  SleepingThread() : thread_([this] { wake_.acquire(); }) {}
  ~SleepingThread() {
    wake_.release();
    thread_.join();
  }

 private:
  std::binary_semaphore wake_{0};
  std::thread thread_;
};

void register_all() {
  for (const auto& [index, name] :
       {std::pair{BenchIndex::kAvl, "avl"}, std::pair{BenchIndex::kChain, "chain"}}) {
    for (int p = 0; p < kPaths; ++p) {
      const Path path = static_cast<Path>(p);
      benchmark::RegisterBenchmark(
          (std::string(name) + "/" + path_name(path)).c_str(),
          [index = index, path](benchmark::State& state) { run_path(state, index, path); })
          ->UseManualTime()
          ->Iterations(400)
          ->Unit(benchmark::kNanosecond);
    }
  }
}

}  // namespace
}  // namespace hatcheck

int main(int argc, char** argv) {
  const hatcheck::SleepingThread second;
  hatcheck::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
