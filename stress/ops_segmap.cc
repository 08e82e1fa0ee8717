// Operations of the segmap workload: what a file system does with segmap's windows. See
// segmap_world.h for the rules G1 to G4.
//
// Words of a draw: r[0] the file, r[1] the place, r[2] the length and variants, r[3] the bytes and
// the flags of the release.
#include <algorithm>
#include <array>
#include <cerrno>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "segmap/segmap_copy.h"
#include "stress/op_bodies.h"
#include "stress/segmap_world.h"
#include "vm/page_cache.h"
#include "vm/vnode_backing.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

using Mode = RangeLock::Mode;

// Most releases keep pages and write nothing.
constexpr std::array<uint32_t, 12> kReadReleases = {0,
                                                    0,
                                                    0,
                                                    0,
                                                    0,
                                                    0,
                                                    SM_DONTNEED,
                                                    SM_ASYNC,
                                                    SM_FREE,
                                                    SM_FREE | SM_ASYNC | SM_DONTNEED,
                                                    SM_FREE | SM_ASYNC,
                                                    SM_INVAL};
constexpr std::array<uint32_t, 10> kWriteReleases = {0,
                                                     0,
                                                     0,
                                                     0,
                                                     SM_WRITE,
                                                     SM_WRITE | SM_ASYNC,
                                                     SM_WRITE | SM_ASYNC | SM_DONTNEED,
                                                     SM_WRITE | SM_FREE,
                                                     SM_WRITE | SM_ASYNC | SM_FREE | SM_DONTNEED,
                                                     SM_WRITE | SM_INVAL};

template <size_t N>
uint32_t pick(const std::array<uint32_t, N>& flags, const Draw& d) {
  return flags[(d.r[3] >> 32) % N];
}

// Bytes [off, off + len) of one slot, drawn over the whole size that a file may have. Half the
// draws are in the first few slots, so that threads meet.
struct Range {
  uint64_t off;
  size_t len;
  uint64_t end() const { return off + len; }
};

Range pick_range(const SegFile& file, uint64_t maxbsize, const Draw& d) {
  const uint64_t hot = std::min<uint64_t>(file.bytes.size(), 4 * maxbsize);
  const uint64_t off = (d.r[1] & 1) != 0 ? (d.r[1] >> 1) % hot : (d.r[1] >> 1) % file.bytes.size();
  const uint64_t room = maxbsize - off % maxbsize;
  return {off, 1 + static_cast<size_t>((d.r[2] >> 8) % room)};
}

// The same, widened to whole pages.
Range pick_pages(const SegFile& file, uint64_t maxbsize, uint64_t pagesize, const Draw& d) {
  const Range bytes = pick_range(file, maxbsize, d);
  const uint64_t begin = bytes.off & ~(pagesize - 1);
  return {begin, static_cast<size_t>(((bytes.end() + pagesize - 1) & ~(pagesize - 1)) - begin)};
}

Range clipped(Range range, uint64_t size) {
  if (range.off >= size) return {range.off, 0};
  return {range.off, std::min<size_t>(range.len, size - range.off)};
}

uint8_t fresh_byte(uint64_t value, uint64_t at) {
  return static_cast<uint8_t>((value + at * 0x9e3779b97f4a7c15u) >> 29);
}

// Keeps a window for a while, with other threads running.
void linger(const Draw& d) {
  for (uint64_t turns = (d.r[2] >> 4) % 4; turns > 0; --turns) yield();
}

}  // namespace

int SegmapWorld::compare_window(const SegFile& file, uintptr_t addr, uint64_t off, size_t len) {
  std::vector<uint8_t> seen(len);
  size_t done;
  const int error = segmap_copy_from(*segmap_, addr, absl::MakeSpan(seen), &done);
  seen.resize(done);
  expect_equal(file, off, seen, "through a window");
  return error;
}

int SegmapWorld::fill_window(SegFile& file, uintptr_t addr, uint64_t off, size_t len,
                             uint64_t value) {
  std::vector<uint8_t> bytes(len);
  for (size_t i = 0; i < len; ++i) bytes[i] = fresh_byte(value, i);
  size_t done;
  const int error = segmap_copy_to(*segmap_, addr, bytes, &done);
  std::copy_n(bytes.begin(), done, file.bytes.begin() + static_cast<std::ptrdiff_t>(off));
  return error;
}

void SegmapWorld::release(const SegFile& file, uintptr_t addr, uint32_t flags, int* error) {
  const int result = segmap_release(*segmap_, addr, flags);
  if (result == 0) return;
  met_error(file, "segmap_release", result);
  *error = result;
}

OpResult SegmapWorld::read(const Draw& d) {
  SegFile& file = pick_file(d);
  const Range wanted = pick_range(file, MAXBSIZE, d);
  const RangeLock::Guard guard(file.ranges, wanted.off, wanted.end(), Mode::kShared);
  const Range range = clipped(wanted, file.size);
  if (range.len == 0) return OpResult::kNothingToDo;
  const uint64_t within = range.off % MAXBSIZE;
  const int forcefault = (d.r[2] & 1) != 0 ? SM_FAULT : SM_PAGECREATE;
  const uintptr_t addr =
      segmap_getmapflt(*segmap_, file.vnode.get(), range.off, range.len, forcefault, S_READ);
  int error = compare_window(file, addr + within, range.off, range.len);
  linger(d);
  if (error == 0) error = compare_window(file, addr + within, range.off, range.len);
  expect_told(file, addr + within, range.off);
  if (error != 0) met_error(file, "reading a window", error);
  release(file, addr, pick(kReadReleases, d), &error);
  return error == 0 ? OpResult::kDone : OpResult::kRetry;
}

OpResult SegmapWorld::write(const Draw& d) {
  SegFile& file = pick_file(d);
  const Range wanted = pick_range(file, MAXBSIZE, d);
  const RangeLock::Guard guard(file.ranges, wanted.off, wanted.end(), Mode::kExclusive);
  const Range range = clipped(wanted, file.size);
  if (range.len == 0) return OpResult::kNothingToDo;
  const uint64_t within = range.off % MAXBSIZE;
  const uintptr_t addr =
      segmap_getmapflt(*segmap_, file.vnode.get(), range.off, range.len, SM_FAULT, S_WRITE);
  int error = fill_window(file, addr + within, range.off, range.len, d.r[3]);
  linger(d);
  if (error == 0) error = compare_window(file, addr + within, range.off, range.len);
  expect_told(file, addr + within, range.off);
  if (error != 0) met_error(file, "writing a window", error);
  release(file, addr, pick(kWriteReleases, d), &error);
  return error == 0 ? OpResult::kDone : OpResult::kRetry;
}

// Nobody may look at a new page before it is filled.
void SegmapWorld::expect_kept(const SegFile& file, uintptr_t addr, uint64_t off) {
  if (hat_in_kpm(sys_, addr)) return;  // there the page is unlocked by the release
  MutexGuard guard(page_hash_mutex(sys_.vm, file.vnode.get(), off));
  const page_t* const pp = page_exists(sys_.vm, file.vnode.get(), off);
  if (pp != nullptr && PAGE_EXCL(pp)) return;
  report_violation(absl::StrFormat("%s: the new page at %d is %s before segmap_pageunlock",
                                   file.path, off, pp == nullptr ? "gone" : "open to others"));
}

// A page that may be written through a window is marked modified, if its vnode is to be told of the
// first write: otherwise nobody writes it back. The I/O lock keeps off who makes it clean.
void SegmapWorld::expect_told(const SegFile& file, uintptr_t addr, uint64_t off) {
  if (!IS_VMODSORT(file.vnode.get()) || hat_in_kpm(sys_, addr)) return;
  page_t* const pp = page_lookup_nowait(sys_.vm, file.vnode.get(), off, SE_SHARED);
  if (pp == nullptr) return;
  if (page_io_trylock(sys_.vm, pp) != 0) {
    uint32_t attr = 0;
    const bool mapped = hat_getattr(sys_, sys_.kas_hat(), addr, &attr) == 0;
    if (mapped && (attr & PROT_WRITE_ATTR) != 0 && !PP_ISMOD(pp)) {
      report_violation(absl::StrFormat(
          "data: %s: the page at %d may be written through its window and is not marked modified",
          file.path, off));
    }
    page_io_unlock(sys_.vm, pp);
  }
  page_unlock(sys_.vm, pp);
}

// Whole pages are overwritten, without being read.
OpResult SegmapWorld::create_pages(const Draw& d) {
  SegFile& file = pick_file(d);
  const Range range = pick_pages(file, MAXBSIZE, pagesize(), d);
  const RangeLock::Guard guard(file.ranges, range.off, range.end(), Mode::kExclusive);
  if (range.off >= file.size) return OpResult::kNothingToDo;
  const uintptr_t addr =
      segmap_getmapflt(*segmap_, file.vnode.get(), range.off, range.len, SM_PAGECREATE, S_WRITE);
  const uintptr_t start = addr + range.off % MAXBSIZE;
  const bool new_page = segmap_pagecreate(*segmap_, start, range.len, false) != 0;
  if (new_page && range.len == pagesize()) expect_kept(file, start, range.off);
  int error = 0;
  // By pages: one that was there may be paged out and fail to come back, which must not keep one
  // that is new from being filled.
  for (uint64_t done = 0; done < range.len; done += pagesize()) {
    const uint64_t off = range.off + done;
    const size_t data = off < file.size ? std::min<size_t>(pagesize(), file.size - off) : 0;
    int page_error = fill_window(file, start + done, off, data, d.r[3] + done);
    if (page_error == 0 && data < pagesize()) {
      const std::vector<uint8_t> zeroes(pagesize() - data, 0);  // G2
      size_t moved;
      page_error = segmap_copy_to(*segmap_, start + done + data, zeroes, &moved);
    }
    if (page_error != 0) error = page_error;
  }
  linger(d);
  segmap_pageunlock(*segmap_, start, range.len, S_WRITE);
  expect_told(file, start, range.off);
  if (error != 0) met_error(file, "filling created pages", error);
  release(file, addr, pick(kWriteReleases, d), &error);
  return error == 0 ? OpResult::kDone : OpResult::kRetry;
}

// Pages locked in memory while they are read: no access may fault (invariant 51).
OpResult SegmapWorld::fbread(const Draw& d) {
  SegFile& file = pick_file(d);
  const Range range = pick_pages(file, MAXBSIZE, pagesize(), d);
  const RangeLock::Guard guard(file.ranges, range.off, range.end(), Mode::kShared);
  const Range data = clipped(range, file.size);
  if (data.len == 0) return OpResult::kNothingToDo;
  const uintptr_t addr = (d.r[2] & 1) != 0 ? segmap_getmap(*segmap_, file.vnode.get(), range.off)
                                           : segmap_getmapflt(*segmap_, file.vnode.get(), range.off,
                                                              range.len, SM_LOCKPROTO, S_READ);
  const uintptr_t start = addr + range.off % MAXBSIZE;
  hat_t* const kas = sys_.kas_hat();
  const faultcode_t fault = segmap_fault(*segmap_, kas, start, range.len, F_SOFTLOCK, S_READ);
  int error = fault == 0 ? 0 : FC_ERRNO(fault);
  if (error == 0) {
    linger(d);
    std::vector<uint8_t> seen(data.len);
    for (size_t done = 0; done < data.len; done += pagesize()) {
      const size_t part = std::min<size_t>(pagesize(), data.len - done);
      if (!sys_.machine.read_string(this_cpu(), start + done,
                                    absl::MakeSpan(seen).subspan(done, part))) {
        report_violation(
            absl::StrFormat("invariant 51: %s: the soft locked page at %d is not mapped", file.path,
                            range.off + done));
      }
    }
    expect_equal(file, range.off, seen, "through a soft locked window");
    segmap_fault(*segmap_, kas, start, range.len, F_SOFTUNLOCK, S_READ);
  } else {
    met_error(file, "F_SOFTLOCK", error);
  }
  release(file, addr, pick(kReadReleases, d), &error);
  return error == 0 ? OpResult::kDone : OpResult::kRetry;
}

OpResult SegmapWorld::fbzero(const Draw& d) {
  SegFile& file = pick_file(d);
  const Range range = pick_pages(file, MAXBSIZE, pagesize(), d);
  const RangeLock::Guard guard(file.ranges, range.off, range.end(), Mode::kExclusive);
  const Range data = clipped(range, file.size);
  if (data.len == 0) return OpResult::kNothingToDo;
  const uintptr_t addr = segmap_getmap(*segmap_, file.vnode.get(), range.off);
  const uintptr_t start = addr + range.off % MAXBSIZE;
  segmap_pagecreate(*segmap_, start, range.len, true);
  const std::vector<uint8_t> zeroes(pagesize(), 0);
  for (uint64_t done = 0; done < range.len; done += pagesize()) {
    // A transfer may have write-protected a page of a VMODSORT vnode that was there before; the
    // translation itself must be there.
    size_t moved;
    if (!hat_probe(sys_, sys_.kas_hat(), start + done) ||
        segmap_copy_to(*segmap_, start + done, zeroes, &moved) != 0) {
      report_violation(absl::StrFormat("invariant 51: %s: the created page at %d is not mapped",
                                       file.path, range.off + done));
    }
  }
  const auto first = file.bytes.begin() + static_cast<std::ptrdiff_t>(data.off);
  std::fill(first, first + static_cast<std::ptrdiff_t>(data.len), uint8_t{0});
  linger(d);
  segmap_fault(*segmap_, sys_.kas_hat(), start, range.len, F_SOFTUNLOCK, S_WRITE);
  int error = 0;
  release(file, addr, pick(kWriteReleases, d), &error);
  return error == 0 ? OpResult::kDone : OpResult::kRetry;
}

// What a device does that reads into the file's pages: they are locked in memory for writing, and
// no processor sees the writes.
OpResult SegmapWorld::device_write(const Draw& d) {
  SegFile& file = pick_file(d);
  const Range range = pick_pages(file, MAXBSIZE, pagesize(), d);
  const RangeLock::Guard guard(file.ranges, range.off, range.end(), Mode::kExclusive);
  const Range data = clipped(range, file.size);
  if (data.len == 0) return OpResult::kNothingToDo;
  // A window for reading is enough: it is F_SOFTUNLOCK that is told of the writes.
  const uintptr_t addr =
      segmap_getmapflt(*segmap_, file.vnode.get(), range.off, range.len, SM_FAULT, S_READ);
  const uintptr_t start = addr + range.off % MAXBSIZE;
  hat_t* const kas = sys_.kas_hat();
  const faultcode_t fault = segmap_fault(*segmap_, kas, start, range.len, F_SOFTLOCK, S_WRITE);
  int error = fault == 0 ? 0 : FC_ERRNO(fault);
  if (error == 0) {
    std::vector<uint8_t> bytes(range.len, 0);  // G2
    for (size_t i = 0; i < data.len; ++i) bytes[i] = fresh_byte(d.r[3], i);
    for (uint64_t done = 0; done < range.len; done += pagesize()) {
      const uintptr_t va = start + done;
      const pfn_t pfn = hat_in_kpm(sys_, va) ? hat_kpm_vaddr2page(sys_, va)->p_pagenum
                                             : hat_getpfnum(sys_, kas, va);
      if (pfn == PFN_INVALID) {
        report_violation(
            absl::StrFormat("invariant 51: %s: the soft locked page at %d is not mapped", file.path,
                            range.off + done));
      }
      sys_.machine.mem().write_bytes(pfn, 0, absl::MakeSpan(bytes).subspan(done, pagesize()));
    }
    std::copy_n(bytes.begin(), data.len,
                file.bytes.begin() + static_cast<std::ptrdiff_t>(data.off));
    linger(d);
    segmap_fault(*segmap_, kas, start, range.len, F_SOFTUNLOCK, S_WRITE);
  } else {
    met_error(file, "F_SOFTLOCK for writing", error);
  }
  release(file, addr, pick(kReadReleases, d), &error);
  return error == 0 ? OpResult::kDone : OpResult::kRetry;
}

OpResult SegmapWorld::read_ahead(const Draw& d) {
  SegFile& file = pick_file(d);
  const Range range = pick_pages(file, MAXBSIZE, pagesize(), d);
  // It looks at no byte: only the size must stay, and who creates the same pages is to meet it.
  const uint64_t behind = file.bytes.size();
  const RangeLock::Guard guard(file.ranges, behind, behind + 1, Mode::kShared);
  if (range.off >= file.size) return OpResult::kNothingToDo;
  const uintptr_t addr = segmap_getmap(*segmap_, file.vnode.get(), range.off);
  const faultcode_t fault = segmap_faulta(*segmap_, addr + range.off % MAXBSIZE);
  int error = fault == 0 ? 0 : FC_ERRNO(fault);
  if (error != 0) met_error(file, "segmap_faulta", error);
  release(file, addr, 0, &error);
  return error == 0 ? OpResult::kDone : OpResult::kRetry;
}

int SegmapWorld::zero_tail(SegFile& file, uint64_t from) {
  const uint64_t page_end = (from + pagesize() - 1) & ~(pagesize() - 1);
  const uint64_t end = std::min(page_end, file.size);
  if (from >= end) return 0;
  const std::vector<uint8_t> zeroes(end - from, 0);
  const uintptr_t addr =
      segmap_getmapflt(*segmap_, file.vnode.get(), from, zeroes.size(), SM_FAULT, S_WRITE);
  size_t done;
  const int error = segmap_copy_to(*segmap_, addr + from % MAXBSIZE, zeroes, &done);
  segmap_release(*segmap_, addr, 0);
  return error;
}

OpResult SegmapWorld::truncate(const Draw& d) {
  SegFile& file = pick_file(d);
  const RangeLock::Guard guard(file.ranges, 0, RangeLock::kToTheEnd, Mode::kExclusive);
  vnode_t* const vp = file.vnode.get();
  const uint64_t size = file.size - std::min(d.r[1] % (3 * MAXBSIZE), file.size);
  // All in one page, so an error means that nothing has happened yet.
  const int error = zero_tail(file, size);
  if (error != 0) return met_error(file, "clearing the tail of a page", error);
  std::fill(file.bytes.begin() + static_cast<std::ptrdiff_t>(size), file.bytes.end(), uint8_t{0});
  const uint64_t page_end = (size + pagesize() - 1) & ~(pagesize() - 1);
  pvn_vplist_dirty(sys_.vm, vp, page_end, B_INVAL | B_TRUNC);
  // A transfer of the last page that began before must not write what is cut off: it holds the
  // page.
  page_t* const last =
      page_end != size ? page_lookup(sys_.vm, vp, page_end - pagesize(), SE_EXCL) : nullptr;
  const int resized = vp->v_backing->resize(size);
  if (last != nullptr) page_unlock(sys_.vm, last);
  if (resized != 0) {
    report_violation(absl::StrCat("data: cannot truncate ", file.path, ": error ", resized));
  }
  file.size = size;
  return OpResult::kDone;
}

OpResult SegmapWorld::extend(const Draw& d) {
  SegFile& file = pick_file(d);
  const RangeLock::Guard guard(file.ranges, 0, RangeLock::kToTheEnd, Mode::kExclusive);
  const uint64_t size = std::min<uint64_t>(file.bytes.size(), file.size + d.r[1] % (4 * MAXBSIZE));
  if (size == file.size) return OpResult::kNothingToDo;
  if (const int error = file.vnode->v_backing->resize(size); error != 0) {
    report_violation(absl::StrCat("data: cannot extend ", file.path, ": error ", error));
  }
  file.size = size;  // the copy holds zeroes there already
  return OpResult::kDone;
}

// No range is locked: transfers look after themselves.
OpResult SegmapWorld::sync(const Draw& d) {
  SegFile& file = pick_file(d);
  const uint32_t flags = (d.r[2] & 1) != 0 ? B_ASYNC : 0;
  const int error = vop_putpage(sys_.vm, file.vnode.get(), 0, 0, flags);
  return error == 0 ? OpResult::kDone : met_error(file, "vop_putpage", error);
}

OpResult SegmapWorld::page_out(const Draw& d) {
  static constexpr std::array<uint32_t, 3> kFlags = {B_ASYNC, B_ASYNC | B_FREE,
                                                     B_ASYNC | B_FREE | B_DONTNEED};
  SegFile& file = pick_file(d);
  const Range range = pick_pages(file, MAXBSIZE, pagesize(), d);
  const int error = vop_putpage(sys_.vm, file.vnode.get(), range.off, range.len, pick(kFlags, d));
  return error == 0 ? OpResult::kDone : met_error(file, "pageout", error);
}

// Throws a slot's pages away once they are on disk.
OpResult SegmapWorld::discard(const Draw& d) {
  SegFile& file = pick_file(d);
  const uint64_t slot = pick_range(file, MAXBSIZE, d).off / MAXBSIZE * MAXBSIZE;
  const RangeLock::Guard guard(file.ranges, slot, slot + MAXBSIZE, Mode::kExclusive);
  if (slot >= file.size) return OpResult::kNothingToDo;
  vnode_t* const vp = file.vnode.get();
  int error = vop_putpage(sys_.vm, vp, slot, MAXBSIZE, 0);
  if (error != 0) return met_error(file, "vop_putpage", error);
  const size_t len = std::min<uint64_t>(MAXBSIZE, file.size - slot);
  const bool modify = d.r[2] % 2 == 0;
  const uintptr_t addr =
      segmap_getmapflt(*segmap_, vp, slot, len, SM_FAULT, modify ? S_WRITE : S_READ);
  error = compare_window(file, addr, slot, len);
  if (error == 0 && modify) {
    // With what is there, so that the file is the same whoever writes it back.
    size_t done;
    error =
        segmap_copy_to(*segmap_, addr, absl::MakeConstSpan(file.bytes).subspan(slot, len), &done);
  }
  if (error != 0) met_error(file, "using a window", error);
  discarding_[this_cpu()].store(true, std::memory_order_relaxed);
  release(file, addr, SM_DESTROY, &error);
  discarding_[this_cpu()].store(false, std::memory_order_relaxed);
  return error == 0 ? OpResult::kDone : OpResult::kRetry;
}

// The vnode gets another life, with all its pages gone; slots may still have its identity.
OpResult SegmapWorld::recycle(const Draw& d) {
  SegFile& file = pick_file(d);
  const RangeLock::Guard guard(file.ranges, 0, RangeLock::kToTheEnd, Mode::kExclusive);
  const int error = vop_putpage(sys_.vm, file.vnode.get(), 0, 0, 0);
  if (error != 0) return met_error(file, "vop_putpage", error);
  compare_on_disk(file);
  return vn_recycle(sys_.vm, file.vnode.get()) == 0 ? OpResult::kDone : OpResult::kRetry;
}

OpResult SegmapWorld::statistics(const Draw&) {
  SegmapStatTotals totals;
  if (segmap_kstat_update(*segmap_, &totals, KstatRw::kWrite) != EACCES ||
      segmap_kstat_update(*segmap_, &totals, KstatRw::kRead) != 0 || totals.stolen != 0) {
    report_violation(absl::StrCat("segmap_kstat_update: stolen ", totals.stolen));
  }
  return OpResult::kDone;
}

OpResult op_seg_read(World& world, Worker&, const Draw& d) { return world.segmap->read(d); }
OpResult op_seg_write(World& world, Worker&, const Draw& d) { return world.segmap->write(d); }
OpResult op_seg_create(World& world, Worker&, const Draw& d) {
  return world.segmap->create_pages(d);
}
OpResult op_seg_fbread(World& world, Worker&, const Draw& d) { return world.segmap->fbread(d); }
OpResult op_seg_fbzero(World& world, Worker&, const Draw& d) { return world.segmap->fbzero(d); }
OpResult op_seg_device(World& world, Worker&, const Draw& d) {
  return world.segmap->device_write(d);
}
OpResult op_seg_ahead(World& world, Worker&, const Draw& d) { return world.segmap->read_ahead(d); }
OpResult op_seg_truncate(World& world, Worker&, const Draw& d) { return world.segmap->truncate(d); }
OpResult op_seg_extend(World& world, Worker&, const Draw& d) { return world.segmap->extend(d); }
OpResult op_seg_sync(World& world, Worker&, const Draw& d) { return world.segmap->sync(d); }
OpResult op_seg_pageout(World& world, Worker&, const Draw& d) { return world.segmap->page_out(d); }
OpResult op_seg_discard(World& world, Worker&, const Draw& d) { return world.segmap->discard(d); }
OpResult op_seg_recycle(World& world, Worker&, const Draw& d) { return world.segmap->recycle(d); }
OpResult op_seg_stat(World& world, Worker&, const Draw& d) { return world.segmap->statistics(d); }

}  // namespace hatcheck::inline HATCHECK_BACKEND
