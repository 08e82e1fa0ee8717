#include "explorer/report.h"

#include <algorithm>
#include <map>
#include <vector>

#include "explorer/arena.h"
#include "explorer/recorder.h"
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

struct Line {
  int thread = 0;
  std::string what;
  std::string holds;
  Site site;
  const void* address = nullptr;  // of a plain variable
  bool writes = false;
  bool mark = false;
};

class Collector : public Recorder {
 public:
  void step(const Engine& engine, int index, const Site& site) override {
    const HostScope host;
    const Event& e = engine.event(index);
    Line line;
    line.thread = e.label.thread;
    line.site = site;
    line.what = std::string(name_of(e.label.op)) + object_name(engine, e);
    switch (e.label.op) {
      case Op::kLoad:
      case Op::kStore:
      case Op::kRmw:
      case Op::kCas:
        line.what += " = " + std::to_string(value_);
        break;
      case Op::kChoose:
        line.what += " " + std::to_string(e.label.choice) + " of " + std::to_string(e.choices);
        break;
      case Op::kWait:
        if (e.label.choice == 1) line.what += " (wakes up spuriously)";
        break;
      case Op::kSignal:
        line.what += e.label.choice < kMaxThreads
                         ? " wakes thread " + std::to_string(e.label.choice)
                         : " finds no sleeper";
        break;
      default:
        if (e.outcome == Event::kFailed) line.what += " fails";
        if (e.outcome == Event::kAnnounced) line.what += " waits";
    }
    add(engine, std::move(line));
  }

  void value(uint64_t value) override { value_ = value; }

  void access(const Engine& engine, const void* address, bool writes, const Site& site) override {
    if (Engine::alone()) return;
    const HostScope host;
    Line line;
    line.thread = engine.self();
    line.site = site;
    line.address = address;
    line.writes = writes;
    line.what = std::string(writes ? "write" : "read") + " " + place(address);
    add(engine, std::move(line));
  }

  void conflict(const void* address, int thread) override {
    if (lines_.empty()) return;
    Line& late = lines_.back();
    late.mark = true;
    for (size_t i = lines_.size() - 1; i-- > 0;) {
      Line& line = lines_[i];
      if (line.address != address || line.thread != thread || !(line.writes || late.writes))
        continue;
      line.mark = true;
      return;
    }
  }

  void restarted() override { lines_.clear(); }
  void finding(const Engine&, const Finding&) override {}

  std::string text() const {
    std::string text;
    for (const Line& line : lines_) {
      std::string row = line.mark ? "  >>" : "    ";
      row += std::string(static_cast<size_t>(line.thread) * 4, ' ') + std::to_string(line.thread) +
             ": " + line.what;
      if (row.size() < 56) row.resize(56, ' ');
      row += "  " + to_string(line.site);
      if (!line.holds.empty()) row += "  holds" + line.holds;
      text += row + "\n";
    }
    return text;
  }

 private:
  void add(const Engine& engine, Line line) {
    const Engine::Thread& t = engine.thread(line.thread);
    for (int i = 0; i < t.held_count; ++i) line.holds += " " + to_string(*t.held[i].name);
    lines_.push_back(std::move(line));
  }

  // Where a thing without a name lies: equal addresses are equal things.
  static std::string place(const void* address) {
    char text[32];
    const uintptr_t p = reinterpret_cast<uintptr_t>(address);
    std::snprintf(text, sizeof(text), "@%llx",
                  static_cast<unsigned long long>(Arena::contains(address) ? p - Arena::kBase : p));
    return text;
  }

  static std::string object_name(const Engine& engine, const Event& e) {
    const Engine::Wanted& wanted = engine.thread(e.label.thread).wanted;
    switch (e.label.op) {
      case Op::kLock:
      case Op::kTryLock:
      case Op::kUnlock:
      case Op::kReacquire:
        return " " + to_string(static_cast<const Mutex*>(wanted.target)->name());
      case Op::kWait:
        return " with " + to_string(static_cast<const Mutex*>(wanted.target)->name());
      case Op::kSignal:
      case Op::kBroadcast:
        return std::string(" ") + static_cast<const CondVar*>(wanted.target)->name();
      case Op::kReadEnter:
      case Op::kWriteEnter:
      case Op::kWriteAcquire:
      case Op::kTryRead:
      case Op::kTryWrite:
      case Op::kTryUpgrade:
      case Op::kDowngrade:
      case Op::kReadExit:
      case Op::kWriteExit:
        return " " + to_string(static_cast<const RwLock*>(wanted.target)->name());
      case Op::kLoad:
      case Op::kStore:
      case Op::kRmw:
      case Op::kCas:
        return " " + place(wanted.target);
      default:
        return "";
    }
  }

  std::vector<Line> lines_;
  uint64_t value_ = 0;
};

}  // namespace

std::string explain(Program& program, const Options& options, const Result& result) {
  const Finding& finding = result.finding;
  std::string text = finding.message;
  if (finding.site.file[0] != '\0') text += "\n  at " + to_string(finding.site);
  if (finding.kind == Kind::kCircularLocking) return text;  // of no one execution
  Collector collector;
  Options replay = options;
  replay.method = Method::kReplay;
  replay.replay = result.schedule;
  replay.recorder = &collector;
  replay.keep_going = false;
  replay.progress = nullptr;
  replay.observer = nullptr;
  replay.restarted = nullptr;
  const Result again = search(program, replay);
  if (again.finding.kind != finding.kind) {
    return text + "\n  the replay of this schedule ends differently: " + verdict_line(again) +
           "; the scenario depends on more than its steps and choices";
  }
  return text + "\n" + collector.text();
}

}  // namespace explorer
