#include "bilevel/task/compare/known_contest.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>

#include "bilevel/problem/sets.h"
#include "bilevel/report/options_table.h"
#include "bilevel/task/job/job_entry.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kNudge = 1e-9;  // of the start: far above rounding, far below any difference that matters

class KnownAttempt : public Attempt {
 public:
  KnownAttempt(const KnownProblem& problem, const KnownMetrics& metrics, double noise)
      : known_(problem), metrics_(metrics), noise_(noise) {}

  Problem problem() override { return with_noise(known_.problem(), noise_); }
  Json measure(int64_t) override { return metrics_.at_present(); }

 private:
  const KnownProblem& known_;
  const KnownMetrics& metrics_;
  double noise_;
};

}  // namespace

KnownContest::KnownContest(KnownContestOptions options) : options_(std::move(options)) {
  problem_ = make_known_problem(options_.problem);
  const Fields fields = fields_of(*problem_);
  for (const auto& [name, text] : options_.fields) fields.set_text(name + "=" + text);
  problem_->build(options_.seed);
  with_noise(problem_->problem(), options_.noise);  // refuses an impossible noise
  set_start(*problem_, options_.start);
  x_start_ = problem_->x().detach().clone();
  y_start_ = problem_->y().detach().clone();
  metrics_.emplace(*problem_);
}

ContestFacts KnownContest::facts() const {
  const std::string& summary = known_problem_registry().at(options_.problem).summary;
  const Problem problem = problem_->problem();
  // On a set the gradient need not vanish at a solution; the step that the projection leaves of it does.
  const Measure gradient =
      problem.upper.project
          ? Measure{.key = "projected_gradient_norm",
                    .name = "projected true hypergradient norm",
                    .log_scale = true}
          : Measure{.key = "gradient_norm", .name = "true hypergradient norm", .log_scale = true};
  ContestFacts facts{.task = options_.problem,
                     .title = fmt::format("{} ({})", options_.problem, summary),
                     .metric = gradient,
                     .tuning_metric = gradient,
                     .further = {},
                     .traits = traits_of(*problem_, options_.noise),
                     .seeds_mean = ""};
  facts.seeds_mean =
      exact() ? "Every oracle is exact and the problem the same in all runs: but for what a solver draws by "
                "itself, nothing is random. Seeds after the first move the start by a billionth, which shows "
                "the digits of a result that such a change decides; those are not printed."
              : "The seeds change noise and batches; problem and start are the same in all runs.";
  if (metrics_->solution().defined()) {
    facts.further.push_back({.key = "distance", .name = "distance to the solution", .log_scale = true});
  }
  facts.data = {{"problem", summary},
                {"dimension of x", std::to_string(x_start_.numel())},
                {"dimension of y", std::to_string(y_start_.numel())},
                {"noise", fmt::format("{:g}", options_.noise)},
                {"seed of the data", std::to_string(options_.seed)}};
  const Fields fields = fields_of(*problem_);
  for (const Field& field : fields.list()) facts.data.emplace_back(field.name, value_of(field));
  return facts;
}

bool KnownContest::exact() const { return traits_of(*problem_, options_.noise).noise == Noise::none; }

std::unique_ptr<Attempt> KnownContest::attempt(uint64_t seed) {
  const torch::NoGradGuard no_grad;
  torch::Tensor start = x_start_;
  if (seed != options_.seed && exact()) {
    at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
    start = start + kNudge * (1 + start.abs()) * torch::randn(start.sizes(), generator, start.options());
    if (const Projection project = problem_->problem().upper.project) start = project(start);
  }
  problem_->x().copy_(start);
  problem_->y().copy_(y_start_);
  return std::make_unique<KnownAttempt>(*problem_, *metrics_, options_.noise);
}

int64_t KnownContest::evaluations() const { return std::min<int64_t>(200, problem_->evaluations()); }

Json KnownContest::to_json() const {
  return {{"kind", "known"},         {"problem", options_.problem}, {"fields", options_.fields},
          {"noise", options_.noise}, {"start", options_.start},     {"seed", options_.seed}};
}

std::vector<std::string> KnownContest::files() const { return input_files(*problem_); }

std::unique_ptr<Contest> KnownContest::from_json(const Json& saved) {
  KnownContestOptions options{.problem = saved.at("problem"),
                              .fields = saved.at("fields").get<std::map<std::string, std::string>>(),
                              .noise = saved.at("noise"),
                              .start = saved.at("start").get<std::vector<double>>(),
                              .seed = saved.at("seed")};
  return std::make_unique<KnownContest>(std::move(options));
}

std::unique_ptr<Contest> make_contest(const nlohmann::ordered_json& saved,
                                      const std::function<void(const std::string&)>& message) {
  const std::string kind = saved.at("kind");
  if (kind == "known") return KnownContest::from_json(saved);
  const JobEntry& entry = job_registry().at(kind);
  const std::unique_ptr<Job> job = entry.make();
  fields_of(*job).from_json(nlohmann::json(saved.at("options")));
  return contest_of(entry, *job, message);
}

}  // namespace bilevel
