#include "explorer/fiber.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

namespace explorer {

Fiber::~Fiber() {
  if (guard_ != 0) ::munmap(reinterpret_cast<void*>(guard_), kGuardBytes + kStackBytes);
}

void Fiber::make_stack(uintptr_t address) {
  const int fixed = address != 0 ? MAP_FIXED_NOREPLACE : 0;
  void* const p =
      ::mmap(reinterpret_cast<void*>(address), kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | fixed, -1, 0);
  if (p == MAP_FAILED || ::mprotect(p, kGuardBytes, PROT_NONE) != 0) {
    std::perror("explorer: cannot make a stack");
    std::abort();
  }
  guard_ = reinterpret_cast<uintptr_t>(p);
}

}  // namespace explorer
