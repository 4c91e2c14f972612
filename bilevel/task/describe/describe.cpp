#include "bilevel/task/describe/describe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <unordered_map>

#include "bilevel/core/error.h"
#include "bilevel/core/number.h"
#include "bilevel/data/text.h"
#include "bilevel/task/features.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kTokensRead = 256;  // FeatureOptions::max_length
constexpr double kFar = 10;           // median absolute deviations
constexpr size_t kValuesShown = 10;

std::string lower(std::string_view text) { return lower_case(trimmed(text)); }

/// Equal for cells that hold the same value: numbers compare as numbers.
std::string key_of(std::string_view cell) {
  const Number number = read_number(cell);
  return number.kind == CellKind::number ? fmt::format("{}", number.value + 0.0) : std::string(trimmed(cell));
}

double quantile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(at);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

/// Sorts `values`, at least one.
Spread spread_of(std::vector<double>& values) {
  std::sort(values.begin(), values.end());
  Spread spread{
      .least = values.front(),
      .lower_quartile = quantile(values, 0.25),
      .median = quantile(values, 0.5),
      .upper_quartile = quantile(values, 0.75),
      .most = values.back(),
      .whole = std::all_of(values.begin(), values.end(), [](double v) { return v == std::floor(v); })};
  std::vector<double> distances;
  distances.reserve(values.size());
  for (const double value : values) {
    spread.mean += (value - spread.mean) / static_cast<double>(distances.size() + 1);
    distances.push_back(std::abs(value - spread.median));
  }
  std::sort(distances.begin(), distances.end());
  spread.deviation = quantile(distances, 0.5);
  return spread;
}

/// Words as a person counts them: tokens that are no punctuation.
struct Lengths {
  int64_t words = 0, tokens = 0;
};
Lengths lengths_of(std::string_view text) {
  Lengths lengths;
  for (const std::string& token : tokenize(text)) {
    size_t at = 0;
    const CharacterKind kind = kind_of(next_code_point(token, at));
    ++lengths.tokens;
    // The second half of a contraction ("n't", "'s") belongs to the word before.
    if (token == "n't" || (token[0] == '\'' && token.size() > 1)) continue;
    lengths.words += kind == CharacterKind::word || kind == CharacterKind::ideograph ? 1 : 0;
  }
  return lengths;
}

/// What is broken in a cell's characters; empty: nothing.
std::string broken_characters(std::string_view cell) {
  for (size_t at = 0; at < cell.size();) {
    const char32_t character = next_code_point(cell, at);
    if (character == 0xFFFD) return "U+FFFD";
    if ((character < 0x20 && character != '\t' && character != '\n' && character != '\r') ||
        (character >= 0x7F && character < 0xA0)) {
      return fmt::format("U+{:04X}", static_cast<uint32_t>(character));
    }
    // A two-byte character (lead byte 0xC2 or 0xC3) and a typographic mark (0xE2 0x80), each byte read as Latin-1 or
    // Windows-1252: A-tilde or A-circumflex before a sign of Latin-1, a-circumflex before the euro sign.
    if (character == 0xC3 || character == 0xC2 || character == 0xE2) {
      size_t next = at;
      const char32_t follower = next < cell.size() ? next_code_point(cell, next) : U' ';
      const bool sign = follower >= 0xA0 && follower <= 0xBF;
      if (character == 0xE2 ? follower == 0x20AC : sign)
        return std::string(cell.substr(at - 2, next - at + 2));
    }
  }
  return {};
}

std::string shortened(std::string_view text, size_t bytes) {
  if (text.size() <= bytes) return std::string(text);
  size_t end = bytes;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return std::string(text.substr(0, end)) + "...";
}

std::string rows_text(int64_t count) { return fmt::format("{} row{}", count, count == 1 ? "" : "s"); }

/// Collects one kind of doubt.
class Doubting {
 public:
  Doubting(std::string kind, std::string column, int64_t shown) : shown_(shown) {
    doubt_.kind = std::move(kind);
    doubt_.column = std::move(column);
  }
  void add(DoubtfulRow row) {
    if (doubt_.count++ < shown_) {
      row.value = shortened(row.value, 60);
      doubt_.rows.push_back(std::move(row));
    }
  }
  int64_t count() const { return doubt_.count; }
  /// Hands it over if there was any row. `rest` follows "N rows ".
  void finish(std::vector<Doubt>& doubts, const std::string& one, const std::string& many) {
    if (doubt_.count == 0) return;
    doubt_.message = rows_text(doubt_.count) + " " + (doubt_.count == 1 ? one : many);
    doubts.push_back(std::move(doubt_));
  }

 private:
  int64_t shown_;
  Doubt doubt_;
};

/// The classes of some rows, and what is odd about them. `labels`: the key of each row's label ("" where missing).
std::vector<LabelCount> counted_classes(const std::vector<std::string>& labels) {
  std::vector<LabelCount> classes;
  std::unordered_map<std::string, size_t> index;
  for (const std::string& label : labels) {
    if (label.empty()) continue;
    const auto [found, added] = index.try_emplace(label, classes.size());
    if (added) classes.push_back({label, 0});
    ++classes[found->second].rows;
  }
  std::stable_sort(classes.begin(), classes.end(), [](const LabelCount& a, const LabelCount& b) {
    if (a.rows != b.rows) return a.rows > b.rows;
    const Number x = read_number(a.value), y = read_number(b.value);
    const bool numbers = x.kind == CellKind::number && y.kind == CellKind::number;
    return numbers ? x.value < y.value : a.value < b.value;
  });
  return classes;
}

/// Words of a command line, quoted where a shell needs it.
std::string shell_word(const std::string& word) {
  const bool plain = !word.empty() && std::all_of(word.begin(), word.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c >= 0x80 ||
           std::string_view("_-./,:=+@%").find(static_cast<char>(c)) != std::string_view::npos;
  });
  if (plain) return word;
  std::string text = "'";
  for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return text + "'";
}

class Describer {
 public:
  Describer(const std::string& path, const DescribeOptions& options) : o_(options) {
    if (options.shown < 1) throw InputError(fmt::format("rows = {}: must be >= 1", options.shown));
    d_.file = path;
    file_ =
        read_data_file(path, {.format = options.format, .header = options.header}, /*labels_required=*/false);
    const Format format = format_of(path, options.format);
    d_.format = name_of(format);
    d_.rows = rows_of(file_);
    const std::string first =
        std::holds_alternative<SparseTable>(file_) ? std::get<SparseTable>(file_).path : path;
    d_.bytes = static_cast<int64_t>(fs::file_size(first));
    std::ifstream file(first, std::ios::binary);
    d_.gzipped = file.get() == 0x1F && file.get() == 0x8B;
  }

  DataDescription describe() {
    if (const auto* table = std::get_if<Table>(&file_))
      describe_table(*table);
    else
      describe_matrix(std::get<SparseTable>(file_));
    d_.classes = counted_classes(labels_);
    doubt_classes();
    doubt_copies();
    std::move(later_.begin(), later_.end(), std::back_inserter(d_.doubts));
    suggest();
    return std::move(d_);
  }

 private:
  int64_t line(int64_t row) const { return position_of(file_, row).line; }
  Doubting doubting(const std::string& kind, const std::string& column = {}) const {
    return {kind, column, o_.shown};
  }

  // ---- tables ----

  void describe_table(const Table& table) {
    for (size_t c = 0; c < table.columns(); ++c) d_.columns.push_back(describe_column(table, c));
    if (!o_.text.empty()) {
      DescribedColumn& column = d_.columns[table.column(o_.text)];
      column.type = ColumnType::text;
      column.values.clear();
      d_.texts = {column.name};
    } else {
      for (const DescribedColumn& column : d_.columns) {
        if (column.type == ColumnType::text) d_.texts.push_back(column.name);
      }
    }
    choose_label(table);
    // One key a row for "the same row".
    std::vector<size_t> compared;
    for (size_t c = 0; c < table.columns(); ++c) {
      const DescribedColumn& column = d_.columns[c];
      const bool is_text = std::find(d_.texts.begin(), d_.texts.end(), column.name) != d_.texts.end();
      if (column.name == d_.label || column.type == ColumnType::identifier) continue;
      if (is_text || d_.texts.empty()) compared.push_back(c);
    }
    keys_.resize(table.rows());
    if (!compared.empty()) {
      for (size_t row = 0; row < table.rows(); ++row) {
        std::string key;
        bool some = false;
        for (const size_t c : compared) {
          const std::string cell = key_of(table.cell(row, c));
          some = some || !is_missing(cell);
          key += cell + '\x1F';
        }
        if (some) keys_[row] = std::move(key);  // rows without any value are a doubt of their own
      }
    }
    doubt_texts(table);
    doubt_empty_rows(table);
    doubt_cells(table);
  }

  DescribedColumn describe_column(const Table& table, size_t c) {
    DescribedColumn column{.name = table.names()[c]};
    std::unordered_map<std::string, int64_t> counts;
    std::vector<std::string> order;
    std::vector<double> values;
    int64_t words = 0, infinite = 0, several = 0;
    for (size_t row = 0; row < table.rows(); ++row) {
      const std::string_view cell = table.cell(row, c);
      const Number number = read_number(cell);
      if (number.kind == CellKind::missing) {
        ++column.missing;
        continue;
      }
      if (number.kind == CellKind::number) values.push_back(number.value);
      if (number.kind == CellKind::infinite) ++infinite;
      if (number.kind == CellKind::word) {
        ++words;
        several += std::count(cell.begin(), cell.end(), ' ') >= 2 ? 1 : 0;
      }
      const auto [found, added] = counts.try_emplace(key_of(cell), 0);
      if (added) order.push_back(found->first);
      ++found->second;
    }
    const int64_t present = d_.rows - column.missing;
    column.distinct = static_cast<int64_t>(counts.size());
    const bool all_differ = column.distinct == present && present >= 20;
    if (present == 0) {
      column.type = ColumnType::empty;
    } else if (column.distinct == 1 && column.missing == 0 && d_.rows > 1) {
      column.type = ColumnType::constant;
    } else if (words == 0) {
      column.type = ColumnType::number;
    } else if (2 * several > words && (2 * column.distinct > present || column.distinct > 1000)) {
      column.type = ColumnType::text;
    } else {
      column.type = all_differ ? ColumnType::identifier : ColumnType::category;
    }
    if (words == 0 && !values.empty()) {
      column.numbers = spread_of(values);
      const std::string name = lower(column.name);
      const bool named =
          name == "id" || name.ends_with("_id") || name.ends_with(" id") || name == "index" || name == "row";
      const bool counts_up = column.numbers->most - column.numbers->least + 1 == static_cast<double>(present);
      if (all_differ && column.numbers->whole && (named || counts_up)) column.type = ColumnType::identifier;
    }
    // Two or more values that return, and not too many of them.
    column.label_like = (column.type == ColumnType::category || (column.numbers && column.numbers->whole)) &&
                        20 * column.missing <= d_.rows && infinite == 0 && column.distinct >= 2 &&
                        column.distinct <= std::min<int64_t>(200, std::max<int64_t>(2, d_.rows / 2));
    if (column.type != ColumnType::text && column.type != ColumnType::identifier) {
      std::stable_sort(order.begin(), order.end(),
                       [&](const std::string& a, const std::string& b) { return counts[a] > counts[b]; });
      for (size_t i = 0; i < std::min(order.size(), kValuesShown); ++i)
        column.values.push_back({order[i], counts[order[i]]});
    }
    return column;
  }

  void choose_label(const Table& table) {
    std::optional<size_t> chosen;
    if (!o_.label.empty()) {
      chosen = table.column(o_.label);
      d_.label_given = true;
      if (d_.columns[*chosen].type == ColumnType::empty)
        fail_at(table.position(0, *chosen),
                fmt::format("every cell of the label column '{}' is missing", o_.label));
    } else {
      static const std::set<std::string> kNames{"label",    "class",     "target",   "y",
                                                "category", "sentiment", "polarity", "outcome",
                                                "topic",    "labels",    "classes"};
      int best = 0;
      for (size_t c = 0; c < d_.columns.size(); ++c) {
        const DescribedColumn& column = d_.columns[c];
        if (!column.label_like || std::count(d_.texts.begin(), d_.texts.end(), column.name) > 0) continue;
        const int score = (kNames.contains(lower(column.name)) ? 8 : 0) +
                          (c + 1 == d_.columns.size() ? 3 : 0) + (c == 0 ? 2 : 0) +
                          (column.distinct <= 20 ? 1 : 0) + (column.type == ColumnType::category ? 1 : 0);
        if (score >= best) {
          best = score;
          chosen = c;
        }
      }
      if (best < 3) chosen.reset();  // few values alone make no label
    }
    labels_.resize(static_cast<size_t>(d_.rows));
    if (!chosen) return;
    d_.label = d_.columns[*chosen].name;
    for (size_t row = 0; row < table.rows(); ++row) {
      const std::string_view cell = table.cell(row, *chosen);
      if (!is_missing(cell)) labels_[row] = key_of(cell);
    }
  }

  void doubt_texts(const Table& table) {
    for (DescribedColumn& column : d_.columns) {
      if (std::find(d_.texts.begin(), d_.texts.end(), column.name) == d_.texts.end()) continue;
      const size_t c = table.column(column.name);
      std::vector<double> words, lengths;
      Doubting empty = doubting("empty_text", column.name), cut = doubting("cut_text", column.name);
      for (size_t row = 0; row < table.rows(); ++row) {
        const auto [count, tokens] = lengths_of(table.cell(row, c));
        words.push_back(static_cast<double>(count));
        if (tokens == 0) empty.add({.line = line(static_cast<int64_t>(row))});
        if (tokens > kTokensRead)
          cut.add({.line = line(static_cast<int64_t>(row)), .value = fmt::format("{} tokens", tokens)});
      }
      lengths = words;
      column.words = spread_of(lengths);
      Doubting is_long = doubting("long_text", column.name);
      const double limit =
          std::max(column.words->median + kFar * column.words->deviation, 3 * column.words->median);
      for (size_t row = 0; row < table.rows() && column.words->median > 0; ++row) {
        if (words[row] > limit)
          is_long.add(
              {.line = line(static_cast<int64_t>(row)), .value = fmt::format("{:.0f} words", words[row])});
      }
      const std::string in = fmt::format("in '{}'", column.name);
      empty.finish(later_, "has no text " + in, "have no text " + in);
      is_long.finish(
          later_, fmt::format("is unusually long {} (the median is {:g} words)", in, column.words->median),
          fmt::format("are unusually long {} (the median is {:g} words)", in, column.words->median));
      cut.finish(
          later_,
          fmt::format("has more {} than the {} tokens that encoders of word sequences read", in, kTokensRead),
          fmt::format("have more {} than the {} tokens that encoders of word sequences read", in,
                      kTokensRead));
    }
  }

  void doubt_empty_rows(const Table& table) {
    Doubting empty = doubting("empty_row");
    size_t features = 0;
    for (const DescribedColumn& column : d_.columns)
      features += column.name != d_.label && column.type != ColumnType::identifier ? 1 : 0;
    if (features < 2) return;  // an empty text is named already
    for (size_t row = 0; row < table.rows(); ++row) {
      bool some = false;
      for (size_t c = 0; c < table.columns() && !some; ++c) {
        const DescribedColumn& column = d_.columns[c];
        some = column.name != d_.label && column.type != ColumnType::identifier &&
               !is_missing(table.cell(row, c));
      }
      if (!some) empty.add({.line = line(static_cast<int64_t>(row))});
    }
    empty.finish(later_, "has no value but label and identifier", "have no value but label and identifier");
  }

  void doubt_cells(const Table& table) {
    Doubting encoding = doubting("encoding");
    for (size_t row = 0; row < table.rows(); ++row) {
      for (size_t c = 0; c < table.columns(); ++c) {
        const std::string broken = broken_characters(table.cell(row, c));
        if (broken.empty()) continue;
        encoding.add({.line = table.position(row, c).line, .value = broken});
        break;
      }
    }
    encoding.finish(later_, "holds characters that look broken by a wrong encoding",
                    "hold characters that look broken by a wrong encoding");
    for (size_t c = 0; c < table.columns(); ++c) {
      const DescribedColumn& column = d_.columns[c];
      if (column.name == d_.label || column.type == ColumnType::text || column.type == ColumnType::identifier)
        continue;
      Doubting word = doubting("word_among_numbers", column.name),
               infinite = doubting("infinite", column.name), far = doubting("far_out", column.name);
      int64_t numbers = 0, words = 0;
      for (size_t row = 0; row < table.rows(); ++row) {
        const CellKind kind = read_number(table.cell(row, c)).kind;
        numbers += kind == CellKind::number ? 1 : 0;
        words += kind == CellKind::word ? 1 : 0;
      }
      const bool mostly_numbers = numbers > 4 * words;
      const Spread* spread = column.numbers ? &*column.numbers : nullptr;
      for (size_t row = 0; row < table.rows(); ++row) {
        const std::string_view cell = table.cell(row, c);
        const Number number = read_number(cell);
        const DoubtfulRow found{.line = table.position(row, c).line, .value = std::string(trimmed(cell))};
        if (number.kind == CellKind::word && mostly_numbers) word.add(found);
        if (number.kind == CellKind::infinite) infinite.add(found);
        if (number.kind == CellKind::number && spread != nullptr && spread->deviation > 0 &&
            std::abs(number.value - spread->median) > kFar * spread->deviation) {
          far.add(found);
        }
      }
      const std::string in = fmt::format("in '{}'", column.name);
      word.finish(later_, "has a word among the numbers " + in, "have a word among the numbers " + in);
      infinite.finish(later_, "is infinite " + in, "are infinite " + in);
      finish_far(far, column.name, *(spread != nullptr ? spread : &kNoSpread));
    }
  }

  void finish_far(Doubting& far, const std::string& column, const Spread& spread) {
    if (100 * far.count() > std::max<int64_t>(d_.rows, 100)) return;  // a long tail
    const std::string rest = fmt::format("far out in '{}' (median {:g}, median absolute deviation {:g})",
                                         column, spread.median, spread.deviation);
    far.finish(later_, "is " + rest, "are " + rest);
  }

  // ---- rows of numbered columns ----

  void describe_matrix(const SparseTable& table) {
    if (!o_.text.empty()) throw InputError(d_.file + ": a " + d_.format + " file has no text column");
    if (!o_.label.empty())
      throw InputError(fmt::format("{}: the labels of a {} file stand in no column; leave --label out",
                                   d_.file, d_.format));
    const SparseRows& rows = table.features;
    const auto* offsets = rows.offsets.data_ptr<int64_t>();
    const auto* indices = rows.indices.data_ptr<int64_t>();
    const float* values = rows.values.data_ptr<float>();
    DescribedMatrix matrix{.width = rows.width, .entries = 0, .entries_a_row = {}};
    struct Cell {
      float value;
      int64_t row;
    };
    std::vector<std::vector<Cell>> columns(static_cast<size_t>(rows.width));
    std::vector<double> a_row;
    Doubting empty = doubting("empty_row");
    keys_.resize(static_cast<size_t>(d_.rows));
    for (int64_t row = 0; row < d_.rows; ++row) {
      int64_t here = 0;
      std::string& key = keys_[static_cast<size_t>(row)];
      for (int64_t i = offsets[row]; i < offsets[row + 1]; ++i) {
        if (values[i] == 0) continue;
        ++here;
        columns[static_cast<size_t>(indices[i])].push_back({values[i], row});
        key.append(reinterpret_cast<const char*>(indices + i), sizeof(int64_t));
        key.append(reinterpret_cast<const char*>(values + i), sizeof(float));
      }
      if (here == 0) empty.add({.line = line(row)});
      matrix.entries += here;
      a_row.push_back(static_cast<double>(here));
    }
    matrix.entries_a_row = spread_of(a_row);
    empty.finish(later_, "has no entry that is not 0", "have no entry that is not 0");
    for (size_t c = 0; c < columns.size(); ++c) {
      const std::vector<Cell>& cells = columns[c];
      const auto present = static_cast<int64_t>(cells.size());
      std::vector<double> all(static_cast<size_t>(d_.rows - present), 0.0);
      for (const Cell& cell : cells) all.push_back(cell.value);
      const Spread spread = spread_of(all);
      matrix.least = std::min(matrix.least, spread.least);
      matrix.most = std::max(matrix.most, spread.most);
      const bool two =
          std::all_of(all.begin(), all.end(), [&](double v) { return v == all.front() || v == all.back(); });
      ++(present == 0                  ? matrix.unused
         : spread.least == spread.most ? matrix.constant
         : two                         ? matrix.binary
         : spread.whole                ? matrix.whole
                                       : matrix.real);
      Doubting far = doubting("far_out", fmt::format("{}", c + 1));
      if (spread.deviation > 0 && !two) {
        for (const Cell& cell : cells) {
          if (std::abs(cell.value - spread.median) > kFar * spread.deviation)
            far.add({.line = line(cell.row), .value = fmt::format("{:g}", cell.value)});
        }
      }
      finish_far(far, fmt::format("{}", c + 1), spread);
    }
    d_.matrix = matrix;
    labels_.resize(static_cast<size_t>(d_.rows));
    if (table.labels.empty()) return;
    d_.label = "label";
    d_.label_given = true;
    for (size_t row = 0; row < table.labels.size(); ++row)
      labels_[row] = fmt::format("{}", table.labels[row] + 0.0);
  }

  // ---- doubts about rows as a whole ----

  void doubt_classes() {
    if (d_.label.empty()) return;
    Doubting missing = doubting("missing_label", d_.label);
    for (int64_t row = 0; row < d_.rows; ++row) {
      if (labels_[static_cast<size_t>(row)].empty()) missing.add({.line = line(row)});
    }
    missing.finish(d_.doubts, "has no label", "have no label");
    std::map<std::string, std::string> spelling;  // lower case to the most frequent form
    std::set<std::string> odd;
    for (const LabelCount& known : d_.classes) {
      if (!spelling.try_emplace(lower(known.value), known.value).second) odd.insert(known.value);
    }
    Doubting spelled = doubting("label_spelling", d_.label), rare = doubting("rare_class", d_.label);
    std::unordered_map<std::string, int64_t> size;
    for (const LabelCount& known : d_.classes) size[known.value] = known.rows;
    for (int64_t row = 0; row < d_.rows; ++row) {
      const std::string& label = labels_[static_cast<size_t>(row)];
      if (odd.contains(label))
        spelled.add({.line = line(row), .value = label + " or " + spelling[lower(label)]});
      if (!label.empty() && size[label] < 3) rare.add({.line = line(row), .value = label});
    }
    spelled.finish(d_.doubts, "has a label that differs from another only in case",
                   "have a label that differs from another only in case");
    // Numbers of a regression are no rare classes.
    if (2 * rare.count() < d_.rows)
      rare.finish(d_.doubts, "is of a class with fewer than 3 rows", "are of classes with fewer than 3 rows");
  }

  void doubt_copies() {
    Doubting duplicate = doubting("duplicate"), conflict = doubting("conflict");
    std::unordered_map<std::string_view, size_t> first;
    for (size_t row = 0; row < keys_.size(); ++row) {
      if (keys_[row].empty()) continue;
      const auto [found, added] = first.try_emplace(keys_[row], row);
      if (added) continue;
      const int64_t earlier = line(static_cast<int64_t>(found->second));
      const std::string &mine = labels_[row], &other = labels_[found->second];
      duplicate.add({.line = line(static_cast<int64_t>(row)), .earlier = earlier});
      if (mine != other && !mine.empty() && !other.empty())
        conflict.add(
            {.line = line(static_cast<int64_t>(row)), .earlier = earlier, .value = mine + " after " + other});
    }
    const std::string what = !d_.texts.empty()  ? "the text"
                             : d_.label.empty() ? "all values"
                                                : "all values but the label";
    duplicate.finish(d_.doubts, fmt::format("repeats {} of an earlier row", what),
                     fmt::format("repeat {} of an earlier row", what));
    conflict.finish(d_.doubts, fmt::format("repeats {} of an earlier row with another label", what),
                    fmt::format("repeat {} of an earlier row with another label", what));
  }

  // ---- what to do with it ----

  void suggest() {
    if (d_.label.empty() || d_.classes.size() < 2 || d_.rows < 10) return;
    if (static_cast<int64_t>(d_.classes.size()) > std::max<int64_t>(2, d_.rows / 3))
      return;  // numbers, not classes
    std::string columns, all;
    const bool is_table = !d_.matrix.has_value();
    if (is_table && !d_.texts.empty()) {
      columns = " --text " + shell_word(d_.texts[0]);
    } else if (is_table) {
      bool every = true;
      std::string categorical;
      for (const DescribedColumn& column : d_.columns) {
        if (column.name == d_.label) continue;
        if (column.type == ColumnType::identifier || column.type == ColumnType::constant ||
            column.type == ColumnType::empty) {
          every = false;
          continue;
        }
        all += (all.empty() ? "" : ",") + column.name;
        const bool mixed = column.type == ColumnType::category &&
                           std::any_of(d_.doubts.begin(), d_.doubts.end(), [&](const Doubt& doubt) {
                             return doubt.kind == "word_among_numbers" && doubt.column == column.name;
                           });
        if (mixed) categorical += (categorical.empty() ? "" : ",") + column.name;
      }
      if (all.empty()) return;
      columns = " --features " + (every ? "all" : shell_word(all));
      if (!categorical.empty()) columns += " --categorical " + shell_word(categorical);
    }
    const std::string data = shell_word(d_.file) +
                             (o_.format == Format::automatic ? "" : " --format " + d_.format) +
                             (!o_.header   ? ""
                              : *o_.header ? " --header"
                                           : " --no-header") +
                             columns + (is_table ? " --label " + shell_word(d_.label) : "");
    const LabelCount& rarest = d_.classes.back();
    const double share = static_cast<double>(rarest.rows) / static_cast<double>(d_.rows);
    const auto classes = static_cast<int64_t>(d_.classes.size());
    if (rarest.rows >= 3 && (classes == 2 || share < 0.1)) {
      d_.suggestions.push_back(
          {fmt::format("auc --train {} --positive {}", data, shell_word(rarest.value)),
           fmt::format("rank the rows by class {} ({:.1f} % of the rows)", rarest.value, 100 * share)});
    }
    d_.suggestions.push_back({fmt::format("clean --train {} --trusted TRUSTED", data),
                              "find wrong labels with the help of a small file of trusted rows"});
    d_.suggestions.push_back({fmt::format("tune --train {}", data), "learn the regularization by gradient"});
    if (!d_.texts.empty()) suggest_meta(data);
  }

  void suggest_meta(const std::string& data) {
    const auto large =
        std::count_if(d_.classes.begin(), d_.classes.end(), [](const LabelCount& c) { return c.rows >= 20; });
    std::string domain;
    for (const DescribedColumn& column : d_.columns) {
      if (column.name != d_.label && column.type == ColumnType::category && column.label_like &&
          column.distinct >= 4 && domain.empty())
        domain = column.name;
    }
    if (domain.empty() && large < 9) return;
    d_.suggestions.push_back(
        {fmt::format("meta --data {}{}{} --ways {} --shots 5", data,
                     d_.texts.size() == 2 ? " --pair " + shell_word(d_.texts[1]) : "",
                     domain.empty() ? "" : " --domain " + shell_word(domain),
                     domain.empty() ? 5 : std::min<int64_t>(5, static_cast<int64_t>(d_.classes.size()))),
         domain.empty() ? fmt::format("learn to tell new classes apart from few examples ({} classes)", large)
                        : fmt::format("learn an encoder that adapts to new values of '{}'", domain)});
  }

  static constexpr Spread kNoSpread{};

  const DescribeOptions& o_;
  DataFile file_;
  DataDescription d_;
  std::vector<std::string> labels_;  // key per row; empty: missing
  std::vector<std::string> keys_;    // per row what copies have in common; empty: nothing to compare
  std::vector<Doubt> later_;  // doubts about texts and cells, which come after those about classes and copies
};

}  // namespace

std::string name_of(ColumnType type) {
  switch (type) {
    case ColumnType::number:
      return "number";
    case ColumnType::category:
      return "category";
    case ColumnType::text:
      return "text";
    case ColumnType::identifier:
      return "identifier";
    case ColumnType::constant:
      return "constant";
    case ColumnType::empty:
      return "empty";
  }
  throw InputError("unknown column type");
}

DataDescription describe_data(const std::string& path, const DescribeOptions& options) {
  return Describer(path, options).describe();
}

}  // namespace bilevel
