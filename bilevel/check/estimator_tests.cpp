#include "bilevel/check/estimator_tests.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <exception>

#include "bilevel/core/error.h"
#include "bilevel/hypergrad/finite_difference/finite_difference.h"

namespace bilevel {
namespace {

using torch::Tensor;

constexpr double kZero = 1e-2;  // a part of the whole below which errors are relative to the whole

/// Sets the option of that name, where there is one.
void set_field(const Fields& fields, const std::string& name, const nlohmann::json& value) {
  if (const Field* field = fields.find(name)) field->set(value);
}

double larger(double a, double b) { return std::isnan(a) ? b : std::isnan(b) ? b : std::max(a, b); }

}  // namespace

std::vector<EstimatorEntry> EstimatorTests::entries() const {
  std::vector<EstimatorEntry> all(estimator_registry().begin(), estimator_registry().end());
  for (const EstimatorEntry& own : s_.options.own) {
    const auto same = std::find_if(all.begin(), all.end(), [&](const auto& e) { return e.name == own.name; });
    if (same != all.end()) {
      *same = own;
    } else {
      all.push_back(own);
    }
  }
  if (s_.options.estimators.empty()) return all;
  std::vector<EstimatorEntry> chosen;
  for (const std::string& name : s_.options.estimators) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& e) { return e.name == name; });
    if (found == all.end()) make_estimator(name);  // throws, with the names there are
    chosen.push_back(*found);
  }
  return chosen;
}

void EstimatorTests::run() {
  const std::vector<EstimatorEntry> chosen = entries();
  if (!s_.report.lower_level.solved) {
    for (const EstimatorEntry& entry : chosen) {
      s_.report.estimators.push_back(
          {.name = entry.name, .verdict = Verdict::skipped, .message = "there is no y*(x) to compare at"});
    }
    return;
  }
  s_.oracles.y().assign(level_.solution());
  const JointGradient f = s_.oracles.upper().gradient(s_.upper);
  upper_x_ = f.x;
  upper_y_ = f.y;
  dense_solution();
  differentiate_phi();
  s_.oracles.y().assign(level_.solution());
  if (!level_.strongly_convex()) optimistic_solution();
  for (const EstimatorEntry& entry : chosen) {
    s_.oracles.y().assign(level_.solution());
    s_.report.estimators.push_back(examine(entry));
  }
}

/// grad_x f - J z with z by a factorization of H in float64 and one step of refinement: apart from what the
/// estimators do, and good to about the condition times the unit of rounding.
void EstimatorTests::dense_solution() {
  LossPoint point = s_.oracles.lower().point(s_.lower, Graph::both);
  try {
    const LowerLevelCheck& level = s_.report.lower_level;
    const Tensor w = s_.random(s_.y);
    const double per_length = std::sqrt(static_cast<double>(s_.y.numel())) / norm_of(w);
    const double curvature = level_.strongly_convex() ? level.smallest_curvature : level.largest_curvature;
    sensitivity_ = norm_of(point.cross_vjp(w)) * per_length / std::max(curvature, 1e-300);
    linear_size_ = norm_of(upper_y_) / std::max(curvature, 1e-300);
    if (!level_.strongly_convex() || !level_.hessian().defined()) return;
    const Tensor b = upper_y_.to(torch::kFloat64);
    const Tensor& h = level_.hessian();
    Tensor z = at::linalg_solve(h, b);
    z = z + at::linalg_solve(h, b - h.mv(z));
    linear_size_ = norm_of(z);
    const Tensor jz = point.cross_vjp(z.to(s_.y.scalar_type()));
    const Tensor moved = at::linalg_solve(h, w.to(torch::kFloat64)).to(s_.y.scalar_type());
    sensitivity_ = norm_of(point.cross_vjp(moved)) * per_length;
    dense_ = Reference{upper_x_ - jz, rounding() + 16 * s_.unit * norm_of(upper_x_)};
    if (!dense_->value.isfinite().all().item<bool>()) dense_.reset();
  } catch (const std::exception&) {
    dense_.reset();  // what cannot be differentiated twice has been noted
  }
}

/// What rounding of H z makes of the hypergradient: |J H^-1| unit |H| |z|.
double EstimatorTests::rounding() const {
  return 16 * s_.unit * sensitivity_ * s_.report.lower_level.largest_curvature * linear_size_;
}

/// f at a solution of the lower level at x + t d, with what the distance from it may change.
NoisyValue EstimatorTests::phi(const Tensor& d, double t) {
  const PointScope moved(s_.oracles, s_.x + t * d, level_.solution());
  const Minimum found = level_.minimize();
  const double value = s_.upper_value();
  const bool usable =
      found.y.isfinite().all().item<bool>() &&
      (found.converged || found.distance <= std::sqrt(s_.tolerance) * (s_.y_length + norm_of(found.y)));
  // The gradient r that is left changes f by z'r.
  const LowerLevelCheck& level = s_.report.lower_level;
  const double by_distance =
      level_.strongly_convex()
          ? linear_size_ * (found.gradient_norm + s_.unit * level.largest_curvature * norm_of(found.y))
          : norm_of(upper_y_) * found.distance;
  const double noise = 2 * by_distance + 4 * s_.unit * std::abs(value);
  return {value, usable ? noise : std::numeric_limits<double>::infinity()};
}

/// Phi' along every direction, the lower level solved anew at every point.
void EstimatorTests::differentiate_phi() {
  // From first derivatives: its errors, if any, only make the directions less well chosen.
  Tensor guess = upper_x_;
  if (dense_) {
    guess = dense_->value;
  } else {
    const Estimate rough = finite_difference_estimate(
        s_.oracles, s_.upper, s_.lower, {.difference_step = s_.difference_step(std::cbrt(s_.unit))});
    if (!rough.failed) guess = rough.value;
  }
  const Block all{"all of x", 0, s_.x.numel()};
  const auto add = [&](size_t block, const Tensor& d) { directions_.push_back({block, d, {}}); };
  const size_t blocks = s_.x_blocks.size();
  if (s_.x.numel() <= s_.options.coordinate_limit) {
    for (size_t b = 0; b < blocks; ++b) {
      for (int64_t i = 0; i < s_.x_blocks[b].size; ++i) {
        Tensor d = torch::zeros_like(s_.x);
        d[s_.x_blocks[b].offset + i] = 1;
        add(b, d);
      }
    }
  } else if (blocks > 1) {
    for (size_t b = 0; b < blocks; ++b) {
      for (int64_t k = 0; k < s_.options.directions; ++k) add(b, s_.direction_in(s_.x_blocks[b], guess));
    }
  }
  for (int64_t k = 0; k < s_.options.directions; ++k) add(blocks, s_.direction_in(all, guess));

  // Where Phi is flat, the terms that cancel set the scale.
  overall_ = std::max(norm_of(guess), kZero * (norm_of(upper_x_) + norm_of(guess - upper_x_)));
  absolute_ = norm_of(guess) < overall_;
  for (const Block& block : s_.x_blocks) block_sizes_.push_back(norm_of(block.of(guess)));
  double worst = 0;
  bool solved = true;
  for (Direction& direction : directions_) {
    Differentiator differences([&](double t) { return phi(direction.d, t); });
    direction.phi = differences.best(s_.step_along(true, s_.x, direction.d), s_.tolerance,
                                     kZero * s_.tolerance * overall_);
    solved = solved && std::isfinite(direction.phi.error);
    worst = std::max(worst, direction.phi.error / std::max(std::abs(direction.phi.value), kZero * overall_));
  }
  const bool accurate = worst <= s_.tolerance;
  s_.note("lower level", "y*(x) was found at every shifted x",
          solved && accurate ? Verdict::ok : Verdict::unsure, kNoNumber,
          !solved     ? "not at some: there are no differences of Phi along some directions"
          : !accurate ? fmt::format("differences of Phi are good to {:.1g} only", worst)
                      : "");
  // A dense solution that the differences contradict is no reference.
  if (!dense_) return;
  for (Direction& direction : directions_) {
    if (confirmed(direction, dot_of(dense_->value, direction.d), dense_->error).verdict == Verdict::wrong) {
      dense_.reset();
      return;
    }
  }
}

Ruling EstimatorTests::along(const Direction& direction, double value, double error) const {
  return judge({.gap = std::isfinite(direction.phi.error) ? std::abs(value - direction.phi.value) : 0,
                .scale = std::max({std::abs(value), std::abs(direction.phi.value), kZero * overall_}),
                .noise = direction.phi.error,
                .own = error,
                .overall = overall_},
               s_.tolerance);
}

/// The same; a difference that would count as wrong only after other steps have given it too.
Ruling EstimatorTests::confirmed(Direction& direction, double value, double error) {
  const Ruling found = along(direction, value, error);
  if (found.verdict != Verdict::wrong || !std::isfinite(value)) return found;
  Differentiator differences([&](double t) { return phi(direction.d, t); });
  direction.phi = differences.confirmed(direction.phi);
  return along(direction, value, error);
}

/// Steps that bring a linear iteration far below the tolerance: (1 - mu/l)^Q = 1e-2 tolerance.
int64_t EstimatorTests::terms() const {
  const double contraction = level_.strongly_convex() ? 1 / level_.condition() : 1e-3;
  if (contraction >= 0.99) return 3;
  return static_cast<int64_t>(std::min(1e12, std::log(1e-2 * s_.tolerance) / std::log1p(-contraction))) + 2;
}

/// Of a minimization inside an estimator: well beyond what the lower level's own took.
int64_t EstimatorTests::max_gradients() const {
  return std::min(s_.options.max_gradients, 1000 + 10 * s_.report.lower_level.gradients);
}

/// Runs an estimator with enough effort.
EstimatorTests::Attempt EstimatorTests::attempt(const EstimatorEntry& entry) {
  const Effort& effort = entry.effort;
  const std::unique_ptr<Estimator> estimator = entry.make();
  const Fields fields = fields_of(*estimator);
  const LowerLevelCheck& level = s_.report.lower_level;
  const double condition = level_.condition();
  const bool krylov = effort.steps == Effort::Steps::dimension;
  const int64_t wanted =
      krylov ? 20 * s_.y.numel() + 100 : static_cast<int64_t>(effort.factor * static_cast<double>(terms()));
  int64_t most = s_.options.max_products;
  if (effort.keeps_iterates) {  // they take 512 MiB at most
    most = std::min(most, std::max<int64_t>(1, (int64_t{1} << 29) / (8 * s_.y.numel())));
  }
  Attempt found;
  found.limited = effort.steps == Effort::Steps::condition && wanted > most;
  const int64_t steps = std::min(wanted, most);
  const double best = effort.difference_step.empty() ? 16 * s_.unit : std::pow(s_.unit, 0.6);
  const double linear_tolerance = std::max(best, 1e-2 * s_.tolerance / condition);
  const nlohmann::json step_size =
      level.largest_curvature > 0 ? nlohmann::json(1 / level.largest_curvature) : "auto";
  set_field(fields, "linear_steps", steps);
  set_field(fields, "lower_steps", steps);
  set_field(fields, "linear_step_size", step_size);
  set_field(fields, "lower_step_size", step_size);
  set_field(fields, "linear_tolerance", linear_tolerance);
  set_field(fields, "max_gradients", max_gradients());
  set_field(fields, "length", s_.y_length);
  set_field(fields, effort.difference_step, s_.difference_step(std::cbrt(s_.unit)));
  if (!effort.penalty.empty()) return by_penalty(*estimator, effort.penalty);
  if (effort.keeps_iterates) {  // from a start at which they do move
    const Tensor away = s_.random(s_.y);
    s_.oracles.y().assign(level_.solution() +
                          1e-3 * (s_.y_length + norm_of(level_.solution())) * away / norm_of(away));
  }
  if (found.limited && level.strongly_convex) {
    found.remark =
        fmt::format("{} of about {} steps that the condition {:.2g} asks for", steps, wanted, condition);
  } else if (found.limited) {
    found.remark = fmt::format("{} steps", steps);
  }
  found.estimate = estimator->estimate(s_.oracles, s_.upper, s_.lower);
  // Rounding in H z = b.
  found.error = rounding();
  if (effort.squares_condition) found.error *= std::min(1e3, 1 + condition * 1e-6);
  if (found.estimate.failed) return found;
  if (krylov) {
    found.limited = found.estimate.residual.item<double>() > 10 * linear_tolerance * norm_of(upper_y_);
  }
  if (!effort.difference_step.empty()) {  // a longer step shows what rounding and curvature of g do to it
    const double step = s_.difference_step(8 * std::cbrt(s_.unit));
    set_field(fields, effort.difference_step, step);
    const Estimate other = estimator->estimate(s_.oracles, s_.upper, s_.lower);
    found.error =
        other.failed ? std::numeric_limits<double>::infinity() : norm_of(other.value - found.estimate.value);
    found.estimate.cost += other.cost;
  }
  return found;
}

/// The penalty's bias is a/lambda + b/lambda^2 + ...: three multipliers, extrapolated. lambda is chosen such that y
/// moves by a fixed small step between g and g + f/lambda.
EstimatorTests::Attempt EstimatorTests::by_penalty(Estimator& estimator, const std::string& multiplier) {
  const double l = s_.report.lower_level.largest_curvature, mu = s_.report.lower_level.smallest_curvature;
  const double z = level_.strongly_convex() ? norm_of(upper_y_) / mu : norm_of(upper_y_) / l;
  const Tensor& solution = level_.solution();
  // Not less than what keeps g + f/lambda convex: the curvature of f in y, seen through differences.
  const auto curvature_of_f = [&] {
    const Tensor d = s_.random(s_.y);
    const double t = std::sqrt(s_.unit) * (s_.y_length + norm_of(solution)) / norm_of(d);
    const PointScope moved(s_.oracles, s_.x, solution + t * d);
    return norm_of(s_.oracles.upper().gradient(s_.upper).y - upper_y_) / (t * norm_of(d));
  };
  // Where g is flat, f / lambda is the curvature, and differences must resolve it.
  const double convex =
      level_.strongly_convex() ? 1e3 * curvature_of_f() / std::max(mu, 1e-6 * l) : 1e4 * curvature_of_f() / l;
  const double lambda =
      std::max({z / (std::pow(s_.unit, 0.25) * (s_.y_length + norm_of(solution))), convex, 1.0});
  const Fields fields = fields_of(estimator);
  Attempt found;
  Tensor values[3];
  for (int k = 0; k < 3; ++k) {
    set_field(fields, multiplier, lambda * std::pow(2, k));
    const OracleCounts before = found.estimate.cost;
    found.estimate = estimator.estimate(s_.oracles, s_.upper, s_.lower);
    found.estimate.cost += before;
    if (found.estimate.failed) return found;
    values[k] = found.estimate.value;
  }
  const Tensor linear = 2 * values[1] - values[0];
  found.estimate.value = 2 * values[2] - values[1];
  // What extrapolation still changes, and the gradients that the minimizations left over.
  found.error = norm_of(found.estimate.value - linear);
  if (level_.strongly_convex()) found.error += found.estimate.residual.item<double>() * sensitivity_;
  found.remark = fmt::format("extrapolated from lambda = {:.2g} and {:.2g}", 2 * lambda, 4 * lambda);
  return found;
}

/// Where y*(x) is not unique: the gradient of min f over the lower level's minimizers, by the penalty.
void EstimatorTests::optimistic_solution() {
  try {
    const EstimatorEntry& penalty = estimator_registry().at("value-function");
    const std::unique_ptr<Estimator> estimator = penalty.make();
    set_field(fields_of(*estimator), "max_gradients", max_gradients());
    set_field(fields_of(*estimator), "length", s_.y_length);
    const Attempt found = by_penalty(*estimator, penalty.effort.penalty);
    if (found.estimate.failed) return;
    const double size = norm_of(found.estimate.value);
    if (found.error <= 0.1 * size) optimistic_ = Reference{found.estimate.value, found.error};
  } catch (const std::exception&) {
  }
}

/// Without a unique y*(x): an estimate that goes another way than the optimistic hypergradient is not ok.
void EstimatorTests::judge_by_optimistic(const Attempt& attempt, EstimatorCheck& found) const {
  if (!optimistic_ || attempt.estimate.failed) return;
  const Tensor& value = attempt.estimate.value;
  const double size = norm_of(value), best = norm_of(optimistic_->value);
  const double cosine = size * best > 0 ? dot_of(value, optimistic_->value) / (size * best) : 0;
  const double gap = norm_of(value - optimistic_->value) / std::max({size, best, 1e-300});
  const double accuracy = 5 * (optimistic_->error + attempt.error) / std::max({size, best, 1e-300});
  found.cosine_to_optimistic = cosine;
  if (gap <= std::max(s_.tolerance, accuracy)) {
    if (found.verdict != Verdict::ok)
      found.message =
          "the optimistic hypergradient (g has many minimizers), not that of the minimizer near y";
    return;
  }
  if (found.verdict == Verdict::ok) found.verdict = Verdict::warning;
  const std::string which = "the optimistic hypergradient (g has many minimizers, f chooses among them)";
  found.message += (found.message.empty() ? "" : "; ") +
                   (cosine < 0 ? fmt::format("against {}: cosine {:.2f}", which, cosine)
                               : fmt::format("differs by {:.1g} from {}", gap, which));
}

EstimatorCheck EstimatorTests::examine(const EstimatorEntry& entry) {
  EstimatorCheck found{.name = entry.name};
  const bool defined = level_.strongly_convex();
  if (entry.effort.dense && s_.y.numel() > s_.options.dense_limit) {
    found.verdict = Verdict::skipped;
    found.message = fmt::format("dim y = {} is above the limit of {}", s_.y.numel(), s_.options.dense_limit);
    return found;
  }
  Attempt made;
  try {
    made = attempt(entry);
  } catch (const InputError&) {
    throw;
  } catch (const std::exception& error) {
    found.verdict = Verdict::wrong;
    found.message = first_line(error.what());
    return found;
  }
  const Estimate& estimate = made.estimate;
  found.cost = estimate.cost;
  if (estimate.residual.defined()) found.residual = estimate.residual.item<double>();
  const auto say = [&](const std::string& text) {
    if (!text.empty()) found.message += (found.message.empty() ? "" : "; ") + text;
  };
  if (estimate.failed) {
    // A condition that leaves no digit of the solution excuses a failure.
    const bool excused =
        level_.condition() * (made.error > 0 ? s_.unit : std::pow(s_.unit, 2 / 3.0)) > 1e-3 * s_.tolerance;
    found.verdict = !defined ? Verdict::warning : excused ? Verdict::unsure : Verdict::wrong;
    say(estimate.message);
    return found;
  }

  found.absolute = absolute_;
  found.blocks.resize(s_.x_blocks.size());
  for (size_t b = 0; b < s_.x_blocks.size(); ++b) {
    found.blocks[b].parameter = s_.x_blocks[b].name;
    found.blocks[b].absolute = absolute_ || block_sizes_[b] < kZero * overall_;
  }
  Verdict by_differences = Verdict::ok;
  std::string reason;
  for (Direction& direction : directions_) {
    const double value = dot_of(estimate.value, direction.d);
    const Ruling judgement = confirmed(direction, value, made.error);
    const double gap = std::abs(value - direction.phi.value);
    const double own = std::max(std::abs(value), std::abs(direction.phi.value));
    if (std::isfinite(direction.phi.error)) {
      const double unit = std::max(own, kZero * overall_);
      const auto shown = [&](bool absolute) { return absolute || gap == 0 ? gap : gap / unit; };
      found.against_differences = larger(found.against_differences, shown(found.absolute));
      const size_t b = found.blocks.size() == 1 ? 0 : direction.block;
      if (b < found.blocks.size()) {
        BlockErrors& block = found.blocks[b];
        block.against_differences = larger(block.against_differences, shown(block.absolute));
      }
    }
    if (judgement.verdict == Verdict::wrong) {
      if (by_differences != Verdict::wrong) {
        reason = judgement.message.empty() ? "differs from the finite differences of the solved problem"
                                           : judgement.message;
      }
      by_differences = Verdict::wrong;
    } else if (judgement.verdict == Verdict::unsure && by_differences == Verdict::ok) {
      by_differences = Verdict::unsure;
      reason = judgement.message;
    }
  }
  found.verdict = by_differences;
  if (dense_) {
    const double overall = std::max(norm_of(dense_->value), kZero * overall_);
    const Tensor gap = estimate.value - dense_->value;
    found.against_exact = found.absolute ? norm_of(gap) : norm_of(gap) / overall;
    Verdict by_dense = Verdict::ok;
    std::string dense_reason;
    const auto compare = [&](double part_gap, double scale) {
      const Ruling judgement = judge({.gap = part_gap,
                                      .scale = std::max(scale, kZero * overall),
                                      .noise = dense_->error,
                                      .own = made.error,
                                      .overall = std::max(scale, kZero * overall)},
                                     s_.tolerance);
      if (judgement.verdict == Verdict::wrong) {
        by_dense = Verdict::wrong;
        dense_reason = "differs from the exact dense solution";
      } else if (judgement.verdict == Verdict::unsure && by_dense == Verdict::ok) {
        by_dense = Verdict::unsure;
        dense_reason = judgement.message;
      }
    };
    for (size_t b = 0; b < s_.x_blocks.size(); ++b) {
      const Block& block = s_.x_blocks[b];
      const double scale = norm_of(block.of(dense_->value)), block_gap = norm_of(block.of(gap));
      found.blocks[b].against_exact =
          found.blocks[b].absolute ? block_gap : block_gap / std::max(scale, kZero * overall);
      compare(block_gap, scale);
    }
    const Tensor sizes = dense_->value.abs();
    const Tensor relative = gap.abs() / sizes.clamp_min(kZero * overall);
    const int64_t worst = relative.argmax().item<int64_t>();
    compare(gap[worst].abs().item<double>(), sizes[worst].item<double>());
    if (by_dense == Verdict::ok && by_differences == Verdict::unsure) {
      dense_reason = "by the dense solution alone; " + reason;
    }
    if (by_differences != Verdict::wrong || by_dense == Verdict::wrong) {
      found.verdict = by_dense;
      reason = dense_reason;
    }
  }
  if (found.verdict == Verdict::wrong && !defined) {
    found.verdict = Verdict::warning;
    reason += "; g is not strongly convex in y here";
  } else if (found.verdict != Verdict::ok && made.limited) {
    found.verdict = Verdict::warning;
    reason = "not converged";
  }
  say(reason);
  if (!defined) judge_by_optimistic(made, found);
  say(made.remark);
  say(estimate.message);
  return found;
}

}  // namespace bilevel
