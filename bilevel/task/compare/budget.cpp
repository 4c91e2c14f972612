#include "bilevel/task/compare/budget.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace bilevel {
namespace {

constexpr int64_t kMeasuredSteps = 20;  // of the short run that finds the cost of a step

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
    steps.emplace_back(now.calls() - before.calls(), all_samples(now) - all_samples(before));
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

}  // namespace

int64_t all_samples(const OracleCounts& c) { return c.upper_samples + c.lower_samples; }

int64_t planned_steps(Contest& contest, const SolverEntry& entry, Solver& solver, const Budget& budget,
                      RunOptions options) {
  const bool counted = budget.samples > 0 || budget.oracle_calls > 0;
  // The time may cut a run of a known number of steps, but does not change its schedule.
  if (!counted && (budget.max_seconds == 0 || budget.steps > 0)) return budget.steps;
  options.max_steps = kMeasuredSteps;
  if (budget.max_seconds > 0) options.max_seconds = budget.max_seconds;
  const Result short_run = run(contest.attempt(options.seed)->problem(), solver, options);
  if (short_run.trace.empty()) return 1;
  OracleCounts before = short_run.oracle_calls.warm_start;
  before += short_run.oracle_calls.automatic;
  const auto documented = [&](int64_t steps) {
    const double calls =
        entry.documented_calls ? static_cast<double>(entry.documented_calls(solver, steps).calls()) : 0;
    return calls > 0 ? calls : static_cast<double>(steps);
  };
  // The first step may differ; what the others cost grows as the documented calls do. A random cost counts as what
  // is expected, not as what so few steps happened to draw.
  const TraceRow &first = short_run.trace.front(), &last = short_run.trace.back();
  const double later = documented(last.step) - documented(1);
  const double surplus =
      entry.random_estimate
          ? later - static_cast<double>(last.oracle_calls.calls() - first.oracle_calls.calls())
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
  limit(number(budget.oracle_calls), number(before.calls()), number(first.oracle_calls.calls()),
        number(last.oracle_calls.calls()) + surplus);
  if (!counted) limit(budget.max_seconds, 0, first.seconds, short_run.seconds);
  return planned == kUnlimited ? 1 : planned;
}

double used_share(const Budget& budget, int64_t step, const OracleCounts& counts, double seconds) {
  double share = 0;
  const auto add = [&](double limit, double value) {
    if (limit > 0) share = std::max(share, value / limit);
  };
  add(static_cast<double>(budget.steps), static_cast<double>(step));
  add(static_cast<double>(budget.samples), static_cast<double>(all_samples(counts)));
  add(static_cast<double>(budget.oracle_calls), static_cast<double>(counts.calls()));
  add(budget.max_seconds, seconds);
  return share;
}

std::string Budget::describe() const {
  std::vector<std::string> limits;
  if (steps > 0) limits.push_back(fmt::format("{} steps", steps));
  if (samples > 0) limits.push_back(fmt::format("{} samples", samples));
  if (oracle_calls > 0) limits.push_back(fmt::format("{} oracle calls", oracle_calls));
  if (max_seconds > 0) limits.push_back(fmt::format("{:g} s", max_seconds));
  return fmt::format("{}{}", fmt::join(limits, " or "), limits.size() > 1 ? ", whichever comes first" : "");
}

}  // namespace bilevel
