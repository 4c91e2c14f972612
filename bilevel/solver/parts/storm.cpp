#include "bilevel/solver/parts/storm.h"

namespace bilevel {
namespace {

constexpr double kStepExponent = 1.0 / 3, kWeightExponent = 2.0 / 3;

/// The course of a weight that belongs to step sizes with the course `schedule`.
Course weight_course(const std::string& schedule) {
  return {schedule == "paper" ? "paper" : "constant", kWeightExponent};
}

}  // namespace

template <NeumannSum series>
void StormOptions<series>::fields(Fields& f) {
  step_size_fields(f, *this);
  neumann_fields(f, neumann_step_size, neumann_terms,
                 series == NeumannSum::sum
                     ? "summands of the Neumann series (Q + 1): Q Hessian-vector products"
                     : "summands of the Neumann series, of which one stands for all (Q)");
  momentum_weight_field(f, momentum_weight,
                        "weight of the new hypergradient in the recursive momentum (theta_x)");
  f.number("lower_momentum_weight", lower_momentum_weight, kWeight,
           "weight of the new lower gradient in the recursive momentum (theta_y)")
      .search(0.01, 1);
  schedule_fields(f, *this);
}

template <NeumannSum series>
OracleCounts Storm<series>::calls(const StormOptions<series>& options, int64_t steps) {
  const int64_t evaluations = steps > 0 ? 2 * steps - 1 : 0;
  // Of one summand with p factors, p is uniform in {0, ..., neumann_terms - 1}.
  const int64_t products = evaluations * (options.neumann_terms - 1) / (series == NeumannSum::sum ? 1 : 2);
  return implicit_calls(evaluations, evaluations, products);
}

template <NeumannSum series>
StepSizeOptions Storm<series>::step_sizes() const {
  return step_size_options(options_, {.upper = kStepExponent, .lower = kStepExponent});
}

template <NeumannSum series>
void Storm<series>::begin(Oracles& oracles) {
  const auto& o = options_;
  upper_weight_ = weight_course(o.schedule);
  lower_weight_ = weight_course(o.lower_schedule == "same" ? o.schedule : o.lower_schedule);
  estimator_ = NeumannEstimator(steps_.neumann(), o.neumann_terms, series == NeumannSum::one_summand);
  upper_ = RecursiveMomentum(oracles.x().flat());
  lower_ = RecursiveMomentum(oracles.y().flat());
  before_ = Point::present(oracles);
  length_ = steps_.steps();
}

template <NeumannSum series>
StepReport Storm<series>::iterate(Oracles& oracles) {
  const Sample zeta = oracles.lower().draw("lower_batches");
  const EstimateSample xi = estimator_.draw(oracles);
  const torch::Tensor g = oracles.lower().gradient_in_y(zeta);
  const Hypergradient h = estimator_.evaluate(oracles, xi);
  torch::Tensor g_before, h_before;  // the same samples at (x_{t-1}, y_{t-1})
  if (k_ > 0) {
    g_before = lower_gradient_at(oracles, zeta, before_);
    h_before = hypergradient_at(oracles, estimator_, xi, before_).value;
  }
  before_ = Point::present(oracles);
  lower_.update(g, g_before, options_.lower_momentum_weight * lower_weight_.at(k_, length_));  // d_y
  upper_.update(h.value, h_before, options_.momentum_weight * upper_weight_.at(k_, length_));  // d_x
  oracles.y().add(lower_.value(), -steps_.lower(k_));                                          // y_{t+1}
  oracles.upper().move(upper_.value(), -steps_.upper(k_));                                     // x_{t+1}
  return {.upper_loss = h.upper_loss, .hypergradient = h.value, .linear_residual = h.linear.residual};
}

template <NeumannSum series>
void Storm<series>::variables(State& state) {
  state.value("steps", length_);
  state.part("estimator", estimator_);
  state.part("upper", upper_);
  state.part("lower", lower_);
  state.part("before", before_);
}

template struct StormOptions<NeumannSum::sum>;
template struct StormOptions<NeumannSum::one_summand>;
template class Storm<NeumannSum::sum>;
template class Storm<NeumannSum::one_summand>;

}  // namespace bilevel
