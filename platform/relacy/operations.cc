// Fields, atomics, objects, choices: what the engine does with each operation.
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "platform/relacy/engine.h"
#include "platform/relacy/sync.h"

namespace hatcheck::inline HATCHECK_BACKEND {

namespace model {

namespace {

const char* name_of(std::memory_order order) {
  switch (order) {
    case std::memory_order_relaxed:
      return "relaxed";
    case std::memory_order_consume:
      return "consume";
    case std::memory_order_acquire:
      return "acquire";
    case std::memory_order_release:
      return "release";
    case std::memory_order_acq_rel:
      return "acq_rel";
    case std::memory_order_seq_cst:
      return "seq_cst";
  }
  return "?";
}

const char* name_of(Rmw op) {
  switch (op) {
    case Rmw::kExchange:
      return "exchange";
    case Rmw::kAdd:
      return "fetch_add";
    case Rmw::kSub:
      return "fetch_sub";
    case Rmw::kAnd:
      return "fetch_and";
    case Rmw::kOr:
      return "fetch_or";
    case Rmw::kXor:
      return "fetch_xor";
  }
  return "?";
}

uint64_t read_word(const void* word, size_t size) {
  uint64_t value = 0;
  std::memcpy(&value, word, size);
  return value;
}
void write_word(void* word, size_t size, uint64_t value) { std::memcpy(word, &value, size); }

uint64_t applied(Rmw op, uint64_t old, uint64_t operand, size_t size) {
  uint64_t value = operand;
  switch (op) {
    case Rmw::kExchange:
      break;
    case Rmw::kAdd:
      value = old + operand;
      break;
    case Rmw::kSub:
      value = old - operand;
      break;
    case Rmw::kAnd:
      value = old & operand;
      break;
    case Rmw::kOr:
      value = old | operand;
      break;
    case Rmw::kXor:
      value = old ^ operand;
      break;
  }
  return size == sizeof(uint64_t) ? value : value & ((uint64_t{1} << (8 * size)) - 1);
}

void race(Engine& engine, const void* field, bool write, const char* did, size_t by,
          const Where& there, const Where& here) {
  engine.violated(Kind::kDataRace,
                  absl::StrCat("cpu ", hot.thread, write ? " writes " : " reads ",
                               arena().describe(field), ", which cpu ", by, " ", did, " at ",
                               to_string(there), "; nothing orders the two"),
                  here);
}

// The common beginning of the operations on atomics: returns when the thread may do it.
Cell& atomic_point(Engine& engine, const void* word, size_t size, bool write, const Where& where) {
  const char* const what = write ? "write of" : "read of";
  Cell& cell = engine.cell(word, what, where);
  engine.use(cell, write, where);
  if (engine.is_point(cell)) {
    if (cell.atomic == nullptr) engine.make_atomic(cell, read_word(word, size));
    engine.point(Wait::kNo, Step{.object = word, .write = write}, nullptr, nullptr, where);
    engine.check_alive(word, what, where);
  }
  engine.operation(where);
  return cell;
}

void new_value(Cell& cell, void* word, size_t size, uint64_t value, uint32_t slot) {
  write_word(word, size, value);
  if (cell.atomic == nullptr) return;
  cell.values[slot] = value;
  cell.newest = slot;
}

}  // namespace

// --- Guarded -------------------------------------------------------------------------------------

void guarded_read(const void* field, const Where& where) {
  Engine& engine = *model::engine();
  if (!modelled()) return engine.check_alive(field, "read of", where);
  Cell& cell = engine.cell(field, "read of", where);
  engine.first_use(cell, where);
  if (engine.tracing()) engine.record("read " + arena().describe(field), where, field);
  uint64_t* const mine = clock();
  if (cell.writer >= 0 && mine[cell.writer] < cell.written_at) {
    race(engine, field, false, "wrote", static_cast<size_t>(cell.writer), cell.written, where);
  }
  ++mine[engine.my_index()];
  engine.did(cell, false, where);
}

void guarded_write(void* field, const Where& where) {
  Engine& engine = *model::engine();
  if (!modelled()) return engine.check_alive(field, "write of", where);
  Cell& cell = engine.cell(field, "write of", where);
  engine.first_use(cell, where);
  if (engine.tracing()) engine.record("write " + arena().describe(field), where, field);
  uint64_t* const mine = clock();
  for (size_t i = 0; i < kMaxThreads; ++i) {
    if (cell.used_at[i] == 0 || mine[i] >= cell.used_at[i]) continue;
    const bool wrote = cell.writer == static_cast<int>(i) && mine[i] < cell.written_at;
    race(engine, field, true, wrote ? "wrote" : "read", i, wrote ? cell.written : cell.used[i],
         where);
  }
  const size_t me = engine.my_index();
  cell.writer = static_cast<int>(me);
  cell.written_at = ++mine[me];
  cell.written = where;
  engine.did(cell, true, where);
}

// --- Atomic --------------------------------------------------------------------------------------

uint64_t atomic_load(const void* word, size_t size, std::memory_order order, const Where& where) {
  Engine& engine = *model::engine();
  if (!modelled()) {
    engine.check_alive(word, "read of", where);
    return read_word(word, size);
  }
  Cell& cell = atomic_point(engine, word, size, false, where);
  uint64_t value = read_word(word, size);
  bool old = false;
  if (cell.atomic != nullptr) {
    const uint32_t slot = load_slot(cell.atomic, order);
    old = slot != cell.newest;
    value = cell.values[slot];
    if (old) engine.me().read_old_value = true;
  }
  engine.did(cell, false, where);
  if (engine.tracing() && engine.is_point(cell)) {
    engine.record(absl::StrCat("load ", name_of(order), " ", arena().describe(word), " = 0x",
                               absl::Hex(value), old ? " (old)" : ""),
                  where);
  }
  return value;
}

void atomic_store(void* word, size_t size, uint64_t value, std::memory_order order,
                  const Where& where) {
  Engine& engine = *model::engine();
  if (!modelled()) {
    engine.check_alive(word, "write of", where);
    return write_word(word, size, value);
  }
  Cell& cell = atomic_point(engine, word, size, true, where);
  const uint32_t slot = cell.atomic != nullptr ? store_slot(cell.atomic, order) : 0;
  new_value(cell, word, size, value, slot);
  engine.did(cell, true, where);
  if (engine.tracing() && engine.is_point(cell)) {
    engine.record(absl::StrCat("store ", name_of(order), " ", arena().describe(word), " = 0x",
                               absl::Hex(value)),
                  where);
  }
}

uint64_t atomic_rmw(void* word, size_t size, Rmw op, uint64_t operand, std::memory_order order,
                    const Where& where) {
  if (!active()) {
    const uint64_t before = read_word(word, size);
    write_word(word, size, applied(op, before, operand, size));
    return before;
  }
  Engine& engine = *model::engine();
  if (!modelled()) {
    engine.check_alive(word, "write of", where);
    const uint64_t before = read_word(word, size);
    write_word(word, size, applied(op, before, operand, size));
    return before;
  }
  Cell& cell = atomic_point(engine, word, size, true, where);
  const uint64_t before = read_word(word, size);
  const uint64_t value = applied(op, before, operand, size);
  const uint32_t slot = cell.atomic != nullptr ? rmw_slot(cell.atomic, order) : 0;
  new_value(cell, word, size, value, slot);
  engine.did(cell, true, where);
  if (engine.tracing() && engine.is_point(cell)) {
    engine.record(absl::StrCat(name_of(op), " ", name_of(order), " ", arena().describe(word),
                               ": 0x", absl::Hex(before), " -> 0x", absl::Hex(value)),
                  where);
  }
  return before;
}

bool atomic_cas(void* word, size_t size, uint64_t& expected, uint64_t desired,
                std::memory_order success, std::memory_order failure, const Where& where) {
  Cell* cell = nullptr;
  Engine* const engine = model::engine();
  if (modelled()) {
    cell = &atomic_point(*engine, word, size, true, where);
  } else if (active()) {
    engine->check_alive(word, "write of", where);
  }
  const uint64_t found = read_word(word, size);
  const bool done = found == expected;
  if (cell == nullptr) {
    if (done) write_word(word, size, desired);
  } else {
    if (done) {
      const uint32_t slot = cell->atomic != nullptr ? rmw_slot(cell->atomic, success) : 0;
      new_value(*cell, word, size, desired, slot);
    } else if (cell->atomic != nullptr) {
      load_newest(cell->atomic, failure);
    }
    engine->did(*cell, done, where);
    if (engine->tracing() && engine->is_point(*cell)) {
      engine->record(absl::StrCat("compare_exchange ", name_of(done ? success : failure), " ",
                                  arena().describe(word), ": 0x", absl::Hex(found),
                                  done ? absl::StrCat(" -> 0x", absl::Hex(desired))
                                       : absl::StrCat(", not 0x", absl::Hex(expected))),
                     where);
    }
  }
  expected = found;
  return done;
}

// --- ObjectCache ---------------------------------------------------------------------------------

void* cache_take(const void* cache, const char* name, size_t size, size_t alignment,
                 const Where& where) {
  if (!active()) return ::operator new (size, std::align_val_t{alignment});
  Block& block = arena().allocate_object(cache, name, size, alignment);
  block.allocated = where;
  block.allocated_by = hot.thread;
  if (modelled()) block.allocated_at = ++clock()[hot.thread];
  // Not what an earlier execution left there.
  void* const memory = const_cast<std::byte*>(block.begin);
  std::memset(memory, 0xdf, size);
  Engine& engine = *model::engine();
  if (engine.tracing()) engine.record("alloc " + arena().describe(memory), where);
  return memory;
}

void cache_alloc_failed(const char* name, const Where& where) {
  if (modelled() && engine()->tracing()) {
    engine()->record(absl::StrCat("alloc of a ", name, " fails"), where);
  }
}

void cache_check_free(const void* cache, const char* name, const void* object, const Where& where) {
  if (!active()) return;
  Engine& engine = *model::engine();
  Block* const block = arena().contains(object) ? arena().object_at(object) : nullptr;
  if (block == nullptr || block->begin != object || block->cache != cache) {
    engine.violated(Kind::kDoubleFree,
                    absl::StrCat("free of something that is no object of the cache '", name, "'"),
                    where);
  }
  if (!block->live) {
    engine.violated(Kind::kDoubleFree,
                    absl::StrCat("free of ", arena().describe(object), ", which cpu ",
                                 block->freed_by, " freed at ", to_string(block->freed)),
                    where);
  }
  if (!modelled()) return;
  if (engine.tracing()) engine.record("free " + arena().describe(object), where);
  engine.check_unused(*block, where);
}

void cache_give(const void*, const void* object, size_t, const Where& where) {
  if (!active()) {
    ::operator delete(const_cast<void*>(object));
    return;
  }
  Block& block = *arena().object_at(object);
  block.freed = where;
  block.freed_by = hot.thread;
  arena().kill(block);
}

void cache_leak(const void* cache, const char* name, int64_t count) {
  std::string text = absl::StrCat(count, count == 1 ? " object" : " objects", " of the cache '",
                                  name, "' ", count == 1 ? "is" : "are", " left at its end");
  Where where;
  if (const Block* block = active() ? arena().any_live(cache) : nullptr) {
    absl::StrAppend(&text, ", for one ", arena().describe(block->begin), " allocated by cpu ",
                    block->allocated_by);
    where = block->allocated;
  }
  fail(Kind::kLeak, text, where);
}

}  // namespace model

// --- choices -------------------------------------------------------------------------------------

uint32_t choose(uint32_t n, Where where) {
  if (n == 0) panic("choose(0): there is nothing to choose from", where);
  if (!model::active()) return 0;
  model::Engine& engine = *model::engine();
  const uint32_t answer = engine.pick(n);
  if (engine.tracing()) engine.record(absl::StrCat("choose(", n, ") = ", answer), where);
  return answer;
}

bool chance(uint32_t per_million, Where where) {
  if (per_million == 0) return false;
  if (per_million >= 1'000'000) return true;
  return choose(2, where) != 0;
}

void yield(Where where) {
  if (!model::modelled()) return;
  model::Engine& engine = *model::engine();
  if (engine.tracing()) engine.record("yield", where);
  engine.point(model::Wait::kYield, model::Step{}, nullptr, nullptr, where);
  engine.operation(where);
}

void delay(uint32_t, Where where) { yield(where); }

}  // namespace hatcheck::inline HATCHECK_BACKEND
