#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <vector>

#include "bilevel/data/characters.h"
#include "bilevel/data/notation.h"

namespace bilevel {
namespace {

/// A piece of a date: digits, letters, or one other character; white space is left out, and noted.
struct DatePiece {
  enum Kind { digits, letters, sign } kind;
  std::string_view text;
  bool after_blank = false;

  int number() const {
    int value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
  }
};

bool is_date_digit(char c) { return c >= '0' && c <= '9'; }
bool is_date_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || static_cast<unsigned char>(c) >= 0x80;
}

std::vector<DatePiece> pieces_of(std::string_view text) {
  std::vector<DatePiece> pieces;
  bool blank = false;
  for (size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == ' ') {
      blank = true;
      ++at;
      continue;
    }
    size_t end = at + 1;
    const auto run = [&](auto belongs) {
      while (end < text.size() && belongs(text[end])) ++end;
    };
    DatePiece::Kind kind = DatePiece::sign;
    if (is_date_digit(c)) {
      kind = DatePiece::digits;
      run(is_date_digit);
    } else if (is_date_letter(c)) {
      kind = DatePiece::letters;
      run(is_date_letter);
    }
    pieces.push_back({kind, text.substr(at, end - at), blank});
    blank = false;
    at = end;
  }
  return pieces;
}

/// The month that a word begins with three letters at least of, in one of seven languages; 0 for none or several.
int month_named(const std::string& lower) {
  constexpr std::array<std::string_view, 12> kMonths{
      "january januar janvier enero gennaio janeiro januari jänner",
      "february februar février fevrier febrero febbraio fevereiro februari",
      "march märz maerz mrz mars marzo março marco maart mrt",
      "april avril abril aprile",
      "may mai mayo maggio maio mei",
      "june juni juin junio giugno junho",
      "july juli juillet julio luglio julho",
      "august août aout agosto augustus",
      "september septembre septiembre settembre setembro",
      "october oktober octobre octubre ottobre outubro",
      "november novembre noviembre novembro",
      "december dezember décembre decembre diciembre dicembre dezembro"};
  int month = 0;
  for (size_t i = 0; i < kMonths.size(); ++i) {
    std::string_view names = kMonths[i];
    for (bool begins = false; !names.empty() && !begins;) {
      const size_t end = std::min(names.find(' '), names.size());
      begins = names.substr(0, end).starts_with(lower);
      names.remove_prefix(std::min(end + 1, names.size()));
      if (!begins) continue;
      if (month != 0) return 0;
      month = static_cast<int>(i) + 1;
    }
  }
  return month;
}

/// 1 to 12 for a month, 101 to 107 for a day of the week (three letters or the whole name), 0 for any other word.
int named(std::string_view word) {
  constexpr std::array<std::string_view, 7> kDays{"monday", "tuesday",  "wednesday", "thursday",
                                                  "friday", "saturday", "sunday"};
  const std::string lower = lower_case(word);
  if (lower.size() < 3) return 0;
  for (size_t i = 0; i < kDays.size(); ++i) {
    if (lower == kDays[i] || (lower.size() == 3 && kDays[i].starts_with(lower)))
      return static_cast<int>(i) + 101;
  }
  return month_named(lower);
}

/// Days from 1970-01-01 (H. Hinnant, "chrono-compatible low-level date algorithms"); nullopt for no day.
std::optional<int64_t> days_from(int year, int month, int day) {
  constexpr std::array<int, 12> kLengths{31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  if (year < 1 || month < 1 || month > 12 || day < 1 || day > kLengths[static_cast<size_t>(month - 1)])
    return std::nullopt;
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  if (month == 2 && day == 29 && !leap) return std::nullopt;
  const int64_t y = year - (month <= 2 ? 1 : 0), era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
  const int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

class DateReader {
 public:
  DateReader(std::string_view text, DateOrder order) : text_(text), pieces_(pieces_of(text)), order_(order) {}

  std::optional<Moment> read() {
    if (pieces_.size() < 2 || pieces_.size() > 16) return std::nullopt;
    const bool dated = date();
    if (dated && at_ < pieces_.size()) {
      if (is_word("t"))
        ++at_;
      else if (is_sign(","))
        ++at_;
      else if (!pieces_[at_].after_blank)
        return std::nullopt;
    }
    if (at_ < pieces_.size() ? !time(dated) : !dated) return std::nullopt;
    if (at_ < pieces_.size()) return std::nullopt;
    if (!dated) return Moment{.days = hour_ / 24, .hour = hour_};
    return Moment{.days = static_cast<double>(days_) + (hour_ - offset_) / 24,
                  .month = month_,
                  .weekday = static_cast<int>(((days_ + 3) % 7 + 7) % 7) + 1,
                  .hour = hour_};
  }

 private:
  bool is_sign(std::string_view sign, size_t ahead = 0) const {
    return at_ + ahead < pieces_.size() && pieces_[at_ + ahead].text == sign;
  }
  bool is_word(std::string_view word) const {
    return at_ < pieces_.size() && pieces_[at_].kind == DatePiece::letters &&
           lower_case(pieces_[at_].text) == word;
  }
  bool is_digits(size_t ahead, size_t least, size_t most) const {
    if (at_ + ahead >= pieces_.size()) return false;
    const DatePiece& piece = pieces_[at_ + ahead];
    return piece.kind == DatePiece::digits && piece.text.size() >= least && piece.text.size() <= most;
  }
  int number(size_t ahead) const { return pieces_[at_ + ahead].number(); }

  bool set(int year, int month, int day, size_t pieces) {
    const std::optional<int64_t> days = days_from(year, month, day);
    if (!days) return false;
    days_ = *days;
    month_ = month;
    at_ += pieces;
    return true;
  }

  /// Reads the date at the start, if there is one.
  bool date() {
    if (pieces_[at_].kind == DatePiece::letters && named(pieces_[at_].text) > 100) {  // "Sun, "
      ++at_;
      if (is_sign(",")) ++at_;
    }
    if (at_ + 1 >= pieces_.size()) return false;
    if (is_digits(0, 8, 8)) {  // 20240818 14:05; alone it is a number
      const int all = number(0);
      return set(all / 10000, all / 100 % 100, all % 100, 1);
    }
    return (at_ + 2 < pieces_.size() && (with_numbers() || with_name())) || month_and_year();
  }

  /// Aug 2024, Aug-2024, 2024 Aug; of it the first day.
  bool month_and_year() {
    const size_t last = pieces_.size() - 1 - at_;
    if (last > 2 ||
        (last == 2 && !is_sign("-", 1) && !is_sign("/", 1) && !is_sign(".", 1) && !is_sign(",", 1)))
      return false;
    for (const size_t name : {size_t{0}, last}) {
      const size_t year = last - name;
      if (pieces_[at_ + name].kind != DatePiece::letters || !is_digits(year, 4, 4)) continue;
      const int month = named(pieces_[at_ + name].text);
      return month > 0 && month <= 12 && set(number(year), month, 1, last + 1);
    }
    return false;
  }

  bool with_numbers() {
    if (is_digits(0, 4, 4) && is_digits(2, 1, 2) && is_digits(4, 1, 2) &&
        ((is_sign("年", 1) && is_sign("月", 3) && is_sign("日", 5)) ||
         (is_sign("년", 1) && is_sign("월", 3) && is_sign("일", 5))))
      return set(number(0), number(2), number(4), 6);
    const std::string_view sign = pieces_[at_ + 1].text;
    if (sign != "-" && sign != "/" && sign != ".") return false;
    if (is_digits(0, 4, 4) && is_digits(2, 1, 2)) {
      if (is_sign(sign, 3) && is_digits(4, 1, 2)) return set(number(0), number(2), number(4), 5);
      return sign == "-" && pieces_[at_ + 2].text.size() == 2 && pieces_.size() == at_ + 3 &&
             set(number(0), number(2), 1, 3);
    }
    if (!is_digits(0, 1, 2) || !is_digits(2, 1, 2) || !is_sign(sign, 3) || !is_digits(4, 2, 4)) return false;
    const size_t digits = pieces_[at_ + 4].text.size();
    if (digits == 3) return false;
    if (digits == 2 && sign == "-" && (pieces_[at_].text.size() != 2 || pieces_[at_ + 2].text.size() != 2))
      return false;
    const int year = year_at(4);
    return order_ == DateOrder::day_first ? set(year, number(2), number(0), 5)
                                          : set(year, number(0), number(2), 5);
  }

  /// 18 Aug 2024, 18-Aug-24, 18. August 2024; August 18, 2024.
  bool with_name() {
    if (is_digits(0, 1, 2)) {
      const bool line = is_sign("-", 1) || is_sign("/", 1);
      const size_t skip = line || is_sign(".", 1) ? 1 : 0;
      const size_t next = 2 + skip + (line && is_sign(pieces_[at_ + 1].text, 2 + skip) ? 1 : 0) +
                          (!line && is_sign(".", 2 + skip) ? 1 : 0);
      if (at_ + next >= pieces_.size() || !(is_digits(next, 4, 4) || is_digits(next, 2, 2))) return false;
      const int month = named(pieces_[at_ + 1 + skip].text);
      return month > 0 && month <= 12 && set(year_at(next), month, number(0), next + 1);
    }
    const int month = named(pieces_[at_].text);
    if (month < 1 || month > 12 || !is_digits(1, 1, 2)) return false;
    const size_t next = is_sign(",", 2) ? 3 : 2;
    return is_digits(next, 4, 4) && set(number(next), month, number(1), next + 1);
  }

  /// Of two digits: from 1970 to 2069.
  int year_at(size_t ahead) const {
    const int year = number(ahead);
    if (pieces_[at_ + ahead].text.size() != 2) return year;
    return year + (year < 70 ? 2000 : 1900);
  }

  bool time(bool dated) {
    if (dated && (is_digits(0, 4, 4) || is_digits(0, 6, 6))) {  // T1405, T140530
      const bool with_seconds = is_digits(0, 6, 6);
      const int all = with_seconds ? number(0) : number(0) * 100;
      if (all / 10000 > 24 || all / 100 % 100 > 59 || all % 100 > 60) return false;
      hour_ = all / 10000 + (all / 100 % 100) / 60.0 + (all % 100) / 3600.0;
      ++at_;
      zone();
      return true;
    }
    if (!is_digits(0, 1, 2) || !is_sign(":", 1) || !is_digits(2, 2, 2)) return false;
    double hours = number(0), minutes = number(2), seconds = 0;
    at_ += 3;
    if (is_sign(":") && is_digits(1, 2, 2)) {
      seconds = number(1);
      at_ += 2;
      if ((is_sign(".") || is_sign(",")) && is_digits(1, 1, 9)) {
        seconds += number(1) / std::pow(10.0, static_cast<double>(pieces_[at_ + 1].text.size()));
        at_ += 2;
      }
    }
    if (is_word("am") || is_word("pm")) {
      if (hours < 1 || hours > 12) return false;
      hours = (hours == 12 ? 0 : hours) + (is_word("pm") ? 12 : 0);
      ++at_;
    }
    if (hours > 24 || minutes > 59 || seconds >= 61) return false;
    hour_ = hours + minutes / 60 + seconds / 3600;
    if (dated) zone();
    return true;
  }

  void zone() {
    if (is_word("z") || is_word("utc") || is_word("gmt")) {
      ++at_;
    } else if ((is_sign("+") || is_sign("-")) && (is_digits(1, 2, 2) || is_digits(1, 4, 4))) {
      const double sign = is_sign("-") ? -1 : 1;
      const bool together = is_digits(1, 4, 4);
      double hours = together ? number(1) / 100 : number(1), minutes = together ? number(1) % 100 : 0;
      at_ += 2;
      if (!together && is_sign(":") && is_digits(1, 2, 2)) {
        minutes = number(1);
        at_ += 2;
      }
      offset_ = sign * (hours + minutes / 60);
    }
  }

  std::string_view text_;
  std::vector<DatePiece> pieces_;
  DateOrder order_;
  size_t at_ = 0;
  int64_t days_ = 0;
  int month_ = 0;
  double hour_ = 0, offset_ = 0;
};

}  // namespace

std::optional<Moment> read_moment(std::string_view cell, DateOrder order) {
  std::string_view text = trimmed(cell);
  std::string typed;
  if (text.size() <= 64 &&
      std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }))
    text = typed = typed_characters(text);
  if (text.size() < 4 || text.size() > 40 || text.find_first_of("0123456789") == std::string_view::npos)
    return std::nullopt;
  return DateReader(text, order).read();
}

bool DateGuess::add(std::string_view cell) {
  if (!day_first_ && !month_first_) return false;
  const std::optional<Moment> a = day_first_ ? read_moment(cell, DateOrder::day_first) : std::nullopt,
                              b = month_first_ ? read_moment(cell, DateOrder::month_first) : std::nullopt;
  day_first_ = a.has_value();
  month_first_ = b.has_value();
  if (a && b && a->days != b->days) {
    differ_ = true;
    slashes_ = slashes_ || cell.find('/') != std::string_view::npos;
  }
  if (const auto& read = a ? a : b) {
    const bool dated = read->month > 0;
    if (dated_.value_or(dated) != dated) day_first_ = month_first_ = false;
    dated_ = dated;
  }
  return day_first_ || month_first_;
}

std::optional<DateOrder> DateGuess::order() const {
  if (!dated_ || (!day_first_ && !month_first_)) return std::nullopt;
  if (day_first_ && month_first_) return slashes_ ? DateOrder::month_first : DateOrder::day_first;
  return day_first_ ? DateOrder::day_first : DateOrder::month_first;
}

}  // namespace bilevel
