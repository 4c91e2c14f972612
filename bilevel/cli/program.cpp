#include "bilevel/cli/program.h"

#include <fmt/format.h>

#include <csignal>
#include <filesystem>
#include <iostream>

#include "bilevel/cli/command.h"
#include "bilevel/cli/help.h"
#include "bilevel/core/error.h"
#include "bilevel/core/printable.h"
#include "bilevel/report/escape.h"

namespace bilevel::cli {
namespace {

std::atomic<bool> interrupt_flag{false};
std::string line_of_this_process;
static_assert(std::atomic<bool>::is_always_lock_free);

void on_signal(int signal) {
  interrupt_flag = true;
  std::signal(signal, SIG_DFL);
}

}  // namespace

const std::atomic<bool>& interrupted() { return interrupt_flag; }

const std::string& command_line() { return line_of_this_process; }

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

std::unique_ptr<CLI::App> make_program(Body& body, int64_t help_width) {
  auto program = std::make_unique<CLI::App>(
      "bilevel trains models in which one optimization problem sits inside another:\n"
      "min over x of f(x, y*(x)), where y*(x) minimizes g(x, y).",
      "bilevel");
  program->set_version_flag("--version", std::string("bilevel ") + BILEVEL_VERSION);
  program->require_subcommand(1);
  program->footer(
      "'bilevel COMMAND --help' tells the options of a command. Exit codes: 0 done, 2 wrong usage or input, "
      "3 "
      "numerical failure, 4 trouble with files or processes, 130 interrupted.");
  program->formatter(help_format(help_width));
  add_jobs(*program, body);
  add_predict(*program, body);
  add_list(*program, body);
  add_demo(*program, body);
  add_check(*program, body);
  add_bench(*program, body);
  add_solve(*program, body);
  add_compare(*program, body);
  add_data(*program, body);
  add_help(*program, body);
  return program;
}

int run_program(int argc, char** argv) {
  line_of_this_process.clear();
  for (int i = 0; i < argc; ++i) line_of_this_process += (i == 0 ? "" : " ") + shell_word(argv[i]);
  Body body;
  const std::unique_ptr<CLI::App> program = make_program(body, help_width());
  if (argc < 2) {
    std::cout << program->help();
    return kDone;
  }
  try {
    program->parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return program->exit(error);  // help or version
    std::cerr << "bilevel: " << printable(usage_message(*program, error, {argv + 1, argv + argc}))
              << "\nRun with --help for more information.\n";
    return kUsage;
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
