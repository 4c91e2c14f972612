// Data cleaning: weights for training rows with partly wrong labels, chosen on clean validation rows.
//
// With l_i the cross entropy of the linear classifier y [width, classes] on row i (float64):
//   g = mean over training rows of sigma(x_i) l_i + 0.2 ||y||^2,   f = mean over validation rows of l_i
// Before, every training label is replaced with probability `corruption` by a uniformly drawn class, once
// for all (so the share of wrong labels is smaller by 1/classes). grad Phi_i = -sigma'(x_i)/n <grad_y l_i,
// z> with H z = grad_y f; y* by Newton's method, its systems by conjugate gradients, all by hand. This is
// the form of the MNIST experiment. y starts at 0, x at -2. Files: LIBSVM with any number of classes, or IDX
// examples and labels. Without files: 120 and 90 generated rows of 3 classes with 6 features.
#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/glm/linear_loss.h"
#include "bilevel/model/newton.h"
#include "bilevel/task/known_problem.h"
#include "bilevel/task/problem_data.h"

namespace bilevel {
namespace {

constexpr double kStrength = 0.2;

class SoftmaxCleaning : public KnownProblem {
 public:
  void fields(Fields& f) override {
    f.text("train", data_.train,
           "LIBSVM file of the lower level, or IDX file of examples; none: generated rows");
    f.text("train_labels", data_.train_labels, "IDX file of the labels");
    f.text("valid", data_.valid, "the same for the upper level; none: a random part of train");
    f.text("valid_labels", data_.valid_labels, "IDX file of the labels");
    f.integer("train_rows", data_.train_rows, kNonNegative, "use at most so many training rows; 0: all");
    f.integer("valid_rows", data_.valid_rows, kNonNegative,
              "use at most so many validation rows; 0: all, or a fifth of train");
    f.number("corruption", corruption_, {.low = 0, .high = 1},
             "probability that a training label is replaced by a random one");
    f.flag("standardize", standardize_,
           "give every feature mean 0 and standard deviation 1 on the training rows");
    f.integer("batch_size", batch_size_, kNonNegative, "rows a batch; 0: all, every oracle is exact");
  }
  void make(uint64_t seed) override {
    data_.seed = seed;
    ProblemData data;
    if (data_.train.empty()) {
      for (const auto& [name, value] : {std::pair{"valid", &data_.valid},
                                        {"train_labels", &data_.train_labels},
                                        {"valid_labels", &data_.valid_labels}}) {
        if (!value->empty()) throw InputError(std::string(name) + " is given, but train is not");
      }
      data = generated_problem_data(3, 6, 120, 90);
    } else {
      data = read_problem_data(data_);
    }
    if (standardize_) bilevel::standardize(data);
    classes_ = static_cast<int64_t>(data.labels.size());
    train_ = std::move(data.train);
    valid_ = std::move(data.valid);
    at::Generator random =
        at::make_generator<at::CPUGeneratorImpl>(derive_seed(seed, "softmax-cleaning.labels"));
    const torch::Tensor replaced = torch::rand({train_.rows()}, random, torch::kFloat64) < corruption_;
    const torch::Tensor drawn = torch::randint(classes_, {train_.rows()}, random, torch::kInt64);
    labels_ = std::move(data.labels);
    recorded_ = train_.classes;
    train_.classes = torch::where(replaced, drawn, train_.classes);
    train_target_ = torch::one_hot(train_.classes, classes_).to(torch::kFloat64);
    valid_target_ = torch::one_hot(valid_.classes, classes_).to(torch::kFloat64);
    x_ = torch::full({train_.rows()}, -2.0, torch::kFloat64).requires_grad_();
    y_ = torch::zeros({train_.features.size(1) * classes_}, torch::kFloat64).requires_grad_();
  }
  Problem problem() const override {
    const SamplingOptions sampling{.batch_size =
                                       batch_size_ > 0 ? batch_size_ : std::numeric_limits<int64_t>::max()};
    const auto losses = [y = y_, k = classes_](const Batch& b) {  // one a row
      return at::cross_entropy_loss(b.input().mm(y.view({-1, k})), b.targets(), {}, at::Reduction::None);
    };
    const auto f = [losses](const Batch& b) { return losses(b).mean(); };
    const auto g = [losses, x = x_, y = y_](const Batch& b) {
      return (torch::sigmoid(x.index_select(0, b.numbers())) * losses(b)).mean() +
             kStrength * y.square().sum();
    };
    const auto softmax = [k = classes_](const LabelledRows& rows) {
      return LinearLoss{.rows = DesignRows({rows.features}, rows.features.size(1), torch::kFloat64),
                        .targets = rows.classes,
                        .loss = RowLoss::softmax,
                        .outputs = k};
    };
    LinearLoss weighted = softmax(train_);
    weighted.unit_of = torch::arange(train_.rows());
    weighted.strength = 2 * kStrength;
    return {.upper = {.parameters = {{"x", x_}},
                      .loss = f,
                      .batches = shuffled({valid_.features}, valid_.classes, sampling),
                      .derivatives = derivatives_of(softmax(valid_))},
            .lower = {.parameters = {{"y", y_}},
                      .loss = g,
                      .batches = shuffled({train_.features}, train_.classes, sampling),
                      .derivatives = derivatives_of(weighted)}};
  }
  torch::Tensor best_lower(const torch::Tensor& x) const override {
    return minimize(lower(x), torch::zeros_like(y_).detach());
  }
  torch::Tensor gradient(const torch::Tensor& x) const override {
    const torch::NoGradGuard no_grad;
    const torch::Tensor y = best_lower(x);
    if (!y.isfinite().all().item<bool>()) return torch::full_like(x, NAN);
    const torch::Tensor& a = valid_.features;
    const torch::Tensor residual = torch::softmax(a.mm(matrix(y)), 1) - valid_target_;
    const torch::Tensor b = a.t().mm(residual).flatten() / static_cast<double>(valid_.rows());
    const torch::Tensor z = lower(x).solve(y, b, 1e-14);
    // <grad_y l_i, z> = <p_i - t_i, a_i' z>
    const torch::Tensor along =
        ((torch::softmax(train_.features.mm(matrix(y)), 1) - train_target_) * train_.features.mm(matrix(z)))
            .sum(1);
    const torch::Tensor weight = torch::sigmoid(x);
    return -weight * (1 - weight) * along / static_cast<double>(train_.rows());
  }
  ProblemTraits traits() const override {
    return {.upper_curvature_min = 0,
            .upper_curvature_max = 0.5 * valid_.features.square().sum(1).mean().item<double>(),  // of a a'/2
            .lower_curvature_min = 2 * kStrength};
  }
  std::vector<int64_t> rows_of_x() const override {
    const auto* number = train_.numbers.const_data_ptr<int64_t>();
    return {number, number + train_.rows()};
  }
  std::string table_of_x() const override {
    const torch::Tensor weight = torch::sigmoid(x_.detach());
    const auto* w = weight.const_data_ptr<double>();
    const auto* recorded = recorded_.const_data_ptr<int64_t>();
    const auto* used = train_.classes.const_data_ptr<int64_t>();
    const auto label = [&](int64_t k) { return labels_[static_cast<size_t>(k)]; };
    std::string table = "row\tlabel\tused_label\tweight\n";
    const std::vector<int64_t> rows = rows_of_x();
    for (size_t i = 0; i < rows.size(); ++i)
      table += fmt::format("{}\t{}\t{}\t{}\n", rows[i], label(recorded[i]), label(used[i]), w[i]);
    return table;
  }
  int64_t evaluations() const override { return train_.features.numel() <= 100'000 ? 200 : 20; }

 private:
  torch::Tensor matrix(const torch::Tensor& y) const { return y.view({-1, classes_}); }

  ConvexFunction lower(const torch::Tensor& x) const {
    const torch::Tensor weight = torch::sigmoid(x.detach()).unsqueeze(1) / static_cast<double>(train_.rows());
    const torch::Tensor& a = train_.features;
    const auto value_and_gradient = [this, weight, a](const torch::Tensor& y) {
      const torch::Tensor logits = a.mm(matrix(y));
      const torch::Tensor losses =
          torch::logsumexp(logits, 1, /*keepdim=*/true) - (logits * train_target_).sum(1, true);
      const double value = ((weight * losses).sum() + kStrength * y.square().sum()).item<double>();
      const torch::Tensor residual = weight * (torch::softmax(logits, 1) - train_target_);
      return std::pair{value, a.t().mm(residual).flatten() + 2 * kStrength * y};
    };
    const auto solve = [this, weight, a](const torch::Tensor& y, const torch::Tensor& b, double tolerance) {
      const torch::Tensor p = torch::softmax(a.mm(matrix(y)), 1);
      const auto hessian = [&](const torch::Tensor& v) {
        const torch::Tensor change = p * a.mm(matrix(v));
        return a.t().mm(weight * (change - p * change.sum(1, true))).flatten() + 2 * kStrength * v;
      };
      const torch::Tensor diagonal = a.square().t().mm(weight * p * (1 - p)).flatten() + 2 * kStrength;
      return solve_by_conjugate_gradients(hessian, diagonal, b, tolerance);
    };
    return {value_and_gradient, solve};
  }

  ProblemDataOptions data_;
  double corruption_ = 0.5;
  bool standardize_ = true;
  int64_t batch_size_ = 0, classes_ = 0;
  std::vector<double> labels_;  // what the files call the classes
  LabelledRows train_, valid_;
  torch::Tensor recorded_;                     // the classes of the training rows before some were replaced
  torch::Tensor train_target_, valid_target_;  // one-hot
};

}  // namespace

KnownProblemEntry softmax_cleaning_entry() {
  return {"softmax-cleaning",
          "weights for rows with partly wrong labels, on LIBSVM or IDX files or generated rows",
          [] { return std::make_unique<SoftmaxCleaning>(); }};
}

}  // namespace bilevel
