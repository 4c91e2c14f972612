#include "bilevel/oracle/counts.h"

namespace bilevel {
namespace {

struct Kind {
  const char* name;
  int64_t OracleCounts::*count;
};
constexpr Kind kCalls[] = {{"lower_gradient", &OracleCounts::lower_gradient},
                           {"lower_joint_gradient", &OracleCounts::lower_joint_gradient},
                           {"upper_gradient", &OracleCounts::upper_gradient},
                           {"hvp", &OracleCounts::hvp},
                           {"cross_vjp", &OracleCounts::cross_vjp},
                           {"upper_hvp", &OracleCounts::upper_hvp},
                           {"upper_cross_vjp", &OracleCounts::upper_cross_vjp}};
constexpr Kind kSamples[] = {{"upper_samples", &OracleCounts::upper_samples},
                             {"lower_samples", &OracleCounts::lower_samples}};

template <typename Visit>
void for_each_kind(const Visit& visit) {
  for (const Kind& kind : kCalls) visit(kind);
  for (const Kind& kind : kSamples) visit(kind);
}

}  // namespace

void OracleCounts::state(State& state) {
  for_each_kind([&](const Kind& kind) { state.value(kind.name, this->*kind.count); });
}

nlohmann::ordered_json OracleCounts::to_json() const {
  nlohmann::ordered_json json;
  for (const Kind& kind : kCalls) json[kind.name] = this->*kind.count;
  return json;
}

OracleCounts& OracleCounts::operator+=(const OracleCounts& other) {
  for_each_kind([&](const Kind& kind) { this->*kind.count += other.*kind.count; });
  return *this;
}

OracleCounts& OracleCounts::operator-=(const OracleCounts& other) {
  for_each_kind([&](const Kind& kind) { this->*kind.count -= other.*kind.count; });
  return *this;
}

int64_t OracleCounts::calls() const {
  int64_t sum = 0;
  for (const Kind& kind : kCalls) sum += this->*kind.count;
  return sum;
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
  nlohmann::ordered_json json{{"steps", steps.to_json()}};
  json.update(apart());
  return json;
}

nlohmann::ordered_json OracleLedger::apart() const {
  return {{"warm_start", warm_start.to_json()},
          {"automatic", automatic.to_json()},
          {"evaluation", evaluation.to_json()}};
}

}  // namespace bilevel
