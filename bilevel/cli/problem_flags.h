// The options of the known problems as flags of a command.
#pragma once

#include <CLI/CLI.hpp>
#include <map>
#include <memory>
#include <string>

#include "bilevel/task/known_problem.h"

namespace bilevel::cli {

/// What was given on the command line: field name -> text.
using ProblemFlags = std::map<std::string, std::string>;

/// Adds one flag to `command` per field of any known problem (a flag that several problems share stands there
/// once): `--lower-size`; the spelling of the field, `--lower_size`, is accepted too. Values are only
/// collected into `given`. Call it after the command's own options: a field whose flag the command has
/// already is left to the command.
void add_problem_flags(CLI::App& command, const std::shared_ptr<ProblemFlags>& given);

/// Sets the given fields. Throws InputError for a field that this problem does not have (listing those that
/// it has) and for an impossible value.
void apply_problem_flags(const ProblemFlags& given, KnownProblem& problem);

}  // namespace bilevel::cli
