// Times the HAT's basic paths and relates each to the sum of the lock acquisitions and atomic
// operations on it, taken one by one without contention on the same machine in the same run. A
// ratio near 1 means that the path is its synchronisation and nothing else.
//
//   bazel run --config=opt //stress:bench_hat --
//       --benchmark_repetitions=5 --benchmark_report_aggregates_only=true
//
// Timed is what a kernel runs that is compiled without DEBUG: the libraries of the unchecked
// backend, in which HAT_ASSERT is nothing; panics stay, and so do the checks inside the locks,
// which the cost of a lock includes. The ratio of the same path with assertions, as every other
// program here runs it, stands beside it.
//
// A second thread exists throughout, asleep: in a process of one thread glibc's mutexes use no
// atomic instruction, and neither the path nor the sum would be what a kernel pays.
//
// Columns: locks and atomics per operation (counted on the observed backend), lock_ns and atomic_ns
// (what one costs alone), sum_ns (what all of them cost alone), path_ns (time of the whole path),
// ratio (path_ns / sum_ns), asserting (the ratio with assertions). path_ns, lock_ns and atomic_ns
// are medians over batches that take turns and last about as long, some ten microseconds: on a busy
// machine most of either kind run undisturbed, and a change of speed changes both sides of a ratio.
// (Google Benchmark's own Time is the mean, disturbances included.)
#include <algorithm>
#include <cstddef>
#include <memory>
#include <semaphore>
#include <string>
#include <thread>
#include <utility>
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

constexpr int kBatches = 400;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

// A path on one backend, batch by batch, with the costs of the primitives sampled in between.
class Timing {
 public:
  Timing(std::unique_ptr<PathBench> bench, Path path) : bench_(std::move(bench)), path_(path) {
    bench_->run(path_);  // warm: later batches find caches and reserves as they stay
  }

  // Seconds per operation of one more batch.
  double batch() {
    const PrimitiveCosts c = bench_->primitive_costs();
    locks_.push_back(c.lock);
    atomics_.push_back(c.atomic);
    const BatchResult r = bench_->run(path_);
    batches_.push_back(r.seconds / r.operations);
    return batches_.back();
  }

  double ns() const { return median(batches_) * 1e9; }
  PrimitiveCosts costs() const { return {median(locks_), median(atomics_)}; }

 private:
  const std::unique_ptr<PathBench> bench_;
  const Path path_;
  std::vector<double> batches_, locks_, atomics_;
};

void run_path(benchmark::State& state, BenchIndex index, Path path) {
  double locks = 0, atomics = 0;
  {
    const std::unique_ptr<PathBench> counting = on_observed::make_path_bench(index);
    counting->run(path);  // warm, as above
    const BatchResult counted = counting->run(path);
    locks = static_cast<double>(counted.locks) / counted.operations;
    atomics = static_cast<double>(counted.atomics) / counted.operations;
  }
  const auto sum_ns = [&](const PrimitiveCosts& c) { return locks * c.lock + atomics * c.atomic; };

  double asserting = 0;
  {
    Timing timing(on_threads::make_path_bench(index), path);
    for (int i = 0; i < kBatches; ++i) timing.batch();
    asserting = timing.ns() / sum_ns(timing.costs());
  }
  Timing timing(on_unchecked::make_path_bench(index), path);
  for (auto _ : state) state.SetIterationTime(timing.batch());

  const PrimitiveCosts costs = timing.costs();
  state.counters["lock_ns"] = costs.lock;
  state.counters["atomic_ns"] = costs.atomic;
  state.counters["locks"] = locks;
  state.counters["atomics"] = atomics;
  state.counters["sum_ns"] = sum_ns(costs);
  state.counters["path_ns"] = timing.ns();
  state.counters["ratio"] = timing.ns() / sum_ns(costs);
  state.counters["asserting"] = asserting;
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
          ->Iterations(kBatches)
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
