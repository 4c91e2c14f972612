#include "bilevel/task/clean/clean_figures.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <array>

#include "bilevel/task/job/job_report.h"

namespace bilevel {
namespace {

/// How many weights fall into each twentieth.
Series histogram(const std::string& label, const torch::Tensor& weights) {
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

}  // namespace

std::vector<Figure> clean_figures(const CleanSetup& setup, const Cleaned& cleaned) {
  const Trace trace = read_trace(setup.path("trace.jsonl"));
  LinePlot accuracy{.title = "Accuracy on the held-back trusted rows",
                    .x_label = "step",
                    .y_label = "accuracy",
                    .series = {}};
  LinePlot loss{.title = "Loss on trusted rows", .x_label = "step", .y_label = "cross-entropy", .series = {}};
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
  if (setup.flips()) {
    const torch::Tensor flipped = setup.flips()->flipped > 0;
    weights.series = {histogram("injected flips", cleaned.weights.masked_select(flipped)),
                      histogram("other rows", cleaned.weights.masked_select(flipped.logical_not()))};
  } else {
    weights.series = {histogram("rows", cleaned.weights)};
  }
  return write_figures(
      setup.context(),
      {{"accuracy.svg",
        {draw(accuracy),
         "The classifiers of the bilevel runs, each without one fold; the cleaned model is fitted after "
         "them."}},
       {"weights.svg", {draw(weights), "Rows of low weight are suspicious."}},
       {"loss.svg",
        {draw(loss), "The chosen step of a run is the latest within one standard error of its best."}}});
}

}  // namespace bilevel
