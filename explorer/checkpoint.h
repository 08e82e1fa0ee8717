// Checkpoints: what a search has done, as a file that another process can go on from.
//
// A file holds what the search is about (name and value of each option that decides what is
// explored, and a fingerprint of the program) and its state, with a checksum over both. It is
// written beside its place and then renamed, so that there is always a whole one.
//
// Thread safety: one real thread.
#ifndef HATCHECK_EXPLORER_CHECKPOINT_H_
#define HATCHECK_EXPLORER_CHECKPOINT_H_

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "explorer/site.h"

namespace explorer {

class Writer {
 public:
  template <class T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) void put(T value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    text_.append(bytes, sizeof(T));
  }
  void put(std::string_view text) {
    put(static_cast<uint64_t>(text.size()));
    text_.append(text);
  }
  void put(const Site& site) {
    put(std::string_view(site.file));
    put(std::string_view(site.function));
    put(site.line);
    put(site.column);
  }

  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// Reads what a Writer wrote. Past the end everything is zero, and ok() is false.
class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {}

  template <class T>
  requires(std::is_arithmetic_v<T> || std::is_enum_v<T>) T get() {
    T value{};
    if (rest_.size() < sizeof(T)) {
      ok_ = false;
      return value;
    }
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_.remove_prefix(sizeof(T));
    return value;
  }
  std::string text();
  Site site();

  // A number of things of which each takes at least a byte.
  size_t count();
  bool ok() const { return ok_; }
  bool at_end() const { return rest_.empty(); }

 private:
  std::string_view rest_;
  bool ok_ = true;
};

using Fields = std::vector<std::pair<std::string, std::string>>;

// Writes the file; empty, or what went wrong.
std::string write_checkpoint(const std::string& path, const Fields& about,
                             const std::string& state);

// Reads it: empty, or what is wrong with it, also if it is about something else.
std::string read_checkpoint(const std::string& path, const Fields& about, std::string* state);

// False, with errno, if not all of it could be written.
bool write_all(int file, std::string_view text);

// A digest of the running program's file, in hexadecimal digits.
std::string program_fingerprint();

// The text for the life of the process, for places in the source that come from a checkpoint.
const char* kept(const std::string& text);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_CHECKPOINT_H_
