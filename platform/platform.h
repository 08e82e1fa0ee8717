// The one import point of the seam: selects exactly one backend. See platform/README.md.
#ifndef HATCHECK_PLATFORM_PLATFORM_H_
#define HATCHECK_PLATFORM_PLATFORM_H_

#if defined(HATCHECK_ON_THREADS) + defined(HATCHECK_ON_RELACY) + defined(HATCHECK_ON_EXPLORER) != 1
#error "define exactly one of HATCHECK_ON_THREADS, HATCHECK_ON_RELACY, HATCHECK_ON_EXPLORER"
#elif defined(HATCHECK_ON_THREADS)
#include "platform/threads/sync.h"
#elif defined(HATCHECK_ON_RELACY)
#include "platform/relacy/sync.h"
#else
#include "platform/explorer/sync.h"
#endif

#include "platform/contract.h"

#endif  // HATCHECK_PLATFORM_PLATFORM_H_
