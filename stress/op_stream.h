// OpStream: which operations a thread performs, in order. A function of seed, workload and CPU
// alone.
//
// Every draw takes exactly five words from the stream, whatever the operation and however the one
// before it ended. So the n-th operation of a CPU is the same in every run with the same seed, and
// `--dump_ops` can print it without running anything.
#ifndef HATCHECK_STRESS_OP_STREAM_H_
#define HATCHECK_STRESS_OP_STREAM_H_

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "stress/ops.h"
#include "stress/options.h"
#include "stress/workload.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class OpStream {
 public:
  OpStream(const Workload& workload, uint64_t seed, CpuId cpu);

  Draw next();

 private:
  struct Share {
    uint64_t end;  // exclusive; it begins where the one before ends
    uint32_t op;
  };

  std::mt19937_64 random_;
  std::vector<Share> shares_;
};

// "fault 0x1 0x2 0x3 0x4"
std::string to_string(const Draw& draw);

// The first options.ops operations of each thread, one line each: "cpu 0 #1 fault 0x...".
void dump_operations(const Options& options, const Workload& workload, std::FILE* out);

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_STRESS_OP_STREAM_H_
