#include "bilevel/task/solve_job.h"

namespace bilevel {

void SolveJobOptions::fields(Fields& f) {
  f.heading("Run");
  f.text("solver", solver, "see 'bilevel list solvers'").as("NAME");
  f.integer("steps", steps, kAtLeastOne, "steps of the solver, its warm start not counted").as("N");
  f.texts("set", set, "an option of the solver; may be repeated; see 'bilevel list options SOLVER'")
      .as("KEY=VALUE");
  f.number("noise", noise, kNonNegative,
           "standard deviation, per coordinate, of the noise in every gradient; 0: all oracles are exact")
      .as("S");
  f.text("start", start, "where x starts: one value for all coordinates, or one for each")
      .as("V,...")
      .or_else("by problem");
  f.integer("seed", seed, kNonNegative, "seed of all randomness").as("N");
  f.number("tolerance", tolerance, kPositive,
           "stop when the true hypergradient's norm (projected, where x is constrained) is at most this")
      .as("T");
  f.number("max_seconds", max_seconds, kPositive, "stop after this time, evaluations not counted").as("S");
  f.integer("threads", threads, kAtLeastOne, "threads of the numerical library").as("N");
}

nlohmann::ordered_json SolveJobOptions::to_json() const {
  nlohmann::ordered_json json{{"problem", problem}, {"problem_options", problem_options}};
  json.update(fields_of(const_cast<SolveJobOptions&>(*this)).to_json());
  return json;
}

SolveJobOptions SolveJobOptions::from_json(nlohmann::json json) {
  SolveJobOptions options;
  options.problem = json.at("problem");
  options.problem_options = json.at("problem_options");
  json.erase("problem");
  json.erase("problem_options");
  fields_of(options).from_json(json);
  return options;
}

}  // namespace bilevel
