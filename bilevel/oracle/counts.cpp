#include "bilevel/oracle/counts.h"

namespace bilevel {

void OracleCounts::state(State& state) {
  state.value("lower_gradient", lower_gradient);
  state.value("lower_joint_gradient", lower_joint_gradient);
  state.value("upper_gradient", upper_gradient);
  state.value("hvp", hvp);
  state.value("cross_vjp", cross_vjp);
  state.value("upper_hvp", upper_hvp);
  state.value("upper_cross_vjp", upper_cross_vjp);
  state.value("upper_samples", upper_samples);
  state.value("lower_samples", lower_samples);
}

nlohmann::ordered_json OracleCounts::to_json() const {
  return {{"lower_gradient", lower_gradient},
          {"lower_joint_gradient", lower_joint_gradient},
          {"upper_gradient", upper_gradient},
          {"hvp", hvp},
          {"cross_vjp", cross_vjp},
          {"upper_hvp", upper_hvp},
          {"upper_cross_vjp", upper_cross_vjp}};
}

OracleCounts& OracleCounts::operator+=(const OracleCounts& other) {
  lower_gradient += other.lower_gradient;
  lower_joint_gradient += other.lower_joint_gradient;
  upper_gradient += other.upper_gradient;
  hvp += other.hvp;
  cross_vjp += other.cross_vjp;
  upper_hvp += other.upper_hvp;
  upper_cross_vjp += other.upper_cross_vjp;
  upper_samples += other.upper_samples;
  lower_samples += other.lower_samples;
  return *this;
}

OracleCounts& OracleLedger::of(Purpose purpose) {
  switch (purpose) {
    case Purpose::warm_start:
      return warm_start;
    case Purpose::automatic:
      return automatic;
    case Purpose::evaluation:
      return evaluation;
    default:
      return steps;
  }
}

void OracleLedger::state(State& state) {
  state.part("steps", steps);
  state.part("warm_start", warm_start);
  state.part("automatic", automatic);
  state.part("evaluation", evaluation);
}

nlohmann::ordered_json OracleLedger::to_json() const {
  return {{"steps", steps.to_json()},
          {"warm_start", warm_start.to_json()},
          {"automatic", automatic.to_json()},
          {"evaluation", evaluation.to_json()}};
}

}  // namespace bilevel
