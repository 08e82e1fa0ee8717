// SmallProgram: a body per thread, all on one World that the set-up makes. For tests.
#ifndef HATCHECK_EXPLORER_SMALL_PROGRAM_H_
#define HATCHECK_EXPLORER_SMALL_PROGRAM_H_

#include <utility>
#include <vector>

#include "explorer/engine.h"

namespace explorer {

template <class World>
class SmallProgram : public Program {
 public:
  using Body = void (*)(World&);

  explicit SmallProgram(std::vector<Body> bodies, const char* name = "small")
      : bodies_(std::move(bodies)), name_(name) {}
  const char* name() const override { return name_; }
  int threads() const override { return static_cast<int>(bodies_.size()); }
  void set_up() override { world_ = new World; }
  void thread(int index) override { bodies_[static_cast<size_t>(index)](*world_); }
  void finish() override { delete world_; }

 private:
  const std::vector<Body> bodies_;
  const char* const name_;
  World* world_ = nullptr;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_SMALL_PROGRAM_H_
