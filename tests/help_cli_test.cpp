// What the program says of itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "bilevel/cli/help.h"
#include "bilevel/core/error.h"
#include "bilevel/task/job/job_entry.h"
#include "tests/support.h"

namespace bilevel {
namespace {

using cli::wrapped;

/// Calls `f` with every command of the program.
void each(const CLI::App& app, const std::function<void(const CLI::App&)>& f) {
  f(app);
  for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) each(*command, f);
}

TEST(Help, KeepsToTheWidth) {
  for (const int64_t width : {60, 80}) {
    cli::Body body;
    const auto program = cli::make_program(body, width);
    each(*program, [&](const CLI::App& command) {
      std::istringstream lines(command.help());
      for (std::string line; std::getline(lines, line);) {
        // A name that is longer than its column has a line of its own, and some words are long.
        const size_t word = line.find_first_not_of(' ');
        const bool one_word = word == std::string::npos || line.find(' ', word) == std::string::npos;
        EXPECT_TRUE(line.size() <= static_cast<size_t>(width) || one_word ||
                    (line.starts_with("  ") && line[2] != ' '))
            << command.get_name() << ": " << line;
      }
    });
  }
}

TEST(Help, NamesWhatIsNeeded) {
  cli::Body body;
  const auto program = cli::make_program(body, 80);
  EXPECT_CONTAINS(program->get_subcommand("predict")->help(), "--model DIR REQUIRED");
}

TEST(Wrapped, BreaksAtBlanks) {
  EXPECT_EQ(wrapped("one two three", 7, 0), "one two\nthree");
  EXPECT_EQ(wrapped("one two three", 11, 4), "one two\n    three") << "the indent is part of the width";
  EXPECT_EQ(wrapped("one\ntwo", 80, 2), "one\n  two") << "its own lines stay";
  EXPECT_EQ(wrapped("extraordinarily so", 5, 0), "extraordinarily\nso");
  EXPECT_EQ(wrapped("\u00e4\u00f6\u00fc \u00e4\u00f6\u00fc", 7, 0), "\u00e4\u00f6\u00fc \u00e4\u00f6\u00fc")
      << "bytes are not columns";
  EXPECT_EQ(wrapped("", 80, 0), "");
}

TEST(Nearest, ForgivesSlips) {
  const std::vector<std::string> names{"auc", "clean", "compare", "tune"};
  EXPECT_EQ(cli::nearest("acu", names), "auc") << "a swap is one slip";
  EXPECT_EQ(cli::nearest("cleaned", names), "clean");
  EXPECT_EQ(cli::nearest("compair", names), "compare");
  EXPECT_EQ(cli::nearest("statistics", names), "");
  EXPECT_EQ(cli::nearest("", names), "");
}

/// What a person reads for a command line.
std::string message_for(const std::vector<std::string>& words) {
  cli::Body body;
  const auto program = cli::make_program(body, 80);
  try {
    std::vector<std::string> reversed(words.rbegin(), words.rend());
    program->parse(reversed);
  } catch (const CLI::ParseError& error) {
    return cli::usage_message(*program, error, words);
  }
  return "fine";
}

TEST(UsageMessage, SuggestsTheNearOne) {
  EXPECT_EQ(message_for({"acu"}), "acu is no command of 'bilevel'; did you mean auc?");
  EXPECT_EQ(message_for({"data", "descibe"}),
            "descibe is no command of 'bilevel data'; did you mean describe?");
  EXPECT_EQ(message_for({"auc", "--lable", "y"}),
            "--lable is no flag of 'bilevel auc'; did you mean --label?");
  EXPECT_EQ(message_for({"auc", "--batchsize=3"}),
            "--batchsize is no flag of 'bilevel auc'; did you mean --batch-size?");
  EXPECT_EQ(message_for({"auc", "--nothing-like-it", "y"}), "--nothing-like-it is no flag of 'bilevel auc'");
  EXPECT_CONTAINS(message_for({"predict", "--model", "m"}), "required");
  EXPECT_EQ(message_for({"auc", "--label", "y"}), "fine");
}

TEST(Completion, KnowsEveryCommandAndFlag) {
  cli::Body body;
  const auto program = cli::make_program(body, 80);
  for (const std::string shell : {"bash", "zsh", "fish"}) {
    const std::string script = cli::completion_script(*program, shell);
    for (const JobEntry& entry : job_registry()) EXPECT_CONTAINS(script, entry.name);
    EXPECT_CONTAINS(script, shell == "fish" ? "-l batch-size" : "--batch-size");
  }
  EXPECT_CONTAINS(cli::completion_script(*program, "bash"), "'compare auc') words='");
  EXPECT_THROW(cli::completion_script(*program, "tcsh"), InputError);
}

}  // namespace
}  // namespace bilevel
