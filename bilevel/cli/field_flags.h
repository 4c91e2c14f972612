// The fields of options as flags of a command.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "bilevel/core/fields.h"

namespace bilevel::cli {

/// Adds a flag per field to `command`, under the field's heading (`group` where it has none): `--weight-per VALUE`, for truth
/// values `--refit` and `--no-refit`, of which the help shows what is not so by default. Values are only collected into
/// `given`, for `Fields::set_given`. Fields under the heading `left_out` are left out.
void add_field_flags(CLI::App& command, const Fields& fields, const std::shared_ptr<GivenFlags>& given,
                     const std::string& left_out = "", const std::string& group = "Options");

}  // namespace bilevel::cli
