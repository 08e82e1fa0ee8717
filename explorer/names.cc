#include "explorer/names.h"

#include <algorithm>
#include <cstdio>
#include <tuple>

#include "explorer/arena.h"

namespace explorer {
namespace {

std::string hex(uint64_t bits) {
  char text[32];
  std::snprintf(text, sizeof(text), "0x%llx", static_cast<unsigned long long>(bits));
  return text;
}

std::string place(uintptr_t address) {
  const void* const p = reinterpret_cast<const void*>(address);
  return "@" + hex(Arena::contains(p) ? address - Arena::kBase : address).substr(2);
}

// What follows the last member operator outside of brackets, "" if there is none.
std::string last_member(const std::string& expression) {
  int depth = 0;
  for (size_t i = expression.size(); i-- > 0;) {
    const char c = expression[i];
    if (c == ')' || c == ']') ++depth;
    if (c == '(' || c == '[') --depth;
    if (depth > 0) continue;
    const bool arrow = c == '>' && i > 0 && expression[i - 1] == '-';
    if (c == '.' || arrow) return expression.substr(i + 1);
  }
  return "";
}

}  // namespace

void Names::object(const void* first, size_t size, size_t count, Name name, size_t part) {
  if (name.number == Name::kNextNumber) name.number = ++next_number_[name.family];
  ranges_.push_back(Range{reinterpret_cast<uintptr_t>(first), size, count, name, part});
}

void Names::used(const void* address, const Site& site, SourceText::Operation operation) {
  uses_.emplace_back(reinterpret_cast<uintptr_t>(address), Use{site, operation});
}

// The smallest, as objects lie in objects; of equal ones the latest, which has the life at hand.
const Names::Range* Names::range_of(uintptr_t address) const {
  const Range* best = nullptr;
  for (const Range& range : ranges_) {
    if (address - range.first >= range.size * range.count) continue;
    if (best == nullptr || range.size * range.count <= best->size * best->count) best = &range;
  }
  return best;
}

Names::Field Names::field_of(const Range& range, uintptr_t address) {
  return {{range.name.family, (address - range.first) % range.size}, range.size};
}

void Names::learn_fields() {
  for (; learnt_ < uses_.size(); ++learnt_) {
    const auto& [address, use] = uses_[learnt_];
    const std::string expression = source_.operand(use.site, use.operation);
    if (expression.empty()) {
      macros_.try_emplace(address, source_.macro(use.site));
      continue;
    }
    expressions_.try_emplace(address, expression);
    const Range* const range = range_of(address);
    if (range == nullptr) continue;
    // A bare name is a field in the object's own functions, or a reference to it.
    const std::string member = last_member(expression);
    members_[field_of(*range, address)][member.empty() ? expression : member] +=
        member.empty() ? 1 : 1000;
  }
}

std::string Names::in_words_of_the_source(uintptr_t address) {
  const auto found = expressions_.find(address);
  const std::string words = found == expressions_.end() ? macros_[address] : found->second;
  if (words.empty()) return place(address);
  const int times = ++times_[words];
  return times == 1 ? words : words + " #" + std::to_string(times);
}

std::string Names::object_at(const void* p) const {
  const uintptr_t address = reinterpret_cast<uintptr_t>(p);
  const Range* const range = range_of(address);
  if (range == nullptr) return "";
  std::string text = range->name.family;
  if (range->name.number == Name::kNoNumber) return text;
  return text + " " + std::to_string(range->name.number + (address - range->first) / range->size);
}

std::string Names::variable(const void* p) {
  learn_fields();
  const uintptr_t address = reinterpret_cast<uintptr_t>(p);
  const auto [at, fresh] = variables_.try_emplace(address);
  if (!fresh) return at->second;
  const Range* const range = range_of(address);
  if (range == nullptr) return at->second = in_words_of_the_source(address);
  const std::string object = object_at(p);
  const size_t offset = (address - range->first) % range->size;
  if (range->part == range->size) return at->second = object;
  if (range->part != 0) {
    return at->second = object + "[" + std::to_string(offset / range->part) + "]";
  }
  const auto& candidates = members_[field_of(*range, address)];
  const auto best =
      std::max_element(candidates.begin(), candidates.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  if (best != candidates.end()) {
    at->second = object + "." + best->first;
  } else {
    at->second = offset == 0 ? object : object + "+" + std::to_string(offset);
  }
  return at->second;
}

std::string Names::value(Value value) const {
  constexpr uint64_t kDecimal = 10'000;
  switch (value.kind) {
    case Value::Kind::kNone:
      return "";
    case Value::Kind::kBool:
      return value.bits != 0 ? "true" : "false";
    case Value::Kind::kSigned:
      return std::to_string(static_cast<int64_t>(value.bits));
    case Value::Kind::kUnsigned:
      return value.bits < kDecimal ? std::to_string(value.bits) : hex(value.bits);
    case Value::Kind::kPointer: {
      if (value.bits == 0) return "null";
      const std::string object = object_at(reinterpret_cast<const void*>(value.bits));
      return object.empty() ? place(value.bits) : object;
    }
  }
  return "";
}

}  // namespace explorer
