#include "bilevel/data/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "bilevel/core/number.h"
#include "bilevel/data/table_builder.h"

namespace bilevel {

Position Table::position(size_t row, size_t column) const {
  const size_t index = row * names_.size() + column;
  const auto later = std::lower_bound(later_lines_.begin(), later_lines_.end(), index,
                                      [](const auto& entry, size_t wanted) { return entry.first < wanted; });
  const bool moved = later != later_lines_.end() && later->first == index;
  return {path_, moved ? later->second : lines_[row], cells_[index].column};
}

std::optional<size_t> Table::find_column(const std::string& name_or_number) const {
  const auto found = std::find(names_.begin(), names_.end(), name_or_number);
  if (found != names_.end()) return static_cast<size_t>(found - names_.begin());
  size_t number = 0;
  const char* end = name_or_number.data() + name_or_number.size();
  const auto [stop, error] = std::from_chars(name_or_number.data(), end, number);
  if (error == std::errc() && stop == end && number >= 1 && number <= columns()) return number - 1;
  return std::nullopt;
}

size_t Table::column(const std::string& name_or_number) const {
  if (const std::optional<size_t> found = find_column(name_or_number)) return *found;
  constexpr size_t kShown = 20;
  const size_t shown = std::min(columns(), kShown);
  std::string list = fmt::format("{}", fmt::join(names_.begin(), names_.begin() + shown, ", "));
  if (columns() > shown) list += fmt::format(" and {} more", columns() - shown);
  fail_at({path_}, fmt::format("has no column '{}'; its columns are {}", name_or_number, list));
}

namespace {

// The first line has been read already.
void read_tsv(LineReader& lines, const TableOptions& options, TableBuilder& builder) {
  do {
    const std::string_view line = lines.text();
    if (line.empty()) continue;
    size_t begin = 0;
    while (true) {
      const size_t tab = line.find('\t', begin);
      const size_t end = tab == std::string_view::npos ? line.size() : tab;
      builder.add_field(line.substr(begin, end - begin), lines.number(), static_cast<int64_t>(begin) + 1);
      if (tab == std::string_view::npos) break;
      begin = tab + 1;
    }
    builder.end_row(options, {lines.path(), lines.number(), static_cast<int64_t>(line.size()) + 1});
  } while (lines.next());
}

}  // namespace

bool is_quoted_tsv(std::string_view line) {
  bool closed = false;  // some cell is
  for (size_t begin = 0; begin < line.size() && line[begin] == '"';) {
    size_t end = line.find('"', begin + 1);
    while (end != std::string_view::npos && line.substr(end + 1).starts_with('"'))
      end = line.find('"', end + 2);
    if (end == std::string_view::npos) return closed;  // it goes on on the next line
    if (end + 1 == line.size()) return true;
    if (line[end + 1] != '\t') return false;
    closed = true;
    begin = end + 2;
  }
  return false;
}

Table read_table(const std::string& path, const TableOptions& options) {
  LineReader lines(path);  // first, so that a missing file is called missing
  TableBuilder builder(path);
  switch (format_of(path, options.format)) {
    case Format::csv:
      lines.next();
      read_csv(lines, options, builder, ',');
      break;
    case Format::tsv:
      lines.next();
      if (is_quoted_tsv(lines.text())) {
        read_csv(lines, options, builder, '\t');
      } else {
        read_tsv(lines, options, builder);
      }
      break;
    case Format::jsonl:
      read_jsonl(lines, builder);
      break;
    case Format::idx:
      fail_at({path}, "an idx file is not a table with named columns");
    default:
      fail_at({path}, "a libsvm file is not a table with named columns");
  }
  return builder.finish();
}

}  // namespace bilevel
