#include "explorer/workers.h"

#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>

#include "explorer/crash.h"

namespace explorer {
namespace {

using Clock_ = std::chrono::steady_clock;

constexpr int kMaxWorkers = 256;
constexpr int kTickMilliseconds = 50;

void send(int pipe, const std::string& text) {
  Writer frame;
  frame.put(text);
  if (!write_all(pipe, frame.text())) ::_exit(1);  // nobody listens any more
}

}  // namespace

struct Workers::Slot {
  std::atomic<uint64_t> executions{0};
  std::atomic<uint64_t> cut_short{0};
  std::atomic<uint64_t> events{0};
  std::atomic<double> progress{0};
};

struct Workers::Shared {
  std::atomic<bool> stop{false};
  std::atomic<uint32_t> checkpoints{0};  // asked for
  Slot slots[kMaxWorkers];
};

Workers::Workers(Engine& engine, const Options& options, SearchState& state)
    : engine_(engine),
      options_(options),
      state_(state),
      memory_(boost::interprocess::anonymous_shared_memory(sizeof(Shared))),
      workers_(static_cast<size_t>(std::clamp(options.jobs, 1, kMaxWorkers))) {
  shared_ = new (memory_.get_address()) Shared;
}

Workers::~Workers() { kill_all(); }

void Workers::kill_all() {
  for (Worker& worker : workers_) {
    if (worker.process == 0) continue;
    ::kill(worker.process, SIGKILL);
    ::waitpid(worker.process, nullptr, 0);
    ::close(worker.pipe);
    worker = Worker{};
  }
}

bool Workers::start(Worker& worker, size_t index) {
  while (next_ < state_.items.size() && state_.items[next_].done) ++next_;
  if (next_ == state_.items.size()) return false;
  int ends[2];
  if (::pipe(ends) != 0) return false;
  Slot& slot = shared_->slots[index];
  const SearchState::Item& item = state_.items[next_];
  const Result before = item.saved.empty() ? Result{} : PartSearch::summary(item.saved).result;
  slot.executions = before.executions;
  slot.cut_short = before.cut_short;
  slot.events = before.events;
  slot.progress = item.progress;
  const pid_t parent = ::getpid();
  const pid_t process = ::fork();
  if (process == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::close(ends[0]);
    for (const Worker& other : workers_) {
      if (other.pipe >= 0) ::close(other.pipe);
    }
    work(index, next_, ends[1]);
  }
  ::close(ends[1]);
  if (process < 0) {
    ::close(ends[0]);
    return false;
  }
  worker = Worker{};
  worker.process = process;
  worker.pipe = ends[0];
  worker.item = next_++;
  return true;
}

// The life of a worker.
void Workers::work(size_t index, size_t item_index, int pipe) {
  watch_for_hangs();
  Slot& slot = shared_->slots[index];
  Options options = options_;
  options.observer = nullptr;
  const SearchState::Item& item = state_.items[item_index];
  PartSearch search(engine_, options, item.task);
  if (!item.saved.empty()) search.load(item.saved);
  const auto tell = [&](bool last) {
    Writer text;
    text.put(last);
    text.put(search.progress());
    save_edges(text, engine_.lock_order().edges());
    text.put(search.save());
    send(pipe, text.text());
  };
  uint32_t checkpoints = shared_->checkpoints;
  search.run([&] {
    if (!search.look_due()) return true;
    slot.executions = search.result().executions;
    slot.cut_short = search.result().cut_short;
    slot.events = search.result().events;
    slot.progress = search.progress();
    if (checkpoints != shared_->checkpoints) {
      checkpoints = shared_->checkpoints;
      tell(false);
    }
    return !shared_->stop;
  });
  tell(true);
  ::_exit(0);
}

// What a worker has to say about its part.
void Workers::message(Worker& worker, const std::string& text) {
  Reader from(text);
  SearchState::Item& item = state_.items[worker.item];
  worker.ended = from.get<bool>();
  item.progress = from.get<double>();
  engine_.lock_order().add(load_edges(from));
  std::string saved = from.text();
  worker.awaited = false;
  const PartSearch::Summary summary = PartSearch::summary(saved);
  switch (summary.status) {
    case PartSearch::Status::kOpen:
      item.saved = std::move(saved);
      return;
    case PartSearch::Status::kRestart:
      outcome_ = Outcome::kRestart;
      return;
    case PartSearch::Status::kViolated:
      if (outcome_ != Outcome::kRestart) outcome_ = Outcome::kViolated;
      break;
    case PartSearch::Status::kFinished:
      break;
  }
  item.done = true;
  item.saved.clear();
  state_.bound_met = state_.bound_met || summary.bound_met;
  add_result(state_.done, summary.result);
}

void Workers::bury(Worker& worker) {
  int status = 0;
  ::waitpid(worker.process, &status, 0);
  ::close(worker.pipe);
  if (!worker.ended) {
    Result dead;
    dead.findings = 1;
    dead.finding.kind = WIFEXITED(status) ? Kind::kCrash : Kind::kInternalError;
    dead.finding.message =
        WIFEXITED(status)
            ? "the scenario ended its process with exit code " + std::to_string(WEXITSTATUS(status))
            : "a process of the search was ended by signal " + std::to_string(WTERMSIG(status));
    add_result(state_.done, dead);
    state_.items[worker.item].done = true;
    outcome_ = Outcome::kViolated;
  }
  worker = Worker{};
}

void Workers::hear(Worker& worker) {
  char buffer[1 << 16];
  const ssize_t got = ::read(worker.pipe, buffer, sizeof(buffer));
  if (got < 0) return;
  if (got == 0) {
    bury(worker);
    return;
  }
  worker.received.append(buffer, static_cast<size_t>(got));
  for (;;) {
    Reader from(worker.received);
    const std::string text = from.text();
    if (!from.ok()) return;
    message(worker, text);
    worker.received.erase(0, sizeof(uint64_t) + text.size());
  }
}

// Waits for news for a moment.
bool Workers::listen() {
  std::vector<pollfd> files;
  for (const Worker& worker : workers_) {
    if (worker.process != 0) files.push_back(pollfd{worker.pipe, POLLIN, 0});
  }
  if (files.empty()) return false;
  if (::poll(files.data(), files.size(), kTickMilliseconds) <= 0) return true;
  for (const pollfd& file : files) {
    if (file.revents == 0) continue;
    for (Worker& worker : workers_) {
      if (worker.process != 0 && worker.pipe == file.fd) hear(worker);
    }
  }
  return true;
}

Result Workers::total() const {
  Result total = state_.done;
  std::vector<bool> running(state_.items.size());
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].process == 0 || workers_[i].ended) continue;
    running[workers_[i].item] = true;
    total.executions += shared_->slots[i].executions;
    total.cut_short += shared_->slots[i].cut_short;
    total.events += shared_->slots[i].events;
  }
  for (size_t i = 0; i < state_.items.size(); ++i) {
    const SearchState::Item& item = state_.items[i];
    if (running[i] || item.done || item.saved.empty()) continue;
    add_result(total, PartSearch::summary(item.saved).result);
  }
  return total;
}

double Workers::progress() const {
  for (size_t i = 0; i < workers_.size(); ++i) {
    if (workers_[i].process == 0 || workers_[i].ended) continue;
    state_.items[workers_[i].item].progress = shared_->slots[i].progress;
  }
  return state_.progress();
}

Workers::Outcome Workers::run(const MayGoOn& may_go_on, const std::function<void()>& save) {
  auto last_save = Clock_::now();
  bool saving = false;
  for (;;) {
    if (outcome_ == Outcome::kRestart) {
      kill_all();
      return outcome_;
    }
    if (outcome_ != Outcome::kDone) shared_->stop = true;
    for (size_t i = 0; i < workers_.size() && !shared_->stop; ++i) {
      if (workers_[i].process == 0 && !start(workers_[i], i)) break;
    }
    if (!listen()) break;
    if (outcome_ == Outcome::kDone && !may_go_on(total(), progress())) {
      outcome_ = Outcome::kStopped;
    }
    if (!saving && Clock_::now() - last_save >= options_.checkpoint_every) {
      saving = true;
      for (Worker& worker : workers_) worker.awaited = worker.process != 0;
      ++shared_->checkpoints;
    }
    if (saving && std::none_of(workers_.begin(), workers_.end(),
                               [](const Worker& worker) { return worker.awaited; })) {
      save();
      saving = false;
      last_save = Clock_::now();
    }
  }
  if (outcome_ == Outcome::kDone && state_.progress() < 1) {
    std::perror("explorer: cannot start a process");
    return Outcome::kStopped;
  }
  return outcome_;
}

}  // namespace explorer
