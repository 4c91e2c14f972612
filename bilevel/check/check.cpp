#include "bilevel/check/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "bilevel/check/batch_tests.h"
#include "bilevel/check/derivative_tests.h"
#include "bilevel/check/estimator_tests.h"
#include "bilevel/check/lower_level.h"
#include "bilevel/check/session.h"

namespace bilevel {
namespace {

/// Are both losses functions of their sample, and finite? False: nothing else makes sense.
bool test_losses(Session& s) {
  bool usable = true;
  for (const bool upper : {true, false}) {
    const char* name = upper ? "the upper loss" : "the lower loss";
    // Gradients too: what is random in them may not show in the value (noise times a y that starts at
    // zero).
    const auto evaluate = [&] {
      return upper ? s.oracles.upper().gradient(s.upper) : s.oracles.lower().gradient(s.lower);
    };
    const JointGradient one = evaluate();
    const double first = one.value.item<double>();
    const double scale = std::abs(first) + norm_of(one.x) + norm_of(one.y);
    double apart = 0;
    for (int k = 0; k < 3; ++k) {
      const JointGradient two = evaluate();
      apart = std::max({apart, std::abs(two.value.item<double>() - first), norm_of(two.x - one.x),
                        norm_of(two.y - one.y)});
    }
    if (!std::isfinite(first)) {
      s.note("losses", fmt::format("{} is finite", name), Verdict::wrong, kNoNumber,
             fmt::format("it is {}", first));
      usable = false;
      continue;
    }
    const double error = apart == 0 ? 0 : apart / (scale + std::numeric_limits<double>::min());
    const bool same = error <= 100 * s.unit;
    s.note("losses", fmt::format("{} is a function of its sample", name), same ? Verdict::ok : Verdict::wrong,
           error,
           same ? ""
                : "evaluated twice on the same rows with the same seed it differs: randomness inside the "
                  "loss must come from LibTorch's default generator");
    usable = usable && same;
  }
  if (!usable) {
    s.note("losses", "everything else", Verdict::skipped, kNoNumber,
           "needs losses that are finite functions");
  }
  return usable;
}

}  // namespace

void CheckOptions::fields(Fields& f) {
  f.number("tolerance", tolerance, kNonNegative, "relative error that counts as equal; 0: by precision");
  f.integer("rows", rows, kNonNegative, "rows of each level at most; 0: all");
  f.integer("points", points, kNonNegative, "points away from the start at which derivatives are tested too");
  f.integer("starts", starts, kNonNegative, "other starts of y, to see whether one ends lower; 0: none");
  f.integer("directions", directions, kAtLeastOne, "random directions for each parameter of x");
  f.integer("coordinate_limit", coordinate_limit, kNonNegative,
            "dimension of x up to which all coordinates serve");
  f.integer("dense_limit", dense_limit, kNonNegative,
            "dimension of y up to which the dense solution is compared");
  f.integer("max_products", max_products, kAtLeastOne, "products or steps of one estimator at most");
  f.integer("max_gradients", max_gradients, kAtLeastOne, "gradients of one minimization of g at most");
  f.integer("seed", seed, kNonNegative, "seed of the problem, the samples and the directions");
}

CheckReport check(const Problem& problem, const CheckOptions& options) {
  CheckOptions checked = options;
  fields_of(checked).validate();
  Session s(problem, checked);
  const auto purpose = s.oracles.counting(Purpose::evaluation);
  const PointScope restore(s.oracles, s.x, s.y);
  s.oracles.probe(UnusedParameters::warn);  // refuses what is no problem at all
  if (test_losses(s)) {
    s.find_lengths();
    LowerLevel lower(s);
    const bool solved = lower.solve();
    if (solved) lower.other_starts();
    const std::vector<TestPoint> points = test_points(s, lower.solution());
    test_batches(s, points.back());
    const bool products_agree = DerivativeTests(s).run(points);
    lower.curvature(products_agree);
    EstimatorTests(s, lower).run();
  }
  CheckReport& report = s.report;
  if (report.dtype == "float32") {
    report.remarks.emplace_back(
        "float32: differences are good to two or three digits; a problem in float64 is checked to five");
  }
  const auto count = [&](Verdict v) {
    return std::count_if(report.items.begin(), report.items.end(),
                         [v](const CheckItem& i) { return i.verdict == v; }) +
           std::count_if(report.estimators.begin(), report.estimators.end(),
                         [v](const EstimatorCheck& e) { return e.verdict == v; });
  };
  report.wrong = count(Verdict::wrong);
  report.unsure = count(Verdict::unsure);
  report.warnings = count(Verdict::warning);
  report.ok = report.wrong == 0;
  return std::move(report);
}

}  // namespace bilevel
