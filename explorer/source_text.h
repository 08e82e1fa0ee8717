// SourceText: the lines of source files, read when a report is made.
//
// A file is looked for under the current directory, under $BUILD_WORKSPACE_DIRECTORY (where `bazel
// run` was started) and where Bazel built the program. Reports do without what is not found.
//
// Thread safety: one thread.
#ifndef HATCHECK_EXPLORER_SOURCE_TEXT_H_
#define HATCHECK_EXPLORER_SOURCE_TEXT_H_

#include <map>
#include <string>
#include <vector>

#include "explorer/site.h"

namespace explorer {

class SourceText {
 public:
  // Empty if there is no such file.
  const std::vector<std::string>& lines(const std::string& file);

  // The line of the site, without the spaces around it.
  std::string line(const Site& site);

  // What the operation at the site is applied to, in the words of the source: "hm.hm_next" of
  // `hm.hm_next = pp.p_mapping()` for a write, "pp.p_mapping" for a read. Empty if that cannot be
  // told, as in a macro with several such operations.
  enum class Operation : uint8_t { kRead, kWrite, kAtomic };
  std::string operand(const Site& site, Operation operation);

  // The call of a macro that the operation is in, "" if it is in none.
  std::string macro(const Site& site);

 private:
  std::map<std::string, std::vector<std::string>> files_;
};

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_SOURCE_TEXT_H_
