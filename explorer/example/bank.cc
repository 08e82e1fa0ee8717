// An example outside of any kernel: two accounts, and transfers in both directions. transfer()
// takes the two locks in the order of its arguments, which deadlocks.
//
//   bazel run //explorer/example:bank            the bug, with a schedule that shows it
//   bazel run //explorer/example:bank -- fixed   locks in a fixed order: exhausted
//   bazel run //explorer/example:bank -- html    the bug as a page, on standard output
#include <cstdio>
#include <cstring>
#include <utility>

#include "explorer/counterexample.h"
#include "explorer/html.h"
#include "explorer/report.h"
#include "explorer/search.h"
#include "explorer/sync.h"

namespace {

struct Account {
  explicit Account(uint32_t number) : lock(explorer::Name{"account", number}) {
    explorer::describe(this, sizeof(*this), 1, explorer::Name{"account", number});
  }
  explorer::Mutex lock;
  explorer::Shared<int> balance{100};
};

class Transfers : public explorer::Program {
 public:
  explicit Transfers(bool fixed) : fixed_(fixed) {}

  const char* name() const override { return "transfers"; }
  int threads() const override { return 2; }

  void set_up() override {
    first_ = new Account(1);
    second_ = new Account(2);
  }

  void thread(int index) override {
    if (index == 0) {
      transfer(*first_, *second_, 10);
    } else {
      transfer(*second_, *first_, 25);
    }
  }

  void finish() override {
    explorer::check(first_->balance.get() + second_->balance.get() == 200, "no money is lost");
    delete first_;
    delete second_;
  }

 private:
  void transfer(Account& from, Account& to, int amount) {
    explorer::Mutex* outer = &from.lock;
    explorer::Mutex* inner = &to.lock;
    if (fixed_ && outer->name().number > inner->name().number) std::swap(outer, inner);
    outer->lock();
    inner->lock();
    from.balance.set(from.balance.get() - amount);
    to.balance.set(to.balance.get() + amount);
    inner->unlock();
    outer->unlock();
  }

  const bool fixed_;
  Account* first_ = nullptr;
  Account* second_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  const auto asks_for = [&](const char* word) {
    return argc > 1 && std::strcmp(argv[1], word) == 0;
  };
  Transfers program(asks_for("fixed"));
  const explorer::Options options;
  const explorer::Result result = explorer::search(program, options);
  if (result.verdict != explorer::Verdict::kViolated) {
    std::printf("%s: %llu executions\n", explorer::verdict_line(result).c_str(),
                static_cast<unsigned long long>(result.executions));
    return 0;
  }
  const explorer::Counterexample shown =
      explorer::counterexample(program, options, result, explorer::Effort{});
  if (asks_for("html")) {
    std::fputs(explorer::to_html(shown, "").c_str(), stdout);
    return 1;
  }
  std::printf("%s: %llu executions\n%s\nschedule: %s\n", explorer::verdict_line(result).c_str(),
              static_cast<unsigned long long>(result.executions), explorer::to_text(shown).c_str(),
              shown.shrunk.schedule.c_str());
  return 1;
}
