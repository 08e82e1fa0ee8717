// What a counterexample says: names, values, marks, the fewest preemptions, the critical step.
#include "explorer/counterexample.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "explorer/html.h"
#include "explorer/report.h"
#include "explorer/schedule.h"
#include "explorer/small_program.h"
#include "explorer/sync.h"

namespace explorer {
namespace {

struct Node {
  Shared<int> count{0};
  Shared<Node*> next{nullptr};
  Atomic<int> state;
};

struct World {
  World() {
    describe(nodes, sizeof(Node), 3, Name{"node", 10});
    describe(words, 2 * sizeof(words[0]), 2, Name{"frame", 0}, sizeof(words[0]));
  }
  Mutex a{Name{"a"}};
  Mutex b{Name{"b"}};
  CondVar cv{"the condition"};
  Node nodes[3];
  Atomic<uint64_t> words[4];
  Atomic<int> flag;
  Atomic<int> other;
  Shared<int> data{0};
  Node* owned = nullptr;
};

using Small = SmallProgram<World>;
using Body = Small::Body;

Counterexample found(std::vector<Body> bodies, const Options& options = {},
                     const Effort& effort = {}) {
  Small program(std::move(bodies));
  const Result result = search(program, options);
  EXPECT_EQ(result.verdict, Verdict::kViolated);
  return counterexample(program, options, result, effort);
}

// "0: write node 11.count = 3", in the order of the lines.
std::vector<std::string> texts(const Counterexample& example) {
  std::vector<std::string> texts;
  for (const Line& line : example.lines) {
    texts.push_back(std::to_string(line.thread) + ": " + line.what +
                    (line.value.empty() ? "" : " = " + line.value));
  }
  return texts;
}

bool has(const Counterexample& example, const std::string& text) {
  const std::vector<std::string> all = texts(example);
  return std::find(all.begin(), all.end(), text) != all.end();
}

std::vector<std::string> conflicting(const Counterexample& example) {
  std::vector<std::string> marked;
  for (size_t i = 0; i < example.lines.size(); ++i) {
    if (example.lines[i].conflict) marked.push_back(texts(example)[i]);
  }
  return marked;
}

void fails(World& w) { check(w.flag.load() == 0, "flag is 0"); }

// ---- names and values

TEST(Counterexample, AFieldIsNamedAfterItsObjectAndTheWordsOfTheSource) {
  const Counterexample example = found({[](World& w) { w.nodes[1].count.set(3); },
                                        [](World& w) {
                                          Node* const node = &w.nodes[1];
                                          node->count.get();
                                        }});
  EXPECT_TRUE(has(example, "0: write node 11.count = 3")) << to_text(example);
}

TEST(Counterexample, AFieldReachedThroughAReferenceHasTheNameThatOthersUse) {
  const Counterexample example = found({[](World& w) {
                                          Atomic<int>& it = w.nodes[2].state;
                                          it.store(1);
                                          w.nodes[0].state.store(2);
                                          w.flag.store(1);
                                        },
                                        fails});
  EXPECT_TRUE(has(example, "0: store node 12.state = 1")) << to_text(example);
}

TEST(Counterexample, PartsOfAnArrayAreNumbered) {
  const Counterexample example = found({[](World& w) {
                                          w.words[3].store(0x12345);
                                          w.flag.store(1);
                                        },
                                        fails});
  EXPECT_TRUE(has(example, "0: store frame 1[1] = 0x12345")) << to_text(example);
}

TEST(Counterexample, WhatIsNotDescribedIsNamedInTheWordsOfTheSource) {
  const Counterexample example = found({[](World& w) {
                                          w.flag.fetch_add(1);
                                          w.flag.fetch_add(2);
                                        },
                                        fails});
  EXPECT_TRUE(has(example, "0: modify w.flag = 0 -> 1")) << to_text(example);
}

TEST(Counterexample, TwoThingsOfTheSameWordsAreToldApart) {
  const Counterexample example = found({[](World& w) {
                                          for (Atomic<int>* const p : {&w.flag, &w.other}) {
                                            p->store(1);
                                          }
                                          w.nodes[0].count.set(1);
                                        },
                                        [](World& w) { w.nodes[0].count.set(2); }});
  std::string text;
  for (const std::string& line : texts(example)) text += line + "\n";
  EXPECT_NE(text.find("store p = 1"), std::string::npos) << text;
  EXPECT_NE(text.find("store p #2 = 1"), std::string::npos) << text;
}

TEST(Counterexample, APointerIsShownAsTheObjectItPointsTo) {
  const Counterexample example = found({[](World& w) { w.nodes[0].next.set(&w.nodes[2]); },
                                        [](World& w) { w.nodes[0].next.get(); }});
  EXPECT_TRUE(has(example, "0: write node 10.next = node 12")) << to_text(example);
}

TEST(Counterexample, VariablesOfOneThreadAreLeftOut) {
  const Counterexample example = found({[](World& w) {
                                          w.data.set(7);
                                          w.flag.store(1);
                                        },
                                        fails});
  EXPECT_EQ(to_text(example).find("w.data"), std::string::npos);
}

TEST(Counterexample, VariablesThatThreadsShareAreShown) {
  const Counterexample example = found({[](World& w) {
                                          w.a.lock();
                                          w.data.set(7);
                                          w.a.unlock();
                                          w.flag.store(1);
                                        },
                                        [](World& w) {
                                          w.a.lock();
                                          w.data.get();
                                          w.a.unlock();
                                          fails(w);
                                        }});
  EXPECT_TRUE(has(example, "0: write w.data = 7")) << to_text(example);
  EXPECT_TRUE(has(example, "1: read w.data = 7")) << to_text(example);
}

TEST(Counterexample, ALineHasTheLocksHeldAndTheSource) {
  const Counterexample example = found({[](World& w) {
                                          w.a.lock();
                                          w.b.lock();
                                          w.flag.store(1);
                                          w.b.unlock();
                                          w.a.unlock();
                                        },
                                        fails});
  const auto line = std::find_if(example.lines.begin(), example.lines.end(),
                                 [](const Line& l) { return l.what == "store w.flag"; });
  ASSERT_NE(line, example.lines.end()) << to_text(example);
  EXPECT_EQ(line->holds, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(line->source, "w.flag.store(1);");
}

#define TEST_BOTH(a, b) ((a) == 0 || (b) == 0)

TEST(Counterexample, WhatAMacroHidesIsLearntFromOtherPlaces) {
  const Counterexample example = found({[](World& w) {
                                          w.nodes[0].state.store(1);
                                          w.words[0].store(1);
                                          TEST_BOTH(w.words[0].load(), w.nodes[0].state.load());
                                          w.flag.store(1);
                                        },
                                        fails});
  EXPECT_TRUE(has(example, "0: load node 10.state = 1")) << to_text(example);
}

// ---- what conflicts

TEST(Counterexample, TheTwoAccessesOfARaceAreMarked) {
  const Counterexample example =
      found({[](World& w) { w.data.set(1); }, [](World& w) { w.data.get(); }});
  EXPECT_EQ(conflicting(example),
            (std::vector<std::string>{"0: write w.data = 1", "1: read w.data = 1"}));
}

TEST(Counterexample, TheFreeAndTheUseAfterItAreMarked) {
  const Counterexample example = found({[](World& w) {
                                          w.owned = new Node;
                                          w.flag.store(1);
                                          while (w.other.load() == 0) yield();
                                          w.owned->state.store(1);
                                        },
                                        [](World& w) {
                                          while (w.flag.load() == 0) yield();
                                          delete w.owned;
                                          w.other.store(1);
                                        }});
  EXPECT_EQ(conflicting(example),
            (std::vector<std::string>{"1: free memory", "0: use after free"}));
}

TEST(Counterexample, TheAcquisitionsOfADeadlockAreMarked) {
  const Counterexample example = found({[](World& w) {
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
  EXPECT_EQ(conflicting(example),
            (std::vector<std::string>{"0: wants enter b", "1: wants enter a"}));
}

TEST(Counterexample, TheSleeperThatNobodyWakesIsMarked) {
  const Counterexample example = found({[](World& w) {
                                          w.a.lock();
                                          w.cv.wait(w.a);
                                          w.a.unlock();
                                        },
                                        [](World& w) { w.cv.signal(); }});
  EXPECT_EQ(conflicting(example), (std::vector<std::string>{"0: sleeps on the condition"}));
}

TEST(Counterexample, TheCriticalStepIsMarkedTogetherWithWhatItConflictsWith) {
  const Counterexample example = found({[](World& w) { w.flag.store(1); }, fails});
  EXPECT_EQ(conflicting(example),
            (std::vector<std::string>{"0: store w.flag = 1", "1: load w.flag = 1"}));
}

TEST(Counterexample, AStepThatCameTooLateIsShownAsWhatTheCriticalOneConflictsWith) {
  const Counterexample example = found({[](World& w) { w.flag.store(1); },
                                        [](World& w) { check(w.flag.load() == 1, "flag is 1"); }});
  EXPECT_EQ(conflicting(example),
            (std::vector<std::string>{"1: load w.flag = 0", "0: next: store w.flag"}));
}

// ---- the fewest preemptions

// Some steps that matter to nobody, so that a search finds the violation late.
void busy(World& w) {
  for (int i = 0; i < 3; ++i) w.other.fetch_add(1);
}

// Fails if the other thread's addition comes between the load and the store: one preemption.
void loses_an_update(World& w) {
  const int before = w.flag.load();
  busy(w);
  w.flag.store(before + 1);
  check(w.flag.load() == before + 1, "nobody else changed it");
  busy(w);
  check(w.nodes[0].state.fetch_add(1) == 0 || w.flag.load() == 2, "no update is lost");
}

int preemptions_of(const std::string& schedule) {
  int switches = 0;
  char before = 'a';
  for (const char c : schedule) {
    if (c < 'a' || c > 'h') continue;
    if (c != before) ++switches;
    before = c;
  }
  return switches;
}

TEST(Shrink, AScheduleIsReducedToTheFewestPreemptions) {
  Small program({loses_an_update, loses_an_update});
  Options options;
  options.method = Method::kRandom;
  options.seed = 3;
  const Result result = search(program, options);
  ASSERT_EQ(result.verdict, Verdict::kViolated);
  ASSERT_GT(preemptions_of(result.schedule), 3) << "found right away: " << result.schedule;
  const Shrunk shrunk = shrink(program, options.engine, result, {});
  EXPECT_EQ(shrunk.preemptions, 1) << shrunk.schedule;
  EXPECT_TRUE(shrunk.fewest);
  EXPECT_NE(about_preemptions(shrunk).find("1 preemption, the fewest"), std::string::npos);
}

TEST(Shrink, TheReducedScheduleLeadsToTheSameKindOfFinding) {
  Small program({loses_an_update, loses_an_update});
  Options options;
  options.method = Method::kRandom;
  options.seed = 3;
  const Result result = search(program, options);
  Options replay;
  replay.method = Method::kReplay;
  replay.replay = shrink(program, options.engine, result, {}).schedule;
  EXPECT_EQ(search(program, replay).finding.kind, result.finding.kind);
}

TEST(Shrink, AFindingWithoutPreemptionsNeedsNoSearch) {
  Small program({[](World& w) { w.flag.store(1); }, fails});
  const Result result = search(program, {});
  const Shrunk shrunk = shrink(program, {}, result, {});
  EXPECT_EQ(shrunk.preemptions, 0);
  EXPECT_TRUE(shrunk.fewest);
}

TEST(Shrink, WithLittleEffortNothingIsCalledProved) {
  Small program({loses_an_update, loses_an_update});
  const Result result = search(program, {});
  const Shrunk shrunk = shrink(program, {}, result, Effort{20, 3'000'000});
  EXPECT_FALSE(shrunk.fewest);
  EXPECT_NE(about_preemptions(shrunk).find("not proved"), std::string::npos);
}

TEST(Shrink, TheChoicesThatTheFindingNeedsAreKept) {
  Small program({[](World& w) {
                   busy(w);
                   check(choose(3) != 2 || w.flag.load() == 0,
                         "not the third choice after the store");
                 },
                 [](World& w) {
                   busy(w);
                   w.flag.store(1);
                 }});
  const Result result = search(program, {});
  const Shrunk shrunk = shrink(program, {}, result, {});
  EXPECT_EQ(shrunk.preemptions, 0) << shrunk.schedule;
  EXPECT_NE(shrunk.schedule.find("=2"), std::string::npos) << shrunk.schedule;
}

// ---- the critical step

TEST(Shrink, TheCriticalStepIsTheOneAfterWhichAllSchedulesFail) {
  // The flag is set for good by the fourth step of thread 0.
  const Counterexample example = found({[](World& w) {
                                          busy(w);
                                          w.flag.store(1);
                                          busy(w);
                                        },
                                        fails});
  ASSERT_EQ(example.shrunk.critical_is, Shrunk::Critical::kStep);
  const auto line = std::find_if(example.lines.begin(), example.lines.end(),
                                 [](const Line& l) { return l.critical; });
  ASSERT_NE(line, example.lines.end());
  EXPECT_EQ(line->what, "store w.flag");
  EXPECT_EQ(line->step, example.shrunk.critical);
}

TEST(Shrink, WhereEveryScheduleFailsThereIsNoCriticalStep) {
  const Counterexample example =
      found({[](World& w) { check(w.flag.load() == 1, "flag is 1"); }, busy});
  EXPECT_EQ(example.shrunk.critical_is, Shrunk::Critical::kNone);
  EXPECT_NE(to_text(example).find("no schedule succeeds"), std::string::npos);
}

TEST(Shrink, WithLittleEffortTheCriticalStepIsSaidToBeUnknown) {
  const Counterexample example = found({[](World& w) {
                                          w.flag.store(1);
                                          busy(w);
                                        },
                                        [](World& w) {
                                          busy(w);
                                          busy(w);
                                          fails(w);
                                        }},
                                       {}, Effort{3'000'000, 1});
  EXPECT_EQ(example.shrunk.critical_is, Shrunk::Critical::kUnknown);
  EXPECT_NE(to_text(example).find("not determined"), std::string::npos);
}

// ---- the page

TEST(Html, ThePageHasARowPerLineAndNothingFromElsewhere) {
  const Counterexample example = found({[](World& w) { w.flag.store(1); }, fails});
  const std::string page = to_html(example, "run --replay=<&>");
  size_t rows = 0;
  for (size_t at = 0; (at = page.find("<tr class=\"line", at)) != std::string::npos; ++at) ++rows;
  EXPECT_EQ(rows, example.lines.size());
  const std::string markup = page.substr(0, page.find("application/json"));
  for (const char* const reference : {"http:", "https:", "src=", "href=", "url(", "@import"}) {
    EXPECT_EQ(markup.find(reference), std::string::npos) << reference;
  }
  EXPECT_NE(markup.find("default-src 'none'"), std::string::npos);
  EXPECT_NE(page.find("run --replay=&lt;&amp;&gt;"), std::string::npos);
}

}  // namespace
}  // namespace explorer
