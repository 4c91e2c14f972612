// How the program explains itself: help as wide as the terminal, `bilevel help COMMAND`, near names, shell completion.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "bilevel/cli/command.h"

namespace bilevel::cli {

/// The columns of the terminal that standard output is, at most 100, where lines become hard to read, and at least 40; 80 where it
/// is none. The environment's COLUMNS comes first.
int64_t help_width();

/// `text` in lines of at most `width` columns, broken at blanks, with `indent` blanks before all but the first. Lines of its own
/// stay lines; a word that is longer than a line has one for itself. Counts code points.
std::string wrapped(const std::string& text, int64_t width, int64_t indent);

/// Help of `width` columns.
std::shared_ptr<CLI::FormatterBase> help_format(int64_t width);

/// The program with all commands and help of so many columns; what is parsed puts its work into `body`.
std::unique_ptr<CLI::App> make_program(Body& body, int64_t help_width);

/// Adds `bilevel help [COMMAND ...]` and `bilevel completion bash|zsh|fish`, after all others.
void add_help(CLI::App& program, Body& body);

/// What is wrong with a command line that CLI11 refused, for a person: an unknown command or flag with the nearest one there
/// is; else CLI11's own message. `words`: the command line without the program's name.
std::string usage_message(const CLI::App& program, const CLI::ParseError& error,
                          const std::vector<std::string>& words);

/// Of `names` the one that is nearest to `word` by insertions, deletions, exchanges and swaps of neighbours; empty where none
/// is within a third of its length (at least one).
std::string nearest(const std::string& word, const std::vector<std::string>& names);

/// The script that completes commands and flags in a shell, bash, zsh or fish. Throws InputError for another one.
std::string completion_script(const CLI::App& program, const std::string& shell);

}  // namespace bilevel::cli
