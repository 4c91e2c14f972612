// What `bilevel tune` leaves for a person: the page and the table of learned values.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

namespace bilevel {

/// One learned hyperparameter.
struct LearnedValue {
  std::string kind;  ///< strength, smoothing or class_weight
  std::string name;  ///< "common", a feature, a class, a weight matrix, "epsilon"
  double value = 0;
};

/// Everything the page says, but for the curve, which is read from the folder's trace.jsonl.
struct TuneReport {
  std::string title;
  nlohmann::ordered_json summary;                          ///< the object of `--json`
  std::vector<LearnedValue> values;                        ///< the common strength first
  std::vector<std::pair<std::string, size_t>> parts;       ///< name and rows
  std::vector<std::pair<std::string, std::string>> facts;  ///< about the features
  std::vector<std::string> notes;
};

/// The strengths but the common one, smallest first and largest first, at most `count` and half of them each; none
/// where there are fewer than two.
std::pair<std::vector<LearnedValue>, std::vector<LearnedValue>> extremes(
    const std::vector<LearnedValue>& values, size_t count);

/// Tab-separated with the header "kind name value", one line per learned value, strengths by size.
void write_hyperparameters(const std::filesystem::path& path, const TuneReport& report);

/// report.html and its pictures loss.svg and strengths.svg in `folder`.
void write_tune_report(const std::string& folder, const TuneReport& report);

/// The page. Texts may hold anything: they are escaped.
std::string tune_report_html(const TuneReport& report, const std::string& figures);

}  // namespace bilevel
