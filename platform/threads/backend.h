// The name of this backend's inline namespace and the facts about this build.
//
// A target compiled for another backend lives in another namespace, so a mix does not link.
// Included before anything else of the backend.
#ifndef HATCHECK_PLATFORM_THREADS_BACKEND_H_
#define HATCHECK_PLATFORM_THREADS_BACKEND_H_

#ifdef HATCHECK_OBSERVE
#define HATCHECK_BACKEND on_observed
#elif defined(HATCHECK_NO_ASSERT)
#define HATCHECK_BACKEND on_unchecked
#else
#define HATCHECK_BACKEND on_threads
#endif

// The sanitizer in use; g++ and clang say so differently.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HATCHECK_WITH_TSAN 1
#elif __has_feature(address_sanitizer)
#define HATCHECK_WITH_ASAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define HATCHECK_WITH_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define HATCHECK_WITH_ASAN 1
#endif

namespace hatcheck::inline HATCHECK_BACKEND {

#ifdef HATCHECK_OBSERVE
inline constexpr bool kObserved = true;
#else
inline constexpr bool kObserved = false;
#endif

#ifdef HATCHECK_WITH_TSAN
inline constexpr bool kTsan = true;
#else
inline constexpr bool kTsan = false;
#endif

#ifdef HATCHECK_WITH_ASAN
inline constexpr bool kAsan = true;
#else
inline constexpr bool kAsan = false;
#endif

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_PLATFORM_THREADS_BACKEND_H_
