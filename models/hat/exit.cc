// The end of an address space, while threads outside of it are at its mappings and tables.
#include "hat/hment_reserve.h"
#include "hat/htable_steal.h"
#include "hat/shootdown.h"
#include "models/hat/hat_model.h"
#include "models/hat/scenarios.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

// The last mapping of an address space goes by pageunload. When the exit finds it gone, the
// unloader may still be about to drop its hold on the table.
class PageunloadAgainstExit : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/pageunload_against_exit";
  static constexpr const char* kClaim = "table and hat are freed after the unloader has let go";
  static constexpr Bounds kBounds = kBounded;

  PageunloadAgainstExit() : HatModel(two_levels()) { load(hat_, 0, page_); }
  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page_, HAT_FORCE_PGUNLOAD);
    } else {
      exit_space(hat_);
    }
  }
  void check() override { HAT_ASSERT(records(page_) == 0); }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// CPU 1 runs the address space until its last thread leaves.
class PageunloadAgainstLastThread : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/pageunload_against_the_last_thread";
  static constexpr const char* kClaim = "who leaves runs the kernel's hat, and its own may go";
  static constexpr Bounds kBounds = kBounded;

  PageunloadAgainstLastThread() : HatModel(two_levels()) {
    load(hat_, 0, page_);
    put_on(1, hat_);
    access(1, 0, AccessKind::kRead);
  }
  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page_, HAT_FORCE_PGUNLOAD);
    } else {
      hat_thread_exit(sys);
      exit_space(hat_);
    }
  }
  void check() override { HAT_ASSERT(records(page_) == 0); }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

class HmentStealAgainstExit : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/hment_steal_against_exit";
  static constexpr const char* kClaim = "a thief of hments keeps the hat until it has let go";

  HmentStealAgainstExit() : HatModel(two_levels()) {
    load(hat_, 0, page_);
    load(hat_, pagesize(), page_);
  }
  void thread(int index) {
    if (index == 1) {
      exit_space(hat_);
      return;
    }
    hment_t* const hm = hment_steal(sys);
    if (hm != nullptr) hment_free(sys, hm);
  }
  void check() override { HAT_ASSERT(records(page_) == 0); }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// A thief of tables marks its victim, and an exit waits for the mark to go.
class StealAgainstExit : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/htable_steal_against_exit";
  static constexpr const char* kClaim =
      "an exit waits for the thief, and the thief leaves it alone";
  static constexpr Bounds kBounds = kBounded;

  StealAgainstExit() : HatModel(two_levels()) { load(hat_, 0, page_); }
  void thread(int index) {
    if (index == 1) {
      exit_space(hat_);
      return;
    }
    rob();
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// The tables that a reap takes are freed after the mark on their hat is gone.
class ReapAgainstExit : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/reap_against_exit";
  static constexpr const char* kClaim = "a stolen table does not lead back to a hat that is gone";

  ReapAgainstExit() : HatModel(two_levels()) {
    htable_release(sys, htable_create(sys, hat_, 0, 0, nullptr));  // one on the cache
  }
  void thread(int index) {
    if (index == 0) {
      htable_reap(sys);
    } else {
      exit_space(hat_);
    }
  }

 private:
  hat_t* const hat_ = new_hat();
};

// Becoming shared changes hat_flags without hat_list_lock, which guards all other changes.
class ShareAgainstSteal : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/becoming_shared_against_steal";
  static constexpr const char* kClaim = "HAT_VICTIM is neither lost nor brought back";
  static constexpr Bounds kBounds = kBounded;

  ShareAgainstSteal() : HatModel(two_levels()) { load(hat_, 0, page_); }
  void thread(int index) {
    if (index == 1) {
      load(hat_, pagesize(), page_, kReadWrite, HAT_LOAD_SHARE);
      return;
    }
    rob();
  }
  void check() override {
    HAT_ASSERT(has_flag(hat_, HAT_SHARED), "HAT_SHARED was lost");
    HAT_ASSERT(!has_flag(hat_, HAT_VICTIM), "HAT_VICTIM was brought back");
  }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// What follows from a mark that is brought back: the exit waits for ever; from one that is lost: it
// does not wait at all.
class ShareAndExitAgainstSteal : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/becoming_shared_and_exit_against_steal";
  static constexpr const char* kClaim = "the exit waits for the thief, and no longer";
  static constexpr Bounds kBounds = kBounded;

  ShareAndExitAgainstSteal() : HatModel(with_own_locks(two_levels())) { load(hat_, 0, page_); }
  void thread(int index) {
    if (index == 1) {
      load(hat_, pagesize(), page_, kReadWrite, HAT_LOAD_SHARE);
      exit_space(hat_);
    } else {
      stolen_ = htable_steal(sys, 1);
    }
  }
  void check() override { free_stolen(stolen_()); }

 private:
  Guarded<htable_t*> stolen_;
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

class TwoExits : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/two_exits";
  static constexpr const char* kClaim = "neighbours on the list of hats leave it together";

  TwoExits() : HatModel(with_own_locks(two_levels())) {}
  void thread(int index) { exit_space(hats_[index]); }

 private:
  const std::array<hat_t*, 2> hats_ = {new_hat(), new_hat()};
};

// The thief goes along the list of hats without holding its lock all the time.
class StealAlongAnExit : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/steal_along_a_list_that_an_exit_shortens";
  static constexpr const char* kClaim = "the thief finds the next hat though its neighbour went";

  StealAlongAnExit() : HatModel(with_own_locks(two_levels())) {
    load(hats_[0], 0, page_);
    load(hats_[1], 0, page_);
  }
  void thread(int index) {
    if (index == 1) {
      exit_space(hats_[0]);
      return;
    }
    stolen_ = htable_steal(sys, 2);
  }
  void check() override {
    // Here and not above: the exit frees pages too, and whose come first is not the question.
    free_stolen(stolen_());
    HAT_ASSERT(records(page_) == (is_mapped(hats_[1], 0) ? 1u : 0u));
  }

 private:
  Guarded<htable_t*> stolen_;
  page_t* const page_ = new_page();
  const std::array<hat_t*, 2> hats_ = {new_hat(), new_hat()};
};

// A new address space joins the list of hats while another one leaves it.
class CreationAgainstExit : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/creation_of_an_address_space_against_exit";
  static constexpr const char* kClaim = "the list of hats has the new one, and not the old one";
  static constexpr Bounds kBounds = kBounded;

  CreationAgainstExit() : HatModel(two_levels()) {}
  void thread(int index) {
    if (index == 0) {
      fresh_ = new_hat();
    } else {
      exit_space(old_);
    }
  }
  void check() override {
    HAT_ASSERT(sys.kas_hat()->hat_next() == fresh_ && fresh_->hat_next() == nullptr);
  }

 private:
  hat_t* const old_ = new_hat();
  hat_t* fresh_ = nullptr;
};

// S15: the segments of an exiting process may overlap in what they unload.
class ExitUnloadsTwice : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/pageunload_against_an_exit_that_unloads_twice";
  static constexpr const char* kClaim = "what was unloaded is not found again";
  static constexpr Bounds kBounds = kBounded;

  ExitUnloadsTwice() : HatModel(two_levels()) { load(hat_, 0, page_); }
  void thread(int index) {
    if (index == 0) {
      hat_pageunload(sys, page_, HAT_FORCE_PGUNLOAD);
      return;
    }
    as_t* const as = hat_->hat_as();
    WriterGuard guard(as->a_lock);
    hat_free_start(sys, hat_);
    for (int i = 0; i < 2; ++i) hat_unload(sys, hat_, 0, pagesize(), HAT_UNLOAD_UNMAP);
    hat_free_end(sys, hat_);
    as->a_hat = nullptr;
  }
  void check() override { HAT_ASSERT(records(page_) == 0); }

 private:
  page_t* const page_ = new_page();
  hat_t* const hat_ = new_hat();
};

// What the thief wants it does not find here, so it goes on to the next address space, of which
// there is none.
class ThiefOfNothingAgainstExit : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/thief_that_finds_nothing_against_exit";
  static constexpr const char* kClaim = "an exit waits until the thief is gone, and no longer";

  ThiefOfNothingAgainstExit() : HatModel(two_levels()) {}
  void thread(int index) {
    if (index == 0) {
      HAT_ASSERT(htable_steal(sys, 1, /*active=*/false) == nullptr);
    } else {
      exit_space(hat_);
    }
  }

 private:
  hat_t* const hat_ = new_hat();
};

// A thief that is done must not take another thief's mark with it: the exit relies on that one.
class ThiefAndExitAgainstThief : public HatModel {
 public:
  static constexpr int kThreads = 2;
  static constexpr const char* kName = "exit/thief_and_exit_against_a_thief";
  static constexpr const char* kClaim = "an exit waits for every thief that works on the hat";

  ThiefAndExitAgainstThief() : HatModel(two_levels()) {}
  void thread(int index) {
    HAT_ASSERT(htable_steal(sys, 1, /*active=*/false) == nullptr);
    if (index == 1) exit_space(hat_);
  }

 private:
  hat_t* const hat_ = new_hat();
};

// Two unloaders are about to let go of the exiting address space, one after the other.
class TwoPageunloadsAgainstExit : public HatModel {
 public:
  static constexpr int kThreads = 3;
  static constexpr const char* kName = "exit/two_pageunloads_against_exit";
  static constexpr const char* kClaim = "table and hat are freed after both have let go";
  static constexpr Bounds kBounds = kBounded;

  TwoPageunloadsAgainstExit() : HatModel(with_cpus(two_levels(), 3)) {
    for (int i = 0; i < 2; ++i) load(hat_, static_cast<uintptr_t>(i) * pagesize(), pages_[i]);
  }
  void thread(int index) {
    if (index == 2) {
      exit_space(hat_);
    } else {
      hat_pageunload(sys, pages_[index], HAT_FORCE_PGUNLOAD);
    }
  }

 private:
  const std::array<page_t*, 2> pages_ = {new_page(), new_page()};
  hat_t* const hat_ = new_hat();
};

}  // namespace

std::vector<AnyScenario> exit_scenarios() {
  return scenario_list<PageunloadAgainstExit, PageunloadAgainstLastThread, HmentStealAgainstExit,
                       StealAgainstExit, ReapAgainstExit, ShareAgainstSteal,
                       ShareAndExitAgainstSteal, TwoExits, StealAlongAnExit, CreationAgainstExit,
                       ExitUnloadsTwice, ThiefOfNothingAgainstExit, ThiefAndExitAgainstThief,
                       TwoPageunloadsAgainstExit>();
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
