#include "bilevel/data/notation.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "bilevel/data/characters.h"

namespace bilevel {
namespace {

bool is_digit_char(char c) { return c >= '0' && c <= '9'; }
bool all_digits(std::string_view text) { return std::ranges::all_of(text, is_digit_char); }

std::string ascii_lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return lower;
}

constexpr std::array<std::string_view, 10> kMarks{"n/a",  "none", "#n/a",   "#n/a n/a", "#na",
                                                  "<na>", "-nan", "1.#ind", "1.#qnan",  "-1.#ind"};

/// Whether it is one of the marks that `is_missing` does not know.
bool is_further_mark(std::string_view cell) {
  constexpr size_t kLongest = 8;
  cell = trimmed(cell);
  return cell.size() <= kLongest && std::ranges::count(kMarks, ascii_lower(cell)) > 0;
}

bool is_currency(std::string_view unit) {
  constexpr std::array<std::string_view, 22> kCodes{"usd", "eur", "gbp", "chf", "jpy", "cny", "inr", "cad",
                                                    "aud", "nzd", "sek", "nok", "dkk", "pln", "czk", "brl",
                                                    "mxn", "rub", "try", "krw", "rs",  "kr"};
  if (std::ranges::count(kCodes, ascii_lower(unit)) > 0) return true;
  const size_t letters = unit.find_first_not_of("ABCDEFGHIJKLMNOPQRSTUVWXYZ");  // US$, R$
  if (letters == std::string_view::npos || letters > 2) return false;
  size_t at = letters;
  const char32_t sign = next_code_point(unit, at);
  return at == unit.size() && utf8proc_category(static_cast<utf8proc_int32_t>(sign)) == UTF8PROC_CATEGORY_SC;
}

/// Whether a text could name what is measured: "kg", "m/s", "°C", "m²"; no more than a word of letters.
bool is_measure(std::string_view unit) {
  constexpr int kMost = 8;
  int letters = 0, all = 0;
  for (size_t at = 0; at < unit.size(); ++all) {
    const char32_t c = next_code_point(unit, at);
    const CharacterKind kind = kind_of(c);
    const bool sign = c == '/' || c == 0xB0 || c == 0xB2 || c == 0xB3;
    if (!sign && ((kind != CharacterKind::word && kind != CharacterKind::ideograph) || c == '_'))
      return false;
    letters += sign ? 0 : 1;
  }
  return letters > 0 && all <= kMost;
}

/// A number taken apart: sign, unit, and digits with their separators.
struct LooseNumber {
  bool negative = false, measured = false;
  std::string unit, digits;
};

std::optional<LooseNumber> take_apart(std::string_view cell) {
  const auto may_be_digit = [](char c) { return is_digit_char(c) || static_cast<unsigned char>(c) >= 0x80; };
  if (cell.size() > 64 || std::ranges::none_of(cell, may_be_digit)) return std::nullopt;
  const std::string text = typed_characters(cell);
  std::string_view rest = text;
  LooseNumber number;
  if (rest.starts_with("=\"") && rest.ends_with('"') && rest.size() > 3)
    rest = rest.substr(2, rest.size() - 3);           // ="12"
  if (rest.starts_with('\'')) rest.remove_prefix(1);  // '12: what spreadsheets are told to take as text
  if (rest.starts_with('(') && rest.ends_with(')')) {
    number.negative = true;
    rest = trimmed(rest.substr(1, rest.size() - 2));
  }
  size_t first = rest.find_first_of("0123456789"), last = rest.find_last_of("0123456789");
  if (first == std::string_view::npos) return std::nullopt;
  if (first > 0 && (rest[first - 1] == '.' || rest[first - 1] == ',')) --first;
  if (last + 1 < rest.size() && (rest[last + 1] == '.' || rest[last + 1] == ',')) ++last;
  std::string head(trimmed(rest.substr(0, first)));
  std::string_view tail = trimmed(rest.substr(last + 1));
  if (tail.starts_with('-')) {  // "12.50-", as SAP writes
    const bool decimal = rest.substr(first, last - first + 1).find_first_of(".,") != std::string_view::npos;
    if (number.negative || head.find_first_of("+-") != std::string::npos || !decimal)
      return std::nullopt;  // "2-": a grade
    number.negative = true;
    tail = trimmed(tail.substr(1));
  }
  if (const size_t sign = head.find_first_of("+-"); sign != std::string::npos) {
    if (number.negative || head.find_first_of("+-", sign + 1) != std::string::npos) return std::nullopt;
    number.negative = head[sign] == '-';
    head = std::string(trimmed(head.erase(sign, 1)));
  }
  if (!head.empty() && !tail.empty()) return std::nullopt;
  if (!head.empty() && !is_currency(head)) return std::nullopt;
  number.measured = !tail.empty() && tail != "%" && !is_currency(tail);
  if (number.measured && !is_measure(tail)) return std::nullopt;
  number.unit = head.empty() ? std::string(tail) : head;
  number.digits = rest.substr(first, last - first + 1);
  return number;
}

/// A text less one sign.
std::string_view unsigned_part(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  return text;
}

struct Candidate {
  char decimal, group;
};
constexpr std::array<Candidate, 8> kNotations{
    {{'.', 0}, {',', 0}, {'.', ','}, {',', '.'}, {'.', ' '}, {',', ' '}, {'.', '\''}, {',', '\''}}};
constexpr size_t kPoint = 0, kComma = 1, kCommaGroups = 2, kPointGroups = 3;

/// Whether digits parted into groups by a separator are: three in each, or as in India two in all but the last.
bool are_groups(std::string_view whole, char group) {
  size_t end = whole.find(group);
  if (end == 0 || end > 3 || whole[0] == '0') return false;
  bool threes = true, twos = end <= 2 && group == ',';
  for (size_t begin = end + 1;; begin = end + 1) {
    end = whole.find(group, begin);
    const bool is_last = end == std::string_view::npos;
    const size_t size = (is_last ? whole.size() : end) - begin;
    if (!all_digits(whole.substr(begin, size))) return false;
    threes = threes && size == 3;
    twos = twos && size == (is_last ? 3U : 2U);
    if (is_last) return threes || twos;
  }
}

/// The digits in the notation of C; empty when they are not of this notation. `grouped`: whether they are in groups.
std::string digits_by(std::string_view digits, Candidate notation, bool& grouped) {
  const size_t exponent = digits.find_first_of("eE");
  std::string_view mantissa = digits.substr(0, exponent);
  const size_t point = mantissa.find(notation.decimal);
  const std::string_view whole = mantissa.substr(0, point);
  const std::string_view part = point == std::string_view::npos ? "" : mantissa.substr(point + 1);
  if ((whole.empty() && part.empty()) || !all_digits(part)) return {};
  grouped = notation.group != 0 && whole.find(notation.group) != std::string_view::npos;
  if (grouped ? !all_digits(whole.substr(0, whole.find(notation.group))) || !are_groups(whole, notation.group)
              : !all_digits(whole))
    return {};
  std::string text;
  for (const char c : whole) {
    if (c != notation.group) text += c;
  }
  if (!part.empty()) text.append(".").append(part);
  if (exponent == std::string_view::npos) return text;
  const std::string_view power = unsigned_part(digits.substr(exponent + 1));
  if (power.empty() || !all_digits(power)) return {};
  return text.append(digits.substr(exponent));
}

}  // namespace

bool is_missing_mark(std::string_view cell) {
  const CellKind kind = read_number(cell).kind;
  return kind == CellKind::missing || (kind == CellKind::word && is_further_mark(cell));
}

Number NumberNotation::read(std::string_view cell) const {
  const Number plain = read_number(cell);
  if (plain.kind == CellKind::missing) return plain;
  if (decimal == '.' && unit != "%" && plain.kind != CellKind::word) return plain;
  if (is_further_mark(cell)) return {CellKind::missing};
  const std::optional<LooseNumber> loose = take_apart(cell);
  if (!loose || (loose->unit != unit && (!loose->unit.empty() || unit == "%"))) return {CellKind::word};
  bool grouped = false;
  const std::string digits = digits_by(loose->digits, {decimal, group}, grouped);
  if (digits.empty()) return {CellKind::word};
  Number number = read_number(digits);
  if (loose->negative) number.value = -number.value;
  return number;
}

std::string NumberNotation::text() const {
  std::string told;
  const auto add = [&](const std::string& part) { told += (told.empty() ? "" : ", ") + part; };
  if (decimal == ',') add("decimal comma");
  if (group != 0) add(group == ' ' ? "thousands by blanks" : fmt::format("thousands by '{}'", group));
  if (!unit.empty()) add("in " + unit);
  return told;
}

bool NumberGuess::add_plain(std::string_view digits) {
  const size_t point = std::min(digits.find('.'), digits.size());
  const bool has_point = point < digits.size();
  if (point == 0 || !all_digits(digits.substr(0, point)) ||
      (has_point && !all_digits(digits.substr(point + 1))))
    return false;
  ++cells_;
  points_ = points_ || has_point;
  ++(has_point ? pointed_ : whole_);
  long_whole_ += !has_point && digits.size() > 3 ? 1 : 0;
  hundreds_ += !has_point && digits.size() == 3 ? 1 : 0;
  for (size_t i = 0; i < kCandidates && has_point; ++i) {
    if (!fits(i) || kNotations[i].decimal == '.') continue;
    if (kNotations[i].group == '.' && are_groups(digits, '.'))
      grouped_ |= 1U << i;
    else
      fits_ &= ~(1U << i);
  }
  return true;
}

namespace {

/// "192.168.100.220": four numbers up to 255.
bool is_address(std::string_view cell) {
  int parts = 0;
  for (size_t begin = 0; begin <= cell.size(); ++parts) {
    const size_t end = std::min(cell.find('.', begin), cell.size());
    int value = 0;
    const auto [stop, error] = std::from_chars(cell.data() + begin, cell.data() + end, value);
    if (end == begin || error != std::errc() || stop != cell.data() + end || value < 0 || value > 255)
      return false;
    begin = end + 1;
  }
  return parts == 4;
}

}  // namespace

bool NumberGuess::add(std::string_view cell) {
  if (fits_ == 0) return false;
  if (std::ranges::count(cell, '.') == 3 && is_address(cell)) {
    fits_ = 0;
    return false;
  }
  if (add_plain(unsigned_part(cell))) return fits_ != 0;
  const std::optional<LooseNumber> loose = take_apart(cell);
  if (!loose) {  // a number too large for a double is one still, which is refused by its value
    if (read_number(cell).kind != CellKind::infinite) fits_ = 0;
    return fits_ != 0;
  }
  ++cells_;
  measured_ = measured_ || loose->measured;
  if (!loose->unit.empty()) {
    if (!unit_.empty() && unit_ != loose->unit) fits_ = 0;
    unit_ = loose->unit;
    ++with_unit_;
  }
  commas_ = commas_ || loose->digits.find(',') != std::string::npos;
  const bool has_point = loose->digits.find('.') != std::string::npos;
  points_ = points_ || has_point;
  if (has_point) ++pointed_;
  if (all_digits(loose->digits)) {
    ++whole_;
    long_whole_ += loose->digits.size() > 3 ? 1 : 0;
    hundreds_ += loose->digits.size() == 3 ? 1 : 0;
  }
  for (size_t i = 0; i < kCandidates; ++i) {
    if (!fits(i)) continue;
    bool in_groups = false;
    if (digits_by(loose->digits, kNotations[i], in_groups).empty()) fits_ &= ~(1U << i);
    if (in_groups) grouped_ |= 1U << i;
  }
  return fits_ != 0;
}

std::optional<NumberNotation> NumberGuess::notation(bool decimal_comma, bool decimal_point) const {
  if (cells_ == 0 || ((unit_ == "%" || measured_) && with_unit_ < cells_)) return std::nullopt;
  const auto chosen = [this](size_t i) {
    return NumberNotation{kNotations[i].decimal, grouped(i) ? kNotations[i].group : '\0', unit_};
  };
  if ((decimal_comma || (!decimal_point && have_thousand_points())) && fits(kPointGroups) &&
      grouped(kPointGroups))
    return chosen(kPointGroups);
  if (!decimal_comma && fits(kComma) && fits(kCommaGroups) && grouped(kCommaGroups))
    return chosen(kCommaGroups);
  for (size_t i = 0; i < kCandidates; ++i) {
    if (fits(i)) return chosen(i);
  }
  return std::nullopt;
}

/// Whether points stand before exactly three digits (as `fits` tells) beside whole numbers, of which none has four digits: numbers
/// with three decimals would all have a point (means of three or six values apart, whose whole numbers are small), and numbers
/// without thousands would reach 1000.
bool NumberGuess::have_thousand_points() const {
  constexpr int64_t kSome = 5;
  return pointed_ >= kSome && whole_ >= kSome && long_whole_ == 0 && 2 * hundreds_ > whole_;
}

bool NumberGuess::all_have(char decimal) const {
  for (size_t i = 0; i < kCandidates; ++i) {
    if (fits(i) && kNotations[i].decimal != decimal) return false;
  }
  return fits_ != 0;
}

bool is_written_number(std::string_view text) {
  NumberGuess guess;
  return guess.add(text) && !guess.is_measured();
}

void to_json(nlohmann::json& json, const NumberNotation& n) {
  json = {{"decimal", std::string(1, n.decimal)},
          {"group", n.group == 0 ? std::string() : std::string(1, n.group)},
          {"unit", n.unit}};
}

void from_json(const nlohmann::json& json, NumberNotation& n) {
  n.decimal = json.at("decimal").get<std::string>() == "," ? ',' : '.';
  const auto group = json.at("group").get<std::string>();
  n.group = group.empty() ? '\0' : group[0];
  n.unit = json.at("unit").get<std::string>();
}

}  // namespace bilevel
