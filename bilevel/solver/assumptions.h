// What the theory of a method assumes of a problem, and what a problem is in the same terms: the one source of
// `within_theory`, of the warnings about it, and of the tables in `list` and the pages.
#pragma once

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/problem/problem.h"

namespace bilevel {

// Each list goes from the mildest case to the hardest: a theory that covers one covers all before it.

/// How steep f may become in x and y.
enum class Smoothness {
  bounded,    ///< its second derivatives are bounded
  unbounded,  ///< they may grow without bound with the gradient, as those of exp and cosh do ("relaxed smooth")
};

/// What g is in y, whatever x is.
enum class Convexity {
  strong,  ///< strongly convex
  mere,    ///< convex
  none,    ///< anything
};

/// How the derivatives that a solver sees come about.
enum class Noise {
  none,        ///< they are exact
  finite_sum,  ///< from some of the rows of a data set; the same rows give the same derivative again
  any,         ///< random in any way, anew with every sample
};

/// How samples are drawn within a step.
enum class Sampling {
  any,          ///< one sample may serve several derivatives
  independent,  ///< each derivative has a sample of its own
  mean_square,  ///< as before, and the losses of single samples are smooth in the mean square, for methods that
                ///< evaluate one sample at two points
};

/// What a problem is. Numbers that are not known are NaN; no condition is checked on them.
struct ProblemTraits {
  Smoothness smoothness = Smoothness::bounded;
  std::string steepness = "";  ///< where not bounded: a clause that says how it is
  Convexity convexity = Convexity::strong;
  std::string caveat = "";  ///< where g is not strongly convex: a clause that says what it is instead
  Noise noise = Noise::none;
  /// Bounds on the eigenvalues of d2f/dy2 and the least one of d2g/dy2: over all points where they have bounds, else
  /// at the start.
  double upper_curvature_min = std::numeric_limits<double>::quiet_NaN();
  double upper_curvature_max = std::numeric_limits<double>::quiet_NaN();
  double lower_curvature_min = std::numeric_limits<double>::quiet_NaN();
};
void to_json(nlohmann::ordered_json& json, const ProblemTraits& traits);
void from_json(const nlohmann::ordered_json& json, ProblemTraits& traits);

/// None where every batch of the problem is the whole data set, else that of a finite sum; of noise inside a loss a
/// `Problem` knows nothing.
Noise batch_noise(const Problem& problem);

/// What a method's theory covers: the hardest case of each kind.
struct Assumptions {
  Smoothness smoothness = Smoothness::bounded;
  Convexity convexity = Convexity::strong;
  Noise noise = Noise::any;
  Sampling sampling = Sampling::any;
  std::string of_options = "";  ///< what it asks of the options, for the tables; may be empty
  std::vector<std::string> broken =
      {};  ///< clauses: what the present options break of that on the problem at hand
};

/// The words of the tables, such as "strongly convex".
std::string words_of(Smoothness smoothness);
std::string words_of(Convexity convexity);
std::string words_of(Noise noise);
std::string words_of(Sampling sampling);

class Solver;

/// What the theory of a registered solver covers under its present options, and what these break on the problem.
Assumptions assumptions_of(Solver& solver, const ProblemTraits& traits);

/// Why the theory of a registered solver with its present options does not cover such a problem, as clauses parted by
/// "; " ("it needs a lower level that is strongly convex, but ..."); empty where it does. Step sizes and lengths of runs
/// are not looked at. Throws InputError for a solver that is not registered.
std::string theory_gaps(Solver& solver, const ProblemTraits& traits);
/// The same as a sentence with the solver's name.
std::string out_of_theory(Solver& solver, const ProblemTraits& traits);

}  // namespace bilevel
