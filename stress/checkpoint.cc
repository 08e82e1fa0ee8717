#include "stress/checkpoint.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// How often a parked worker looks whether it is in the way of one that still runs.
constexpr std::chrono::milliseconds kLook{5};

}  // namespace

void Checkpoint::tell_others() {
  if (!workers_parked()) return;
  pageout_.notify_all();
  coordinator_.notify_all();
}

void Checkpoint::park(absl::FunctionRef<bool()> must_move, absl::FunctionRef<void()> move) {
  std::unique_lock lock(mutex_);
  if (!wanted_.load(std::memory_order_relaxed)) return;
  const uint64_t round = round_;
  ++parked_;
  tell_others();
  while (round_ == round) {
    if (workers_parked()) {
      workers_.wait(lock);
      continue;
    }
    workers_.wait_for(lock, kLook);
    if (round_ != round || workers_parked() || !must_move()) continue;
    --parked_;
    lock.unlock();
    move();
    lock.lock();
    // The halt cannot have ended: it had not begun without this worker.
    ++parked_;
    tell_others();
  }
}

void Checkpoint::worker_ends() {
  const std::unique_lock lock(mutex_);
  --running_;
  tell_others();
}

bool Checkpoint::pageout_waits(std::chrono::milliseconds at_most) {
  std::unique_lock lock(mutex_);
  const auto halted = [this] {
    return wanted_.load(std::memory_order_relaxed) && workers_parked();
  };
  if (!halted() && !finished_) pageout_.wait_for(lock, at_most);
  if (halted()) {
    const uint64_t round = round_;
    pageout_parked_ = true;
    coordinator_.notify_all();
    pageout_.wait(lock, [this, round] { return round_ != round; });
  }
  return !finished_;
}

void Checkpoint::request() {
  const std::unique_lock lock(mutex_);
  wanted_.store(true, std::memory_order_relaxed);
  tell_others();  // if every worker has ended, nobody else will
}

bool Checkpoint::wait_parked(std::chrono::milliseconds at_most) {
  std::unique_lock lock(mutex_);
  return coordinator_.wait_for(lock, at_most,
                               [this] { return workers_parked() && pageout_parked_; });
}

void Checkpoint::resume() {
  const std::unique_lock lock(mutex_);
  wanted_.store(false, std::memory_order_relaxed);
  // Counted out here and not by the workers as they wake up: a new halt may begin before they have.
  ++round_;
  parked_ = 0;
  pageout_parked_ = false;
  workers_.notify_all();
  pageout_.notify_all();
}

bool Checkpoint::wait_ended(std::chrono::milliseconds at_most) {
  std::unique_lock lock(mutex_);
  return coordinator_.wait_for(lock, at_most, [this] { return running_ == 0; });
}

void Checkpoint::finish() {
  const std::unique_lock lock(mutex_);
  finished_ = true;
  pageout_.notify_all();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
