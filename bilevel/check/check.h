// Can this problem's hypergradient be trusted? Every estimator against finite differences of the solved
// problem.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/core/fields.h"
#include "bilevel/hypergrad/estimator.h"
#include "bilevel/oracle/counts.h"
#include "bilevel/problem/problem.h"

namespace bilevel {

struct CheckOptions {
  double tolerance = 0;    ///< relative error that counts as equal; 0: 1e-5 in float64, 2e-2 in float32
  int64_t rows = 1000;     ///< rows of each level at most, chosen at random; 0: all
  int64_t points = 2;      ///< points away from the start, at which derivatives are tested too
  int64_t starts = 4;      ///< about so many other starts of y, and lines to search for them; 0: none
  int64_t directions = 2;  ///< random directions for each parameter of x, and for all of x
  int64_t coordinate_limit = 24;  ///< up to this dimension of x, every coordinate is a direction too
  int64_t dense_limit = 400;      ///< up to this dimension of y, the exact dense solution is compared
  int64_t max_products = 5000;    ///< products or steps of one estimator at most
  int64_t max_gradients = 20000;  ///< gradients of one minimization of g at most
  uint64_t seed = 0;              ///< of samples, directions, points and starts
  std::vector<std::string> estimators = {};  ///< by name; empty: all
  std::vector<EstimatorEntry> own =
      {};  ///< further estimators, or, of the same name, in place of the library's

  void fields(Fields& fields);
};

/// ok: equal to the tolerance, by a reference that is accurate enough to say so. wrong: different by more than five
/// times the error of the reference. unsure ("cannot tell"): the reference is not accurate enough for either. warning:
/// a property of the problem, or an effort that was cut short, that a user should know of. skipped: could not be
/// tried, `message` says why. Only wrong makes a report not ok.
enum class Verdict { ok, warning, unsure, wrong, skipped };
const char* to_string(Verdict verdict);

inline constexpr double kNoNumber = std::numeric_limits<double>::quiet_NaN();

/// One test of the problem itself.
struct CheckItem {
  std::string group;  ///< "losses", "batches", "gradients", "second derivatives", "lower level", "parameters"
  std::string name;   ///< what was tested, with the parameter's name
  Verdict verdict = Verdict::ok;
  double error = kNoNumber;  ///< relative to the larger side; NaN: not a number's test
  bool absolute = false;     ///< `error` is absolute: both sides are zero as far as can be told
  std::string message;
};

/// One parameter of x.
struct BlockErrors {
  std::string parameter;
  double against_differences = kNoNumber;  ///< largest relative error of the directional derivatives
  double against_exact = kNoNumber;        ///< ||estimate - exact|| / ||exact|| of the block
  bool absolute = false;  ///< both are absolute: the block is less than 1 % of the hypergradient
};

/// One estimator at (x, y*(x)).
struct EstimatorCheck {
  std::string name;
  Verdict verdict = Verdict::ok;
  double against_differences =
      kNoNumber;                     ///< the largest over all directions; relative, but at least to 1 % of
                                     ///< the whole hypergradient
  double against_exact = kNoNumber;  ///< NaN: dim y is above the limit, or the dense solution is wrong itself
  bool absolute =
      false;  ///< both are absolute: the hypergradient is less than 1 % of the terms that cancel in it
  double residual = kNoNumber;  ///< see `Estimate::residual`
  double cosine_to_optimistic =
      kNoNumber;  ///< where y*(x) is not unique: with the gradient of the least f over
                  ///< the minimizers of g
  OracleCounts cost;
  std::string message;
  std::vector<BlockErrors> blocks;
};

/// The lower level at the present x.
struct LowerLevelCheck {
  bool solved = false;
  double gradient_norm = kNoNumber;  ///< ||grad_y g|| at the y found
  double distance = kNoNumber;       ///< estimate of ||y - y*||: ||grad_y g|| over the smallest curvature
  int64_t starts = 0;                ///< other starts of y that were minimized from
  double value = kNoNumber,
         lowest_value = kNoNumber;  ///< g at the y found, and the lowest that any start found
  int64_t gradients = 0;            ///< that it took
  double smallest_curvature = kNoNumber, largest_curvature = kNoNumber;  ///< of g in y at the y found
  double start_smallest_curvature = kNoNumber, start_largest_curvature = kNoNumber;  ///< at the y given
  bool strongly_convex = false;                                                      ///< at the y found
};

struct CheckReport {
  bool ok = true;                               ///< nothing is wrong
  int64_t wrong = 0, unsure = 0, warnings = 0;  ///< how many tests and estimators are
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

/// Examines a problem at its present x and y, and near them; both are afterwards what they were, bit for bit
/// (buffers that a loss itself updates, as running statistics, are not restored). One fixed sample a level (all rows,
/// or `rows` of them, and one draw of the randomness inside the loss), so that everything is deterministic.
///
/// Tests: are the losses functions of their sample; means over rows, in whatever order, so that minibatches are
/// unbiased (values and gradients); gradients of f and g against differences of their values, by parameter, at the
/// start and at `points` points away from it; there too Hessian-vector and cross products against differences of
/// gradients, <Hu, w> = <u, Hw> and <Jz, u> = <z, J'u>; parameters without influence or without gradient; second
/// derivatives that LibTorch does not have; the solution of the lower level, whether another start of y ends lower,
/// and its smallest and largest curvature; every estimator of `estimator_registry()`, and `own` ones, up to
/// `dense_limit` against the exact dense solution, and against differences of the solved problem Phi, whose lower
/// level is minimized anew at every point; by parameter of x.
///
/// Every difference carries its own error: steps adapt to it, it counts the distance from y*(x) (|grad_y g| over the
/// smallest curvature), and what would be called wrong is confirmed by other steps first. The error that rounding
/// leaves in an estimator at the problem's condition counts too.
///
/// Where g is not strongly convex in y, y*(x) need not be unique and the implicit formula need not hold: an estimator
/// that then fails or disagrees is a warning, and so is one that differs from the optimistic hypergradient, the
/// gradient of the least f over the minimizers of g. An estimator whose effort `max_products` cut short likewise.
/// Cost: five minimizations of g a direction, up to some 25 where differences are hard, about ten for other starts,
/// plus the estimators. Throws InputError for a problem that is not complete, and for an impossible option.
CheckReport check(const Problem& problem, const CheckOptions& options = {});

}  // namespace bilevel
