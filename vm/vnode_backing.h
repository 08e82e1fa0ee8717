// VnodeBacking: where a vnode's bytes live when they are not in pages.
//
// Guarantees of every backing:
//
//   - read() fills the whole span or fails. Bytes past the end of the data read as zero.
//   - Results are errno values, 0 for success. After an error the bytes of the span are undefined;
//     nothing is known about how much a failed write changed.
//   - Any thread at any time. Two transfers that overlap are the callers' business (page locks
//     keep them apart); transfers that do not overlap never disturb each other.
//
// The class is virtual because it is a coarse seam: one call moves a page or more.
#ifndef HATCHECK_VM_VNODE_BACKING_H_
#define HATCHECK_VM_VNODE_BACKING_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "absl/types/span.h"
#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

class VnodeBacking {
 public:
  virtual ~VnodeBacking() = default;

  virtual int read(uint64_t off, absl::Span<uint8_t> to) = 0;
  // Extends the data if need be.
  virtual int write(uint64_t off, absl::Span<const uint8_t> from) = 0;
  // Length of the data in bytes.
  virtual uint64_t size() = 0;
  // Cuts the data off at `bytes` or extends it with zeroes.
  virtual int resize(uint64_t bytes) = 0;
  // Brings what was written to stable storage.
  virtual int sync() { return 0; }
};

// In memory, up to a capacity fixed at construction (ENOSPC beyond it).
class MemoryBacking : public VnodeBacking {
 public:
  explicit MemoryBacking(uint64_t capacity, uint64_t size = 0);

  int read(uint64_t off, absl::Span<uint8_t> to) override;
  int write(uint64_t off, absl::Span<const uint8_t> from) override;
  uint64_t size() override;
  int resize(uint64_t bytes) override;

 private:
  std::vector<uint8_t> bytes_;
  // What lies beyond reads as zero. Acquire/release: who sees the new size sees the zeroes or data
  // that came with it.
  Atomic<uint64_t> size_;
};

// Passes everything on to another backing, except what a plan spoils.
class FaultyBacking : public VnodeBacking {
 public:
  enum class Fault {
    kNone,
    kEio,    // nothing is transferred, EIO
    kShort,  // half is transferred, EIO: a transfer that stops early is an I/O error
  };
  enum class Op { kRead, kWrite };
  // Asked once per transfer, from any thread.
  using Plan = std::function<Fault(Op op, uint64_t off, uint64_t bytes)>;

  FaultyBacking(std::unique_ptr<VnodeBacking> inner, Plan plan);

  int read(uint64_t off, absl::Span<uint8_t> to) override;
  int write(uint64_t off, absl::Span<const uint8_t> from) override;
  uint64_t size() override;
  int resize(uint64_t bytes) override;
  int sync() override;

 private:
  const std::unique_ptr<VnodeBacking> inner_;
  const Plan plan_;
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_VNODE_BACKING_H_
