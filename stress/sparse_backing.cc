#include "stress/sparse_backing.h"

#include <algorithm>
#include <cstring>

namespace hatcheck::inline HATCHECK_BACKEND {

std::vector<uint8_t> SparseBacking::page_at(Stripe& stripe, uint64_t number) {
  const auto it = stripe.pages.find(number);
  if (it != stripe.pages.end()) return it->second;
  std::vector<uint8_t> fresh(pagesize_, 0);
  const uint64_t stamp = page_stamp(id_, number * pagesize_);
  std::memcpy(fresh.data(), &stamp, sizeof(stamp));
  return fresh;
}

int SparseBacking::read(uint64_t off, absl::Span<uint8_t> to) {
  for (size_t done = 0; done < to.size();) {
    const uint64_t number = (off + done) / pagesize_;
    const uint64_t within = (off + done) % pagesize_;
    const size_t part = std::min<size_t>(to.size() - done, pagesize_ - within);
    Stripe& stripe = stripes_[number % kStripes];
    MutexGuard guard(stripe.mutex);
    const std::vector<uint8_t> page = page_at(stripe, number);
    std::memcpy(to.data() + done, page.data() + within, part);
    done += part;
  }
  return 0;
}

int SparseBacking::write(uint64_t off, absl::Span<const uint8_t> from) {
  for (size_t done = 0; done < from.size();) {
    const uint64_t number = (off + done) / pagesize_;
    const uint64_t within = (off + done) % pagesize_;
    const size_t part = std::min<size_t>(from.size() - done, pagesize_ - within);
    Stripe& stripe = stripes_[number % kStripes];
    MutexGuard guard(stripe.mutex);
    std::vector<uint8_t> page = page_at(stripe, number);
    std::memcpy(page.data() + within, from.data() + done, part);
    stripe.pages[number] = std::move(page);
    done += part;
  }
  return 0;
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
