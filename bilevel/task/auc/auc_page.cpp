#include "bilevel/task/auc/auc_page.h"

#include <fmt/format.h>

#include <cmath>
#include <initializer_list>
#include <iterator>
#include <string_view>

#include "bilevel/report/escape.h"
#include "bilevel/task/job/job_report.h"

namespace bilevel {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMaxCellBytes = 300;

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
        fmt::format("<p class=\"subtle\">A higher score means more likely {0}. Scores rank; the column "
                    "p({0}) holds their probabilities, calibrated on the validation rows.</p>\n",
                    positive_name()),
        "NEW_ROWS_FILE", "scores.tsv");
    details();
    return html_page(report_.title, out_);
  }

 private:
  template <typename... Args>
  void add(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }

  std::string positive_name() const { return escape_markup(report_.positive); }

  /// The stop reason in words; one that is not known here stands as it is.
  std::string stop_reason() const {
    const std::string reason = text_of(report_.summary.at("stop_reason"));
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
    const AucEstimate &test = report_.test, &base = report_.baseline.test;
    add("<section>\n<div class=\"headline\">\n<div><div class=\"figure-number\">{}</div><div "
        "class=\"subtle\">AUC on "
        "the test rows<br>95&nbsp;% interval {} to {}<br>(score interval after Newcombe and "
        "DeLong)</div></div>\n",
        metric_text(test.auc), metric_text(test.low), metric_text(test.high));
    add("<div><div class=\"figure-number second\">{}</div><div class=\"subtle\">baseline: {}<br>95&nbsp;% "
        "score "
        "interval {} to {}</div></div>\n",
        metric_text(base.auc), escape_markup(report_.baseline.name), metric_text(base.low),
        metric_text(base.high));
    add("</div>\n<p class=\"sentence\">A random positive row ({}) is ranked above a random negative one in "
        "<b>{}</b> of the cases. A random ranking would reach 50&nbsp;%, a perfect one "
        "100&nbsp;%.</p>\n<p>{}</p>\n",
        positive_name(), percent(test.auc), comparison(report_.baseline.difference));
    add("<p class=\"subtle\">Training ended: {}. Chosen step: {}.</p>\n{}</section>\n", stop_reason(),
        grouped(report_.summary.at("best_step").get<int64_t>()),
        notes_markup(report_.summary.at("warnings").get<std::vector<std::string>>()));
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
    const ReportThreshold& t = report_.threshold;
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
    std::vector<std::vector<std::string>> rows;
    for (const auto& [key, name] :
         {std::pair("train", "training"), std::pair("valid", "validation"), std::pair("test", "test")}) {
      const ordered_json& of = report_.summary.at("metrics").at(key);
      rows.push_back(
          {name, metric_text(of.at("auc")), metric_text(of.at("average_precision")), text_of(of.at("loss"))});
    }
    out_ += "<section>\n<h2>All metrics</h2>\n" +
            table_markup(
                {{"rows", "heading"}, {"AUC", "number"}, {"average precision", "number"}, {"loss", "number"}},
                rows) +
            "</section>\n";
  }

  void data() {
    std::vector<std::vector<std::string>> rows;
    for (const ReportPart& part : report_.parts) {
      rows.push_back({escape_markup(part.name), grouped(part.rows), grouped(part.positives),
                      percent(static_cast<double>(part.positives) / static_cast<double>(part.rows)),
                      escape_markup(part.source)});
    }
    out_ += "<section>\n<h2>Data</h2>\n" +
            table_markup({{"part", "heading"},
                          {"rows", "number"},
                          {"positive", "number"},
                          {"share", "number"},
                          {"from", "text"}},
                         rows) +
            table_of("Features", object_of(report_.data_facts)) + columns_markup(report_.summary) +
            "</section>\n";
  }

  void rows(const char* heading, const char* explanation, const std::vector<ReportRow>& list) {
    std::vector<std::vector<std::string>> cells;
    for (const ReportRow& row : list) {
      cells.push_back({fmt::format("{:+.4g}", row.score),
                       fmt::format("<span class=\"tag{}\">{}</span>", row.positive ? " positive" : "",
                                   row.positive ? positive_name() : "other"),
                       escape_markup(shortened(row.text, kMaxCellBytes))});
    }
    add("<section>\n<h2>{}</h2>\n<p class=\"subtle\">{}</p>\n{}</section>\n", heading, explanation,
        table_markup({{"score", "number"}, {"label"}, {report_.row_name, "text"}}, cells));
  }

  void details() {
    const ordered_json& summary = report_.summary;
    out_ += "<details>\n<summary>Options and cost</summary>\n" + table_of("Options", summary.at("options")) +
            table_of("Oracle calls (stochastic derivatives evaluated)", summary.at("oracle_calls")) +
            table_of("Rows drawn", summary.at("samples")) +
            table_of("Run",
                     {{"time", duration_text(summary.at("seconds"))},
                      {"training alone", duration_text(summary.at("training_seconds"))},
                      {"peak memory",
                       fmt::format("{:.0f} MiB", summary.at("peak_rss_bytes").get<double>() / (1024 * 1024))},
                      {"command", summary.at("command")},
                      {"output folder", summary.at("out")}}) +
            "</details>\n";
  }

  const AucReport& report_;
  std::string out_;
};

}  // namespace

std::string auc_report_html(const AucReport& report) { return Page(report).write(); }

}  // namespace bilevel
