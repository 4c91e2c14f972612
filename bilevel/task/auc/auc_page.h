// The report of a finished `bilevel auc` run: one HTML page that a person can read and send on.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/report/metrics.h"
#include "bilevel/report/page.h"

namespace bilevel {

/// Another model on the same rows.
struct ReportBaseline {
  std::string key;           ///< for example "logistic_regression"
  std::string name;          ///< for example "logistic regression on the same features"
  AucEstimate test;          ///< its AUC on the test rows
  AucDifference difference;  ///< AUC of the model minus AUC of the baseline, paired
};

/// The threshold that was chosen on the validation rows, and what it does.
struct ReportThreshold {
  ThresholdCounts valid;
  ThresholdCounts test;  ///< at the same threshold
};

/// One part of the data.
struct ReportPart {
  std::string name;  ///< "training", "validation", "test"
  int64_t rows;
  int64_t positives;
  std::string source;  ///< the file, or how the part was made
};

/// A row of the data, shown with its score.
struct ReportRow {
  std::string text;  ///< cut at 300 bytes
  bool positive;
  double score;
};

/// What the page says beside the summary. Nothing is read from files. Texts may hold anything: they are escaped, and
/// invalid UTF-8 is replaced.
struct AucReport {
  std::string title;               ///< what was learned, for example "sms.tsv: label spam"
  std::string positive;            ///< what a positive row is called, for example "spam"
  nlohmann::ordered_json summary;  ///< the object of `--json`
  AucEstimate test;
  std::vector<ReportBaseline> baselines = {};
  ReportThreshold threshold;
  std::vector<ReportPart> parts = {};
  std::vector<std::pair<std::string, std::string>>
      data_facts;                           ///< name and value: columns, missing values, ...
  std::string row_name;                     ///< the heading of the rows below
  std::vector<ReportRow> best_ranked = {};  ///< test rows with the highest scores, best first
  std::vector<ReportRow> doubtful = {};     ///< test rows whose scores lie nearest to the threshold
  std::vector<Figure> figures;
  Provenance made = {};
};

/// The page.
std::string auc_report_html(const AucReport& report);

}  // namespace bilevel
