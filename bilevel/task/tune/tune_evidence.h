// What training rows say of features, beyond what their weights will: which strengths `l2-by-evidence` is made from.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "bilevel/task/inputs.h"

namespace bilevel {

inline constexpr int64_t kEvidence = 3;  ///< rows of `feature_evidence`
inline constexpr const char* kEvidenceNames[] = {"occurrence", "association", "size"};

/// float64 [3, width], each row with mean 0 and standard deviation 1 over the features that some row has (0 for all others, and
/// everywhere where all are the same):
///   occurrence   log(1/400 + sum_c p_c log(lift_jc)^2),  lift_jc = (n_jc + k p_c) / ((n_j + k) p_c)
///   association  log(1/n + eta_j^2), eta_j^2 the share of the variance of the feature that lies between classes
///   size         log of the mean square of the feature
/// n_jc: rows of class c in which feature j is not 0, n_j = sum_c n_jc; p_c: share of the class; k classes; n rows. The first is large
/// for what occurs in some classes more than in others: n-grams, where it ranks rare ones as it should. For two classes of equal size
/// the sum is a quarter of the squared log-count ratio with one row of each class added, by which Wang and Manning (Baselines and
/// Bigrams, ACL 2012) multiply features; here a power of it is learned. 1/400 stands for ratios within 10 %. The second serves columns of
/// numbers, which are hardly ever 0; 1/n is what chance makes of eta^2.
/// @param rows the training rows
/// @param classes of all rows, from 0
torch::Tensor feature_evidence(const Inputs& inputs, const std::vector<int64_t>& rows,
                               const std::vector<int64_t>& classes, int64_t width, int64_t class_count);

}  // namespace bilevel
