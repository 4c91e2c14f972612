// What every HTML page carries: its style, its one script, and which script a browser may run.
#pragma once

#include <string_view>

namespace bilevel {

/// CSS for light and dark screens from 320 pixels on, and for paper.
extern const std::string_view kPageStyle;

/// Makes the tables of class "sortable" sort by a column when its head is clicked, or Enter or Space is pressed there: up, down,
/// as it was. A column whose cells all begin with a number sorts by these; what is absent stands last. No '<' in it.
extern const std::string_view kPageScript;

/// The content of the Content-Security-Policy: no resources from outside, no script but `kPageScript`, by its SHA-256
/// (`tests/reports_test.py` compares), wherever another may come from.
extern const std::string_view kPagePolicy;

}  // namespace bilevel
