// The flags that say which data and which model the AUC task has, for every command that trains on it.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>

#include "bilevel/cli/job_flags.h"
#include "bilevel/task/auc/auc_setup.h"

namespace bilevel::cli {

struct AucFlags {
  AucJobOptions job;
  HeaderFlags header;
};

/// Adds the flags of data and model to a command: not those of one training run (solver, budget, seed,
/// output).
void add_auc_flags(CLI::App& command, const std::shared_ptr<AucFlags>& flags);

/// The options that were given. Throws InputError for flags that contradict each other.
AucJobOptions options_of(const AucFlags& flags);

}  // namespace bilevel::cli
