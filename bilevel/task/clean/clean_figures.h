// The pictures of a finished `bilevel clean` run.
#pragma once

#include <vector>

#include "bilevel/report/page.h"
#include "bilevel/task/clean/clean_method.h"

namespace bilevel {

/// Draws them and writes weights.svg and, of a bilevel run, loss.svg.
std::vector<Figure> clean_figures(const CleanSetup& setup, const Cleaned& cleaned);

/// What the bilevel run learned, in a line for a person; empty without one.
std::string learned_text(const CleanSetup& setup, const Cleaned& cleaned);

}  // namespace bilevel
