#include "bilevel/task/clean/label_noise.h"

#include <ATen/ops/special_gammaincc.h>
#include <torch/optim/lbfgs.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

constexpr double kFirstRate = 0.3;
constexpr double kBiasDeviation = 3;
constexpr double kPseudoRows = 0.5;   // of each class: keeps log rates finite
constexpr double kDrop = 1.9207;      // of the log likelihood at the ends of a 95 % interval: 1.96^2 / 2
constexpr double kStiffness = 3e-4;   // of a share that is held fixed
constexpr int64_t kMostClasses = 20;  // with intervals of single rates
constexpr double kAtZero = 1;         // row expected: a rate of less lies at 0 where the likelihood falls
constexpr double kLeastP = 1e-12;

torch::Tensor log_of(const torch::Tensor& probabilities) {
  return probabilities.to(torch::kFloat64).clamp_min(kLeastP).log();
}

/// P(chi square with `freedom` degrees > value).
double tail(double value, int64_t freedom) {
  const auto at = [](double x) { return torch::full({}, x, torch::kFloat64); };
  return at::special_gammaincc(at(static_cast<double>(freedom) / 2), at(std::max(value, 0.0) / 2))
      .item<double>();
}

/// The joint likelihood and its parameters.
class Model {
 public:
  /// What may differ between training and trusted rows, and what holds for both.
  enum class Trusted { same, own_shares, own_shares_and_beta };

  Model(const LabelledPredictions& train, const LabelledPredictions& trusted)
      : classes_(train.probabilities.size(1)),
        rows_(train.labels.numel()),
        log_p_(log_of(train.probabilities)),
        given_(train.labels.unsqueeze(1)),
        calibrates_(trusted.labels.defined() && trusted.labels.numel() > 0) {
    if (calibrates_) {
      log_trusted_ = log_of(trusted.probabilities);
      truth_ = trusted.labels.unsqueeze(1);
    }
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
    if (calibrates_) free.insert(free.end(), {log_beta_, bias_});
    if (calibrates_ && how != Trusted::same) free.push_back(shift_);
    if (calibrates_ && how == Trusted::own_shares_and_beta) free.push_back(shift_beta_);
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

  torch::Tensor transition() const { return torch::softmax(logits_, 1); }
  Calibration calibration() const { return {std::exp(log_beta_.item<double>()), bias_ - bias_.mean()}; }
  torch::Tensor shift() const { return shift_ - shift_.mean(); }
  torch::Tensor posterior() const { return torch::softmax(log_beta_.exp() * log_p_ + bias_, 1); }
  torch::Tensor share() const { return (posterior() * (1 - transition().diagonal())).sum(1).mean(); }
  bool calibrates() const { return calibrates_; }

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
    if (!calibrates_) return by_rate;
    const torch::Tensor residual = part * t.index_select(1, given_.squeeze(1)).t() - p;
    const torch::Tensor own = torch::softmax(log_beta_.exp() * log_trusted_ + bias_ + shift_, 1);
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

 private:
  torch::Tensor log_likelihood() const {
    torch::Tensor sum;
    if (noiseless_) {
      sum = torch::log_softmax(log_beta_.exp() * log_p_ + bias_, 1).gather(1, given_).sum();
    } else {
      const torch::Tensor rates = torch::log_softmax(logits_, 1);
      sum = posterior().mm(rates.exp()).gather(1, given_).clamp_min(1e-300).log().sum() +
            kPseudoRows / static_cast<double>(classes_) * rates.sum();
    }
    if (!calibrates_) return sum;
    const torch::Tensor own =
        torch::log_softmax((log_beta_ + shift_beta_).exp() * log_trusted_ + bias_ + shift_, 1);
    const auto normal = [](const torch::Tensor& t, double deviation) {
      return -0.5 * (t / deviation).square().sum();
    };
    return sum + own.gather(1, truth_).sum() + normal(log_beta_, 1) + normal(bias_, kBiasDeviation) +
           normal(shift_, kBiasDeviation) + normal(shift_beta_, 1);
  }

  int64_t classes_, rows_;
  torch::Tensor log_p_, given_;
  bool calibrates_, noiseless_ = false;
  torch::Tensor log_trusted_, truth_;
  torch::Tensor log_beta_, bias_, shift_, shift_beta_, logits_;
};

/// One end of the profile interval, the lower for `side` -1, the upper for 1: the share is moved away from the most
/// likely one until the likelihood has dropped by kDrop.
double share_bound(const LabelNoise& noise, const LabelledPredictions& train,
                   const LabelledPredictions& trusted, double side) {
  Model model(train, trusted);
  model.set(noise);
  const auto how = noise.trusted_shift.defined() ? Model::Trusted::own_shares : Model::Trusted::same;
  const double best = model.fit(how);
  const double most = side < 0 ? noise.share : 1 - noise.share;
  double inside = 0, outside = most, distance = std::min(0.01, most / 2);
  for (int i = 0; i < 30 && outside - inside > 1e-5; ++i) {
    const double drop = best - model.fit(how, noise.share + side * distance);
    if (std::abs(drop - kDrop) < 0.01) {
      outside = distance;
      break;
    }
    (drop < kDrop ? inside : outside) = distance;
    // Near the top the drop is a square of the distance.
    const double next = distance * std::clamp(std::sqrt(kDrop / std::max(drop, 1e-6)), 0.25, 4.0);
    distance = next > inside && next < outside ? next : (inside + outside) / 2;
  }
  const double bound = noise.share + side * outside;
  // Less than the pseudo rows is not told from nothing.
  const bool nothing = bound * static_cast<double>(train.labels.numel()) <
                       kPseudoRows * static_cast<double>(train.probabilities.size(1));
  return side < 0 && nothing ? 0 : bound;
}

}  // namespace

LabelNoise fit_label_noise(const LabelledPredictions& train, const LabelledPredictions& trusted) {
  const auto fits = [](const LabelledPredictions& p) {
    return p.probabilities.dim() == 2 && p.labels.dim() == 1 && p.probabilities.size(0) == p.labels.size(0) &&
           p.probabilities.size(1) >= 2;
  };
  if (!fits(train) || train.labels.numel() == 0 ||
      (trusted.labels.defined() &&
       (!fits(trusted) || trusted.probabilities.size(1) != train.probabilities.size(1))))
    throw InputError("label noise: expected probabilities [n, classes >= 2] and labels [n], n >= 1");
  Model model(train, trusted);
  const double same = model.fit(Model::Trusted::same);
  LabelNoise result;
  const auto take = [&] {
    result.calibration = model.calibration();
    result.transition = model.transition();
    result.class_shares = model.posterior().mean(0);
    result.share = model.share().item<double>();
  };
  take();
  if (!model.calibrates()) return result;
  const double own_shares = model.fit(Model::Trusted::own_shares);
  result.same_shares = tail(2 * (own_shares - same), train.probabilities.size(1) - 1);
  const bool differ = result.same_shares < kContradiction;
  if (differ) {
    take();
    result.trusted_shift = model.shift();
  }
  const torch::Tensor counted = torch::bincount(trusted.labels, {}, train.probabilities.size(1));
  const torch::Tensor expected = trusted.labels.numel() * result.class_shares;
  // A class of less than one expected row counts as if it had one, so that a single such row is no contradiction.
  const torch::Tensor distance = (counted - expected).square() / expected.clamp_min(1);
  result.class_counts = tail(distance.sum().item<double>(), train.probabilities.size(1) - 1);
  result.same_beta = tail(2 * (model.fit(Model::Trusted::own_shares_and_beta) - own_shares), 1);
  return result;
}

double no_noise_p_value(const LabelledPredictions& train, const LabelledPredictions& trusted,
                        bool own_shares) {
  const auto how = own_shares ? Model::Trusted::own_shares : Model::Trusted::same;
  Model with(train, trusted), without(train, trusted);
  without.without_noise();
  const double gain = 2 * (with.fit(how) - with.of_pseudo_rows() - without.fit(how));
  const int64_t rates = train.probabilities.size(1) * (train.probabilities.size(1) - 1);
  // Each rate is as likely to end at 0 as above it.
  double p = 0;
  for (int64_t free = 1; free <= rates; ++free) {
    const double log_weight = std::lgamma(rates + 1) - std::lgamma(free + 1) - std::lgamma(rates - free + 1) -
                              static_cast<double>(rates) * std::log(2.0);
    if (log_weight > -40) p += std::exp(log_weight) * tail(gain, free);
  }
  return gain > 0 ? p : 1;
}

NoiseIntervals noise_intervals(const LabelNoise& noise, const LabelledPredictions& train,
                               const LabelledPredictions& trusted) {
  NoiseIntervals result;
  result.share = {share_bound(noise, train, trusted, -1), share_bound(noise, train, trusted, 1)};
  const int64_t classes = train.probabilities.size(1);
  result.low = torch::full({classes, classes}, std::nan(""), torch::kFloat64);
  result.high = result.low.clone();
  if (classes > kMostClasses) return result;

  Model model(train, trusted);
  model.set(noise);
  const torch::Tensor scores = model.scores(noise.trusted_shift.defined());
  const int64_t parameters = scores.size(1);
  const torch::Tensor slope = scores.sum(0);
  const torch::Tensor information = scores.t().mm(scores) + model.prior_information(parameters).diag();
  const auto entry = [&](int64_t j, int64_t k) { return j * classes + k; };
  const auto rows = static_cast<double>(train.labels.numel());
  std::vector<bool> held(
      static_cast<size_t>(parameters));  // at the boundary: they do not move with the others
  for (int64_t j = 0; j < classes; ++j) {
    for (int64_t k = 0; k < classes; ++k) {
      held[static_cast<size_t>(entry(j, k))] =
          j == k ||
          (rows * noise.class_shares[j].item<double>() * noise.transition[j][k].item<double>() < kAtZero &&
           slope[entry(j, k)].item<double>() < 0);
    }
  }
  // From `value`, how far a sum of rates can rise or fall until the likelihood has dropped by kDrop.
  const auto interval = [&](const std::vector<int64_t>& summed, double value) -> std::pair<double, double> {
    std::vector<int64_t> free;
    torch::Tensor direction = torch::zeros({parameters}, torch::kFloat64);
    for (const int64_t i : summed) direction[i] = 1;
    for (int64_t i = 0; i < parameters; ++i) {
      if (!held[static_cast<size_t>(i)] || direction[i].item<double>() > 0) free.push_back(i);
    }
    const torch::Tensor at = torch::tensor(free, torch::kInt64);
    const torch::Tensor along = direction.index_select(0, at);
    const torch::Tensor inverse =
        torch::linalg_pinv(information.index_select(0, at).index_select(1, at), 1e-14, /*hermitian=*/true);
    const torch::Tensor moved = inverse.mv(along);
    const double variance = along.dot(moved).item<double>();
    // At an optimum inside, the slope is 0; at the boundary it is negative.
    const double rise = std::min(0.0, moved.dot(slope.index_select(0, at)).item<double>());
    const double root = std::sqrt(rise * rise + 2 * kDrop * variance);
    return {std::max(0.0, value - rise - root), std::min(1.0, value + rise + root)};
  };
  for (int64_t j = 0; j < classes; ++j) {
    std::vector<int64_t> wrong;
    for (int64_t k = 0; k < classes; ++k) {
      if (k == j) continue;
      const auto [low, high] = interval({entry(j, k)}, noise.transition[j][k].item<double>());
      result.low[j][k] = low;
      result.high[j][k] = high;
      if (!held[static_cast<size_t>(entry(j, k))]) wrong.push_back(entry(j, k));
    }
    if (wrong.empty()) {
      for (int64_t k = 0; k < classes; ++k) {
        if (k != j) wrong.push_back(entry(j, k));
      }
    }
    const auto [low, high] = interval(wrong, 1 - noise.transition[j][j].item<double>());
    result.low[j][j] = 1 - high;
    result.high[j][j] = 1 - low;
  }
  return result;
}

Judgement judge(const LabelNoise& noise, const LabelledPredictions& train) {
  const torch::Tensor given = train.labels.unsqueeze(1);
  // [rows, classes]: of true class j and recorded as given.
  const torch::Tensor both =
      noise.calibration.apply(train.probabilities) * noise.transition.index_select(1, train.labels).t();
  return {(both.gather(1, given) / both.sum(1, true).clamp_min(1e-300)).squeeze(1), both.argmax(1)};
}

torch::Tensor weight_of(const torch::Tensor& right, int64_t classes) {
  const double chance = 1 / static_cast<double>(classes);
  return torch::maximum((right - chance) / (1 - chance), right / 100);
}

}  // namespace bilevel
