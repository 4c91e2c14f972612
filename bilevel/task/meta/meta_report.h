// What is measured beside the model of `bilevel meta`, and its page.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "bilevel/report/intervals.h"
#include "bilevel/task/job/parts.h"
#include "bilevel/task/meta/meta_setup.h"

namespace bilevel {

/// {accuracy, interval, episodes}, and as text.
nlohmann::ordered_json accuracy_json(const TaskAccuracy& accuracy);
std::string accuracy_text(const nlohmann::ordered_json& measured);

/// The baselines that the options name, each a part of the job, and what such a part comes to: its name and
/// `accuracy_json`, with more, on the test tasks, and "of_task", the accuracy of each; {} where there is none. Throws
/// Interrupted.
std::vector<Part> baseline_parts(const MetaSetup& setup);
nlohmann::ordered_json measure_baseline(const MetaSetup& setup, const std::string& name);
/// Notes in the summary those that the options name and there were no vectors for.
void note_absent_baselines(const MetaSetup& setup, nlohmann::ordered_json& summary);

/// The baseline that does best on the test tasks, and how the model compares with it.
struct MetaRival {
  std::string name;
  PairedDifference difference;
};

/// Takes "of_task" out of the baselines and puts in what the model's accuracies differ by; none without baselines.
std::optional<MetaRival> compare_with_baselines(const TaskAccuracy& model, nlohmann::ordered_json& baselines);

/// Whether the model is better than the best baseline, as one sentence.
std::string meta_verdict(const std::optional<MetaRival>& rival);

/// What the intervals are of, for a person.
std::string about_intervals(const MetaSetup& setup);

/// What a person reads at the end.
std::string meta_text(const MetaSetup& setup, const nlohmann::ordered_json& summary,
                      const std::optional<MetaRival>& rival);

/// Writes accuracy.svg, loss.svg and report.html. @param summary the object of `--json`
void write_meta_report(const MetaSetup& setup, const nlohmann::ordered_json& summary,
                       const std::optional<MetaRival>& rival);

}  // namespace bilevel
