#include "bilevel/task/clean/clean_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <algorithm>

#include "bilevel/report/escape.h"
#include "bilevel/task/clean/clean_figures.h"
#include "bilevel/task/clean/odd_rows.h"
#include "bilevel/task/job/explanation.h"
#include "bilevel/task/job/job_report.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

constexpr int64_t kShown = 40;         // rows on the page
constexpr int64_t kShownClasses = 20;  // in the table of rates
constexpr int64_t kShownPairs = 2;     // of given and true label, on the terminal

Json at(const Json& value, const std::string& pointer) {
  return value.value(Json::json_pointer(pointer), Json(nullptr));
}

/// What is known of a run, for a person.
class CleanPage {
 public:
  CleanPage(const CleanSetup& setup, const Cleaned& cleaned, const Json& summary)
      : setup_(setup), cleaned_(cleaned), summary_(summary) {}

  void write() const {
    ReportPage page =
        job_page(title_of(setup_.options(), "labels"), summary_, provenance_of(setup_.context().out));
    page.cards = cards();
    page.verdict = verdict();
    page.remarks =
        fmt::format("<p>Suspicious are the rows whose label is more likely wrong than right. {}</p>\n",
                    escape_markup(fmt::format("Labels {}.", rates_text())));
    if (const std::string flips = flips_text(); !flips.empty())
      page.remarks += fmt::format("<p>Of {}.</p>\n", flips);
    if (const std::string odd = odd_rows_text(summary_.at("odd_rows")); !odd.empty())
      page.remarks += fmt::format("<p>Whatever the labels are: {}.</p>\n", odd);
    if (setup_.trusted().empty()) {
      page.remarks +=
          "<p>There was no trusted file: labels are judged by the other labels alone. That assumes that "
          "labels are right more often than wrong, and not wrong in a way that a model can learn. Nothing is "
          "calibrated then: the probabilities are an order, not frequencies.</p>\n";
    }
    if (summary_.contains("not_compared"))
      page.remarks += fmt::format("<p class=\"subtle\">{}</p>\n", text_of(summary_.at("not_compared")));
    page.sections = {
        {none_suspicious() ? "The least certain rows" : "Most suspicious rows", suspicious_rows()},
        {"How labels go wrong", rates_table()},
        {"Beside the usual methods", comparison()},
        {"What the cleaned model looks at", explanation_markup(summary_)},
        {"Curves", figures_markup(clean_figures(setup_, cleaned_))},
        {"All metrics", table_of("Metrics", summary_.at("metrics"))},
        data_section(summary_, "", setup_.inputs().features->facts()),
        use_section(summary_),
        cost_section(summary_)};
    write_page(setup_.context(), page);
  }

  std::string terminal() const {
    const Json& metrics = summary_.at("metrics");
    std::string text = fmt::format("\n{} of {} rows are suspicious; estimated share of wrong labels {}\n{}\n",
                                   summary_.at("suspicious").get<int64_t>(), cleaned_.weights.numel(),
                                   share_text(), printable(rates_text()));
    if (const std::string learned = learned_text(setup_, cleaned_); !learned.empty()) text += learned + "\n";
    const auto accuracy = [](const Json& scores) {
      return percent_text(scores.at("accuracy").get<double>());
    };
    if (!metrics.at("test").is_null()) {
      text += fmt::format("test accuracy {}", accuracy(metrics.at("test")));
      if (summary_.contains("baselines"))
        text += fmt::format("; trained on all rows as given {}",
                            accuracy(summary_.at("baselines").at("noisy_and_trusted").at("test")));
      text += "\n";
    }
    text += verdict() + "\n";
    if (summary_.contains("not_compared")) text += summary_.at("not_compared").get<std::string>() + "\n";
    if (const std::string flips = flips_text(); !flips.empty()) text += flips + "\n";
    text += none_suspicious() ? "\nno label is more likely wrong than right; the least certain:\n"
                              : "\nthe most suspicious rows:\n";
    for (const int64_t i : most_suspicious(8)) {
      text += fmt::format("  line {}: '{}', {}  {}\n", line(i), printable(given(i)), opinion_on(i),
                          shortened(printable(text_of_row(i)), 80));
    }
    const std::string& out = setup_.context().out;
    text += fmt::format("\nall rows: {}/weights.tsv\n", out);
    if (!none_suspicious()) text += fmt::format("suspicious rows, to look at: {}/suspicious.tsv\n", out);
    if (const Json file = at(summary_, "/cleaned/file"); file.is_string())
      text += fmt::format("{}: {}/{}\n",
                          setup_.options().cleaned == CleanedRows::fix ? "with the suggested labels"
                                                                       : "without the suspicious rows",
                          out, file.get<std::string>());
    if (const std::string odd = odd_rows_text(summary_.at("odd_rows")); !odd.empty()) text += odd + "\n";
    return text + fmt::format("report: {}/report.html\n", out);
  }

 private:
  // Of training row i, from 0.
  int64_t row(int64_t i) const { return setup_.train()[static_cast<size_t>(i)]; }
  const std::string& given(int64_t i) const { return setup_.name_of(setup_.given()[row(i)].item<int64_t>()); }
  const std::string& suggested(int64_t i) const {
    return setup_.name_of(cleaned_.judgement.suggested[i].item<int64_t>());
  }
  /// Where the row begins in the training file.
  std::string line(int64_t i) const {
    return std::string(setup_.data_files().places({setup_.train()[static_cast<size_t>(i)]})[1].cells[0]);
  }
  double right(int64_t i) const { return cleaned_.judgement.right[i].item<double>(); }
  bool is_suspicious(int64_t i) const { return right(i) < 0.5; }
  std::string opinion_on(int64_t i) const {
    if (!is_suspicious(i)) return fmt::format("right with probability {:.2f}", right(i));
    if (suggested(i) == given(i))
      return "doubtful, though no other label is likelier";  // of three classes or more
    return fmt::format("rather '{}'", printable(suggested(i)));
  }
  /// Whether labels that were made wrong on purpose were found; empty where there are none.
  std::string flips_text() const {
    const Json flips = at(summary_, "/metrics/flips");
    if (!flips.is_object() || flips.at("auroc").is_null()) return "";
    const auto share = [&](const char* key) {
      return flips.at(key).is_number() ? percent_text(flips.at(key).get<double>()) : std::string(kAbsent);
    };
    return fmt::format(
        "labels that were made wrong: AUROC {}; {} of the suspicious rows have one, and {} of those with one "
        "are "
        "suspicious",
        metric_text(flips.at("auroc").get<double>()), share("precision"), share("recall"));
  }
  bool none_suspicious() const { return summary_.at("suspicious").get<int64_t>() == 0; }
  std::string text_of_row(int64_t i) const { return setup_.row_text(row(i)); }

  std::vector<int64_t> most_suspicious(int64_t count) const {
    const torch::Tensor order = cleaned_.judgement.right.argsort(/*stable=*/true, 0, /*descending=*/false);
    const auto* first = order.const_data_ptr<int64_t>();
    return {first, first + std::min(count, order.numel())};
  }

  std::vector<Card> cards() const {
    std::vector<Card> cards{
        {grouped(summary_.at("suspicious").get<int64_t>()),
         fmt::format("suspicious of {} training rows", grouped(summary_.at("rows").get<int64_t>()))},
        {percent_text(cleaned_.noise.share),
         "estimated share of wrong labels" +
             (cleaned_.intervals
                  ? fmt::format("\n95\u00a0% interval{}", interval_text(cleaned_.intervals->share.first,
                                                                        cleaned_.intervals->share.second))
                  : "")}};
    const auto add = [&](const char* pointer, const char* meaning, bool beside) {
      if (const Json accuracy = at(summary_, pointer); accuracy.is_number())
        cards.push_back({percent_text(accuracy.get<double>()), meaning, beside});
    };
    add("/metrics/test/accuracy", "accuracy on the test rows", false);
    add("/baselines/noisy_and_trusted/test/accuracy", "baseline: trained on all rows as given", true);
    add("/baselines/gradient_boosting/test/accuracy", "baseline: gradient boosting on all rows as given",
        true);
    return cards;
  }

  /// Against training on the rows as they are given, each way.
  std::string verdict() const {
    std::string text;
    for (const char* key : {"noisy_and_trusted", "gradient_boosting"}) {
      const auto found = cleaned_.differences.find(key);
      if (found == cleaned_.differences.end()) continue;
      if (!text.empty()) text += ' ';
      text += verdict_on(found->second, summary_.at("baselines").at(key).at("name"), "test accuracy");
    }
    if (!text.empty()) return text;
    return fmt::format("Whether the cleaned model is better than one of all rows as given is not known: {}.",
                       setup_.test().empty() ? "there was no test file" : "no baselines were trained");
  }

  std::string share_text() const {
    const auto& intervals = cleaned_.intervals;
    return percent_text(cleaned_.noise.share) +
           (intervals ? interval_text(intervals->share.first, intervals->share.second) : "");
  }

  /// The pairs of classes that make the most wrong labels, in one line.
  std::string rates_text() const {
    const LabelNoise& noise = cleaned_.noise;
    const int64_t classes = setup_.classes();
    torch::Tensor expected = noise.transition * noise.class_shares.unsqueeze(1);
    expected.fill_diagonal_(0);
    const torch::Tensor order = expected.flatten().argsort(/*stable=*/true, 0, /*descending=*/true);
    std::vector<std::string> pairs;
    for (int64_t i = 0; i < std::min<int64_t>(kShownPairs, classes * (classes - 1)); ++i) {
      const auto entry = order[i].item<int64_t>();
      const int64_t j = entry / classes, k = entry % classes;
      std::string pair = fmt::format("'{}' as '{}' {}", setup_.name_of(j), setup_.name_of(k),
                                     percent_text(noise.transition[j][k].item<double>()));
      if (const auto& intervals = cleaned_.intervals)
        pair += interval_text(intervals->low[j][k].item<double>(), intervals->high[j][k].item<double>());
      pairs.push_back(pair);
    }
    return fmt::format("recorded wrongly{}: {}", classes > 2 ? ", most of all" : "", fmt::join(pairs, ", "));
  }

  /// The rates of all pairs of classes; nothing for more classes than a page has room for.
  std::string rates_table() const {
    const int64_t classes = setup_.classes();
    if (classes > kShownClasses) return "";
    std::vector<TableColumn> columns{{"true class", "heading"}};
    std::vector<std::vector<std::string>> rows;
    for (int64_t j = 0; j < classes; ++j) {
      columns.push_back({fmt::format("recorded as {}", setup_.name_of(j)), "number"});
      rows.push_back({escape_markup(setup_.name_of(j))});
      for (int64_t k = 0; k < classes; ++k) {
        std::string rate = percent_text(cleaned_.noise.transition[j][k].item<double>());
        if (const auto& intervals = cleaned_.intervals)
          rate += interval_text(intervals->low[j][k].item<double>(), intervals->high[j][k].item<double>());
        rows.back().push_back(rate);
      }
    }
    return table_markup(columns, rows) +
           "<p class=\"subtle\">Of the rows of each true class the estimated share that is recorded as each "
           "class" +
           (cleaned_.intervals ? ", with 95&nbsp;% intervals.</p>\n" : ".</p>\n");
  }

  std::string comparison() const {
    const Json found = at(summary_, "/baselines");
    if (found.is_null()) return "";
    std::vector<std::vector<std::string>> rows;
    const auto add = [&](const std::string& key, const std::string& name, const Json& accuracy,
                         const Json& auroc) {
      const auto d = cleaned_.differences.find(key);
      rows.push_back({name, accuracy.is_number() ? percent(accuracy.get<double>()) : std::string(kAbsent),
                      d != cleaned_.differences.end() && d->second.has_interval()
                          ? fmt::format("{:+.1f} to {:+.1f}", 100 * d->second.low, 100 * d->second.high)
                          : std::string(kAbsent),
                      auroc.is_number() ? metric_text(auroc.get<double>()) : std::string(kAbsent)});
    };
    add("", "<b>this run</b>", at(summary_, "/metrics/test/accuracy"), at(summary_, "/metrics/flips/auroc"));
    for (const auto& [key, measured] : found.items())
      add(key, text_of(measured.at("name")), at(measured, "/test/accuracy"), at(measured, "/flips/auroc"));
    return table_markup({{"method", "heading"},
                         {"test accuracy", "number"},
                         {"this run is better by (percentage points, 95\u00a0% interval)", "number"},
                         {"AUROC of the injected flips", "number"}},
                        rows) +
           "<p class=\"subtle\">Intervals are paired on the test rows; there is none where fewer than ten "
           "decide.</p>\n";
  }

  std::string suspicious_rows() const {
    std::vector<TableColumn> columns{{"line", "number"}, {"given"}, {"suggested"}};
    if (setup_.flips()) columns.push_back({"before the injected noise"});
    columns.insert(columns.end(),
                   {{"row's content", "text"}, {"P(label is right)", "number"}, {"weight", "number"}});
    std::vector<std::vector<std::string>> rows;
    for (const int64_t i : most_suspicious(kShown)) {
      rows.push_back({line(i), escape_markup(given(i)), escape_markup(suggested(i))});
      if (setup_.flips()) {
        rows.back().push_back(
            escape_markup(setup_.name_of(setup_.flips()->original[static_cast<size_t>(i)])));
      }
      rows.back().insert(rows.back().end(),
                         {escape_markup(shortened(text_of_row(i), 300)), fmt::format("{:.4f}", right(i)),
                          fmt::format("{:.4f}", cleaned_.weights[i].item<double>())});
    }
    return (none_suspicious() ? "<p>No label is more likely wrong than right.</p>\n" : "") +
           table_markup(columns, rows);
  }

  const CleanSetup& setup_;
  const Cleaned& cleaned_;
  const Json& summary_;
};

}  // namespace

void write_clean_report(const CleanSetup& setup, const Cleaned& cleaned, const Json& summary) {
  CleanPage(setup, cleaned, summary).write();
}

std::string clean_text(const CleanSetup& setup, const Cleaned& cleaned, const Json& summary) {
  return CleanPage(setup, cleaned, summary).terminal();
}

}  // namespace bilevel
