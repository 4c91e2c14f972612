#include "bilevel/task/tune/tune_evidence.h"

#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/feature_squares.h"

namespace bilevel {
namespace {

constexpr double kLeastEvidence = 1 / 400.0;  // see feature_evidence
constexpr double kNoSpread = 1e-6;            // of logarithms: they are the same

/// Of each feature and class, float64 [width, classes] on the CPU.
struct ClassSums {
  torch::Tensor occurrences;  ///< rows in which the feature is not 0
  torch::Tensor values;       ///< sums
};

ClassSums class_sums(const Inputs& inputs, const std::vector<int64_t>& rows,
                     const std::vector<int64_t>& classes, int64_t width, int64_t class_count) {
  const auto zeros = [&] { return torch::zeros({width * class_count}, torch::kFloat64); };
  ClassSums sums{zeros(), zeros()};
  each_gathered(inputs, rows, [&](const std::vector<int64_t>& some, const std::vector<torch::Tensor>& read) {
    const torch::Tensor of_row = classes_at(classes, some);
    if (inputs.kind() == InputKind::dense) {
      const torch::Tensor values = read[0].to(torch::kCPU, torch::kFloat64);
      const torch::Tensor member = torch::one_hot(of_row, class_count).to(torch::kFloat64);
      sums.occurrences += (values != 0).to(torch::kFloat64).t().mm(member).flatten();
      sums.values += values.t().mm(member).flatten();
      return;
    }
    const torch::Tensor values = read[1].to(torch::kCPU, torch::kFloat64);
    const torch::Tensor place =
        read[0].to(torch::kCPU) * class_count + of_row.repeat_interleave(read[2].to(torch::kCPU).diff());
    sums.occurrences.scatter_add_(0, place, (values != 0).to(torch::kFloat64));
    sums.values.scatter_add_(0, place, values);
  });
  return {sums.occurrences.view({width, class_count}), sums.values.view({width, class_count})};
}

torch::Tensor standardized(const torch::Tensor& values, const torch::Tensor& used) {
  const torch::Tensor of_used = values.masked_select(used);
  if (of_used.numel() < 2) return torch::zeros_like(values);
  const double spread = of_used.std(/*unbiased=*/false).item<double>();
  if (!(spread > kNoSpread)) return torch::zeros_like(values);
  return torch::where(used, (values - of_used.mean()) / spread, torch::zeros_like(values));
}

}  // namespace

torch::Tensor feature_evidence(const Inputs& inputs, const std::vector<int64_t>& rows,
                               const std::vector<int64_t>& classes, int64_t width, int64_t class_count) {
  const auto n = static_cast<double>(rows.size()), k = static_cast<double>(class_count);
  const torch::Tensor squares = 4 * quarter_squares(inputs, rows, width).to(torch::kCPU, torch::kFloat64);
  const ClassSums sums = class_sums(inputs, rows, classes, width, class_count);
  const torch::Tensor counts =
      torch::bincount(classes_at(classes, rows), {}, class_count).to(torch::kFloat64);
  // A class without rows has no lift and no mean, whatever its share.
  const torch::Tensor shares = (counts / n).clamp_min(1e-12);
  const torch::Tensor lifts =
      (sums.occurrences + k * shares) / ((sums.occurrences.sum(1, true) + k) * shares);
  const torch::Tensor occurrence = (kLeastEvidence + lifts.log().square().mv(shares)).log();
  const torch::Tensor mean = sums.values.sum(1, true) / n;
  const torch::Tensor between = (sums.values / counts.clamp_min(1) - mean).square().mv(counts / n);
  const torch::Tensor variance = (squares - mean.squeeze(1).square()).clamp_min(1e-12 * squares + 1e-300);
  const torch::Tensor association = (1 / n + (between / variance).clamp_max(1)).log();
  const torch::Tensor used = squares > 0;
  return torch::stack({standardized(occurrence, used), standardized(association, used),
                       standardized(squares.clamp_min(1e-300).log(), used)});
}

}  // namespace bilevel
