#include "bilevel/task/clean/clean_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <algorithm>
#include <array>

#include "bilevel/report/escape.h"
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
    const std::vector<Figure> figures = draw_figures();
    std::string body = run_markup(summary_);
    body += fmt::format(
        "<p><b>{}</b> of {} training rows are suspicious: their label is more likely wrong than right. "
        "{}</p>\n",
        grouped(summary_.at("suspicious").get<int64_t>()), grouped(summary_.at("rows").get<int64_t>()),
        escape_markup(fmt::format("Estimated share of wrong labels: {}; {}.", share_text(), rates_text())));
    if (const std::string odd = odd_rows_text(summary_.at("odd_rows")); !odd.empty())
      body += fmt::format("<p>Whatever the labels are: {}.</p>\n", odd);
    if (setup_.trusted().empty()) {
      body +=
          "<p>There was no trusted file: the training rows whose labels an out-of-fold model agreed with "
          "most stood in for it. That assumes that labels are right more often than wrong, and not wrong in "
          "a way that a model can learn. Nothing is calibrated then: the probabilities are an order, not "
          "frequencies.</p>\n";
    }
    body += notes_markup(summary_.at("warnings").get<std::vector<std::string>>());
    body += rates_table() + comparison() + figures_section("Curves", figures) + suspicious_rows() +
            explanation_markup(summary_);
    body += table_of("Metrics", summary_.at("metrics"));
    body += table_of("Data", object_of(setup_.inputs().features->facts())) + columns_markup(summary_);
    body += table_of("Options", summary_.at("options"));
    write_file_atomically(setup_.path("report.html"), html_page(title_of(setup_.options(), "labels"), body));
  }

  std::string terminal() const {
    const Json& metrics = summary_.at("metrics");
    std::string text = fmt::format("\n{} of {} rows are suspicious; estimated share of wrong labels {}\n{}\n",
                                   summary_.at("suspicious").get<int64_t>(), cleaned_.weights.numel(),
                                   share_text(), printable(rates_text()));
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
    if (metrics.contains("flips") && !metrics.at("flips").at("auroc").is_null())
      text += fmt::format("injected flips: AUROC {}\n",
                          metric_text(metrics.at("flips").at("auroc").get<double>()));
    text += none_suspicious() ? "\nno label is more likely wrong than right; the least certain:\n"
                              : "\nthe most suspicious rows:\n";
    for (const int64_t i : most_suspicious(8)) {
      const std::string rather = is_suspicious(i) ? fmt::format("rather '{}'", printable(suggested(i)))
                                                  : fmt::format("right with probability {:.2f}", right(i));
      text += fmt::format("  row {}: '{}', {}  {}\n", i + 1, printable(given(i)), rather,
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
  double right(int64_t i) const { return cleaned_.judgement.right[i].item<double>(); }
  bool is_suspicious(int64_t i) const { return right(i) < 0.5; }
  bool none_suspicious() const { return summary_.at("suspicious").get<int64_t>() == 0; }
  std::string text_of_row(int64_t i) const { return setup_.row_text(row(i)); }

  std::vector<int64_t> most_suspicious(int64_t count) const {
    const torch::Tensor order = cleaned_.judgement.right.argsort(/*stable=*/true, 0, /*descending=*/false);
    const auto* first = order.const_data_ptr<int64_t>();
    return {first, first + std::min(count, order.numel())};
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
    return "<h2>How labels go wrong</h2>\n" + table_markup(columns, rows) +
           "<p class=\"subtle\">Of the rows of each true class the estimated share that is recorded as each "
           "class" +
           (cleaned_.intervals ? ", with 95&nbsp;% intervals.</p>\n" : ".</p>\n");
  }

  std::string comparison() const {
    const Json found = at(summary_, "/baselines");
    if (found.is_null()) return "";
    std::vector<std::vector<std::string>> rows;
    const auto add = [&](const char* name, const Json& accuracy, const Json& auroc) {
      rows.push_back({name, accuracy.is_number() ? percent(accuracy.get<double>()) : std::string(kAbsent),
                      auroc.is_number() ? metric_text(auroc.get<double>()) : std::string(kAbsent)});
    };
    add("<b>this run</b>", at(summary_, "/metrics/test/accuracy"), at(summary_, "/metrics/flips/auroc"));
    for (const auto& [key, name] :
         {std::pair{"noisy_and_trusted", "all rows as given, with the trusted ones"},
          {"trusted_only", "the trusted rows alone"},
          {"self_confidence", "dropped by out-of-fold self-confidence"},
          {"trusted_model", "dropped by a model of the trusted rows"},
          {"product", "dropped by the product of both"}}) {
      if (found.contains(key))
        add(name, at(found.at(key), "/test/accuracy"), at(found.at(key), "/flips/auroc"));
    }
    return "<h2>Beside the usual methods</h2>\n" +
           table_markup({{"method"}, {"test accuracy"}, {"AUROC of the injected flips"}}, rows) +
           "<p class=\"subtle\">The usual methods are logistic regression on the same rows.</p>\n";
  }

  std::string suspicious_rows() const {
    std::vector<TableColumn> columns{{"row"}, {"weight"}, {"P(label is right)"}, {"given"}, {"suggested"}};
    if (setup_.flips()) columns.push_back({"before the injected noise"});
    columns.push_back({"row's content"});
    std::vector<std::vector<std::string>> rows;
    for (const int64_t i : most_suspicious(kShown)) {
      rows.push_back({std::to_string(i + 1), fmt::format("{:.4f}", cleaned_.weights[i].item<double>()),
                      fmt::format("{:.4f}", right(i)), escape_markup(given(i)), escape_markup(suggested(i))});
      if (setup_.flips()) {
        rows.back().push_back(
            escape_markup(setup_.name_of(setup_.flips()->original[static_cast<size_t>(i)])));
      }
      rows.back().push_back(escape_markup(shortened(text_of_row(i), 300)));
    }
    return (none_suspicious()
                ? "<h2>The least certain rows</h2>\n<p>No label is more likely wrong than right.</p>\n"
                : "<h2>Most suspicious rows</h2>\n") +
           table_markup(columns, rows);
  }

  /// How many weights fall into each twentieth.
  static Series histogram(const std::string& label, const torch::Tensor& weights) {
    constexpr int kBins = 20;
    std::array<double, kBins> counts{};
    const torch::Tensor values = weights.contiguous();
    const auto* w = values.const_data_ptr<double>();
    for (int64_t i = 0; i < values.numel(); ++i)
      ++counts[static_cast<size_t>(std::min(kBins - 1, static_cast<int>(w[i] * kBins)))];
    Series series{.label = label, .x = {}, .y = {}};
    for (int bin = 0; bin < kBins; ++bin) {
      for (const int edge : {bin, bin + 1}) {
        series.x.push_back(static_cast<double>(edge) / kBins);
        series.y.push_back(counts[static_cast<size_t>(bin)]);
      }
    }
    return series;
  }

  std::vector<Figure> draw_figures() const {
    const Trace trace = read_trace(setup_.path("trace.jsonl"));
    LinePlot accuracy{.title = "Accuracy on the held-back trusted rows",
                      .x_label = "step",
                      .y_label = "accuracy",
                      .series = {}};
    LinePlot loss{
        .title = "Loss on trusted rows", .x_label = "step", .y_label = "cross-entropy", .series = {}};
    std::vector<Series> held_loss;
    for (int64_t k = 0; k < kFolds; ++k) {
      const Trace pass = rows_of_pass(trace, Weighing::pass_name(k));
      const auto series = [&](const char* key, const char* what) {
        return series_from_trace(pass, "step", key, fmt::format("{}, run {}", what, k + 1));
      };
      accuracy.series.push_back(series("held_accuracy", "held-back rows"));
      held_loss.push_back(series("held_loss", "held-back rows"));
      loss.series.push_back(series("upper_loss", "judging rows (batch)"));
    }
    loss.series.insert(loss.series.end(), held_loss.begin(), held_loss.end());
    LinePlot weights{
        .title = "Weights of the training rows", .x_label = "weight", .y_label = "rows", .series = {}};
    if (setup_.flips()) {
      const torch::Tensor flipped = setup_.flips()->flipped > 0;
      weights.series = {histogram("injected flips", cleaned_.weights.masked_select(flipped)),
                        histogram("other rows", cleaned_.weights.masked_select(flipped.logical_not()))};
    } else {
      weights.series = {histogram("rows", cleaned_.weights)};
    }
    return write_figures(
        setup_.context(),
        {{"accuracy.svg",
          {draw(accuracy),
           "The classifiers of the bilevel runs, each without one fold; the cleaned model is fitted after "
           "them."}},
         {"weights.svg", {draw(weights), "Rows of low weight are suspicious."}},
         {"loss.svg",
          {draw(loss), "The chosen step of a run is the latest within one standard error of its best."}}});
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
