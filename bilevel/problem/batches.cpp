#include "bilevel/problem/batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "bilevel/core/error.h"

namespace bilevel {
namespace {

/// Rows of each class in a batch: in proportion, except that, where the batch has room for every class, a
/// class of less than one row gets one at the others' cost, which may make further classes such.
std::vector<double> class_shares(const std::vector<std::vector<int64_t>>& strata, int64_t batch_size) {
  std::vector<double> shares(strata.size(), 0);
  const bool room = batch_size >= static_cast<int64_t>(strata.size());
  for (bool changed = true; changed;) {
    changed = false;
    auto left = static_cast<double>(batch_size);
    double members = 0;
    for (size_t k = 0; k < strata.size(); ++k) {
      if (shares[k] == 1) {
        left -= 1;
      } else {
        members += static_cast<double>(strata[k].size());
      }
    }
    for (size_t k = 0; k < strata.size(); ++k) {
      if (shares[k] == 1) continue;
      shares[k] = left * static_cast<double>(strata[k].size()) / members;
      if (room && shares[k] < 1) {
        shares[k] = 1;
        changed = true;
      }
    }
  }
  return shares;
}

/// Of a permutation of `size` rows; the rows drawn are the same in both types.
torch::ScalarType index_type(int64_t size) {
  return size <= std::numeric_limits<int32_t>::max() ? torch::kInt32 : torch::kInt64;
}

}  // namespace

BatchSource::BatchSource(std::shared_ptr<const DataSet> data, Rows items, const SamplingOptions& options,
                         const std::vector<int64_t>& strata, Batch::RowsOf rows_of)
    : data_(std::move(data)), rows_of_(std::move(rows_of)), with_replacement_(options.with_replacement) {
  if (items.empty()) throw InputError("a batch source needs at least one row");
  if (options.batch_size < 1)
    throw InputError(fmt::format("batch_size = {}: must be >= 1", options.batch_size));
  if (rows_of_ && !strata.empty()) throw InputError("a batch source has classes of rows, not of other items");
  const auto drawn = std::make_shared<Drawn>();
  drawn->items = std::move(items);
  drawn_ = drawn;
  batch_size_ = with_replacement_ ? options.batch_size : std::min<int64_t>(options.batch_size, size());
  if (strata.empty()) return;
  if (strata.size() != drawn->items.size()) throw InputError("a batch source needs one class for each row");
  std::vector<Rows>& classes = drawn->classes;
  for (size_t i = 0; i < strata.size(); ++i) {
    if (strata[i] < 0) throw InputError("class numbers of a batch source start at 0");
    if (static_cast<size_t>(strata[i]) >= classes.size()) classes.resize(static_cast<size_t>(strata[i]) + 1);
    classes[static_cast<size_t>(strata[i])].push_back(drawn->items[i]);
  }
  std::erase_if(classes, [](const Rows& one) { return one.empty(); });
  for (Rows& one : classes) one.shrink_to_fit();
  drawn->shares = class_shares(classes, batch_size_);
  std::vector<double> in_proportion;
  for (const Rows& one : classes) {
    in_proportion.push_back(static_cast<double>(batch_size_) * static_cast<double>(one.size()) /
                            static_cast<double>(size()));
  }
  if (drawn->shares == in_proportion) return;
  for (size_t k = 0; k < classes.size(); ++k) drawn->weights.push_back(in_proportion[k] / drawn->shares[k]);
}

BatchSource::BatchSource(std::function<Batch()> next)
    : next_(std::move(next)), data_(std::make_shared<DataSet>()), batch_size_(1), with_replacement_(true) {
  const auto drawn = std::make_shared<Drawn>();
  drawn->items = {0};
  drawn_ = drawn;
}

void BatchSource::check_draws_again() const {
  if (!draws_again()) {
    throw InputError(
        "the batches come from an iterator, which cannot go back: fixed samples, sums over all rows and "
        "checkpoints need data "
        "with rows");
  }
}

std::vector<Rows> BatchSource::slots(at::Generator& generator) const {
  check_draws_again();
  const auto count = static_cast<size_t>((size() + batch_size_ - 1) / batch_size_);
  if (count == 1) return {items()};
  std::vector<Rows> slots(count);
  size_t next = 0;  // goes on from class to class, which evens out the sizes
  for (size_t k = 0; k < strata(); ++k) {
    const Rows& stratum = this->stratum(k);
    const torch::Tensor order =
        torch::randperm(static_cast<int64_t>(stratum.size()), generator, torch::kInt64);
    const auto* index = order.data_ptr<int64_t>();
    for (size_t i = 0; i < stratum.size(); ++i) {
      slots[next++ % count].push_back(stratum[static_cast<size_t>(index[i])]);
    }
  }
  return slots;
}

Sampler::Sampler(BatchSource source, at::Generator generator)
    : source_(std::move(source)), generator_(std::move(generator)), strata_(source_.strata()) {}

Batch Sampler::next() {
  if (source_.next_) return source_.next_();
  if (source_.full_batch()) return source_.all();
  Rows items;
  items.reserve(static_cast<size_t>(source_.batch_size_));
  if (strata_.size() == 1) {
    draw(0, source_.batch_size_, items);
    return source_.gather(std::move(items));
  }
  // Largest remainder over time: each class is owed its share of the batch, gets the whole part, and the rows
  // left over go to the classes that are owed most.
  std::vector<int64_t> counts(strata_.size());
  const int64_t least = source_.batch_size_ >= static_cast<int64_t>(strata_.size()) ? 1 : 0;
  int64_t left = source_.batch_size_;
  for (size_t k = 0; k < strata_.size(); ++k) {
    strata_[k].owed += source_.drawn_->shares[k];
    counts[k] = std::max(least, static_cast<int64_t>(std::floor(strata_[k].owed)));
    left -= counts[k];
  }
  while (left != 0) {
    size_t chosen = strata_.size();
    const auto owed = [&](size_t k) { return strata_[k].owed - static_cast<double>(counts[k]); };
    for (size_t k = 0; k < strata_.size(); ++k) {
      if (left < 0 && counts[k] <= least) continue;
      if (chosen == strata_.size() || (left > 0 ? owed(k) > owed(chosen) : owed(k) < owed(chosen)))
        chosen = k;
    }
    counts[chosen] += left > 0 ? 1 : -1;
    left += left > 0 ? -1 : 1;
  }
  for (size_t k = 0; k < strata_.size(); ++k) {
    strata_[k].owed -= static_cast<double>(counts[k]);
    draw(k, counts[k], items);
  }
  torch::Tensor weights;
  const std::vector<double>& weight = source_.drawn_->weights;
  if (!weight.empty()) {
    weights = torch::empty({source_.batch_size_}, torch::kFloat64);
    int64_t begin = 0;
    for (size_t k = 0; k < strata_.size(); begin += counts[k++])
      weights.narrow(0, begin, counts[k]).fill_(weight[k]);
  }
  return source_.gather(std::move(items), std::move(weights));
}

void Sampler::draw(size_t k, int64_t count, Rows& items) {
  const Rows& members = source_.stratum(k);
  const auto size = static_cast<int64_t>(members.size());
  if (source_.with_replacement_) {
    const torch::Tensor picks = torch::randint(size, {count}, generator_, torch::kInt64);
    const auto* pick = picks.data_ptr<int64_t>();
    for (int64_t i = 0; i < count; ++i) items.push_back(members[static_cast<size_t>(pick[i])]);
    return;
  }
  Stratum& stratum = strata_[k];
  while (count > 0) {
    if (!stratum.order.defined() || stratum.cursor == size) {
      stratum.order = torch::randperm(size, generator_, index_type(size));
      stratum.cursor = 0;
    }
    const int64_t taken = std::min(count, size - stratum.cursor);
    const auto take = [&]<typename Index>(const Index* order) {
      for (int64_t i = 0; i < taken; ++i) items.push_back(members[static_cast<size_t>(order[i])]);
    };
    if (stratum.order.scalar_type() == torch::kInt32)
      take(stratum.order.const_data_ptr<int32_t>() + stratum.cursor);
    else
      take(stratum.order.const_data_ptr<int64_t>() + stratum.cursor);
    stratum.cursor += taken;
    count -= taken;
  }
}

void Sampler::state(State& state) {
  source_.check_draws_again();
  for (size_t k = 0; k < strata_.size(); ++k) {
    state.scope("stratum" + std::to_string(k), [&](State& inner) {
      Stratum& stratum = strata_[k];
      const auto size = static_cast<int64_t>(source_.stratum(k).size());
      if (!stratum.order.defined()) stratum.order = torch::empty({0}, index_type(size));
      inner.tensor("order", stratum.order);
      if (stratum.order.numel() == 0) stratum.order = torch::Tensor();
      inner.value("cursor", stratum.cursor);
      inner.value("owed", stratum.owed);
      if (inner.loading() && stratum.order.defined() && stratum.order.numel() != size) {
        throw FileError(fmt::format("the checkpoint's batches come from {} rows, this problem's from {}",
                                    stratum.order.numel(), size));
      }
    });
  }
}

BatchSource shuffled(const std::vector<torch::Tensor>& inputs, const torch::Tensor& targets,
                     const SamplingOptions& options) {
  std::shared_ptr<const DataSet> data = data_set(inputs, targets);
  Rows rows(static_cast<size_t>(inputs[0].size(0)));
  std::iota(rows.begin(), rows.end(), 0);
  return BatchSource(std::move(data), std::move(rows), options);
}

BatchSource shuffled(const std::vector<torch::Tensor>& inputs, const SamplingOptions& options) {
  return shuffled(inputs, torch::Tensor(), options);
}

BatchSource full_batch(const std::vector<torch::Tensor>& inputs, const torch::Tensor& targets) {
  return shuffled(inputs, targets, {.batch_size = std::numeric_limits<int64_t>::max()});
}

BatchSource no_data() {
  const auto none = [](const Rows&) { return std::vector<torch::Tensor>(); };
  return BatchSource(std::make_shared<DataSet>(DataSet{.inputs = none}), {0}, {.batch_size = 1});
}

}  // namespace bilevel
