// Can this problem's hypergradient be trusted? Every estimator against finite differences of the solved
// problem.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/core/fields.h"
#include "bilevel/oracle/counts.h"
#include "bilevel/problem/problem.h"

namespace bilevel {

struct CheckOptions {
  double tolerance = 0;    ///< relative error that counts as equal; 0: 1e-5 in float64, 2e-2 in float32
  int64_t rows = 1000;     ///< rows of each level at most, chosen at random; 0: all
  int64_t directions = 2;  ///< random directions for each parameter of x, and for all of x
  int64_t coordinate_limit = 24;  ///< up to this dimension of x, every coordinate is a direction too
  int64_t dense_limit = 400;      ///< up to this dimension of y, the exact dense solution is compared
  int64_t max_products = 5000;    ///< products or steps of one estimator at most
  int64_t max_gradients = 20000;  ///< gradients of one minimization of g at most
  uint64_t seed = 0;              ///< of samples and directions
  std::vector<std::string> estimators = {};  ///< by name; empty: all

  void fields(Fields& fields);
};

/// skipped: could not be tried, `message` says why; it makes nothing wrong.
enum class Verdict { ok, warning, wrong, skipped };
const char* to_string(Verdict verdict);

inline constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

/// One test of the problem itself.
struct CheckItem {
  std::string group;  ///< "losses", "gradients", "second derivatives", "lower level", "parameters"
  std::string name;   ///< what was tested, with the parameter's name
  Verdict verdict = Verdict::ok;
  double error = kNoNumber;  ///< relative to the larger side; NaN: not a number's test
  std::string message;
};

/// One parameter of x.
struct BlockErrors {
  std::string parameter;
  double against_differences = kNoNumber;  ///< largest relative error of the directional derivatives
  double against_exact = kNoNumber;        ///< ||estimate - exact|| / ||exact|| of the block
};

/// One estimator at (x, y*(x)).
struct EstimatorCheck {
  std::string name;
  Verdict verdict = Verdict::ok;
  double against_differences = kNoNumber;  ///< the largest over all directions
  double against_exact = kNoNumber;        ///< NaN: dim y is above the limit
  double residual = kNoNumber;             ///< see `Estimate::residual`
  OracleCounts cost;
  std::string message;
  std::vector<BlockErrors> blocks;
};

/// The lower level at the present x.
struct LowerLevelCheck {
  bool solved = false;
  double gradient_norm = kNoNumber;                                      ///< ||grad_y g|| at the y found
  double distance = kNoNumber;                                           ///< estimate of ||y - y*||
  int64_t gradients = 0;                                                 ///< that it took
  double smallest_curvature = kNoNumber, largest_curvature = kNoNumber;  ///< of g in y at the y found
  double start_smallest_curvature = kNoNumber, start_largest_curvature = kNoNumber;  ///< at the y given
  bool strongly_convex = false;                                                      ///< at the y found
};

struct CheckReport {
  bool ok = true;  ///< nothing is wrong
  int64_t upper_size = 0, lower_size = 0;
  int64_t upper_rows = 0, lower_rows = 0;          ///< used
  int64_t all_upper_rows = 0, all_lower_rows = 0;  ///< of the problem
  std::string dtype;                               ///< "float64", "float32"
  double tolerance = 0;
  LowerLevelCheck lower_level;
  std::vector<CheckItem> items;
  std::vector<EstimatorCheck> estimators;
  std::vector<std::string> not_twice_differentiable;  ///< parameters, with LibTorch's reason
  std::vector<std::string> without_influence;         ///< parameters that neither loss changes with
  std::vector<std::string> without_gradient;  ///< parameters that a loss changes with, but has no gradient in
  std::vector<std::string> remarks;

  /// Everything; a number that is not known is null.
  nlohmann::ordered_json to_json() const;
  /// For people, several lines. Tests that passed are summed up where they are many.
  std::string table() const;
};

/// Examines a problem at its present x and y; both are afterwards what they were, bit for bit. One fixed
/// sample a level (all rows, or `rows` of them, and one draw of the randomness inside the loss), so that
/// everything is deterministic.
///
/// Tests: are the losses functions of their sample; gradients of f and g against differences of their values,
/// by parameter; Hessian-vector and cross products against differences of gradients, <Hu, w> = <u, Hw> and
/// <Jz, u> = <z, J'u>; parameters without influence or without gradient; second derivatives that LibTorch
/// does not have; the solution of the lower level and its smallest and largest curvature; every estimator of
/// `estimator_registry()` against central differences (extrapolated, with their own error) of the solved
/// problem Phi, whose lower level is minimized anew at every point from first derivatives alone, and, up to
/// `dense_limit`, against the exact dense solution; by parameter of x.
///
/// Where g is not strongly convex in y, y*(x) need not be unique and the implicit formula need not hold: an
/// estimator that then fails or disagrees is a warning. An estimator whose effort `max_products` cut short
/// likewise. Cost: five minimizations of g a direction, up to fifteen near a kink, plus the estimators.
/// Throws InputError for a problem that is not complete, and for an impossible option.
CheckReport check(const Problem& problem, const CheckOptions& options = {});

}  // namespace bilevel
