// Sets of CPUs: CpuSet, a value, and AtomicCpuSet, the shared set that shootdowns are aimed at.
//
// AtomicCpuSet is the counterpart of hat_cpus and khat_cpuset. CPUs join and leave by atomic bit
// operations; whoever wants to interrupt the members takes a snapshot without a lock. Two sides
// meet there without any other synchronisation:
//
//   a CPU that switches address spaces     a CPU that removes a translation
//   1. add(me)                             1. clear the PTE
//   2. load cr3, then walk the tables      2. snapshot(), then interrupt the members
//
// One of the two must see the other: either the walk finds the cleared PTE, or the snapshot
// contains the CPU. Store-then-load on both sides needs sequential consistency on all four
// accesses: add, del and snapshot are seq_cst here, the walker's loads of PTEs are (walker.cc), and
// software has to clear PTEs with a seq_cst operation. Each CPU is one bit of one word, so it does
// not matter that a snapshot reads the words one after another.
//
// Thread safety: AtomicCpuSet any thread; CpuSet is a plain value. No locks.
#ifndef HATCHECK_MACHINE_CPUSET_H_
#define HATCHECK_MACHINE_CPUSET_H_

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <iterator>

#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// Room for CPUs 0 to kMaxCpus - 1 (the platform's limit).
class CpuSet {
 public:
  static constexpr uint32_t kBitsPerWord = 64;
  static constexpr uint32_t kWords = (kMaxCpus + kBitsPerWord - 1) / kBitsPerWord;

  constexpr CpuSet() = default;
  CpuSet(std::initializer_list<CpuId> cpus) {
    for (const CpuId cpu : cpus) {
      add(cpu);
    }
  }

  static CpuSet only(CpuId cpu) { return CpuSet{cpu}; }
  // CPUs 0 to ncpus - 1.
  static CpuSet all(uint32_t ncpus) {
    CpuSet set;
    for (uint32_t cpu = 0; cpu < ncpus; ++cpu) {
      set.add(static_cast<CpuId>(cpu));
    }
    return set;
  }

  void add(CpuId cpu) { words_[word_of(cpu)] |= bit_of(cpu); }
  void del(CpuId cpu) { words_[word_of(cpu)] &= ~bit_of(cpu); }
  bool contains(CpuId cpu) const { return (words_[word_of(cpu)] & bit_of(cpu)) != 0; }

  bool empty() const { return *this == CpuSet(); }
  uint32_t count() const {
    int n = 0;
    for (const uint64_t word : words_) {
      n += std::popcount(word);
    }
    return static_cast<uint32_t>(n);
  }

  // The bits of CPUs 64 * index to 64 * index + 63.
  uint64_t word(uint32_t index) const { return words_[index]; }
  void set_word(uint32_t index, uint64_t bits) { words_[index] = bits; }

  CpuSet& operator|=(const CpuSet& other) {
    for (uint32_t i = 0; i < kWords; ++i) {
      words_[i] |= other.words_[i];
    }
    return *this;
  }
  CpuSet& operator&=(const CpuSet& other) {
    for (uint32_t i = 0; i < kWords; ++i) {
      words_[i] &= other.words_[i];
    }
    return *this;
  }
  friend CpuSet operator|(CpuSet a, const CpuSet& b) { return a |= b; }
  friend CpuSet operator&(CpuSet a, const CpuSet& b) { return a &= b; }
  friend bool operator==(const CpuSet& a, const CpuSet& b) = default;

  // In increasing order. The set must not change meanwhile.
  class const_iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = CpuId;
    using difference_type = std::ptrdiff_t;
    using pointer = const CpuId*;
    using reference = CpuId;

    const_iterator() = default;
    const_iterator(const CpuSet* set, uint32_t cpu) : set_(set), cpu_(set->next_from(cpu)) {}
    CpuId operator*() const { return static_cast<CpuId>(cpu_); }
    const_iterator& operator++() {
      cpu_ = set_->next_from(cpu_ + 1);
      return *this;
    }
    const_iterator operator++(int) {
      const_iterator old = *this;
      ++*this;
      return old;
    }
    friend bool operator==(const const_iterator& a, const const_iterator& b) {
      return a.cpu_ == b.cpu_;
    }

   private:
    const CpuSet* set_ = nullptr;
    uint32_t cpu_ = kMaxCpus;
  };
  const_iterator begin() const { return const_iterator(this, 0); }
  const_iterator end() const { return const_iterator(this, kMaxCpus); }

 private:
  static uint32_t word_of(CpuId cpu) {
    HAT_ASSERT(static_cast<uint32_t>(cpu) < kMaxCpus);
    return static_cast<uint32_t>(cpu) / kBitsPerWord;
  }
  static uint64_t bit_of(CpuId cpu) {
    return uint64_t{1} << (static_cast<uint32_t>(cpu) % kBitsPerWord);
  }
  // The first member that is >= cpu; kMaxCpus if there is none.
  uint32_t next_from(uint32_t cpu) const {
    while (cpu < kMaxCpus) {
      const uint64_t rest = words_[cpu / kBitsPerWord] >> (cpu % kBitsPerWord);
      if (rest != 0) {
        return cpu + static_cast<uint32_t>(std::countr_zero(rest));
      }
      cpu = (cpu / kBitsPerWord + 1) * kBitsPerWord;
    }
    return kMaxCpus;
  }

  std::array<uint64_t, kWords> words_{};
};

class AtomicCpuSet {
 public:
  AtomicCpuSet() : AtomicCpuSet(kMaxCpus) {}
  // Only CPUs below `ncpus` will ever join: a snapshot reads no more words than that needs.
  explicit AtomicCpuSet(uint32_t ncpus)
      : words_in_use_((ncpus + CpuSet::kBitsPerWord - 1) / CpuSet::kBitsPerWord) {
    HAT_ASSERT(ncpus >= 1 && ncpus <= kMaxCpus);
  }

  void add(CpuId cpu) {
    const Place at = place(cpu);
    words_[at.word].fetch_or(at.bit, std::memory_order_seq_cst);
  }
  void del(CpuId cpu) {
    const Place at = place(cpu);
    words_[at.word].fetch_and(~at.bit, std::memory_order_seq_cst);
  }
  bool contains(CpuId cpu) const {
    const Place at = place(cpu);
    return (words_[at.word].load(std::memory_order_seq_cst) & at.bit) != 0;
  }
  CpuSet snapshot() const {
    CpuSet set;
    for (uint32_t i = 0; i < words_in_use_; ++i) {
      set.set_word(i, words_[i].load(std::memory_order_seq_cst));
    }
    return set;
  }

 private:
  struct Place {
    uint32_t word;
    uint64_t bit;
  };
  Place place(CpuId cpu) const {
    const uint32_t n = static_cast<uint32_t>(cpu);
    HAT_ASSERT(n / CpuSet::kBitsPerWord < words_in_use_);
    return {n / CpuSet::kBitsPerWord, uint64_t{1} << (n % CpuSet::kBitsPerWord)};
  }

  const uint32_t words_in_use_;
  std::array<Atomic<uint64_t>, CpuSet::kWords> words_{};
};

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_MACHINE_CPUSET_H_
