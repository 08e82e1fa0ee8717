#include "explorer/schedule.h"

#include <charconv>

namespace explorer {

std::string encode(const std::vector<Decision>& schedule) {
  std::string text;
  for (size_t i = 0; i < schedule.size();) {
    const uint8_t thread = schedule[i].thread;
    size_t count = 0;
    uint16_t choice = 0;
    while (i < schedule.size() && schedule[i].thread == thread && choice == 0) {
      choice = schedule[i].choice;
      ++count;
      ++i;
    }
    text += static_cast<char>('a' + thread);
    if (count > 1) text += std::to_string(count);
    if (choice != 0) text += "=" + std::to_string(choice);
  }
  return text;
}

std::optional<std::vector<Decision>> decode(std::string_view text, int threads,
                                            std::string* error) {
  std::vector<Decision> schedule;
  const char* at = text.data();
  const char* const end = at + text.size();
  const auto number = [&](unsigned& value) {
    const auto [rest, code] = std::from_chars(at, end, value);
    if (code != std::errc() || value > 100'000) return false;
    at = rest;
    return true;
  };
  while (at != end) {
    const int thread = *at - 'a';
    if (thread < 0 || thread >= threads) {
      *error = "at '" + std::string(at, end) + "': expected a thread, a to " +
               static_cast<char>('a' + threads - 1);
      return std::nullopt;
    }
    ++at;
    unsigned count = 1;
    unsigned choice = 0;
    if (at != end && *at >= '0' && *at <= '9' && (!number(count) || count == 0)) {
      *error = "at '" + std::string(at, end) + "': expected a number of steps";
      return std::nullopt;
    }
    if (at != end && *at == '=') {
      ++at;
      if (!number(choice) || choice > 64) {
        *error = "at '" + std::string(at, end) + "': expected a choice, 0 to 64";
        return std::nullopt;
      }
    }
    for (unsigned i = 0; i < count; ++i) {
      const bool last = i + 1 == count;
      schedule.push_back(
          Decision{static_cast<uint8_t>(thread), static_cast<uint16_t>(last ? choice : 0)});
    }
  }
  return schedule;
}

std::vector<Decision> schedule_of(const Engine& engine) {
  std::vector<Decision> schedule;
  for (int i = 0; i < engine.steps(); ++i) {
    schedule.push_back(Decision{engine.event(i).label.thread, engine.event(i).label.choice});
  }
  return schedule;
}

}  // namespace explorer
