// What every backend must provide, as concepts, and the check that the selected one does.
//
// The meaning of each operation is in the header of the threads backend (platform/threads/) and on
// one page in platform/README.md; the conformance suite tests it. Included by platform.h, so each
// build of each backend is checked.
#ifndef HATCHECK_PLATFORM_CONTRACT_H_
#define HATCHECK_PLATFORM_CONTRACT_H_

#ifndef HATCHECK_BACKEND
#error "include platform/platform.h, which selects the backend"
#endif

#include <atomic>
#include <concepts>
#include <cstdint>
#include <string>
#include <type_traits>

namespace hatcheck::inline HATCHECK_BACKEND::contract {

template <class T>
concept IsPlace = !std::copy_constructible<T> && !std::is_copy_assignable_v<T>;

template <class M>
concept IsMutex = IsPlace<M> && std::constructible_from<M, const LockClass&> &&
    std::constructible_from<M, const LockClass&, uint32_t> && requires(M m, const M c, Where w) {
  m.enter();
  m.enter(w);
  { m.tryenter() } -> std::same_as<bool>;
  { m.tryenter(w) } -> std::same_as<bool>;
  m.exit();
  m.exit(w);
  { c.held() } -> std::same_as<bool>;
  c.assert_held();
};

template <class L>
concept IsRwLock = IsPlace<L> && std::constructible_from<L, const LockClass&> &&
    std::constructible_from<L, const LockClass&, uint32_t> && requires(L l, const L c, Where w) {
  l.enter(RwMode::kReader);
  l.enter(RwMode::kWriter, w);
  { l.tryenter(RwMode::kReader) } -> std::same_as<bool>;
  { l.tryupgrade() } -> std::same_as<bool>;
  l.downgrade();
  l.exit();
  { c.read_held() } -> std::same_as<bool>;
  { c.write_held() } -> std::same_as<bool>;
  c.assert_read_held();
  c.assert_write_held();
};

template <class G, class Lock>
concept IsGuard =
    IsPlace<G> && std::constructible_from<G, Lock&> && std::constructible_from<G, Lock&, Where>;

template <class C, class M>
concept IsCondVar = IsPlace<C> && std::default_initializable<C> &&
    std::constructible_from<C, const char*> && requires(C c, M m, Where w) {
  c.wait(m);
  c.wait(m, w);
  c.signal();
  c.broadcast();
};

template <class A, class T>
concept IsAtomic = IsPlace<A> && std::constructible_from<A, T> && std::default_initializable<A> &&
    requires(A a, const A c, T v, T& e, std::memory_order o, Where w) {
  { c.load(o) } -> std::same_as<T>;
  { c.load(o, w) } -> std::same_as<T>;
  a.store(v, o);
  { a.exchange(v, o) } -> std::same_as<T>;
  { a.compare_exchange_strong(e, v, o, o) } -> std::same_as<bool>;
};

template <class A, class T>
concept IsIntegralAtomic = IsAtomic<A, T> && requires(A a, T v, std::memory_order o) {
  { a.fetch_add(v, o) } -> std::same_as<T>;
  { a.fetch_sub(v, o) } -> std::same_as<T>;
  { a.fetch_and(v, o) } -> std::same_as<T>;
  { a.fetch_or(v, o) } -> std::same_as<T>;
  { a.fetch_xor(v, o) } -> std::same_as<T>;
};

template <class G, class T>
concept IsGuarded = IsPlace<G> && std::default_initializable<G> && std::constructible_from<G, T> &&
    requires(G g, const G c, T v, Where w) {
  { c() } -> std::same_as<T>;
  { c(w) } -> std::same_as<T>;
  { g = v } -> std::same_as<G&>;
  { g = At<T>(v, w) } -> std::same_as<G&>;
};

template <class C, class T>
concept IsObjectCache = IsPlace<C> && std::constructible_from<C, const char*> &&
    std::constructible_from<C, const char*, AllocFaults*> &&
    requires(C c, const C k, T* t, Where w) {
  { c.alloc(KmFlag::kSleep) } -> std::same_as<T*>;
  { c.alloc(KmFlag::kNoSleep, w) } -> std::same_as<T*>;
  c.free(t);
  c.free(t, w);
  { k.outstanding() } -> std::same_as<int64_t>;
};

struct Sample {
  int value = 0;
};
enum class SampleEnum : uint8_t { kA };

static_assert(IsMutex<Mutex>);
static_assert(IsRwLock<RwLock>);
static_assert(IsGuard<MutexGuard, Mutex>);
static_assert(IsGuard<ReaderGuard, RwLock> && IsGuard<WriterGuard, RwLock>);
static_assert(IsCondVar<CondVar, Mutex>);
static_assert(IsIntegralAtomic<Atomic<uint64_t>, uint64_t> && IsIntegralAtomic<Atomic<int>, int>);
static_assert(IsAtomic<Atomic<Sample*>, Sample*> && IsAtomic<Atomic<SampleEnum>, SampleEnum>);
static_assert(IsAtomic<Atomic<bool>, bool>);
static_assert(IsGuarded<Guarded<int>, int> && IsGuarded<Guarded<Sample*>, Sample*>);
static_assert(IsObjectCache<ObjectCache<Sample>, Sample>);
static_assert(requires(const Sample* s) {
  name_objects(s, 1, "sample");
  name_objects(s, 1, "sample", 3);
  name_arrays(s, 1, 2, "samples");
});
static_assert(requires(AllocFaults f, std::memory_order o) { f.per_million.store(1u, o); });

static_assert(std::same_as<decltype(this_cpu()), CpuId>);
static_assert(std::constructible_from<CpuBinding, CpuId> && IsPlace<CpuBinding>);
static_assert(std::constructible_from<CpuBinding, CpuId, uint64_t>);
static_assert(std::same_as<decltype(choose(1)), uint32_t>);
static_assert(std::same_as<decltype(chance(1)), bool>);
static_assert(requires {
  delay();
  delay(1);
  yield();
});
static_assert(requires(std::string s, FailureHandler h) {
  panic(s);
  fail(Kind::kPanic, s);
  set_failure_handler(h);
});
static_assert(std::same_as<decltype(engine_finds(Kind::kLeak)), bool>);

}  // namespace hatcheck::inline HATCHECK_BACKEND::contract

#endif  // HATCHECK_PLATFORM_CONTRACT_H_
