#include "bilevel/problem/batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>

#include "bilevel/core/device.h"
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
    return everything ? tensor : tensor.index_select(0, index_on(tensor.device(), rows));
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

const std::shared_ptr<Batch::Contents>& Batch::nothing() {
  static const auto empty = std::make_shared<Contents>();
  return empty;
}

Batch::Batch(std::shared_ptr<const DataSet> data, Rows items, const RowsOf& rows_of, torch::Tensor weights)
    : contents_(std::make_shared<Contents>()) {
  contents_->data = std::move(data);
  contents_->items = std::move(items);
  contents_->weights = std::move(weights);
  if (!rows_of) return;
  contents_->rows_of = rows_of;
  contents_->rows = rows_of(contents_->items);
}

Batch::Batch(std::vector<torch::Tensor> inputs, torch::Tensor targets, Rows rows)
    : contents_(std::make_shared<Contents>()) {
  if (!inputs.empty()) contents_->device = inputs[0].device();
  contents_->items = std::move(rows);
  contents_->inputs = std::move(inputs);
  contents_->targets = std::move(targets);
}

void Batch::Contents::move_inputs() {
  const size_t moved = std::min(inputs->size(), data ? data->moved_inputs : inputs->size());
  for (size_t i = 0; i < moved; ++i) (*inputs)[i] = to_device((*inputs)[i], device);
}

const std::vector<torch::Tensor>& Batch::inputs() const {
  Contents& c = *contents_;
  if (!c.inputs) {
    c.inputs = c.data ? c.data->inputs(rows()) : std::vector<torch::Tensor>();
    c.move_inputs();
  }
  return *c.inputs;
}

bool Batch::has_targets() const {
  const Contents& c = *contents_;
  return c.data ? static_cast<bool>(c.data->targets) : c.targets && c.targets->defined();
}

const torch::Tensor& Batch::targets() const {
  if (!has_targets()) throw InputError("a loss reads the targets of its batch, but its data set has none");
  Contents& c = *contents_;
  if (!c.targets) c.targets = to_device(c.data->targets(rows()), c.device);
  return *c.targets;
}

const torch::Tensor& Batch::weights() const { return contents_->weights; }

const torch::Tensor& Batch::numbers() const {
  Contents& c = *contents_;
  if (!c.numbers.defined()) c.numbers = index_on(c.device, rows());
  return c.numbers;
}

Batch Batch::to(const torch::Device& device) const {
  if (device == contents_->device) return *this;
  Batch moved;
  moved.contents_ = std::make_shared<Contents>(*contents_);
  Contents& c = *moved.contents_;
  c.device = device;
  const auto move = [&](torch::Tensor& tensor) {
    if (tensor.defined()) tensor = to_device(tensor, device);
  };
  move(c.weights);
  move(c.numbers);
  if (c.targets) move(*c.targets);
  if (c.inputs) c.move_inputs();
  return moved;
}

Batch Batch::share(int64_t part, int64_t of) const {
  if (part < 0 || part >= of) throw InputError(fmt::format("share {} of {}: there is none", part, of));
  const Contents& c = *contents_;
  if (!c.data) throw std::logic_error("a batch of tensors has no shares");
  Rows items, places;
  for (int64_t i = part; i < static_cast<int64_t>(c.items.size()); i += of) {
    items.push_back(c.items[static_cast<size_t>(i)]);
    places.push_back(i);
  }
  const torch::Tensor& all = c.weights;
  const torch::Tensor weights = all.defined() ? all.index_select(0, index_on(all.device(), places)) : all;
  return Batch(c.data, std::move(items), c.rows_of, weights).to(c.device);
}

std::optional<Batch> Batch::joined(const Batch& a, const Batch& b) {
  Rows rows = concatenated(a.rows(), b.rows());
  const Contents& c = *a.contents_;
  if (c.data && c.data == b.contents_->data) return Batch(c.data, std::move(rows)).to(c.device);
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
