// The sources of a run, from its files.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "bilevel/core/error.h"
#include "bilevel/data/class_key.h"
#include "bilevel/task/mix/mix_setup.h"

namespace bilevel {
namespace {

constexpr std::ptrdiff_t kShownFew = 5;  // sources

}  // namespace

/// Rows by what a column of their file says, or by file: by its name, or by its path where another file has the same name.
void MixSetup::take_sources(MixData& data) {
  std::map<std::string, std::vector<int64_t>> by_name;
  const auto file_name = [](const JobFile& file) {
    return std::filesystem::path(file.path).filename().string();
  };
  std::map<std::string, int> called;
  for (const JobFile& file : files_.files())
    called[file_name(file)] += file.role.starts_with("source") ? 1 : 0;
  for (const JobFile& file : files_.files()) {
    if (!file.role.starts_with("source")) continue;
    const std::vector<int64_t> rows = files_.rows_of_role(file.role);
    if (o_.source.empty()) {
      const std::string name = called[file_name(file)] == 1 ? file_name(file) : file.path;
      if (!by_name.emplace(name, rows).second)
        refuse_option("sources", file.path, "is given twice: a source is a file of its own");
      continue;
    }
    const auto* table = std::get_if<Table>(&file.file);
    if (table == nullptr)
      refuse_option("source", o_.source, fmt::format("{} has no columns by name", file.path));
    const size_t column = table->column(o_.source);
    for (size_t i = 0; i < rows.size(); ++i) {
      const std::string name(table->cell(i, column));
      if (name.empty())
        fail_at(table->position(i, column),
                fmt::format("the source (column '{}') is missing: every row must name one", o_.source));
      if (name == kTargetName)
        fail_at(
            table->position(i, column),
            fmt::format("'{}' names the target rows in what is written: call the source otherwise", name));
      by_name[name].push_back(rows[i]);
    }
  }
  std::map<std::string, std::string> spelled;
  std::vector<std::string> few;
  for (auto& [name, rows] : by_name) {
    if (const auto [like, is_new] = spelled.emplace(spelling_key(name), name); !is_new)
      note(fmt::format("the sources '{}' and '{}' are spelled nearly alike; they have a weight each",
                       like->second, name));
    const auto count = static_cast<int64_t>(rows.size());
    if (count < kFewRows) few.push_back(fmt::format("{} of '{}'", count, name));
    data.names.push_back(name);
    data.sources.push_back(std::move(rows));
  }
  if (few.empty()) return;
  note(fmt::format(
      "{}, {}: such a weight says how these rows fit, and little of others of the source",
      few.size() == 1 ? "a source has few rows" : fmt::format("{} sources have few rows", few.size()),
      fmt::join(few.begin(), few.begin() + std::min<std::ptrdiff_t>(std::ssize(few), kShownFew), ", ")));
}

}  // namespace bilevel
