#include "bilevel/task/clean/clean_model.h"

#include <ATen/ops/cross_entropy_loss.h>
#include <fmt/format.h>

#include <cmath>

#include "bilevel/core/parameters.h"
#include "bilevel/core/streams.h"
#include "bilevel/glm/mixture_loss.h"
#include "bilevel/task/clean/scaled_loss.h"
#include "bilevel/task/job/classifier.h"
#include "bilevel/task/job/linear_classifier.h"
#include "bilevel/task/job/seeded_network.h"

namespace bilevel {
namespace {

constexpr int kBetaSteps = 60;  // factors of logits from exp(-3) to exp(3)
constexpr double kBetaStep = 0.05;
constexpr double kUnitStep = 0.3;     // of log v_u, for differences of losses in float32
constexpr double kPriorVariance = 2;  // of x: within a factor exp(sqrt(2)) of the start with probability 0.68

/// [folds, rows]: 1 where the row is one of `rows`, and of fold k (`own`) or of another one.
torch::Tensor members(const std::vector<int64_t>& rows, const torch::Tensor& fold_of, int64_t folds,
                      bool own) {
  const torch::Tensor at = torch::tensor(rows, torch::kInt64);
  const torch::Tensor same = torch::arange(folds).unsqueeze(1) == fold_of.index_select(0, at).unsqueeze(0);
  torch::Tensor result = torch::zeros({folds, fold_of.size(0)});
  result.index_copy_(1, at, (own ? same : same.logical_not()).to(result.scalar_type()));
  return result;
}

}  // namespace

torch::Tensor losses_of(Network& network, const std::vector<torch::Tensor>& inputs,
                        const torch::Tensor& classes, const torch::Tensor& beta) {
  const torch::Tensor logits = network.forward(inputs);
  return at::cross_entropy_loss(beta.defined() ? beta * logits : logits, classes, {}, at::Reduction::None);
}

CleanModel::CleanModel(CleanData data, const NetworkOptions& options, const FitStrengths& start,
                       uint64_t seed, const torch::Device& device)
    : data_(std::move(data)), device_(device) {
  const int64_t folds = data_.weights.size(0);
  for (int64_t k = 0; k < folds; ++k) {
    networks_.push_back(seeded_network(options, data_.inputs.shape,
                                       k == 0 ? seed : derive_seed(seed, fmt::format("fold {}", k)), device));
    networks_.back()->set_twice_differentiable(true);
  }
  blocks_ = static_cast<int64_t>(start.l2.size());
  row_weights_ = data_.weights * members(data_.train, data_.fold_of, folds, /*own=*/false) +
                 members(data_.trusted, data_.fold_of, folds, /*own=*/false);
  unit_of_ = torch::full({folds, data_.fold_of.size(0)}, -1, torch::kInt64);
  if (data_.unit_of.defined())
    unit_of_ = torch::where(data_.unit_of >= 0, data_.unit_of + first_unit(), unit_of_);
  unit_of_.index_fill_(1, torch::tensor(data_.trusted, torch::kInt64), blocks_);
  std::vector<double> others{start.trusted, start.beta};
  others.insert(others.end(), start.of_units.begin(), start.of_units.end());
  const torch::Tensor strengths = log_strengths(start.l2, rows(), data_.count);
  x_ = torch::cat({strengths, torch::tensor(others).log().to(strengths.scalar_type())})
           .to(linear() ? torch::Device(torch::kCPU) : device);
  start_ = x_.clone();
  x_.requires_grad_();
  if (!linear()) return;
  lower_ = classifier_loss(design_of(data_.inputs.inputs, data_.inputs.shape.width), data_.classes,
                           data_.count, data_.block_of, folds);
  lower_.row_weights = row_weights_;
  lower_.unit_of = unit_of_;
  y_ = torch::zeros({lower_.size()}).requires_grad_();
}

BatchSource CleanModel::lower_batches(int64_t batch_size) const {
  std::vector<int64_t> both = data_.train;
  both.insert(both.end(), data_.trusted.begin(), data_.trusted.end());
  return {data_set(data_.inputs.inputs, data_.classes), both, {.batch_size = batch_size}};
}

Problem CleanModel::problem(int64_t batch_size) const {
  const BatchSource lower = lower_batches(batch_size),
                    upper(lower.data(), data_.upper, {.batch_size = batch_size});
  return linear() ? linear_problem(upper, lower) : network_problem(upper, lower);
}

void CleanModel::solve(const torch::Tensor& x, const LinearFitOptions& options) const {
  const torch::NoGradGuard no_grad;
  torch::Tensor y = y_;
  y.copy_(fit_linear(lower_, lower_batches(1).all(), x, y.detach(), options));
}

Problem CleanModel::linear_problem(const BatchSource& upper, const BatchSource& lower) const {
  ScaledLoss f{.linear = lower_, .unit = blocks_ + 1};
  f.linear.row_weights = members(data_.upper, data_.fold_of, folds(), /*own=*/true);
  f.linear.unit_of = f.linear.strength_of = torch::Tensor();
  f.linear.centre = start_;
  f.linear.precision = 1 / (kPriorVariance * static_cast<double>(upper.size()));
  solve(start_);
  return {.upper = {.parameters = {{"log strengths", x_}},
                    .loss = [f, x = x_, y = y_](const Batch& b) { return f.value(b, x, y); },
                    .batches = upper,
                    .project = [model = *this](const torch::Tensor& flat) { return model.bounded(flat); },
                    .derivatives = derivatives_of(f)},
          .lower = {.parameters = {{"classifiers without each fold", y_}},
                    .loss = [g = lower_, x = x_, y = y_](const Batch& b) { return g.value(b, x, y); },
                    .batches = lower,
                    .derivatives = derivatives_of(lower_)}};
}

Problem CleanModel::network_problem(const BatchSource& upper, const BatchSource& lower) const {
  const auto sum_over_folds = [networks = networks_](const Batch& b, const torch::Tensor& beta,
                                                     const auto& weight_of) {
    torch::Tensor sum;
    for (size_t k = 0; k < networks.size(); ++k) {
      const torch::Tensor loss = weighted_mean(
          weight_of(static_cast<int64_t>(k)) * losses_of(*networks[k], b.inputs(), b.targets(), beta),
          b.weights());
      sum = k == 0 ? loss : sum + loss;
    }
    return sum;
  };
  const double precision = 1 / (kPriorVariance * static_cast<double>(upper.size()));
  const auto f =
      [sum_over_folds, precision, at_beta = blocks_ + 1, x = x_, centre = start_,
       judging = members(data_.upper, data_.fold_of, folds(), /*own=*/true).to(device_)](const Batch& b) {
        const auto weight_of = [&](int64_t k) { return judging[k].index_select(0, b.numbers()); };
        return sum_over_folds(b, x[at_beta].exp(), weight_of) + precision / 2 * (x - centre).square().sum();
      };
  std::vector<torch::Tensor> penalized;
  ParameterList parameters;
  for (size_t k = 0; k < networks_.size(); ++k) {
    const NetworkWeights weights = weights_of(*networks_[k]);
    penalized.insert(penalized.end(), weights.linear.begin(), weights.linear.end());
    penalized.insert(penalized.end(), weights.hidden.begin(), weights.hidden.end());
    const ParameterList own = named(*networks_[k]);
    for (size_t i = 0; i < own.size(); ++i)
      parameters.add(fmt::format("without fold {}: {}", k + 1, own.names[i]), own[i]);
  }
  // Of two classes too: `log_strengths` has half of kappa / n then, see classifier_loss.
  const double scale = data_.count == 2 ? 1 : 0.5;
  const auto g = [sum_over_folds, penalized, scale, x = x_, weights = row_weights_.to(device_),
                  unit_of = unit_of_.to(device_)](const Batch& b) {
    const auto weight_of = [&](int64_t k) {
      const torch::Tensor unit = unit_of[k].index_select(0, b.numbers());
      const torch::Tensor counted = x.index_select(0, unit.clamp_min(0)).exp();
      return weights[k].index_select(0, b.numbers()) *
             torch::where(unit >= 0, counted, torch::ones_like(counted));
    };
    return sum_over_folds(b, {}, weight_of) + scale * x[0].exp() * squared_norm(penalized);
  };
  return {.upper = {.parameters = {{"log strengths", x_}},
                    .loss = f,
                    .batches = upper,
                    .project = [model = *this](const torch::Tensor& flat) { return model.bounded(flat); }},
          .lower = {.parameters = parameters, .loss = g, .batches = lower},
          .set_twice_differentiable = [networks = networks_](bool on) {
            for (const auto& network : networks) network->set_twice_differentiable(on);
          }};
}

torch::Tensor CleanModel::bounded(const torch::Tensor& x) const {
  const int64_t units = x.numel() - first_unit();
  if (units < 2) return x;
  return torch::cat(
      {x.narrow(0, 0, first_unit()), with_entropy(x.narrow(0, first_unit(), units), data_.entropy_floor)});
}

FitStrengths CleanModel::strengths(const torch::Tensor& x) const {
  const torch::Tensor counted =
      x.detach().to(torch::kCPU, torch::kFloat64).slice(0, blocks_).exp().contiguous();
  const auto* first = counted.const_data_ptr<double>();
  return {.l2 = kappas_of(x.slice(0, 0, blocks_).cpu(), rows(), data_.count),
          .beta = first[1],
          .trusted = first[0],
          .of_units = {first + 2, first + counted.numel()}};
}

torch::Tensor CleanModel::probabilities(const std::vector<int64_t>& rows) const {
  for (size_t k = 0; k < networks_.size() && linear(); ++k)
    set_classifier(*networks_[k], lower_.model_of(y_.detach(), static_cast<int64_t>(k)));
  torch::Tensor result = torch::zeros({static_cast<int64_t>(rows.size()), data_.count}, torch::kFloat64);
  for (int64_t k = 0; k < folds(); ++k) {
    std::vector<int64_t> held, at;
    for (size_t i = 0; i < rows.size(); ++i) {
      if (data_.fold_of[rows[i]].item<int64_t>() != k) continue;
      held.push_back(rows[i]);
      at.push_back(static_cast<int64_t>(i));
    }
    if (held.empty()) continue;
    result.index_copy_(
        0, torch::tensor(at, torch::kInt64),
        probabilities_of(*networks_[static_cast<size_t>(k)], data_.inputs.inputs, held, device_));
  }
  return result;
}

torch::Tensor CleanModel::judging_losses(const torch::Tensor& x) const {
  // Two near x are told apart, so y must be nearer to y*(x) than elsewhere.
  if (linear()) solve(x.detach(), {.evaluations = 200, .gradient_tolerance = 3e-4});
  const torch::Tensor logits = probabilities(data_.upper).clamp_min(1e-12).log();
  const torch::Tensor classes =
      data_.classes.index_select(0, torch::tensor(data_.upper, torch::kInt64)).unsqueeze(1);
  torch::Tensor best;
  for (int step = -kBetaSteps; step <= kBetaSteps; ++step) {
    const torch::Tensor losses =
        -torch::log_softmax(std::exp(kBetaStep * step) * logits, 1).gather(1, classes).squeeze(1);
    if (!best.defined() || losses.mean().item<double>() < best.mean().item<double>()) best = losses;
  }
  return best;
}

torch::Tensor CleanModel::standard_errors_of_units(const torch::Tensor& x) const {
  std::vector<torch::Tensor> slopes;
  for (int64_t at = first_unit(); at < x.numel(); ++at) {
    torch::Tensor moved = x.detach().clone();
    moved[at] += kUnitStep;
    const torch::Tensor above = judging_losses(moved);
    moved[at] -= 2 * kUnitStep;
    slopes.push_back((above - judging_losses(moved)) / (2 * kUnitStep));
  }
  const torch::Tensor by_row = torch::stack(slopes);
  const torch::Tensor prior = torch::eye(by_row.size(0), torch::kFloat64) / kPriorVariance;
  return torch::linalg_inv(by_row.mm(by_row.t()) + prior).diagonal().sqrt();
}

}  // namespace bilevel
