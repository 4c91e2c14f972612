#include "bilevel/task/clean/edited_file.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "bilevel/core/number.h"
#include "bilevel/data/lines.h"

namespace bilevel {
namespace {

/// Where the quoted field that begins at `begin` ends.
size_t end_of_quoted(const std::string& text, size_t begin) {
  for (size_t i = begin + 1; i < text.size(); ++i) {
    if (text[i] != '"') continue;
    if (i + 1 >= text.size() || text[i + 1] != '"') return i + 1;
    ++i;
  }
  return text.size();
}

/// Where the JSON value that begins at `begin`, no list and no object, ends.
size_t end_of_json(const std::string& text, size_t begin) {
  if (text[begin] != '"') return std::min(text.find_first_of(",} \t\r\n", begin), text.size());
  for (size_t i = begin + 1; i < text.size(); ++i) {
    if (text[i] == '\\')
      ++i;
    else if (text[i] == '"')
      return i + 1;
  }
  return text.size();
}

std::string in_csv(const std::string& label, bool quoted, bool plain_tsv) {
  const char* const special = plain_tsv ? "\t\r\n" : ",;|\t\"\r\n";
  if (!quoted && label.find_first_of(special) == std::string::npos && trimmed(label).size() == label.size())
    return label;
  std::string text = "\"";
  for (const char c : label) text += c == '"' ? std::string("\"\"") : std::string(1, c);
  return text + '"';
}

std::string in_json(const std::string& label, bool quoted) {
  if (!quoted) {
    const auto value = nlohmann::json::parse(label, nullptr, /*allow_exceptions=*/false);
    if (value.is_number() || value.is_boolean()) return label;
  }
  return nlohmann::json(label).dump();
}

/// Puts a new label in the place of the one that begins at `begin` and is read as `old`.
void replace_label(std::string& text, size_t begin, std::string_view old, const std::string& label,
                   Format format, char delimiter) {
  size_t end = begin + old.size();
  std::string written = label;
  if (format == Format::libsvm) {
    begin = std::min(text.find_first_not_of(" \t", begin), text.size());
    end = std::min(text.find_first_of(" \t\r\n#", begin), text.size());
  } else if (format == Format::jsonl) {
    end = end_of_json(text, begin);
    written = in_json(label, text[begin] == '"');
  } else {
    const bool quoted = text.compare(begin, old.size(), old) != 0;
    if (quoted) end = end_of_quoted(text, begin);
    written = in_csv(label, quoted, format == Format::tsv && delimiter == '\t');
  }
  text.replace(begin, end - begin, written);
}

const std::string& path_of(const DataFile& file) {
  const auto* table = std::get_if<Table>(&file);
  return table != nullptr ? table->path() : std::get<SparseTable>(file).path;
}

}  // namespace

void edit_file(const DataFile& file, const std::string& label, const TableOptions& read,
               const std::function<RowEdit(size_t row)>& edit_of, const TextSink& take) {
  const std::string& path = path_of(file);
  const Format format = format_of(path, read.format);
  const auto* table = std::get_if<Table>(&file);
  const size_t column = table != nullptr ? table->column(label) : 0;
  const auto line_of = [&](size_t row) { return position_of(file, static_cast<int64_t>(row)).line; };
  const auto rows = static_cast<size_t>(rows_of(file));
  std::string text;            // of a row, from its first line on
  std::vector<size_t> begins;  // of its lines in it
  const auto end_row = [&](size_t row) {
    const RowEdit edit = edit_of(row);
    if (!edit.label.empty()) {
      const Position at =
          table != nullptr ? table->position(row, column) : std::get<SparseTable>(file).position(row);
      const std::string_view old = table != nullptr ? table->original(row, column) : std::string_view();
      replace_label(text,
                    begins[static_cast<size_t>(at.line - line_of(row))] + static_cast<size_t>(at.column - 1),
                    old, edit.label, format, table != nullptr ? table->delimiter() : '\0');
    }
    if (!edit.left_out) take(text);
    text.clear();
    begins.clear();
  };
  size_t next = 0;  // the row whose first line has not come yet
  for (LineReader lines(path, read.encoding); lines.next();) {
    if (next < rows && lines.number() == line_of(next)) {
      if (next > 0) end_row(next - 1);
      ++next;
    }
    if (next == 0) {
      take(lines.raw());  // a header, comments
      continue;
    }
    begins.push_back(text.size());
    text += lines.raw();
  }
  if (next > 0) end_row(next - 1);
}

}  // namespace bilevel
