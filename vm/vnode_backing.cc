// See vm/vnode_backing.h.
#include "vm/vnode_backing.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace hatcheck::inline HATCHECK_BACKEND {

MemoryBacking::MemoryBacking(uint64_t capacity, uint64_t size) : bytes_(capacity), size_(size) {
  HAT_ASSERT(size <= capacity);
}

int MemoryBacking::read(uint64_t off, absl::Span<uint8_t> to) {
  const uint64_t size = size_.load(std::memory_order_acquire);
  const size_t there = off < size ? std::min<uint64_t>(to.size(), size - off) : 0;
  std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(there > 0 ? off : 0), there, to.begin());
  std::fill(to.begin() + there, to.end(), uint8_t{0});
  return 0;
}

int MemoryBacking::write(uint64_t off, absl::Span<const uint8_t> from) {
  if (off > bytes_.size() || from.size() > bytes_.size() - off) return ENOSPC;
  std::copy(from.begin(), from.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(off));
  const uint64_t end = off + from.size();
  uint64_t size = size_.load(std::memory_order_relaxed);
  while (size < end && !size_.compare_exchange_strong(size, end, std::memory_order_release,
                                                      std::memory_order_relaxed)) {
  }
  return 0;
}

uint64_t MemoryBacking::size() { return size_.load(std::memory_order_acquire); }

int MemoryBacking::resize(uint64_t bytes) {
  if (bytes > bytes_.size()) return ENOSPC;
  const uint64_t before = size_.load(std::memory_order_relaxed);
  size_.store(bytes, std::memory_order_release);
  // What is cut off must read as zeroes should the data grow again.
  if (bytes < before) {
    std::fill(bytes_.begin() + static_cast<std::ptrdiff_t>(bytes),
              bytes_.begin() + static_cast<std::ptrdiff_t>(before), uint8_t{0});
  }
  return 0;
}

FaultyBacking::FaultyBacking(std::unique_ptr<VnodeBacking> inner, Plan plan)
    : inner_(std::move(inner)), plan_(std::move(plan)) {}

int FaultyBacking::read(uint64_t off, absl::Span<uint8_t> to) {
  switch (plan_(Op::kRead, off, to.size())) {
    case Fault::kNone:
      return inner_->read(off, to);
    case Fault::kEio:
      return EIO;
    case Fault::kShort:
      break;
  }
  const int error = inner_->read(off, to.first(to.size() / 2));
  return error != 0 ? error : EIO;
}

int FaultyBacking::write(uint64_t off, absl::Span<const uint8_t> from) {
  switch (plan_(Op::kWrite, off, from.size())) {
    case Fault::kNone:
      return inner_->write(off, from);
    case Fault::kEio:
      return EIO;
    case Fault::kShort:
      break;
  }
  const int error = inner_->write(off, from.first(from.size() / 2));
  return error != 0 ? error : EIO;
}

uint64_t FaultyBacking::size() { return inner_->size(); }
int FaultyBacking::resize(uint64_t bytes) { return inner_->resize(bytes); }
int FaultyBacking::sync() { return inner_->sync(); }

}  // namespace hatcheck::inline HATCHECK_BACKEND
