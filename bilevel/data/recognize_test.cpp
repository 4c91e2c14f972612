#include "bilevel/data/recognize.h"

#include <gtest/gtest.h>

#include "tests/files.h"

namespace bilevel {
namespace recognize_test {

class RecognizeTest : public testing::Test {
 protected:
  /// A column of `rows` cells, each made from its number.
  template <typename Cell>
  RecognizedColumn column(int rows, Cell cell, const std::string& name = "c",
                          ColumnWish wish = ColumnWish::none) const {
    std::string text = "z\t" + name + "\n";
    for (int i = 0; i < rows; ++i) text += "w\t" + std::string(cell(i)) + "\n";
    return recognize_columns(read_table(folder_.write("a.tsv", text), {.header = true, .delimiter = '\t'}),
                             {ColumnWish::unread, wish})[1];
  }
  TemporaryFolder folder_;
};

std::string number(int i) { return std::to_string(i); }

TEST_F(RecognizeTest, Identifiers) {
  const auto kind = [&](auto cell, const std::string& name = "c", int rows = 40) {
    return column(rows, cell, name).kind;
  };
  EXPECT_EQ(kind([](int i) { return number(i + 5); }), ColumnKind::identifier);
  EXPECT_EQ(kind([](int i) { return number(i * 7 % 41) + ".0"; }), ColumnKind::number);
  EXPECT_EQ(kind([](int i) { return number(i * 7 % 40) + ".0"; }), ColumnKind::identifier);
  EXPECT_EQ(kind([](int i) { return number(i * 17); }), ColumnKind::number);
  EXPECT_EQ(kind([](int i) { return number(i * 17); }, "Customer_ID"), ColumnKind::identifier);
  EXPECT_EQ(kind([](int i) { return number(i * 17); }, ""), ColumnKind::identifier);
  EXPECT_EQ(kind([](int i) { return number(i * 17); }, "Unnamed: 0"), ColumnKind::identifier);
  EXPECT_EQ(kind([](int i) { return number(i); }, "id", 19), ColumnKind::number);
  EXPECT_EQ(kind([](int i) { return number(i) + ".5"; }, "id"), ColumnKind::number);
  EXPECT_EQ(kind([](int i) { return "u" + number(i); }), ColumnKind::identifier);
  EXPECT_EQ(kind([](int i) { return "u" + number(i % 25); }), ColumnKind::identifier);
  EXPECT_EQ(kind([](int i) { return "u" + number(i % 15); }), ColumnKind::category);
  EXPECT_EQ(kind([](int i) { return "u" + number(i); }, "c", 19), ColumnKind::category);
  EXPECT_EQ(column(40, [](int i) { return "u" + number(i % 25); }).why, "25 different words in 40 rows");
}

TEST_F(RecognizeTest, TextsInAnyScript) {
  const auto kind = [&](auto cell) { return column(40, cell).kind; };
  EXPECT_EQ(kind([](int i) { return "some words " + number(i); }), ColumnKind::text);
  EXPECT_EQ(kind([](int i) { return "some words " + number(i % 3); }), ColumnKind::category);
  // Chinese, Japanese and Thai sentences without a blank.
  EXPECT_EQ(kind([](int i) { return "\u8FD9\u662F\u4E00\u6761\u77ED\u4FE1\u6587\u672C" + number(i); }),
            ColumnKind::text);
  EXPECT_EQ(kind([](int i) { return "\u3053\u308C\u306F\u30E1\u30FC\u30EB\u3067\u3059" + number(i); }),
            ColumnKind::text);
  EXPECT_EQ(kind([](int i) {
              return "\u0E19\u0E35\u0E48\u0E04\u0E37\u0E2D\u0E02\u0E49\u0E2D\u0E04\u0E27\u0E32\u0E21\u0E2A"
                     "\u0E31\u0E49\u0E19" +
                     number(i);
            }),
            ColumnKind::text);
  EXPECT_EQ(kind([](int i) { return "\u5F20\u4F1F" + number(i); }), ColumnKind::identifier);  // a name
  EXPECT_EQ(column(40, [](int i) { return "one two three four " + number(i); }).words, 5);
}

TEST_F(RecognizeTest, ConstantEmptyAndMixed) {
  EXPECT_EQ(column(5, [](int) { return "7"; }).kind, ColumnKind::constant);
  EXPECT_EQ(column(5, [](int) { return "a"; }).kind, ColumnKind::constant);
  EXPECT_EQ(column(5, [](int i) { return i == 0 ? "" : "7"; }).kind, ColumnKind::number);
  EXPECT_EQ(column(5, [](int i) { return i == 0 ? "N/A" : i == 1 ? "" : "?"; }).kind, ColumnKind::empty);
  const RecognizedColumn mixed = column(40, [](int i) { return i == 3 ? std::string("oops") : number(i); });
  EXPECT_TRUE(mixed.is_mixed());
  EXPECT_EQ(mixed.kind, ColumnKind::category);
  EXPECT_EQ(*mixed.word, 3U);
  EXPECT_FALSE(column(40, [](int i) { return i == 3 ? std::string("n/a") : number(i); }).is_mixed());
  const RecognizedColumn marked = column(8, [](int i) { return i < 2 ? "None" : i < 3 ? "" : "1,5"; });
  EXPECT_EQ(marked.missing, 3);
  EXPECT_EQ(marked.marks, (std::vector<std::pair<std::string, int64_t>>{{"", 1}, {"None", 2}}));
  EXPECT_EQ(marked.notation(), "decimal comma");
  const RecognizedColumn words = column(8, [](int i) {
    return i < 2 ? "None" : i < 3 ? "" : i % 2 == 0 ? "a" : "b";
  });
  EXPECT_EQ(words.missing, 1);
  EXPECT_EQ(words.distinct, 3);
}

TEST_F(RecognizeTest, ValuesWithSomethingInTheWayAreMixed) {
  const auto refused = [&](auto cell) {
    column(40, cell);
    const Table table = read_table(folder_.path("a.tsv"), {.header = true, .delimiter = '\t'});
    const RecognizedColumn found = recognize_columns(table)[1];
    EXPECT_TRUE(found.is_mixed());
    EXPECT_EQ(found.kind, ColumnKind::category);
    return input_error([&] { check_readable(table, 1, found); });
  };
  EXPECT_EQ(refused([](int i) { return i % 4 == 2 ? std::string("-") : number(i) + ".5"; }),
            "a.tsv:4:3: '-' in column 'c' is not a number, but the column also holds numbers ('0.5' on line "
            "2); if they are "
            "categories, name the column categorical (--categorical c); if it marks a missing value, give "
            "--missing='-'");
  EXPECT_NE(refused([](int i) {
              return number(i) + (i % 3 == 0 ? ".5" : ",5");
            }).find("and no one notation reads them all"),
            std::string::npos);
  EXPECT_NE(refused([](int i) { return (i % 3 == 0 ? "$" : "\u20AC") + number(i); }).find("no one notation"),
            std::string::npos);
  EXPECT_NE(
      refused([](int i) {
        return i == 30 ? "soon" : "2024-01-" + number(10 + i % 20);
      }).find("'soon' in column 'c' is not a date, but the column also holds dates ('2024-01-10' on line 2)"),
      std::string::npos);
}

TEST_F(RecognizeTest, DatesAndWhatIsNone) {
  const RecognizedColumn dates = column(9, [](int i) { return "2024-0" + number(i + 1) + "-05"; });
  EXPECT_EQ(dates.kind, ColumnKind::date);
  EXPECT_EQ(dates.distinct, 9);
  EXPECT_EQ(
      column(9, [](int i) { return i == 5 ? std::string("2024") : "2024-0" + number(i + 1) + "-05"; }).kind,
      ColumnKind::category);
  EXPECT_NE(column(9, [](int i) { return "0" + number(i + 1) + "/05/2024"; }).doubt, "");
}

TEST_F(RecognizeTest, AFarValueThatRepeatsIsNamed) {
  const auto doubt = [&](auto cell) { return column(200, cell).doubt; };
  EXPECT_EQ(doubt([](int i) { return i % 16 == 0 ? std::string("-999") : number(i % 31) + ".5"; }),
            "-999 stands in 6.5 % of the cells, far from all others; if it marks a missing value, give "
            "--missing=-999");
  EXPECT_EQ(doubt([](int i) { return i == 16 ? std::string("-999") : number(i % 31) + ".5"; }), "");  // once
  EXPECT_EQ(doubt([](int i) { return i % 16 == 0 ? std::string("-5") : number(i % 31) + ".5"; }), "");
  EXPECT_EQ(doubt([](int i) { return i % 10 == 0 ? std::string("1") : "0"; }), "");
}

TEST_F(RecognizeTest, WishesOverrule) {
  const auto ids = [](int i) { return number(i); };
  EXPECT_EQ(column(40, ids, "c", ColumnWish::number).kind, ColumnKind::number);
  const RecognizedColumn category = column(40, ids, "c", ColumnWish::category);
  EXPECT_EQ(category.kind, ColumnKind::category);
  EXPECT_EQ(category.reading.as, CellReading::category);
  EXPECT_EQ(column(40, ids, "c", ColumnWish::text).kind, ColumnKind::text);
  EXPECT_EQ(column(40, ids, "c", ColumnWish::unread).kind, ColumnKind::empty);
}

TEST_F(RecognizeTest, OneDecimalCommaSpeaksForTheOtherColumns) {
  const std::string path = folder_.write("b.csv", "a;b;c\n1,5;2,005;1.500\n2,5;3,005;950\n");
  const auto columns = recognize_columns(read_table(path));
  EXPECT_EQ(columns[1].notation(), "decimal comma");
  EXPECT_EQ(columns[2].notation(), "decimal comma, thousands by '.'");
  const auto alone = recognize_columns(read_table(folder_.write("c.csv", "b;c\n2,005;1.500\n3,005;950\n")));
  EXPECT_EQ(alone[0].notation(), "decimal comma") << "semicolons stand between the fields";
  EXPECT_EQ(alone[1].notation(), "decimal comma, thousands by '.'");
  const auto point = recognize_columns(read_table(folder_.write("d.csv", "b;c\n2,005;1.5\n3,005;950\n")));
  EXPECT_EQ(point[0].notation(), "thousands by ','");
  const auto tabs = recognize_columns(read_table(folder_.write("e.tsv", "b\tc\n2,005\t1.500\n3,005\t950\n")));
  EXPECT_EQ(tabs[0].notation(), "thousands by ','");
  EXPECT_EQ(tabs[1].notation(), "");
}

TEST_F(RecognizeTest, NumbersOfJsonHaveNoNotation) {
  const std::string path = folder_.write(
      "a.jsonl",
      "{\"a\": \"0,5\", \"b\": 9.125, \"c\": \"1,5\"}\n{\"a\": \"7,25\", \"b\": 950, \"c\": 2.125}\n");
  const Table table = read_table(path);
  const auto columns = recognize_columns(table);
  EXPECT_EQ(columns[1].notation(), "");
  EXPECT_EQ(columns[2].notation(), "decimal comma");
  EXPECT_EQ(table.number(0, 1, columns[0].reading.notation).value, 9.125);
  EXPECT_EQ(table.number(1, 2, columns[2].reading.notation).value, 2.125);
  const Table percent = read_table(folder_.write("p.jsonl", "{\"a\": \"12 %\"}\n{\"a\": 0.5}\n"));
  EXPECT_TRUE(recognize_columns(percent)[0].is_mixed());
  const Table millions = read_table(folder_.write("m.jsonl", "{\"a\": \"7.5M\"}\n{\"a\": 271}\n"));
  EXPECT_TRUE(recognize_columns(millions)[0].is_mixed());
}

TEST_F(RecognizeTest, MarksOfMissingValuesThatAPersonNames) {
  const Table table = read_table(folder_.write("m.csv", "a,b\n1,x\n-,x\n-,y\n,y\n"), {.missing = {"-"}});
  const RecognizedColumn found = recognize_columns(table)[0];
  EXPECT_EQ(found.missing, 3);
  EXPECT_EQ(found.marks, (std::vector<std::pair<std::string, int64_t>>{{"", 1}, {"-", 2}}));
  EXPECT_EQ(table.cell(1, 0), "");
}

TEST_F(RecognizeTest, NumbersOfJsonThatNoDoubleHolds) {
  const Table table = read_table(folder_.write(
      "o.jsonl", "{\"a\": 1e400, \"b\": [1, -1e999], \"c\": 2}\n{\"a\": -12345e678, \"c\": 1e309}\n"));
  EXPECT_EQ(trimmed(table.cell(0, 0)), "inf");
  EXPECT_EQ(trimmed(table.cell(1, 0)), "-inf");
  EXPECT_EQ(table.cell(0, 2), "2");
  EXPECT_EQ(recognize_columns(table)[0].infinite, 0U);
  EXPECT_EQ(recognize_columns(table)[2].infinite, 1U);
}

TEST_F(RecognizeTest, NumbersOfMoreDigitsThanADoubleHolds) {
  const auto card = [](int i) { return "40000000000000" + number(100 + i); };
  EXPECT_EQ(column(40, card).kind, ColumnKind::identifier);
  const RecognizedColumn few = column(40, [&](int i) { return i == 0 ? card(i) : number(i * 3 % 17); });
  EXPECT_EQ(few.kind, ColumnKind::number);
  EXPECT_NE(few.doubt.find("1 cell has more than 15 digits"), std::string::npos) << few.doubt;
  EXPECT_EQ(column(40, [](int i) { return number(i * 3 % 17) + "e20"; }).doubt, "");
  const RecognizedColumn accounts = column(40, [&](int i) { return card(i % 3); });
  EXPECT_EQ(accounts.kind, ColumnKind::category);
  EXPECT_EQ(accounts.distinct, 3);
}

}  // namespace recognize_test
}  // namespace bilevel
