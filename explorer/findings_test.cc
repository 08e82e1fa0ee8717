// What the engine must find, and what it must not take for a finding.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "explorer/search.h"
#include "explorer/small_program.h"
#include "explorer/sync.h"

namespace explorer {
namespace {

struct World {
  // Set-up uses what the threads use, as a real one does.
  World() {
    for (int i = 0; i < 3; ++i) {
      a.lock();
      a.unlock();
      rw.lock();
      rw.unlock();
      flag.store(0, std::memory_order_release);
    }
  }
  Mutex a{Name{"a"}};
  Mutex b{Name{"b"}};
  Mutex c{Name{"c"}};
  RwLock rw{Name{"rw"}};
  CondVar cv{"the condition"};
  Atomic<int> flag;
  Atomic<int> other;
  Shared<int> data{0};
  Shared<int> fresh;
  int* memory = nullptr;
};

using Small = SmallProgram<World>;
using Body = Small::Body;

// Searches, replays what was found, and returns the result.
Result explore(std::vector<Body> bodies, Options options = {}) {
  Small program(std::move(bodies));
  const Result result = search(program, options);
  const bool of_one_execution = !result.schedule.empty();
  if (result.verdict == Verdict::kViolated && of_one_execution) {
    Options again = options;
    again.method = Method::kReplay;
    again.replay = result.schedule;
    const Result replayed = search(program, again);
    EXPECT_EQ(replayed.finding.kind, result.finding.kind) << result.schedule;
    EXPECT_EQ(replayed.finding.message, result.finding.message);
  }
  return result;
}

void nothing(World&) {}

TEST(Findings, ARaceWithoutALock) {
  const Result result = explore({[](World& w) { w.data.set(1); }, [](World& w) { w.data.get(); }});
  EXPECT_EQ(result.finding.kind, Kind::kDataRace);
}

// What set-up did orders nothing among the threads.
TEST(Findings, ARaceWithWhoTakesWhatSetUpHasReleased) {
  const Body writes = [](World& w) { w.data.set(1); };
  const Body takers[] = {[](World& w) {
                           w.a.lock();
                           w.data.get();
                           w.a.unlock();
                         },
                         [](World& w) {
                           w.rw.lock();
                           w.data.get();
                           w.rw.unlock();
                         },
                         [](World& w) {
                           w.flag.load(std::memory_order_acquire);
                           w.data.get();
                         }};
  for (const Body& taker : takers) {
    EXPECT_EQ(explore({writes, taker}).finding.kind, Kind::kDataRace);
    EXPECT_EQ(explore({taker, writes}).finding.kind, Kind::kDataRace);
  }
}

TEST(Findings, NoRaceUnderALock) {
  const Body body = [](World& w) {
    w.a.lock();
    w.data.set(w.data.get() + 1);
    w.a.unlock();
  };
  EXPECT_EQ(verdict_line(explore({body, body, body})), "exhausted");
}

Result publish(std::memory_order store, std::memory_order load) {
  static std::memory_order store_order;
  static std::memory_order load_order;
  store_order = store;
  load_order = load;
  return explore({[](World& w) {
                    w.data.set(1);
                    w.flag.store(1, store_order);
                  },
                  [](World& w) {
                    if (w.flag.load(load_order) == 1) w.data.get();
                  }});
}

TEST(Findings, ReleaseAndAcquirePublish) {
  EXPECT_EQ(publish(std::memory_order_release, std::memory_order_acquire).verdict,
            Verdict::kExhausted);
}

TEST(Findings, AMissingReleaseIsARace) {
  EXPECT_EQ(publish(std::memory_order_relaxed, std::memory_order_acquire).finding.kind,
            Kind::kDataRace);
}

TEST(Findings, AMissingAcquireIsARace) {
  EXPECT_EQ(publish(std::memory_order_release, std::memory_order_relaxed).finding.kind,
            Kind::kDataRace);
}

TEST(Findings, ADeadlockWithItsCycle) {
  const Result result = explore({[](World& w) {
                                   w.a.lock();
                                   w.b.lock();
                                   w.b.unlock();
                                   w.a.unlock();
                                 },
                                 [](World& w) {
                                   w.b.lock();
                                   w.a.lock();
                                   w.a.unlock();
                                   w.b.unlock();
                                 }});
  EXPECT_EQ(result.finding.kind, Kind::kDeadlock);
  EXPECT_NE(result.finding.message.find("waits for a held by thread 0"), std::string::npos)
      << result.finding.message;
  EXPECT_NE(result.finding.message.find("waits for b held by thread 1"), std::string::npos)
      << result.finding.message;
}

TEST(Findings, ADeadlockThatOthersCouldOutlive) {
  const Result result = explore({[](World& w) {
                                   w.a.lock();
                                   w.b.lock();
                                   w.b.unlock();
                                   w.a.unlock();
                                 },
                                 [](World& w) {
                                   w.b.lock();
                                   w.a.lock();
                                   w.a.unlock();
                                   w.b.unlock();
                                 },
                                 [](World& w) {
                                   for (int i = 0; i < 3; ++i) w.flag.fetch_add(1);
                                 }});
  EXPECT_EQ(result.finding.kind, Kind::kDeadlock);
}

TEST(Findings, OppositeOrdersThatCannotDeadlockHere) {
  const Result result = explore({[](World& w) {
                                   w.a.lock();
                                   w.b.lock();
                                   w.b.unlock();
                                   w.a.unlock();
                                   w.flag.store(1);
                                 },
                                 [](World& w) {
                                   if (w.flag.load() == 0) return;
                                   w.b.lock();
                                   w.a.lock();
                                   w.a.unlock();
                                   w.b.unlock();
                                 }});
  EXPECT_EQ(result.finding.kind, Kind::kCircularLocking);
}

TEST(Findings, TheOrderOfLocksIsKnownWithItsPlacesAndTryenters) {
  const Body body = [](World& w) {
    w.rw.lock_shared();
    if (w.a.try_lock()) {
      w.b.lock();
      w.b.unlock();
      w.a.unlock();
    }
    w.rw.unlock();
  };
  const Result result = explore({body, body});
  std::vector<std::string> edges;
  for (const LockOrder::Edge& e : result.lock_edges) {
    EXPECT_GT(e.held.site.line, 0);
    EXPECT_GT(e.taken.site.line, e.held.site.line);
    edges.push_back(to_string(e.held.name) + (e.taken.tried ? " tries " : " takes ") +
                    to_string(e.taken.name));
  }
  // From rw to b because a was only tried, which waits for nobody.
  EXPECT_EQ(edges, (std::vector<std::string>{"rw tries a", "a takes b", "rw takes b"}));
  EXPECT_EQ(result.lock_edges[1].holds.size(), 2u);
}

void nest(Mutex& first, Mutex& second) {
  first.lock();
  second.lock();
  second.unlock();
  first.unlock();
}

TEST(Findings, AnOrderOfLocksThatTheCallerJudges) {
  Options options;
  options.judge_lock_order = [](const LockOrder& order, bool last) {
    std::string wrong;
    for (const LockOrder::Edge& e : order.edges()) {
      if (last || to_string(e.held.name) == "b") wrong = "after " + to_string(e.held.name);
    }
    return wrong;
  };
  const Body good = [](World& w) { nest(w.a, w.b); };
  const Body bad = [](World& w) {
    if (w.flag.load() != 0) nest(w.b, w.c);
  };
  const Result now = explore({good, [](World& w) { w.flag.store(1); }, bad}, options);
  EXPECT_EQ(verdict_line(now), "violated (lock order)");
  EXPECT_EQ(now.finding.message, "after b");
  EXPECT_FALSE(now.schedule.empty());
  const Result end = explore({good}, options);
  EXPECT_EQ(end.finding.message, "after a");
  options.judge_lock_order = [](const LockOrder&, bool) { return std::string(); };
  EXPECT_EQ(verdict_line(explore({good}, options)), "exhausted");
}

TEST(Findings, Recursion) {
  EXPECT_EQ(explore({[](World& w) {
              w.a.lock();
              w.a.lock();
            }}).finding.kind,
            Kind::kRecursion);
}

TEST(Findings, ALostWakeup) {
  const Result result = explore({[](World& w) {
                                   w.a.lock();
                                   w.cv.wait(w.a);
                                   w.a.unlock();
                                 },
                                 [](World& w) { w.cv.signal(); }});
  EXPECT_EQ(result.finding.kind, Kind::kLostWakeup);
  EXPECT_NE(result.finding.message.find("the condition"), std::string::npos);
}

TEST(Findings, ASpuriousWakeupThatNobodyExpects) {
  Options options;
  const std::vector<Body> bodies{[](World& w) {
                                   w.a.lock();
                                   if (w.flag.load() == 0) w.cv.wait(w.a);
                                   check(w.flag.load() == 1, "woken for nothing");
                                   w.a.unlock();
                                 },
                                 [](World& w) {
                                   w.a.lock();
                                   w.flag.store(1);
                                   w.cv.signal();
                                   w.a.unlock();
                                 }};
  EXPECT_EQ(explore(bodies, options).verdict, Verdict::kExhausted);
  options.engine.spurious_wakeups = 1;
  EXPECT_EQ(explore(bodies, options).finding.kind, Kind::kAssertion);
}

TEST(Findings, ASpinThatNobodyEnds) {
  const Result result = explore({[](World& w) {
                                   while (w.flag.load() == 0) yield();
                                 },
                                 nothing});
  EXPECT_EQ(result.finding.kind, Kind::kLivelock);
}

TEST(Findings, ASpinThatSomebodyEnds) {
  EXPECT_EQ(verdict_line(explore({[](World& w) {
                                    while (w.flag.load() == 0) yield();
                                  },
                                  [](World& w) { w.flag.store(1); }})),
            "exhausted");
}

// One polls under a lock, one spins; the spinner must not be planned where it cannot go on.
TEST(Findings, APollAndASpinThatNobodyEnds) {
  Small program({[](World& w) {
                   w.a.lock();
                   while (w.flag.load() == 0) {
                     w.a.unlock();
                     yield();
                     w.a.lock();
                   }
                   w.a.unlock();
                 },
                 [](World& w) {
                   while (w.other.load() == 0) yield();
                 }});
  std::set<Kind> kinds;
  Options options;
  options.engine.max_steps = 100;
  options.keep_going = true;
  options.observer = [&](const Engine& engine, End) { kinds.insert(engine.finding().kind); };
  options.restarted = [&] { kinds.clear(); };
  search(program, options);
  kinds.erase(Kind::kNone);
  EXPECT_EQ(kinds, std::set<Kind>{Kind::kLivelock});
}

TEST(Findings, TwoThreadsThatKeepEachOtherBusy) {
  Options options;
  options.engine.max_steps = 500;
  const Body body = [](World& w) {
    while (w.flag.load() < 1'000'000) {
      w.other.fetch_add(1);
      yield();
    }
  };
  const Result result = explore({body, body}, options);
  EXPECT_EQ(result.finding.kind, Kind::kLivelock);
}

TEST(Findings, MisuseOfLocks) {
  EXPECT_EQ(explore({[](World& w) { w.a.unlock(); }}).finding.kind, Kind::kUnlockByNonOwner);
  EXPECT_EQ(explore({[](World& w) { w.a.lock(); }}).finding.kind, Kind::kHeldAtThreadEnd);
  EXPECT_EQ(explore({[](World& w) { w.rw.lock_shared(); }}).finding.kind, Kind::kHeldAtThreadEnd);
  EXPECT_EQ(explore({[](World&) {
              Mutex mutex;
              mutex.lock();
            }}).finding.kind,
            Kind::kDestroyWhileHeld);
}

TEST(Findings, MisuseOfMemory) {
  EXPECT_EQ(explore({[](World&) {
              auto* x = new Shared<int>(1);
              delete x;
              x->get();
            }}).finding.kind,
            Kind::kUseAfterFree);
  EXPECT_EQ(explore({[](World&) {
              void* const p = ::operator new(8);
              ::operator delete(p);
              ::operator delete(p);
            }}).finding.kind,
            Kind::kDoubleFree);
  EXPECT_EQ(explore({[](World& w) { w.memory = new int(1); }}).finding.kind, Kind::kLeak);
  EXPECT_EQ(explore({[](World& w) { w.fresh.get(); }}).finding.kind, Kind::kUninitialisedRead);
}

TEST(Findings, AFreeThatNothingOrdersAfterAUse) {
  static Shared<int>* shared;
  const Result result = explore({[](World& w) {
                                   shared = new Shared<int>(1);
                                   w.flag.store(1, std::memory_order_release);
                                   while (w.other.load(std::memory_order_relaxed) == 0) yield();
                                   delete shared;
                                 },
                                 [](World& w) {
                                   while (w.flag.load(std::memory_order_acquire) == 0) yield();
                                   shared->get();
                                   w.other.store(1, std::memory_order_relaxed);
                                 }});
  EXPECT_EQ(result.finding.kind, Kind::kUseAfterFree);
}

TEST(Findings, AnAssertionInOneOrderOnly) {
  const Result result = explore({[](World& w) { w.flag.store(1); },
                                 [](World& w) { check(w.flag.load() == 0, "the flag is clear"); }});
  EXPECT_EQ(result.finding.kind, Kind::kAssertion);
}

TEST(Findings, AnException) {
  EXPECT_EQ(explore({[](World&) { throw std::runtime_error("thrown"); }}).finding.message,
            "thrown");
}

int deep(int n) {
  char bytes[512] = {};
  bytes[n % 512] = static_cast<char>(n);
  asm volatile("" : : "r"(bytes) : "memory");
  return n == 0 ? bytes[0] : deep(n - 1) + bytes[n % 512];
}

TEST(Findings, AStackOverflow) {
  EXPECT_EQ(explore({[](World& w) {
              w.memory = deep(1'000'000) == 1 ? nullptr : w.memory;
            }}).finding.kind,
            Kind::kStackOverflow);
}

TEST(Findings, ACrash) {
  EXPECT_EQ(explore({[](World& w) { *w.memory = 1; }}).finding.kind, Kind::kCrash);
  EXPECT_EQ(explore({[](World&) { std::abort(); }}).finding.kind, Kind::kCrash);
}

TEST(Findings, ACallThatWouldEndTheProcess) {
  const std::pair<Body, const char*> calls[] = {
      {[](World&) { std::exit(3); }, "thread 1 calls exit(3), which ends the process"},
      {[](World&) { std::quick_exit(4); }, "thread 1 calls quick_exit(4), which ends the process"},
      {[](World&) { ::_exit(0); }, "thread 1 calls _exit(0), which ends the process"},
      {[](World&) { std::_Exit(5); }, "thread 1 calls _Exit(5), which ends the process"},
  };
  for (const auto& [body, message] : calls) {
    const Result alone = explore({nothing, body});
    EXPECT_EQ(alone.finding.kind, Kind::kCrash);
    EXPECT_EQ(alone.finding.message, message);
    Options options;
    options.jobs = 2;
    const Result shared = explore({nothing, body}, options);
    EXPECT_EQ(shared.finding.message, message);
    EXPECT_EQ(shared.schedule, alone.schedule);
  }
}

TEST(Findings, ACallInTheSetUpThatWouldEndTheProcess) {
  class Ends : public Program {
   public:
    const char* name() const override { return "ends"; }
    int threads() const override { return 1; }
    void set_up() override { std::exit(0); }
    void thread(int) override {}
    void finish() override {}
  } program;
  EXPECT_EQ(search(program, {}).finding.kind, Kind::kCrash);
}

TEST(Findings, AFailureBeforeAnyStep) {
  const Body step = [](World& w) { w.flag.store(1); };
  EXPECT_EQ(explore({[](World&) { check(false, "at once"); }, step}).finding.kind,
            Kind::kAssertion);
  EXPECT_EQ(explore({step, [](World&) { check(false, "at once"); }}).finding.kind,
            Kind::kAssertion);
}

// The bound on steps never comes.
TEST(Findings, ALoopWithoutAStep) {
  static volatile bool always = true;
  const Result result = explore({nothing, [](World&) {
                                   while (always) {
                                   }
                                 }});
  EXPECT_EQ(result.finding.kind, Kind::kLivelock);
  EXPECT_EQ(result.finding.message, "no step in 2 s of processor time by thread 1");

  class Hangs : public Program {
   public:
    const char* name() const override { return "hangs"; }
    int threads() const override { return 1; }
    void set_up() override {
      while (always) {
      }
    }
    void thread(int) override {}
    void finish() override {}
  } program;
  EXPECT_EQ(search(program, {}).finding.message,
            "no step in 2 s of processor time in set-up or in the final check");
}

TEST(Findings, AnEndOfTheProcessOutsideOfScenarios) {
  Small program({nothing});
  Options options;
  options.observer = [](const Engine&, End) { std::exit(7); };
  EXPECT_EXIT(search(program, options), testing::ExitedWithCode(7), "");
  options.observer = [](const Engine&, End) { ::_exit(8); };
  EXPECT_EXIT(search(program, options), testing::ExitedWithCode(8), "");
}

TEST(Findings, AScenarioThatDependsOnSomethingElse) {
  static int runs;
  runs = 0;
  Small program({[](World& w) {
                   w.other.store(1);
                   if (++runs % 2 == 0) w.other.load();
                   w.other.store(2);
                   w.flag.store(1);
                 },
                 [](World& w) { w.flag.store(2); }});
  EXPECT_EQ(search(program, {}).finding.kind, Kind::kNondeterminism);
}

TEST(Findings, EverySearchFindsAnEasyRace) {
  for (const Method method :
       {Method::kDpor, Method::kFull, Method::kBound, Method::kPct, Method::kRandom}) {
    Options options;
    options.method = method;
    const Body body = [](World& w) { w.data.set(1); };
    EXPECT_EQ(explore({body, body}, options).finding.kind, Kind::kDataRace);
  }
}

TEST(Findings, ABoundIsNeverCalledExhausted) {
  const Body body = [](World& w) {
    for (int i = 0; i < 4; ++i) w.flag.fetch_add(1);
  };
  Options options;
  options.executions = 10;
  EXPECT_EQ(verdict_line(explore({body, body}, options)), "bounded (by 10 executions)");
  options.executions = 0;
  options.method = Method::kBound;
  options.preemptions = 1;
  EXPECT_EQ(verdict_line(explore({body, body}, options)), "bounded (by 1 preemptions)");
  options.method = Method::kRandom;
  options.executions = 5;
  EXPECT_EQ(verdict_line(explore({body, body}, options)), "bounded (by 5 executions)");
}

}  // namespace
}  // namespace explorer
