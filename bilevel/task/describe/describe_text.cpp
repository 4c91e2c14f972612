// The description of a data file as JSON and as a page for a terminal.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/core/printable.h"
#include "bilevel/data/characters.h"
#include "bilevel/report/page.h"
#include "bilevel/task/describe/describe.h"

namespace bilevel {
namespace {

using Json = nlohmann::ordered_json;

// ---- JSON ----

/// Whole where it is.
Json json_number(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15) return static_cast<int64_t>(value);
  return value;
}

Json json_of(const Spread& s) {
  return {{"min", json_number(s.least)},     {"q25", json_number(s.lower_quartile)},
          {"median", json_number(s.median)}, {"q75", json_number(s.upper_quartile)},
          {"max", json_number(s.most)},      {"mean", json_number(s.mean)},
          {"mad", json_number(s.deviation)}, {"whole", s.whole}};
}

Json json_of(const std::vector<LabelCount>& counts, int64_t rows) {
  Json list = Json::array();
  for (const LabelCount& count : counts) {
    list.push_back({{"value", count.value},
                    {"rows", count.rows},
                    {"share", static_cast<double>(count.rows) / static_cast<double>(rows)}});
  }
  return list;
}

Json json_of(const DescribedColumn& column, int64_t rows) {
  Json json{{"name", column.name},
            {"type", name_of(column.type)},
            {"label_like", column.label_like},
            {"missing", column.missing},
            {"distinct", column.distinct}};
  if (!column.notation.empty()) json["notation"] = column.notation;
  if (!column.values.empty()) json["values"] = json_of(column.values, rows);
  if (column.numbers) json["numbers"] = json_of(*column.numbers);
  if (column.words) json["words"] = json_of(*column.words);
  return json;
}

Json json_of(const Doubt& doubt) {
  Json rows = Json::array();
  for (const DoubtfulRow& row : doubt.rows) {
    Json entry{{"line", row.line}};
    if (row.earlier > 0) entry["earlier_line"] = row.earlier;
    if (!row.value.empty()) entry["value"] = row.value;
    rows.push_back(std::move(entry));
  }
  Json json{{"kind", doubt.kind}};
  if (!doubt.column.empty()) json["column"] = doubt.column;
  json["count"] = doubt.count;
  json["message"] = doubt.message;
  json["rows"] = std::move(rows);
  return json;
}

// ---- text ----

/// 12345 as "12,345".
std::string with_commas(int64_t value) { return grouped(value, ","); }

std::string counted(int64_t value, const std::string& what) {
  return fmt::format("{} {}{}", with_commas(value), what, value == 1 ? "" : "s");
}

/// A few significant digits, whole numbers as they are.
std::string shown(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e9) return with_commas(static_cast<int64_t>(value));
  return fmt::format("{:.4g}", value);
}

/// A cell, printable, in at most `width` characters.
std::string cut(const std::string& cell, size_t width) {
  const std::string text = printable(cell);
  if (width_of(text) <= width) return text;
  size_t at = 0;
  for (size_t i = 0; i + 3 < width; ++i) next_code_point(text, at);
  return text.substr(0, at) + "...";
}

std::string size_text(int64_t bytes) {
  constexpr double kKibi = 1024;
  const auto size = static_cast<double>(bytes);
  if (size < kKibi) return counted(bytes, "byte");
  return size < kKibi * kKibi ? fmt::format("{:.1f} KiB", size / kKibi)
                              : fmt::format("{:.1f} MiB", size / kKibi / kKibi);
}

std::string share_text(int64_t part, int64_t whole) {
  return fmt::format("{:.1f} %", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

/// What a column holds, in a line.
std::string content_of(const DescribedColumn& column) {
  if (column.words) {
    return fmt::format("{} to {} words, median {}", shown(column.words->least), shown(column.words->most),
                       shown(column.words->median));
  }
  if (column.type == ColumnKind::identifier || column.type == ColumnKind::date ||
      column.type == ColumnKind::empty)
    return "";
  const bool listed = column.distinct <= static_cast<int64_t>(column.values.size());
  if (column.numbers && !(listed && column.label_like)) {
    const Spread& s = *column.numbers;
    if (s.least == s.most) return shown(s.least) + (column.missing > 0 ? " or missing" : "");
    return fmt::format("{} to {}, median {}, half in {} to {}", shown(s.least), shown(s.most),
                       shown(s.median), shown(s.lower_quartile), shown(s.upper_quartile));
  }
  std::vector<std::string> values;
  size_t width = 0, used = 0;
  for (const LabelCount& value : column.values) {
    std::string entry = fmt::format("{} {}", cut(value.value, 24), with_commas(value.rows));
    width += width_of(entry) + 2;
    if (width > 48 && used > 0) break;
    values.push_back(std::move(entry));
    ++used;
  }
  return fmt::format("{}{}", fmt::join(values, ", "),
                     static_cast<int64_t>(used) < column.distinct ? ", ..." : "");
}

std::string columns_text(const DataDescription& d) {
  constexpr size_t kShown = 60;
  std::vector<std::vector<std::string>> rows{{"column", "type", "missing", "distinct", "holds"}};
  for (size_t i = 0; i < std::min(d.columns.size(), kShown); ++i) {
    const DescribedColumn& column = d.columns[i];
    std::string role = column.name == d.label ? "label" : name_of(column.type);
    if (!column.notation.empty()) role += ", " + column.notation;
    rows.push_back({cut(column.name, 28), role, column.missing > 0 ? with_commas(column.missing) : "-",
                    with_commas(column.distinct), content_of(column)});
  }
  std::string text = aligned(rows, {false, false, true, true, false}, 2);
  if (d.columns.size() > kShown)
    text += fmt::format("  ... and {} (all of them with --json)\n",
                        counted(static_cast<int64_t>(d.columns.size() - kShown), "column"));
  return text;
}

std::string matrix_text(const DescribedMatrix& m, int64_t rows) {
  std::vector<std::string> kinds;
  const auto kind = [&](int64_t count, const char* what) {
    if (count > 0) kinds.push_back(with_commas(count) + " " + what);
  };
  kind(m.binary, "with two values");
  kind(m.whole, "of whole numbers");
  kind(m.real, "of real numbers");
  kind(m.constant, "constant");
  kind(m.unused, "always 0");
  const double density =
      static_cast<double>(m.entries) / (static_cast<double>(rows) * static_cast<double>(m.width));
  return fmt::format(
      "  numbered columns  {}: {}\n  values            {} to {}; {:.3g} % are not 0\n"
      "  entries a row     {} to {}, median {}\n",
      with_commas(m.width), fmt::join(kinds, ", "), shown(m.least), shown(m.most), 100 * density,
      shown(m.entries_a_row.least), shown(m.entries_a_row.most), shown(m.entries_a_row.median));
}

std::string classes_text(const DataDescription& d) {
  constexpr size_t kShown = 20;
  constexpr double kBar = 30;
  std::vector<std::vector<std::string>> rows;
  for (size_t i = 0; i < std::min(d.classes.size(), kShown); ++i) {
    const LabelCount& one = d.classes[i];
    std::string bar;
    const auto length = static_cast<int64_t>(
        std::lround(kBar * static_cast<double>(one.rows) / static_cast<double>(d.classes[0].rows)));
    for (int64_t n = 0; n < std::max<int64_t>(length, 1); ++n) bar += "\u2588";
    rows.push_back({cut(one.value, 40), with_commas(one.rows), share_text(one.rows, d.rows), bar});
  }
  std::string text =
      fmt::format("\n{} of '{}'{}\n",
                  counted(static_cast<int64_t>(d.classes.size()), d.classes.size() == 1 ? "class" : "classe"),
                  printable(d.label), d.label_given ? "" : " (a guess; --label names another column)");
  text += aligned(rows, {false, true, true, false}, 2);
  if (d.classes.size() > kShown) {
    const int64_t fewest = d.classes.back().rows, most = d.classes[kShown].rows;
    text += fmt::format("  ... and {} of {}{}\n",
                        counted(static_cast<int64_t>(d.classes.size() - kShown), "other"),
                        fewest < most ? with_commas(fewest) + " to " : "", counted(most, "row"));
  }
  return text;
}

std::string doubts_text(const DataDescription& d) {
  if (d.doubts.empty()) return "\nno doubtful rows\n";
  std::string text = "\ndoubtful rows\n";
  const char* unit = d.format == "idx" ? "row" : "line";
  for (const Doubt& doubt : d.doubts) {
    if (doubt.count == 0) {  // of a column, not of rows
      text += fmt::format("  {}\n", printable(doubt.message));
      continue;
    }
    text += fmt::format("  {}{}\n", with_commas(doubt.count),
                        printable(doubt.message.substr(doubt.message.find(' '))));
    std::string line = fmt::format("      {}{} ", unit, doubt.rows.size() == 1 ? "" : "s");
    size_t used = 0;
    for (const DoubtfulRow& row : doubt.rows) {
      std::string entry = fmt::format("{}", row.line);
      if (row.earlier > 0) entry += fmt::format(" (as {})", row.earlier);
      if (!row.value.empty()) entry += fmt::format(" ({})", cut(row.value, 24));
      if (row.earlier > 0 && !row.value.empty())
        entry = fmt::format("{} (as {}: {})", row.line, row.earlier, cut(row.value, 36));
      if (used > 0 && width_of(line) + width_of(entry) > 96) break;
      line += (used > 0 ? ", " : "") + entry;
      ++used;
    }
    text += line + (static_cast<int64_t>(used) < doubt.count ? ", ...\n" : "\n");
  }
  return text;
}

}  // namespace

nlohmann::ordered_json DataDescription::to_json() const {
  Json json{{"file", file}, {"format", format}, {"gzipped", gzipped}, {"bytes", bytes}, {"rows", rows}};
  if (matrix) {
    json["matrix"] = {{"columns", matrix->width},
                      {"entries", matrix->entries},
                      {"unused", matrix->unused},
                      {"constant", matrix->constant},
                      {"binary", matrix->binary},
                      {"whole", matrix->whole},
                      {"real", matrix->real},
                      {"min", json_number(matrix->least)},
                      {"max", json_number(matrix->most)},
                      {"entries_a_row", json_of(matrix->entries_a_row)}};
  } else {
    json["columns"] = Json::array();
    for (const DescribedColumn& column : columns) json["columns"].push_back(json_of(column, rows));
  }
  json["label"] = label.empty() ? Json(nullptr) : Json(label);
  json["label_given"] = label_given;
  json["texts"] = texts;
  json["classes"] = json_of(classes, rows);
  json["doubts"] = Json::array();
  for (const Doubt& doubt : doubts) json["doubts"].push_back(json_of(doubt));
  json["suggestions"] = Json::array();
  for (const Suggestion& one : suggestions)
    json["suggestions"].push_back({{"command", "bilevel " + one.command}, {"why", one.why}});
  return json;
}

std::string text_of(const DataDescription& d) {
  std::string text = fmt::format("{}: {}{}, {}, {}", printable(d.file), d.format,
                                 d.gzipped ? ", gzipped" : "", size_text(d.bytes), counted(d.rows, "row"));
  text += d.matrix ? "\n\n" + matrix_text(*d.matrix, d.rows)
                   : fmt::format(", {}\n\n", counted(static_cast<int64_t>(d.columns.size()), "column")) +
                         columns_text(d);
  text += d.classes.empty() ? "\nno column looks like a label (--label names one)\n" : classes_text(d);
  text += doubts_text(d);
  if (!d.suggestions.empty()) text += "\nwhat to try\n";
  for (const Suggestion& one : d.suggestions)
    text += fmt::format("  # {}\n  bilevel {}\n", printable(one.why), one.command);
  return text;
}

}  // namespace bilevel
