// Census: how many executions each process of a search has done. For tests.
//
// Kept in memory that all processes share, where no execution takes it back. Thread safe.
#ifndef HATCHECK_EXPLORER_CENSUS_H_
#define HATCHECK_EXPLORER_CENSUS_H_

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iterator>

namespace explorer {

class Census {
 public:
  static constexpr size_t kMost = 256;

  Census()
      : page_(static_cast<Page*>(::mmap(nullptr, sizeof(Page), PROT_READ | PROT_WRITE,
                                        MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~Census() { ::munmap(page_, sizeof(Page)); }
  Census(const Census&) = delete;
  Census& operator=(const Census&) = delete;

  // An execution came to its end in this process.
  void count() const {
    const pid_t me = ::getpid();
    for (Row& row : page_->rows) {
      pid_t free = 0;
      if (row.process != me && !row.process.compare_exchange_strong(free, me)) continue;
      ++row.executions;
      return;
    }
  }
  uint64_t executions() const {
    uint64_t sum = 0;
    for (const Row& row : page_->rows) sum += row.executions;
    return sum;
  }
  // How many had any.
  int processes() const {
    return static_cast<int>(std::count_if(std::begin(page_->rows), std::end(page_->rows),
                                          [](const Row& row) { return row.executions > 0; }));
  }
  // The most that one process did.
  uint64_t busiest() const {
    uint64_t most = 0;
    for (const Row& row : page_->rows) most = std::max<uint64_t>(most, row.executions);
    return most;
  }

 private:
  struct Row {
    std::atomic<pid_t> process;
    std::atomic<uint64_t> executions;
  };
  struct Page {
    Row rows[kMost];
  };
  Page* const page_;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_CENSUS_H_
