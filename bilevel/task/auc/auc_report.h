// What a run of `bilevel auc` measured, and its page and pictures.
#pragma once

#include "bilevel/task/auc/auc_page.h"
#include "bilevel/task/auc/auc_training.h"

namespace bilevel {

/// On the test rows; the threshold was chosen on the validation rows.
struct AucFigures {
  ScoredRows test;  ///< by the model that was trained
  ScoredRows kept;  ///< by the one that is saved, whose the threshold is
  std::vector<ScoredRows> baseline_rows;
  AucEstimate estimate;
  std::vector<ReportBaseline> baselines;
  ReportThreshold threshold;
};

/// Writes loss.svg, auc.svg, roc.svg and report.html.
void write_auc_report(const AucSetup& setup, const AucOutcome& outcome, const AucFigures& figures,
                      const nlohmann::ordered_json& summary);

}  // namespace bilevel
