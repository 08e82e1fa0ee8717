// CPU time of this process and of the child processes that it has waited for: what a search cost,
// whatever else runs on the machine.
#ifndef HATCHECK_MODELS_CPU_TIME_H_
#define HATCHECK_MODELS_CPU_TIME_H_

#include <sys/resource.h>
#include <time.h>

namespace hatcheck {

inline double cpu_seconds() {
  timespec own{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
  rusage children{};
  ::getrusage(RUSAGE_CHILDREN, &children);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return static_cast<double>(own.tv_sec) + 1e-9 * static_cast<double>(own.tv_nsec) +
         seconds(children.ru_utime) + seconds(children.ru_stime);
}

}  // namespace hatcheck

#endif  // HATCHECK_MODELS_CPU_TIME_H_
