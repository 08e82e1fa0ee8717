// Common to the tests of vm/: a small machine with a page layer, and a HAT made of counters.
#ifndef HATCHECK_VM_VM_FOR_TEST_H_
#define HATCHECK_VM_VM_FOR_TEST_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "platform/platform.h"
#include "vm/audit.h"
#include "vm/vm.h"

namespace hatcheck::inline HATCHECK_BACKEND {

// 32-byte pages and large pages of four, so that tests are about a handful of pages; or amd64.
inline MachineConfig small_machine(pfn_t nframes) {
  MachineConfig config;
  config.mmu = MmuGeometry{.num_level = 3, .bits_per_level = 2, .max_page_level = 1};
  config.nframes = nframes;
  return config;
}

inline MachineConfig amd64_machine(pfn_t nframes) {
  MachineConfig config;
  config.nframes = nframes;
  return config;
}

// No thresholds, so that every page can be had.
inline VmConfig no_thresholds() {
  VmConfig config;
  config.throttlefree = config.pageout_reserve = config.t_minarmem = 0;
  return config;
}

// Mappings are numbers that a test sets. Hardware bits: what a sync or unload is to find.
class FakeMappings : public PageMappingOps {
 public:
  uint32_t hment_mapcnt(page_t* pp) override { return mapped[pp]; }
  void hat_pageunload(page_t* pp) override {
    log.push_back("unload");
    collect(pp);
    mapped[pp] = 0;
  }
  uint32_t hat_pagesync(page_t* pp, uint32_t flags) override {
    log.push_back(flags == kPageSyncZeroRm ? "sync zero" : "sync");
    collect(pp);
    return pp->p_nrm.load(std::memory_order_relaxed);
  }
  void hat_page_setattr(page_t* pp, uint32_t bits) override {
    log.push_back("set");
    pp->p_nrm.fetch_or(static_cast<uint8_t>(bits), std::memory_order_relaxed);
  }
  void hat_page_clrattr(page_t* pp, uint32_t bits) override {
    log.push_back("clear");
    pp->p_nrm.fetch_and(static_cast<uint8_t>(~bits), std::memory_order_relaxed);
  }

  std::map<page_t*, uint32_t> mapped;
  std::map<page_t*, uint8_t> hardware;
  std::vector<std::string> log;

 private:
  void collect(page_t* pp) {
    pp->p_nrm.fetch_or(hardware[pp], std::memory_order_relaxed);
    hardware[pp] = 0;
  }
};

// Ends every test with an audit.
class VmTest : public ::testing::Test {
 protected:
  explicit VmTest(const MachineConfig& machine_config = small_machine(32),
                  const VmConfig& vm_config = no_thresholds())
      : machine(machine_config), vm(vm_config, machine) {}

  void TearDown() override {
    if (HasFatalFailure()) return;
    EXPECT_EQ(vm_audit(vm), absl::OkStatus());
  }

  // A page of vp: EXCL, not I/O locked.
  page_t* new_page(vnode_t& vp, uint64_t index, uint32_t flags = PG_EXCL) {
    return new_page_at(&vp, index * vm.pagesize, flags);
  }
  page_t* new_page_at(vnode_t* vp, uint64_t off, uint32_t flags = PG_EXCL) {
    page_t* ring = page_create_va(vm, vp, off, vm.pagesize, flags);
    if (ring == nullptr) return nullptr;
    page_t* pp = ring;
    page_sub(&ring, pp);
    page_io_unlock(vm, pp);
    return pp;
  }
  // The same, on the cache list.
  page_t* cached_page(vnode_t& vp, uint64_t index) {
    page_t* pp = new_page(vp, index);
    page_free(vm, pp, 0);
    return pp;
  }
  page_t* exists(vnode_t& vp, uint64_t index) { return page_exists(vm, &vp, index * vm.pagesize); }
  page_t* lookup(vnode_t& vp, uint64_t index, se_t se) {
    return page_lookup(vm, &vp, index * vm.pagesize, se);
  }
  int32_t selock(const page_t* pp) { return pp->p_selock.load(std::memory_order_relaxed); }

  Machine machine;
  Vm vm;
  FakeMappings mappings;
  vnode_t file{"file", 1, 0, nullptr};
  vnode_t other{"other", 2, 0, nullptr};
  vnode_t sorted{"sorted", 3, VMODSORT, nullptr};
};

// Waits until cond() holds: for a thread that is about to block, which shows in no other way.
template <class Condition>
void wait_until(Condition cond) {
  while (!cond()) yield();
}

// A thread on a CPU of its own, joined at the end of the scope.
class OnCpu {
 public:
  OnCpu(CpuId cpu, std::function<void()> body)
      : thread_([cpu, body = std::move(body)] {
          CpuBinding binding(cpu, /*seed=*/cpu + 1);
          body();
        }) {}
  ~OnCpu() { thread_.join(); }

 private:
  std::thread thread_;
};

// body(i) on CPUs 0 to n - 1 at once.
void run_together(uint32_t n, const std::function<void(uint32_t)>& body) {
  std::vector<std::unique_ptr<OnCpu>> threads;
  for (uint32_t i = 0; i < n; ++i) {
    threads.push_back(std::make_unique<OnCpu>(i, [&body, i] { body(i); }));
  }
}

// For tests that stop a thread between its look without a lock and the lock, by holding that lock,
// and change what it saw. Whether it has got that far does not show, so they try often; a thread
// that comes too late must give the same answer.
inline constexpr int kAttempts = 40;

inline void let_others_get_there() {
  for (int i = 0; i < 5; ++i) yield();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_VM_VM_FOR_TEST_H_
