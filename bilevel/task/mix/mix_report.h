// What `bilevel mix` tells: baselines beside what was learned, sources.tsv, the page, the lines at the end.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/task/mix/mix_learning.h"

namespace bilevel {

/// A usual mixture beside what was learned.
struct MixRival {
  std::string key, name;
  PairedDifference difference;  ///< of the accuracy, learned less its own
};

/// Baselines as the summary has them: {KEY: {name, strength, target, test, difference, difference_interval, verdict}}.
struct MixBaselines {
  nlohmann::ordered_json summary = nlohmann::ordered_json::object();
  std::vector<MixRival> rivals;
  OtherPredictions predictions;  ///< of the test rows
};

/// The rows on which models are compared: the test rows or, without a test file, the target rows, each by models that have not
/// seen it. Classes and probabilities of what was learned; undefined where there are none.
struct MixMeasured {
  torch::Tensor own, classes;
  std::string rows;              ///< "test" or "target"
  std::vector<int64_t> units{};  ///< of the rows, see `JobSetup::unit_numbers`
};

/// Compares with equal weights, weights by size, the target alone and the single source of least loss on the target rows.
MixBaselines measure_mixtures(const MixSetup& setup, const MixAnswers& answers, const MixMeasured& measured);

/// "sources" in the summary: [{name, rows, weight, interval, without, without_interval, alone}].
nlohmann::ordered_json sources_json(const std::vector<SourceWeight>& weights, const MixAnswers& answers);

/// sources.tsv: source, rows, weight, low, high, without, without_low, without_high, alone; empty cells where a number is missing.
void write_sources(const std::string& path, const nlohmann::ordered_json& sources);

/// Writes loss.svg and report.html. @param summary the object of `--json`
void write_mix_report(const MixSetup& setup, const nlohmann::ordered_json& summary,
                      const MixBaselines& baselines);

/// What a person reads at the end.
std::string mix_text(const MixSetup& setup, const nlohmann::ordered_json& summary,
                     const MixBaselines& baselines);

}  // namespace bilevel
