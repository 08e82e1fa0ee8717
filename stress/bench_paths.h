// The HAT's basic paths, packed so that one program can time them on the plain backend, with
// assertions and without, and count their lock acquisitions and atomic operations on the observed
// one.
//
// All three variants of this library are linked into one benchmark; each lives in its backend's
// namespace and is reached through its function at the end.
#ifndef HATCHECK_STRESS_BENCH_PATHS_H_
#define HATCHECK_STRESS_BENCH_PATHS_H_

#include <cstdint>
#include <memory>

namespace hatcheck {

enum class Path {
  kFirstMap,       // hat_memload of a page that nobody maps, into a table that exists
  kSecondMap,      // of a page that one other hat maps: the embedded mapping is promoted
  kRefault,        // of a mapping that is there already
  kUnload,         // hat_unload of the only mapping of a page, never used by a CPU
  kUnloadTouched,  // the same after a CPU has used it: with a shootdown
  kMapUnload,      // kFirstMap and kUnload
  kPageunload,     // hat_pageunload of a page with 1000 mappings; one operation is one mapping
  kPageTable,  // hat_memload where a page table must be created, and the hat_unload that releases
               // it
};
inline constexpr int kPaths = 8;
const char* path_name(Path path);

// One batch of a path.
struct BatchResult {
  double seconds = 0;
  uint64_t operations = 0;
  uint64_t locks = 0;    // lock acquisitions; 0 where nothing counts
  uint64_t atomics = 0;  // compare-and-swap and other read-modify-write operations; likewise
};

// What the seam's primitives cost on this machine when nobody else wants them, in nanoseconds.
struct PrimitiveCosts {
  double lock = 0;    // Mutex::enter and exit
  double atomic = 0;  // Atomic::compare_exchange_strong that succeeds
};

enum class BenchIndex { kChain, kAvl };

class PathBench {
 public:
  virtual ~PathBench() = default;
  virtual BatchResult run(Path path) = 0;
  virtual PrimitiveCosts primitive_costs() = 0;
};

inline namespace on_threads {
std::unique_ptr<PathBench> make_path_bench(BenchIndex index);
}
inline namespace on_unchecked {
std::unique_ptr<PathBench> make_path_bench(BenchIndex index);
}
inline namespace on_observed {
std::unique_ptr<PathBench> make_path_bench(BenchIndex index);
}

}  // namespace hatcheck

#endif  // HATCHECK_STRESS_BENCH_PATHS_H_
