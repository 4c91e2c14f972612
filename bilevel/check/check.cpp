#include "bilevel/check/check.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <exception>
#include <optional>

#include "bilevel/check/differences.h"
#include "bilevel/core/error.h"
#include "bilevel/hypergrad/estimator.h"
#include "bilevel/hypergrad/finite_difference/finite_difference.h"
#include "bilevel/hypergrad/implicit.h"
#include "bilevel/hypergrad/minimize.h"
#include "bilevel/linear/lanczos/lanczos.h"
#include "bilevel/oracle/second_derivatives.h"

namespace bilevel {
namespace {

using torch::Tensor;

double norm_of(const Tensor& t) { return t.norm().item<double>(); }
double dot_of(const Tensor& a, const Tensor& b) { return a.dot(b).item<double>(); }

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

/// A parameter's place in the flat variable.
struct Block {
  std::string name;
  int64_t offset = 0, size = 0;

  Tensor of(const Tensor& flat) const { return flat.narrow(0, offset, size); }
};

std::vector<Block> blocks_of(const Parameters& parameters) {
  std::vector<Block> blocks;
  int64_t offset = 0;
  for (size_t i = 0; i < parameters.tensors().size(); ++i) {
    const int64_t size = parameters.tensors()[i].numel();
    blocks.push_back({parameters.name(i), offset, size});
    offset += size;
  }
  return blocks;
}

/// All rows of a level as one batch, or `most` of them chosen at random, in their order.
Batch some_rows(const BatchSource& source, int64_t most, at::Generator& generator) {
  const Batch all = source.all();
  if (most == 0 || all.size() <= most) return all;
  const Tensor chosen =
      std::get<0>(torch::randperm(all.size(), generator, torch::kInt64).slice(0, 0, most).sort());
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < most; ++i) rows.push_back(all.rows[static_cast<size_t>(chosen[i].item<int64_t>())]);
  return source.gather(rows);
}

/// A direction in x, of length 1, along which Phi was differentiated.
struct Direction {
  size_t block = 0;  ///< index of the parameter; one past the end: all of x
  Tensor d;          ///< flat [dim x]
  Difference phi;
};

class Checker {
 public:
  Checker(const Problem& problem, const CheckOptions& options)
      : options_(options),
        oracles_(problem, options.seed),
        x_blocks_(blocks_of(oracles_.x())),
        y_blocks_(blocks_of(oracles_.y())),
        x_(oracles_.x().flat().clone()),
        y_(oracles_.y().flat().clone()),
        unit_(unit_round_off(x_.scalar_type())),
        tolerance_(options.tolerance > 0                 ? options.tolerance
                   : x_.scalar_type() == torch::kFloat64 ? 1e-5
                                                         : 2e-2) {
    at::Generator& generator = oracles_.streams().stream("check.rows");
    const auto sample = [&](const Level& level, const char* name) {
      return Sample{some_rows(level.batches, options.rows, generator).to(x_.device()),
                    oracles_.streams().draw(std::string("check.") + name)};
    };
    upper_ = sample(oracles_.problem().upper, "upper");
    lower_ = sample(oracles_.problem().lower, "lower");
    report_.upper_size = x_.numel();
    report_.lower_size = y_.numel();
    report_.upper_rows = upper_.batch.size();
    report_.lower_rows = lower_.batch.size();
    report_.all_upper_rows = oracles_.problem().upper.batches.rows();
    report_.all_lower_rows = oracles_.problem().lower.batches.rows();
    report_.dtype = x_.scalar_type() == torch::kFloat64 ? "float64" : "float32";
    report_.tolerance = tolerance_;
  }

  CheckReport run() {
    const auto purpose = oracles_.counting(Purpose::evaluation);
    const PointScope restore(oracles_, x_, y_);
    oracles_.probe(UnusedParameters::warn);  // refuses what is no problem at all
    if (losses()) {
      solve();
      gradients();
      twice();
      second_derivative_products();
      curvature();
      estimators();
    }
    if (report_.dtype == "float32") {
      report_.remarks.push_back(
          "float32: differences are good to two or three digits; a problem in float64 is checked to five");
    }
    for (const CheckItem& item : report_.items) report_.ok = report_.ok && item.verdict != Verdict::wrong;
    for (const EstimatorCheck& e : report_.estimators) report_.ok = report_.ok && e.verdict != Verdict::wrong;
    return std::move(report_);
  }

 private:
  // ---- small helpers ----

  CheckItem& note(const std::string& group, const std::string& name, Verdict verdict,
                  double error = kNoNumber, const std::string& message = "") {
    report_.items.push_back({group, name, verdict, error, message});
    return report_.items.back();
  }

  Tensor random(const Tensor& like) {
    return torch::randn(like.sizes(), oracles_.streams().stream("check.directions"), torch::kFloat64)
        .to(like.options());
  }

  double upper_value() { return oracles_.upper_point(upper_).value().item<double>(); }
  double lower_value() { return oracles_.lower_point(lower_, Graph::lower_only).value().item<double>(); }

  /// Equal to the tolerance, or as far as differences of the given error can tell. `scale`: the larger side;
  /// `overall`: of the whole to which this is a part.
  Verdict verdict(double gap, double scale, double noise, double overall, std::string& message) const {
    if (!std::isfinite(gap)) {
      message = "not finite";
      return Verdict::wrong;
    }
    if (gap <= tolerance_ * scale) return Verdict::ok;
    if (gap > 5 * noise) return Verdict::wrong;
    if (noise <= tolerance_ * overall) return Verdict::ok;
    message =
        fmt::format("the differences themselves are good to {:.1g} only: a kink nearby, or rounding", noise);
    return Verdict::warning;
  }

  static double ratio(double gap, double scale) { return gap == 0 ? 0 : gap / scale; }

  /// Length 1: half along `gradient`, where it is not zero, half at random, inside `block`.
  Tensor direction_in(const Block& block, const Tensor& gradient) {
    Tensor d = torch::zeros_like(gradient);
    Tensor part = random(block.of(gradient));
    part = part / norm_of(part);
    const double length = norm_of(block.of(gradient));
    if (length > 0 && std::isfinite(length)) part = part + block.of(gradient) / length;
    const double sum = norm_of(part);
    block.of(d).copy_(sum > 0 ? part / sum : part);
    return d;
  }

  double step_along(const Tensor& flat, const Tensor& d) const {
    // The coordinates that move set the scale.
    return std::pow(unit_, 0.25) * std::max(1.0, norm_of(flat * (d != 0)));
  }

  // ---- the tests, in this order ----

  /// Are both losses functions of their sample, and finite? False: nothing else makes sense.
  bool losses() {
    bool usable = true;
    for (const bool upper : {true, false}) {
      const char* name = upper ? "the upper loss" : "the lower loss";
      // Gradients too: what is random in them may not show in the value (noise times a y that starts at
      // zero).
      const auto evaluate = [&] {
        return upper ? oracles_.upper_gradient(upper_) : oracles_.lower_joint_gradient(lower_);
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
        note("losses", std::string(name) + " is finite", Verdict::wrong, kNoNumber,
             fmt::format("it is {}", first));
        usable = false;
      } else {
        const double error = ratio(apart, scale + std::numeric_limits<double>::min());
        const bool same = error <= 100 * unit_;
        note("losses", std::string(name) + " is a function of its sample",
             same ? Verdict::ok : Verdict::wrong, error,
             same ? ""
                  : "evaluated twice on the same rows with the same seed it differs: randomness inside the "
                    "loss "
                    "must come from LibTorch's default generator");
        usable = usable && same;
      }
    }
    if (!usable) {
      note("losses", "everything else", Verdict::skipped, kNoNumber,
           "needs losses that are finite functions");
    }
    return usable;
  }

  /// The minimum of g in y, and the point of the derivative tests, near it but not at it.
  void solve() {
    LowerLevelCheck& level = report_.lower_level;
    oracles_.y().assign(y_);
    const Minimum found = solve_lower(oracles_, lower_, {.max_gradients = options_.max_gradients});
    level.solved = found.converged;
    level.gradient_norm = found.gradient_norm;
    level.distance = found.distance;
    level.gradients = found.gradients;
    solution_ = found.y;
    if (found.converged) {
      note("lower level", "y*(x) was found", Verdict::ok);
    } else {
      note("lower level", "y*(x) was found", Verdict::wrong, kNoNumber,
           fmt::format("{}; |grad_y g| = {:.2g}", found.message, found.gradient_norm));
    }
    const Tensor& base = found.converged ? solution_ : y_;
    const Tensor away = random(base);
    test_y_ = base + 0.03 * (1 + norm_of(base)) * away / norm_of(away);
  }

  /// Gradients of f and g against differences of values, by parameter; and what has none.
  void gradients() {
    oracles_.y().assign(test_y_);
    const JointGradient f = oracles_.upper_gradient(upper_);
    const JointGradient g = oracles_.lower_joint_gradient(lower_);
    for (const bool of_x : {true, false}) {
      Parameters& variable = of_x ? oracles_.x() : oracles_.y();
      const Tensor at = variable.flat().clone();
      for (const Block& block : of_x ? x_blocks_ : y_blocks_) {
        bool moves[2] = {false, false}, detached = false;
        for (const bool upper : {true, false}) {
          const Tensor& gradient = of_x ? (upper ? f.x : g.x) : (upper ? f.y : g.y);
          const auto value = [&] { return upper ? upper_value() : lower_value(); };
          const Tensor d = direction_in(block, gradient);
          const Difference expected = differentiate(
              [&](double t) {
                variable.assign(at + t * d);
                return value();
              },
              step_along(at, d), unit_, tolerance_);
          variable.assign(at);
          const double found = dot_of(gradient, d);
          const double scale = std::max(std::abs(found), std::abs(expected.value));
          std::string message;
          const double gap = std::abs(found - expected.value);
          const Verdict v = verdict(gap, scale, expected.error, norm_of(gradient), message);
          const bool absent = block.of(gradient).count_nonzero().item<int64_t>() == 0;
          moves[upper ? 0 : 1] = !absent || influences(variable, block, at, value);
          if (v == Verdict::wrong && absent) {
            detached = true;
            message = "the loss changes with it, but its gradient is zero: detached from the graph?";
          }
          note("gradients", fmt::format("{} of {}", upper ? "f" : "g", block.name), v, ratio(gap, scale),
               message);
        }
        if (detached) report_.without_gradient.push_back(block.name);
        if (!moves[0] && !moves[1]) {
          report_.without_influence.push_back(block.name);
          note("parameters", block.name, Verdict::warning, kNoNumber, "influences neither loss");
        } else if (!of_x && !moves[1]) {
          note("parameters", block.name, Verdict::warning, kNoNumber,
               "does not influence the lower loss, so the lower level does not determine it");
        }
      }
    }
  }

  /// Whether the loss changes at all when a parameter moves far (a derivative may vanish by symmetry).
  bool influences(Parameters& variable, const Block& block, const Tensor& at,
                  const std::function<double()>& value) {
    const double before = value();
    bool moved = false;
    for (const double size : {1e-2, 1.0}) {
      Tensor shifted = at.clone();
      const Tensor r = random(block.of(at));
      block.of(shifted).add_(r, size * (1 + norm_of(block.of(at))) / norm_of(r));
      variable.assign(shifted);
      const double after = value();
      moved = moved || after != before;  // NaN is a change
    }
    variable.assign(at);
    return moved;
  }

  /// What LibTorch cannot differentiate twice, parameter by parameter.
  void twice() {
    oracles_.y().assign(test_y_);
    std::string flat, apart;  // names
    for (const SecondDerivative& one : second_derivatives(oracles_, lower_)) {
      if (!one.failure.empty()) {
        report_.not_twice_differentiable.push_back(fmt::format("{}: {}", one.parameter, one.failure));
        note("second derivatives", fmt::format("of g through {}", one.parameter), Verdict::wrong, kNoNumber,
             "cannot be differentiated twice: " + one.failure);
      } else if (one.vanishes) {
        std::string& names = one.parameter.starts_with("lower") ? flat : apart;
        names += (names.empty() ? "" : ", ") + one.parameter;
      }
    }
    if (!flat.empty()) {
      report_.remarks.push_back("grad_y g does not change with " + flat +
                                ": no curvature there (g piecewise linear in it?)");
    }
    if (!apart.empty()) {
      report_.remarks.push_back("grad_y g does not change with " + apart +
                                ": no cross derivative there, y*(x) does not move with it");
    }
  }

  /// Hessian and cross products against differences of gradients, symmetry and adjoint.
  void second_derivative_products() {
    oracles_.y().assign(test_y_);
    const char* whose = oracles_.has_lower_hessian() ? "Problem::lower_hessian" : "H v of g";
    const double step = std::pow(unit_, 0.25);
    const Tensor v = random(y_), w = random(y_), u = random(x_);
    try {
      LowerPoint point = oracles_.lower_point(lower_, Graph::both);
      const Tensor hv = point.hvp(v), hw = point.hvp(w), jv = point.cross_vjp(v);
      const double left = dot_of(hv, w), right = dot_of(v, hw);
      const double product_scale =
          std::max({std::abs(left), std::abs(right),
                    norm_of(hv) * norm_of(w) / std::sqrt(static_cast<double>(y_.numel()))});
      const auto hessian = extrapolate(difference_hvp(oracles_, lower_, v, step),
                                       difference_hvp(oracles_, lower_, v, step / 2));
      products_agree_ = compare(std::string(whose) + " in ", y_blocks_, hv, hessian);
      const auto cross = extrapolate(difference_cross(oracles_, lower_, v, step),
                                     difference_cross(oracles_, lower_, v, step / 2));
      compare("J v of g in ", x_blocks_, jv, cross);
      const double skew = ratio(std::abs(left - right), product_scale);
      note("second derivatives", fmt::format("symmetry <Hu,w> = <u,Hw> of {}", whose),
           skew <= tolerance_ ? Verdict::ok : Verdict::wrong, skew,
           skew <= tolerance_ ? "" : "the lower Hessian must be symmetric");
      adjoint(jv, v, u, step);
    } catch (const std::exception& error) {
      products_agree_ = false;
      note("second derivatives", "products with them", Verdict::wrong, kNoNumber, first_line(error.what()));
    }
  }

  /// Block by block; true when nothing is wrong.
  bool compare(const std::string& what, const std::vector<Block>& blocks, const Tensor& found,
               const VectorDifference& expected) {
    bool agree = true;
    const double overall = std::max(norm_of(found), norm_of(expected.value));
    for (const Block& block : blocks) {
      const double gap = norm_of(block.of(found) - block.of(expected.value));
      const double scale = std::max(norm_of(block.of(found)), norm_of(block.of(expected.value)));
      const double noise = norm_of(block.of(expected.error)) + 1e-3 * tolerance_ * overall;
      std::string message;
      const Verdict v = verdict(gap, scale, noise, overall, message);
      if (v == Verdict::wrong && message.empty()) {
        message = oracles_.has_lower_hessian() && what.starts_with("Problem")
                      ? "differs from the differences of grad_y g"
                      : "differs from the differences of the gradient: a backward pass that is not itself "
                        "differentiable?";
      }
      agree = agree && v != Verdict::wrong;
      note("second derivatives", what + block.name, v, ratio(gap, scale), message);
    }
    return agree;
  }

  /// <Jz, u> = <z, J'u> with J'u a difference of grad_y g along u.
  void adjoint(const Tensor& jz, const Tensor& z, const Tensor& u, double step) {
    const double h = step * (1 + norm_of(x_)) / norm_of(u);
    const auto central = [&](double t) {
      const auto at = [&](double shift) {
        const PointScope moved(oracles_, x_ + shift * u, test_y_);
        return oracles_.lower_gradient(lower_);
      };
      return (at(t) - at(-t)) / (2 * t);
    };
    const VectorDifference ju = extrapolate(central(h), central(h / 2));
    const double left = dot_of(jz, u), right = dot_of(z, ju.value);
    const double scale = std::max({std::abs(left), std::abs(right),
                                   norm_of(jz) * norm_of(u) / std::sqrt(static_cast<double>(x_.numel()))});
    const double noise = dot_of(z.abs(), ju.error);
    std::string message;
    const Verdict v = verdict(std::abs(left - right), scale, noise, scale, message);
    note("second derivatives", "adjoint <Jz,u> = <z,J'u> of g", v, ratio(std::abs(left - right), scale),
         message);
  }

  /// Products with the Hessian of g at the present point, by whatever can be trusted.
  ExtremeEigenvalues spectrum() {
    const LanczosOptions effort{.max_products = 100, .tolerance = 1e-6};
    if (!products_agree_) {
      return lanczos([&](const Tensor& v) { return difference_hvp(oracles_, lower_, v); }, random(y_),
                     effort);
    }
    LowerPoint point = oracles_.lower_point(lower_, Graph::lower_only);
    return lanczos(point_hessian(point), random(y_), effort);
  }

  void curvature() {
    LowerLevelCheck& level = report_.lower_level;
    oracles_.y().assign(y_);
    const ExtremeEigenvalues start = spectrum();
    level.start_smallest_curvature = start.smallest;
    level.start_largest_curvature = start.largest;
    oracles_.y().assign(level.solved ? solution_ : y_);
    const ExtremeEigenvalues found = level.solved ? spectrum() : start;
    level.smallest_curvature = found.smallest;
    level.largest_curvature = found.largest;
    const double size = std::max(std::abs(found.smallest), std::abs(found.largest));
    const double flat = std::max(10 * unit_, 1e-9) * size;
    level.strongly_convex = level.solved && found.smallest > flat;
    const auto add = [&](Verdict v, const std::string& message) {
      note("lower level", "g is strongly convex in y here", v, kNoNumber, message);
    };
    const std::string bound = found.message.empty() ? "" : "; more products might find a smaller one";
    if (found.failed) {
      add(Verdict::wrong, found.message);
    } else if (!level.solved) {
      add(found.smallest < -flat ? Verdict::wrong : Verdict::warning,
          fmt::format("the smallest curvature at the given y is {:.3g}, the largest {:.3g}", found.smallest,
                      found.largest));
    } else if (found.smallest < -flat) {
      add(Verdict::wrong,
          fmt::format("the smallest curvature is {:.3g}: the y found is no minimum", found.smallest));
    } else if (!level.strongly_convex) {
      add(Verdict::warning,
          fmt::format(
              "the smallest curvature is {:.2g} (largest {:.3g}): y*(x) is not unique, or not smooth in x",
              found.smallest, found.largest));
    } else if (start.smallest < -flat) {
      add(Verdict::warning,
          fmt::format("curvature from {:.3g} to {:.3g} at y*, but {:.3g} at the given y: g is not convex",
                      found.smallest, found.largest, start.smallest));
    } else {
      add(Verdict::ok,
          fmt::format("curvature from {:.3g} to {:.3g}{}", found.smallest, found.largest, bound));
    }
  }

  // ---- estimators ----

  void estimators() {
    std::vector<std::string> names = options_.estimators;
    if (names.empty()) {
      for (const EstimatorEntry& entry : estimator_registry()) names.push_back(entry.name);
    }
    for (const std::string& name : names) make_estimator(name);  // refuses unknown names
    if (!report_.lower_level.solved) {
      for (const std::string& name : names) {
        report_.estimators.push_back(
            {.name = name, .verdict = Verdict::skipped, .message = "there is no y*(x) to compare at"});
      }
      return;
    }
    oracles_.y().assign(solution_);
    const JointGradient f = oracles_.upper_gradient(upper_);
    upper_x_ = f.x;
    upper_y_ = f.y;
    differentiate_phi();
    oracles_.y().assign(solution_);
    const EstimatorCheck by_exact = examine("exact", std::nullopt);
    std::optional<Tensor> exact;  // where it is right itself
    if (exact_value_.defined() && by_exact.verdict != Verdict::wrong) exact = exact_value_;
    for (const std::string& name : names) {
      oracles_.y().assign(solution_);
      report_.estimators.push_back(name == "exact" ? by_exact : examine(name, exact));
    }
  }

  /// Phi' along every direction, the lower level solved anew at every point.
  void differentiate_phi() {
    // From first derivatives: its errors, if any, only make the directions less well chosen.
    const Estimate rough = finite_difference_estimate(oracles_, upper_, lower_, {});
    const Tensor guess = rough.failed ? upper_x_ : rough.value;
    const Block all{"all of x", 0, x_.numel()};
    const auto add = [&](size_t block, const Tensor& d) { directions_.push_back({block, d, {}}); };
    const size_t blocks = x_blocks_.size();
    if (x_.numel() <= options_.coordinate_limit) {
      for (size_t b = 0; b < blocks; ++b) {
        for (int64_t i = 0; i < x_blocks_[b].size; ++i) {
          Tensor d = torch::zeros_like(x_);
          d[x_blocks_[b].offset + i] = 1;
          add(b, d);
        }
      }
    } else if (blocks > 1) {
      for (size_t b = 0; b < blocks; ++b) {
        for (int64_t k = 0; k < options_.directions; ++k) add(b, direction_in(x_blocks_[b], guess));
      }
    }
    for (int64_t k = 0; k < options_.directions; ++k) add(blocks, direction_in(all, guess));

    overall_ = 0;
    bool solved = true;
    for (Direction& direction : directions_) {
      direction.phi = differentiate(
          [&](double t) {
            const PointScope moved(oracles_, x_ + t * direction.d, solution_);
            const Minimum found = solve_lower(oracles_, lower_, {.max_gradients = options_.max_gradients});
            solved = solved && found.converged;
            return upper_value();
          },
          step_along(x_, direction.d), unit_, tolerance_);
      overall_ = std::max(overall_, std::abs(direction.phi.value));
    }
    // Where Phi is flat, the terms that cancel set the scale.
    overall_ = std::max(overall_, 1e-2 * (norm_of(upper_x_) + norm_of(guess - upper_x_)));
    note("lower level", "y*(x) was found at every shifted x", solved ? Verdict::ok : Verdict::warning,
         kNoNumber, solved ? "" : "the finite differences of Phi are not accurate");
  }

  /// Steps that bring a linear iteration below the tolerance: (1 - mu/l)^Q = 1e-2 tolerance.
  int64_t terms() const {
    const LowerLevelCheck& level = report_.lower_level;
    const double contraction =
        level.strongly_convex ? level.smallest_curvature / level.largest_curvature : 1e-3;
    if (contraction >= 0.99) return 3;
    return static_cast<int64_t>(std::min(1e12, std::log(1e-2 * tolerance_) / std::log1p(-contraction))) + 2;
  }

  /// Runs an estimator with enough effort. `limited`: that would be more than was allowed.
  Estimate estimate_by(const std::string& name, bool& limited, std::string& remark) {
    const std::unique_ptr<Estimator> estimator = make_estimator(name);
    const LowerLevelCheck& level = report_.lower_level;
    const double condition =
        level.strongly_convex ? level.largest_curvature / level.smallest_curvature : 1 / std::sqrt(unit_);
    const bool krylov = name == "cg" || name == "cg-normal" || name == "finite-difference";
    const bool unrolled = name == "unrolled";
    // A second factor k on the rate of unrolling: the iterates still move.
    const int64_t wanted = krylov                              ? 20 * y_.numel() + 100
                           : unrolled || name == "fixed-point" ? 2 * terms()
                                                               : terms();
    int64_t most = options_.max_products;
    if (unrolled) {  // its iterates take 512 MiB at most
      most = std::min(most, std::max<int64_t>(1, (int64_t{1} << 29) / (8 * y_.numel())));
    }
    limited = !krylov && wanted > most;
    const int64_t steps = std::min(wanted, most);
    const double best = name == "finite-difference" ? std::pow(unit_, 0.6) : 16 * unit_;
    const double linear_tolerance = std::max(best, 1e-2 * tolerance_ / condition);
    const nlohmann::json wishes{
        {"linear_steps", steps},
        {"lower_steps", steps},
        {"linear_step_size",
         level.largest_curvature > 0 ? nlohmann::json(1 / level.largest_curvature) : "auto"},
        {"lower_step_size",
         level.largest_curvature > 0 ? nlohmann::json(1 / level.largest_curvature) : "auto"},
        {"linear_tolerance", linear_tolerance},
        {"max_gradients", options_.max_gradients}};
    const Fields fields = fields_of(*estimator);
    const auto set = [&](const std::string& field, const nlohmann::json& value) {
      for (const Field& f : fields.list()) {
        if (f.name == field) f.set(value);
      }
    };
    for (const auto& [field, value] : wishes.items()) set(field, value);
    if (name == "value-function") return by_value_function(*estimator, set, remark);
    if (unrolled) {  // from a start at which the iterates do move
      const Tensor away = random(y_);
      oracles_.y().assign(solution_ + 1e-3 * (1 + norm_of(solution_)) * away / norm_of(away));
    }
    if (limited && level.strongly_convex) {
      remark =
          fmt::format("{} of about {} steps that the condition {:.2g} asks for", steps, wanted, condition);
    } else if (limited) {
      remark = fmt::format("{} steps", steps);
    }
    Estimate estimate = estimator->estimate(oracles_, upper_, lower_);
    if (krylov && !estimate.failed) {
      limited = estimate.residual.item<double>() > 10 * linear_tolerance * norm_of(upper_y_);
    }
    return estimate;
  }

  /// The penalty's bias is a/lambda + ...: two multipliers, extrapolated. lambda is chosen such that y moves
  /// by a fixed small step between g and g + f/lambda.
  Estimate by_value_function(Estimator& estimator,
                             const std::function<void(const std::string&, const nlohmann::json&)>& set,
                             std::string& remark) {
    const double l = report_.lower_level.largest_curvature, mu = report_.lower_level.smallest_curvature;
    const double z = report_.lower_level.strongly_convex ? norm_of(upper_y_) / mu : norm_of(upper_y_) / l;
    // Not less than what keeps g + f/lambda convex: the curvature of f in y, seen through differences.
    const auto curvature_of_f = [&] {
      const Tensor d = random(y_);
      const double t = std::sqrt(unit_) * (1 + norm_of(solution_)) / norm_of(d);
      const PointScope moved(oracles_, x_, solution_ + t * d);
      return norm_of(oracles_.upper_gradient(upper_).y - upper_y_) / (t * norm_of(d));
    };
    const double convex = 1e3 * curvature_of_f() / std::max(mu, 1e-6 * l);
    const double lambda = std::max({z / (std::pow(unit_, 0.25) * (1 + norm_of(solution_))), convex, 1.0});
    set("multiplier", lambda);
    const Estimate first = estimator.estimate(oracles_, upper_, lower_);
    if (first.failed) return first;
    set("multiplier", 2 * lambda);
    Estimate second = estimator.estimate(oracles_, upper_, lower_);
    if (second.failed) return second;
    remark = fmt::format("extrapolated from lambda = {:.2g} and {:.2g}", lambda, 2 * lambda);
    second.value = 2 * second.value - first.value;
    second.cost += first.cost;
    return second;
  }

  EstimatorCheck examine(const std::string& name, const std::optional<Tensor>& exact) {
    EstimatorCheck found{.name = name};
    const bool defined = report_.lower_level.strongly_convex;
    const std::string undefined = "g is not strongly convex in y here";
    if (name == "exact" && y_.numel() > options_.dense_limit) {
      found.verdict = Verdict::skipped;
      found.message = fmt::format("dim y = {} is above the limit of {}", y_.numel(), options_.dense_limit);
      return found;
    }
    bool limited = false;
    std::string remark;
    Estimate estimate;
    try {
      estimate = estimate_by(name, limited, remark);
    } catch (const InputError&) {
      throw;
    } catch (const std::exception& error) {
      found.verdict = Verdict::wrong;
      found.message = first_line(error.what());
      return found;
    }
    found.cost = estimate.cost;
    if (estimate.residual.defined()) found.residual = estimate.residual.item<double>();
    const auto say = [&](const std::string& text) {
      if (!text.empty()) found.message += (found.message.empty() ? "" : "; ") + text;
    };
    if (estimate.failed) {
      found.verdict = defined ? Verdict::wrong : Verdict::warning;
      say(estimate.message);
      return found;
    }
    if (name == "exact") exact_value_ = estimate.value;

    found.blocks.resize(x_blocks_.size());
    for (size_t b = 0; b < x_blocks_.size(); ++b) found.blocks[b].parameter = x_blocks_[b].name;
    Verdict worst = Verdict::ok;
    std::string reason;
    const auto larger = [](double a, double b) {
      return std::isnan(a) ? b : std::isnan(b) ? b : std::max(a, b);
    };
    for (const Direction& direction : directions_) {
      const double along = dot_of(estimate.value, direction.d);
      const double gap = std::abs(along - direction.phi.value);
      const double scale = std::max({std::abs(along), std::abs(direction.phi.value), 1e-2 * overall_});
      std::string message;
      const Verdict v = verdict(gap, scale, direction.phi.error, overall_, message);
      const double error = ratio(gap, scale);
      found.against_differences = larger(found.against_differences, error);
      if (direction.block < found.blocks.size()) {
        double& of_block = found.blocks[direction.block].against_differences;
        of_block = larger(of_block, error);
      } else if (found.blocks.size() == 1) {
        double& of_block = found.blocks[0].against_differences;
        of_block = larger(of_block, error);
      }
      if (v == Verdict::wrong || (v == Verdict::warning && worst == Verdict::ok)) {
        worst = v;
        reason = message.empty() ? "differs from the finite differences of the solved problem" : message;
      }
    }
    if (exact && name != "exact") {
      const double overall = norm_of(*exact);
      found.against_exact = ratio(norm_of(estimate.value - *exact), std::max(overall, 1e-2 * overall_));
      for (size_t b = 0; b < x_blocks_.size(); ++b) {
        const Tensor of_exact = x_blocks_[b].of(*exact);
        found.blocks[b].against_exact = ratio(norm_of(x_blocks_[b].of(estimate.value) - of_exact),
                                              std::max({norm_of(of_exact), 1e-2 * overall, 1e-2 * overall_}));
        if (found.blocks[b].against_exact > tolerance_ && worst != Verdict::wrong) {
          worst = Verdict::wrong;
          reason = "differs from the exact dense solution";
        }
      }
    }
    found.verdict = worst;
    if (worst == Verdict::wrong && !defined) {
      found.verdict = Verdict::warning;
      reason += "; " + undefined;
    } else if (worst == Verdict::wrong && limited) {
      found.verdict = Verdict::warning;
      reason = "not converged";
    }
    say(reason);
    say(remark);
    say(estimate.message);
    return found;
  }

  CheckOptions options_;
  Oracles oracles_;
  std::vector<Block> x_blocks_, y_blocks_;
  Tensor x_, y_;  // as given
  double unit_, tolerance_;
  Sample upper_, lower_;
  Tensor solution_, test_y_;
  Tensor upper_x_, upper_y_;  // grad_x f and grad_y f at y*
  Tensor exact_value_;
  std::vector<Direction> directions_;
  double overall_ = 0;          // scale of grad Phi
  bool products_agree_ = true;  // H v from the problem is what the differences say
  CheckReport report_;
};

}  // namespace

void CheckOptions::fields(Fields& f) {
  f.number("tolerance", tolerance, kNonNegative, "relative error that counts as equal; 0: by precision");
  f.integer("rows", rows, kNonNegative, "rows of each level at most; 0: all");
  f.integer("directions", directions, kAtLeastOne, "random directions for each parameter of x");
  f.integer("coordinate_limit", coordinate_limit, kNonNegative,
            "dimension of x up to which all coordinates serve");
  f.integer("dense_limit", dense_limit, kNonNegative,
            "dimension of y up to which the dense solution is compared");
  f.integer("max_products", max_products, kAtLeastOne, "products or steps of one estimator at most");
  f.integer("max_gradients", max_gradients, kAtLeastOne, "gradients of one minimization of g at most");
}

CheckReport check(const Problem& problem, const CheckOptions& options) {
  CheckOptions checked = options;
  fields_of(checked).validate();
  return Checker(problem, checked).run();
}

}  // namespace bilevel
