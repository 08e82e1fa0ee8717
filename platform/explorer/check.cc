// Failures on the explorer. Inside an execution they end it and become the search's report;
// outside, they end the process.
#include "platform/explorer/backend.h"
// backend.h names the namespace that the others open.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "platform/check.h"
#include "platform/explorer/kinds.h"
#include "platform/explorer/run.h"

namespace hatcheck::inline HATCHECK_BACKEND {
namespace {

FailureHandler& handler_slot() {
  static FailureHandler* const slot = new FailureHandler;
  return *slot;
}

}  // namespace

void set_failure_handler(FailureHandler handler) { handler_slot() = std::move(handler); }

std::string describe(const Failure& failure) {
  return "hatcheck: " + std::string(phrase(failure.kind)) + ": " + failure.message + "\n  at " +
         to_string(failure.where) + ", cpu " + std::to_string(failure.cpu) + "\n";
}

void fail(Kind kind, std::string message, Where where) {
  if (explorer::Engine::active != nullptr) {
    explorer::fail(to_explorer(kind), std::move(message), site_of(where));
  }
  const Failure failure{kind, std::move(message), where, this_cpu()};
  if (handler_slot()) {
    handler_slot()(failure);
  } else {
    const std::string text = describe(failure);
    std::fwrite(text.data(), 1, text.size(), stderr);
  }
  std::fflush(nullptr);
  if (std::getenv("HATCHECK_ABORT") != nullptr) std::abort();
  ::_exit(kExitViolated);
}

void panic(std::string message, Where where) { fail(Kind::kPanic, std::move(message), where); }

void assertion_failed(const char* condition, Where where, std::string message) {
  const std::string text = std::string(condition) + " is false";
  fail(Kind::kAssertion, message.empty() ? text : message + " (" + text + ")", where);
}

}  // namespace hatcheck::inline HATCHECK_BACKEND
