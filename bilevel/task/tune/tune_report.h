// What `bilevel tune` leaves for a person: the page, the table of learned values, and what the terminal shows.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bilevel/task/tune/tune_setup.h"

namespace bilevel {

/// One learned hyperparameter.
struct LearnedValue {
  std::string kind;  ///< strength, slope, smoothing, l1_share, left_out or class_weight
  std::string name;  ///< "common", a feature, a class, a weight matrix, "epsilon"
  double value = 0;
};

/// The values of the present x by name, the common strength first.
std::vector<LearnedValue> learned_values(const TuneSetup& setup, const TuneModel& model);

/// "learned" in the summary: common_strength, slopes, smoothing, l1_share and features_left_out, or class_weights, and the smallest and largest strengths.
nlohmann::ordered_json learned_json(const std::vector<LearnedValue>& values);

/// Tab-separated with the header "kind name value", one line per learned value, strengths by size.
void write_hyperparameters(const std::string& path, std::vector<LearnedValue> values);

/// What is told about a baseline: how what was learned compares with it.
struct TuneRival {
  std::string key;              ///< in the summary's baselines
  std::string name;             ///< for a person
  PairedDifference difference;  ///< learned less its own, of the losses
};

/// Writes loss.svg, strengths.svg and report.html. @param summary the object of `--json` @param rivals none without baselines
void write_tune_report(const TuneSetup& setup, const std::vector<LearnedValue>& values,
                       const nlohmann::ordered_json& summary, const std::vector<TuneRival>& rivals);

/// What a person reads at the end.
std::string tune_text(const TuneSetup& setup, const nlohmann::ordered_json& summary,
                      const std::vector<TuneRival>& rivals);

}  // namespace bilevel
