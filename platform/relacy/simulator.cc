// Relacy's header comes last: it must not see its names in ours.
#include "platform/relacy/simulator.h"

#include <utility>

#include "platform/relacy/arena.h"
// Keep this one at the end.
#include "platform/relacy/relacy_header.h"

extern "C" void* hatcheck_relacy_stack(std::size_t size) {
  using hatcheck::model::Arena;
  return hatcheck::model::arena().take_stack() + (Arena::kStackBytes - size);
}

namespace hatcheck::inline HATCHECK_BACKEND::model {

namespace {

static_assert(rl::atomic_history_size == kSlots);
static_assert(sizeof(rl::timestamp_t) == sizeof(uint64_t));

SimulatorClient* g_client = nullptr;

// What rl::context_impl asks of a scheduler. Relacy's own ones are replaced because they know
// neither which operation a thread is about to do nor when a waiting one can go on.
template <rl::thread_id_t threads>
class Scheduler {
 public:
  struct shared_context_t {};

  Scheduler(rl::test_params&, shared_context_t&, rl::thread_id_t) {}

  rl::thread_id_t iteration_begin(rl::iteration_t) {
    finished_ = 0;
    g_client->execution_begin();
    return 0;
  }
  bool iteration_end() { return g_client->execution_end(); }
  rl::thread_id_t schedule(rl::unpark_reason& reason, unsigned) {
    reason = rl::unpark_reason_normal;
    return g_client->next_thread();
  }
  unsigned rand(unsigned limit, rl::sched_type) { return g_client->pick(limit); }
  rl::iteration_t iteration_count() { return 1; }
  rl::thread_finish_result thread_finished() {
    return ++finished_ == threads ? rl::thread_finish_result_last : rl::thread_finish_result_normal;
  }

  // The engine blocks threads itself, and there are no threads but those of the scenario.
  bool park_current_thread(bool, bool) { return false; }
  void unpark_thread(rl::thread_id_t, bool) {}
  rl::thread_id_t create_thread() { return 0; }
  void get_state(std::ostream&) {}
  void set_state(std::istream&) {}

 private:
  rl::thread_id_t finished_ = 0;
};

template <rl::thread_id_t threads>
struct Suite : rl::test_suite<Suite<threads>, threads> {
  Suite() { g_client->create(); }
  ~Suite() { g_client->destroy(); }
  void thread(unsigned index) { g_client->body(static_cast<int>(index)); }
  void after() { g_client->after(); }
};

// The way to a protected member: new and delete in this file mean the heap, not Relacy's memory
// manager, which would make a choice of every delete.
struct Peek : rl::context {
  static void use_heap(rl::context& context) { context.*(&Peek::disable_alloc_) += 1; }
};

class NullBuffer : public std::streambuf {
 protected:
  int overflow(int c) override { return c; }
};

template <rl::thread_id_t threads>
class SimulatorOf : public Simulator {
 public:
  SimulatorOf() {
    arena().release_stacks();
    parameters_.output_stream = &nowhere_;
    parameters_.progress_stream = &nowhere_;
    // With a scheduler of our own this decides one thing: a load may read as far back as Relacy
    // remembers, two stores, and not only one.
    parameters_.search_type = rl::sched_random;
    // The engine counts steps.
    parameters_.execution_depth_limit = ~0u;
    context_ = std::make_unique<Context>(parameters_, shared_);
    Peek::use_heap(rl::ctx());
  }

  void run() override { context_->simulate2(false); }

  void* new_atomic() override {
    auto* atomic = static_cast<Atomic*>(rl::ctx().atomic_ctor(nullptr));
    const unsigned slot = rl::ctx().threadx_->atomic_init(atomic);
    // Relacy leaves this as it finds it.
    for (rl::timestamp_t& seen : atomic->history_[slot].first_seen_order_)
      seen = ~rl::timestamp_t{0};
    return atomic;
  }
  void delete_atomic(void* atomic) override {
    rl::ctx().atomic_dtor(static_cast<rl::atomic_data*>(atomic));
  }

 private:
  using Context = rl::context_impl<Suite<threads>, Scheduler<threads>>;
  using Atomic = rl::atomic_data_impl<threads>;

  NullBuffer buffer_;
  std::ostream nowhere_{&buffer_};
  rl::test_params parameters_;
  typename Scheduler<threads>::shared_context_t shared_;
  std::unique_ptr<Context> context_;
};

rl::atomic_data* data(void* atomic) { return static_cast<rl::atomic_data*>(atomic); }

}  // namespace

std::unique_ptr<Simulator> Simulator::make(int threads, SimulatorClient& client) {
  g_client = &client;
  switch (threads) {
    case 1:
      return std::make_unique<SimulatorOf<1>>();
    case 2:
      return std::make_unique<SimulatorOf<2>>();
    case 3:
      return std::make_unique<SimulatorOf<3>>();
    default:
      return std::make_unique<SimulatorOf<4>>();
  }
}

void switch_thread() { rl::ctx().sched(); }
void switch_thread_and_refresh() { rl::ctx().yield(1, RL_INFO); }

void abandon() {
  rl::ctx().rl_until("", RL_INFO);
  std::abort();  // not reached
}

uint64_t* clock() { return rl::ctx().threadx_->acq_rel_order_; }

uint32_t load_slot(void* atomic, std::memory_order order) {
  rl::thread_info_base& thread = *rl::ctx().threadx_;
  switch (order) {
    case std::memory_order_relaxed:
      return thread.atomic_load_relaxed(data(atomic));
    case std::memory_order_seq_cst:
      return thread.atomic_load_seq_cst(data(atomic));
    default:
      return thread.atomic_load_acquire(data(atomic));
  }
}

void load_newest(void* atomic, std::memory_order order) {
  rl::thread_info_base& thread = *rl::ctx().threadx_;
  switch (order) {
    case std::memory_order_relaxed:
      thread.atomic_load_relaxed_rmw(data(atomic));
      break;
    case std::memory_order_seq_cst:
      thread.atomic_load_seq_cst_rmw(data(atomic));
      break;
    default:
      thread.atomic_load_acquire_rmw(data(atomic));
      break;
  }
}

uint32_t store_slot(void* atomic, std::memory_order order) {
  rl::thread_info_base& thread = *rl::ctx().threadx_;
  switch (order) {
    case std::memory_order_relaxed:
      return thread.atomic_store_relaxed(data(atomic));
    case std::memory_order_seq_cst:
      return thread.atomic_store_seq_cst(data(atomic));
    default:
      return thread.atomic_store_release(data(atomic));
  }
}

uint32_t rmw_slot(void* atomic, std::memory_order order) {
  rl::thread_info_base& thread = *rl::ctx().threadx_;
  bool aba = false;
  switch (order) {
    case std::memory_order_relaxed:
      return thread.atomic_rmw_relaxed(data(atomic), aba);
    case std::memory_order_release:
      return thread.atomic_rmw_release(data(atomic), aba);
    case std::memory_order_acq_rel:
      return thread.atomic_rmw_acq_rel(data(atomic), aba);
    case std::memory_order_seq_cst:
      return thread.atomic_rmw_seq_cst(data(atomic), aba);
    default:
      return thread.atomic_rmw_acquire(data(atomic), aba);
  }
}

}  // namespace hatcheck::inline HATCHECK_BACKEND::model
