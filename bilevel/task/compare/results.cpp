#include "bilevel/task/compare/results.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "bilevel/task/compare/statistics.h"
#include "bilevel/task/compare/table.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

/// {"mean", "interval": Student's t, where something is random and there are two values, "spread": highest less
/// lowest value, where nothing is}.
Json mean_json(const std::vector<double>& values, bool random, double confidence = 0.95) {
  const MeanInterval mean = mean_interval(values, confidence);
  Json spread = nullptr;
  if (!random && !values.empty()) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    spread = *high - *low;
  }
  return {{"mean", number(mean.mean)},
          {"interval", random && mean.has_interval() ? Json{mean.low, mean.high} : Json(nullptr)},
          {"spread", spread}};
}

/// Whether a difference is so small beside the metric at the start that rounding explains it.
bool is_rounding(double difference, const CompetitorRuns& c) {
  const std::vector<double> starts = ends_of(c, "start");
  return std::abs(difference) <= 1e-12 * (starts.empty() ? 0 : std::abs(starts.front()));
}

bool ends_no_nearer(const Trace& run, const Measure& metric) {
  const double start = trace_number(end_of(run).value("start", Json(nullptr)));
  const double end = result_of(run, metric.key);
  return metric.higher_is_better ? end <= start : end >= start;
}

/// In the last tenth the metric rises again by more than half of its mean there; less than a hundredth of its value
/// at the start does not count.
bool still_oscillates(const Trace& run, const Measure& metric) {
  const double rise = trace_number(end_of(run).value("rise", Json(nullptr)));
  const double start = trace_number(end_of(run).value("start", Json(nullptr)));
  return rise > 0.5 * std::abs(result_of(run, metric.key)) && rise > 0.01 * std::abs(start);
}

Json tuning_json(const CompetitorRuns& c, const Measure& metric) {
  if (c.trials.empty()) return nullptr;
  Json trials = Json::array();
  for (size_t t = 0; t < c.trials.size(); ++t) {
    const Json& head = head_of(c.trials[t]);
    trials.push_back(
        {{"trial", t},
         {"status", end_of(c.trials[t]).at("end")},
         {"score", finished(c.trials[t]) ? number(result_of(c.trials[t], metric.key)) : Json(nullptr)},
         {"options", head.at("options")}});
  }
  return {{"metric", metric.key}, {"chosen", head_of(c.runs.front()).at("trial")}, {"trials", trials}};
}

Json entry_json(const CompetitorRuns& c, const ContestFacts& facts, const std::optional<int64_t>& rank,
                const Standing& standing) {
  Json messages = Json::array();
  for (const Trace& run : c.runs) {
    const Json message = end_of(run).at("message");
    if (!finished(run) && std::find(messages.begin(), messages.end(), message) == messages.end())
      messages.push_back(message);
  }
  Json values = Json::array();
  for (const double value : values_of(c, facts.metric.key)) values.push_back(number(value));
  const auto mean_of = [&](const Measure& measure) {
    return mean_json(finite(values_of(c, measure.key)), is_random(c, facts));
  };
  Json further = Json::object();
  for (const Measure& measure : facts.further) further[measure.key] = mean_of(measure);
  const Json metric = mean_of(facts.metric);
  const auto count_if = [&](bool (*holds)(const Trace&, const Measure&)) {
    return std::count_if(c.runs.begin(), c.runs.end(),
                         [&](const Trace& run) { return finished(run) && holds(run, facts.metric); });
  };
  Json calls = Json::object();
  for (const auto& [kind, count] : end_of(c.runs.front()).at("oracle_calls").items())
    calls[kind] = number(mean_at(c, ("/oracle_calls/" + kind).c_str()));
  return {{"rank", rank ? Json(*rank) : Json(nullptr)},
          {"competitor", c.competitor.label},
          {"solver", c.competitor.solver},
          {"mean", metric.at("mean")},
          {"interval", metric.at("interval")},
          {"spread", metric.at("spread")},
          {"shown", mean_text(metric, facts.metric)},
          {"swing", number(mean_interval(ends_of(c, "swing")).mean)},
          {"values", values},
          {"finished", standing.finished},
          {"diverged", standing.diverged},
          {"failed", standing.failed},
          {"messages", messages},
          {"no_nearer", count_if(ends_no_nearer)},
          {"oscillating", count_if(still_oscillates)},
          {"out_of_theory", !theory_gaps_of(c).empty()},
          {"difference_to_best", nullptr},
          {"further", further},
          {"steps", number(mean_at(c, "/steps"))},
          {"seconds", number(mean_at(c, "/seconds"))},
          {"samples", number(mean_at(c, "/samples/all"))},
          {"oracle_calls", calls},
          {"set", c.competitor.set},
          {"tuned", head_of(c.runs.front()).at("options")},
          {"solver_options", end_of(c.runs.front()).at("solver_options")},
          {"tuning", tuning_json(c, facts.tuning_metric)}};
}

/// Own less best, of `count` competitors.
Json difference_json(const CompetitorRuns& own, const CompetitorRuns& best, const ContestFacts& facts,
                     size_t count) {
  const bool random = is_random(own, facts) || is_random(best, facts);
  Json difference = mean_json(paired_differences(own, best, facts.metric.key), random,
                              joint_confidence(static_cast<int64_t>(count)));
  const Json& interval = difference.at("interval");
  const double d = trace_number(difference.at("mean"));
  const bool told_apart = std::isfinite(d) && !is_rounding(d, best) &&
                          (random ? !interval.is_null() && (interval[0] > 0.0 || interval[1] < 0.0)
                                  : std::abs(d) > difference.at("spread").get<double>());
  difference["random"] = random;
  difference["told_apart"] = told_apart;
  return difference;
}

/// What went wrong with the runs and the trials of one competitor.
void note_failures(const Json& entry, size_t runs, Json& notes) {
  const std::string name = entry.at("competitor");
  for (const auto& [kind, what] :
       {std::pair("diverged", "diverged"), std::pair("failed", "failed to start")}) {
    const auto lost = entry.at(kind).get<int64_t>();
    if (lost == 0) continue;
    std::string text = fmt::format("{}: {} of {} runs {}", name, lost, runs, what);
    for (const Json& message : entry.at("messages")) text += fmt::format("; {}", message.get<std::string>());
    notes.push_back(text);
  }
  const Json& tuning = entry.at("tuning");
  if (tuning.is_null()) return;
  const Json& trials = tuning.at("trials");
  if (std::none_of(trials.begin(), trials.end(), [](const Json& t) { return t.at("status") == "finished"; }))
    notes.push_back(fmt::format("{}: no trial has finished; it ran with the defaults", name));
  if (trials.size() > 1 && trials[1].at("options").empty())
    notes.push_back(fmt::format("{}: none of its options is searched; all its trials are the same", name));
}

Json notes_of(const Comparison& comparison, const Json& table) {
  const ContestFacts& facts = comparison.facts;
  Json notes = Json::array();
  std::vector<std::string> no_nearer, oscillating;
  std::map<std::string, std::vector<std::string>> by_gaps;
  for (const CompetitorRuns& c : comparison.competitors) {
    if (const std::string gaps = theory_gaps_of(c); !gaps.empty())
      by_gaps[gaps].push_back(c.competitor.label);
  }
  for (const Json& entry : table) {
    const std::string name = entry.at("competitor");
    const auto runs = static_cast<int64_t>(entry.at("values").size());
    const auto count = [&](const char* key, std::vector<std::string>& names) {
      const auto n = entry.at(key).get<int64_t>();
      if (n > 0) names.push_back(n == runs ? name : fmt::format("{} ({} of {} runs)", name, n, runs));
    };
    count("no_nearer", no_nearer);
    count("oscillating", oscillating);
    note_failures(entry, entry.at("values").size(), notes);
  }
  for (const auto& [gaps, labels] : by_gaps)
    notes.push_back(fmt::format("out of the theory, †: {} ({})", fmt::join(labels, ", "), gaps));
  if (!no_nearer.empty()) {
    notes.push_back(fmt::format("end{} than they started: {}",
                                facts.metric.higher_is_better ? " no better" : " no nearer",
                                fmt::join(no_nearer, ", ")));
  }
  if (!oscillating.empty()) {
    notes.push_back(fmt::format("still oscillating at the end, so that their mean says little: {}",
                                fmt::join(oscillating, ", ")));
  }
  if (comparison.options.seeds == 1) notes.push_back("one seed: there are no intervals");
  if (facts.traits.noise == Noise::none && comparison.options.seeds > 1) {
    notes.push_back(
        "every oracle is exact: there are intervals only for solvers that draw something by themselves; "
        "seeds after the first move the start by a billionth, and the digits that this changes are not "
        "printed");
  }
  if (comparison.options.budget.max_seconds > 0)
    notes.push_back(
        "runs that end by the clock come out differently on another machine, and a little differently each "
        "time");
  return notes;
}

}  // namespace

Json summarize(const Comparison& comparison) {
  const ContestFacts& facts = comparison.facts;
  const Measure& metric = facts.metric;
  std::vector<Standing> standings;
  for (const CompetitorRuns& c : comparison.competitors) {
    Standing s;
    for (const Trace& run : c.runs) {
      const std::string end = end_of(run).at("end");
      s.finished += end == "finished" ? 1 : 0;
      s.diverged += end == "diverged" ? 1 : 0;
      s.failed += end == "failed" ? 1 : 0;
    }
    s.mean = mean_interval(finite(values_of(c, metric.key))).mean;
    standings.push_back(s);
  }
  const std::vector<std::optional<int64_t>> rank = ranks(standings, metric.higher_is_better);
  std::vector<size_t> order(rank.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return rank[a].value_or(std::numeric_limits<int64_t>::max()) <
           rank[b].value_or(std::numeric_limits<int64_t>::max());
  });

  Json table = Json::array();
  Json best = nullptr, not_distinguishable = Json::array();
  for (const size_t i : order) {
    const CompetitorRuns& c = comparison.competitors[i];
    Json entry = entry_json(c, facts, rank[i], standings[i]);
    if (table.empty() && standings[i].finished > 0) best = c.competitor.label;
    if (!table.empty() && !best.is_null() && standings[i].finished > 0) {
      const Json difference =
          difference_json(c, comparison.competitors[order[0]], facts, comparison.competitors.size());
      entry["difference_to_best"] = difference;
      if (standings[i].diverged + standings[i].failed == 0 && difference.at("told_apart") == false)
        not_distinguishable.push_back(c.competitor.label);
    }
    table.push_back(std::move(entry));
  }
  Json seeds = Json::array();
  for (int64_t s = 0; s < comparison.options.seeds; ++s)
    seeds.push_back(comparison.options.seed + static_cast<uint64_t>(s));
  return {{"command", "compare"},
          {"task", facts.task},
          {"metric", metric},
          {"last_tenth", facts.last_tenth},
          {"tuning_metric", facts.tuning_metric},
          {"seeds", seeds},
          {"budget", comparison.options.budget},
          {"tune", comparison.options.tune},
          {"best", best},
          {"not_distinguishable", not_distinguishable},
          {"table", table},
          {"notes", notes_of(comparison, table)}};
}

}  // namespace bilevel
