// Workers: processes that do the open parts of a search, each one part after the other.
//
// A worker is a fork of this process with everything the set-up built. It takes the next part from
// shared memory, tells its counts there, and its state through a pipe: when a checkpoint is due and
// at the end of each part. A worker that ends without a word is a finding. Workers end when this
// process does.
//
// Thread safety: one real thread; no other child processes are waited for.
#ifndef HATCHECK_EXPLORER_WORKERS_H_
#define HATCHECK_EXPLORER_WORKERS_H_

#include <sys/types.h>

#include <boost/interprocess/anonymous_shared_memory.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "explorer/search_state.h"

namespace explorer {

class Workers {
 public:
  enum class Outcome : uint8_t { kDone, kStopped, kViolated, kRestart };

  // `may_go_on` is called several times a second with the counts of the whole search.
  using MayGoOn = std::function<bool(const Result& total, double share)>;

  Workers(Engine& engine, const Options& options, SearchState& state);
  ~Workers();

  // Runs what is open. Every `checkpoint_every` the state is brought up to date and `save` called.
  Outcome run(const MayGoOn& may_go_on, const std::function<void()>& save);

 private:
  struct Slot;    // in shared memory
  struct Shared;  // all of it
  struct Worker {
    pid_t process = 0;  // 0: not started, or ended
    int pipe = -1;
    bool awaited = false;    // its state, for a checkpoint
    bool has_ended = false;  // and said so
    std::string received;
  };

  bool start(Worker& worker, size_t index);
  [[noreturn]] void work(size_t index, int pipe);
  PartSearch::Status work_on(size_t index, size_t item, int pipe);
  bool listen();
  void hear(Worker& worker);
  void message(Worker& worker, const std::string& text);
  void bury(size_t index);
  void kill_all();
  Result total() const;
  double progress() const;

  Engine& engine_;
  const Options& options_;
  SearchState& state_;
  boost::interprocess::mapped_region memory_;
  std::vector<Worker> workers_;
  Shared* shared_ = nullptr;
  uint32_t checkpoints_seen_ = 0;  // of a worker
  size_t edges_told_ = 0;          // likewise
  Outcome outcome_ = Outcome::kDone;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_WORKERS_H_
