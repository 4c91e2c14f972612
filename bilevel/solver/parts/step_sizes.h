// The step sizes of a run: automatic ones derived from the problem, each with its course.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "bilevel/core/fields.h"
#include "bilevel/core/state.h"
#include "bilevel/oracle/oracles.h"
#include "bilevel/solver/parts/choices.h"

namespace bilevel {

/// How a step size changes over a run, as a factor on its value:
///   constant            1
///   polynomial[:e]      (k+1)^-e, e = 0.5
///   cosine              (1 + cos(pi k/T))/2, zero at the end
///   warm-up[:w]         (k+1)/(wT) until it reaches 1, w = 0.1
///   paper               (k+1)^-e with the exponent that the method's paper gives this step size
/// where k = 0, 1, ... is the iteration and T the length of the run.
class Course {
 public:
  Course() = default;
  /// @param text as in `Fields::course`. @param paper_exponent what `paper` stands for; 0: constant.
  Course(const std::string& text, double paper_exponent);
  double at(int64_t k, int64_t steps) const;

 private:
  enum class Kind { constant, polynomial, cosine, warm_up } kind_ = Kind::constant;
  double parameter_ = 0;
};

/// The exponents that a method's paper gives its step sizes, for the course `paper`; 0: constant.
struct PaperExponents {
  double upper = 0, lower = 0, linear = 0;
};

/// What a method's step sizes are made from.
struct StepSizeOptions {
  double upper = 0;
  std::optional<StepSize> lower, linear, neumann;  ///< none: the method has no such step size
  std::string schedule = "constant";               ///< course of the upper step size
  std::string lower_schedule = "same";             ///< "same": that of the upper one
  std::string linear_schedule = "same";
  PaperExponents paper = {};
};

/// Those of a solver's options, which call each thing alike: `upper_step_size`, `schedule`, and as far as the method
/// has them `lower_step_size`, `linear_step_size`, `neumann_step_size`, `lower_schedule`, `linear_schedule`.
template <typename Options>
StepSizeOptions step_size_options(const Options& options, const PaperExponents& paper = {}) {
  StepSizeOptions sizes{.upper = options.upper_step_size, .schedule = options.schedule, .paper = paper};
  if constexpr (requires { options.lower_step_size; }) sizes.lower = options.lower_step_size;
  if constexpr (requires { options.linear_step_size; }) sizes.linear = options.linear_step_size;
  if constexpr (requires { options.neumann_step_size; }) sizes.neumann = options.neumann_step_size;
  if constexpr (requires { options.lower_schedule; }) sizes.lower_schedule = options.lower_schedule;
  if constexpr (requires { options.linear_schedule; }) sizes.linear_schedule = options.linear_schedule;
  return sizes;
}

/// The step sizes of a run. An automatic lower or linear one is 1/(2l), an automatic Neumann scale 1/l, with l
/// the largest curvature of g in y at the point of construction; l is estimated only when it is needed.
class StepSizes {
 public:
  StepSizes() = default;
  /// Throws InputError naming the field when l is needed and not positive.
  StepSizes(Oracles& oracles, const StepSizeOptions& options, int64_t steps);

  double upper(int64_t k) const { return upper_ * upper_course_.at(k, steps_); }
  double lower(int64_t k) const { return lower_ * lower_course_.at(k, steps_); }
  double linear(int64_t k) const { return linear_ * linear_course_.at(k, steps_); }
  /// Before their courses.
  double lower() const { return lower_; }
  double neumann() const { return neumann_; }
  /// The length of the run.
  int64_t steps() const { return steps_; }

  void state(State& state);
  /// {"lower_step_size": ..., "linear_step_size": ..., "neumann_step_size": ...}: those that the method has.
  nlohmann::ordered_json chosen() const;

 private:
  Course upper_course_, lower_course_, linear_course_;
  double upper_ = 0, lower_ = 0, linear_ = 0, neumann_ = 0;
  bool has_lower_ = false, has_linear_ = false, has_neumann_ = false;
  int64_t steps_ = 0;
};

// The fields that every solver declares alike, with the ranges of a random search.
void upper_step_size_field(Fields& f, double& value);
void lower_step_size_field(Fields& f, StepSize& value);
void linear_step_size_field(Fields& f, StepSize& value);
void neumann_fields(Fields& f, StepSize& step_size, int64_t& terms, const std::string& terms_meaning);
void momentum_weight_field(Fields& f, double& value, const std::string& meaning);
void warm_start_field(Fields& f, int64_t& value);
void order_field(Fields& f, Order& value);
void schedule_field(Fields& f, std::string& value);
void lower_schedule_field(Fields& f, std::string& value);
void linear_schedule_field(Fields& f, std::string& value);
/// Those of the step sizes on x, y and z that the options have, and those of the schedules.
template <typename Options>
void step_size_fields(Fields& f, Options& options) {
  upper_step_size_field(f, options.upper_step_size);
  if constexpr (requires { options.lower_step_size; }) lower_step_size_field(f, options.lower_step_size);
  if constexpr (requires { options.linear_step_size; }) linear_step_size_field(f, options.linear_step_size);
}
template <typename Options>
void schedule_fields(Fields& f, Options& options) {
  schedule_field(f, options.schedule);
  if constexpr (requires { options.lower_schedule; }) lower_schedule_field(f, options.lower_schedule);
  if constexpr (requires { options.linear_schedule; }) linear_schedule_field(f, options.linear_schedule);
}

}  // namespace bilevel
