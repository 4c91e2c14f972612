#include "bilevel/task/compare/contest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <tuple>
#include <utility>

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

/// The largest number of steps of which `cost` is at most `limit`; at least 1.
int64_t steps_within(double limit, const std::function<double(int64_t)>& cost) {
  int64_t low = 1, high = 2;
  while (high < kUnlimited && cost(high) <= limit) {
    low = high;
    high *= 2;
  }
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (cost(middle) <= limit ? low : high) = middle;
  }
  return low;
}

/// By how many samples a step varies for each call more or less that it makes: the slope of a line through the
/// steps after the first, which may differ; 0 where all cost the same.
double samples_per_call(const std::vector<TraceRow>& trace) {
  if (trace.size() < 3) return 0;
  std::vector<std::pair<double, double>> steps;
  for (size_t k = 1; k < trace.size(); ++k) {
    const OracleCounts &now = trace[k].oracle_calls, &before = trace[k - 1].oracle_calls;
    steps.emplace_back(all_calls(now) - all_calls(before), all_samples(now) - all_samples(before));
  }
  double calls = 0, samples = 0, squares = 0, products = 0;
  for (const auto& [c, s] : steps) {
    calls += c / static_cast<double>(steps.size());
    samples += s / static_cast<double>(steps.size());
  }
  for (const auto& [c, s] : steps) {
    squares += (c - calls) * (c - calls);
    products += (c - calls) * (s - samples);
  }
  return squares > 0 ? products / squares : 0;
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
  if (budget.max_seconds > 0) run_options.max_seconds = budget.max_seconds;
  const Result short_run = run(attempt->problem(), *solver, run_options);
  if (short_run.trace.empty()) return 1;
  OracleCounts before = short_run.oracle_calls.warm_start;
  before += short_run.oracle_calls.automatic;
  const auto documented = [&](int64_t steps) {
    const double calls =
        entry.documented_calls ? static_cast<double>(all_calls(entry.documented_calls(*solver, steps))) : 0;
    return calls > 0 ? calls : static_cast<double>(steps);
  };
  // The first step may differ; what the others cost grows as the documented calls do. A random cost counts as what
  // is expected, not as what so few steps happened to draw.
  const TraceRow &first = short_run.trace.front(), &last = short_run.trace.back();
  const double later = documented(last.step) - documented(1);
  const double surplus =
      entry.random_estimate
          ? later - static_cast<double>(all_calls(last.oracle_calls) - all_calls(first.oracle_calls))
          : 0;
  int64_t planned = budget.steps > 0 ? budget.steps : kUnlimited;
  const auto limit = [&](double given, double fixed, double first_cost, double last_cost) {
    if (!(given > 0) || !(last_cost > 0)) return;
    planned =
        std::min(planned, steps_within(given, [&](int64_t steps) {
                   return fixed + (later > 0 ? first_cost + (last_cost - first_cost) *
                                                                (documented(steps) - documented(1)) / later
                                             : first_cost * static_cast<double>(steps));
                 }));
  };
  const auto number = [](int64_t count) { return static_cast<double>(count); };
  limit(number(budget.samples), number(all_samples(before)), number(all_samples(first.oracle_calls)),
        number(all_samples(last.oracle_calls)) + surplus * samples_per_call(short_run.trace));
  limit(number(budget.oracle_calls), number(all_calls(before)), number(all_calls(first.oracle_calls)),
        number(all_calls(last.oracle_calls)) + surplus);
  if (budget.samples == 0 && budget.oracle_calls == 0)
    limit(budget.max_seconds, 0, first.seconds, short_run.seconds);
  return planned == kUnlimited ? 1 : planned;
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

/// Highest less lowest of a measure's values, and the most by which one is worse than one before it.
std::pair<double, double> movement(const std::vector<Json>& values, const Measure& measure) {
  double low = HUGE_VAL, high = -HUGE_VAL, best = HUGE_VAL, rise = 0;
  for (const Json& row : values) {
    const double value = trace_number(row.at(measure.key));
    const double cost = measure.higher_is_better ? -value : value;
    low = std::min(low, value);
    high = std::max(high, value);
    best = std::min(best, cost);
    rise = std::max(rise, cost - best);
  }
  return {high - low, rise};
}

/// Where a run stood after its last step within the budget.
struct Reached {
  TraceRow row;
  OracleCounts counts;
  double seconds = 0, share = 0;
  torch::Tensor x, y;  // copies, where the next step may go beyond the budget
};

/// A run in the making.
class Play {
 public:
  Play(Contest& contest, const PlayOptions& options)
      : contest_(contest), options_(options), facts_(contest.facts()) {}

  void execute(const SolverEntry& entry, const std::function<std::unique_ptr<Solver>()>& make_solver) {
    schedule_ = planned_steps(contest_, entry, make_solver, options_);
    attempt_ = contest_.attempt(options_.seed);
    const std::unique_ptr<Solver> solver = make_solver();
    measure(TraceRow{}, OracleCounts{}, 0);

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
  /// Whether a next step may fit.
  bool after_step(const TraceRow& r, Oracles& oracles) {
    const OracleCounts counts = used(oracles.ledger());
    const double seconds = r.seconds - measuring_seconds_;
    const double share = used_share(options_.budget, r.step, counts, seconds);
    over_ = share >= 1;
    if (share > 1) {  // this step did not fit
      too_much_ = counts;
      if (last_.row.step > 0) {
        oracles.x().assign(last_.x);
        oracles.y().assign(last_.y);
        if (measured_step_ < last_.row.step) measure_last(oracles);
      }
      return false;
    }
    const double before = last_.share;
    last_ = {.row = r, .counts = counts, .seconds = seconds, .share = share, .x = {}, .y = {}};
    if (!over_ && (options_.budget.samples > 0 || options_.budget.oracle_calls > 0 ||
                   options_.budget.max_seconds > 0)) {
      last_.x = oracles.x().flat().clone();
      last_.y = oracles.y().flat().clone();
    }
    if (over_ || is_due(before, share)) measure_last(oracles);
    if (options_.progress)
      options_.progress({.step = r.step, .steps = schedule_, .upper_loss = r.upper_loss});
    return !over_;
  }

  /// Whether a measurement lies between two shares of the budget; denser in its last tenth.
  bool is_due(double before, double now) const {
    const auto passes = [&](double times) { return std::floor(now * times) > std::floor(before * times); };
    return passes(static_cast<double>(contest_.evaluations())) ||
           (facts_.last_tenth && now > kLast && passes(kLastEvaluations / (1 - kLast)));
  }

  void measure_last(Oracles& oracles) {
    const auto purpose = oracles.counting(Purpose::evaluation);
    measure(last_.row, last_.counts, last_.share);
  }

  void measure(const TraceRow& r, const OracleCounts& counts, double share) {
    const auto start = Clock::now();
    Json line{{"step", r.step},
              {"seconds", last_.seconds},
              {"samples", samples_json(counts)},
              {"oracle_calls", calls_json(counts)}};
    if (r.step > 0) {
      line["upper_loss"] = r.upper_loss;
      line["hypergradient_norm"] = r.hypergradient_norm;
      line["linear_residual"] = r.linear_residual;
    }
    line["metrics"] = attempt_->measure(r.step);
    played_.rows.push_back(std::move(line));
    shares_.push_back(share);
    measured_step_ = r.step;
    // Before step 1 the run's clock does not go yet.
    if (r.step > 0) measuring_seconds_ += std::chrono::duration<double>(Clock::now() - start).count();
  }

  /// What was measured in the last tenth of the run.
  std::vector<Json> last_tenth() const {
    std::vector<Json> last;
    for (size_t i = 0; i < shares_.size(); ++i) {
      if (shares_[i] > kLast * shares_.back() || i + 1 == shares_.size())
        last.push_back(played_.rows[i].at("metrics"));
    }
    return last;
  }

  void finish(const Result& result) {
    played_.interrupted = result.reason == StopReason::interrupted;
    std::string reason = to_string(result.reason), message = result.message, status = "finished";
    Json outcome = nullptr, swing = nullptr, rise = nullptr;
    OracleCounts counts = last_.counts;
    if (over_ && last_.row.step == 0) {
      status = "failed";
      reason = "budget";
      message =
          fmt::format("not one step fits into the budget of {}: with the first, {} samples and {} calls",
                      options_.budget.describe(), all_samples(too_much_), all_calls(too_much_));
    } else if (result.reason == StopReason::nonfinite || result.reason == StopReason::linear_solve_failed) {
      status = "diverged";
      counts = used(result.oracle_calls);
    } else {
      if (over_) {
        reason = "budget";
        message = fmt::format("the budget was used after step {}", last_.row.step);
      }
      const std::vector<Json> last = last_tenth();
      outcome = attempt_->result(last);
      if (!std::isfinite(trace_number(outcome.at(facts_.metric.key)))) {
        status = "diverged";
        reason = "metric_not_finite";
        message = fmt::format("the {} is not a finite number at or before step {}", facts_.metric.name,
                              last_.row.step);
        outcome = nullptr;
      } else {
        if (facts_.last_tenth) std::tie(swing, rise) = movement(last, facts_.metric);
      }
    }
    const bool is_lost = status == "diverged";
    played_.end = {{"end", status},
                   {"reason", reason},
                   {"message", message},
                   {"steps", is_lost ? result.steps : last_.row.step},
                   {"seconds", is_lost ? result.seconds - measuring_seconds_ : last_.seconds},
                   {"samples", samples_json(counts)},
                   {"oracle_calls", calls_json(counts)},
                   {"result", outcome},
                   {"start", played_.rows.front().at("metrics").at(facts_.metric.key)},
                   {"swing", swing},
                   {"rise", rise},
                   {"schedule_steps", schedule_},
                   {"solver_options", result.options},
                   {"chosen", result.chosen},
                   {"warnings", result.warnings}};
  }

  static constexpr double kLast = 0.9;  // where the last tenth of a run begins
  static constexpr double kLastEvaluations = 20;

  Contest& contest_;
  const PlayOptions& options_;
  const ContestFacts facts_;
  std::unique_ptr<Attempt> attempt_;
  int64_t schedule_ = 0;
  double measuring_seconds_ = 0;
  Reached last_;
  OracleCounts too_much_;  // with the step that did not fit
  bool over_ = false;
  std::vector<double> shares_;  // of the budget, by row
  int64_t measured_step_ = -1;
  Played played_;
};

}  // namespace

Json Attempt::result(const std::vector<Json>& last) const {
  Json means = Json::object();
  for (const auto& [key, unused] : last.front().items()) {
    double sum = 0;
    for (const Json& row : last) sum += trace_number(row.at(key));
    means[key] = sum / static_cast<double>(last.size());
  }
  return means;
}

void to_json(Json& json, const Measure& m) {
  json = {
      {"key", m.key}, {"name", m.name}, {"higher_is_better", m.higher_is_better}, {"log_scale", m.log_scale}};
}

void from_json(const Json& json, Measure& m) {
  m = {.key = json.at("key"),
       .name = json.at("name"),
       .higher_is_better = json.at("higher_is_better"),
       .log_scale = json.at("log_scale")};
}

void to_json(Json& json, const ContestFacts& f) {
  json = {{"task", f.task},
          {"title", f.title},
          {"metric", f.metric},
          {"tuning_metric", f.tuning_metric},
          {"further", f.further},
          {"traits", f.traits},
          {"seeds_mean", f.seeds_mean},
          {"last_tenth", f.last_tenth},
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
       .last_tenth = json.at("last_tenth"),
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
                  {"start", nullptr},
                  {"swing", nullptr},
                  {"rise", nullptr},
                  {"schedule_steps", 0},
                  {"solver_options", fields_of(*make_solver()).to_json()},
                  {"chosen", Json::object()},
                  {"warnings", Json::array()}};
    return failed;
  }
  return play.take();
}

}  // namespace bilevel
