// Numbers and dates as people write them: "1.234,50 €", "12 %", "18/08/2024 14:05".
#pragma once

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "bilevel/core/names.h"
#include "bilevel/core/number.h"

namespace bilevel {

/// Whether a cell of a column of numbers or dates is a usual mark of a missing value: what `is_missing` takes, and the
/// marks that pandas' reader takes ("N/A", "None", "#N/A", "<NA>", "-nan", "1.#QNAN", ...), in any case.
bool is_missing_mark(std::string_view cell);

/// How the numbers of a column are written. White space of any kind around them, U+2212 as minus and parentheses for a
/// negative number are read in every notation.
struct NumberNotation {
  char decimal = '.';  ///< '.' or ','
  char group = '\0';   ///< between thousands: '.', ',', '\'' or ' ' (any white space); 0: none
  /// "%" or a measure ("kg"), which every cell of the training rows has, or a currency, which some may lack; empty: none.
  std::string unit;

  bool operator==(const NumberNotation&) const = default;
  bool is_plain() const { return *this == NumberNotation{}; }
  /// A cell by this notation. A per cent stays a per cent: "12 %" is 12.
  Number read(std::string_view cell) const;
  /// "decimal comma, thousands by '.', in €"; empty for the plain one.
  std::string text() const;
};

/// Which notations the cells of a column have in common.
class NumberGuess {
 public:
  /// Takes a cell that is not missing; false once no notation is left.
  bool add(std::string_view cell);
  /// The notation of all cells, if there is one. Where a comma can be a decimal comma as well as one between thousands
  /// (all of them stand before exactly three digits), `decimal_comma` decides: whether the file has
  /// decimal commas.
  /// `decimal_point`: whether other columns have decimal points; then points part no thousands.
  std::optional<NumberNotation> notation(bool decimal_comma, bool decimal_point = false) const;
  /// Whether commas, or points, of this column cannot be anything but decimal ones.
  bool sure_decimal_comma() const { return commas_ && all_have(','); }
  bool sure_decimal_point() const { return points_ && all_have('.'); }
  /// Whether commas may be decimal ones.
  bool maybe_decimal_comma() const { return commas_ && fits_ != 0 && !all_have('.'); }
  /// Whether the unit is neither a currency nor the per cent sign.
  bool is_measured() const { return measured_; }

 private:
  /// Takes digits with at most one point, and nothing else.
  bool add_plain(std::string_view digits);

  static constexpr size_t kCandidates = 8;
  bool fits(size_t candidate) const { return (fits_ >> candidate & 1U) != 0; }
  bool grouped(size_t candidate) const { return (grouped_ >> candidate & 1U) != 0; }
  bool all_have(char decimal) const;

  unsigned fits_ = (1U << kCandidates) - 1, grouped_ = 0;
  bool have_thousand_points() const;

  int64_t whole_ = 0, hundreds_ = 0, long_whole_ = 0,
          pointed_ = 0;  // cells: without separators, of them with four digits; with a point
  bool commas_ = false, points_ = false, measured_ = false;
  std::string unit_;
  int64_t cells_ = 0, with_unit_ = 0;
};

/// Whether a text is a number as people write it, with a currency or a per cent sign at most.
bool is_written_number(std::string_view text);

/// In which order day and month stand where a date does not begin with the year.
enum class DateOrder { day_first, month_first };
template <>
struct NamesOf<DateOrder> {
  static constexpr const char* value[] = {"day-first", "month-first"};
};

/// A date, a date with a time, or a time alone.
struct Moment {
  double days =
      0;  ///< since 1970-01-01 00:00 UTC (local where no offset is given); of a time alone the part of the day
  int month = 0;    ///< 1 to 12; 0: a time alone
  int weekday = 0;  ///< 1 (Monday) to 7; 0: a time alone
  double hour = 0;  ///< 0 to 24, as written
};

/// Reads 2024-08-18, 2024/08/18, 18.08.2024, 08/18/2024, 8/18/24, 18 Aug 2024, 18-Aug-24, August 18, 2024, 2024-08, Aug 2024,
/// 2024年8月18日, each also with a time behind it (14:05, 14:05:30.5, 2:05 PM, T14:05Z, +02:00), and a time alone; digits of
/// any script; names of months in English, German, French, Spanish, Italian, Portuguese and Dutch, from three letters on that
/// fit one month alone. nullopt for anything else, and for days that no month has.
std::optional<Moment> read_moment(std::string_view cell, DateOrder order);

/// Which order of day and month the cells of a column have in common.
class DateGuess {
 public:
  /// Takes a cell that is not missing; false once nothing is left.
  bool add(std::string_view cell);
  std::optional<DateOrder> order() const;
  /// Whether both orders read every cell, and not as the same days: `order` is then a guess (the month first with '/').
  bool is_ambiguous() const { return day_first_ && month_first_ && differ_; }

 private:
  bool day_first_ = true, month_first_ = true, differ_ = false, slashes_ = false;
  std::optional<bool> dated_;
};

void to_json(nlohmann::json& json, const NumberNotation& notation);
void from_json(const nlohmann::json& json, NumberNotation& notation);

}  // namespace bilevel
