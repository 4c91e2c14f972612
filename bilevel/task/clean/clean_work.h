// The parts of the work of `bilevel clean`: what each is made from and comes to.
#pragma once

#include <nlohmann/json.hpp>

#include "bilevel/task/clean/clean_weighing.h"
#include "bilevel/task/job/parts.h"

namespace bilevel {

nlohmann::ordered_json to_json(const FitStrengths& strengths);
/// Throws nlohmann::json::exception for what `to_json` has not made.
FitStrengths strengths_from(const nlohmann::ordered_json& json);

/// By request:
/// {"opinion_on": k}: `Weighing::opinion` on part k, {"weights", "predicted"};
/// {"opinions": [of each part]}: the bilevel run, {"passes", "strengths" where it came to an outcome};
/// {"fold": k, "opinion", "strengths"}: {"predicted"}, the probabilities of the rows of fold k by classifiers that know nothing of it;
/// {"even": k, "strengths"}: the same by classifiers for which every label is right;
/// {"weights", "strengths"}: {"model"}, the cleaned model, of weights of `CleanSetup::unrepeated`;
/// {"baseline": ...}: see CleanBaselines.
PartWork clean_work(Weighing& setup);

}  // namespace bilevel
