// What the tests of all jobs share.
#pragma once

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>

#include "bilevel/task/job/job_entry.h"
#include "tests/files.h"
#include "tests/support.h"

namespace bilevel {

/// What a job cannot do without, beside the file, and what makes it short.
inline nlohmann::json needs_of(const std::string& job) {
  if (job == "auc") return {{"positive", "spam"}};
  if (job == "clean") return {{"baselines", false}};
  if (job == "tune") return {{"baseline_passes", 0}};
  if (job == "mix") return {{"baselines", false}, {"intervals", false}};
  if (job == "meta") {
    return {{"ways", 2},
            {"shots", 1},
            {"queries", 2},
            {"hidden", 8},
            {"valid_episodes", 5},
            {"test_episodes", 5},
            {"baselines", "untrained"}};
  }
  return nlohmann::json::object();
}

/// What gives a job its parts.
inline nlohmann::json parts_of(const std::string& job) {
  if (job == "clean") return {{"baselines", true}, {"inject_noise", 0.1}};
  if (job == "tune") return {{"baseline_passes", 2}};
  if (job == "mix") return {{"baselines", true}, {"intervals", true}};
  if (job == "meta") return {{"baselines", "nearest-class-mean,logistic-regression,untrained,anil,maml"}};
  return nlohmann::json::object();
}

/// Rows of two columns and a text, with eight classes that a linear map can tell for the most part; columns class, text, a
/// and b.
/// @param shift moves the columns a and b
inline std::string rows_of_eight_classes(int rows = 160, double shift = 0) {
  const char* const classes[] = {"spam", "ham", "news", "chat", "work", "home", "food", "sport"};
  std::string table = "class,text,a,b\n";
  for (int i = 0; i < rows; ++i) {
    const double angle = 0.785 * (i % 8), noise = 0.01 * (i * 37 % 53) + shift;
    table += std::string(classes[i % 8]) + ",words of " + classes[i % 8] + "," +
             std::to_string(std::cos(angle) + noise) + "," + std::to_string(std::sin(angle) - noise) + "\n";
  }
  return table;
}

class AllJobs : public testing::TestWithParam<JobEntry> {
 protected:
  /// The job on a file, with what it needs and some more.
  static std::unique_ptr<Job> job_on(const std::string& file, const nlohmann::json& more) {
    std::unique_ptr<Job> made = GetParam().make();
    const Fields fields = fields_of(*made);
    if (!file.empty()) fields.set(fields.list().front().name, file);
    if (!file.empty() && fields.find("sources") != nullptr) fields.set("sources", {file});
    fields.from_json(needs_of(GetParam().name));
    fields.from_json(more);
    return made;
  }

  std::string path(const std::string& name) const { return folder_.path(name); }

  TemporaryFolder folder_;
};

}  // namespace bilevel
