#ifndef HATCHECK_BUILD_SELFTEST_FAKE_PLATFORM_H_
#define HATCHECK_BUILD_SELFTEST_FAKE_PLATFORM_H_

// Stands for platform/platform.h: picks a backend by the define that the build hands down.

#if HATCHECK_ON_EXPLORER
#define HATCHECK_SELFTEST_NAMESPACE on_explorer
#define HATCHECK_SELFTEST_BACKEND "explorer"
#elif HATCHECK_ON_RELACY
#define HATCHECK_SELFTEST_NAMESPACE on_relacy
#define HATCHECK_SELFTEST_BACKEND "relacy"
#elif !HATCHECK_ON_THREADS
#error "no backend is selected"
#elif HATCHECK_OBSERVE
#define HATCHECK_SELFTEST_NAMESPACE on_observed
#define HATCHECK_SELFTEST_BACKEND "observed"
#else
#define HATCHECK_SELFTEST_NAMESPACE on_threads
#define HATCHECK_SELFTEST_BACKEND "threads"
#endif

#endif  // HATCHECK_BUILD_SELFTEST_FAKE_PLATFORM_H_
