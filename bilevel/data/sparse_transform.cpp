#include "bilevel/data/sparse_transform.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "bilevel/core/error.h"
#include "bilevel/data/saved_state.h"

namespace bilevel {

namespace {

/// The indices that occur in the rows, ascending.
std::vector<int64_t> occurring(const SparseRows& all, const std::vector<int64_t>& rows) {
  const auto* offsets = all.offsets.const_data_ptr<int64_t>();
  const auto* indices = all.indices.const_data_ptr<int64_t>();
  std::vector<int64_t> found;
  if (all.width <= std::max<int64_t>(all.entries(), 1 << 20)) {
    std::vector<bool> seen(static_cast<size_t>(all.width));
    for (const int64_t row : rows) {
      for (int64_t k = offsets[row]; k < offsets[row + 1]; ++k) seen[static_cast<size_t>(indices[k])] = true;
    }
    for (size_t i = 0; i < seen.size(); ++i) {
      if (seen[i]) found.push_back(static_cast<int64_t>(i));
    }
    return found;
  }
  for (const int64_t row : rows)
    found.insert(found.end(), indices + offsets[row], indices + offsets[row + 1]);
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

}  // namespace

template <typename Visit>
void SparseTransform::each_known(const SparseRows& rows, int64_t row, const Visit& visit) const {
  const auto* offsets = rows.offsets.const_data_ptr<int64_t>();
  const auto* indices = rows.indices.const_data_ptr<int64_t>();
  const auto* values = rows.values.const_data_ptr<float>();
  auto at = indices_.begin();
  for (int64_t k = offsets[row]; k < offsets[row + 1] && at != indices_.end(); ++k) {
    if (*at != indices[k]) at = std::lower_bound(at, indices_.end(), indices[k]);  // a row's indices ascend
    if (at == indices_.end() || *at != indices[k]) continue;
    visit(static_cast<size_t>(at - indices_.begin()), values[k]);
    ++at;
  }
}

SparseTransform SparseTransform::fit(const SparseRows& training, const SparseTransformOptions& options) {
  std::vector<int64_t> rows(static_cast<size_t>(training.rows()));
  std::iota(rows.begin(), rows.end(), int64_t{0});
  return fit_rows(training, rows, options);
}

SparseTransform SparseTransform::fit_rows(const SparseRows& all, const std::vector<int64_t>& wanted,
                                          const SparseTransformOptions& options) {
  const auto rows = static_cast<int64_t>(wanted.size());
  if (rows == 0) throw InputError("there are no training rows to fit the features on");
  SparseTransform transform;
  transform.indices_ = occurring(all, wanted);
  const size_t width = transform.indices_.size();
  // In this order no product overflows.
  transform.dense_ =
      static_cast<int64_t>(width) <= options.dense_bytes / static_cast<int64_t>(sizeof(float)) / rows;
  if (transform.dense_) {
    std::vector<float> columns(width * static_cast<size_t>(rows));  // one after the other
    for (int64_t row = 0; row < rows; ++row) {
      transform.each_known(all, wanted[static_cast<size_t>(row)], [&](size_t i, float value) {
        columns[i * static_cast<size_t>(rows) + static_cast<size_t>(row)] = value;
      });
    }
    for (auto column = columns.begin(); column != columns.end(); column += rows)
      transform.scalers_.emplace_back(std::vector<double>(column, column + rows), options.numbers);
  } else {
    transform.scales_.assign(width, 0.0F);
    for (const int64_t row : wanted) {
      transform.each_known(all, row, [&](size_t i, float value) {
        transform.scales_[i] = std::max(transform.scales_[i], std::abs(value));
      });
    }
    for (float& scale : transform.scales_) {
      if (scale > 0.0F) scale = std::isfinite(1.0F / scale) ? 1.0F / scale : 0.0F;
    }
  }
  transform.name_features();
  const bool any = transform.dense_ ? !transform.feature_names_.empty()
                                    : std::any_of(transform.scales_.begin(), transform.scales_.end(),
                                                  [](float scale) { return scale > 0.0F; });
  if (!any) throw InputError("the training rows give no feature: all are constant");
  return transform;
}

void SparseTransform::name_features() {
  feature_names_.clear();
  for (size_t i = 0; i < indices_.size(); ++i) {
    const std::string name = std::to_string(indices_[i] + 1);
    if (!dense_ || scalers_[i].width() >= 1) feature_names_.push_back(name);
    if (dense_ && scalers_[i].width() >= 2) feature_names_.push_back(name + ":rank");
  }
}

std::vector<int64_t> SparseTransform::numbers() const {
  std::vector<int64_t> found;
  int64_t end = 0;
  for (const NumberScaler& scaler : scalers_) {
    end += scaler.width();
    if (!scaler.constant() && !scaler.binary()) found.push_back(end - 1);
  }
  return found;
}

torch::Tensor SparseTransform::apply_dense(const SparseRows& rows) const {
  if (!dense_) throw std::logic_error("this transform gives sparse rows");
  // First the features of rows without entries, then the entries.
  std::vector<float> empty_row;
  std::vector<int64_t> first_feature;
  for (const NumberScaler& scaler : scalers_) {
    first_feature.push_back(static_cast<int64_t>(empty_row.size()));
    if (scaler.width() >= 1) empty_row.push_back(scaler.scaled(0.0));
    if (scaler.width() >= 2) empty_row.push_back(scaler.rank_score(0.0));
  }
  torch::Tensor features = large_empty({rows.rows(), width()}, torch::kFloat32);
  features.copy_(adopt(std::move(empty_row)).expand_as(features));
  auto* out = features.mutable_data_ptr<float>();
  for (int64_t row = 0; row < rows.rows(); ++row, out += width()) {
    each_known(rows, row, [&](size_t i, float value) {
      const NumberScaler& scaler = scalers_[i];
      if (scaler.width() >= 1) out[first_feature[i]] = scaler.scaled(value);
      if (scaler.width() >= 2) out[first_feature[i] + 1] = scaler.rank_score(value);
    });
  }
  return features;
}

SparseRows SparseTransform::apply_sparse(const SparseRows& rows) const {
  if (dense_) throw std::logic_error("this transform gives dense features");
  SparseRowsBuilder builder;
  for (int64_t row = 0; row < rows.rows(); ++row) {
    each_known(rows, row, [&](size_t i, float value) {
      if (scales_[i] > 0.0F) builder.add_entry(static_cast<int64_t>(i), value * scales_[i]);
    });
    builder.end_row();
  }
  return builder.finish(width());
}

nlohmann::json SparseTransform::to_json() const {
  nlohmann::json state = {{"dense", dense_}, {"indices", indices_}};
  if (dense_) {
    nlohmann::json& scalers = state["scalers"] = nlohmann::json::array();
    for (const NumberScaler& scaler : scalers_) scalers.push_back(scaler.to_json());
  } else {
    state["scales"] = scales_;
  }
  return state;
}

SparseTransform SparseTransform::from_json(const nlohmann::json& state) {
  return read_state("sparse transform", [&] {
    SparseTransform transform;
    transform.dense_ = state.at("dense").get<bool>();
    if (state.contains("indices")) {
      transform.indices_ = state["indices"].get<std::vector<int64_t>>();
    } else {
      transform.indices_.resize(state.at("input_width").get<size_t>());
      std::iota(transform.indices_.begin(), transform.indices_.end(), int64_t{0});
    }
    size_t width = 0;
    if (transform.dense_) {
      for (const nlohmann::json& scaler : state.at("scalers"))
        transform.scalers_.push_back(NumberScaler::from_json(scaler));
      width = transform.scalers_.size();
    } else {
      transform.scales_ = state.at("scales").get<std::vector<float>>();
      width = transform.scales_.size();
    }
    if (width != transform.indices_.size() || !std::ranges::is_sorted(transform.indices_))
      throw FileError("its parts differ in width");
    transform.name_features();
    return transform;
  });
}

}  // namespace bilevel
