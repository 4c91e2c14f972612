// Rows of a data set, and a batch of them.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

namespace bilevel {

/// Numbers of rows, from 0.
using Rows = std::vector<int64_t>;

/// A data set: what the rows with given numbers look like. Both functions answer the same for the same rows; tensors may lie
/// on any device.
struct DataSet {
  /// What a model reads, for instance {x [rows, d]}, or {ids [rows, T], lengths [rows]}.
  std::function<std::vector<torch::Tensor>(const Rows&)> inputs;
  /// What it should give, with one entry a row; null: there are none.
  std::function<torch::Tensor(const Rows&)> targets = nullptr;
  /// How many of the inputs go to the device of a batch. The others stay on the host, such as the lengths of texts, which a
  /// model needs as sizes.
  size_t moved_inputs = std::numeric_limits<size_t>::max();
};

/// The data set whose rows are those of tensors; all rows in their order are the tensors themselves, without a copy. `targets`
/// may be undefined. Throws InputError when there is no tensor or their first dimensions differ.
std::shared_ptr<const DataSet> data_set(const std::vector<torch::Tensor>& inputs,
                                        const torch::Tensor& targets = {});

/// A mini-batch: rows of a data set, gathered and moved when something is first asked for. What was drawn, items, need not be
/// rows: one drawn task may stand for many. Copies share their rows and what they have gathered.
class Batch {
 public:
  using RowsOf = std::function<Rows(const Rows& items)>;

  Batch() : contents_(nothing()) {}
  /// @param rows_of the rows of the items; null: an item is a row
  /// @param weights see `weights()`; [rows] or undefined
  Batch(std::shared_ptr<const DataSet> data, Rows items, const RowsOf& rows_of = nullptr,
        torch::Tensor weights = {});
  /// Tensors that are there already, with one row for each entry of `rows`.
  Batch(std::vector<torch::Tensor> inputs, torch::Tensor targets, Rows rows);

  /// What the source drew, and the rows of the data set that this is.
  const Rows& items() const { return contents_->items; }
  const Rows& rows() const { return contents_->rows ? *contents_->rows : contents_->items; }
  /// Number of rows.
  int64_t size() const { return static_cast<int64_t>(rows().size()); }

  const std::vector<torch::Tensor>& inputs() const;
  /// The i-th of the inputs. Throws std::out_of_range.
  const torch::Tensor& input(size_t i = 0) const { return inputs().at(i); }
  /// Throws InputError where the data set has none.
  const torch::Tensor& targets() const;
  bool has_targets() const;
  /// What each row counts in a mean over the batch, float64 [rows]; undefined: all the same. A batch that holds the classes
  /// in other shares than the data do has them (see BatchSource), and a loss is then an unbiased estimate of the loss on all
  /// rows only as a `weighted_mean`.
  const torch::Tensor& weights() const;
  /// The numbers of the rows, int64 [rows], for something kept per row, such as its weight.
  const torch::Tensor& numbers() const;

  /// The same batch with its tensors on `device`.
  Batch to(const torch::Device& device) const;
  /// Every `of`-th item, from number `part`: for whoever takes a share of the work. The shares' losses, weighted by their
  /// numbers of rows, have the batch's as their mean. Throws InputError unless 0 <= part < of, and std::logic_error for a batch
  /// of tensors.
  Batch share(int64_t part, int64_t of) const;
  /// The rows of both, those of `a` first, where one data set has them; otherwise the inputs one after the other where their
  /// shapes allow; otherwise nothing.
  static std::optional<Batch> joined(const Batch& a, const Batch& b);

 private:
  struct Contents {
    std::shared_ptr<const DataSet> data;  // null: what is gathered is everything
    RowsOf rows_of;
    Rows items;
    std::optional<Rows> rows;  // none: the items
    torch::Device device = torch::kCPU;
    std::optional<std::vector<torch::Tensor>> inputs;  // this and what follows: once gathered
    std::optional<torch::Tensor> targets;
    torch::Tensor weights, numbers;

    void move_inputs();
  };
  static const std::shared_ptr<Contents>& nothing();

  std::shared_ptr<Contents> contents_;
};

/// mean_i(weights_i values_i), the sum divided by the number of rows, not by that of the weights; the plain mean
/// where `weights` is undefined.
/// @param values [rows]; @param weights [rows], of any dtype and device, or undefined
torch::Tensor weighted_mean(const torch::Tensor& values, const torch::Tensor& weights);

}  // namespace bilevel
