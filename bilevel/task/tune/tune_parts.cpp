// A TuneModel of several: one for each fold and one for all rows, or one whose strengths follow from evidence.
#include <fmt/format.h>
#include <torch/types.h>

#include <cmath>
#include <utility>

#include "bilevel/core/error.h"
#include "bilevel/task/job/feature_squares.h"
#include "bilevel/task/job/shared_columns.h"
#include "bilevel/task/tune/tune_evidence.h"
#include "bilevel/task/tune/tune_model.h"

namespace bilevel {

int64_t TuneModel::models() const { return parts_ ? static_cast<int64_t>(parts_->size()) : 1; }

size_t TuneModel::judged() const { return data_->folds.empty() ? parts_->size() : parts_->size() - 1; }

void TuneModel::make_parts(const InputShape& whole) {
  // What no training row has gets no weight: hashed n-grams leave most of their buckets empty.
  InputShape shape = whole;
  Inputs inputs = data_->inputs;
  if (inputs.kind() == InputKind::sparse) {
    columns_ = (quarter_squares(inputs, data_->train, whole.width) > 0).nonzero().squeeze(1);
    shape.width = columns_.numel();
    inputs = narrowed(inputs, columns_, whole.width);
  }
  TuneModelOptions options = options_;
  const bool by_evidence = options.kind == TuneKind::l2_by_evidence;
  if (by_evidence) options.kind = TuneKind::l2_per_feature;
  auto parts = std::make_shared<std::vector<Part>>();
  const auto add = [&](const std::vector<int64_t>& train, const std::vector<int64_t>& valid) {
    TuneModel model(options, shape, {inputs, data_->classes, train, valid});
    model.inner_ = true;
    torch::Tensor evidence;
    if (by_evidence)
      evidence = feature_evidence(inputs, train, data_->classes, shape.width, classes_)
                     .to(model.x_.options().requires_grad(false));
    parts->push_back({std::move(model), evidence});
  };
  for (const Fold& fold : data_->folds) add(fold.others, fold.judged);
  add(data_->train, data_->valid);
  fold_of_.assign(data_->folds.empty() ? 0 : data_->classes.size(), -1);
  for (size_t k = 0; k < data_->folds.size(); ++k)
    for (const int64_t row : data_->folds[k].judged)
      fold_of_.at(static_cast<size_t>(row)) = static_cast<int64_t>(k);
  lower_ = {};
  for (size_t k = 0; k < parts->size(); ++k) {
    const ParameterList& own = (*parts)[k].model.lower_;
    for (size_t i = 0; i < own.size(); ++i) {
      lower_.add(k < data_->folds.size() ? fmt::format("fold{}.{}", k + 1, own.names[i]) : own.names[i],
                 own[i]);
    }
  }
  parts_ = std::move(parts);
}

namespace {

/// x of a part, from that of the whole.
torch::Tensor part_x(const torch::Tensor& x, const torch::Tensor& evidence) {
  if (!evidence.defined()) return x;
  return torch::cat({x.narrow(0, 0, 1), x.narrow(0, 1, kEvidence).unsqueeze(0).mm(evidence).squeeze(0)});
}

}  // namespace

TuneModel TuneModel::at(const Part& part, const torch::Tensor& x) const {
  TuneModel model = part.model;
  model.x_ = part_x(x, part.evidence);
  return model;
}

TuneModel TuneModel::last() const { return at(parts_->back(), x_.detach()); }

torch::Tensor TuneModel::widened(const torch::Tensor& of_columns, const torch::Scalar& other) const {
  if (!columns_.defined()) return of_columns;
  std::vector<int64_t> sizes = of_columns.sizes().vec();
  sizes[0] = width_;
  return torch::full(sizes, other, of_columns.options())
      .index_copy_(0, columns_.to(of_columns.device()), of_columns);
}

torch::Tensor TuneModel::slopes() const {
  const int64_t count = options_.kind == TuneKind::l2_by_evidence ? kEvidence : 0;
  return x_.detach().slice(0, 1, 1 + count).to(torch::kCPU, torch::kFloat64);
}

torch::Tensor TuneModel::held_out() const {
  if (!parts_ || data_->folds.empty()) return probabilities(data_->valid);
  std::vector<torch::Tensor> predicted;
  std::vector<int64_t> place(data_->classes.size(), 0);  // of a row among the predicted ones
  int64_t count = 0;
  for (size_t k = 0; k < judged(); ++k) {
    const std::vector<int64_t>& rows = data_->folds[k].judged;
    predicted.push_back(at((*parts_)[k], x_.detach()).probabilities(rows));
    for (const int64_t row : rows) place[static_cast<size_t>(row)] = count++;
  }
  std::vector<int64_t> order;
  for (const int64_t row : data_->valid) order.push_back(place[static_cast<size_t>(row)]);
  return torch::cat(predicted).index_select(0, torch::tensor(order, torch::kInt64));
}

Batch TuneModel::rows_of(const Batch& batch, size_t part, bool upper) const {
  const std::shared_ptr<const DataSet>& data = parts_->front().model.set_;
  const Rows& all = batch.rows();
  if (fold_of_.empty()) return Batch(data, all, nullptr, batch.weights()).to(options_.device);
  const auto fold = static_cast<int64_t>(part);
  const torch::Tensor given = batch.weights().defined()
                                  ? batch.weights().to(torch::kCPU, torch::kFloat64).contiguous()
                                  : torch::ones({batch.size()}, torch::kFloat64);
  Rows rows;
  std::vector<double> weights;
  for (size_t i = 0; i < all.size(); ++i) {
    if ((fold_of_[static_cast<size_t>(all[i])] == fold) != upper) continue;
    rows.push_back(all[i]);
    weights.push_back(given.const_data_ptr<double>()[i]);
  }
  if (rows.empty()) {  // by chance: it adds nothing
    rows.push_back(all.front());
    weights.push_back(0);
  }
  const double trained = upper ? 1.0
                               : static_cast<double>(data_->train.size()) /
                                     static_cast<double>((*parts_)[part].model.data_->train.size());
  const torch::Tensor scaled = torch::tensor(weights, torch::kFloat64) * trained *
                               (static_cast<double>(rows.size()) / static_cast<double>(all.size()));
  return Batch(data, std::move(rows), nullptr, scaled).to(options_.device);
}

torch::Tensor TuneModel::folded_loss(const Batch& batch, bool upper) const {
  torch::Tensor sum = upper ? prior() : torch::zeros({}, x_.options().requires_grad(false));
  for (size_t k = 0; k < (upper ? judged() : parts_->size()); ++k) {
    const TuneModel model = at((*parts_)[k], x_);
    const Batch rows = rows_of(batch, k, upper);
    sum = sum + (upper ? model.judging_loss(rows) : model.lower_loss(rows));
  }
  return sum;
}

namespace {

/// A level of a model of several: its parts' derivatives, each at its own x, y and rows.
struct FoldedLevel {
  struct One {
    torch::Tensor evidence;                      // undefined: its x is the whole's
    std::function<Batch(const Batch&)> rows_of;  // those it reads
    std::function<std::unique_ptr<Derivatives>()> make;
    int64_t size = 0;  // of its y
  };
  std::vector<One> parts;
  double prior = 0;  // of x behind m, about the centre
  torch::Tensor centre;
};

class FoldedPoint : public PointDerivatives {
 public:
  struct One {
    const FoldedLevel::One* of;
    torch::Tensor x, y;
    Batch rows;
    std::unique_ptr<PointDerivatives> point;
    int64_t first;
  };

  FoldedPoint(const FoldedLevel& level, torch::Tensor x, std::vector<One> parts)
      : level_(level), x_(std::move(x)), parts_(std::move(parts)) {}

  double value() override {
    double sum = level_.prior / 2 * distance().square().sum().item<double>();
    for (One& one : parts_) sum += one.point->value();
    return sum;
  }

  void gradient(const Into& x, const Into& y) override {
    for (One& one : parts_) {
      each(one, x, y, [&](const Into& in_x, const Into& in_y) { one.point->gradient(in_x, in_y); });
    }
    if (x.out != nullptr && level_.prior > 0)
      x.out->narrow(0, 1, level_.centre.numel()).add_(distance(), x.scale * level_.prior);
  }

  void products(const torch::Tensor& v, const Into& cross_vjp, const Into& hvp) override {
    for (One& one : parts_) {
      const torch::Tensor along = v.narrow(0, one.first, one.of->size);
      each(one, cross_vjp, hvp,
           [&](const Into& in_x, const Into& in_y) { one.point->products(along, in_x, in_y); });
    }
  }

 private:
  torch::Tensor distance() const { return x_.narrow(0, 1, level_.centre.numel()) - level_.centre; }

  /// What is added in a part's x and y, added in those of the whole.
  template <typename Add>
  static void each(const One& one, const Into& x, const Into& y, const Add& add) {
    torch::Tensor of_y, of_x;
    Into in_x = x, in_y = y;
    if (y.out != nullptr) {
      of_y = y.out->narrow(0, one.first, one.of->size);
      in_y.out = &of_y;
    }
    const bool mapped = x.out != nullptr && one.of->evidence.defined();
    if (mapped) {
      of_x = torch::zeros_like(one.x);
      in_x.out = &of_x;
    }
    add(in_x, in_y);
    if (!mapped) return;
    x.out->narrow(0, 0, 1).add_(of_x.narrow(0, 0, 1));
    x.out->narrow(0, 1, kEvidence).add_(one.of->evidence.mv(of_x.slice(0, 1)));
  }

  const FoldedLevel& level_;
  const torch::Tensor x_;
  std::vector<One> parts_;
};

class FoldedDerivatives : public Derivatives {
 public:
  explicit FoldedDerivatives(FoldedLevel level) : level_(std::move(level)) {
    for (const FoldedLevel::One& part : level_.parts) made_.push_back(part.make());
  }

  std::unique_ptr<PointDerivatives> at(const Batch& batch, const torch::Tensor& x,
                                       const torch::Tensor& y) override {
    if (!last_x_.defined() || !last_x_.equal(x)) {
      last_x_ = x.clone();
      of_parts_.clear();
      for (const FoldedLevel::One& part : level_.parts)
        of_parts_.push_back(part_x(last_x_, part.evidence).contiguous());
    }
    std::vector<FoldedPoint::One> points;
    int64_t first = 0;
    for (size_t k = 0; k < level_.parts.size(); ++k) {
      const FoldedLevel::One& part = level_.parts[k];
      FoldedPoint::One one{&part,   of_parts_[k], y.narrow(0, first, part.size), part.rows_of(batch),
                           nullptr, first};
      one.point = made_[k]->at(one.rows, one.x, one.y);
      points.push_back(std::move(one));
      first += part.size;
    }
    return std::make_unique<FoldedPoint>(level_, last_x_, std::move(points));
  }

 private:
  const FoldedLevel level_;
  std::vector<std::unique_ptr<Derivatives>> made_;
  torch::Tensor last_x_;
  std::vector<torch::Tensor> of_parts_;
};

}  // namespace

auto TuneModel::folded_derivatives() const -> std::pair<MakeDerivatives, MakeDerivatives> {
  const TuneModel& some = parts_->front().model;
  const DesignRows design(some.data_->inputs.matrix(), some.lower_[0].size(0), some.lower_[0].scalar_type());
  FoldedLevel upper{.parts = {}, .prior = prior_strength(), .centre = centre_},
      lower{.parts = {}, .centre = centre_};
  for (size_t k = 0; k < parts_->size(); ++k) {
    const Part& part = (*parts_)[k];
    const auto [of_upper, of_lower] = part.model.own_derivatives(design);
    const auto reads = [model = *this, k](bool above) {
      return [model, k, above](const Batch& batch) { return model.rows_of(batch, k, above); };
    };
    const int64_t size = part.model.flat_y().numel();
    lower.parts.push_back({part.evidence, reads(false), of_lower, size});
    if (k < judged()) upper.parts.push_back({part.evidence, reads(true), of_upper, size});
  }
  return {[upper]() -> std::unique_ptr<Derivatives> { return std::make_unique<FoldedDerivatives>(upper); },
          [lower]() -> std::unique_ptr<Derivatives> { return std::make_unique<FoldedDerivatives>(lower); }};
}

}  // namespace bilevel
