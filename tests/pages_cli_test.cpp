// The commands in the pages do what the pages say: every ```console block of docs/*.md is executed.
//
// A block holds commands ("$ bilevel ...", a backslash at the end continues the line) and under each what it prints on
// standard output. The blocks of a page run one after the other in one empty folder. A line "..." stands for any
// number of lines, and "..." at the end of a line for its rest. A number may differ from the page's by 2 % or by one
// in a hundredth, since kernels differ between machines; all else must be the same.
#include <cmath>
#include <filesystem>
#include <regex>
#include <sstream>

#include "tests/process.h"
#include "tests/support.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

struct PageCommand {
  Arguments arguments;
  std::string shown;  // the command as it stands
  int line = 0;
  std::vector<std::string> output;
};

/// Words as a shell parts them, with both kinds of quotes.
Arguments words_of(const std::string& command) {
  Arguments words;
  std::string word;
  bool open = false;
  char quote = 0;
  for (const char c : command) {
    if (quote != 0) {
      if (c == quote)
        quote = 0;
      else
        word += c;
    } else if (c == '"' || c == '\'') {
      quote = c;
      open = true;
    } else if (c == ' ') {
      if (open) words.push_back(std::exchange(word, {}));
      open = false;
    } else {
      word += c;
      open = true;
    }
  }
  if (open) words.push_back(word);
  return words;
}

std::vector<PageCommand> commands_of(const fs::path& page) {
  std::vector<PageCommand> commands;
  std::istringstream text(read_bytes(page.string()));
  bool inside = false, continued = false;
  int number = 0;
  for (std::string line; std::getline(text, line);) {
    ++number;
    if (line.starts_with("```")) {
      inside = !inside && line == "```console";
      continue;
    }
    if (!inside) continue;
    if (continued || line.starts_with("$ ")) {
      if (!continued) commands.push_back({.arguments = {}, .shown = "", .line = number, .output = {}});
      std::string part = continued ? line : line.substr(2);
      continued = part.ends_with('\\');
      if (continued) part.pop_back();
      commands.back().shown += part;
    } else if (!commands.empty()) {
      commands.back().output.push_back(line);
    }
  }
  for (PageCommand& command : commands) {
    command.arguments = words_of(command.shown);
    if (command.arguments.empty() || command.arguments[0] != "bilevel")
      ADD_FAILURE() << page << ":" << command.line << ": is no command of bilevel";
    else
      command.arguments.erase(command.arguments.begin());
  }
  return commands;
}

/// Whether a printed line is the page's but for small differences of its numbers.
bool same_line(const std::string& expected, const std::string& found) {
  static const std::regex number(R"([-+]?(\d+\.\d+([eE][-+]?\d+)?|\d+))");
  static const std::regex blanks(" +");
  if (expected.ends_with("...") && found.starts_with(expected.substr(0, expected.size() - 3))) return true;
  const auto frame = [&](const std::string& line) {
    return std::regex_replace(std::regex_replace(line, number, "#"), blanks, " ");
  };
  if (frame(expected) != frame(found)) return false;
  const auto numbers = [&](const std::string& line) {
    std::vector<double> values;
    for (std::sregex_iterator it(line.begin(), line.end(), number), end; it != end; ++it)
      values.push_back(std::stod(it->str()));
    return values;
  };
  const std::vector<double> a = numbers(expected), b = numbers(found);
  for (size_t i = 0; i < a.size(); ++i) {
    if (std::abs(a[i] - b[i]) > std::max(0.01, 0.02 * std::abs(a[i]))) return false;
  }
  return true;
}

/// Whether printed lines are the page's, from given places on.
bool same_lines(const std::vector<std::string>& expected, size_t i, const std::vector<std::string>& found,
                size_t j) {
  if (i == expected.size()) return j == found.size();
  if (expected[i] == "...") {
    for (size_t next = j; next <= found.size(); ++next) {
      if (same_lines(expected, i + 1, found, next)) return true;
    }
    return false;
  }
  return j < found.size() && same_line(expected[i], found[j]) && same_lines(expected, i + 1, found, j + 1);
}

std::vector<std::string> without_empty_lines(const std::vector<std::string>& lines) {
  std::vector<std::string> rest;
  for (const std::string& line : lines) {
    if (!line.empty()) rest.push_back(line);
  }
  return rest;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::vector<std::string> pages() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(fs::path(BILEVEL_SOURCE_DIR) / "docs")) {
    if (entry.path().extension() == ".md" &&
        read_bytes(entry.path().string()).find("```console") != std::string::npos)
      names.push_back(entry.path().stem().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

class Pages : public ::testing::TestWithParam<std::string> {};

TEST_P(Pages, CommandsDoWhatThePageSays) {
  const fs::path page = fs::path(BILEVEL_SOURCE_DIR) / "docs" / (GetParam() + ".md");
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder / ".");
  for (const PageCommand& command : commands_of(page)) {
    const Outcome run = bilevel_program(command.arguments);
    EXPECT_EQ(run.code, 0) << page << ":" << command.line << ": " << command.shown << "\n" << run.err;
    EXPECT_TRUE(same_lines(without_empty_lines(command.output), 0, without_empty_lines(lines_of(run.out)), 0))
        << page << ":" << command.line << ": " << command.shown << "\nprinted:\n"
        << run.out;
    if (run.code != 0) break;
  }
  fs::current_path(before);
}

INSTANTIATE_TEST_SUITE_P(Docs, Pages, ::testing::ValuesIn(pages()), [](const auto& parameter) {
  std::string name = parameter.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; }, '_');
  return name;
});

TEST(PageLines, NumbersMayDifferALittleAndWordsMayNot) {
  EXPECT_TRUE(same_line("test accuracy 0.812 on 400 rows", "test accuracy 0.809 on 401 rows"));
  EXPECT_FALSE(same_line("test accuracy 0.812", "test accuracy 0.750"));
  EXPECT_FALSE(same_line("test accuracy 0.812", "train accuracy 0.812"));
  EXPECT_TRUE(same_line("report: ...", "report: x/report.html"));
  EXPECT_TRUE(same_lines({"a", "...", "d"}, 0, {"a", "b", "c", "d"}, 0));
  EXPECT_FALSE(same_lines({"a", "...", "d"}, 0, {"a", "b", "c"}, 0));
  EXPECT_FALSE(same_lines({"a"}, 0, {"a", "b"}, 0));
  EXPECT_EQ(words_of("bilevel  data --text 'a b' \"\""), (Arguments{"bilevel", "data", "--text", "a b", ""}));
}

}  // namespace
}  // namespace bilevel
