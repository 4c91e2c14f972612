// The report of a finished `bilevel auc` run: one HTML page that a person can read and send on.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bilevel/report/metrics.h"
#include "bilevel/report/page.h"

namespace bilevel {

/// A simpler model on the same rows.
struct ReportBaseline {
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
  std::vector<std::string> cells;  ///< one per name in `AucReport::columns`; long ones are cut at 300 bytes
  bool positive;
  double score;
};

/// Everything the page says. Nothing is read from files. Texts may hold anything: they are escaped, and
/// invalid UTF-8 is replaced. What is empty or absent is left out of the page.
struct AucReport {
  std::string title;     ///< what was learned, for example "sms.tsv: label spam"
  std::string positive;  ///< what a positive row is called, for example "spam"
  /// The object of `--json`: command, solver, encoder, seed, steps, seconds, stop_reason, best_step,
  /// metrics.{train,valid,test}.{auc,average_precision,loss}, oracle_calls, samples, peak_rss_bytes, out.
  /// Missing keys show as "–".
  nlohmann::ordered_json summary;
  nlohmann::ordered_json options;  ///< all options of the run; nested objects are shown as "outer.inner"
  std::optional<AucEstimate> test;
  std::optional<ReportBaseline> baseline = {};
  std::optional<ReportThreshold> threshold = {};
  std::vector<ReportPart> parts = {};
  std::vector<std::pair<std::string, std::string>> data_facts =
      {};                                   ///< name and value: columns, missing values, ...
  std::vector<std::string> columns = {};    ///< names of the cells of the rows below
  std::vector<ReportRow> best_ranked = {};  ///< test rows with the highest scores, best first
  std::vector<ReportRow> doubtful = {};     ///< test rows whose scores lie nearest to the threshold
  std::vector<Figure> figures = {};
  std::vector<std::string> notes = {};          ///< warnings and departures that a reader must know
  std::string predict_input = "NEW_ROWS_FILE";  ///< the file name in the example of `bilevel predict`
};

/// The page: self-contained HTML5 in UTF-8 without scripts and outside resources (pictures are embedded).
/// Throws InputError when a row has another number of cells than there are columns.
std::string auc_report_html(const AucReport& report);

}  // namespace bilevel
