// From LIBSVM rows to features.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/data/number_scaler.h"
#include "bilevel/data/sparse_rows.h"

namespace bilevel {

struct SparseTransformOptions {
  int64_t dense_bytes = int64_t{256} << 20;  ///< the largest float32 matrix [rows, width] that is made dense
  NumberOptions numbers = {};                ///< for dense features
};

/// LIBSVM rows as features. An absent entry is 0.
/// - dense, when the training rows fit `dense_bytes`: the features of NumberScaler per index, constant ones
/// dropped;
/// - sparse otherwise: each value divided by the largest absolute training value of its index.
/// Indices that no training row has are ignored.
class SparseTransform {
 public:
  SparseTransform() = default;

  static SparseTransform fit(const SparseRows& training, const SparseTransformOptions& options = {});

  bool is_dense() const { return dense_; }
  /// Number of features.
  int64_t width() const { return dense_ ? static_cast<int64_t>(feature_names_.size()) : input_width_; }
  /// Dense features only: the index in the file, "7", or "7:rank".
  const std::vector<std::string>& feature_names() const { return feature_names_; }

  /// float32 [rows, width()]; requires is_dense().
  torch::Tensor apply_dense(const SparseRows& rows) const;

  /// Scaled rows; requires !is_dense().
  SparseRows apply_sparse(const SparseRows& rows) const;

  nlohmann::json to_json() const;
  static SparseTransform from_json(const nlohmann::json& state);

 private:
  void name_features();

  bool dense_ = true;
  int64_t input_width_ = 0;
  std::vector<NumberScaler> scalers_;  // dense: per index; constant at 0 too for indices never seen
  std::vector<bool> seen_;             // dense: whether a training row has the index
  std::vector<float> scales_;          // sparse: 1 / largest absolute value, 0 for indices never seen
  std::vector<std::string> feature_names_;
};

}  // namespace bilevel
