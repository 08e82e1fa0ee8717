// The explorer backend: the types of the seam on the engine in explorer/.
#ifndef HATCHECK_PLATFORM_EXPLORER_SYNC_H_
#define HATCHECK_PLATFORM_EXPLORER_SYNC_H_

#include "platform/explorer/backend.h"
// backend.h names the namespace that the rest opens.
#include "platform/check.h"
#include "platform/explorer/atomic.h"
#include "platform/explorer/condvar.h"
#include "platform/explorer/guarded.h"
#include "platform/explorer/mutex.h"
#include "platform/explorer/nondeterminism.h"
#include "platform/explorer/object_cache.h"
#include "platform/explorer/run.h"
#include "platform/explorer/rwlock.h"
#include "platform/lock_class.h"
#include "platform/verdict.h"
#include "platform/where.h"

#endif  // HATCHECK_PLATFORM_EXPLORER_SYNC_H_
