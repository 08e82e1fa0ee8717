// RandomStream: what choose() draws from on real threads. Apart from cpu.h, which every file
// includes, because <random> is a large header.
//
// Thread safety: belongs to one thread.
#ifndef HATCHECK_PLATFORM_THREADS_RANDOM_STREAM_H_
#define HATCHECK_PLATFORM_THREADS_RANDOM_STREAM_H_

#include <cstdint>
#include <initializer_list>
#include <random>

#include "platform/threads/backend.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class RandomStream {
 public:
  // The same numbers in, the same stream out.
  explicit RandomStream(std::initializer_list<uint32_t> seed) {
    std::seed_seq sequence(seed);
    engine_.seed(sequence);
  }
  uint64_t next() { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_RANDOM_STREAM_H_
