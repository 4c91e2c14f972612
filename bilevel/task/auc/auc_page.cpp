#include "bilevel/task/auc/auc_page.h"

#include <fmt/format.h>

#include "bilevel/report/escape.h"
#include "bilevel/task/job/explanation.h"
#include "bilevel/task/job/job_report.h"

namespace bilevel {
namespace {

using nlohmann::ordered_json;

constexpr size_t kMaxCellBytes = 300;

class AucPage {
 public:
  explicit AucPage(const AucReport& report) : report_(report) {}

  std::string write() {
    page_ = job_page(report_.title, report_.summary, report_.made);
    headline();
    section("Curves", figures_markup(report_.figures));
    section("When a decision is needed", threshold());
    section("All metrics", metrics());
    section("What the model looks at", explanation_markup(report_.summary));
    section("Which encoder", encoder_choice());
    section("Best-ranked test rows", rows("The test rows with the highest scores.", report_.best_ranked));
    section("Most doubtful test rows",
            rows("The test rows whose scores lie nearest to the threshold: what the model is least sure of.",
                 report_.doubtful));
    page_.sections.push_back(data_section(report_.summary, parts(), report_.data_facts));
    page_.sections.push_back(use_section(
        report_.summary,
        "<p>Score new rows, in a file like the one for training (the label column may be absent):</p>\n",
        fmt::format("<p class=\"subtle\">A higher score means more likely {0}. Scores rank; the column "
                    "p({0}) holds their probabilities, calibrated on the validation rows.</p>\n",
                    positive_name()),
        "scores.tsv"));
    page_.sections.push_back(cost_section(report_.summary));
    return html_page(page_);
  }

 private:
  std::string positive_name() const { return escape_markup(report_.positive); }

  void section(const char* heading, std::string content) {
    page_.sections.push_back({heading, std::move(content)});
  }

  void headline() {
    const AucEstimate& test = report_.test;
    page_.cards = {
        {metric_text(test.auc),
         fmt::format("AUC on the test rows\n95\u00a0% score interval after Newcombe and DeLong: {} to {}",
                     metric_text(test.low), metric_text(test.high))}};
    for (const ReportBaseline& base : report_.baselines) {
      page_.cards.push_back({metric_text(base.test.auc),
                             fmt::format("baseline: {}\n95\u00a0% score interval {} to {}", base.name,
                                         metric_text(base.test.low), metric_text(base.test.high)),
                             /*beside=*/true});
      if (!page_.verdict.empty()) page_.verdict += ' ';
      page_.verdict += verdict_on(base.difference.paired(), base.name, "test AUC");
    }
    page_.remarks = fmt::format(
        "<p>A random positive row ({}) is ranked above a random negative one in <b>{}</b> of the cases. A "
        "random "
        "ranking would reach 50&nbsp;%, a perfect one 100&nbsp;%.</p>\n",
        positive_name(), percent(test.auc));
    if (report_.summary.contains("kept")) page_.remarks += kept(report_.summary.at("kept"));
    if (report_.summary.contains("not_compared"))
      page_.remarks +=
          fmt::format("<p class=\"subtle\">{}</p>\n", text_of(report_.summary.at("not_compared")));
  }

  /// What was saved, and why.
  static std::string kept(const ordered_json& kept) {
    return fmt::format(
        "<p>Saved is <b>{}</b>: {}. Threshold, probabilities and the rows below are by it.</p>\n",
        text_of(kept.at("name")), text_of(kept.at("why")));
  }

  std::string threshold() const {
    const ReportThreshold& t = report_.threshold;
    std::vector<std::vector<std::string>> rows;
    for (const auto& [name, c] : {std::pair("validation", t.valid), std::pair("test", t.test)}) {
      rows.push_back({name, percent(c.precision()), percent(c.recall()), percent(c.f1()),
                      grouped(c.true_positives), grouped(c.false_negatives), grouped(c.false_positives),
                      grouped(c.true_negatives)});
    }
    std::string out = fmt::format(
        "<p>Call a row {} when its score is at least <b>{:.6g}</b>. This threshold has the highest F1 on the "
        "validation "
        "rows; the test rows had no part in the choice.</p>\n",
        positive_name(), t.valid.threshold);
    out += table_markup({{"rows", "heading"},
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
    out += "<p class=\"subtle\">On the test rows: ";
    if (called > 0) {
      out += fmt::format("of {} rows called {}, {} are; ", grouped(called), positive_name(),
                         grouped(c.true_positives));
    } else {
      out += fmt::format("no row is called {}; ", positive_name());
    }
    return out + fmt::format("of {} rows that are {}, {} are found.</p>\n",
                             grouped(c.true_positives + c.false_negatives), positive_name(),
                             grouped(c.true_positives));
  }

  std::string metrics() const {
    std::vector<std::vector<std::string>> rows;
    for (const auto& [key, name] :
         {std::pair("train", "training"), std::pair("valid", "validation"), std::pair("test", "test")}) {
      const ordered_json& of = report_.summary.at("metrics").at(key);
      rows.push_back(
          {name, metric_text(of.at("auc")), metric_text(of.at("average_precision")), text_of(of.at("loss"))});
    }
    return table_markup(
        {{"rows", "heading"}, {"AUC", "number"}, {"average precision", "number"}, {"loss", "number"}}, rows);
  }

  /// Where none was given; else empty.
  std::string encoder_choice() const {
    if (!report_.summary.contains("encoder_choice")) return "";
    const ordered_json& considered = report_.summary.at("encoder_choice");
    std::vector<std::vector<std::string>> rows;
    for (const ordered_json& one : considered) {
      const ordered_json& seconds = one.at("expected_seconds");
      rows.push_back({text_of(one.at("encoder")),
                      seconds.is_null() ? "" : fmt::format("{:.2g} s", seconds.get<double>()),
                      !one.at("fewer_steps").is_null()
                          ? fmt::format("taken, with {} steps", one.at("fewer_steps").get<int64_t>())
                      : &one == &considered.back()  ? "taken"
                      : one.at("reads").get<bool>() ? "beyond the budget"
                                                    : "does not read columns that are mostly empty"});
    }
    return "<p>No encoder was given. The first that reads the columns and is expected to train within "
           "<code>--budget</code> is "
           "taken; validation rows have no part in it.</p>\n" +
           table_markup({{"encoder", "heading"}, {"expected time", "number"}, {"", "text"}}, rows);
  }

  std::string parts() const {
    std::vector<std::vector<std::string>> rows;
    for (const ReportPart& part : report_.parts) {
      rows.push_back({escape_markup(part.name), grouped(part.rows), grouped(part.positives),
                      percent(static_cast<double>(part.positives) / static_cast<double>(part.rows)),
                      escape_markup(part.source)});
    }
    return table_markup({{"part", "heading"},
                         {"rows", "number"},
                         {"positive", "number"},
                         {"share", "number"},
                         {"from", "text"}},
                        rows);
  }

  std::string rows(const char* explanation, const std::vector<ReportRow>& list) const {
    std::vector<std::vector<std::string>> cells;
    for (const ReportRow& row : list) {
      cells.push_back({fmt::format("{:+.4g}", row.score),
                       fmt::format("<span class=\"tag{}\">{}</span>", row.positive ? " positive" : "",
                                   row.positive ? positive_name() : "other"),
                       escape_markup(shortened(row.text, kMaxCellBytes))});
    }
    return fmt::format("<p class=\"subtle\">{}</p>\n{}", explanation,
                       table_markup({{"score", "number"}, {"label"}, {report_.row_name, "text"}}, cells));
  }

  const AucReport& report_;
  ReportPage page_;
};

}  // namespace

std::string auc_report_html(const AucReport& report) { return AucPage(report).write(); }

}  // namespace bilevel
