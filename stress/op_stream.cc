#include "stress/op_stream.h"

#include <cstdio>

#include "absl/strings/str_format.h"

namespace hatcheck::inline HATCHECK_BACKEND {

OpStream::OpStream(const Workload& workload, uint64_t seed, CpuId cpu) {
  std::seed_seq mixed{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32), cpu};
  random_.seed(mixed);
  uint64_t end = 0;
  for (const WeightedOp& weighted : workload.weights) {
    end += weighted.weight;
    shares_.push_back({end, op_index(weighted.name)});
  }
  HAT_ASSERT(end > 0, std::string("workload ") + workload.name + " has no operation to draw");
}

Draw OpStream::next() {
  const uint64_t ticket = random_() % shares_.back().end;
  size_t i = 0;
  while (ticket >= shares_[i].end) ++i;
  Draw draw{.op = shares_[i].op, .r = {}};
  for (uint64_t& word : draw.r) word = random_();
  return draw;
}

std::string to_string(const Draw& draw) {
  return absl::StrFormat("%s 0x%x 0x%x 0x%x 0x%x", op_table()[draw.op].name, draw.r[0], draw.r[1],
                         draw.r[2], draw.r[3]);
}

void dump_operations(const Options& options, const Workload& workload, std::FILE* out) {
  for (CpuId cpu = 0; cpu < options.threads; ++cpu) {
    OpStream stream(workload, options.seed, cpu);
    for (uint64_t n = 1; n <= options.ops; ++n) {
      absl::FPrintF(out, "cpu %d #%d %s\n", cpu, n, to_string(stream.next()));
    }
  }
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
