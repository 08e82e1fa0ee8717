// Names: what a report calls the memory of a scenario.
//
//   page 7.p_mapping          a field of an object that describe() told of
//   frame 3[5]                a part of an array of such parts
//   sys.hat_free_waiters      anything else, in the words of the source that used it first
//   sys.hat_free_waiters #2   another thing for which the source has the same words
//   htable 2+24               no source at hand
//
// All uses are told first (used()), then names are asked for, so a field that one place reaches
// through a reference of another name is called what most places call it.
//
// Thread safety: one thread.
#ifndef HATCHECK_EXPLORER_NAMES_H_
#define HATCHECK_EXPLORER_NAMES_H_

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "explorer/site.h"
#include "explorer/source_text.h"
#include "explorer/value.h"

namespace explorer {

class Names {
 public:
  explicit Names(SourceText& source) : source_(source) {}

  // As of describe() in sync.h.
  void object(const void* first, size_t size, size_t count, Name name, size_t part);

  // An operation at the site was applied to a variable.
  void used(const void* address, const Site& site, SourceText::Operation operation);

  std::string variable(const void* address);

  // The object that the address lies in, "page 7", or "".
  std::string object_at(const void* address) const;

  // "3", "true", "page 7", "0x80000000000000e7", "null"; "" for none.
  std::string value(Value value) const;

 private:
  struct Range {
    uintptr_t first;
    size_t size;
    size_t count;
    Name name;
    size_t part;
  };
  struct Use {
    Site site;
    SourceText::Operation operation;
  };
  // A family, an offset in its objects and their size.
  using Field = std::pair<std::pair<std::string, size_t>, size_t>;

  const Range* range_of(uintptr_t address) const;
  static Field field_of(const Range& range, uintptr_t address);
  void learn_fields();
  std::string in_words_of_the_source(uintptr_t address);

  SourceText& source_;
  std::vector<Range> ranges_;
  std::map<std::string, uint32_t> next_number_;
  std::vector<std::pair<uintptr_t, Use>> uses_;
  size_t learnt_ = 0;  // of uses_
  std::map<Field, std::map<std::string, int>> members_;
  std::map<uintptr_t, std::string> expressions_;
  std::map<uintptr_t, std::string> macros_;  // where there is no expression
  std::map<std::string, int> times_;
  std::map<uintptr_t, std::string> variables_;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_NAMES_H_
