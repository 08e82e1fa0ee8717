// How an allocator waits for a free slot and how a releaser wakes it: two protocols behind one
// policy. segmap/locking.h has both, and what is wrong with the second.
//
//   counted    (smap_waiting_counted.cc) the default
//   published  (smap_waiting_published.cc) the protocol of the published source, which loses
//              wake-ups
#ifndef HATCHECK_SEGMAP_SMAP_WAITING_H_
#define HATCHECK_SEGMAP_SMAP_WAITING_H_

#include <cstdint>
#include <memory>

#include "platform/platform.h"

namespace hatcheck::inline HATCHECK_BACKEND {

struct Segmap;
struct smap;

enum class WaitingDesign { kCounted, kPublished };

class SmapWaiting {
 public:
  virtual ~SmapWaiting() = default;
  virtual const char* name() const = 0;

  // The work of get_free_smp: a slot of the colour of list free_ndx, the first list to look at.
  // Returns with sm_mtx held, the slot off its queue and blank. Sleeps until there is one. In: no
  // segmap mutex held.
  virtual smap* get_free_smp(Segmap& seg, uint32_t free_ndx) = 0;

  // The work of segmap_smapadd: puts smp at the tail of its list's release queue. In and out:
  // sm_mtx held.
  virtual void smapadd(Segmap& seg, smap* smp) = 0;

  // Threads counted as waiting for a slot of a list's colour, or of the list itself. At rest: 0.
  virtual uint32_t waiting(const Segmap& seg, uint32_t free_ndx) const = 0;
};

std::unique_ptr<SmapWaiting> make_counted_waiting();
std::unique_ptr<SmapWaiting> make_published_waiting();

}  // namespace hatcheck::inline HATCHECK_BACKEND

#endif  // HATCHECK_SEGMAP_SMAP_WAITING_H_
