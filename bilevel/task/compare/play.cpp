#include "bilevel/task/compare/play.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <tuple>
#include <utility>

#include "bilevel/report/trace.h"
#include "bilevel/task/compare/budget.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

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
  calls["all"] = c.calls();
  return calls;
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
    RunOptions run_options;
    run_options.seed = options_.seed;
    run_options.interrupt = options_.interrupt;
    schedule_ = planned_steps(contest_, entry, *make_solver(), options_.budget, run_options);
    attempt_ = contest_.attempt(options_.seed);
    const std::unique_ptr<Solver> solver = make_solver();
    measure(TraceRow{}, OracleCounts{}, 0);

    run_options.max_steps = options_.budget.steps > 0 ? options_.budget.steps : kUnlimited;
    run_options.schedule_steps = schedule_;
    run_options.trace_every = kUnlimited;
    run_options.callback = [&](const MadeStep& made, Oracles& oracles) {
      return after_step(made.row(), oracles);
    };
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
    std::string reason = name_of(result.reason), message = result.message, status = "finished";
    Json outcome = nullptr, swing = nullptr, rise = nullptr;
    OracleCounts counts = last_.counts;
    if (over_ && last_.row.step == 0) {
      status = "failed";
      reason = "budget";
      message =
          fmt::format("not one step fits into the budget of {}: with the first, {} samples and {} calls",
                      options_.budget.describe(), all_samples(too_much_), too_much_.calls());
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
