// The one file that includes Relacy. See platform/relacy/README.md for what is taken from it.
//
// Relacy's own umbrella header ends by defining macros named new, delete, malloc, free, assert,
// errno and memory_order_*; its parts do without, so they are included one by one. `$` and the
// other macros that are left are taken back below.
#ifndef HATCHECK_PLATFORM_RELACY_RELACY_HEADER_H_
#define HATCHECK_PLATFORM_RELACY_RELACY_HEADER_H_

#include <cstddef>

// Relacy allocates the stacks of its fibers with malloc, 64 KiB each, and never frees them. This
// returns the top 64 KiB of a larger stack of ours.
extern "C" void* hatcheck_relacy_stack(std::size_t size);

// With one thread g++ sees an index of 1 in code of Relacy's that one thread never reaches.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Warray-bounds"

// The system headers that the parts need come first, with malloc as it is.
#include <relacy/pch.hpp>

#define malloc hatcheck_relacy_stack
#include <relacy/platform.hpp>
#undef malloc

#include <relacy/base.hpp>
#include <relacy/context.hpp>
// context.hpp before its implementation.
#include <relacy/context_base_impl.hpp>
// These need the context.
#include <relacy/atomic.hpp>
#include <relacy/stdlib/condition_variable.hpp>
#include <relacy/stdlib/event.hpp>
#include <relacy/stdlib/mutex.hpp>
#include <relacy/stdlib/semaphore.hpp>
#include <relacy/test_suite.hpp>
#include <relacy/var.hpp>

#pragma GCC diagnostic pop

#undef $
#undef RL_ASSERT
#undef RL_LOG
#undef RL_UNTIL
#undef RL_INLINE
#undef RL_NOINLINE
#undef RL_NOCOPY
#undef RL_TEST
#undef RL_RESTRICT
#undef RL_NEW_PROXY
#undef RL_DELETE_PROXY

#endif  // HATCHECK_PLATFORM_RELACY_RELACY_HEADER_H_
