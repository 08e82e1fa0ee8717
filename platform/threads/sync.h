// The threads backend: the types of the seam on real threads.
//
// std::mutex and std::condition_variable are underneath, because ThreadSanitizer understands
// them. With HATCHECK_OBSERVE every lock also keeps statistics and says who waits for what
// (platform/observe.h); without it none of that is compiled.
#ifndef HATCHECK_PLATFORM_THREADS_SYNC_H_
#define HATCHECK_PLATFORM_THREADS_SYNC_H_

#include "platform/threads/backend.h"
// backend.h names the namespace that the rest opens.
#include "platform/check.h"
#include "platform/lock_class.h"
#include "platform/threads/atomic.h"
#include "platform/threads/condvar.h"
#include "platform/threads/cpu.h"
#include "platform/threads/guarded.h"
#include "platform/threads/mutex.h"
#include "platform/threads/nondeterminism.h"
#include "platform/threads/object_cache.h"
#include "platform/threads/run.h"
#include "platform/threads/rwlock.h"
#include "platform/verdict.h"
#include "platform/where.h"

#endif  // HATCHECK_PLATFORM_THREADS_SYNC_H_
