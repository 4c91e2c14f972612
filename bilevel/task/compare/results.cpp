#include "bilevel/task/compare/results.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>

#include "bilevel/core/error.h"
#include "bilevel/task/compare/random_search.h"
#include "bilevel/task/compare/statistics.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

const double kMissing = std::nan("");

std::string mean_text(const Json& mean, const Measure& measure);

bool finished(const Trace& trace) { return end_of(trace).at("end") == "finished"; }

/// A measure's result per run; NaN for a run without one.
std::vector<double> values_of(const CompetitorRuns& c, const std::string& key) {
  std::vector<double> values;
  for (const Trace& run : c.runs) values.push_back(finished(run) ? result_of(run, key) : kMissing);
  return values;
}

std::vector<double> finite(const std::vector<double>& values) {
  std::vector<double> result;
  std::copy_if(values.begin(), values.end(), std::back_inserter(result),
               [](double value) { return std::isfinite(value); });
  return result;
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

/// Whether runs with different seeds differ by more than a nudge of the start.
bool is_random(const CompetitorRuns& c, const ContestFacts& facts) {
  return facts.traits.noise != Noise::none || head_of(c.runs.front()).at("random_estimate").get<bool>();
}

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

/// The mean of a number in the end rows of the runs that could start.
double mean_at(const CompetitorRuns& c, const char* pointer) {
  std::vector<double> values;
  for (const Trace& run : c.runs) {
    if (end_of(run).at("end") != "failed")
      values.push_back(end_of(run).at(Json::json_pointer(pointer)).get<double>());
  }
  return mean_interval(values).mean;
}

/// Own minus other's result, by seed, where both have one.
std::vector<double> paired_differences(const CompetitorRuns& own, const CompetitorRuns& other,
                                       const std::string& key) {
  const std::vector<double> a = values_of(own, key), b = values_of(other, key);
  std::vector<double> differences;
  for (size_t i = 0; i < a.size(); ++i) differences.push_back(a[i] - b[i]);
  return finite(differences);
}

/// What the end rows of the finished runs hold under `key`, without nulls.
std::vector<double> ends_of(const CompetitorRuns& c, const std::string& key) {
  std::vector<double> values;
  for (const Trace& run : c.runs) {
    const Json& end = end_of(run);
    if (finished(run) && end.contains(key) && !end.at(key).is_null())
      values.push_back(trace_number(end.at(key)));
  }
  return finite(values);
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

/// Why the theory of the competitor's solver, with the options of its runs, does not cover the problem; or empty.
std::string theory_gaps_of(const CompetitorRuns& c) {
  return head_of(c.runs.front()).value("theory_gaps", std::string());
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
    for (const auto& [kind, what] :
         {std::pair("diverged", "diverged"), std::pair("failed", "failed to start")}) {
      const auto lost = entry.at(kind).get<int64_t>();
      if (lost == 0) continue;
      std::string text = fmt::format("{}: {} of {} runs {}", name, lost, runs, what);
      for (const Json& message : entry.at("messages"))
        text += fmt::format("; {}", message.get<std::string>());
      notes.push_back(text);
    }
    const Json& tuning = entry.at("tuning");
    if (!tuning.is_null()) {
      const Json& trials = tuning.at("trials");
      if (std::none_of(trials.begin(), trials.end(),
                       [](const Json& t) { return t.at("status") == "finished"; }))
        notes.push_back(fmt::format("{}: no trial has finished; it ran with the defaults", name));
      if (trials.size() > 1 && trials[1].at("options").empty())
        notes.push_back(
            fmt::format("{}: none of its options is searched; all its trials are the same", name));
    }
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
        "seeds after "
        "the first move the start by a billionth, and the digits that this changes are not printed");
  }
  if (comparison.options.budget.max_seconds > 0)
    notes.push_back(
        "runs that end by the clock come out differently on another machine, and a little "
        "differently each time");
  return notes;
}

std::string shown(const Json& value, const Measure& measure) {
  return shown(value.is_null() ? kMissing : value.get<double>(), measure);
}

std::string shown_interval(const Json& interval, const Measure& measure) {
  if (interval.is_null()) return std::string(kAbsent);
  return fmt::format("{} to {}", shown(interval[0], measure), shown(interval[1], measure));
}

/// A mean with three digits, or as many as do not depend on a nudge of the start: the unit of the last one is not
/// below the spread of the runs. "~" where not even the first is sure.
std::string mean_text(const Json& mean, const Measure& measure) {
  if (mean.at("mean").is_null() || mean.at("spread").is_null()) return shown(mean.at("mean"), measure);
  const double value = mean.at("mean"), spread = mean.at("spread");
  const double digits = value == 0 || spread == 0
                            ? 3
                            : std::floor(std::floor(std::log10(std::abs(value))) + 1 - std::log10(spread));
  if (digits >= 3) return shown(value, measure);
  return fmt::format("{}{:.{}g}", digits < 1 ? "~" : "", value, std::max(1, static_cast<int>(digits)));
}

std::string whole(const Json& value) {
  return value.is_null() ? std::string(kAbsent) : grouped(std::llround(value.get<double>()));
}

/// Characters of a UTF-8 text, for columns that line up.
size_t length_of(const std::string& text) {
  return static_cast<size_t>(std::count_if(
      text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

/// "5", or "3 of 5 (2 diverged)".
std::string runs_text(const Json& entry) {
  const auto finished_runs = entry.at("finished").get<int64_t>();
  const auto diverged = entry.at("diverged").get<int64_t>(), failed = entry.at("failed").get<int64_t>();
  if (diverged + failed == 0) return std::to_string(finished_runs);
  std::vector<std::string> lost;
  if (diverged > 0) lost.push_back(fmt::format("{} diverged", diverged));
  if (failed > 0) lost.push_back(fmt::format("{} failed", failed));
  return fmt::format("{} of {} ({})", finished_runs, finished_runs + diverged + failed,
                     fmt::join(lost, ", "));
}

std::string name_text(const Json& entry) {
  const std::string label = entry.at("competitor"), solver = entry.at("solver");
  return label + (label == solver ? "" : " (" + solver + ")") +
         (entry.at("out_of_theory").get<bool>() ? " †" : "");
}

std::string verdict_text(const Json& summary) {
  if (summary.at("best").is_null()) return "No run has finished.";
  const auto metric = summary.at("metric").get<Measure>();
  std::string text = fmt::format("{} has the {} mean {}.", summary.at("best").get<std::string>(),
                                 metric.higher_is_better ? "highest" : "lowest", metric.name);
  const Json& table = summary.at("table");
  if (std::all_of(table.begin(), table.end(),
                  [](const Json& e) { return e.at("no_nearer") == e.at("finished"); }))
    text += fmt::format(" No solver ends {} than it started.", metric.higher_is_better ? "better" : "nearer");
  // How the rivals compare with the best.
  std::vector<std::string> like_it, equal, beyond_chance, exactly_behind, lost;
  for (size_t i = 1; i < table.size(); ++i) {
    const Json& e = table[i];
    const std::string name = e.at("competitor");
    const Json& difference = e.at("difference_to_best");
    if (e.at("diverged").get<int64_t>() + e.at("failed").get<int64_t>() > 0) {
      lost.push_back(name);
    } else if (difference.at("told_apart").get<bool>()) {
      (difference.at("random").get<bool>() ? beyond_chance : exactly_behind).push_back(name);
    } else {
      (difference.at("random").get<bool>() ? like_it : equal).push_back(name);
    }
  }
  if (!like_it.empty() && table[0].at("finished").get<int64_t>() == 1) {
    text += " One run each cannot tell whether that is chance.";
  } else if (!like_it.empty()) {
    text +=
        fmt::format(" Not distinguishable from it (95 % for all differences together, paired by seed): {}.",
                    fmt::join(like_it, ", "));
  }
  if (!equal.empty())
    text += fmt::format(" Equal to it in every digit that means something: {}.", fmt::join(equal, ", "));
  if (!beyond_chance.empty()) {
    text +=
        fmt::format(" Behind it by more than chance (95 % for all differences together, paired by seed): {}.",
                    fmt::join(beyond_chance, ", "));
  }
  if (!exactly_behind.empty()) {
    text += fmt::format(" Behind it, where nothing is random: {}.", fmt::join(exactly_behind, ", "));
  }
  if (!lost.empty()) text += fmt::format(" With lost runs: {}.", fmt::join(lost, ", "));
  return text;
}

}  // namespace

std::string shown(double value, const Measure& measure) {
  if (!std::isfinite(value)) return std::string(kAbsent);
  return measure.log_scale ? fmt::format("{:.3g}", value) : fmt::format("{:.4f}", value);
}

const Json& head_of(const Trace& trace) {
  if (trace.rows.size() < 2 || !trace.rows.front().contains("run"))
    throw FileError("the trace of a run has no first row that tells whose it is");
  return trace.rows.front().at("run");
}

const Json& end_of(const Trace& trace) {
  if (trace.rows.size() < 2 || !trace.rows.back().contains("end"))
    throw FileError("the trace of a run has no last row that tells how it ended");
  return trace.rows.back();
}

double result_of(const Trace& trace, const std::string& key) {
  const Json& result = end_of(trace).at("result");
  return result.is_object() && result.contains(key) ? trace_number(result.at(key)) : kMissing;
}

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
      const CompetitorRuns& first = comparison.competitors[order[0]];
      const bool random = is_random(c, facts) || is_random(first, facts);
      const std::vector<double> differences = paired_differences(c, first, metric.key);
      const auto count = static_cast<int64_t>(comparison.competitors.size());
      Json difference = mean_json(differences, random, joint_confidence(count));
      const Json& interval = difference.at("interval");
      const double d = trace_number(difference.at("mean"));
      const bool told_apart = std::isfinite(d) && !is_rounding(d, first) &&
                              (random ? !interval.is_null() && (interval[0] > 0.0 || interval[1] < 0.0)
                                      : std::abs(d) > difference.at("spread").get<double>());
      difference["random"] = random;
      difference["told_apart"] = told_apart;
      entry["difference_to_best"] = std::move(difference);
      if (standings[i].diverged + standings[i].failed == 0 && !told_apart)
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

namespace {

/// What a run's number is.
std::string what_counts(bool last_tenth) {
  return last_tenth ? "mean over the last tenth of a run" : "at the step that a run chose";
}

/// Whether a column of swings says anything.
bool has_swings(const Json& summary) {
  const Json& table = summary.at("table");
  return std::any_of(table.begin(), table.end(), [](const Json& e) { return !e.at("swing").is_null(); });
}

std::string swing_text(const Json& entry) {
  return entry.at("swing").is_null() ? std::string(kAbsent)
                                     : fmt::format("{:.2g}", entry.at("swing").get<double>());
}

}  // namespace

std::string table_text(const Json& summary) {
  const auto metric = summary.at("metric").get<Measure>();
  const bool swings = has_swings(summary);
  std::vector<std::vector<std::string>> rows{{"rank", "solver", "mean", "95 % interval"}};
  if (swings) rows[0].push_back("swing");
  for (const char* name : {"runs", "steps", "calls", "seconds"}) rows[0].push_back(name);
  const size_t runs_column = swings ? 5 : 4;
  for (const Json& e : summary.at("table")) {
    std::vector<std::string> row{e.at("rank").is_null() ? std::string(kAbsent) : e.at("rank").dump(),
                                 name_text(e), mean_text(e, metric),
                                 shown_interval(e.at("interval"), metric)};
    if (swings) row.push_back(swing_text(e));
    row.insert(row.end(), {runs_text(e), whole(e.at("steps")), whole(e.at("oracle_calls").at("all")),
                           e.at("seconds").is_null() ? std::string(kAbsent)
                                                     : fmt::format("{:.2f}", e.at("seconds").get<double>())});
    rows.push_back(std::move(row));
  }
  std::vector<size_t> widths(rows.front().size(), 0);
  for (const auto& row : rows) {
    for (size_t column = 0; column < row.size(); ++column)
      widths[column] = std::max(widths[column], length_of(row[column]));
  }
  std::string text = fmt::format("{}, {}:\n\n", metric.name, what_counts(summary.at("last_tenth")));
  for (const auto& row : rows) {
    std::string line;
    for (size_t column = 0; column < row.size(); ++column) {
      const bool left = column == 1 || column == runs_column;
      if (column > 0) line.append(2, ' ');
      if (left) line += row[column];
      line.append(widths[column] - length_of(row[column]), ' ');
      if (!left) line += row[column];
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  }
  text += fmt::format("\n{}\n", verdict_text(summary));
  for (const Json& note : summary.at("notes")) text += fmt::format("note: {}\n", note.get<std::string>());
  return text;
}

std::string table_tsv(const Json& summary) {
  std::string text =
      "rank\tcompetitor\tsolver\tmean\tlow\thigh\tfinished\tdiverged\tfailed\tout_of_theory\tsteps\tsamples\t"
      "oracle_calls\tseconds\tswing\tno_nearer\toscillating\n";
  const auto cell = [](const Json& value) {
    return value.is_null() ? std::string() : value.is_string() ? value.get<std::string>() : value.dump();
  };
  for (const Json& e : summary.at("table")) {
    const Json& interval = e.at("interval");
    std::vector<std::string> cells{cell(e.at("rank")),
                                   cell(e.at("competitor")),
                                   cell(e.at("solver")),
                                   cell(e.at("mean")),
                                   interval.is_null() ? "" : cell(interval[0]),
                                   interval.is_null() ? "" : cell(interval[1])};
    for (const char* key : {"finished", "diverged", "failed", "out_of_theory", "steps", "samples"})
      cells.push_back(cell(e.at(key)));
    cells.push_back(cell(e.at("oracle_calls").at("all")));
    for (const char* key : {"seconds", "swing", "no_nearer", "oscillating"}) cells.push_back(cell(e.at(key)));
    text += fmt::format("{}\n", fmt::join(cells, "\t"));
  }
  return text;
}

Series median_and_band(const std::vector<const Trace*>& runs, const std::string& x_key,
                       const std::string& y_key, const std::string& label) {
  constexpr size_t kGrid = 200;
  struct Line {
    Series points;
    bool holds;  // keeps its last value
  };
  std::vector<Line> lines;
  std::vector<double> grid;
  for (const Trace* run : runs) {
    Series points = series_from_trace(*run, x_key, y_key, label);
    if (points.x.empty()) continue;
    grid.insert(grid.end(), points.x.begin(), points.x.end());
    lines.push_back({std::move(points), finished(*run)});
  }
  std::sort(grid.begin(), grid.end());
  grid.erase(std::unique(grid.begin(), grid.end()), grid.end());
  if (grid.size() > kGrid) {
    std::vector<double> thinned;
    for (size_t i = 0; i < kGrid; ++i) thinned.push_back(grid[i * (grid.size() - 1) / (kGrid - 1)]);
    grid = std::move(thinned);
  }
  const auto at = [](const Line& line, double x) {
    const std::vector<double>&xs = line.points.x, &ys = line.points.y;
    if (x < xs.front() || (x > xs.back() && !line.holds)) return kMissing;
    const auto after = static_cast<size_t>(std::upper_bound(xs.begin(), xs.end(), x) - xs.begin());
    if (after == xs.size()) return ys.back();
    const double share = (x - xs[after - 1]) / (xs[after] - xs[after - 1]);
    return ys[after - 1] + share * (ys[after] - ys[after - 1]);
  };
  Series result{label, {}, {}};
  for (const double x : grid) {
    std::vector<double> values;
    for (const Line& line : lines) {
      if (const double value = at(line, x); std::isfinite(value)) values.push_back(value);
    }
    if (values.empty()) continue;
    std::sort(values.begin(), values.end());
    const size_t half = values.size() / 2;
    result.x.push_back(x);
    result.y.push_back(values.size() % 2 == 1 ? values[half] : 0.5 * (values[half - 1] + values[half]));
    if (lines.size() > 1) {
      result.low.push_back(values.front());
      result.high.push_back(values.back());
    }
  }
  return result;
}

std::vector<NamedFigure> curves(const Comparison& comparison, const Json& summary) {
  const auto picture = [&](const std::string& name, const Measure& measure, const std::string& x_key,
                           const std::string& x_label) {
    LinePlot plot{.title = measure.name + " against " + x_label, .x_label = x_label, .y_label = measure.name};
    plot.log_y = measure.log_scale;
    double start = -std::numeric_limits<double>::infinity();
    for (const Json& entry : summary.at("table")) {
      const auto c =
          std::find_if(comparison.competitors.begin(), comparison.competitors.end(),
                       [&](const auto& r) { return r.competitor.label == entry.at("competitor"); });
      std::vector<const Trace*> runs;
      for (const Trace& run : c->runs) runs.push_back(&run);
      Series series = median_and_band(runs, x_key, "/metrics/" + measure.key, c->competitor.label);
      if (series.x.empty()) continue;
      start = std::max(start, series.y.front());
      plot.series.push_back(std::move(series));
    }
    if (measure.log_scale && start > 0) plot.y_most = 100 * start;
    plot.height += static_cast<int>(20 * (plot.series.size() / 4));  // room for the names
    const std::string seeds =
        comparison.options.seeds > 1 ? "median of the seeds, with all of them in the band" : "";
    return NamedFigure{name, {draw(plot), seeds}};
  };
  const Measure& metric = comparison.facts.metric;
  std::vector<NamedFigure> figures{picture("steps", metric, "/step", "steps"),
                                   picture("samples", metric, "/samples/all", "samples drawn"),
                                   picture("oracle_calls", metric, "/oracle_calls/all", "oracle calls"),
                                   picture("seconds", metric, "/seconds", "training time (s)")};
  for (const Measure& measure : comparison.facts.further)
    figures.push_back(picture(measure.key + "_steps", measure, "/step", "steps"));
  return figures;
}

namespace {

/// Escaped text of a JSON string.
std::string escaped(const Json& value) { return text_of(value); }

std::string options_text(const Json& options) {
  std::vector<std::string> words;
  for (const auto& [key, value] : options.items())
    words.push_back(fmt::format("{} = {}", key, text_of(value)));
  return words.empty() ? "defaults" : fmt::format("{}", fmt::join(words, ", "));
}

std::string table_section(const ContestFacts& facts, const Json& summary) {
  const Measure& metric = facts.metric;
  std::string out = fmt::format(
      "<section>\n<h2>Result</h2>\n<p class=\"sentence\">{}</p>\n<div class=\"scroll\"><table>\n<thead><tr>"
      "<th class=\"number\">rank</th><th>solver</th><th class=\"number\">mean {}</th>"
      "<th class=\"number\">95&nbsp;% interval</th>{}<th class=\"number\">difference to the best</th>",
      escaped(verdict_text(summary)), escaped(metric.name),
      has_swings(summary) ? "<th class=\"number\">swing</th>" : "");
  for (const Measure& measure : facts.further)
    out += fmt::format("<th class=\"number\">mean {}</th>", escaped(measure.name));
  out +=
      "<th>runs</th><th class=\"number\">steps</th><th class=\"number\">samples</th>"
      "<th class=\"number\">oracle calls</th><th class=\"number\">seconds</th></tr></thead>\n<tbody>\n";
  const auto number_cell = [](const std::string& text) {
    return fmt::format("<td class=\"number\">{}</td>", text);
  };
  for (const Json& e : summary.at("table")) {
    const Json& difference = e.at("difference_to_best");
    out +=
        "<tr>" + number_cell(text_of(e.at("rank"))) + fmt::format("<th>{}</th>", escaped(name_text(e))) +
        number_cell(fmt::format("<b>{}</b>", mean_text(e, metric))) +
        number_cell(shown_interval(e.at("interval"), metric)) +
        (has_swings(summary) ? number_cell(swing_text(e)) : "") +
        number_cell(difference.is_null()                  ? std::string(kAbsent)
                    : difference.at("random").get<bool>() ? shown_interval(difference.at("interval"), metric)
                                                          : mean_text(difference, metric));
    for (const Measure& measure : facts.further)
      out += number_cell(mean_text(e.at("further").at(measure.key), measure));
    out += fmt::format("<td>{}</td>", runs_text(e)) + number_cell(whole(e.at("steps"))) +
           number_cell(whole(e.at("samples"))) + number_cell(whole(e.at("oracle_calls").at("all"))) +
           number_cell(e.at("seconds").is_null() ? std::string(kAbsent)
                                                 : fmt::format("{:.2f}", e.at("seconds").get<double>())) +
           "</tr>\n";
  }
  out += "</tbody></table></div>\n";
  for (const Json& note : summary.at("notes"))
    out += fmt::format("<p class=\"note\">{}</p>\n", escaped(note));
  return out + "</section>\n";
}

std::string fairness_section(const Comparison& comparison) {
  const CompareOptions& o = comparison.options;
  const ContestFacts& facts = comparison.facts;
  std::string out = "<section>\n<h2>How to read this</h2>\n<ul>\n";
  const auto item = [&](const std::string& text) { out += fmt::format("<li>{}</li>\n", escaped(text)); };
  item(fmt::format(
      "Every run has the budget {}. Samples are rows drawn for both levels; an oracle call is one "
      "stochastic derivative of any kind, although a Hessian-vector product takes longer than a "
      "gradient. Warm starts and automatic step sizes count, measurements do not, also not as time.",
      o.budget.describe()));
  if (facts.last_tenth) {
    item(fmt::format(
        "A run's {} is the mean over the last tenth of its budget, so that no single step decides; its swing "
        "is "
        "the highest less the lowest value there, of which the table has the mean. A run is still "
        "oscillating "
        "where the {} rises again there by more than half of its mean, and by a hundredth of its start.",
        facts.metric.name, facts.metric.name));
  }
  item(fmt::format("{} {} per solver. {}", o.seeds, o.seeds == 1 ? "run" : "runs", facts.seeds_mean));
  item(
      fmt::format("A mean has a 95 % interval by Student's t over the runs. The difference to the best has "
                  "an interval of "
                  "the mean difference of runs with the same seed; where it holds 0, this comparison does "
                  "not tell the two "
                  "apart. The best is chosen by the same runs, so these intervals are wider, by Bonferroni "
                  "over the pairs "
                  "of {} solvers: all of them together hold the truth in at least 95 %.",
                  o.competitors.size()));
  item(
      "Ranks go by the mean. Whoever has lost a run is ranked behind all that have not, and its mean is that "
      "of "
      "the runs left.");
  if (o.tune > 0) {
    item(fmt::format(
        "Every solver had {} trials, each with a whole budget and one seed that no run has: "
        "first the defaults; then half of them with the step size of x alone, evenly over its range; then "
        "the best so far with one option drawn anew, in turn all that declare a range. So automatic step "
        "sizes stay automatic in most trials. The trial with the best {} was chosen.",
        o.tune, facts.tuning_metric.name));
  } else {
    item("Nothing was tuned: every solver ran with its defaults for this task.");
  }
  item("† marks a solver whose theory does not cover this problem; the notes say why.");
  return out + "</ul>\n</section>\n";
}

std::string options_section(const Comparison& comparison, const Json& summary) {
  std::string out =
      "<section>\n<h2>Options</h2>\n<div class=\"scroll\"><table>\n<thead><tr><th>solver</th><th>given</th>"
      "<th>chosen by tuning</th></tr></thead>\n<tbody>\n";
  for (const Json& e : summary.at("table")) {
    const auto given = e.at("set").get<std::vector<std::string>>();
    const bool tuned = comparison.options.tune > 0;
    out +=
        fmt::format("<tr><th>{}</th><td class=\"text\">{}</td><td class=\"text\">{}</td></tr>\n",
                    escaped(e.at("competitor")),
                    given.empty() ? std::string(kAbsent) : escaped(fmt::format("{}", fmt::join(given, ", "))),
                    tuned ? options_text(e.at("tuned")) : std::string(kAbsent));
  }
  out += "</tbody></table></div>\n</section>\n";
  if (comparison.options.tune == 0) return out;

  out += "<details>\n<summary>All trials</summary>\n";
  const Measure& metric = comparison.facts.tuning_metric;
  for (const Json& e : summary.at("table")) {
    const Json& tuning = e.at("tuning");
    out += fmt::format(
        "<h3>{}</h3>\n<div class=\"scroll\"><table>\n<thead><tr><th class=\"number\">trial</th>"
        "<th class=\"number\">{}</th><th>options</th></tr></thead>\n<tbody>\n",
        escaped(e.at("competitor")), escaped(metric.name));
    for (const Json& trial : tuning.at("trials")) {
      const bool chosen = trial.at("trial") == tuning.at("chosen");
      out += fmt::format(
          "<tr><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"text\">{}{}</td></tr>\n",
          text_of(trial.at("trial")),
          trial.at("score").is_null() ? escaped(trial.at("status")) : shown(trial.at("score"), metric),
          options_text(trial.at("options")), chosen ? " <span class=\"tag positive\">chosen</span>" : "");
    }
    out += "</tbody></table></div>\n";
  }
  return out + "</details>\n";
}

std::string details_section(const Comparison& comparison, const Json& summary) {
  Json data = Json::object();
  for (const auto& [name, value] : comparison.facts.data) data[name] = value;
  std::string out = "<details>\n<summary>Data, every run, all options</summary>\n" + table_of("Data", data);
  const Measure& metric = comparison.facts.metric;
  out += fmt::format(
      "<h3>Runs</h3>\n<div class=\"scroll\"><table>\n<thead><tr><th>solver</th><th class=\"number\">seed</th>"
      "<th class=\"number\">{}</th><th>end</th><th class=\"number\">steps</th><th "
      "class=\"number\">seconds</th>"
      "</tr></thead>\n<tbody>\n",
      escaped(metric.name));
  for (const CompetitorRuns& c : comparison.competitors) {
    for (const Trace& run : c.runs) {
      const Json& end = end_of(run);
      out += fmt::format(
          "<tr><th>{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"text\">{}: "
          "{}</td>"
          "<td class=\"number\">{}</td><td class=\"number\">{:.2f}</td></tr>\n",
          escaped(c.competitor.label), text_of(head_of(run).at("seed")),
          shown(result_of(run, metric.key), metric), escaped(end.at("end")), escaped(end.at("message")),
          grouped(end.at("steps").get<int64_t>()), end.at("seconds").get<double>());
    }
  }
  out += "</tbody></table></div>\n";
  for (const Json& e : summary.at("table")) {
    out += table_of(e.at("competitor").get<std::string>() + ": options", e.at("solver_options"));
    out += table_of(e.at("competitor").get<std::string>() + ": oracle calls, mean of the runs",
                    e.at("oracle_calls"));
  }
  return out + "</details>\n";
}

}  // namespace

std::string compare_report_html(const Comparison& comparison, const Json& summary,
                                const std::vector<NamedFigure>& figures) {
  std::vector<Figure> pictures;
  for (const NamedFigure& figure : figures) pictures.push_back(figure.figure);
  const std::string body =
      fmt::format("<p class=\"subtle\">{} solvers, {} {} each, budget of a run: {}.</p>\n",
                  comparison.options.competitors.size(), comparison.options.seeds,
                  comparison.options.seeds == 1 ? "seed" : "seeds", comparison.options.budget.describe()) +
      table_section(comparison.facts, summary) + figures_section("Curves", pictures) +
      fairness_section(comparison) + options_section(comparison, summary) +
      details_section(comparison, summary);
  return html_page("Comparison: " + comparison.facts.title, body);
}

}  // namespace bilevel
