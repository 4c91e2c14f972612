#include "bilevel/bench/small.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/glm/linear_model.h"
#include "bilevel/solver/registry.h"
#include "bilevel/solver/run.h"
#include "bilevel/task/job/job.h"

namespace bilevel {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

Problem generated_problem(const SmallBenchOptions& o) {
  at::Generator random = at::make_generator<at::CPUGeneratorImpl>(1);
  const bool two = o.classes == 2;
  const torch::Tensor direction = torch::randn({o.features, two ? 1 : o.classes}, random, torch::kFloat32) /
                                  std::sqrt(static_cast<double>(o.features));
  const auto rows = [&](int64_t count) {
    const torch::Tensor a = torch::randn({count, o.features}, random, torch::kFloat32);
    const torch::Tensor noise = torch::randn({count, direction.size(1)}, random, torch::kFloat32);
    const torch::Tensor scores = a.mm(direction) + 0.5 * noise;
    return TargetedRows{
        {a}, two ? torch::where(scores.squeeze(1) > 0, 1.0, -1.0).to(torch::kFloat32) : scores.argmax(1)};
  };
  const TargetedRows train = rows(o.rows), valid = rows((o.rows + 3) / 4);
  Problem problem = linear_model(train, valid, o.features,
                                 {.loss = two ? RowLoss::logistic : RowLoss::softmax,
                                  .x = two ? LearnedBy::feature_strengths : LearnedBy::class_strengths,
                                  .classes = o.classes,
                                  .batch_size = o.batch_size,
                                  .x_start = -3})
                        .problem;
  if (o.autograd) problem.upper.derivatives = problem.lower.derivatives = nullptr;
  return problem;
}

/// Median of five means over many calls, in microseconds.
double microseconds(int64_t calls, const std::function<void()>& call) {
  std::vector<double> means;
  for (int part = 0; part < 5; ++part) {
    const auto start = Clock::now();
    for (int64_t k = 0; k < calls; ++k) call();
    means.push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count() /
                    static_cast<double>(calls));
  }
  std::ranges::sort(means);
  return means[2];
}

struct Call {
  const char* name;
  int64_t OracleCounts::*kind;
  std::function<void()> call;
};

std::vector<Call> calls_of(Oracles& oracles, const torch::Tensor& v) {
  const auto upper = [&oracles] { return oracles.upper().draw("upper_batches"); };
  const auto lower = [&oracles] { return oracles.lower().draw("lower_batches"); };
  return {
      {"lower_gradient", &OracleCounts::lower_gradient,
       [=, &oracles] { oracles.lower().gradient_in_y(lower()); }},
      {"lower_joint_gradient", &OracleCounts::lower_joint_gradient,
       [=, &oracles] { oracles.lower().gradient(lower()); }},
      {"upper_gradient", &OracleCounts::upper_gradient, [=, &oracles] { oracles.upper().gradient(upper()); }},
      {"hvp", &OracleCounts::hvp,
       [=, &oracles] { oracles.lower().point(lower(), Graph::lower_only).hvp(v); }},
      {"cross_vjp", &OracleCounts::cross_vjp, [=, &oracles] { oracles.lower().point(lower()).cross_vjp(v); }},
      {"upper_hvp", &OracleCounts::upper_hvp, [=, &oracles] { oracles.upper().point(upper()).hvp(v); }},
      {"upper_cross_vjp", &OracleCounts::upper_cross_vjp,
       [=, &oracles] { oracles.upper().point(upper()).cross_vjp(v); }},
  };
}

Json measured(const SolverEntry& entry, const SmallBenchOptions& o, const std::vector<double>& costs,
              const std::vector<Call>& calls) {
  const std::unique_ptr<Solver> solver = entry.make();
  set_options(*solver, o.set);
  double first = 0, last = 0;
  const RunOptions options{.max_steps = o.steps,
                           .callback =
                               [&](const MadeStep& made, Oracles&) {
                                 if (made.step == 1) first = made.seconds;
                                 last = made.seconds;
                                 return true;
                               },
                           .trace_every = std::numeric_limits<int64_t>::max()};
  const Result result = run(generated_problem(o), *solver, options);
  const auto steps = static_cast<double>(result.steps);
  double needed = 0;
  for (size_t i = 0; i < calls.size(); ++i)
    needed += costs[i] * static_cast<double>(result.oracle_calls.steps.*calls[i].kind) / steps;
  const double step = 1e6 * (last - first) / (steps - 1);
  return {{"solver", entry.name},
          {"microseconds", step},
          {"calls_microseconds", needed},
          {"ratio", step / needed},
          {"stop_reason", name_of(result.reason)}};
}

}  // namespace

void SmallBenchOptions::fields(Fields& f) {
  f.text("solver", solver, "one solver").as("NAME").or_else("all");
  f.texts("set", set, "an option of the solver; may be repeated").as("KEY=VALUE");
  f.integer("features", features, {.low = 1, .high = 100'000}, "width of the rows");
  f.integer("rows", rows, {.low = 4, .high = 1e8}, "rows to train on; a quarter more to validate");
  f.integer("classes", classes, {.low = 2, .high = 10'000},
            "classes; more than 2: a softmax with one learned strength a class");
  f.integer("batch_size", batch_size, kAtLeastOne, "rows a batch");
  f.integer("steps", steps, {.low = 2, .high = 1e9}, "steps of each solver");
  f.flag("autograd", autograd, "by LibTorch's autograd, without the problem's own derivatives");
}

Json small_bench(const SmallBenchOptions& o) {
  fields_of(const_cast<SmallBenchOptions&>(o)).validate();
  if (!o.solver.empty()) solver_registry().at(o.solver);  // says which there are
  Oracles oracles(generated_problem(o), 1);
  const torch::Tensor v = torch::full({oracles.y().size()}, 0.1, torch::kFloat32);
  const std::vector<Call> calls = calls_of(oracles, v);
  std::vector<double> costs;
  Json by_kind = Json::object(), solvers = Json::array();
  for (const Call& call : calls) {
    costs.push_back(microseconds(std::max<int64_t>(50, o.steps / 20), call.call));
    by_kind[call.name] = costs.back();
  }
  for (const SolverEntry& entry : solver_registry()) {
    if (o.solver.empty() || entry.name == o.solver) solvers.push_back(measured(entry, o, costs, calls));
  }
  return {{"features", o.features},     {"rows", o.rows},     {"classes", o.classes},
          {"batch_size", o.batch_size}, {"steps", o.steps},   {"autograd", o.autograd},
          {"calls", by_kind},           {"solvers", solvers}, {"peak_rss_bytes", peak_rss_bytes()}};
}

std::string small_bench_text(const Json& result) {
  std::string text = fmt::format(
      "{} regression, {} features, {} rows, batches of {}, {} steps, one thread{}\n\n",
      result.at("classes").get<int64_t>() == 2 ? "Logistic" : "Softmax", result.at("features").get<int64_t>(),
      result.at("rows").get<int64_t>(), result.at("batch_size").get<int64_t>(),
      result.at("steps").get<int64_t>(), result.at("autograd").get<bool>() ? ", by autograd" : "");
  text += fmt::format("{:<24}{:>14}\n", "one call", "microseconds");
  for (const auto& [kind, cost] : result.at("calls").items())
    text += fmt::format("{:<24}{:>14.2f}\n", kind, cost.get<double>());
  text += fmt::format("\n{:<24}{:>14}{:>14}{:>10}\n", "one step", "microseconds", "its calls", "ratio");
  for (const Json& one : result.at("solvers")) {
    text += fmt::format("{:<24}{:>14.2f}{:>14.2f}{:>10.2f}\n", one.at("solver").get<std::string>(),
                        one.at("microseconds").get<double>(), one.at("calls_microseconds").get<double>(),
                        one.at("ratio").get<double>());
  }
  return text + fmt::format("\npeak memory: {:.0f} MB\n", result.at("peak_rss_bytes").get<double>() / 1e6);
}

}  // namespace bilevel
