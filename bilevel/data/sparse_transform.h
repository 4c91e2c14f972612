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
/// Memory and time follow the indices that occur in training rows, whatever the largest one is; all others are ignored.
class SparseTransform {
 public:
  SparseTransform() = default;

  /// Fits on the given rows.
  static SparseTransform fit_rows(const SparseRows& all, const std::vector<int64_t>& rows,
                                  const SparseTransformOptions& options = {});
  /// Fits on all rows.
  static SparseTransform fit(const SparseRows& training, const SparseTransformOptions& options = {});

  bool is_dense() const { return dense_; }
  /// Number of features.
  int64_t width() const { return static_cast<int64_t>(feature_names_.size()); }
  /// The index in the file, "7"; of dense features also "7:rank".
  const std::vector<std::string>& feature_names() const { return feature_names_; }
  /// The features that hold a number of more than two training values: one for each, its rank where it has one. Requires
  /// is_dense().
  std::vector<int64_t> numbers() const;

  /// float32 [rows, width()]; requires is_dense().
  torch::Tensor apply_dense(const SparseRows& rows) const;

  /// Scaled rows; requires !is_dense().
  SparseRows apply_sparse(const SparseRows& rows) const;

  nlohmann::json to_json() const;
  /// Takes what earlier versions wrote too, which had a feature for every index up to the largest.
  static SparseTransform from_json(const nlohmann::json& state);

 private:
  void name_features();
  /// Calls `visit(place among indices_, value)` for the entries of a row whose index is known.
  template <typename Visit>
  void each_known(const SparseRows& rows, int64_t row, const Visit& visit) const;

  bool dense_ = true;
  std::vector<int64_t> indices_;       // of the training rows, ascending, from 0
  std::vector<NumberScaler> scalers_;  // dense: per index
  std::vector<float> scales_;          // sparse: per index, 1 / largest absolute value; 0: no feature of use
  std::vector<std::string> feature_names_;
};

}  // namespace bilevel
