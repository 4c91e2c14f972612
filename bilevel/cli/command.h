// What the commands of the program share.
#pragma once

#include <CLI/CLI.hpp>
#include <atomic>
#include <functional>
#include <string>

namespace bilevel::cli {

/// Exit codes of the program.
enum ExitCode : int { kDone = 0, kUsage = 2, kNumerical = 3, kFiles = 4, kInterrupted = 130 };

/// A command registers itself on the program and, when it was given, `body` is run and returns the exit code.
using Body = std::function<int()>;
void add_jobs(CLI::App& program, Body& body);
void add_predict(CLI::App& program, Body& body);
void add_list(CLI::App& program, Body& body);
void add_demo(CLI::App& program, Body& body);
void add_check(CLI::App& program, Body& body);
void add_bench(CLI::App& program, Body& body);
void add_solve(CLI::App& program, Body& body);
void add_compare(CLI::App& program, Body& body);
void add_data(CLI::App& program, Body& body);

/// Set by the first Ctrl-C (or SIGTERM); a second one ends the process at once.
const std::atomic<bool>& interrupted();
void catch_interrupts();

/// The command line of this process, for a shell.
const std::string& command_line();

/// `prefix`-1, `prefix`-2, ...: the first that does not exist.
std::string free_folder(const std::string& prefix);

}  // namespace bilevel::cli
