// ObjectCache and AllocFaults.
#ifndef HATCHECK_PLATFORM_CONFORMANCE_OBJECT_CACHE_H_
#define HATCHECK_PLATFORM_CONFORMANCE_OBJECT_CACHE_H_

#include "platform/conformance/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND::conformance {

struct Sample {
  Sample() { value = 7; }

  Guarded<int> value;
  Guarded<int> more{8};
};

class AllocConstructs : public ConformanceScenario<1> {
 public:
  static constexpr const char* kName = "object_cache/alloc_constructs";
  static constexpr const char* kClaim = "each object is constructed anew, in reused memory too";

  void thread(int) {
    for (int i = 0; i < 2; ++i) {
      Sample* a = cache_.alloc(KmFlag::kSleep);
      Sample* b = cache_.alloc(KmFlag::kNoSleep);
      HAT_ASSERT(a != b && cache_.outstanding() == 2);
      HAT_ASSERT(a->value() == 7 && a->more() == 8 && b->value() == 7);
      a->value = 1;
      b->value = 2;
      cache_.free(a);
      HAT_ASSERT(cache_.outstanding() == 1);
      cache_.free(b);
      HAT_ASSERT(cache_.outstanding() == 0);
    }
  }

 private:
  ObjectCache<Sample> cache_{"sample"};
};

class FreeDestroys : public ViolatedScenario<1, Kind::kDestroyWhileHeld> {
 public:
  static constexpr const char* kName = "object_cache/free_destroys";
  static constexpr const char* kClaim = "free runs the destructor: a mutex held inside is noticed";
  static constexpr const char* kSays = "outer[0]";

  void thread(int) ABSL_NO_THREAD_SAFETY_ANALYSIS {
    Locked* locked = cache_.alloc(KmFlag::kSleep);
    locked->mutex.enter();
    cache_.free(locked);
  }

 private:
  struct Locked {
    Mutex mutex{kOuter};
  };
  ObjectCache<Locked> cache_{"locked"};
};

class ObjectsAreAligned : public ConformanceScenario<1> {
 public:
  static constexpr const char* kName = "object_cache/objects_are_aligned";
  static constexpr const char* kClaim = "an object has the alignment of its type";

  void thread(int) {
    Line* lines[3];
    for (Line*& line : lines) {
      line = cache_.alloc(KmFlag::kSleep);
      HAT_ASSERT(reinterpret_cast<uintptr_t>(line) % alignof(Line) == 0);
    }
    for (Line* line : lines) cache_.free(line);
  }

 private:
  struct alignas(64) Line {
    char bytes[64] = {};
  };
  ObjectCache<Line> cache_{"line"};
};

class FaultsFailNoSleepOnly : public ConformanceScenario<1> {
 public:
  static constexpr const char* kName = "object_cache/the_failure_plan_is_for_no_sleep_only";
  static constexpr const char* kClaim =
      "a plan of always fails every kNoSleep allocation and no kSleep one; a plan of never none";

  void thread(int) {
    faults_.per_million.store(1'000'000, std::memory_order_relaxed);
    HAT_ASSERT(cache_.alloc(KmFlag::kNoSleep) == nullptr);
    Sample* sample = cache_.alloc(KmFlag::kSleep);
    HAT_ASSERT(sample != nullptr);
    cache_.free(sample);
    faults_.per_million.store(0, std::memory_order_relaxed);
    sample = cache_.alloc(KmFlag::kNoSleep);
    HAT_ASSERT(sample != nullptr);
    cache_.free(sample);
  }

 private:
  AllocFaults faults_;
  ObjectCache<Sample> cache_{"sample", &faults_};
};

class ThreadsGetDifferentObjects : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "object_cache/no_object_is_given_out_twice";
  static constexpr const char* kClaim =
      "what one thread writes to its object no other thread sees in its own";

  void thread(int index) {
    Sample* mine = cache_.alloc(KmFlag::kSleep);
    mine->value = index;
    Sample* other = cache_.alloc(KmFlag::kSleep);
    other->value = index + 10;
    HAT_ASSERT(mine->value() == index);
    cache_.free(mine);
    HAT_ASSERT(other->value() == index + 10);
    cache_.free(other);
  }
  void after() { HAT_ASSERT(cache_.outstanding() == 0); }

 private:
  ObjectCache<Sample> cache_{"sample"};
};

class AnotherThreadFrees : public ConformanceScenario<2> {
 public:
  static constexpr const char* kName = "object_cache/an_object_may_be_freed_by_another_thread";
  static constexpr const char* kClaim = "one thread allocates, publishes, and another frees";

  void thread(int index) {
    if (index == 0) {
      Sample* sample = cache_.alloc(KmFlag::kSleep);
      sample->value = 1;
      handed_.store(sample, std::memory_order_release);
    } else {
      Sample* sample = nullptr;
      while ((sample = handed_.load(std::memory_order_acquire)) == nullptr) yield();
      HAT_ASSERT(sample->value() == 1);
      cache_.free(sample);
    }
  }
  void after() { HAT_ASSERT(cache_.outstanding() == 0); }

 private:
  ObjectCache<Sample> cache_{"sample"};
  Atomic<Sample*> handed_;
};

class WriteAfterFree : public ViolatedScenario<1, Kind::kUseAfterFree> {
 public:
  static constexpr const char* kName = "object_cache/a_write_after_free_is_reported";
  static constexpr const char* kClaim = "a write to a freed object is a use after free";

  void thread(int) {
    Sample* sample = cache_.alloc(KmFlag::kSleep);
    cache_.free(sample);
    sample->value = 1;
    cache_.free(cache_.alloc(KmFlag::kSleep));
  }

 private:
  ObjectCache<Sample> cache_{"sample"};
};

class DoubleFree : public ViolatedScenario<1, Kind::kDoubleFree> {
 public:
  static constexpr const char* kName = "object_cache/a_double_free_is_reported";
  static constexpr const char* kClaim = "freeing an object twice is a double free";

  void thread(int) {
    Sample* sample = cache_.alloc(KmFlag::kSleep);
    cache_.free(sample);
    cache_.free(sample);
  }

 private:
  ObjectCache<Sample> cache_{"sample"};
};

class FreeToAnotherCache : public ViolatedScenario<1, Kind::kDoubleFree> {
 public:
  static constexpr const char* kName = "object_cache/a_free_to_another_cache_is_reported";
  static constexpr const char* kClaim = "an object can only be freed to its own cache";

  void thread(int) {
    Sample* sample = one_.alloc(KmFlag::kSleep);
    other_.free(sample);
  }

 private:
  ObjectCache<Sample> one_{"one"};
  ObjectCache<Sample> other_{"other"};
};

class Leak : public ViolatedScenario<1, Kind::kLeak> {
 public:
  static constexpr const char* kName = "object_cache/an_object_left_at_the_end_is_a_leak";
  static constexpr const char* kClaim = "an object that is never freed is a leak of its cache";
  static constexpr const char* kSays = "sample";

  void thread(int) { leaked_ = cache_.alloc(KmFlag::kSleep); }

 private:
  ObjectCache<Sample> cache_{"sample"};
  Guarded<Sample*> leaked_;
};

using ObjectCacheScenarios =
    ScenarioList<AllocConstructs, FreeDestroys, ObjectsAreAligned, FaultsFailNoSleepOnly,
                 ThreadsGetDifferentObjects, AnotherThreadFrees, WriteAfterFree, DoubleFree,
                 FreeToAnotherCache, Leak>;

}  // namespace hatcheck::inline HATCHECK_BACKEND::conformance

#endif  // HATCHECK_PLATFORM_CONFORMANCE_OBJECT_CACHE_H_
