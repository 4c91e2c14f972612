#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <unordered_map>

#include "bilevel/core/number.h"
#include "bilevel/data/class_key.h"
#include "bilevel/data/tokenizer.h"
#include "bilevel/task/describe/describer.h"
#include "bilevel/task/job/job.h"

namespace bilevel {
namespace {

constexpr int64_t kTokensRead = 256;  // FeatureOptions::max_length
constexpr double kFar = 10;           // median absolute deviations

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

}  // namespace

void Doubting::add(DoubtfulRow row) {
  if (doubt_.count++ < shown_) {
    row.value = shortened(row.value, 60);
    doubt_.rows.push_back(std::move(row));
  }
}

void Doubting::finish(std::vector<Doubt>& doubts, std::string verb, const std::string& rest) {
  if (doubt_.count == 0) return;
  const bool one = doubt_.count == 1;
  if (!one) verb = verb == "is" ? "are" : verb == "has" ? "have" : verb.substr(0, verb.size() - 1);
  doubt_.message = fmt::format("{} row{} {} {}", doubt_.count, one ? "" : "s", verb, rest);
  doubts.push_back(std::move(doubt_));
}

void Describer::doubt_classes() {
  if (d_.label.empty()) return;
  std::map<std::string, std::string> spelling;  // key to the most frequent form
  std::set<std::string> odd;
  std::unordered_map<std::string, int64_t> size;
  for (const LabelCount& known : d_.classes) {
    if (!spelling.try_emplace(spelling_key(known.value), known.value).second) odd.insert(known.value);
    size[known.value] = known.rows;
  }
  Doubting missing = doubting("missing_label", d_.label), spelled = doubting("label_spelling", d_.label),
           rare = doubting("rare_class", d_.label);
  for (size_t row = 0; row < labels_.size(); ++row) {
    const std::string& label = labels_[row];
    if (label.empty()) missing.add({.line = line(row)});
    if (odd.contains(label))
      spelled.add({.line = line(row), .value = label + " or " + spelling[spelling_key(label)]});
    if (!label.empty() && size[label] < 3) rare.add({.line = line(row), .value = label});
  }
  missing.finish(d_.doubts, "has", "no label");
  spelled.finish(d_.doubts, "has", "a label that differs from another only in case, blanks or Unicode form");
  // Numbers of a regression are no rare classes.
  if (2 * rare.count() < d_.rows)
    rare.finish(
        d_.doubts, "is",
        rare.count() == 1 ? "of a class with fewer than 3 rows" : "of classes with fewer than 3 rows");
}

void Describer::doubt_copies() {
  Doubting duplicate = doubting("duplicate"), conflict = doubting("conflict");
  std::unordered_map<std::string_view, size_t> first;
  for (size_t row = 0; row < keys_.size(); ++row) {
    if (keys_[row].empty()) continue;
    const auto [found, added] = first.try_emplace(keys_[row], row);
    if (added) continue;
    const int64_t earlier = line(found->second);
    const std::string &mine = labels_[row], &other = labels_[found->second];
    duplicate.add({.line = line(row), .earlier = earlier});
    if (mine != other && !mine.empty() && !other.empty())
      conflict.add({.line = line(row), .earlier = earlier, .value = mine + " after " + other});
  }
  const std::string what = !d_.texts.empty()  ? "the text of an earlier row"
                           : d_.label.empty() ? "all values of an earlier row"
                                              : "all values but the label of an earlier row";
  duplicate.finish(d_.doubts, "repeats", what);
  conflict.finish(d_.doubts, "repeats", what + " with another label");
}

void Describer::doubt_texts(const Table& table) {
  for (DescribedColumn& column : d_.columns) {
    if (!is_text(column)) continue;
    const size_t c = table.column(column.name);
    std::vector<double> words;
    Doubting empty = doubting("empty_text", column.name), cut = doubting("cut_text", column.name),
             is_long = doubting("long_text", column.name);
    for (size_t row = 0; row < table.rows(); ++row) {
      const auto [count, tokens] = lengths_of(table.cell(row, c));
      words.push_back(static_cast<double>(count));
      if (tokens == 0) empty.add({.line = line(row)});
      if (tokens > kTokensRead) cut.add({.line = line(row), .value = fmt::format("{} tokens", tokens)});
    }
    std::vector<double> sorted = words;
    column.words = spread_of(sorted);
    const double limit =
        std::max(column.words->median + kFar * column.words->deviation, 3 * column.words->median);
    for (size_t row = 0; row < table.rows() && column.words->median > 0; ++row) {
      if (words[row] > limit)
        is_long.add({.line = line(row), .value = fmt::format("{:.0f} words", words[row])});
    }
    const std::string in = fmt::format("in '{}'", column.name);
    empty.finish(later_, "has", "no text " + in);
    is_long.finish(later_, "is",
                   fmt::format("unusually long {} (the median is {:g} words)", in, column.words->median));
    cut.finish(
        later_, "has",
        fmt::format("more {} than the {} tokens that encoders of word sequences read", in, kTokensRead));
  }
}

void Describer::doubt_empty_rows(const Table& table) {
  if (std::ranges::count_if(d_.columns, [this](const auto& column) { return is_feature(column); }) < 2)
    return;  // an empty text is named already
  Doubting empty = doubting("empty_row");
  for (size_t row = 0; row < table.rows(); ++row) {
    bool some = false;
    for (size_t c = 0; c < table.columns() && !some; ++c)
      some = is_feature(d_.columns[c]) && !is_missing(table.cell(row, c));
    if (!some) empty.add({.line = line(row)});
  }
  empty.finish(later_, "has", "no value but label and identifier");
}

void Describer::doubt_cells(const Table& table) {
  Doubting encoding = doubting("encoding");
  for (size_t row = 0; row < table.rows(); ++row) {
    for (size_t c = 0; c < table.columns(); ++c) {
      const std::string broken = broken_characters(table.cell(row, c));
      if (broken.empty()) continue;
      encoding.add({.line = table.position(row, c).line, .value = broken});
      break;
    }
  }
  encoding.finish(later_, "holds", "characters that look broken by a wrong encoding");
  for (size_t c = 0; c < table.columns(); ++c) {
    if (is_feature(d_.columns[c]) && d_.columns[c].type != ColumnKind::text) doubt_numbers(table, c);
  }
}

void Describer::doubt_numbers(const Table& table, size_t c) {
  const DescribedColumn& column = d_.columns[c];
  Doubting word = doubting("word_among_numbers", column.name), infinite = doubting("infinite", column.name),
           far = doubting("far_out", column.name);
  int64_t numbers = 0, words = 0;
  for (size_t row = 0; row < table.rows(); ++row) {
    const CellKind kind = number_in(table, row, c).kind;
    numbers += kind == CellKind::number ? 1 : 0;
    words += kind == CellKind::word ? 1 : 0;
  }
  const bool mostly_numbers = numbers > 4 * words;
  const Spread spread = column.numbers.value_or(Spread{});
  for (size_t row = 0; row < table.rows(); ++row) {
    const std::string_view cell = table.cell(row, c);
    const Number number = number_in(table, row, c);
    const DoubtfulRow found{.line = table.position(row, c).line, .value = std::string(trimmed(cell))};
    if (number.kind == CellKind::word && mostly_numbers) word.add(found);
    if (number.kind == CellKind::infinite) infinite.add(found);
    if (number.kind == CellKind::number && is_far(number.value, spread)) far.add(found);
  }
  const std::string in = fmt::format("in '{}'", column.name);
  word.finish(later_, "has", "a word among the numbers " + in);
  infinite.finish(later_, "is", "infinite " + in);
  doubt_repeated(table, c);
  finish_far(far, column.name, spread);
}

void Describer::doubt_repeated(const Table& table, size_t c) {
  const RecognizedColumn& found = recognized_[c];
  if (found.doubt.empty()) return;
  Doubting repeated = doubting("far_out_repeats", found.name);
  for (size_t row = 0; row < table.rows() && found.far; ++row) {
    const Number number = number_in(table, row, c);
    if (number.kind == CellKind::number && number.value == *found.far)
      repeated.add({.line = table.position(row, c).line, .value = std::string(trimmed(table.cell(row, c)))});
  }
  repeated.finish(later_, "has", fmt::format("a number far out in '{}': {}", found.name, found.doubt));
  if (!found.far)
    later_.push_back({.kind = found.reading.as == CellReading::date ? "ambiguous_dates" : "long_numbers",
                      .column = found.name,
                      .message = found.name + ": " + found.doubt});
}

bool Describer::is_far(double value, const Spread& spread) const {
  return spread.deviation > 0 && std::abs(value - spread.median) > kFar * spread.deviation;
}

void Describer::finish_far(Doubting& far, const std::string& column, const Spread& spread) {
  if (100 * far.count() > std::max<int64_t>(d_.rows, 100)) return;  // a long tail
  far.finish(later_, "is",
             fmt::format("far out in '{}' (median {:g}, median absolute deviation {:g})", column,
                         spread.median, spread.deviation));
}

}  // namespace bilevel
