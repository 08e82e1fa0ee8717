// Value: what a variable holds, for reports.
#ifndef HATCHECK_EXPLORER_VALUE_H_
#define HATCHECK_EXPLORER_VALUE_H_

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace explorer {

struct Value {
  enum class Kind : uint8_t { kNone, kUnsigned, kSigned, kBool, kPointer };

  uint64_t bits = 0;  // kSigned: of an int64_t
  Kind kind = Kind::kNone;
};

// kNone for what has no short form.
template <class T>
Value value_of(const T& v) {
  if constexpr (std::is_same_v<T, bool>) {
    return Value{v ? uint64_t{1} : 0, Value::Kind::kBool};
  } else if constexpr (std::is_pointer_v<T>) {
    return Value{reinterpret_cast<uintptr_t>(v), Value::Kind::kPointer};
  } else if constexpr (std::is_enum_v<T>) {
    return value_of(static_cast<std::underlying_type_t<T>>(v));
  } else if constexpr (std::is_integral_v<T> && std::is_signed_v<T>) {
    return Value{static_cast<uint64_t>(static_cast<int64_t>(v)), Value::Kind::kSigned};
  } else if constexpr (std::is_trivially_copyable_v<T> && sizeof(T) <= sizeof(uint64_t)) {
    uint64_t bits = 0;
    std::memcpy(&bits, &v, sizeof(T));
    return Value{bits, Value::Kind::kUnsigned};
  } else {
    return Value{};
  }
}

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_VALUE_H_
