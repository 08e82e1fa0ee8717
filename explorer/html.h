// A counterexample as a page of HTML that needs nothing but itself: no network, no other file.
//
// The threads are lanes, the lines rows; a click on a row, or the arrow keys, show the locks that
// each thread holds there and the lines of the source around it, which the page brings along.
#ifndef HATCHECK_EXPLORER_HTML_H_
#define HATCHECK_EXPLORER_HTML_H_

#include <string>

#include "explorer/counterexample.h"

namespace explorer {

// `replay`: the command that shows the execution again, or empty.
std::string to_html(const Counterexample& example, const std::string& replay);

}  // namespace explorer

#endif  // HATCHECK_EXPLORER_HTML_H_
