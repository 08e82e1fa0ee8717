// Fiber: a stack and a place to go on from. The only file that knows how stacks switch
// (Boost.Context underneath).
//
// Stacks have guard pages and are made once; start() begins anew on a stack whose previous run is
// simply forgotten: nothing on it is destroyed, its memory belongs to an arena that is reset.
//
// Thread safety: one real thread uses all fibers.
#ifndef HATCHECK_EXPLORER_FIBER_H_
#define HATCHECK_EXPLORER_FIBER_H_

#include <boost/context/detail/fcontext.hpp>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace explorer {

class Fiber {
 public:
  static constexpr size_t kStackBytes = size_t{256} << 10;

  // The context of whoever made it; has no stack of its own.
  Fiber() = default;
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Gives it a stack, at this address (0: anywhere).
  void make_stack(uintptr_t address);

  // The next switch to it calls entry(), which must not return.
  template <void (*entry)()>
  void start() {
    context_ = boost::context::detail::make_fcontext(reinterpret_cast<void*>(top()), kStackBytes,
                                                     &Fiber::first<entry>);
  }

  // Zeroes so many bytes at the top of a stack that nobody runs on.
  void clear(size_t bytes) {
    if (bytes > kStackBytes) bytes = kStackBytes;
    std::memset(reinterpret_cast<void*>(top() - bytes), 0, bytes);
  }

  // Goes on in `to`; returns when somebody switches back to `from`.
  static void switch_to(Fiber& from, Fiber& to) {
    const auto back = boost::context::detail::jump_fcontext(to.context_, &from.context_);
    *static_cast<boost::context::detail::fcontext_t*>(back.data) = back.fctx;
  }

  // Whether the address is in the guard page below the stack.
  bool in_guard(uintptr_t address) const { return guard_ != 0 && address - guard_ < kGuardBytes; }
  // The end of the stack: its highest address.
  uintptr_t top() const { return guard_ + kGuardBytes + kStackBytes; }

 private:
  static constexpr size_t kGuardBytes = 4096 * 4;

  template <void (*entry)()>
  static void first(boost::context::detail::transfer_t from) {
    *static_cast<boost::context::detail::fcontext_t*>(from.data) = from.fctx;
    entry();
    std::abort();
  }

  boost::context::detail::fcontext_t context_ = nullptr;
  uintptr_t guard_ = 0;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_FIBER_H_
