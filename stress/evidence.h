// The evidence folder: all that is known about a violation, and what it takes to repeat the run.
//
//   failure.txt      what was printed
//   rerun.sh         the command
//   options.txt      every option, resolved, one a line
//   operations.txt   the last operations of each thread
//   cpus.txt         what each CPU holds and waits for
//   result.json      the counters at that moment
//   hats.txt         a dump of all address spaces, if the system was quiescent
//   maps/            the maps that were the input, one file per process
//
// Used from a failure handler: no function here takes a lock of the seam.
#ifndef HATCHECK_STRESS_EVIDENCE_H_
#define HATCHECK_STRESS_EVIDENCE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "stress/maps.h"

namespace hatcheck {

class Evidence {
 public:
  // Makes the folder `wanted`, or if that exists the first of wanted-2, wanted-3, ... that does
  // not.
  static absl::StatusOr<Evidence> create(const std::string& wanted);

  const std::string& folder() const { return folder_; }

  absl::Status add(const std::string& name, const std::string& text) const;
  // Saves the maps in maps/, so that reading that folder gives the same processes in the same
  // order.
  absl::Status add_maps(const std::vector<ProcessMaps>& maps) const;

 private:
  explicit Evidence(std::string folder) : folder_(std::move(folder)) {}

  std::string folder_;
};

}  // namespace hatcheck

#endif  // HATCHECK_STRESS_EVIDENCE_H_
