// Where batches come from: rows of a data set, drawn by named random streams.
#pragma once

#include <ATen/core/Generator.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "bilevel/core/state.h"
#include "bilevel/problem/batch.h"

namespace bilevel {

/// How rows are drawn into batches.
struct SamplingOptions {
  int64_t batch_size = 32;  ///< rows a batch; more than there are rows means all rows
  /// False: walk through a random permutation, then through a fresh one; a batch that meets the end is
  /// completed from the next permutation, so every batch has `batch_size` rows. True: independent uniform
  /// draws.
  bool with_replacement = false;
};

/// A description of a stream of batches over a data set: which rows, and how they are drawn. It holds no position and is
/// cheap to copy; every consumer draws through a `Sampler` of its own.
class BatchSource {
 public:
  BatchSource() = default;

  /// Draws from `items`, rows of `data`. When `strata` are given (one class number for each item, from 0), every batch holds
  /// the classes in their proportion, rounded so that over many batches every class has its exact share, and at least one row
  /// of each class where the batch size allows: a class whose proportion is less than one row a batch then has exactly one,
  /// and the others divide the rest in proportion. The batches then have `Batch::weights`: the class's share in the data
  /// divided by its share in the batches over time (not in the one batch, where the counts vary). So over any number T of
  /// batches that holds every row of a class equally often and every class in its share s_k / B of the rows (T s_k / n_k
  /// whole), the mean of a `weighted_mean` is the mean over all rows.
  /// @param rows_of the rows that items stand for, where items are not rows, such as drawn tasks; not beside strata
  /// Throws InputError when there are no items or the batch size is below 1.
  BatchSource(std::shared_ptr<const DataSet> data, Rows items, const SamplingOptions& options,
              const std::vector<int64_t>& strata = {}, Batch::RowsOf rows_of = nullptr);

  /// Batches that somebody else makes, one after the other, for data without rows that could be drawn again: whatever needs
  /// all of them, fixed slots or a checkpoint throws InputError. `next` serves every consumer; it throws where there is no more.
  explicit BatchSource(std::function<Batch()> next);

  explicit operator bool() const { return static_cast<bool>(data_); }
  /// False for batches that somebody else makes.
  bool draws_again() const { return next_ == nullptr; }
  const std::shared_ptr<const DataSet>& data() const { return data_; }
  /// Items that are drawn from; items in one batch.
  int64_t size() const { return static_cast<int64_t>(items().size()); }
  int64_t batch_size() const { return batch_size_; }
  /// True when a batch always is the whole data set (a deterministic oracle).
  bool full_batch() const { return batch_size_ == size() && !with_replacement_; }
  /// The items dealt into batches once and for all, each class round-robin in random order, so that every slot
  /// has the classes in proportion; ceil(size / batch size) slots, whose sizes differ by at most one item. Every item
  /// stands in one slot, so means over slots, each counted by its size, need no weights.
  std::vector<Rows> slots(at::Generator& generator) const;
  /// All items as one batch, in their order; the batch of given items.
  Batch all() const { return gather(items()); }
  Batch gather(Rows items, torch::Tensor weights = {}) const {
    check_draws_again();
    return Batch(data_, std::move(items), rows_of_, std::move(weights));
  }

 private:
  friend class Sampler;
  void check_draws_again() const;
  std::function<Batch()> next_;
  std::shared_ptr<const DataSet> data_;
  Batch::RowsOf rows_of_;
  /// What copies share: millions of rows are kept once.
  struct Drawn {
    Rows items;
    std::vector<Rows> classes;    // items by class, where there are classes
    std::vector<double> shares;   // items of each class in a batch, on average
    std::vector<double> weights;  // what an item of each class counts; empty where all are 1
  };
  const Rows& items() const { return drawn_->items; }
  size_t strata() const { return std::max<size_t>(1, drawn_->classes.size()); }
  const Rows& stratum(size_t k) const { return drawn_->classes.empty() ? drawn_->items : drawn_->classes[k]; }

  std::shared_ptr<const Drawn> drawn_ = std::make_shared<Drawn>();
  int64_t batch_size_ = 0;
  bool with_replacement_ = false;
};

/// A position in the stream of batches of one consumer.
class Sampler {
 public:
  Sampler(BatchSource source, at::Generator generator);
  Batch next();
  void state(State& state);

 private:
  struct Stratum {
    torch::Tensor order;  // a permutation of the stratum's indices, in 32 bits where they suffice
    int64_t cursor = 0;
    double owed = 0;  // fraction of a row that earlier batches still owe to this class
  };
  void draw(size_t stratum, int64_t count, std::vector<int64_t>& rows);

  BatchSource source_;
  at::Generator generator_;
  std::vector<Stratum> strata_;
};

/// Batches over tensors that share their first dimension, the rows: see `data_set`.
BatchSource shuffled(const std::vector<torch::Tensor>& inputs, const torch::Tensor& targets,
                     const SamplingOptions& options = {});
BatchSource shuffled(const std::vector<torch::Tensor>& inputs, const SamplingOptions& options = {});

/// Batches that always are the whole data set.
BatchSource full_batch(const std::vector<torch::Tensor>& inputs, const torch::Tensor& targets = {});

/// A source without data, for deterministic problems: its batch has one row, without tensors.
BatchSource no_data();

}  // namespace bilevel
