// What people use today, on the same rows: the methods that `bilevel clean` is measured against.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>

#include "bilevel/task/clean/clean_setup.h"

namespace bilevel {

/// L2-regularized logistic regression (softmax for several classes) on the same rows; token encoders are
/// compared on hashed n-grams, all others on the features they read:
/// - `noisy_and_trusted`: trained on all of them, as given;
/// - `trusted_only`: trained on the trusted rows;
/// - `self_confidence`, `trusted_model`, `product`: rows scored by the out-of-fold probability of the given label, by
///   the trusted model's probability of it, and by the product; the lowest `drop` of the rows are dropped, and the
///   rest trains with the trusted rows.
/// Each has test.{accuracy, loss} (null without a test file); the last three have flips.auroc where the flips
/// are known. Without trusted rows there are noisy_and_trusted and self_confidence alone.
/// @param drop share of the training rows that the scores drop
/// @param step called before each fit, with what it is for
nlohmann::ordered_json measure_baselines(const CleanSetup& setup, double drop,
                                         const std::function<void(const char*)>& step);

}  // namespace bilevel
