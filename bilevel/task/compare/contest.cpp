#include "bilevel/task/compare/contest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "bilevel/report/trace.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr int64_t kUnlimited = int64_t{1} << 50;
constexpr int64_t kMeasuredSteps = 20;  // of the short run that finds the cost of a step

int64_t all_calls(const OracleCounts& c) {
  return c.lower_gradient + c.lower_joint_gradient + c.upper_gradient + c.hvp + c.cross_vjp + c.upper_hvp +
         c.upper_cross_vjp;
}

int64_t all_samples(const OracleCounts& c) { return c.upper_samples + c.lower_samples; }

/// What the method itself used.
OracleCounts used(const OracleLedger& ledger) {
  OracleCounts sum = ledger.steps;
  sum += ledger.warm_start;
  sum += ledger.automatic;
  return sum;
}

Json samples_json(const OracleCounts& c) {
  return {{"upper", c.upper_samples}, {"lower", c.lower_samples}, {"all", all_samples(c)}};
}

Json calls_json(const OracleCounts& c) {
  Json calls = c.to_json();
  calls["all"] = all_calls(c);
  return calls;
}

/// The largest number of steps whose cost, `fixed` before step 1 and `cost` for `steps` of them, is at most
/// `limit`; at least 1.
int64_t steps_within(double limit, double fixed, double cost, int64_t steps,
                     const std::function<double(int64_t)>& growth) {
  if (steps == 0 || !(cost > 0)) return 1;
  const auto fits = [&](int64_t n) { return fixed + cost * growth(n) / growth(steps) <= limit; };
  int64_t low = 1, high = 2;
  while (high < kUnlimited && fits(high)) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (fits(middle) ? low : high) = middle;
  }
  return low;
}

/// The length of step-size schedules under a budget.
int64_t planned_steps(Contest& contest, const SolverEntry& entry,
                      const std::function<std::unique_ptr<Solver>()>& make_solver,
                      const PlayOptions& options) {
  const Budget& budget = options.budget;
  if (budget.samples == 0 && budget.oracle_calls == 0 && budget.max_seconds == 0) return budget.steps;
  // The time may cut a run of a known number of steps, but does not change its schedule.
  if (budget.samples == 0 && budget.oracle_calls == 0 && budget.steps > 0) return budget.steps;
  const std::unique_ptr<Attempt> attempt = contest.attempt(options.seed);
  const std::unique_ptr<Solver> solver = make_solver();
  RunOptions run_options;
  run_options.max_steps = kMeasuredSteps;
  run_options.seed = options.seed;
  run_options.interrupt = options.interrupt;
  run_options.trace_every = kUnlimited;
  if (budget.max_seconds > 0) run_options.max_seconds = budget.max_seconds;
  const Result short_run = run(attempt->problem(), *solver, run_options);
  OracleCounts before = short_run.oracle_calls.warm_start;
  before += short_run.oracle_calls.automatic;
  const OracleCounts& in_steps = short_run.oracle_calls.steps;
  const auto documented = [&](int64_t steps) {
    const double calls =
        entry.documented_calls ? static_cast<double>(all_calls(entry.documented_calls(*solver, steps))) : 0;
    return calls > 0 ? calls : static_cast<double>(steps);
  };
  int64_t planned = budget.steps > 0 ? budget.steps : kUnlimited;
  const auto limit = [&](double given, double fixed, double cost) {
    if (given > 0) planned = std::min(planned, steps_within(given, fixed, cost, short_run.steps, documented));
  };
  limit(static_cast<double>(budget.samples), static_cast<double>(all_samples(before)),
        static_cast<double>(all_samples(in_steps)));
  limit(static_cast<double>(budget.oracle_calls), static_cast<double>(all_calls(before)),
        static_cast<double>(all_calls(in_steps)));
  if (budget.samples == 0 && budget.oracle_calls == 0) limit(budget.max_seconds, 0, short_run.seconds);
  return planned;
}

/// The share of the budget that is used.
double used_share(const Budget& budget, int64_t step, const OracleCounts& counts, double seconds) {
  double share = 0;
  const auto add = [&](double limit, double value) {
    if (limit > 0) share = std::max(share, value / limit);
  };
  add(static_cast<double>(budget.steps), static_cast<double>(step));
  add(static_cast<double>(budget.samples), static_cast<double>(all_samples(counts)));
  add(static_cast<double>(budget.oracle_calls), static_cast<double>(all_calls(counts)));
  add(budget.max_seconds, seconds);
  return share;
}

/// A run in the making.
class Play {
 public:
  Play(Contest& contest, const PlayOptions& options) : contest_(contest), options_(options) {}

  void execute(const SolverEntry& entry, const std::function<std::unique_ptr<Solver>()>& make_solver) {
    schedule_ = planned_steps(contest_, entry, make_solver, options_);
    attempt_ = contest_.attempt(options_.seed);
    const std::unique_ptr<Solver> solver = make_solver();
    row(TraceRow{}, OracleCounts{});

    RunOptions run_options;
    run_options.max_steps = options_.budget.steps > 0 ? options_.budget.steps : kUnlimited;
    run_options.schedule_steps = schedule_;
    run_options.seed = options_.seed;
    run_options.interrupt = options_.interrupt;
    run_options.trace_every = kUnlimited;
    run_options.callback = [&](const TraceRow& r, Oracles& oracles) { return after_step(r, oracles); };
    const Result result = run(attempt_->problem(), *solver, run_options);
    finish(result);
  }

  Played take() { return std::move(played_); }

 private:
  bool after_step(const TraceRow& r, Oracles& oracles) {
    const OracleCounts counts = used(oracles.ledger());
    const double share = used_share(options_.budget, r.step, counts, r.seconds - measuring_seconds_);
    const bool over = share >= 1;
    const auto evaluations = static_cast<double>(contest_.evaluations());
    if (over || std::floor(share * evaluations) > std::floor(last_share_ * evaluations)) {
      const auto purpose = oracles.counting(Purpose::evaluation);
      row(r, counts);
    }
    last_share_ = share;
    over_ = over;
    if (options_.progress)
      options_.progress({.step = r.step, .steps = schedule_, .upper_loss = r.upper_loss});
    return !over;
  }

  void row(const TraceRow& r, const OracleCounts& counts) {
    const auto start = Clock::now();
    Json line{{"step", r.step},
              {"seconds", r.seconds - measuring_seconds_},
              {"samples", samples_json(counts)},
              {"oracle_calls", calls_json(counts)}};
    if (r.step > 0) {
      line["upper_loss"] = r.upper_loss;
      line["hypergradient_norm"] = r.hypergradient_norm;
      line["linear_residual"] = r.linear_residual;
    }
    line["metrics"] = attempt_->measure(r.step);
    played_.rows.push_back(std::move(line));
    // Before step 1 the run's clock does not go yet.
    if (r.step > 0) measuring_seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
  }

  void finish(const Result& result) {
    played_.interrupted = result.reason == StopReason::interrupted;
    const OracleCounts counts = used(result.oracle_calls);
    std::string reason = to_string(result.reason), message = result.message, status = "finished";
    if (over_) {
      reason = "budget";
      message = fmt::format("the budget was used after step {}", result.steps);
    }
    Json outcome = nullptr;
    if (result.reason == StopReason::nonfinite || result.reason == StopReason::linear_solve_failed) {
      status = "diverged";
    } else {
      outcome = attempt_->result();
      const Measure metric = contest_.facts().metric;
      if (!std::isfinite(trace_number(outcome.at(metric.key)))) {
        status = "diverged";
        reason = "metric_not_finite";
        message = fmt::format("the {} after step {} is not a finite number", metric.name, result.steps);
        outcome = nullptr;
      }
    }
    played_.end = {{"end", status},
                   {"reason", reason},
                   {"message", message},
                   {"steps", result.steps},
                   {"seconds", result.seconds - measuring_seconds_},
                   {"samples", samples_json(counts)},
                   {"oracle_calls", calls_json(counts)},
                   {"result", outcome},
                   {"schedule_steps", schedule_},
                   {"solver_options", result.options},
                   {"chosen", result.chosen},
                   {"warnings", result.warnings}};
  }

  Contest& contest_;
  const PlayOptions& options_;
  std::unique_ptr<Attempt> attempt_;
  int64_t schedule_ = 0;
  double measuring_seconds_ = 0;
  double last_share_ = 0;
  bool over_ = false;
  Played played_;
};

}  // namespace

void to_json(Json& json, const Measure& m) {
  json = {{"key", m.key},
          {"name", m.name},
          {"higher_is_better", m.higher_is_better},
          {"log_scale", m.log_scale},
          {"least", std::isfinite(m.least) ? Json(m.least) : Json(nullptr)},
          {"most", std::isfinite(m.most) ? Json(m.most) : Json(nullptr)}};
}

void from_json(const Json& json, Measure& m) {
  m = {.key = json.at("key"),
       .name = json.at("name"),
       .higher_is_better = json.at("higher_is_better"),
       .log_scale = json.at("log_scale")};
  if (!json.at("least").is_null()) m.least = json.at("least");
  if (!json.at("most").is_null()) m.most = json.at("most");
}

void to_json(Json& json, const ContestFacts& f) {
  json = {{"task", f.task},
          {"title", f.title},
          {"metric", f.metric},
          {"tuning_metric", f.tuning_metric},
          {"further", f.further},
          {"traits", f.traits},
          {"seeds_mean", f.seeds_mean},
          {"data", f.data}};
}

void from_json(const Json& json, ContestFacts& f) {
  f = {.task = json.at("task"),
       .title = json.at("title"),
       .metric = json.at("metric").get<Measure>(),
       .tuning_metric = json.at("tuning_metric").get<Measure>(),
       .further = json.at("further").get<std::vector<Measure>>(),
       .traits = json.at("traits").get<ProblemTraits>(),
       .seeds_mean = json.at("seeds_mean"),
       .data = json.at("data").get<std::vector<std::pair<std::string, std::string>>>()};
}

std::string Budget::describe() const {
  std::vector<std::string> limits;
  if (steps > 0) limits.push_back(fmt::format("{} steps", steps));
  if (samples > 0) limits.push_back(fmt::format("{} samples", samples));
  if (oracle_calls > 0) limits.push_back(fmt::format("{} oracle calls", oracle_calls));
  if (max_seconds > 0) limits.push_back(fmt::format("{:g} s", max_seconds));
  return fmt::format("{}{}", fmt::join(limits, " or "), limits.size() > 1 ? ", whichever comes first" : "");
}

void to_json(Json& json, const Budget& b) {
  json = {{"steps", b.steps},
          {"samples", b.samples},
          {"oracle_calls", b.oracle_calls},
          {"max_seconds", b.max_seconds}};
}

void from_json(const Json& json, Budget& b) {
  b = {.steps = json.at("steps"),
       .samples = json.at("samples"),
       .oracle_calls = json.at("oracle_calls"),
       .max_seconds = json.at("max_seconds")};
}

Played play(Contest& contest, const SolverEntry& entry,
            const std::function<std::unique_ptr<Solver>()>& make_solver, const PlayOptions& options) {
  Play play(contest, options);
  try {
    play.execute(entry, make_solver);
  } catch (const InputError& error) {
    Played failed;
    const Json none = samples_json({});
    failed.end = {{"end", "failed"},
                  {"reason", "refused"},
                  {"message", error.what()},
                  {"steps", 0},
                  {"seconds", 0},
                  {"samples", none},
                  {"oracle_calls", calls_json({})},
                  {"result", nullptr},
                  {"schedule_steps", 0},
                  {"solver_options", fields_of(*make_solver()).to_json()},
                  {"chosen", Json::object()},
                  {"warnings", Json::array()}};
    return failed;
  }
  return play.take();
}

}  // namespace bilevel
