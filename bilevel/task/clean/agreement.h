// From out-of-fold predictions to the probability that a given label is right, and to a weight.
#pragma once

#include <torch/types.h>

#include <cstdint>

namespace bilevel {

/// What out-of-fold predictions say about given labels, when a wrong label is any other class with equal
/// probability (symmetric noise) at an unknown rate e.
struct Agreement {
  double noise = 0;         ///< e: estimated share of wrong labels
  torch::Tensor right;      ///< float64 [n]: probability that the given label is right
  torch::Tensor suggested;  ///< int64 [n]: the most probable class, the given label counted in
};

/// @param probabilities float64 [n, classes]: of each row's classes, by a model that has not seen the row's label
/// @param given int64 [n]
///
/// With p the model's probability of the given label and K classes, Bayes' rule says
///   right = p (1-e) / (p (1-e) + (1-p) e/(K-1)),
/// and the rate that fits is the fixed point e = 1 - mean(right), found by iterating from 0.3 (the
/// EM algorithm for e). e stays within [0.001, 0.999]. Throws InputError for shapes that do not fit.
Agreement agreement_of(const torch::Tensor& probabilities, const torch::Tensor& given);

/// The exponent beta that makes probabilities honest (temperature scaling, with 1/beta the temperature): of p^beta,
/// normalized over the classes, the likelihood of rows of known class is largest. Above 1 for a model that is too
/// unsure, as models fitted with wrong labels are; below 1 for one that is too sure. Few rows cannot move it far:
/// log beta has a standard normal prior, and it stays within [1/20, 20].
/// @param probabilities float64 [n, classes], n >= 1, by a model that has not seen the rows
/// @param classes int64 [n]: right ones
double calibration_of(const torch::Tensor& probabilities, const torch::Tensor& classes);

/// float64 [n, classes]: p^beta, normalized over the classes.
torch::Tensor calibrated(const torch::Tensor& probabilities, double beta);

/// How much a row should count in training, in [0, 1], rising with `right`:
///   max((right - 1/K) / (1 - 1/K), right / 100).
/// A label that is as good as drawn at random tells nothing about the row, and gets (almost) nothing; the
/// second part keeps the order of the others.
torch::Tensor weight_of(const torch::Tensor& right, int64_t classes);

}  // namespace bilevel
