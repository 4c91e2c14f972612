#include "bilevel/task/auc/auc_page.h"

#include <fmt/format.h>

#include <cmath>
#include <initializer_list>
#include <iterator>
#include <string_view>

#include "bilevel/core/error.h"
#include "bilevel/report/escape.h"
#include "bilevel/task/job/job_report.h"

namespace bilevel {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMaxCellBytes = 300;

/// The value at a path of keys, or null.
const ordered_json& at(const ordered_json& value, std::initializer_list<const char*> path) {
  static const ordered_json kNull;
  const ordered_json* here = &value;
  for (const char* key : path) {
    if (!here->is_object()) return kNull;
    const auto found = here->find(key);
    if (found == here->end()) return kNull;
    here = &*found;
  }
  return *here;
}

double number_at(const ordered_json& value, std::initializer_list<const char*> path) {
  const ordered_json& found = at(value, path);
  return found.is_number() ? found.get<double>() : NAN;
}

/// A whole number at a path with grouped digits, or what else stands there.
std::string count_at(const ordered_json& value, std::initializer_list<const char*> path) {
  const ordered_json& found = at(value, path);
  return found.is_number_integer() ? grouped(found.get<int64_t>()) : text_of(found);
}

class Page {
 public:
  explicit Page(const AucReport& report) : report_(report) {}

  std::string write() {
    out_ += run_markup(report_.summary);
    headline();
    out_ += figures_section("Curves", report_.figures);
    threshold();
    metrics();
    data();
    rows("Best-ranked test rows", "The test rows with the highest scores.", report_.best_ranked);
    rows("Most doubtful test rows",
         "The test rows whose scores lie nearest to the threshold: what the model is least sure of.",
         report_.doubtful);
    out_ += predict_markup(
        report_.summary,
        "<p>Score new rows, in a file like the one for training (the label column may be absent):</p>\n",
        fmt::format("<p class=\"subtle\">A higher score means more likely {}. Scores rank; they are not "
                    "probabilities.</p>\n",
                    positive_name()),
        report_.predict_input, "scores.tsv");
    details();
    return html_page(report_.title.empty() ? "bilevel auc" : report_.title, out_);
  }

 private:
  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }

  std::string text(const char* key) const { return text_of(at(report_.summary, {key})); }

  std::string positive_name() const {
    return report_.positive.empty() ? "positive" : escape_markup(report_.positive);
  }

  /// The stop reason in words; one that is not known here stands as it is.
  std::string stop_reason() const {
    const std::string reason = text("stop_reason");
    for (const auto& [name, words] : std::initializer_list<std::pair<std::string_view, const char*>>{
             {"converged", "it converged"},
             {"max_steps", "the planned number of steps was done"},
             {"max_seconds", "the time limit was reached"},
             {"stopped_by_callback", "it was stopped early"},
             {"interrupted", "it was interrupted"},
             {"nonfinite", "a value became infinite or NaN"},
             {"linear_solve_failed", "a linear system could not be solved"}}) {
      if (reason == name) return words;
    }
    return reason;
  }

  void headline() {
    out_ += "<section>\n";
    if (report_.test) {
      const AucEstimate& test = *report_.test;
      out_ += "<div class=\"headline\">\n";
      add("<div><div class=\"figure-number\">{}</div><div class=\"subtle\">AUC on the test rows<br>95&nbsp;% "
          "interval {} to {}<br>(score interval after Newcombe and DeLong)</div></div>\n",
          metric_text(test.auc), metric_text(test.low), metric_text(test.high));
      if (report_.baseline) {
        const AucEstimate& base = report_.baseline->test;
        add("<div><div class=\"figure-number second\">{}</div><div class=\"subtle\">baseline: "
            "{}<br>95&nbsp;% score interval {} to {}</div></div>\n",
            metric_text(base.auc), escape_markup(report_.baseline->name), metric_text(base.low),
            metric_text(base.high));
      }
      add("</div>\n<p class=\"sentence\">A random positive row ({}) is ranked above a random negative one in "
          "<b>{}</b> of the cases. A random ranking would reach 50&nbsp;%, a perfect one 100&nbsp;%.</p>\n",
          positive_name(), percent(test.auc));
      if (report_.baseline) out_ += "<p>" + comparison(report_.baseline->difference) + "</p>\n";
    } else {
      out_ += "<p class=\"sentence\">There is no test AUC: the test rows do not hold both classes.</p>\n";
    }
    add("<p class=\"subtle\">Training ended: {}. Chosen step: {}.</p>\n", stop_reason(),
        count_at(report_.summary, {"best_step"}));
    out_ += notes_markup(report_.notes) + "</section>\n";
  }

  static std::string comparison(const AucDifference& d) {
    if (!d.has_interval()) {
      return fmt::format("The AUC differs from the baseline's by {:+.4f}, without an interval: {}.",
                         d.difference, d.no_interval);
    }
    const std::string size = fmt::format("{:.4f}", std::abs(d.difference));
    const std::string interval = fmt::format(
        "95&nbsp;% interval of the difference {:+.4f} to {:+.4f}, paired on the same rows", d.low, d.high);
    if (d.low > 0) return fmt::format("The model is better than the baseline by {} ({}).", size, interval);
    if (d.high < 0)
      return fmt::format("The model is <b>worse</b> than the baseline by {} ({}).", size, interval);
    return fmt::format("The difference to the baseline, {:+.4f}, may be chance ({}).", d.difference,
                       interval);
  }

  void threshold() {
    if (!report_.threshold) return;
    const ReportThreshold& t = *report_.threshold;
    add("<section>\n<h2>When a decision is needed</h2>\n<p>Call a row {} when its score is at least "
        "<b>{:.6g}</b>. This threshold has the highest F1 on the validation rows; the test rows had no part "
        "in the choice.</p>\n",
        positive_name(), t.valid.threshold);
    std::vector<std::vector<std::string>> rows;
    for (const auto& [name, c] : {std::pair("validation", t.valid), std::pair("test", t.test)}) {
      rows.push_back({name, percent(c.precision()), percent(c.recall()), percent(c.f1()),
                      grouped(c.true_positives), grouped(c.false_negatives), grouped(c.false_positives),
                      grouped(c.true_negatives)});
    }
    out_ += table_markup({{"", "heading"},
                          {"precision", "number"},
                          {"recall", "number"},
                          {"F1", "number"},
                          {"found", "number"},
                          {"missed", "number"},
                          {"false alarms", "number"},
                          {"rightly left", "number"}},
                         rows);
    const ThresholdCounts& c = t.test;
    const int64_t called = c.true_positives + c.false_positives;
    out_ += "<p class=\"subtle\" style=\"margin-top:10px\">On the test rows: ";
    if (called > 0) {
      add("of {} rows called {}, {} are; ", grouped(called), positive_name(), grouped(c.true_positives));
    } else {
      add("no row is called {}; ", positive_name());
    }
    add("of {} rows that are {}, {} are found.</p>\n</section>\n",
        grouped(c.true_positives + c.false_negatives), positive_name(), grouped(c.true_positives));
  }

  void metrics() {
    if (!at(report_.summary, {"metrics"}).is_object()) return;
    std::vector<std::vector<std::string>> rows;
    for (const auto& [key, name] :
         {std::pair("train", "training"), std::pair("valid", "validation"), std::pair("test", "test")}) {
      rows.push_back({name, metric_text(number_at(report_.summary, {"metrics", key, "auc"})),
                      metric_text(number_at(report_.summary, {"metrics", key, "average_precision"})),
                      text_of(at(report_.summary, {"metrics", key, "loss"}))});
    }
    out_ += "<section>\n<h2>All metrics</h2>\n" +
            table_markup(
                {{"rows", "heading"}, {"AUC", "number"}, {"average precision", "number"}, {"loss", "number"}},
                rows) +
            "</section>\n";
  }

  void data() {
    if (report_.parts.empty() && report_.data_facts.empty()) return;
    out_ += "<section>\n<h2>Data</h2>\n";
    std::vector<std::vector<std::string>> rows;
    for (const ReportPart& part : report_.parts) {
      const double share =
          part.rows > 0 ? static_cast<double>(part.positives) / static_cast<double>(part.rows) : NAN;
      rows.push_back({escape_markup(part.name), grouped(part.rows), grouped(part.positives), percent(share),
                      escape_markup(part.source)});
    }
    if (!rows.empty()) {
      out_ += table_markup({{"part", "heading"},
                            {"rows", "number"},
                            {"positive", "number"},
                            {"share", "number"},
                            {"from", "text"}},
                           rows);
    }
    out_ += table_of("Features", object_of(report_.data_facts)) + "</section>\n";
  }

  void rows(const char* heading, const char* explanation, const std::vector<ReportRow>& list) {
    if (list.empty()) return;
    std::vector<TableColumn> columns{{"score", "number"}, {"label"}};
    for (const std::string& column : report_.columns) columns.push_back({column, "text"});
    std::vector<std::vector<std::string>> cells;
    for (const ReportRow& row : list) {
      if (row.cells.size() != report_.columns.size()) {
        throw InputError(fmt::format("A row of the report has {} cells, but there are {} columns.",
                                     row.cells.size(), report_.columns.size()));
      }
      cells.push_back({fmt::format("{:+.4g}", row.score),
                       fmt::format("<span class=\"tag{}\">{}</span>", row.positive ? " positive" : "",
                                   row.positive ? positive_name() : "other")});
      for (const std::string& cell : row.cells)
        cells.back().push_back(escape_markup(shortened(cell, kMaxCellBytes)));
    }
    add("<section>\n<h2>{}</h2>\n<p class=\"subtle\">{}</p>\n{}</section>\n", heading, explanation,
        table_markup(columns, cells));
  }

  void details() {
    out_ += "<details>\n<summary>Options and cost</summary>\n";
    out_ += table_of("Options", report_.options);
    out_ +=
        table_of("Oracle calls (stochastic derivatives evaluated)", at(report_.summary, {"oracle_calls"}));
    out_ += table_of("Rows drawn", at(report_.summary, {"samples"}));
    const double memory = number_at(report_.summary, {"peak_rss_bytes"});
    out_ += table_of(
        "Run", {{"time", duration_text(number_at(report_.summary, {"seconds"}))},
                {"peak memory", std::isfinite(memory) ? fmt::format("{:.0f} MiB", memory / (1024 * 1024))
                                                      : std::string(kAbsent)},
                {"command", at(report_.summary, {"command"})},
                {"output folder", at(report_.summary, {"out"})}});
    out_ += "</details>\n";
  }

  const AucReport& report_;
  std::string out_;
};

}  // namespace

std::string auc_report_html(const AucReport& report) { return Page(report).write(); }

}  // namespace bilevel
