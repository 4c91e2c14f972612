#include "bilevel/problem/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

/// Both, one after the other; undefined when their other dimensions differ or they do not have these rows.
torch::Tensor stacked(const torch::Tensor& a, const torch::Tensor& b, int64_t rows_of_a, int64_t rows_of_b) {
  if (a.dim() < 1 || a.dim() != b.dim() || a.size(0) != rows_of_a || b.size(0) != rows_of_b ||
      a.sizes().slice(1) != b.sizes().slice(1) || a.scalar_type() != b.scalar_type()) {
    return {};
  }
  return torch::cat({a, b});
}

Rows concatenated(Rows a, const Rows& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

std::shared_ptr<const DataSet> data_set(const std::vector<torch::Tensor>& inputs,
                                        const torch::Tensor& targets) {
  if (inputs.empty()) throw InputError("a data set needs at least one tensor");
  const int64_t count = inputs[0].dim() < 1 ? -1 : inputs[0].size(0);
  const auto fits = [&](const torch::Tensor& tensor) { return tensor.dim() >= 1 && tensor.size(0) == count; };
  if (!std::all_of(inputs.begin(), inputs.end(), fits) || (targets.defined() && !fits(targets))) {
    throw InputError("the tensors of a data set must share their first dimension, the rows");
  }
  const auto pick = [count](const torch::Tensor& tensor, const Rows& rows) {
    const bool everything = static_cast<int64_t>(rows.size()) == count &&
                            std::is_sorted(rows.begin(), rows.end()) &&
                            std::adjacent_find(rows.begin(), rows.end()) == rows.end();
    return everything ? tensor
                      : tensor.index_select(0, torch::tensor(rows, torch::kInt64).to(tensor.device()));
  };
  const auto data = std::make_shared<DataSet>();
  data->inputs = [inputs, pick](const Rows& rows) {
    std::vector<torch::Tensor> picked;
    for (const torch::Tensor& tensor : inputs) picked.push_back(pick(tensor, rows));
    return picked;
  };
  if (targets.defined()) data->targets = [targets, pick](const Rows& rows) { return pick(targets, rows); };
  return data;
}

Batch::Batch(std::shared_ptr<const DataSet> data, Rows items, const RowsOf& rows_of, torch::Tensor weights)
    : data_(std::move(data)),
      rows_of_(rows_of),
      items_(std::make_shared<const Rows>(std::move(items))),
      rows_(rows_of ? std::make_shared<const Rows>(rows_of(*items_)) : items_) {
  gathered_->weights = std::move(weights);
}

Batch::Batch(std::vector<torch::Tensor> inputs, torch::Tensor targets, Rows rows)
    : items_(std::make_shared<const Rows>(std::move(rows))), rows_(items_) {
  if (!inputs.empty()) device_ = inputs[0].device();
  gathered_->inputs = std::move(inputs);
  gathered_->targets = std::move(targets);
}

const std::vector<torch::Tensor>& Batch::inputs() const {
  if (!gathered_->inputs) {
    std::vector<torch::Tensor> inputs = data_ ? data_->inputs(*rows_) : std::vector<torch::Tensor>();
    for (torch::Tensor& input : inputs) input = input.to(device_);
    gathered_->inputs = std::move(inputs);
  }
  return *gathered_->inputs;
}

bool Batch::has_targets() const {
  return data_ ? static_cast<bool>(data_->targets) : gathered_->targets && gathered_->targets->defined();
}

const torch::Tensor& Batch::targets() const {
  if (!has_targets()) throw InputError("a loss reads the targets of its batch, but its data set has none");
  if (!gathered_->targets) gathered_->targets = data_->targets(*rows_).to(device_);
  return *gathered_->targets;
}

const torch::Tensor& Batch::weights() const { return gathered_->weights; }

const torch::Tensor& Batch::numbers() const {
  if (!gathered_->numbers.defined()) gathered_->numbers = torch::tensor(*rows_, torch::kInt64).to(device_);
  return gathered_->numbers;
}

Batch Batch::to(const torch::Device& device) const {
  if (device == device_) return *this;
  Batch moved = *this;
  moved.device_ = device;
  moved.gathered_ = std::make_shared<Gathered>();
  const auto there = [&](const torch::Tensor& tensor) {
    return tensor.defined() ? tensor.to(device) : tensor;
  };
  moved.gathered_->weights = there(gathered_->weights);
  if (gathered_->targets) moved.gathered_->targets = there(*gathered_->targets);
  if (gathered_->inputs) {
    moved.gathered_->inputs.emplace();
    for (const torch::Tensor& input : *gathered_->inputs) moved.gathered_->inputs->push_back(there(input));
  }
  return moved;
}

Batch Batch::share(int64_t part, int64_t of) const {
  if (part < 0 || part >= of) throw InputError(fmt::format("share {} of {}: there is none", part, of));
  if (!data_) throw std::logic_error("a batch of tensors has no shares");
  Rows items, places;
  for (int64_t i = part; i < static_cast<int64_t>(items_->size()); i += of) {
    items.push_back((*items_)[static_cast<size_t>(i)]);
    places.push_back(i);
  }
  const torch::Tensor& all = gathered_->weights;
  const torch::Tensor weights =
      all.defined() ? all.index_select(0, torch::tensor(places, torch::kInt64).to(all.device())) : all;
  return Batch(data_, std::move(items), rows_of_, weights).to(device_);
}

std::optional<Batch> Batch::joined(const Batch& a, const Batch& b) {
  Rows rows = concatenated(a.rows(), b.rows());
  if (a.data_ && a.data_ == b.data_) return Batch(a.data_, std::move(rows)).to(a.device_);
  if (a.inputs().size() != b.inputs().size()) return std::nullopt;
  std::vector<torch::Tensor> inputs;
  for (size_t i = 0; i < a.inputs().size(); ++i) {
    inputs.push_back(stacked(a.input(i), b.input(i), a.size(), b.size()));
    if (!inputs.back().defined()) return std::nullopt;
  }
  torch::Tensor targets;
  if (a.has_targets() && b.has_targets()) targets = stacked(a.targets(), b.targets(), a.size(), b.size());
  return Batch(std::move(inputs), std::move(targets), std::move(rows));
}

torch::Tensor weighted_mean(const torch::Tensor& values, const torch::Tensor& weights) {
  return weights.defined() ? (weights.to(values.options()) * values).mean() : values.mean();
}

}  // namespace bilevel
