// How a run of the AUC job is shown to a person or a program.
#pragma once

#include <functional>
#include <string>

#include "bilevel/report/progress.h"
#include "bilevel/task/auc/auc_job.h"

namespace bilevel::cli {

struct Presentation {
  bool json = false;   ///< exactly one JSON object on standard output
  bool quiet = false;  ///< no progress; errors still go to standard error
};

/// Runs the job with progress on standard error and the result on standard output; returns the exit code.
int show_auc(const std::function<AucJobResult(const AucJobCallbacks&)>& job, const Presentation& how,
             const std::string& out);

}  // namespace bilevel::cli
