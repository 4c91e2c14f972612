#include "bilevel/task/clean/clean_figures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include <algorithm>
#include <array>

#include "bilevel/core/printable.h"
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
  LinePlot weights{
      .title = "Weights of the training rows", .x_label = "weight", .y_label = "rows", .series = {}};
  if (setup.flips()) {
    const torch::Tensor flipped = setup.flips()->flipped > 0;
    weights.series = {histogram("injected flips", cleaned.weights.masked_select(flipped)),
                      histogram("other rows", cleaned.weights.masked_select(flipped.logical_not()))};
  } else {
    weights.series = {histogram("rows", cleaned.weights)};
  }
  std::vector<NamedFigure> figures{{"weights.svg", {draw(weights), "Rows of low weight are suspicious."}}};
  if (cleaned.best_step) {
    const Trace pass = rows_of_pass(read_trace(setup.path("trace.jsonl")), kLearn);
    const LinePlot loss{.title = "Loss on the trusted rows, each by the classifier without its fold",
                        .x_label = "step",
                        .y_label = "cross-entropy",
                        .series = {series_from_trace(pass, "step", "upper_loss", "a batch"),
                                   series_from_trace(pass, "step", "judging_loss", "all")}};
    figures.push_back({"loss.svg", {draw(loss), "The bilevel run: " + learned_text(setup, cleaned) + "."}});
  }
  return write_figures(setup.context(), figures);
}

std::string learned_text(const CleanSetup& setup, const Cleaned& cleaned) {
  if (!cleaned.best_step) return "";
  std::vector<std::string> strengths;
  for (size_t b = 0; b < cleaned.strengths.l2.size(); ++b)
    strengths.push_back(fmt::format("{:.2g} of {}", cleaned.strengths.l2[b], setup.inputs().blocks[b]));
  std::string text = fmt::format(
      "{}: L2 strength {}; a trusted row counts {:.2g}",
      cleaned.takes_learned
          ? fmt::format(
                "learned from the trusted rows, whose loss changes by {:+.4f} (standard error {:.4f})",
                -cleaned.gain.first, cleaned.gain.second)
          : "what was learned is not told from the start by the trusted rows, and the start is kept",
      fmt::join(strengths, ", "), cleaned.strengths.trusted);
  const std::vector<double>& weights = cleaned.strengths.of_units;
  if (weights.empty()) return text;
  const auto [least, most] = std::ranges::minmax_element(weights);
  const bool told = cleaned.unit_errors.defined();
  const auto shown = [&](const auto& at) {
    const auto u = static_cast<size_t>(at - weights.begin());
    std::string weight = fmt::format("'{}' {:.2g}", printable(cleaned.unit_names[u]), *at);
    if (!told) return weight;
    const auto [low, high] = cleaned.unit_interval(u);
    return weight + fmt::format(" ({:.2g} to {:.2g})", low, high);
  };
  return text + fmt::format("; weights from {} to {} (all in summary.json{})", shown(least), shown(most),
                            told ? "" : ", without intervals");
}

}  // namespace bilevel
