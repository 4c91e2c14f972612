#include "bilevel/data/recognize.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <unordered_set>

#include "bilevel/core/error.h"
#include "bilevel/data/characters.h"
#include "bilevel/data/class_key.h"

namespace bilevel {
namespace {

constexpr int64_t kCounted = 100'000;    // cells whose different values are counted
constexpr int64_t kIdentifierRows = 20;  // fewer values may differ by chance

/// Words of a cell; fewer for scripts that are written without blanks: two ideographs, or four letters of Thai, Lao, Khmer
/// or Burmese, are one.
double words_in(std::string_view cell) {
  double words = 0;
  bool inside = false;
  for (size_t at = 0; at < cell.size();) {
    const char32_t c = next_code_point(cell, at);
    const CharacterKind kind = kind_of(c);
    const bool unparted =
        (c >= 0xE00 && c < 0xF00) || (c >= 0x1000 && c < 0x10A0) || (c >= 0x1780 && c < 0x1800);
    if (kind == CharacterKind::ideograph || unparted) {
      words += unparted ? 0.25 : 0.5;
      inside = false;
    } else if (kind == CharacterKind::blank) {
      inside = false;
    } else if (!inside) {
      ++words;
      inside = true;
    }
  }
  return words;
}

/// Whether a word is a number or a date in some notation.
bool is_value(std::string_view cell) {
  return is_written_number(cell) || read_moment(cell, DateOrder::day_first) ||
         read_moment(cell, DateOrder::month_first);
}

double quantile_of(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<size_t>(share * static_cast<double>(sorted.size() - 1))];
}

/// The first or last of some sorted numbers, where it repeats and lies farther from the others than these spread.
std::optional<double> repeated_far_value(const std::vector<double>& sorted) {
  const auto count = static_cast<int64_t>(sorted.size());
  for (const bool low : {true, false}) {
    const double value = low ? sorted.front() : sorted.back();
    const auto [begin, end] = std::equal_range(sorted.begin(), sorted.end(), value);
    const int64_t times = end - begin, others = count - times;
    if (times < std::max<int64_t>(3, count / 200) || others < 10 || others <= times) continue;
    const std::vector<double> rest(low ? end : sorted.begin(), low ? sorted.end() : begin);
    const double spread = quantile_of(rest, 0.95) - quantile_of(rest, 0.05);
    const double gap = low ? rest.front() - value : value - rest.back();
    if (spread > 0 && gap > spread && gap > rest.back() - rest.front()) return value;
  }
  return std::nullopt;
}

/// One column, cell by cell.
class ColumnScan {
 public:
  ColumnScan(const Table& table, size_t column, ColumnWish wish)
      : table_(table), column_(column), wish_(wish) {
    found_.name = table.names()[column];
    if (wish == ColumnWish::unread) return;
    for (size_t row = 0; row < table.rows(); ++row) look_at(row);
  }

  /// What the column says of commas; one that is named categorical says nothing.
  const NumberGuess& numbers() const { return numbers_; }
  RecognizedColumn finish(bool decimal_comma, bool decimal_point);

 private:
  void look_at(size_t row);
  void note_numbers();
  void note_words();
  void note_long_numbers();
  /// The notation of all cells, as far as there is one; numbers of JSON have their own.
  std::optional<NumberNotation> notation(bool decimal_comma, bool decimal_point) const;
  int64_t present() const { return static_cast<int64_t>(table_.rows()) - found_.missing; }
  /// Every value that is not missing, up to some number, as `value_of` (of a cell) gives it.
  template <typename Value>
  int64_t count_distinct(Value value_of) const;

  const Table& table_;
  size_t column_;
  ColumnWish wish_;
  RecognizedColumn found_;
  NumberGuess numbers_;
  int64_t json_numbers_ = 0, other_cells_ = 0;  // that are not missing
  DateGuess dates_;
  std::map<std::string, int64_t> marks_,
      more_marks_;  // those of every column, and those of numbers and dates alone
};

void ColumnScan::look_at(size_t row) {
  const std::string_view cell = table_.cell(row, column_);
  const CellKind kind = read_number(cell).kind;
  if (kind == CellKind::missing) {
    ++marks_[std::string(trimmed(table_.written(row, column_)))];
    return;
  }
  if (kind == CellKind::word && is_missing_mark(cell)) {
    ++more_marks_[std::string(trimmed(cell))];
    return;
  }
  if (kind == CellKind::infinite && !found_.infinite) found_.infinite = row;
  if (table_.is_json_number(row, column_)) {
    ++json_numbers_;
  } else if (wish_ != ColumnWish::category) {
    ++other_cells_;
    numbers_.add(cell);
  }
  if (kind == CellKind::word) dates_.add(cell);
  if (kind == CellKind::number && !found_.number) found_.number = row;
  if (kind == CellKind::word && !found_.word) found_.word = row;
}

template <typename Value>
int64_t ColumnScan::count_distinct(Value value_of) const {
  std::unordered_set<decltype(value_of(std::string_view()))> values;
  int64_t seen = 0;
  for (size_t row = 0; row < table_.rows() && seen < kCounted; ++row) {
    const std::string_view cell = table_.cell(row, column_);
    if (found_.reading.as == CellReading::category ? is_missing(cell) : is_missing_mark(cell)) continue;
    values.insert(value_of(cell));
    ++seen;
  }
  return static_cast<int64_t>(values.size());
}

void ColumnScan::note_numbers() {
  std::vector<double> values;
  bool whole = true;
  double least = std::numeric_limits<double>::infinity(), most = -least;
  for (size_t row = 0; row < table_.rows(); ++row) {
    const Number number = table_.number(row, column_, found_.reading.notation);
    if (number.kind == CellKind::infinite && !found_.infinite) found_.infinite = row;
    if (number.kind != CellKind::number) continue;
    whole = whole && number.value == std::floor(number.value);
    least = std::min(least, number.value);
    most = std::max(most, number.value);
    if (static_cast<int64_t>(values.size()) < kCounted) values.push_back(number.value);
  }
  found_.kind = ColumnKind::number;
  if (values.empty()) return;
  std::sort(values.begin(), values.end());
  if (const auto far = repeated_far_value(values)) {
    found_.far = far;
    const auto [begin, end] = std::equal_range(values.begin(), values.end(), *far);
    const auto share = 100 * static_cast<double>(end - begin) / static_cast<double>(values.size());
    found_.doubt = fmt::format(
        "{:g} stands in {:.1f} % of the cells, far from all others; if it marks a missing value, "
        "give --missing={:g}",
        *far, share, *far);
  }
  found_.distinct = std::unique(values.begin(), values.end()) - values.begin();
  if (found_.distinct == 1 && found_.missing == 0 && table_.rows() > 1) {
    found_.kind = ColumnKind::constant;
    return;
  }
  const bool all_differ = present() >= kIdentifierRows && found_.distinct == std::min(present(), kCounted);
  if (!whole || !all_differ) return;
  const std::string name = lower_case(trimmed(found_.name));
  if (most - least + 1 == static_cast<double>(present()))
    found_.why = "counts the rows";
  else if (table_.is_unnamed(column_) || name.starts_with("unnamed:"))
    found_.why = "has no name, and all values differ";
  else if (name == "id" || name.ends_with("_id") || name.ends_with(" id") || name == "index" || name == "row")
    found_.why = "is called so, and all values differ";
  else
    return;
  found_.kind = ColumnKind::identifier;
}

/// Numbers of more digits than a double holds: two that differ may be read as one.
void ColumnScan::note_long_numbers() {
  constexpr double kExact = 9007199254740992;  // 2^53
  int64_t large = 0;
  std::unordered_set<std::string> texts;
  for (size_t row = 0; row < table_.rows(); ++row) {
    const Number number = table_.number(row, column_, found_.reading.notation);
    const std::string_view cell = table_.cell(row, column_);
    if (number.kind != CellKind::number || std::abs(number.value) <= kExact ||
        cell.find_first_of("eE") != std::string_view::npos)
      continue;
    ++large;
    if (static_cast<int64_t>(texts.size()) < kCounted) texts.emplace(trimmed(cell));
  }
  if (large == 0) return;
  const auto different = static_cast<int64_t>(texts.size());
  if (2 * large > present() && large >= kIdentifierRows && 2 * different > std::min(large, kCounted)) {
    found_.kind = ColumnKind::identifier;
    found_.why = "numbers of more than 15 digits, of which most differ";
  } else if (2 * large > present()) {  // names of things rather
    found_.reading = {.as = CellReading::category};
    note_words();
  } else {
    found_.doubt = fmt::format(
        "{} cell{} more than 15 digits, so that different ones may be read as one; if they name things, "
        "--categorical {} reads them as they stand",
        large, large == 1 ? " has" : "s have", found_.name);
  }
}

void ColumnScan::note_words() {
  found_.distinct =
      count_distinct([](std::string_view cell) { return std::hash<std::string>()(class_key(cell)); });
  const int64_t counted = std::min(present(), kCounted);
  found_.kind = ColumnKind::category;
  if (found_.distinct == 1 && found_.missing == 0 && table_.rows() > 1) {
    found_.kind = ColumnKind::constant;
    return;
  }
  std::vector<double> words;
  int64_t cells = 0, several = 0, values = 0;
  std::optional<size_t> value;  // the first row with a number or a date in some notation
  for (size_t row = 0; row < table_.rows() && cells < kCounted; ++row) {
    const std::string_view cell = table_.cell(row, column_);
    const CellKind kind = read_number(cell).kind;
    if (kind == CellKind::missing) continue;
    ++cells;
    if (kind != CellKind::word || is_value(cell)) {
      ++values;
      if (!value) value = row;
    }
    if (kind != CellKind::word) continue;
    words.push_back(words_in(cell));
    several += words.back() >= 3 ? 1 : 0;
  }
  if (2 * values > cells) {  // mixed: a column of numbers or dates with something in the way
    if (!found_.number) found_.number = value;
    return;
  }
  const auto all_words = static_cast<int64_t>(words.size());
  const bool mostly_differ = 2 * found_.distinct > counted;
  if (2 * several > all_words && (mostly_differ || found_.distinct > 1000)) {
    found_.kind = ColumnKind::text;
    std::nth_element(words.begin(), words.begin() + all_words / 2, words.end());
    found_.words = words[static_cast<size_t>(all_words / 2)];
  } else if (mostly_differ && counted >= kIdentifierRows) {
    constexpr int64_t kSome =
        5;  // a fifth of the cells are numbers or dates: what is between them is in the way
    if (kSome * values > cells) {
      if (!found_.number) found_.number = value;
      return;
    }
    found_.kind = ColumnKind::identifier;
    found_.why = found_.distinct == present()
                     ? "another word in every row"
                     : fmt::format("{} different words in {} rows", found_.distinct, counted);
  }
}

std::optional<NumberNotation> ColumnScan::notation(bool decimal_comma, bool decimal_point) const {
  if (other_cells_ == 0) return json_numbers_ > 0 ? std::optional(NumberNotation{}) : std::nullopt;
  const auto found = numbers_.notation(decimal_comma, decimal_point);
  // "12 %" beside 0.12, "7 M" beside 7: whether these are the same kind of number does not show.
  const bool has_unit = found && (found->unit == "%" || numbers_.is_measured());
  return has_unit && json_numbers_ > 0 ? std::nullopt : found;
}

RecognizedColumn ColumnScan::finish(bool decimal_comma, bool decimal_point) {
  if (wish_ == ColumnWish::unread) return std::move(found_);
  for (const auto& [mark, count] : marks_) found_.missing += count;
  int64_t more = 0;
  for (const auto& [mark, count] : more_marks_) more += count;
  const auto notation = this->notation(decimal_comma, decimal_point);
  const std::optional<DateOrder> order = found_.number ? std::nullopt : dates_.order();
  ColumnReading& reading = found_.reading;
  const bool asked_words = wish_ == ColumnWish::category || wish_ == ColumnWish::text;
  if (asked_words || (!notation && !order && wish_ != ColumnWish::number))
    reading.as = CellReading::category;
  else if (!notation && order && wish_ != ColumnWish::number)
    reading = {.as = CellReading::date, .order = *order};
  else
    reading.notation = notation.value_or(NumberNotation{});
  if (found_.missing + more == static_cast<int64_t>(table_.rows())) reading = {};  // marks alone
  if (reading.as != CellReading::category) {
    found_.missing += more;
    marks_.insert(more_marks_.begin(), more_marks_.end());
  } else if (more > 0 && !found_.word) {
    found_.word = 0;
    while (read_number(table_.cell(*found_.word, column_)).kind != CellKind::word) ++*found_.word;
  }
  found_.marks.assign(marks_.begin(), marks_.end());
  if (table_.nested(column_)) {
    found_.kind = ColumnKind::nested;
  } else if (present() == 0) {
    found_.kind = ColumnKind::empty;
  } else if (reading.as == CellReading::number) {
    note_numbers();
    note_long_numbers();
    if (wish_ == ColumnWish::number) found_.kind = ColumnKind::number;
  } else if (reading.as == CellReading::date) {
    found_.kind = ColumnKind::date;
    found_.distinct = count_distinct([&](std::string_view cell) {
      const auto moment = read_moment(cell, reading.order);
      return moment ? moment->days : 0.0;
    });
    if (found_.distinct == 1 && found_.missing == 0 && table_.rows() > 1) found_.kind = ColumnKind::constant;
    if (dates_.is_ambiguous())
      found_.doubt = fmt::format("whether day or month stands first does not show; read with the {} first",
                                 reading.order == DateOrder::day_first ? "day" : "month");
  } else {
    note_words();
    if (wish_ == ColumnWish::category) found_.kind = ColumnKind::category;
    if (wish_ == ColumnWish::text) found_.kind = ColumnKind::text;
  }
  if (found_.kind == ColumnKind::constant) found_.why = "one value in every row";
  if (found_.kind == ColumnKind::empty) found_.why = "no value";
  if (found_.kind == ColumnKind::nested) found_.why = "lists or objects";
  return std::move(found_);
}

}  // namespace

nlohmann::json ColumnReading::to_json() const {
  nlohmann::json state{{"as", name_of(as)}};
  if (as == CellReading::number) state["notation"] = notation;
  if (as == CellReading::date) state["order"] = name_of(order);
  return state;
}

ColumnReading ColumnReading::from_json(const nlohmann::json& state) {
  ColumnReading reading{.as = value_named<CellReading>(state.at("as").get<std::string>(), "reading")};
  if (reading.as == CellReading::number) reading.notation = state.at("notation").get<NumberNotation>();
  if (reading.as == CellReading::date)
    reading.order = value_named<DateOrder>(state.at("order").get<std::string>(), "order of dates");
  return reading;
}

std::string RecognizedColumn::notation() const {
  return reading.as == CellReading::number ? reading.notation.text() : "";
}

std::vector<RecognizedColumn> recognize_columns(const Table& table, const std::vector<ColumnWish>& wishes) {
  std::vector<ColumnScan> scans;
  for (size_t column = 0; column < table.columns(); ++column)
    scans.emplace_back(table, column, wishes.empty() ? ColumnWish::none : wishes.at(column));
  const auto any = [&](bool (NumberGuess::*says)() const) {
    return std::ranges::any_of(scans, [&](const ColumnScan& scan) { return (scan.numbers().*says)(); });
  };
  // Semicolons stand between fields where commas stand in numbers.
  const bool decimal_comma = any(&NumberGuess::sure_decimal_comma) ||
                             (table.delimiter() == ';' && any(&NumberGuess::maybe_decimal_comma) &&
                              !any(&NumberGuess::sure_decimal_point));
  const bool decimal_point = any(&NumberGuess::sure_decimal_point);
  std::vector<RecognizedColumn> columns;
  for (ColumnScan& scan : scans) columns.push_back(scan.finish(decimal_comma, decimal_point));
  return columns;
}

void check_readable(const Table& table, size_t column, const RecognizedColumn& found) {
  table.check_cells(column);
  const std::string& name = found.name;
  if (found.infinite) {
    fail_at(table.position(*found.infinite, column),
            fmt::format("'{}' in column '{}' is infinite; values must be finite",
                        table.cell(*found.infinite, column), name));
  }
  if (!found.is_mixed()) return;
  const std::string_view value = table.cell(*found.number, column);
  size_t row = *found.word;  // rather one that is no value in any notation
  for (size_t i = row; i < table.rows(); ++i) {
    const std::string_view cell = table.cell(i, column);
    if (read_number(cell).kind != CellKind::word || is_value(cell)) continue;
    row = i;
    break;
  }
  const std::string_view word = trimmed(table.cell(row, column));
  const bool elsewise = is_value(word), dates = !is_written_number(value);
  fail_at(
      table.position(row, column),
      fmt::format(
          "'{}' in column '{}' is not a {}, but the column also holds {}s ('{}' on line {}){}; if they are "
          "categories, name the column categorical (--categorical {}){}",
          word, name, dates ? "date" : "number", dates ? "date" : "number", value,
          table.position(*found.number, column).line, elsewise ? ", and no one notation reads them all" : "",
          name,
          elsewise       ? ""
          : word == name ? "; it is the column's name: does the header stand twice?"
                         : fmt::format("; if it marks a missing value, give --missing='{}'", word)));
}

}  // namespace bilevel
