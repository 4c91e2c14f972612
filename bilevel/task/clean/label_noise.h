// From out-of-fold predictions to how labels go wrong, to the probability that a given label is right, and to a weight.
#pragma once

#include <torch/types.h>

#include <cstdint>
#include <utility>

#include "bilevel/task/job/classifier.h"

namespace bilevel {

/// Predictions for rows with labels, by models that have seen neither these labels nor anything made from them.
struct LabelledPredictions {
  torch::Tensor probabilities;  ///< float64 [rows, classes]
  torch::Tensor labels;         ///< int64 [rows]
};

/// p-values below it are told to a person as a contradiction, and acted upon.
inline constexpr double kContradiction = 0.001;

/// How labels go wrong, when a row's true class j alone decides with which probability it is recorded as k.
struct LabelNoise {
  Calibration
      calibration;  ///< of the predictions, to probabilities of the true class among the training rows
  torch::Tensor transition;    ///< float64 [classes, classes]: P(given k | true j); each row sums to 1
  torch::Tensor class_shares;  ///< float64 [classes]: estimated, of the true classes of the training rows
  double share = 0;            ///< expected share of wrong labels among the training rows, in [0, 1]
  /// float64 [classes]: the trusted rows' log odds of the classes, beside those of the training rows. Undefined
  /// where the two do not contradict each other: then they are taken as samples of the same rows.
  torch::Tensor trusted_shift;
  /// p-value of the likelihood ratio test of that, with classes - 1 degrees of freedom; 1 without trusted rows.
  double same_shares = 1;
  /// p-value of Pearson's test that the trusted rows' classes are drawn with the training rows' estimated shares; classes
  /// that tell themselves apart bear it when they are not, and the likelihood with them.
  double class_counts = 1;
  /// p-value of the test that one beta holds for both kinds of rows (1 degree of freedom).
  double same_beta = 1;
};

/// The most likely noise and calibration, together: with p = calibration of the predictions, a training row's
/// given label k has the likelihood sum_j p_j transition_jk, a trusted row's true class j the likelihood p_j. Weak
/// priors: log beta standard normal, bias of standard deviation 3, and half a row a class that is drawn evenly over
/// the given labels. Starts at rates of .3, solved by L-BFGS, a few hundred passes. Where the trusted rows have
/// other class shares (p-value below `kContradiction`), the likelihood leaves theirs out. That a class has no trusted row says
/// nothing: the trusted rows are taken as drawn from the rows of the classes that they have.
/// Without trusted rows the rates are first those of `confident_joint`. Then beta is the most likely one at these rates, then the rates at this beta; the bias is 0, and the share
/// the mean of 1 - `Judgement::right`. An order rather than frequencies. (The likelihood alone, at beta 1, takes the rates to be none:
/// classifiers trained on wrong labels predict these labels well.)
/// Throws InputError for shapes that do not fit and for no training row.
LabelNoise fit_label_noise(const LabelledPredictions& train, const LabelledPredictions& trusted);

/// Rates, as `LabelNoise::transition`, by the confident joint (Northcutt, Jiang, Chuang 2021, "Confident learning", equations 1 to 3): a row whose
/// label is k counts as one of class j when p_j reaches the mean p_j of the rows labelled j, and is the largest that does; to each label's counts half a row is
/// added, spread over the classes, and they are scaled to its rows (a
/// label without rows: to half a row).
torch::Tensor confident_joint(const LabelledPredictions& train);

/// The noise's calibration, and curves where the trusted rows tell that it is not enough (`fit_curves`): the training rows say most about
/// it, through labels of which many are wrong; rows whose labels are right have the last word. Trusted rows of other class shares, or
/// fewer than ten of a class, say nothing.
Calibration calibration_for(const LabelNoise& noise, const LabelledPredictions& trusted);

/// 95 % intervals, for the predictions as they are.
struct NoiseIntervals {
  /// Of the expected share: all shares at which the likelihood, the rest being refitted, is within exp(-1.92) of the
  /// largest (profile likelihood). It holds near 0 too, where an interval of standard errors does not.
  std::pair<double, double> share;
  /// Of `transition`, float64 [classes, classes]: by the same rule, from the second-order expansion of the
  /// likelihood (information: sum of outer products of the rows' scores), cut at 0 and 1. NaN beyond 20 classes,
  /// whose pairs are too many.
  torch::Tensor low, high;
};

/// Cost: some dozen fits as of `fit_label_noise`, each from its neighbour.
NoiseIntervals noise_intervals(const LabelNoise& noise, const LabelledPredictions& train,
                               const LabelledPredictions& trusted);

/// p-value of the likelihood ratio test that no label is wrong, for predictions of models that were fitted as if none
/// were: those fitted with weights by an estimated noise have taken part in it, and confirm it. Rates cannot be
/// negative, so twice the gain in log likelihood is compared with a mixture of chi squares of binomial weights (Self and
/// Liang 1987, with independent rates). @param own_shares as `LabelNoise::trusted_shift` is defined. Cost: two fits.
double no_noise_p_value(const LabelledPredictions& train, const LabelledPredictions& trusted,
                        bool own_shares);

/// What the noise says about single rows.
struct Judgement {
  torch::Tensor right;      ///< float64 [rows]: probability that the given label is right (Bayes' rule)
  torch::Tensor suggested;  ///< int64 [rows]: the most probable class, the given label counted in
};
Judgement judge(const LabelNoise& noise, const LabelledPredictions& train);

/// How much a row should count in training, in [0, 1], rising with `right`:
///   max((right - 1/K) / (1 - 1/K), right / 100).
/// A label that is as good as drawn at random tells nothing about the row, and gets (almost) nothing; the
/// second part keeps the order of the others.
torch::Tensor weight_of(const torch::Tensor& right, int64_t classes);

/// `weight_of` rows with these labels, but 1 where there are trusted rows and none has the label: nothing judges it, and a classifier
/// that did not train on its few rows would go on to call them all wrong. @param labels, trusted_labels int64, in [0, classes)
torch::Tensor judged_weights(const torch::Tensor& right, const torch::Tensor& labels,
                             const torch::Tensor& trusted_labels, int64_t classes);

/// " (1.2 to 3.4)" in percent; empty where there is none.
std::string interval_text(double low, double high);

}  // namespace bilevel
