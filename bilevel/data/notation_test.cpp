#include "bilevel/data/notation.h"

#include <gtest/gtest.h>

namespace bilevel {
namespace notation_test {

using Cells = std::vector<std::string>;

/// The numbers that the cells are by the notation they have in common; none without one.
std::vector<double> numbers_of(const Cells& cells, bool decimal_comma = false) {
  NumberGuess guess;
  for (const std::string& cell : cells) guess.add(cell);
  const auto notation = guess.notation(decimal_comma);
  if (!notation) return {};
  EXPECT_EQ(nlohmann::json(*notation).get<NumberNotation>(), *notation);
  std::vector<double> numbers;
  for (const std::string& cell : cells) {
    EXPECT_EQ(notation->read(cell).kind, CellKind::number) << cell;
    numbers.push_back(notation->read(cell).value);
  }
  return numbers;
}

std::string notation_of(const Cells& cells, bool decimal_comma = false) {
  NumberGuess guess;
  for (const std::string& cell : cells) guess.add(cell);
  const auto notation = guess.notation(decimal_comma);
  return notation ? notation->text() : "none";
}

using Numbers = std::vector<double>;

TEST(Notation, ReadsNumbersAsPeopleWriteThem) {
  EXPECT_EQ(numbers_of({"1", "-2.5", "+3e2", ".5", "7."}), (Numbers{1, -2.5, 300, 0.5, 7}));
  EXPECT_EQ(numbers_of({"1,5", "-0,25", "3", "1,5e-3"}), (Numbers{1.5, -0.25, 3, 0.0015}));
  EXPECT_EQ(numbers_of({"74,062", "950", "1,234,567.5"}), (Numbers{74062, 950, 1234567.5}));
  EXPECT_EQ(numbers_of({"1.234.567,5", "12,25"}), (Numbers{1234567.5, 12.25}));
  EXPECT_EQ(numbers_of({"1 234,5", "12\u00A0345", "7\u202F000\u202F000"}), (Numbers{1234.5, 12345, 7e6}));
  EXPECT_EQ(numbers_of({"1'234.5", "12\u2019345"}), (Numbers{1234.5, 12345}));
  EXPECT_EQ(numbers_of({"1,23,456", "12,34,567.5"}), (Numbers{123456, 1234567.5}));
  EXPECT_EQ(numbers_of({"$70.05", "-$3", "$ 1,000", "5"}), (Numbers{70.05, -3, 1000, 5}));
  EXPECT_EQ(numbers_of({"1.234,50 \u20AC", "7 \u20AC"}), (Numbers{1234.5, 7}));
  EXPECT_EQ(numbers_of({"US$ 5", "US$7.5"}), (Numbers{5, 7.5}));
  EXPECT_EQ(numbers_of({"12 EUR", "7.5 EUR"}), (Numbers{12, 7.5}));
  EXPECT_EQ(numbers_of({"12 %", "7.5%"}), (Numbers{12, 7.5}));
  EXPECT_EQ(numbers_of({"\u22125", "(3.5)", "\u00A04\u00A0"}), (Numbers{-5, -3.5, 4}));
  EXPECT_EQ(notation_of({"1.234,50 \u20AC", "7 \u20AC"}), "decimal comma, thousands by '.', in \u20AC");
  EXPECT_EQ(notation_of({"1", "2.5"}), "");
}

TEST(Notation, ThreeDigitsBehindACommaAreThousandsUnlessSomethingSpeaksAgainst) {
  EXPECT_EQ(notation_of({"2,005", "1,234"}), "thousands by ','");
  EXPECT_EQ(notation_of({"2,005", "0,649"}), "decimal comma");  // no group begins with 0
  EXPECT_EQ(notation_of({"2,005", "1,23"}), "decimal comma");
  EXPECT_EQ(notation_of({"2,005", "1,234"}, /*decimal_comma=*/true), "decimal comma");
  EXPECT_EQ(notation_of({"2.005", "950"}), "");
  EXPECT_EQ(notation_of({"2.005", "950"}, /*decimal_comma=*/true), "decimal comma, thousands by '.'");
  NumberGuess sure, unsure;
  for (const char* cell : {"1,5", "2"}) sure.add(cell);
  for (const char* cell : {"1,500", "2"}) unsure.add(cell);
  EXPECT_TRUE(sure.sure_decimal_comma());
  EXPECT_FALSE(unsure.sure_decimal_comma());
  EXPECT_TRUE(unsure.maybe_decimal_comma());
  NumberGuess point;
  for (const char* cell : {"1,500.5", "2"}) point.add(cell);
  EXPECT_FALSE(point.maybe_decimal_comma());
  EXPECT_TRUE(point.sure_decimal_point());
}

TEST(Notation, PointsBetweenThousandsBesideWholeNumbers) {
  const Cells mixed{"1.076", "750", "512", "2.001", "31.500", "901", "87", "1.234", "4.321", "640", "999"};
  EXPECT_EQ(notation_of(mixed), "decimal comma, thousands by '.'");
  EXPECT_EQ(numbers_of(mixed)[0], 1076);
  NumberGuess guess;
  for (const std::string& cell : mixed) guess.add(cell);
  EXPECT_EQ(guess.notation(false, /*decimal_point=*/true)->text(), "") << "other columns have decimal points";
  EXPECT_EQ(notation_of({"1.076", "2.001", "31.500", "1.234", "4.321", "7.000"}), "")
      << "may have three decimals";
  EXPECT_EQ(notation_of({"1.076", "750", "512", "2.001", "31.500", "901", "87", "1.234", "4.321", "1640"}),
            "");
  EXPECT_EQ(notation_of({"1.333", "2", "3", "2.667", "1.667", "4", "5", "4.333", "3.667", "1"}), "")
      << "means of three";
}

TEST(Notation, AsOtherProgramsWrite) {
  EXPECT_EQ(numbers_of({"1600.62-", "12"}), (Numbers{-1600.62, 12}));
  EXPECT_EQ(numbers_of({"=\"12\"", "'7.5", "3"}), (Numbers{12, 7.5, 3}));
  EXPECT_EQ(notation_of({"-5.5-"}), "none");
  EXPECT_EQ(notation_of({"2-", "2"}), "none") << "grades";
  EXPECT_EQ(notation_of({"192.168.100.220", "192.168.100.221"}), "none");
  EXPECT_EQ(numbers_of({"1.234.567.890", "12.345.678"}), (Numbers{1234567890, 12345678}));
}

TEST(Notation, MeasuresAndDigitsOfOtherScripts) {
  EXPECT_EQ(numbers_of({"23 kg", "7.5kg"}), (Numbers{23, 7.5}));
  EXPECT_EQ(notation_of({"23,5 \u00B0C", "-7 \u00B0C"}), "decimal comma, in \u00B0C");
  EXPECT_EQ(NumberNotation{.unit = "kg"}.read("500 g").kind, CellKind::word);
  EXPECT_EQ(NumberNotation{.unit = "kg"}.read("50").value, 50);
  EXPECT_EQ(numbers_of({"\uFF11\uFF12\uFF0E\uFF15", "3"}), (Numbers{12.5, 3}));       // full width
  EXPECT_EQ(numbers_of({"\u0661\u0662\u066B\u0665", "\u0663"}), (Numbers{12.5, 3}));  // Arabic
  EXPECT_TRUE(is_written_number("\u20AC 5"));
  EXPECT_FALSE(is_written_number("24h")) << "the name of a column rather";
}

TEST(Notation, WhatIsNoNumber) {
  for (const Cells& cells :
       {Cells{"1,5", "2.5"}, Cells{"$5", "\u20AC5"}, Cells{"5 %", "5"}, Cells{"10.1.2.3"}, Cells{"5 kg", "6"},
        Cells{"5 kg", "6 g"}, Cells{"5 long_words"}, Cells{"1-2"}, Cells{"--5"}, Cells{"a1"}, Cells{"0x10"},
        Cells{"2024-08-18"}, Cells{"12:30"}, Cells{"1,2,3"}, Cells{"555-1234"}, Cells{"$5 %"}})
    EXPECT_EQ(notation_of(cells), "none") << cells[0];
  const NumberNotation comma{.decimal = ','};
  EXPECT_EQ(comma.read("2.5").kind, CellKind::word);
  EXPECT_EQ(comma.read("1.234").kind, CellKind::word) << "no training cell had groups";
  EXPECT_EQ(comma.read("2,5").value, 2.5);
  EXPECT_EQ(comma.read("n/a").kind, CellKind::missing);
  EXPECT_EQ(NumberNotation{}.read("1e400").kind, CellKind::infinite);
}

TEST(Notation, MarksOfMissingValues) {
  for (const char* mark :
       {"", " ", "NA", "N/A", "n/a", "NaN", "null", "NULL", "None", "?", "#N/A", "<NA>", "-nan", "1.#IND"})
    EXPECT_TRUE(is_missing_mark(mark)) << mark;
  for (const char* word : {"-", "no", "0", "nil", "unknown"}) EXPECT_FALSE(is_missing_mark(word)) << word;
}

double days_of(const std::string& cell, DateOrder order = DateOrder::day_first) {
  const auto moment = read_moment(cell, order);
  return moment ? moment->days : -1e9;
}

TEST(Notation, ReadsDates) {
  EXPECT_EQ(days_of("1970-01-01"), 0);
  EXPECT_EQ(days_of("1969-12-31"), -1);
  EXPECT_EQ(days_of("2024-02-29"), 19782);
  for (const char* same :
       {"2024/02/29", "29.02.2024", "29/2/2024", "29 Feb 2024", "29-Feb-2024", "February 29, 2024",
        "29. February 2024", "29/02/24", "29-Feb-24", "29.2.24", "20240229 0:00", "20240229T000000Z",
        "29. Feb. 2024", "29 f\u00E9vrier 2024", "\uFF12\uFF10\uFF12\uFF14-02-29",
        "2024\u5E742\u670829\u65E5", "Thu, 29 Feb 2024", "2024-02-29T00:00:00Z", "2024-02-29 00:00"})
    EXPECT_EQ(days_of(same), 19782) << same;
  EXPECT_EQ(days_of("02/29/2024", DateOrder::month_first), 19782);
  for (const char* month : {"2024-02", "Feb 2024", "February 2024", "Feb-2024", "2024 Feb", "Febrero 2024"})
    EXPECT_EQ(days_of(month), 19782 - 28) << month;
  for (const char* march : {"1. M\u00E4rz 2024", "1 mars 2024", "1 mar 2024", "1 mrt. 2024"})
    EXPECT_EQ(days_of(march), 19783) << march;
  EXPECT_EQ(days_of("1 jui 2024"), -1e9) << "juin or juillet";
  EXPECT_NEAR(days_of("2024-02-29 18:00"), 19782.75, 1e-9);
  EXPECT_NEAR(days_of("2024-02-29 6:00 PM"), 19782.75, 1e-9);
  EXPECT_NEAR(days_of("2024-02-29T18:00:00+06:00"), 19782.5, 1e-9);
  EXPECT_NEAR(days_of("2024-02-29 18:00:00.5"), 19782.75 + 0.5 / 86400, 1e-9);
  EXPECT_NEAR(days_of("18:30"), 18.5 / 24, 1e-12);
  const auto moment = read_moment("2024-02-29T18:00+06:00", DateOrder::day_first);
  EXPECT_EQ(moment->month, 2);
  EXPECT_EQ(moment->weekday, 4);
  EXPECT_EQ(moment->hour, 18);
  EXPECT_EQ(read_moment("2024-03-03", DateOrder::day_first)->weekday, 7);
  for (const char* none :
       {"2023-02-29", "2024-13-01", "32.01.2024", "1.2.3", "10.1.20.3", "2024", "20240229", "12", "a-b-c",
        "2024-02-29x", "25:00", "1-2", "12:3", "May be 3, 2024", "2024-02-29 12"})
    EXPECT_EQ(days_of(none), -1e9) << none;
}

TEST(Notation, TheColumnTellsWhetherDayOrMonthStandsFirst) {
  const auto guess = [](const Cells& cells) {
    DateGuess dates;
    for (const std::string& cell : cells) dates.add(cell);
    return dates;
  };
  EXPECT_EQ(guess({"01/02/2024", "13/02/2024"}).order(), DateOrder::day_first);
  EXPECT_EQ(guess({"01/02/2024", "02/13/2024"}).order(), DateOrder::month_first);
  EXPECT_FALSE(guess({"01/02/2024", "02/13/2024"}).is_ambiguous());
  EXPECT_EQ(guess({"01/02/2024", "03/04/2024"}).order(), DateOrder::month_first);
  EXPECT_TRUE(guess({"01/02/2024", "03/04/2024"}).is_ambiguous());
  EXPECT_EQ(guess({"01.02.2024", "03.04.2024"}).order(), DateOrder::day_first);
  EXPECT_FALSE(guess({"2024-02-01", "2024-04-03"}).is_ambiguous());
  EXPECT_FALSE(guess({"13/02/2024", "02/13/2024"}).order());
  EXPECT_FALSE(guess({"2024-02-01", "12:30"}).order());
  EXPECT_FALSE(guess({}).order());
}

}  // namespace notation_test
}  // namespace bilevel
