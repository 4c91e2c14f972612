#include "bilevel/data/delimiter.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"

namespace bilevel {
namespace {

constexpr std::array<std::pair<char, std::string_view>, 4> kDelimiters{
    {{',', "comma"}, {';', "semicolon"}, {'\t', "tab"}, {'|', "bar"}}};

/// The first lines of a text, as csv parts them (quoted line ends part no rows); a last line that is cut is left out.
std::vector<std::string_view> rows_of_sample(std::string_view sample, size_t most) {
  std::vector<std::string_view> rows;
  bool quoted = false;
  size_t begin = 0;
  for (size_t at = 0; at < sample.size() && rows.size() < most; ++at) {
    if (sample[at] == '"') quoted = !quoted;
    if (sample[at] != '\n' || quoted) continue;
    const std::string_view row = sample.substr(begin, at - begin);
    if (!trimmed(row).empty()) rows.push_back(row);
    begin = at + 1;
  }
  if (rows.empty() || (begin < sample.size() && rows.size() < most && !quoted))
    if (const std::string_view rest = sample.substr(begin); !trimmed(rest).empty()) rows.push_back(rest);
  return rows;
}

/// How many of a character stand outside of quotes.
int64_t count_outside(std::string_view row, char c) {
  int64_t count = 0;
  bool quoted = false;
  for (const char at : row) {
    if (at == '"') quoted = !quoted;
    count += !quoted && at == c ? 1 : 0;
  }
  return count;
}

/// How many each row has, where all have the same number; else 0.
int64_t common_count(const std::vector<std::string_view>& rows, char c) {
  int64_t count = -1;
  for (const std::string_view row : rows) {
    const int64_t own = count_outside(row, c);
    if (own == 0 || (count >= 0 && own != count)) return 0;
    count = own;
  }
  return std::max<int64_t>(count, 0);
}

bool every_line_has(std::string_view sample, char c) {
  for (size_t begin = 0; begin < sample.size();) {
    const size_t end = std::min(sample.find('\n', begin), sample.size());
    const std::string_view line = sample.substr(begin, end - begin);
    if (end < sample.size() && !trimmed(line).empty() && line.find(c) == std::string_view::npos) return false;
    begin = end + 1;
  }
  return sample.find(c) != std::string_view::npos;
}

bool commas_are_decimal(const std::vector<std::string_view>& rows) {
  const auto digit = [](std::string_view row, size_t at) {
    return at < row.size() && row[at] >= '0' && row[at] <= '9';
  };
  for (const std::string_view row : rows) {
    for (size_t at = row.find(','); at != std::string_view::npos; at = row.find(',', at + 1)) {
      if (at == 0 || !digit(row, at - 1) || !digit(row, at + 1)) return false;
    }
  }
  return true;
}

}  // namespace

char delimiter_named(const std::string& name) {
  if (name == "automatic") return '\0';
  if (name == "\\t") return '\t';
  for (const auto& [c, known] : kDelimiters) {
    if (name == known) return c;
  }
  const bool usable = name.size() == 1 && static_cast<unsigned char>(name[0]) < 0x80 && name != "\"" &&
                      name != "\n" && name != "\r" && name != " ";
  if (usable) return name[0];
  throw InputError(
      fmt::format("delimiter = {}: must be comma, semicolon, tab, bar, or one character of ASCII", name));
}

std::string delimiter_name(char delimiter) {
  for (const auto& [c, known] : kDelimiters) {
    if (delimiter == c) return std::string(known);
  }
  return fmt::format("'{}'", delimiter);
}

std::optional<char> told_delimiter(std::string_view line) {
  line = trimmed(line);
  if (line.starts_with('"') && line.ends_with('"') && line.size() > 1) line = line.substr(1, line.size() - 2);
  if (line == "sep=") return '\t';  // the tab was trimmed
  if (line.size() == 5 && (line.starts_with("sep=") || line.starts_with("SEP="))) return line[4];
  return std::nullopt;
}

char find_delimiter(std::string_view sample, char usual) {
  const std::vector<std::string_view> rows = rows_of_sample(sample, 100);
  if (usual == '\t' && every_line_has(sample, '\t')) return usual;  // quotes may be ordinary characters there
  const int64_t usual_count = common_count(rows, usual);
  char best = usual;
  int64_t most = 0;
  for (const auto& [c, name] : kDelimiters) {
    const int64_t count = c == usual ? 0 : common_count(rows, c);
    if (count > most) {
      best = c;
      most = count;
    }
  }
  if (most == 0 || rows.size() < 2) return usual;
  if (usual_count == 0) return best;
  return usual == ',' && commas_are_decimal(rows) ? best : usual;
}

namespace {

/// Whether every cell of the line is enclosed in quotes.
bool has_quoted_cells_alone(std::string_view line) {
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

}  // namespace

bool is_quoted_tsv(std::string_view sample) {
  std::string_view first = sample.substr(0, sample.find('\n'));
  if (first.ends_with('\r')) first.remove_suffix(1);
  if (has_quoted_cells_alone(first)) return true;
  bool needed = false;
  for (size_t at = 0; at < sample.size();) {  // at the beginning of a cell
    if (sample[at] != '"') {
      const size_t end = sample.find_first_of("\t\n", at);
      if (end == std::string_view::npos) break;
      at = end + 1;
      continue;
    }
    bool doubled = false, parted = false;
    for (++at; at < sample.size(); ++at) {
      parted = parted || sample[at] == '\t' || sample[at] == '\n';
      if (sample[at] != '"') continue;
      if (!sample.substr(at + 1).starts_with('"')) break;
      doubled = true;
      ++at;
    }
    if (at >= sample.size()) break;  // never closed, or not in the sample
    ++at;
    if (sample.substr(at).starts_with('\r')) ++at;
    if (at < sample.size() && sample[at] != '\t' && sample[at] != '\n') return false;
    needed = needed || (doubled && !parted);
    ++at;
  }
  return needed;
}

}  // namespace bilevel
