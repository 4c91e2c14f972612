// bilevel: the command-line program.
#pragma once

namespace bilevel::cli {

/// Carries out a command line, with standard output and errors; returns the exit code.
int run_program(int argc, char** argv);

}  // namespace bilevel::cli
