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
  std::atomic<size_t> item{0};  // the part at hand, to which the counts belong
  std::atomic<uint64_t> executions{0};
  std::atomic<uint64_t> cut_short{0};
  std::atomic<uint64_t> events{0};
  std::atomic<double> progress{0};
};

struct Workers::Shared {
  std::atomic<bool> stop{false};
  std::atomic<uint32_t> checkpoints{0};  // asked for
  std::atomic<size_t> next{0};           // the first part that nobody has taken
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
  int ends[2];
  if (::pipe(ends) != 0) return false;
  shared_->slots[index].item = state_.items.size();
  const pid_t parent = ::getpid();
  const pid_t process = ::fork();
  if (process == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    ::close(ends[0]);
    for (const Worker& other : workers_) {
      if (other.pipe >= 0) ::close(other.pipe);
    }
    work(index, ends[1]);
  }
  ::close(ends[1]);
  if (process < 0) {
    ::close(ends[0]);
    return false;
  }
  worker.process = process;
  worker.pipe = ends[0];
  return true;
}

// The life of a worker.
void Workers::work(size_t index, int pipe) {
  watch_for_hangs();
  edges_told_ = engine_.lock_order().edges().size();
  while (!shared_->stop) {
    const size_t item = shared_->next++;
    if (item >= state_.items.size()) break;
    if (state_.items[item].done) continue;
    if (work_on(index, item, pipe) != PartSearch::Status::kFinished) break;
  }
  send(pipe, "");
  ::_exit(0);
}

PartSearch::Status Workers::work_on(size_t index, size_t item_index, int pipe) {
  Options options = options_;
  options.observer = nullptr;
  const SearchState::Item& item = state_.items[item_index];
  PartSearch search(engine_, options, item.task);
  if (!item.saved.empty() && !search.load(item.saved)) std::abort();
  Slot& slot = shared_->slots[index];
  // The estimate takes longer than the counts.
  constexpr uint64_t kBetweenEstimates = 64;
  uint64_t looks = 0;
  const auto count = [&] {
    slot.executions = search.result().executions;
    slot.cut_short = search.result().cut_short;
    slot.events = search.result().events;
    if (looks++ % kBetweenEstimates == 0) slot.progress = search.progress();
  };
  const auto tell = [&] {
    const std::vector<LockOrder::Edge>& edges = engine_.lock_order().edges();
    Writer text;
    text.put(static_cast<uint64_t>(item_index));
    text.put(search.progress());
    save_edges(text, {edges.begin() + static_cast<std::ptrdiff_t>(edges_told_), edges.end()});
    edges_told_ = edges.size();
    text.put(search.save());
    send(pipe, text.text());
  };
  count();
  slot.item = item_index;
  search.run([&] {
    if (!search.look_due()) return true;
    count();
    if (checkpoints_seen_ != shared_->checkpoints) {
      checkpoints_seen_ = shared_->checkpoints;
      tell();
    }
    return !shared_->stop;
  });
  tell();
  return search.status();
}

// What a worker has to say about its part; nothing at its own end.
void Workers::message(Worker& worker, const std::string& text) {
  if (text.empty()) {
    worker.has_ended = true;
    return;
  }
  Reader from(text);
  SearchState::Item& item = state_.items[from.get<uint64_t>()];
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

void Workers::bury(size_t index) {
  Worker& worker = workers_[index];
  int status = 0;
  ::waitpid(worker.process, &status, 0);
  ::close(worker.pipe);
  if (!worker.has_ended) {
    Result dead;
    dead.findings = 1;
    dead.finding.kind = WIFEXITED(status) ? Kind::kCrash : Kind::kInternalError;
    dead.finding.message =
        WIFEXITED(status)
            ? "the scenario ended its process with exit code " + std::to_string(WEXITSTATUS(status))
            : "a process of the search was ended by signal " + std::to_string(WTERMSIG(status));
    add_result(state_.done, dead);
    const size_t item = shared_->slots[index].item;
    if (item < state_.items.size()) state_.items[item].done = true;
    outcome_ = Outcome::kViolated;
  }
  worker = Worker{};
}

void Workers::hear(Worker& worker) {
  char buffer[1 << 16];
  const ssize_t got = ::read(worker.pipe, buffer, sizeof(buffer));
  if (got < 0) return;
  if (got == 0) {
    bury(static_cast<size_t>(&worker - workers_.data()));
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
  std::vector<bool> counted(state_.items.size());
  for (size_t i = 0; i < workers_.size(); ++i) {
    const Slot& slot = shared_->slots[i];
    const size_t item = slot.item;
    // One that is done is counted, although its worker may not have taken the next one yet.
    if (workers_[i].process == 0 || item >= counted.size() || state_.items[item].done) continue;
    counted[item] = true;
    total.executions += slot.executions;
    total.cut_short += slot.cut_short;
    total.events += slot.events;
  }
  for (size_t i = 0; i < state_.items.size(); ++i) {
    const SearchState::Item& item = state_.items[i];
    if (counted[i] || item.done || item.saved.empty()) continue;
    add_result(total, PartSearch::summary(item.saved).result);
  }
  return total;
}

double Workers::progress() const {
  for (size_t i = 0; i < workers_.size(); ++i) {
    const Slot& slot = shared_->slots[i];
    const size_t item = slot.item;
    if (workers_[i].process == 0 || item >= state_.items.size()) continue;
    state_.items[item].progress = slot.progress;
  }
  return state_.progress();
}

Workers::Outcome Workers::run(const MayGoOn& may_go_on, const std::function<void()>& save) {
  auto last_save = Clock_::now();
  bool saving = false;
  const auto open =
      static_cast<size_t>(std::count_if(state_.items.begin(), state_.items.end(),
                                        [](const SearchState::Item& item) { return !item.done; }));
  for (size_t i = 0; i < std::min(workers_.size(), open) && start(workers_[i], i);) ++i;
  while (listen()) {
    if (outcome_ == Outcome::kRestart) {
      kill_all();
      return outcome_;
    }
    if (outcome_ == Outcome::kDone && !may_go_on(total(), progress())) {
      outcome_ = Outcome::kStopped;
    }
    if (outcome_ != Outcome::kDone) shared_->stop = true;
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
