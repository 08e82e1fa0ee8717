#include "machine/frames.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "absl/strings/str_format.h"

namespace hatcheck::inline HATCHECK_BACKEND {

static_assert(std::endian::native == std::endian::little, "words are copied as bytes");

const char* frame_kind_name(FrameKind kind) {
  switch (kind) {
    case FrameKind::kFree:
      return "free";
    case FrameKind::kData:
      return "data";
    case FrameKind::kTable:
      return "table";
  }
  return "?";
}

PhysMem::PhysMem(pfn_t nframes, int words_per_frame)
    : nframes_(nframes),
      words_per_frame_(words_per_frame),
      words_(nframes * static_cast<uint64_t>(words_per_frame)),
      lives_(nframes) {
  if (nframes == 0) return;
  name_arrays(&words_[0], nframes, static_cast<size_t>(words_per_frame), "frame");
  name_arrays(&lives_[0], nframes, 1, "life of frame");
}

// Relaxed in zero and copy: the frame is private to the caller until it is published by the PTE
// that makes it reachable, and that store orders these before it.
void PhysMem::zero(pfn_t pfn) {
  for (uint32_t i = 0; i < static_cast<uint32_t>(words_per_frame_); ++i) {
    word(pfn, i).store(0, std::memory_order_relaxed);
  }
}

void PhysMem::copy(pfn_t from, pfn_t to) {
  for (uint32_t i = 0; i < static_cast<uint32_t>(words_per_frame_); ++i) {
    word(to, i).store(word(from, i).load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
}

// Acquire and release in the byte functions: they are loads and stores of a CPU, like access(), and
// x86 gives those this much order.
void PhysMem::read_bytes(pfn_t pfn, uint32_t offset, absl::Span<uint8_t> to) {
  HAT_ASSERT(offset <= frame_bytes() && to.size() <= frame_bytes() - offset && pfn < nframes_);
  if (offset % 8 == 0) {
    // Whole words, which is what a page's worth of data is.
    const uint64_t first = pfn * static_cast<uint32_t>(words_per_frame_) + offset / 8;
    const size_t count = to.size() / 8;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t value = words_[first + i].load(std::memory_order_acquire);
      std::memcpy(to.data() + i * 8, &value, 8);
    }
    to.remove_prefix(count * 8);
    offset += static_cast<uint32_t>(count * 8);
  }
  while (!to.empty()) {
    const uint32_t within = offset % 8;
    const size_t n = std::min<size_t>(8 - within, to.size());
    const uint64_t value = word(pfn, offset / 8).load(std::memory_order_acquire);
    std::memcpy(to.data(), reinterpret_cast<const uint8_t*>(&value) + within, n);
    to.remove_prefix(n);
    offset += static_cast<uint32_t>(n);
  }
}

void PhysMem::write_bytes(pfn_t pfn, uint32_t offset, absl::Span<const uint8_t> from) {
  HAT_ASSERT(offset <= frame_bytes() && from.size() <= frame_bytes() - offset && pfn < nframes_);
  if (offset % 8 == 0) {
    const uint64_t first = pfn * static_cast<uint32_t>(words_per_frame_) + offset / 8;
    const size_t count = from.size() / 8;
    for (size_t i = 0; i < count; ++i) {
      uint64_t value;
      std::memcpy(&value, from.data() + i * 8, 8);
      words_[first + i].store(value, std::memory_order_release);
    }
    from.remove_prefix(count * 8);
    offset += static_cast<uint32_t>(count * 8);
  }
  while (!from.empty()) {
    const uint32_t within = offset % 8;
    const size_t n = std::min<size_t>(8 - within, from.size());
    Atomic<uint64_t>& target = word(pfn, offset / 8);
    if (n == 8) {
      uint64_t value;
      std::memcpy(&value, from.data(), 8);
      target.store(value, std::memory_order_release);
    } else {
      // The other bytes of the word may be somebody else's, who may be writing them now.
      uint64_t old = target.load(std::memory_order_relaxed);
      uint64_t value;
      do {
        value = old;
        std::memcpy(reinterpret_cast<uint8_t*>(&value) + within, from.data(), n);
      } while (!target.compare_exchange_strong(old, value, std::memory_order_release,
                                               std::memory_order_relaxed));
    }
    from.remove_prefix(n);
    offset += static_cast<uint32_t>(n);
  }
}

void PhysMem::set_kind(pfn_t pfn, FrameKind kind) {
  const FrameLife next = life(pfn).next(kind);
  lives_[pfn].store(next.packed(), std::memory_order_release);
}

void PhysMem::no_such_word(pfn_t pfn, uint32_t index) const {
  panic(absl::StrFormat("no such word of physical memory: frame %#x of %#x, word %u of %d", pfn,
                        nframes_, index, words_per_frame_));
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
