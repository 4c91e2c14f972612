#include "bilevel/solver/parts/step_sizes.h"

#include <cmath>
#include <numbers>

#include "bilevel/oracle/curvature.h"

namespace bilevel {

Course::Course(const std::string& text, double paper_exponent) {
  const size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  const auto parameter = [&](double otherwise) {
    return colon == std::string::npos ? otherwise : std::stod(text.substr(colon + 1));
  };
  if (kind == "polynomial") {
    kind_ = Kind::polynomial;
    parameter_ = parameter(0.5);
  } else if (kind == "cosine") {
    kind_ = Kind::cosine;
  } else if (kind == "warm-up") {
    kind_ = Kind::warm_up;
    parameter_ = parameter(0.1);
  } else if (kind == "paper" && paper_exponent != 0) {
    kind_ = Kind::polynomial;
    parameter_ = paper_exponent;
  }
}

double Course::at(int64_t k, int64_t steps) const {
  const auto time = static_cast<double>(k);
  const auto total = static_cast<double>(steps);
  switch (kind_) {
    case Kind::constant:
      return 1;
    case Kind::polynomial:
      return std::pow(time + 1, -parameter_);
    case Kind::cosine:
      return 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, time / total)));
    case Kind::warm_up:
      return std::min(1.0, (time + 1) / std::max(1.0, parameter_ * total));
  }
  return 1;
}

StepSizes::StepSizes(Oracles& oracles, const StepSizeOptions& o, int64_t steps)
    : upper_course_(o.schedule, o.paper.upper),
      lower_course_(o.lower_schedule == "same" ? o.schedule : o.lower_schedule, o.paper.lower),
      linear_course_(o.linear_schedule == "same" ? o.schedule : o.linear_schedule, o.paper.linear),
      upper_(o.upper),
      has_lower_(o.lower.has_value()),
      has_linear_(o.linear.has_value()),
      has_neumann_(o.neumann.has_value()),
      steps_(steps) {
  std::optional<Curvature> curvature;
  const auto value = [&](const std::optional<StepSize>& given, const char* field, double share) {
    if (!given) return 0.0;
    if (!given->automatic()) return *given->value;
    if (!curvature) curvature = largest_curvature(oracles);
    return share * automatic_step_size(*curvature, field);
  };
  lower_ = value(o.lower, "lower_step_size", 0.5);
  linear_ = value(o.linear, "linear_step_size", 0.5);
  neumann_ = value(o.neumann, "neumann_step_size", 1);
}

void StepSizes::state(State& state) {
  state.value("lower_step_size", lower_);
  state.value("linear_step_size", linear_);
  state.value("neumann_step_size", neumann_);
  state.value("steps", steps_);
}

nlohmann::ordered_json StepSizes::chosen() const {
  nlohmann::ordered_json chosen = nlohmann::ordered_json::object();
  if (has_lower_) chosen["lower_step_size"] = lower_;
  if (has_linear_) chosen["linear_step_size"] = linear_;
  if (has_neumann_) chosen["neumann_step_size"] = neumann_;
  return chosen;
}

// ---- fields ----

namespace {
const std::vector<std::string> kCourses{"constant", "polynomial", "cosine", "warm-up", "paper"};
const std::vector<std::string> kOwnCourses{"same", "constant", "polynomial", "cosine", "warm-up", "paper"};
}  // namespace

void upper_step_size_field(Fields& f, double& value) {
  f.number("upper_step_size", value, kPositive, "step size on x (eta_x)").search(1e-4, 1);
}
void lower_step_size_field(Fields& f, StepSize& value) {
  f.step_size("lower_step_size", value,
              "step size on y (eta_y); auto: 1/(2l), l the largest curvature of g in y at the start")
      .search(1e-3, 1);
}
void linear_step_size_field(Fields& f, StepSize& value) {
  f.step_size("linear_step_size", value, "step size on z in H z = b (eta_z); auto: 1/(2l)").search(1e-3, 1);
}
void neumann_fields(Fields& f, StepSize& step_size, int64_t& terms, const std::string& terms_meaning) {
  f.step_size("neumann_step_size", step_size, "scale of the Neumann series (eta_N); auto: 1/l")
      .search(1e-3, 1);
  f.integer("neumann_terms", terms, kAtLeastOne, terms_meaning).search(1, 20);
}
void momentum_weight_field(Fields& f, double& value, const std::string& meaning) {
  f.number("momentum_weight", value, kWeight, meaning).search(0.01, 1);
}
void warm_start_field(Fields& f, int64_t& value) {
  f.integer("warm_start_steps", value, kNonNegative, "steps on y alone before the first iteration (T0)");
}
void order_field(Fields& f, Order& value) {
  f.choice("order", value, "whether the upper level reads y before its update or after");
}
void schedule_field(Fields& f, std::string& value) {
  f.course("schedule", value, kCourses, "course of the step sizes over the run");
}
void lower_schedule_field(Fields& f, std::string& value) {
  f.course("lower_schedule", value, kOwnCourses, "course of lower_step_size; same: as `schedule`");
}
void linear_schedule_field(Fields& f, std::string& value) {
  f.course("linear_schedule", value, kOwnCourses, "course of linear_step_size; same: as `schedule`");
}

}  // namespace bilevel
