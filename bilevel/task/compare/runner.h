// The runs of a comparison: made one after another or several at a time, each kept as a trace file.
#pragma once

#include <filesystem>
#include <string>

#include "bilevel/task/compare/comparison.h"

namespace bilevel {

/// Where the trace of a run lies, and what trials and runs are called there.
std::filesystem::path trace_path(const std::string& out, const std::string& label, const std::string& run);
std::string trial_name(int64_t trial);
std::string seed_name(uint64_t seed);

/// Throws InputError for options that no run of a competitor could have.
void check_competitors(Contest& contest, const CompareOptions& options);

/// Makes the trials and runs whose traces are not in `out` yet, here or by `workers`; false when it was interrupted.
bool make_runs(Contest& contest, const CompareOptions& options, const std::string& out,
               const CompareCallbacks& callbacks, Workers* workers);

}  // namespace bilevel
