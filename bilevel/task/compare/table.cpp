#include "bilevel/task/compare/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "bilevel/data/table_writer.h"
#include "bilevel/report/page.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

std::string shown(const Json& value, const Measure& measure) {
  return shown(value.is_null() ? std::nan("") : value.get<double>(), measure);
}

/// What a run's number is.
std::string what_counts(bool last_tenth) {
  return last_tenth ? "mean over the last tenth of a run" : "at the step that a run chose";
}

}  // namespace

std::string shown_interval(const Json& interval, const Measure& measure) {
  if (interval.is_null()) return std::string(kAbsent);
  return fmt::format("{} to {}", shown(interval[0], measure), shown(interval[1], measure));
}

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

std::string seconds_text(const Json& value) {
  return value.is_null() ? std::string(kAbsent) : fmt::format("{:.2f}", value.get<double>());
}

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

std::string shown(double value, const Measure& measure) {
  if (!std::isfinite(value)) return std::string(kAbsent);
  return measure.log_scale ? fmt::format("{:.3g}", value) : fmt::format("{:.4f}", value);
}

bool has_swings(const Json& summary) {
  const Json& table = summary.at("table");
  return std::any_of(table.begin(), table.end(), [](const Json& e) { return !e.at("swing").is_null(); });
}

std::string swing_text(const Json& entry) {
  return entry.at("swing").is_null() ? std::string(kAbsent)
                                     : fmt::format("{:.2g}", entry.at("swing").get<double>());
}

std::string table_text(const Json& summary) {
  const auto metric = summary.at("metric").get<Measure>();
  const bool swings = has_swings(summary);
  std::vector<std::vector<std::string>> rows{{"rank", "solver", "mean", "95 % interval"}};
  if (swings) rows[0].push_back("swing");
  for (const char* name : {"runs", "steps", "calls", "seconds"}) rows[0].push_back(name);
  for (const Json& e : summary.at("table")) {
    std::vector<std::string> row{e.at("rank").is_null() ? std::string(kAbsent) : e.at("rank").dump(),
                                 name_text(e), mean_text(e, metric),
                                 shown_interval(e.at("interval"), metric)};
    if (swings) row.push_back(swing_text(e));
    row.insert(row.end(), {runs_text(e), whole(e.at("steps")), whole(e.at("oracle_calls").at("all")),
                           seconds_text(e.at("seconds"))});
    rows.push_back(std::move(row));
  }
  std::vector<bool> right(rows.front().size(), true);
  right[1] = right[swings ? 5 : 4] = false;  // names and runs
  std::string text = fmt::format("{}, {}:\n\n", metric.name, what_counts(summary.at("last_tenth"))) +
                     aligned(rows, right, 0);
  text += fmt::format("\n{}\n", verdict_text(summary));
  for (const Json& note : summary.at("notes")) text += fmt::format("note: {}\n", note.get<std::string>());
  return text;
}

std::string table_tsv(const Json& summary) {
  std::vector<Column> columns;
  for (const char* name : {"rank", "competitor", "solver", "mean", "low", "high", "finished", "diverged",
                           "failed", "out_of_theory", "steps", "samples", "oracle_calls", "seconds", "swing",
                           "no_nearer", "oscillating"}) {
    Column& column = columns.emplace_back(Column{name});
    for (const Json& e : summary.at("table")) {
      const Json& interval = e.at("interval");
      const Json value = column.name == "oracle_calls" ? e.at("oracle_calls").at("all")
                         : column.name == "low"        ? interval.is_null() ? interval : interval[0]
                                : column.name == "high" ? interval.is_null() ? interval : interval[1]
                                                        : e.at(column.name);
      column.cells.push_back(value.is_null()     ? ""
                             : value.is_string() ? value.get<std::string>()
                                                 : value.dump());
    }
  }
  return tsv_of(columns);
}

}  // namespace bilevel
