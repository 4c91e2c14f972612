// The AUC-margin losses: bilevel AUC maximization.
#pragma once

#include <torch/types.h>

#include <string>

namespace bilevel {

/// The published forms of the loss.
/// - libauc: the AUC-margin loss of LibAUC (Yuan et al. 2021): multiplier 2 alpha (rho(1-rho) m + ...);
/// - ppd: the min-max form of stochastic AUC maximization with deep networks (Liu et al. 2020): multiplier 2
/// (1 + alpha)
///   without the margin's term;
/// - authors: both at once, as in AccBO's published code: multiplier 2 (1 + alpha) (rho(1-rho) m + ...),
/// whose effective
///   margin is 1 + m.
struct AucLoss {
  std::string form = "libauc";  ///< libauc | ppd | authors
  double positive_share = 0.5;  ///< rho, of the training data, in (0, 1)
  double margin = 1;            ///< m

  /// A(w, a, b, alpha) of a batch:
  ///   (1-rho) mean[(s-a)^2 1+] + rho mean[(s-b)^2 1-] + 2 k {...} - rho(1-rho) alpha^2,
  /// where k {...} is alpha {rho(1-rho) m + q}, (1+alpha) {q} or (1+alpha) {rho(1-rho) m + q} by form, with
  /// q = mean[rho s 1- - (1-rho) s 1+]; means run over the whole batch and are `weighted_mean`s. The class means are
  /// those of the data only where the (weighted) share of positive rows is rho on average: with beta times as many
  /// positive rows a constant score 1/(beta - 1) costs nothing for beta >= 2.
  /// Of the M members of an ensemble the sum, each with its own a, b and alpha.
  /// @param scores contiguous, [B] or [B,M]; @param labels [B], 0 or 1; @param a, b, alpha [M] (of [B]: one element
  /// each); @param weights of the batch's rows, [B] or undefined.
  torch::Tensor value(const torch::Tensor& scores, const torch::Tensor& labels, const torch::Tensor& a,
                      const torch::Tensor& b, const torch::Tensor& alpha,
                      const torch::Tensor& weights = {}) const;

  /// d2(-A)/dalpha2 = 2 rho (1 - rho): constant, whatever the data.
  double lower_curvature() const { return 2 * positive_share * (1 - positive_share); }
};

}  // namespace bilevel
