#include "bilevel/task/problem_data.h"

#include <ATen/CPUGeneratorImpl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "bilevel/core/error.h"
#include "bilevel/core/streams.h"
#include "bilevel/data/idx.h"
#include "bilevel/data/libsvm.h"

namespace bilevel {

namespace {

/// A file before its labels have become classes.
struct RawRows {
  std::vector<double> labels;
  torch::Tensor numbers;  // see LabelledRows
  int64_t width = 0;
  std::function<torch::Tensor(const torch::Tensor& index)> features;  // float64 [index, width of all files]
  std::function<std::string(size_t row)> where;  // the file and the place of a row's label

  int64_t rows() const { return static_cast<int64_t>(labels.size()); }
};

/// `width`: see by the features when they are asked for, because the other file may be wider.
RawRows read_rows(const std::string& file, const std::string& labels, const std::shared_ptr<int64_t>& width) {
  RawRows raw;
  if (labels.empty()) {
    auto table = std::make_shared<SparseTable>(read_libsvm(file, {.double_precision = true}));
    raw.labels = table->labels;
    raw.numbers = torch::tensor(table->lines, torch::kInt64);
    raw.width = table->features.width;
    raw.features = [table, width](const torch::Tensor& index) {
      const auto* row = index.data_ptr<int64_t>();
      SparseRows chosen = table->features.select(std::vector<int64_t>(row, row + index.numel()));
      chosen.width = *width;
      return chosen.to_dense();
    };
    raw.where = [table](size_t row) { return fmt::format("{}:{}:1", table->path, table->lines[row]); };
    return raw;
  }
  const LabelledArray array = read_labelled_idx(file, labels);
  const torch::Tensor examples = array.examples.flatten(1);
  const auto* label = array.labels.data_ptr<int64_t>();
  raw.labels.assign(label, label + array.labels.numel());
  raw.numbers = torch::arange(1, raw.rows() + 1, torch::kInt64);
  raw.width = examples.size(1);
  raw.features = [examples](const torch::Tensor& index) {
    return examples.index_select(0, index).to(torch::kFloat64);
  };
  raw.where = [labels](size_t row) { return fmt::format("{}: label {}", labels, row + 1); };
  return raw;
}

/// Some of a file's rows.
LabelledRows rows_of(const RawRows& raw, const torch::Tensor& classes, const torch::Tensor& index) {
  return {raw.features(index), classes.index_select(0, index), raw.numbers.index_select(0, index)};
}

/// Class numbers by position in `labels`.
torch::Tensor classes_of(const RawRows& raw, const std::vector<double>& labels, const std::string& train) {
  std::vector<int64_t> classes;
  for (size_t i = 0; i < raw.labels.size(); ++i) {
    const auto found = std::lower_bound(labels.begin(), labels.end(), raw.labels[i]);
    if (found == labels.end() || *found != raw.labels[i]) {
      throw InputError(
          fmt::format("{}: no row of {} has the label {:g}", raw.where(i), train, raw.labels[i]));
    }
    classes.push_back(found - labels.begin());
  }
  return torch::tensor(classes, torch::kInt64);
}

std::vector<double> distinct_labels(const RawRows& raw, const std::string& file) {
  std::set<double> distinct;
  for (size_t i = 0; i < raw.labels.size(); ++i) {
    if (raw.labels[i] != std::floor(raw.labels[i])) {
      throw InputError(fmt::format("{}: the label {:g} is no class: it must be a whole number", raw.where(i),
                                   raw.labels[i]));
    }
    distinct.insert(raw.labels[i]);
  }
  if (distinct.size() < 2) {
    throw InputError(fmt::format("{}: all {} rows have the label {:g}", file, raw.rows(), *distinct.begin()));
  }
  return {distinct.begin(), distinct.end()};
}

void check_size(int64_t rows, int64_t width) {
  constexpr double kLimit = 4.0 * (1U << 30);
  const double bytes = 8.0 * static_cast<double>(rows) * static_cast<double>(width);
  if (bytes <= kLimit) return;
  throw InputError(fmt::format(
      "{} dense rows of {} features would take {:.1f} GiB (limit 4); give train_rows and valid_rows", rows,
      width, bytes / (1U << 30)));
}

}  // namespace

ProblemData read_problem_data(const ProblemDataOptions& o) {
  if (o.valid.empty() && !o.valid_labels.empty()) throw InputError("valid_labels is given, but valid is not");
  const auto width = std::make_shared<int64_t>(0);
  const RawRows train = read_rows(o.train, o.train_labels, width);
  at::Generator random = at::make_generator<at::CPUGeneratorImpl>(derive_seed(o.seed, "problem_data"));
  const auto shuffled_rows = [&](const RawRows& raw) {
    return torch::randperm(raw.rows(), random, torch::kInt64);
  };
  const auto at_most = [](int64_t rows, int64_t limit) { return limit > 0 ? std::min(rows, limit) : rows; };
  ProblemData data{.train = {}, .valid = {}, .labels = distinct_labels(train, o.train)};
  const torch::Tensor train_classes = classes_of(train, data.labels, o.train);
  const torch::Tensor order = shuffled_rows(train);
  torch::Tensor train_index = order;
  if (o.valid.empty()) {
    const int64_t cut = o.valid_rows > 0 ? o.valid_rows : train.rows() / 5;
    if (cut < 1 || cut >= train.rows()) {
      throw InputError(
          fmt::format("{}: {} validation rows cannot be cut from {} rows", o.train, cut, train.rows()));
    }
    const int64_t kept = at_most(train.rows() - cut, o.train_rows);
    check_size(cut + kept, train.width);
    *width = train.width;
    const torch::Tensor valid_index = order.narrow(0, 0, cut).contiguous();
    train_index = order.narrow(0, cut, kept).contiguous();
    data.valid = rows_of(train, train_classes, valid_index);
  } else {
    const RawRows valid = read_rows(o.valid, o.valid_labels, width);
    const bool dense = !o.train_labels.empty() || !o.valid_labels.empty();
    if (dense && valid.width != train.width) {
      throw InputError(
          fmt::format("{} has {} features a row, but {} has {}", o.valid, valid.width, o.train, train.width));
    }
    *width = std::max(train.width, valid.width);
    const int64_t kept = at_most(train.rows(), o.train_rows), taken = at_most(valid.rows(), o.valid_rows);
    check_size(kept + taken, *width);
    const torch::Tensor valid_classes = classes_of(valid, data.labels, o.train);
    const torch::Tensor valid_index = shuffled_rows(valid).narrow(0, 0, taken).contiguous();
    train_index = order.narrow(0, 0, kept).contiguous();
    data.valid = rows_of(valid, valid_classes, valid_index);
  }
  data.train = rows_of(train, train_classes, train_index);
  return data;
}

ProblemData generated_problem_data(int64_t classes, int64_t width, int64_t train_rows, int64_t valid_rows) {
  at::Generator random = at::make_generator<at::CPUGeneratorImpl>(20);
  const torch::Tensor centres = torch::randn({classes, width}, random, torch::kFloat64);
  const auto part = [&](int64_t rows) {
    const torch::Tensor chosen = torch::randint(classes, {rows}, random, torch::kInt64);
    const torch::Tensor noise = torch::randn({rows, width}, random, torch::kFloat64);
    return LabelledRows{centres.index_select(0, chosen) + 1.5 * noise, chosen,
                        torch::arange(1, rows + 1, torch::kInt64)};
  };
  ProblemData data{.train = part(train_rows), .valid = part(valid_rows), .labels = {}};
  for (int64_t k = 0; k < classes; ++k) data.labels.push_back(static_cast<double>(k));
  return data;
}

void standardize(ProblemData& data) {
  const torch::Tensor mean = data.train.features.mean(0);
  const torch::Tensor deviation = (data.train.features - mean).square().mean(0).sqrt();
  const torch::Tensor scale = torch::where(deviation > 0, 1 / deviation, torch::zeros_like(deviation));
  data.train.features = data.train.features.sub_(mean).mul_(scale);
  data.valid.features = data.valid.features.sub_(mean).mul_(scale);
}

}  // namespace bilevel
