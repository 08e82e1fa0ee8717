// The relacy backend: the types of the seam on Relacy's simulated threads and memory.
//
// How it works is in platform/relacy/README.md.
#ifndef HATCHECK_PLATFORM_RELACY_SYNC_H_
#define HATCHECK_PLATFORM_RELACY_SYNC_H_

#include "platform/relacy/backend.h"
// backend.h names the namespace that the rest opens.
#include "platform/check.h"
#include "platform/lock_class.h"
#include "platform/relacy/atomic.h"
#include "platform/relacy/condvar.h"
#include "platform/relacy/guarded.h"
#include "platform/relacy/mutex.h"
#include "platform/relacy/nondeterminism.h"
#include "platform/relacy/object_cache.h"
#include "platform/relacy/run.h"
#include "platform/relacy/rwlock.h"
#include "platform/verdict.h"
#include "platform/where.h"

#endif  // HATCHECK_PLATFORM_RELACY_SYNC_H_
