#include "bilevel/data/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>

#include "bilevel/core/number.h"
#include "bilevel/data/class_key.h"
#include "bilevel/data/delimiter.h"
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
  std::string hint = did_you_mean(names_, name_or_number);
  const bool unnamed = delimiter_ != '\0' && !names_.empty() && names_[0] == "1" && !unnamed_[0];
  if (unnamed) hint += "; the file has no header: name the column by its number, or say --header";
  for (size_t c = 0; c < columns() && rows() > 0 && delimiter_ != '\0'; ++c) {
    if (trimmed(cell(0, c)) == name_or_number) hint = "; the first row holds it: it is a header (--header)";
  }
  if (columns() == 1 && delimiter_ != '\0') {
    const size_t other = names_[0].find_first_of(",;\t|");
    if (other != std::string::npos)
      hint += fmt::format("; fields are taken to stand between {}s; if they do not, give --delimiter {}",
                          delimiter_name(delimiter_), delimiter_name(names_[0][other]));
  }
  fail_at({path_}, fmt::format("has no column '{}'; its columns are {}{}", name_or_number, list, hint));
}

void Table::check_cells(size_t column) const {
  const auto found = unreadable_.find(column);
  if (found != unreadable_.end()) fail_at(found->second.first, found->second.second);
}

int64_t Table::replace(size_t column, const std::map<std::string, std::string>& texts) {
  std::map<std::string, Cell> made;
  int64_t count = 0;
  for (size_t row = 0; row < rows(); ++row) {
    const auto found = texts.find(std::string(trimmed(cell(row, column))));
    if (found == texts.end()) continue;
    const auto [text, added] = made.try_emplace(found->second);
    if (added) {
      text->second.begin = bytes_.size();
      text->second.size = static_cast<uint32_t>(found->second.size());
      bytes_.append({found->second.data(), found->second.size()});
    }
    Cell& own = cells_[row * names_.size() + column];
    originals_.try_emplace(row * names_.size() + column, own);
    own.begin = text->second.begin;
    own.size = text->second.size;
    ++count;
  }
  return count;
}

void Table::keep_rows(const std::vector<size_t>& rows) {
  const size_t width = names_.size();
  std::vector<std::pair<size_t, int64_t>> later;
  std::unordered_map<size_t, Cell> originals;
  auto next = later_lines_.begin();
  for (size_t i = 0; i < rows.size(); ++i) {
    const size_t from = rows[i] * width;
    std::copy_n(cells_.begin() + from, width, cells_.begin() + i * width);
    lines_[i] = lines_[rows[i]];
    for (size_t c = 0; c < (originals_.empty() ? 0 : width); ++c) {
      if (const auto found = originals_.find(from + c); found != originals_.end())
        originals.emplace(i * width + c, found->second);
    }
    while (next != later_lines_.end() && next->first < from) ++next;
    for (; next != later_lines_.end() && next->first < from + width; ++next)
      later.emplace_back(next->first - from + i * width, next->second);
  }
  cells_.resize(rows.size() * width);
  lines_.resize(rows.size());
  later_lines_ = std::move(later);
  originals_ = std::move(originals);
}

namespace {

// The first line has been read already.
void read_tsv(LineReader& lines, const TableOptions& options, TableBuilder& builder) {
  do {
    const std::string_view line = lines.text();
    if (line.find_first_not_of(' ') == std::string_view::npos) continue;
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

namespace {

void read_fields(LineReader& lines, const TableOptions& options, TableBuilder& builder, char usual) {
  constexpr size_t kSample = size_t{1} << 20;
  const std::string_view sample = lines.peek(kSample);
  const std::string_view first = sample.substr(0, sample.find('\n'));
  const std::optional<char> told = told_delimiter(first);
  const std::string_view rows = told ? sample.substr(std::min(first.size() + 1, sample.size())) : sample;
  const char delimiter = options.delimiter != '\0' ? options.delimiter
                         : told                    ? *told
                                                   : find_delimiter(rows, usual);
  const bool plain_tsv = usual == '\t' && delimiter == '\t' && !is_quoted_tsv(rows);
  builder.set_delimiter(delimiter, usual);
  lines.next();
  if (told && !lines.next()) return;
  if (plain_tsv)
    read_tsv(lines, options, builder);
  else
    read_csv(lines, options, builder, delimiter);
}

}  // namespace

Table read_table(const std::string& path, const TableOptions& options) {
  LineReader lines(path, options.encoding);  // first, so that a missing file is called missing
  TableBuilder builder(path, options.missing);
  switch (format_of(path, options.format)) {
    case Format::csv:
      read_fields(lines, options, builder, ',');
      break;
    case Format::tsv:
      read_fields(lines, options, builder, '\t');
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
