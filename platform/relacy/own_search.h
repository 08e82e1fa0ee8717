// Relacy's own full search: its mutex, its scheduler, its loop, as a program that uses nothing of
// this tree would have them. What the engines here are measured against.
//
// Include it last: it brings Relacy in.
//
// Thread safety: one search at a time in a process.
#ifndef HATCHECK_PLATFORM_RELACY_OWN_SEARCH_H_
#define HATCHECK_PLATFORM_RELACY_OWN_SEARCH_H_

#include <chrono>
#include <cstdint>
#include <ostream>
#include <streambuf>
#include <string>

#include "platform/lock_class.h"
#include "platform/relacy/arena.h"
#include "platform/relacy/backend.h"
#include "platform/verdict.h"
// Keep this one at the end.
#include "platform/relacy/relacy_header.h"

namespace hatcheck::inline HATCHECK_BACKEND::own {

// Relacy's mutex in the words of the seam.
class Mutex {
 public:
  explicit Mutex(const LockClass&, uint32_t = 0) {}
  void enter() { mutex_.lock(RL_INFO); }
  void exit() { mutex_.unlock(RL_INFO); }

 private:
  rl::mutex mutex_;
};

// Relacy's scheduler of a full search, until there has been enough of it.
template <rl::thread_id_t threads>
class Scheduler : public rl::full_search_scheduler<threads> {
 public:
  using Base = rl::full_search_scheduler<threads>;
  struct shared_context_t : Base::shared_context_t {
    std::chrono::steady_clock::time_point end;
    uint64_t executions = 0;
    bool exhausted = false;
  };

  Scheduler(rl::test_params& parameters, shared_context_t& context, rl::thread_id_t dynamic)
      : Base(parameters, context, dynamic), context_(context) {}

  bool iteration_end() {
    constexpr uint64_t kLook = 1024;  // at the clock, after so many executions
    ++context_.executions;
    context_.exhausted = Base::iteration_end();
    return context_.exhausted ||
           (context_.executions % kLook == 0 && std::chrono::steady_clock::now() >= context_.end);
  }

 private:
  shared_context_t& context_;
};

template <class Program>
struct Suite : rl::test_suite<Suite<Program>, Program::kThreads> {
  Program program;
  void thread(unsigned index) { program.thread(static_cast<int>(index)); }
};

class NullBuffer : public std::streambuf {
 protected:
  int overflow(int c) override { return c; }
};

// Program has kThreads and thread(int); one is made for each execution. No further execution is
// started after that long.
template <class Program>
Report full_search(std::chrono::milliseconds time) {
  using Scheduler = own::Scheduler<Program::kThreads>;
  const auto start = std::chrono::steady_clock::now();
  model::arena().release_stacks();
  NullBuffer buffer;
  std::ostream nowhere(&buffer);
  rl::test_params parameters;
  parameters.search_type = rl::sched_full;
  parameters.output_stream = &nowhere;
  parameters.progress_stream = &nowhere;
  typename Scheduler::shared_context_t shared;
  shared.end = start + time;
  Report report;
  {
    rl::context_impl<Suite<Program>, Scheduler> context(parameters, shared);
    if (context.simulate2(false) != rl::test_result_success) {
      report.verdict = Verdict::kViolated;
      report.kind = Kind::kInternalError;
    }
  }
  report.iterations = shared.executions;
  if (report.verdict != Verdict::kViolated && shared.exhausted) {
    report.verdict = Verdict::kExhausted;
  } else {
    report.bounded_by = std::to_string(time.count()) + " ms";
  }
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return report;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND::own

#endif  // HATCHECK_PLATFORM_RELACY_OWN_SEARCH_H_
