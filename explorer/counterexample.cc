#include "explorer/counterexample.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>

#include "explorer/arena.h"
#include "explorer/names.h"
#include "explorer/recorder.h"
#include "explorer/source_text.h"
#include "explorer/sync.h"

namespace explorer {

const char* name_of(Op op) {
  static constexpr const char* kNames[] = {
      "",          "enter",    "tryenter", "exit",       "reenter",     "wait",        "signal",
      "broadcast", "enter(r)", "enter(w)", "entered(w)", "tryenter(r)", "tryenter(w)", "tryupgrade",
      "downgrade", "exit(r)",  "exit(w)",  "load",       "store",       "modify",      "cas",
      "choose",    "yield"};
  return kNames[static_cast<int>(op)];
}

namespace {

bool is_atomic(Op op) {
  return op == Op::kLoad || op == Op::kStore || op == Op::kRmw || op == Op::kCas;
}

bool is_mutex(Op op) {
  return op == Op::kLock || op == Op::kTryLock || op == Op::kUnlock || op == Op::kReacquire ||
         op == Op::kWait;
}

// " mlist[3]": of locks and condition variables, which carry their names.
std::string own_name(const Engine::Wanted& wanted) {
  const Op op = wanted.label.op;
  if (wanted.target == nullptr || is_atomic(op) || op == Op::kChoose || op == Op::kYield) return "";
  if (op == Op::kSignal || op == Op::kBroadcast) {
    return std::string(" ") + static_cast<const CondVar*>(wanted.target)->name();
  }
  if (is_mutex(op)) return " " + to_string(static_cast<const Mutex*>(wanted.target)->name());
  return " " + to_string(static_cast<const RwLock*>(wanted.target)->name());
}

// "./hat/htable.h" and "bazel-out/k8-fastbuild/bin/hat/htable.h" -> "hat/htable.h"
Site shortened(Site site) {
  const std::string_view file = site.file;
  if (file.substr(0, 2) == "./") site.file += 2;
  const size_t bin = file.find("/bin/");
  if (file.substr(0, 10) == "bazel-out/" && bin != std::string_view::npos) site.file += bin + 5;
  return site;
}

// Writes an execution down. Names are filled in when it is over and everything is known of them.
class Collector : public Recorder {
 public:
  Collector() : names_(source_) {}

  void step(const Engine& engine, int index, const Site& site) override {
    const HostScope host;
    const Event& e = engine.event(index);
    const Engine::Thread& t = engine.thread(e.label.thread);
    Entry entry = at(engine, t.id, site);
    entry.line.step = index;
    entry.label = e.label;
    entry.target = t.wanted.target;
    entry.line.what = name_of(e.label.op);
    if (e.label.op == Op::kWait) {
      entry.line.what += std::string(" on ") + t.sleeps_on->name() + " with";
    }
    entry.line.what += own_name(t.wanted);
    if (is_atomic(e.label.op)) {
      entry.variable = t.wanted.target;
      entry.before = before_;
      entry.after = after_;
      names_.used(entry.variable, site, SourceText::Operation::kAtomic);
      if (e.label.op == Op::kCas && after_.kind == Value::Kind::kNone) entry.note = " fails";
    } else if (e.label.op == Op::kChoose) {
      entry.note = " " + std::to_string(e.label.choice) + " of " + std::to_string(e.choices);
    } else if (e.label.op == Op::kWait && e.label.choice == 1) {
      entry.note = " (wakes up spuriously)";
    } else if (e.label.op == Op::kSignal) {
      entry.note = e.label.choice < kMaxThreads ? " wakes thread " + std::to_string(e.label.choice)
                                                : " finds no sleeper";
    } else if (e.outcome == Event::kFailed) {
      entry.note = " fails";
    } else if (e.outcome == Event::kAnnounced) {
      entry.note = " waits";
    }
    entries_.push_back(std::move(entry));
  }

  void values(Value before, Value after) override {
    before_ = before;
    after_ = after;
  }

  void access(const Engine& engine, const void* address, Access access, Value value,
              const Site& site) override {
    const HostScope host;
    const bool reads = access == Access::kRead;
    if (access != Access::kDestroy) {
      names_.used(address, site,
                  reads ? SourceText::Operation::kRead : SourceText::Operation::kWrite);
    }
    if (Engine::alone()) return;
    Entry entry = at(engine, engine.self(), site);
    entry.line.what = reads ? "read" : access == Access::kWrite ? "write" : "destroy";
    entry.variable = address;
    (reads ? entry.before : entry.after) = value;
    entry.plain = true;
    entry.writes = !reads;
    entries_.push_back(std::move(entry));
  }

  void conflict(const void* address, int thread) override {
    if (entries_.empty()) return;
    Entry& late = entries_.back();
    late.line.conflict = true;
    for (size_t i = entries_.size() - 1; i-- > 0;) {
      Entry& early = entries_[i];
      const bool same = early.variable == address || early.target == address;
      if (!same || early.line.thread != thread) continue;
      if (!early.writes && !late.writes) continue;
      early.line.conflict = true;
      return;
    }
  }

  void used_freed(const void* p) override {
    if (!entries_.empty() && entries_.back().plain) entries_.back().line.conflict = true;
    const auto block = Arena::instance().block_of(p);
    const auto freed = freed_.find(block);
    if (freed != freed_.end()) entries_[freed->second].line.conflict = true;
  }

  void object(const void* first, size_t size, size_t count, Name name, size_t part) override {
    names_.object(first, size, count, name, part);
  }

  void freed(const Engine& engine, const void* p, const Site& site) override {
    if (Engine::alone()) return;
    const HostScope host;
    const void* const block = Arena::instance().block_of(p);
    // The first to tell knows the place in the source.
    if (!freed_.try_emplace(block, entries_.size()).second) return;
    Entry entry = at(engine, engine.self(), site);
    entry.line.what = "free";
    entry.object = p;
    entries_.push_back(std::move(entry));
  }

  void restarted() override {
    entries_.clear();
    freed_.clear();
  }

  void finding(const Engine& engine, const Finding& finding) override {
    const HostScope host;
    const bool stuck = finding.kind == Kind::kDeadlock || finding.kind == Kind::kLostWakeup ||
                       finding.kind == Kind::kLivelock;
    if (Engine::alone()) return;
    for (int i = 0; stuck && i < engine.threads(); ++i) {
      const Engine::Thread& t = engine.thread(i);
      if (t.status == Engine::Status::kFinished || t.wanted.site == nullptr) continue;
      Entry entry = at(engine, i, *t.wanted.site);
      const bool sleeps = t.status == Engine::Status::kSleeping;
      if (sleeps) {
        entry.line.what = std::string("sleeps on ") + t.sleeps_on->name();
      } else {
        entry.line.what = std::string("wants ") + name_of(t.wanted.label.op) + own_name(t.wanted);
        if (is_atomic(t.wanted.label.op)) entry.variable = t.wanted.target;
      }
      entry.line.conflict = !engine.enabled(t);
      entries_.push_back(std::move(entry));
    }
    if (stuck) return;
    const bool shown = last_conflicts();
    for (int i = 0; i < engine.threads(); ++i) {
      const Engine::Thread& t = engine.thread(i);
      if (i == finding.thread || t.status != Engine::Status::kReady) continue;
      if (t.wanted.site == nullptr) continue;  // it has not come to its first step yet
      Entry entry = at(engine, i, *t.wanted.site);
      entry.line.what = std::string("next: ") + name_of(t.wanted.label.op) + own_name(t.wanted);
      entry.label = t.wanted.label;
      entry.pending = true;
      if (is_atomic(entry.label.op)) {
        entry.variable = t.wanted.target;
        names_.used(entry.variable, *t.wanted.site, SourceText::Operation::kAtomic);
      }
      entries_.push_back(std::move(entry));
    }
    Entry entry = at(engine, finding.thread, finding.site);
    entry.line.what = std::string(phrase(finding.kind));
    entry.line.conflict = finding.kind == Kind::kUseAfterFree && !shown;
    entries_.push_back(std::move(entry));
  }

  // The lines that matter. `critical`: the step to be marked, or -1.
  std::vector<Line> lines(int critical) {
    mark_critical(critical);
    std::map<const void*, int> users;  // threads, as bits; and bit 31 if one of them writes
    for (const Entry& entry : entries_) {
      if (!entry.plain) continue;
      users[entry.variable] |= 1 << entry.line.thread | (entry.writes ? 1 << 30 : 0);
    }
    std::vector<Line> lines;
    for (Entry& entry : entries_) {
      if (entry.pending && !entry.line.conflict) continue;
      if (entry.plain && !entry.line.conflict && !shared(users[entry.variable])) continue;
      const bool frees = entry.object != nullptr;
      const std::string object = frees ? names_.object_at(entry.object) : "";
      if (frees && object.empty() && !entry.line.conflict) continue;
      lines.push_back(finished(entry, object));
    }
    return lines;
  }

 private:
  struct Entry {
    Line line;
    Label label;
    const void* variable = nullptr;
    const void* target = nullptr;  // of a step
    const void* object = nullptr;  // what is freed
    bool pending = false;          // a step that its thread did not get to
    bool plain = false;
    bool writes = false;
    Value before;
    Value after;
    std::string note;
  };

  static Entry at(const Engine& engine, int thread, const Site& site) {
    Entry entry;
    entry.line.thread = thread;
    entry.line.site = shortened(site);
    const Engine::Thread& t = engine.thread(thread);
    for (int i = 0; i < t.held_count; ++i) entry.line.holds.push_back(to_string(*t.held[i].name));
    return entry;
  }

  static bool shared(int users) {
    const int threads = users & ((1 << kMaxThreads) - 1);
    return (users >> 30 & 1) != 0 && (threads & (threads - 1)) != 0;
  }

  bool last_conflicts() const { return !entries_.empty() && entries_.back().line.conflict; }

  // Marks the critical step and, unless the conflict is known already, what it conflicts with: the
  // next dependent step of another thread, which may not have been made yet, or else the last one
  // before.
  void mark_critical(int critical) {
    const auto is_critical = [critical](const Entry& e) {
      return critical >= 0 && e.line.step == critical;
    };
    const auto found = std::find_if(entries_.begin(), entries_.end(), is_critical);
    if (found == entries_.end()) return;
    found->line.critical = true;
    if (std::any_of(entries_.begin(), entries_.end(),
                    [](const Entry& e) { return e.line.conflict; }))
      return;
    const auto conflicts = [&](const Entry& e) {
      return (e.line.step >= 0 || e.pending) && e.line.thread != found->line.thread &&
             e.label.op != Op::kYield && dependent(e.label, found->label);
    };
    auto other = std::find_if(found, entries_.end(), conflicts);
    if (other == entries_.end()) {
      const auto before =
          std::find_if(std::make_reverse_iterator(found), entries_.rend(), conflicts);
      if (before == entries_.rend()) return;
      other = before.base() - 1;
    }
    found->line.conflict = true;
    other->line.conflict = true;
  }

  Line finished(Entry& entry, const std::string& object) {
    Line& line = entry.line;
    if (entry.variable != nullptr) line.what += " " + names_.variable(entry.variable);
    if (entry.object != nullptr) line.what += " " + (object.empty() ? "memory" : object);
    line.what += entry.note;
    const std::string before = names_.value(entry.before);
    const std::string after = names_.value(entry.after);
    line.value = before.empty() || after.empty() ? before + after : before + " -> " + after;
    line.source = source_.line(line.site);
    return std::move(line);
  }

  SourceText source_;
  Names names_;
  std::vector<Entry> entries_;
  std::map<const void*, size_t> freed_;  // blocks, and the entries that free them
  Value before_;
  Value after_;
};

}  // namespace

Counterexample counterexample(Program& program, const Options& options, const Result& result,
                              const Effort& effort) {
  Counterexample example;
  example.scenario = program.name();
  example.threads = program.threads();
  example.finding = result.finding;
  example.finding.site = shortened(result.finding.site);
  example.shrunk.schedule = result.schedule;
  if (result.finding.kind == Kind::kCircularLocking) {
    example.problem = "seen in several executions, none of which fails";
    return example;
  }
  // A replay shows the schedule that was asked for.
  const bool asked = options.method == Method::kReplay;
  // The message has the two orders, which may be of two executions; this one has seen the second.
  if (result.finding.kind == Kind::kLockOrder && !asked) return example;
  if (asked) {
    example.shrunk.schedule = options.replay;
  } else {
    example.shrunk = shrink(program, options.engine, result, effort);
  }
  Collector collector;
  Options replay = options;
  replay.method = Method::kReplay;
  replay.replay = example.shrunk.schedule;
  replay.recorder = &collector;
  replay.keep_going = false;
  replay.progress = nullptr;
  replay.observer = nullptr;
  replay.restarted = nullptr;
  const Result again = search(program, replay);
  if (again.finding.kind != result.finding.kind) {
    example.problem = "the replay of this schedule ends differently: " + verdict_line(again) +
                      "; the scenario depends on more than its steps and choices";
    return example;
  }
  example.finding = again.finding;
  example.finding.site = shortened(again.finding.site);
  const bool critical = example.shrunk.critical_is == Shrunk::Critical::kStep;
  example.lines = collector.lines(critical ? example.shrunk.critical : -1);
  return example;
}

}  // namespace explorer
