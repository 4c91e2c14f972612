#include "bilevel/cli/program.h"

#include <fmt/format.h>

#include <csignal>
#include <filesystem>
#include <iostream>

#include "bilevel/cli/command.h"
#include "bilevel/core/error.h"
#include "bilevel/core/printable.h"

namespace bilevel::cli {
namespace {

std::atomic<bool> interrupt_flag{false};
static_assert(std::atomic<bool>::is_always_lock_free);

void on_signal(int signal) {
  interrupt_flag = true;
  std::signal(signal, SIG_DFL);
}

}  // namespace

const std::atomic<bool>& interrupted() { return interrupt_flag; }

void catch_interrupts() {
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
}

std::string free_folder(const std::string& prefix) {
  for (int number = 1;; ++number) {
    const std::string name = fmt::format("{}-{}", prefix, number);
    if (!std::filesystem::exists(name)) return name;
  }
}

int run_program(int argc, char** argv) {
  CLI::App program{
      "bilevel trains models in which one optimization problem sits inside another:\n"
      "min over x of f(x, y*(x)), where y*(x) minimizes g(x, y).",
      "bilevel"};
  program.set_version_flag("--version", std::string("bilevel ") + BILEVEL_VERSION);
  program.require_subcommand(1);
  program.footer(
      "'bilevel COMMAND --help' tells the options of a command. Exit codes: 0 done, 2 wrong usage or input,\n"
      "3 numerical failure, 4 trouble with files or processes, 130 interrupted.");
  Body body;
  add_jobs(program, body);
  add_predict(program, body);
  add_list(program, body);
  add_demo(program, body);
  add_check(program, body);
  add_bench(program, body);
  add_solve(program, body);
  add_compare(program, body);
  add_data(program, body);
  try {
    program.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return program.exit(error) == 0 ? kDone : kUsage;
  }
  try {
    return body();
  } catch (const InputError& error) {
    std::cerr << "bilevel: " << printable(error.what()) << "\n";
    return kUsage;
  } catch (const Error& error) {
    std::cerr << "bilevel: " << printable(error.what()) << "\n";
    return kFiles;
  } catch (const std::exception& error) {
    std::cerr << "bilevel: this should not have happened, please report it: " << error.what() << "\n";
    return kNumerical;
  }
}

}  // namespace bilevel::cli
