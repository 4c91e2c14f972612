#include "bilevel/data/sparse_transform.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "bilevel/core/error.h"
#include "bilevel/data/saved_state.h"

namespace bilevel {

SparseTransform SparseTransform::fit(const SparseRows& training, const SparseTransformOptions& options) {
  if (training.rows() == 0) throw InputError("there are no training rows to fit the features on");
  SparseTransform transform;
  transform.input_width_ = training.width;
  const auto width = static_cast<size_t>(training.width);
  const auto* indices = training.indices.const_data_ptr<int64_t>();
  const auto* values = training.values.const_data_ptr<float>();
  const int64_t entries = training.entries();
  // In this order no product overflows.
  transform.dense_ =
      training.width <= options.dense_bytes / static_cast<int64_t>(sizeof(float)) / training.rows();
  if (!transform.dense_) {
    transform.scales_.assign(width, 0.0F);
    for (int64_t k = 0; k < entries; ++k) {
      float& largest = transform.scales_[static_cast<size_t>(indices[k])];
      largest = std::max(largest, std::abs(values[k]));
    }
    for (float& scale : transform.scales_) {
      if (scale > 0.0F) scale = std::isfinite(1.0F / scale) ? 1.0F / scale : 0.0F;
    }
  } else {
    transform.seen_.assign(width, false);
    for (int64_t k = 0; k < entries; ++k) transform.seen_[static_cast<size_t>(indices[k])] = true;
    const torch::Tensor columns = training.to_dense().t().contiguous();
    const auto* column = columns.const_data_ptr<float>();
    for (size_t i = 0; i < width; ++i, column += training.rows()) {
      transform.scalers_.emplace_back(std::vector<double>(column, column + training.rows()), options.numbers);
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
  for (size_t i = 0; i < scalers_.size(); ++i) {
    const std::string name = std::to_string(i + 1);
    if (scalers_[i].width() >= 1) feature_names_.push_back(name);
    if (scalers_[i].width() >= 2) feature_names_.push_back(name + ":rank");
  }
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
  torch::Tensor features = adopt(std::move(empty_row)).repeat({rows.rows(), 1});
  auto* out = features.mutable_data_ptr<float>();
  const auto* offsets = rows.offsets.const_data_ptr<int64_t>();
  const auto* indices = rows.indices.const_data_ptr<int64_t>();
  const auto* values = rows.values.const_data_ptr<float>();
  for (int64_t row = 0; row < rows.rows(); ++row, out += width()) {
    for (int64_t k = offsets[row]; k < offsets[row + 1]; ++k) {
      const auto index = static_cast<size_t>(indices[k]);
      if (index >= scalers_.size() || !seen_[index]) continue;
      const NumberScaler& scaler = scalers_[index];
      if (scaler.width() >= 1) out[first_feature[index]] = scaler.scaled(values[k]);
      if (scaler.width() >= 2) out[first_feature[index] + 1] = scaler.rank_score(values[k]);
    }
  }
  return features;
}

SparseRows SparseTransform::apply_sparse(const SparseRows& rows) const {
  if (dense_) throw std::logic_error("this transform gives dense features");
  SparseRowsBuilder builder;
  const auto* offsets = rows.offsets.const_data_ptr<int64_t>();
  const auto* indices = rows.indices.const_data_ptr<int64_t>();
  const auto* values = rows.values.const_data_ptr<float>();
  for (int64_t row = 0; row < rows.rows(); ++row) {
    for (int64_t k = offsets[row]; k < offsets[row + 1]; ++k) {
      const float scale = indices[k] < input_width_ ? scales_[static_cast<size_t>(indices[k])] : 0.0F;
      if (scale > 0.0F) builder.add_entry(indices[k], values[k] * scale);
    }
    builder.end_row();
  }
  return builder.finish(input_width_);
}

nlohmann::json SparseTransform::to_json() const {
  nlohmann::json state = {{"dense", dense_}, {"input_width", input_width_}};
  if (dense_) {
    state["seen"] = seen_;
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
    transform.input_width_ = state.at("input_width").get<int64_t>();
    size_t width = 0;
    if (transform.dense_) {
      transform.seen_ = state.at("seen").get<std::vector<bool>>();
      for (const nlohmann::json& scaler : state.at("scalers")) {
        transform.scalers_.push_back(NumberScaler::from_json(scaler));
      }
      width = transform.seen_.size() == transform.scalers_.size() ? transform.scalers_.size() : 0;
    } else {
      transform.scales_ = state.at("scales").get<std::vector<float>>();
      width = transform.scales_.size();
    }
    if (static_cast<int64_t>(width) != transform.input_width_) {
      throw FileError("its parts differ in width");
    }
    transform.name_features();
    return transform;
  });
}

}  // namespace bilevel
