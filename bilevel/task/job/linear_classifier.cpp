#include "bilevel/task/job/linear_classifier.h"

#include <algorithm>
#include <cmath>

namespace bilevel {
namespace {

constexpr double kLeastKappa = 1e-6;

int64_t outputs_of(int64_t classes) { return classes == 2 ? 1 : classes; }
torch::ScalarType default_dtype() { return c10::get_default_dtype_as_scalartype(); }

}  // namespace

DesignRows design_of(const Inputs& inputs, int64_t width) {
  return {inputs.to(torch::kCPU).matrix(), width, default_dtype()};
}

LinearLoss classifier_loss(DesignRows rows, const torch::Tensor& classes, int64_t count,
                           const torch::Tensor& block_of, int64_t models) {
  const int64_t width = rows.width();
  const torch::Tensor blocks = block_of.defined() ? block_of : torch::zeros({width}, torch::kInt64);
  LinearLoss loss = unpenalized_loss(std::move(rows), classes, count);
  loss.weight = RowWeight::exponential;
  loss.models = models;
  loss.strength_of = loss.for_each_weight(blocks, 0);
  loss.strength_factor =
      loss.for_each_weight(torch::ones({width}, torch::dtype(default_dtype())), kBiasShare);
  return loss;
}

LinearLoss unpenalized_loss(DesignRows rows, const torch::Tensor& classes, int64_t count) {
  return {.rows = std::move(rows),
          .targets = count == 2 ? 2 * classes - 1 : classes,
          .loss = count == 2 ? RowLoss::logistic : RowLoss::softmax,
          .outputs = outputs_of(count),
          .bias = true};
}

double strength_share(int64_t classes) { return classes == 2 ? 0.5 : 1; }

torch::Tensor log_strengths(const std::vector<double>& kappas, int64_t rows, int64_t classes) {
  std::vector<double> x;
  for (const double kappa : kappas)
    x.push_back(std::log(std::max(kappa, kLeastKappa) * strength_share(classes) / static_cast<double>(rows)));
  return torch::tensor(x).to(default_dtype());
}

std::vector<double> kappas_of(const torch::Tensor& log_strengths, int64_t rows, int64_t classes) {
  const torch::Tensor kappas = log_strengths.detach().to(torch::kFloat64).exp().contiguous() *
                               (static_cast<double>(rows) / strength_share(classes));
  return {kappas.const_data_ptr<double>(), kappas.const_data_ptr<double>() + kappas.numel()};
}

void set_classifier(Network& network, const torch::Tensor& y) {
  const torch::NoGradGuard no_grad;
  torch::Tensor weight = network.parameters()[0], bias = network.parameters()[1];
  const int64_t classes = weight.size(1), outputs = outputs_of(classes);
  torch::Tensor w = y.detach().narrow(0, 0, weight.size(0) * outputs).view({weight.size(0), outputs}),
                b = y.detach().narrow(0, weight.size(0) * outputs, outputs);
  if (classes == 2) {
    w = torch::cat({-w, w}, 1) / 2;
    b = torch::cat({-b, b}) / 2;
  }
  weight.copy_(w);
  bias.copy_(b);
}

}  // namespace bilevel
