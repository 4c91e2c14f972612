// The joint likelihood of given and trusted labels, which the functions of label_noise.h maximize.
#pragma once

#include <torch/optim/lbfgs.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "bilevel/task/clean/label_noise.h"

namespace bilevel {

inline constexpr double kPseudoRows = 0.5;  ///< of each class: keeps log rates finite

/// The joint likelihood and its parameters.
class NoiseLikelihood {
 public:
  /// What may differ between training and trusted rows, and what holds for both.
  enum class Trusted { same, own_shares, own_shares_and_beta };

  /// Of more training rows the likelihood reads some, evenly spaced: they tell rates to less than a thousandth, and take 100 bytes each.
  static constexpr int64_t kMostRows = 1'000'000;
  static torch::Tensor some_of(const torch::Tensor& of_rows) {
    const int64_t step = std::max<int64_t>(1, (of_rows.size(0) + kMostRows - 1) / kMostRows);
    return of_rows.slice(0, 0, of_rows.size(0), step);
  }

  NoiseLikelihood(const LabelledPredictions& train, const LabelledPredictions& trusted)
      : classes_(train.probabilities.size(1)),
        rows_(some_of(train.labels).numel()),
        log_p_(log_of(some_of(train.probabilities))),
        given_(some_of(train.labels).unsqueeze(1)),
        log_trusted_(log_of(trusted.probabilities)),
        truth_(trusted.labels.unsqueeze(1)),
        // A class that no trusted row has is none that was looked for: among the trusted rows the others share its probability.
        absent_(torch::where(torch::bincount(trusted.labels, {}, classes_) > 0, 0.0, kNever)
                    .to(torch::kFloat64)) {
    const auto zeros = [&](at::IntArrayRef size) { return torch::zeros(size, torch::kFloat64); };
    log_beta_ = zeros({1});
    bias_ = zeros({classes_});
    shift_ = zeros({classes_});
    shift_beta_ = zeros({1});
    logits_ =
        torch::full({classes_, classes_}, kFirstRate / static_cast<double>(classes_ - 1), torch::kFloat64);
    logits_.fill_diagonal_(1 - kFirstRate);
    logits_ = logits_.log();
  }

  void set(const LabelNoise& noise) {
    log_beta_.fill_(std::log(noise.calibration.beta));
    bias_ = noise.calibration.bias.clone();
    logits_ = noise.transition.log();
    if (noise.trusted_shift.defined()) shift_ = noise.trusted_shift.clone();
  }

  /// From now on no label is wrong: the rates are those of the identity.
  void without_noise() { noiseless_ = true; }

  /// What the pseudo rows add to the log likelihood.
  double of_pseudo_rows() const {
    return (kPseudoRows / static_cast<double>(classes_) * torch::log_softmax(logits_, 1).sum())
        .item<double>();
  }

  /// Maximizes the penalized log likelihood and returns it; with a target, among the parameters at which the share is
  /// (within kStiffness or so) that one.
  double fit(Trusted how, std::optional<double> target = {}) {
    std::vector<torch::Tensor> free;
    if (!noiseless_) free.push_back(logits_);
    free.insert(free.end(), {log_beta_, bias_});
    if (how != Trusted::same) free.push_back(shift_);
    if (how == Trusted::own_shares_and_beta) free.push_back(shift_beta_);
    return maximize(free, target);
  }

  /// Without trusted rows: the most likely beta at the rates as they are, then the most likely rates at that beta. (Both at once take noise
  /// for a classifier's unsureness where it has more numbers than rows.)
  void fit_unchecked() {
    maximize({log_beta_});
    maximize({logits_});
  }

  torch::Tensor transition() const { return torch::softmax(logits_, 1); }
  Calibration calibration() const { return {std::exp(log_beta_.item<double>()), bias_ - bias_.mean()}; }
  torch::Tensor shift() const { return shift_ - shift_.mean(); }
  torch::Tensor posterior() const { return torch::softmax(log_beta_.exp() * log_p_ + bias_, 1); }
  torch::Tensor share() const { return (posterior() * (1 - transition().diagonal())).sum(1).mean(); }

  /// [rows + trusted rows, parameters]: gradients of the rows' log likelihoods, by the rates first (classes^2 columns;
  /// that of a diagonal entry is 0, since it is 1 less the others), then by bias, log beta and shift.
  torch::Tensor scores(bool own_shares) const {
    const torch::Tensor p = posterior(), t = transition();
    const torch::Tensor of_given = p.mm(t).gather(1, given_).clamp_min(1e-300);
    const torch::Tensor is_given = torch::one_hot(given_.squeeze(1), classes_).to(torch::kFloat64);
    const torch::Tensor part = p / of_given;
    // By rate jk: p_j ([given = k] - [given = j]) / P(given).
    const torch::Tensor by_rate =
        (part.unsqueeze(2) * (is_given.unsqueeze(1) - is_given.unsqueeze(2))).reshape({rows_, -1});
    const torch::Tensor residual = part * t.index_select(1, given_.squeeze(1)).t() - p;
    const torch::Tensor own = torch::softmax(log_beta_.exp() * log_trusted_ + bias_ + shift_ + absent_, 1);
    const torch::Tensor trusted = torch::one_hot(truth_.squeeze(1), classes_) - own;
    const torch::Tensor by_bias = torch::cat({residual, trusted});
    const torch::Tensor by_beta = log_beta_.exp() * torch::cat({(residual * log_p_).sum(1, true),
                                                                (trusted * log_trusted_).sum(1, true)});
    const auto zeros = [](int64_t rows, int64_t columns) {
      return torch::zeros({rows, columns}, torch::kFloat64);
    };
    std::vector<torch::Tensor> columns{torch::cat({by_rate, zeros(trusted.size(0), classes_ * classes_)}),
                                       by_bias, by_beta};
    if (own_shares) columns.push_back(torch::cat({zeros(rows_, classes_), trusted}));
    return torch::cat(columns, 1);
  }

  /// Of the priors on what `scores` has columns for.
  torch::Tensor prior_information(int64_t columns) const {
    torch::Tensor information =
        torch::full({columns}, 1 / (kBiasDeviation * kBiasDeviation), torch::kFloat64);
    information.narrow(0, 0, classes_ * classes_).fill_(1e-6);
    return information;
  }

  static torch::Tensor log_of(const torch::Tensor& probabilities) {
    return probabilities.to(torch::kFloat64).clamp_min(1e-12).log();
  }

 private:
  static constexpr double kFirstRate = 0.3;
  static constexpr double kBiasDeviation = 3;
  static constexpr double kStiffness = 3e-4;  // of a share that is held fixed
  static constexpr double kNever = -1e9;      // a logit

  double maximize(std::vector<torch::Tensor> free, std::optional<double> target = {}) {
    for (torch::Tensor& t : free) t.requires_grad_();
    torch::optim::LBFGS lbfgs(free, torch::optim::LBFGSOptions(1)
                                        .max_iter(300)
                                        .history_size(20)
                                        .tolerance_grad(1e-4)
                                        .tolerance_change(1e-9)
                                        .line_search_fn("strong_wolfe"));
    lbfgs.step([&] {
      lbfgs.zero_grad();
      torch::Tensor value = -log_likelihood();
      if (target) value = value + 0.5 * ((share() - *target) / kStiffness).square();
      value.backward();
      return value;
    });
    for (torch::Tensor& t : free) t.requires_grad_(false);
    return log_likelihood().item<double>();
  }

  torch::Tensor log_likelihood() const {
    torch::Tensor sum;
    if (noiseless_) {
      sum = torch::log_softmax(log_beta_.exp() * log_p_ + bias_, 1).gather(1, given_).sum();
    } else {
      const torch::Tensor rates = torch::log_softmax(logits_, 1);
      sum = posterior().mm(rates.exp()).gather(1, given_).clamp_min(1e-300).log().sum() +
            kPseudoRows / static_cast<double>(classes_) * rates.sum();
    }
    const torch::Tensor own =
        torch::log_softmax((log_beta_ + shift_beta_).exp() * log_trusted_ + bias_ + shift_ + absent_, 1);
    const auto normal = [](const torch::Tensor& t, double deviation) {
      return -0.5 * (t / deviation).square().sum();
    };
    return sum + own.gather(1, truth_).sum() + normal(log_beta_, 1) + normal(bias_, kBiasDeviation) +
           normal(shift_, kBiasDeviation) + normal(shift_beta_, 1);
  }

  int64_t classes_, rows_;
  torch::Tensor log_p_, given_, log_trusted_, truth_, absent_;
  bool noiseless_ = false;
  torch::Tensor log_beta_, bias_, shift_, shift_beta_, logits_;
};

}  // namespace bilevel
