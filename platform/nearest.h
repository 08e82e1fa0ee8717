// The nearest valid choice to a mistyped one, for error messages.
#ifndef HATCHECK_PLATFORM_NEAREST_H_
#define HATCHECK_PLATFORM_NEAREST_H_

#include <string>
#include <vector>

namespace hatcheck {

// Number of single-character insertions, deletions and replacements between two words
// (Levenshtein).
int edit_distance(const std::string& a, const std::string& b);

// The choice with the smallest edit distance to word, the first of several. Empty if there are
// none.
std::string nearest(const std::string& word, const std::vector<std::string>& choices);

// "unknown WHAT 'WORD'; expected one of A, B, C; nearest: B"
std::string unknown_choice(const std::string& what, const std::string& word,
                           const std::vector<std::string>& choices);

}  // namespace hatcheck

#endif  // HATCHECK_PLATFORM_NEAREST_H_
