#include "bilevel/task/auc/auc_loss.h"

#include "bilevel/problem/batch.h"

namespace bilevel {

torch::Tensor AucLoss::value(const torch::Tensor& scores, const torch::Tensor& labels, const torch::Tensor& a,
                             const torch::Tensor& b, const torch::Tensor& alpha,
                             const torch::Tensor& weights) const {
  const double rho = positive_share;
  const torch::Tensor positives = labels.to(scores.scalar_type()), negatives = 1 - positives;
  const torch::Tensor q = weighted_mean((rho * negatives - (1 - rho) * positives) * scores, weights);
  const torch::Tensor bracket = form == "ppd" ? q : q + rho * (1 - rho) * margin;
  const torch::Tensor multiplier = form == "libauc" ? alpha : 1 + alpha;
  const torch::Tensor spread = weighted_mean(
      (1 - rho) * positives * (scores - a).square() + rho * negatives * (scores - b).square(), weights);
  return (spread + 2 * multiplier * bracket - rho * (1 - rho) * alpha.square()).reshape({});
}

}  // namespace bilevel
