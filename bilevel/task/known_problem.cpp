#include "bilevel/task/known_problem.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/task/job/job_options.h"

namespace bilevel {

Problem with_noise(Problem problem, double noise) {
  if (!(noise >= 0) || !std::isfinite(noise)) {
    throw InputError(fmt::format("noise = {:g}: must be a finite number >= 0", noise));
  }
  if (noise == 0) return problem;
  std::vector<torch::Tensor> variables = problem.upper.parameters;
  variables.insert(variables.end(), problem.lower.parameters.begin(), problem.lower.parameters.end());
  for (Level* level : {&problem.upper, &problem.lower}) {
    level->derivatives = nullptr;  // they are of the loss without noise
    const auto noisy = [variables, noise](torch::Tensor value) {
      for (const torch::Tensor& variable : variables) {
        const torch::Tensor e = torch::randn(variable.sizes(), variable.options().requires_grad(false));
        value = value + noise * (e * variable).sum();
      }
      return value;
    };
    if (level->loss) {
      level->loss = [loss = level->loss, noisy](const Batch& b) { return noisy(loss(b)); };
    } else {
      level->feature_loss = [loss = level->feature_loss, noisy](const torch::Tensor& features,
                                                                const Batch& b) {
        return noisy(loss(features, b));
      };
    }
  }
  return problem;
}

ProblemTraits traits_of(const KnownProblem& known, double noise) {
  ProblemTraits traits = known.traits();
  traits.noise = noise > 0 ? Noise::any : batch_noise(known.problem());
  return traits;
}

std::vector<double> start_values(const std::string& text) {
  std::vector<double> numbers;
  for (const std::string& part : split_list(text)) {
    const Number number = read_number(part);
    if (number.kind != CellKind::number)
      throw InputError(fmt::format("start = {}: '{}' is not a finite number", text, part));
    numbers.push_back(number.value);
  }
  return numbers;
}

void set_start(const KnownProblem& problem, const std::vector<double>& values) {
  if (values.empty()) return;
  const torch::Tensor x = problem.x();
  const auto given = static_cast<int64_t>(values.size());
  if (given != 1 && given != x.numel()) {
    throw InputError(fmt::format(
        "start: {} values, but x has {} coordinates; give one for all, or one for each", given, x.numel()));
  }
  for (const double value : values) {
    if (!std::isfinite(value)) throw InputError(fmt::format("start = {:g}: must be a finite number", value));
  }
  const torch::NoGradGuard no_grad;
  const torch::Tensor start = torch::tensor(values, torch::kFloat64).expand({x.numel()}).clone();
  if (const auto project = problem.problem().upper.project; project && !torch::equal(project(start), start)) {
    throw InputError("start: lies outside of the set that x must stay in");
  }
  x.copy_(start);
}

std::vector<std::string> input_files(KnownProblem& problem) {
  std::vector<std::string> paths;
  const Fields fields = fields_of(problem);
  for (const Field& field : fields.list()) {
    const nlohmann::json value = field.get();
    if (field.type == "text" && value.is_string() &&
        std::filesystem::is_regular_file(value.get<std::string>()))
      paths.push_back(value);
  }
  return paths;
}

std::unique_ptr<KnownProblem> make_known_problem(const std::string& name) {
  return known_problem_registry().at(name).make();
}

}  // namespace bilevel
