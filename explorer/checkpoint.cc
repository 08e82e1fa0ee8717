#include "explorer/checkpoint.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <set>

namespace explorer {
namespace {

constexpr std::string_view kMagic = "hatcheck checkpoint 1\n";

uint64_t digest(std::string_view text, uint64_t hash = 0xcbf29ce484222325u) {
  for (; text.size() >= sizeof(uint64_t); text.remove_prefix(sizeof(uint64_t))) {
    uint64_t word;
    std::memcpy(&word, text.data(), sizeof(word));
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 32;
  }
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return hash;
}

std::string failed(const std::string& what, const std::string& path) {
  return "cannot " + what + " the checkpoint " + path + ": " + std::strerror(errno);
}

bool read_all(const std::string& path, std::string* text) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return false;
  char buffer[1 << 16];
  ssize_t got;
  while ((got = ::read(file, buffer, sizeof(buffer))) > 0) {
    text->append(buffer, static_cast<size_t>(got));
  }
  const int error = errno;
  ::close(file);
  errno = error;
  return got == 0;
}

}  // namespace

std::string Reader::text() {
  const size_t size = count();
  std::string text(rest_.substr(0, size));
  rest_.remove_prefix(size);
  return text;
}

Site Reader::site() {
  Site site;
  site.file = kept(text());
  site.function = kept(text());
  site.line = get<int>();
  site.column = get<int>();
  return site;
}

size_t Reader::count() {
  const uint64_t n = get<uint64_t>();
  if (n > rest_.size()) {
    ok_ = false;
    return 0;
  }
  return n;
}

std::string write_checkpoint(const std::string& path, const Fields& about,
                             const std::string& state) {
  Writer body;
  body.put(static_cast<uint64_t>(about.size()));
  for (const auto& [name, value] : about) {
    body.put(name);
    body.put(value);
  }
  body.put(state);
  Writer sum;
  sum.put(digest(body.text()));
  const std::string beside = path + ".new";
  const int file = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return failed("write", path);
  const bool written = write_all(file, kMagic) && write_all(file, sum.text()) &&
                       write_all(file, body.text()) && ::fsync(file) == 0;
  std::string error = written ? "" : failed("write", path);
  if (::close(file) != 0 && written) error = failed("write", path);
  if (error.empty() && ::rename(beside.c_str(), path.c_str()) != 0) error = failed("write", path);
  if (!error.empty()) ::unlink(beside.c_str());
  return error;
}

std::string read_checkpoint(const std::string& path, const Fields& about, std::string* state) {
  std::string text;
  if (!read_all(path, &text)) return failed("read", path);
  if (text.compare(0, kMagic.size(), kMagic) != 0) {
    return path + " is no checkpoint; expected a file that --checkpoint wrote";
  }
  Reader all(std::string_view(text).substr(kMagic.size()));
  const uint64_t sum = all.get<uint64_t>();
  const size_t start = kMagic.size() + sizeof(sum);
  if (!all.ok() || digest(std::string_view(text).substr(start)) != sum) {
    return "the checkpoint " + path + " is damaged: its checksum does not fit its contents";
  }
  Fields found(all.count());
  for (auto& [name, value] : found) {
    name = all.text();
    value = all.text();
  }
  *state = all.text();
  const std::string other = "the checkpoint " + path + " is of another ";
  if (!all.ok()) return other + "version of this program";
  for (size_t i = 0; i < std::min(found.size(), about.size()); ++i) {
    if (found[i] == about[i]) continue;
    if (found[i].first != about[i].first) break;
    return other + "search: its " + found[i].first + " is " + found[i].second + ", here it is " +
           about[i].second;
  }
  if (found != about) return other + "version of this program";
  return "";
}

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t done = ::write(file, text.data(), text.size());
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    text.remove_prefix(static_cast<size_t>(done));
  }
  return true;
}

std::string program_fingerprint() {
  // Read once: a program is tens of megabytes.
  static const auto* const fingerprint = new std::string([] {
    std::string text;
    if (!read_all("/proc/self/exe", &text)) return std::string("unknown");
    char digits[20];
    std::snprintf(digits, sizeof(digits), "%016llx", static_cast<unsigned long long>(digest(text)));
    return std::string(digits);
  }());
  return *fingerprint;
}

const char* kept(const std::string& text) {
  static auto* const texts = new std::set<std::string>;
  return texts->insert(text).first->c_str();
}

}  // namespace explorer
