#include "bilevel/data/table.h"

#include <gtest/gtest.h>
#include <zstd.h>

#include "tests/files.h"

namespace bilevel {
namespace {

std::vector<std::string> row_of(const Table& table, size_t row) {
  std::vector<std::string> cells;
  for (size_t i = 0; i < table.columns(); ++i) cells.emplace_back(table.cell(row, i));
  return cells;
}

using Cells = std::vector<std::string>;

class TableTest : public testing::Test {
 protected:
  Table read(const std::string& name, std::string_view text, const TableOptions& options = {}) const {
    return read_table(folder_.write(name, text), options);
  }
  std::string error(const std::string& name, std::string_view text, const TableOptions& options = {}) const {
    return input_error([&] { read(name, text, options); });
  }
  static std::string at(const Table& table, size_t row, size_t column) {
    const Position position = table.position(row, column);
    return std::to_string(position.line) + ":" + std::to_string(position.column);
  }

  TemporaryFolder folder_;
};

// ---- formats ----

TEST_F(TableTest, BlanksAloneAreABlankLine) {
  const Table table = read_table(folder_.write("b.tsv", "a\tb\n1\t2\n  \n3\t4\n \n"));
  EXPECT_EQ(table.rows(), 2U);
}

TEST_F(TableTest, CellsThatAreReplaced) {
  Table table = read_table(folder_.write("r.csv", "a,b\nx,Yes\ny, yes\nz,no\nw,yes\n"));
  EXPECT_EQ(table.replace(1, {{"yes", "Yes"}}), 2);
  EXPECT_EQ(table.cell(1, 1), "Yes");
  EXPECT_EQ(table.cell(3, 1), "Yes");
  EXPECT_EQ(table.cell(2, 1), "no");
  EXPECT_EQ(table.position(3, 1).column, 3);
}

TEST_F(TableTest, FormatComesFromTheName) {
  EXPECT_EQ(format_of("x/A.CSV"), Format::csv);
  EXPECT_EQ(format_of("a.tsv.gz"), Format::tsv);
  EXPECT_EQ(format_of("a.jsonl"), Format::jsonl);
  EXPECT_EQ(format_of("a.ndjson.gz"), Format::jsonl);
  EXPECT_EQ(format_of("a.libsvm"), Format::libsvm);
  EXPECT_EQ(format_of("a.svm.gz"), Format::libsvm);
  EXPECT_EQ(format_of("a.csv", Format::tsv), Format::tsv);
  EXPECT_EQ(input_error([] { format_of("a.txt"); }),
            "a.txt: the format does not show in the file's name; give it (--format csv, tsv, jsonl, libsvm "
            "or idx)");
  EXPECT_EQ(value_named<Format>("tsv", "format"), Format::tsv);
  EXPECT_EQ(name_of(Format::jsonl), "jsonl");
  EXPECT_NE(input_error([] { value_named<Format>("xml", "format"); }), "");
}

TEST_F(TableTest, GzipIsSeenFromTheContent) {
  EXPECT_EQ(row_of(read_table(folder_.write_gzip("a.csv", "x,y\n1,2\n")), 0), (Cells{"1", "2"}));
  EXPECT_EQ(row_of(read_table(folder_.write("b.csv.gz", "x,y\n1,2\n")), 0), (Cells{"1", "2"}));
}

// ---- csv ----

TEST_F(TableTest, CsvQuotesAsUsual) {
  const Table table = read("a.csv",
                           "\xEF\xBB\xBFname,text\r\n"
                           "a,\"x, \"\"y\"\"\"\r\n"
                           "\r\n"
                           "\"b\",\"two\nlines\"\r\n"
                           " c , d e \r\n"
                           "\"\",");
  EXPECT_EQ(table.names(), (Cells{"name", "text"}));
  ASSERT_EQ(table.rows(), 4U);
  EXPECT_EQ(row_of(table, 0), (Cells{"a", "x, \"y\""}));
  EXPECT_EQ(row_of(table, 1), (Cells{"b", "two\nlines"}));
  EXPECT_EQ(row_of(table, 2), (Cells{"c", "d e"}));
  EXPECT_EQ(row_of(table, 3), (Cells{"", ""}));
  EXPECT_EQ(at(table, 0, 0), "2:1");
  EXPECT_EQ(at(table, 0, 1), "2:3");
  EXPECT_EQ(at(table, 1, 1), "4:5");
  EXPECT_EQ(at(table, 2, 0), "6:2");
  EXPECT_EQ(at(table, 2, 1), "6:6");
  EXPECT_EQ(at(table, 3, 1), "7:4");
  EXPECT_EQ(table.position(3).line, 7);
}

TEST_F(TableTest, CsvKnowsWhereACellBehindALineEndStands) {
  const Table table = read("a.csv", "a,b,c\nx,\"p\nq\",z\nu,v,w\n");
  EXPECT_EQ(at(table, 0, 1), "2:3");
  EXPECT_EQ(at(table, 0, 2), "3:4");
  EXPECT_EQ(table.position(0).line, 2);
  EXPECT_EQ(at(table, 1, 2), "4:5");
}

TEST_F(TableTest, CsvErrorsHaveAPosition) {
  EXPECT_EQ(error("a.csv", "a,b\n1,2,3\n"), "a.csv:2:5: the row has 3 fields, but 2 are expected");
  EXPECT_EQ(error("a.csv", "a,b\n1,2\n13\n"), "a.csv:3:3: the row has 1 field, but 2 are expected");
  EXPECT_EQ(error("a.csv", "a,b\n1,2\n13"), "a.csv:3:3: the row has 1 field, but 2 are expected");
  EXPECT_EQ(error("a.csv", "a,b\r\n1,2\r\n13\r\n"), "a.csv:3:3: the row has 1 field, but 2 are expected");
  EXPECT_EQ(error("a.csv", "a,b\nx, \"yz\nu,v\n"), "a.csv:2:4: the quote that opens here is never closed");
  EXPECT_EQ(error("a.csv", "a,b\nx,y\"z\n"),
            "a.csv:2:4: a misplaced quote in a csv field: a field with quotes inside must be quoted, and its "
            "inner quotes doubled");
  EXPECT_EQ(error("a.csv", "a,b\nx,\"y\"z\n").substr(0, 27), "a.csv:2:6: a misplaced quot");
  EXPECT_NE(error("a.csv", "a,b\n\"x,y\nu,\"v\"\n").find("a.csv:3:4: "), std::string::npos);
  EXPECT_NE(error("a.csv", "a,b\n\"x,y\nu,\"v\"\n").find("(the field began on line 2)"), std::string::npos);
}

TEST_F(TableTest, EmptyTables) {
  EXPECT_EQ(error("a.csv", ""), "a.csv: is empty");
  EXPECT_EQ(error("a.csv", "\n \n"), "a.csv: holds no rows");
  EXPECT_EQ(error("a.csv", "a,b\n"), "a.csv:1: holds a header but no rows");
  EXPECT_EQ(error("a.tsv", "\na\tb"), "a.tsv:2: holds a header but no rows");
  EXPECT_EQ(error("a.jsonl", "\n\n"), "a.jsonl: holds no rows");
  EXPECT_EQ(error("a.jsonl", "{}\n"), "a.jsonl:1: the rows have no columns");
}

TEST_F(TableTest, BrokenBytesHaveAPosition) {
  EXPECT_EQ(error("a.csv", "a,b\nx,\xE9\n"),
            "a.csv:2:3: byte 0xE9 is not valid UTF-8; if the file is in another encoding, name it "
            "(--encoding windows-1252)");
  EXPECT_EQ(error("a.tsv", std::string_view("a\tb\nx\t\0\n", 8)),
            "a.tsv:2:3: a NUL byte; this is not a text file, or one in UTF-16 (--encoding utf-16)");
}

TEST_F(TableTest, MissingFileIsCalledMissingWhateverItsName) {
  EXPECT_EQ(input_error([&] { read_table(folder_.path("no.txt")); }), "no.txt: there is no such file");
  EXPECT_EQ(error("a.svm", "1 1:1\n"), "a.svm: a libsvm file is not a table with named columns");
}

// ---- headers and column names ----

TEST_F(TableTest, FirstRowIsAHeaderWhenNoCellIsANumber) {
  EXPECT_EQ(read("a.csv", "x,y\na,b\n").names(), (Cells{"x", "y"}));
  EXPECT_EQ(read("a.csv", ",y\na,b\n").names(), (Cells{"1", "y"}));
  EXPECT_EQ(read("a.csv", "x,1\na,2\n").names(), (Cells{"1", "2"}));
  EXPECT_EQ(read("a.csv", "x,?\na,2\n").rows(), 2U);
  EXPECT_EQ(read("a.csv", "x,NA\na,2\n").rows(), 2U);
  EXPECT_EQ(read("a.csv", ",\na,2\n").rows(), 2U);
  EXPECT_EQ(read("a.csv", "1,2\n3,4\n", {.header = true}).names(), (Cells{"1", "2"}));
  EXPECT_EQ(read("a.csv", "1,2\n3,4\n", {.header = true}).rows(), 1U);
  EXPECT_EQ(read("a.csv", "x,y\na,b\n", {.header = false}).rows(), 2U);
}

TEST_F(TableTest, ColumnsAreFoundByNameAndThenByNumber) {
  const Table table = read("a.csv", "x,2,z\na,b,c\n", {.header = true});
  EXPECT_EQ(table.column("z"), 2U);
  EXPECT_EQ(table.column("3"), 2U);
  EXPECT_EQ(table.column("2"), 1U);
  EXPECT_EQ(table.find_column("0"), std::nullopt);
  EXPECT_EQ(table.find_column("4"), std::nullopt);
  EXPECT_EQ(table.find_column("-1"), std::nullopt);
  EXPECT_EQ(input_error([&] { table.column("w"); }), "a.csv: has no column 'w'; its columns are x, 2, z");
  std::string wide = "c1";
  for (int i = 2; i <= 30; ++i) wide += ",c" + std::to_string(i);
  const Table many = read("w.csv", wide + "\n" + wide + "\n");
  EXPECT_NE(input_error([&] { many.column("w"); }).find("c20 and 10 more"), std::string::npos);
}

TEST_F(TableTest, NamesMustDiffer) {
  EXPECT_EQ(error("a.csv", "x,y,x\na,b,c\n"),
            "a.csv:1:5: the header names column 'x' twice (columns 1 and 3); if the first row is data, say "
            "--no-header, else give one of them another name");
}

// ---- tsv ----

TEST_F(TableTest, TsvTakesQuotesAsTheyAre) {
  const Table table = read("a.tsv", "x\ty\r\n\"a\t b\"\"\r\n\n\t\n");
  ASSERT_EQ(table.rows(), 2U);
  EXPECT_EQ(row_of(table, 0), (Cells{"\"a", " b\"\""}));
  EXPECT_EQ(row_of(table, 1), (Cells{"", ""}));
  EXPECT_EQ(at(table, 0, 1), "2:4");
  EXPECT_EQ(table.position(1).line, 4);
  EXPECT_EQ(error("a.tsv", "x\ty\na\tb\tc\n"), "a.tsv:2:5: the row has 3 fields, but 2 are expected");
  EXPECT_EQ(error("a.tsv", "x\ty\nabc\n"), "a.tsv:2:4: the row has 1 field, but 2 are expected");
}

// ---- jsonl ----

TEST_F(TableTest, JsonRowsMayLackKeys) {
  const Table table = read("a.jsonl",
                           "{\"t\": \"a\\\"\\u00e9\", \"n\": 1.50}\n\n"
                           "{\"n\": -3, \"b\": true, \"t\": null}\r\n"
                           "{\"z\":18446744073709551615}");
  EXPECT_EQ(table.names(), (Cells{"t", "n", "b", "z"}));
  ASSERT_EQ(table.rows(), 3U);
  EXPECT_EQ(row_of(table, 0), (Cells{"a\"\xC3\xA9", "1.50", "", ""}));
  EXPECT_EQ(row_of(table, 1), (Cells{"", "-3", "true", ""}));
  EXPECT_EQ(row_of(table, 2), (Cells{"", "", "", "18446744073709551615"}));
  EXPECT_EQ(at(table, 0, 0), "1:7");
  EXPECT_EQ(at(table, 0, 1), "1:25");
  EXPECT_EQ(at(table, 1, 1), "3:7");
  EXPECT_EQ(at(table, 1, 0), "3:27");
  EXPECT_EQ(at(table, 0, 2), "1:0");
}

TEST_F(TableTest, JsonErrorsHaveAPosition) {
  EXPECT_EQ(error("a.jsonl", "{\"a\": 1}\n{\"a\": \"xy"),
            "a.jsonl:2:10: broken JSON: syntax error while parsing value - invalid string: missing closing "
            "quote; last read: '\"xy'");
  EXPECT_EQ(error("a.jsonl", "{\"a\": 1}\n{\"a\": 2").substr(0, 25), "a.jsonl:2:8: broken JSON:");
  EXPECT_EQ(error("a.jsonl", "{\"a\": tru}\n").substr(0, 26), "a.jsonl:1:10: broken JSON:");
  EXPECT_EQ(error("a.jsonl", "{\"a\": 1} x\n").substr(0, 26), "a.jsonl:1:10: broken JSON:");
  EXPECT_EQ(error("a.jsonl", "{\"a\": 1}\n[1]\n"), "a.jsonl:2:1: not a JSON object; each line must hold one");
  EXPECT_EQ(error("a.jsonl", "3\n"), "a.jsonl:1:1: not a JSON object; each line must hold one");
  EXPECT_EQ(error("a.jsonl", "{\"a\": 1, \"a\": 2}\n"),
            "a.jsonl:1:12: the key \"a\" stands twice on this line");
}

TEST_F(TableTest, JsonFieldsThatNobodyReadsMayHoldAnything) {
  const Table table = read("a.jsonl",
                           "{\"b\": NaN, \"a\": [1, {\"b\": [\"]\"]}], \"t\": \"x NaN\", \"u\": 1}\n"
                           "{\"a\": {\"t\": NaN}, \"b\": -Infinity, \"t\": \"y\", \"z\": \"\\u0000\"}\n");
  EXPECT_EQ(table.names(), (Cells{"b", "a", "t", "u", "z"}));
  EXPECT_EQ(row_of(table, 0), (Cells{"", "[1, {\"b\": [\"]\"]}]", "x NaN", "1", ""}));
  EXPECT_EQ(row_of(table, 1), (Cells{"-inf", "{\"t\": \"\" }", "y", "", ""}));
  EXPECT_EQ(at(table, 0, 2), "1:41");
  EXPECT_TRUE(table.nested(1) && table.nested(4));
  EXPECT_FALSE(table.nested(0));
  table.check_cells(2);
  EXPECT_EQ(
      input_error([&] { table.check_cells(1); }),
      "a.jsonl:1:17: the value of \"a\" is a list; only strings, numbers, true, false and null can be read");
  EXPECT_EQ(input_error([&] { table.check_cells(4); }),
            "a.jsonl:2:50: the value of \"z\" holds a NUL character");
}

// ---- delimiters, headers of years, missing values, encodings ----

TEST_F(TableTest, FindsTheDelimiter) {
  const Cells xy{"x", "y"}, row{"1,5", "a"};
  EXPECT_EQ(row_of(read("a.csv", "x;y\n1,5;a\n"), 0), row);
  EXPECT_EQ(row_of(read("a.csv", "x;y\n1,5;a\n2,5;b\n"), 0), row);
  EXPECT_EQ(row_of(read("a.csv", "x|y\n1,5|a\n"), 0), row);
  EXPECT_EQ(row_of(read("a.csv", "x\ty\n1,5\ta\n"), 0), row);
  EXPECT_EQ(row_of(read("a.tsv", "x;y\n1,5;a\n"), 0), row);
  EXPECT_EQ(row_of(read("a.csv", "sep=;\nx;y\n1,5;a\n"), 0), row);
  EXPECT_EQ(row_of(read("a.csv", "sep=\t\r\nx\ty\r\n1,5\ta\r\n"), 0), row);
  EXPECT_EQ(row_of(read("a.csv", "x#y\n1,5#a\n", {.delimiter = '#'}), 0), row);
  EXPECT_EQ(row_of(read("a.csv", "\"x;z\";y\n\"1;5\";a\n"), 0), (Cells{"1;5", "a"}));
  // Decimal commas without a header: both characters stand equally often in all rows.
  EXPECT_EQ(row_of(read("a.csv", "1,5;2,5\n3,5;4,5\n"), 1), (Cells{"3,5", "4,5"}));
  // A comma stays what it is in csv, whatever texts hold.
  EXPECT_EQ(row_of(read("a.csv", "x;y,z\na;b,c\n"), 0), (Cells{"a;b", "c"}));
  EXPECT_EQ(row_of(read("a.csv", "x,y\na;b,c\nd;e,f\n"), 0), (Cells{"a;b", "c"}));
  EXPECT_EQ(row_of(read("a.tsv", "text\nyes, you\n"), 0), (Cells{"yes, you"}));
  EXPECT_EQ(row_of(read("a.tsv", "x\ty\n\"a, b\tc\nd\", e\tf\n"), 0), (Cells{"\"a, b", "c"}));
  EXPECT_EQ(read("a.csv", "x;y\n1,5;a\n").delimiter(), ';');
  EXPECT_NE(error("a.csv", "x\n1,2\n3\n", {}).find("(fields are taken to stand between commas; --delimiter"),
            std::string::npos);
  const Table wrong = read("a.csv", "x;y\n1;2\n", {.delimiter = ','});
  EXPECT_EQ(input_error([&] { wrong.column("y"); }),
            "a.csv: has no column 'y'; its columns are x;y; fields are taken to stand between commas; if "
            "they do not, give "
            "--delimiter semicolon");
}

TEST_F(TableTest, TsvMayBeQuotedWhereNeeded) {
  const Table table = read("a.tsv", "x\ty\n\"say \"\"a\"\"\"\tb\n\"c\nd\"\te\n");
  ASSERT_EQ(table.rows(), 2U);
  EXPECT_EQ(row_of(table, 0), (Cells{"say \"a\"", "b"}));
  EXPECT_EQ(row_of(table, 1), (Cells{"c\nd", "e"}));
  EXPECT_EQ(row_of(read("a.tsv", "x\ty\n\"a\"\tb\n"), 0), (Cells{"\"a\"", "b"}));
  EXPECT_EQ(row_of(read("a.tsv", "x\ty\n\"a\"\"b\"\tb\n\"c\" d\te\n"), 0), (Cells{"\"a\"\"b\"", "b"}));
}

TEST_F(TableTest, YearsMayNameColumns) {
  EXPECT_EQ(read("a.csv", "id,2019,2020\n1,5.5,6\n").names(), (Cells{"id", "2019", "2020"}));
  EXPECT_EQ(read("a.csv", "id,2019,2020\n1,5.5,6\n").rows(), 1U);
  EXPECT_EQ(read("a.csv", "a,2019\nb,2020\n").rows(), 2U);
  EXPECT_EQ(read("a.csv", "a,2019\nb,2020\n").names(), (Cells{"1", "2"}));
  EXPECT_EQ(read("a.csv", "2019,2020\n1,2\n").rows(), 2U);
  EXPECT_EQ(read("a.csv", "a,2019\n").rows(), 1U);
  EXPECT_EQ(row_of(read("a.csv", "a,2019\nb,2020\nc,2021\n"), 0), (Cells{"a", "2019"}));
  EXPECT_EQ(error("a.csv", "a,2019\nb,5,6\n"), "a.csv:2:5: the row has 3 fields, but 2 are expected");
}

TEST_F(TableTest, NamedMarksAreEmptyCells) {
  const TableOptions options{.missing = {"-999", "none"}};
  const Table table = read("a.csv", "x,y\n-999.0,none\n-99,None\n", options);
  EXPECT_EQ(row_of(table, 0), (Cells{"", ""}));
  EXPECT_EQ(row_of(table, 1), (Cells{"-99", "None"}));
  EXPECT_EQ(row_of(read("a.jsonl", "{\"x\": -999, \"y\": \"none\"}\n", options), 0), (Cells{"", ""}));
}

TEST_F(TableTest, KeepsSomeRows) {
  Table table = read("a.csv", "x,y\n1,\"a\nb\"\n2,c\n\"3\n\",d\n");
  table.keep_rows({0, 2});
  ASSERT_EQ(table.rows(), 2U);
  EXPECT_EQ(row_of(table, 1), (Cells{"3\n", "d"}));
  EXPECT_EQ(at(table, 1, 0), "5:1");
  EXPECT_EQ(at(table, 1, 1), "6:3");
}

TEST_F(TableTest, ReadsOtherEncodings) {
  const TableOptions latin{.encoding = Encoding::iso_8859_1}, windows{.encoding = Encoding::windows_1252};
  EXPECT_EQ(row_of(read("a.csv", "x,y\ncaf\xE9,b\n", latin), 0), (Cells{"caf\u00E9", "b"}));
  EXPECT_EQ(row_of(read("a.csv", "x,y\n5\x80,\x93q\x94\n", windows), 0), (Cells{"5\u20AC", "\u201Cq\u201D"}));
  const std::string_view little("\xFF\xFEx\0,\0y\0\n\0\xE9\0,\0=\xD8\x00\xDE\n\0", 20);
  EXPECT_EQ(row_of(read("a.csv", little), 0), (Cells{"\u00E9", "\U0001F600"}));
  const std::string_view big("\0x\0,\0y\0\n\0a\0,\0b\0\n", 16);
  EXPECT_EQ(row_of(read("a.csv", std::string("\xFE\xFF").append(big)), 0), (Cells{"a", "b"}));
  EXPECT_EQ(row_of(read("a.csv", little.substr(2), {.encoding = Encoding::utf_16}), 0),
            (Cells{"\u00E9", "\U0001F600"}));
  EXPECT_EQ(encoding_named("Latin-1"), Encoding::iso_8859_1);
  EXPECT_EQ(encoding_named("CP1252"), Encoding::windows_1252);
  EXPECT_NE(input_error([] { encoding_named("ebcdic"); }).find("must be utf-8"), std::string::npos);
}

TEST_F(TableTest, FilesOfOtherProgramsAreNamed) {
  EXPECT_NE(error("a.csv", "PK\x03\x04....").find("Excel workbook (xlsx)"), std::string::npos);
  EXPECT_NE(error("a.csv", "PAR1....").find("is a parquet file; convert it"), std::string::npos);
  EXPECT_NE(input_error([&] { read("a.xlsx", "PK\x03\x04...."); }).find("save"), std::string::npos);
  EXPECT_NE(input_error([] { format_of("a.parquet"); }).find(".parquet files are not read"),
            std::string::npos);
  EXPECT_EQ(format_of("a.CSV.zst"), Format::csv);
}

TEST_F(TableTest, UnpacksZstd) {
  std::string text = "x,y\n";
  for (int i = 0; i < 20000; ++i) text += std::to_string(i * 7919 % 10007) + ",b\n";
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  EXPECT_EQ(read("a.csv.zst", packed).rows(), 20000U);
  EXPECT_NE(error("a.csv", packed.substr(0, packed.size() / 2)).find("the zstd data end here too early"),
            std::string::npos);
}

// ---- real files ----

struct RealFile {
  const char* name;
  size_t rows;
  size_t columns;
  bool header;
};

TEST(RealTables, HaveTheCountsOfTheirSources) {
  SKIP_WITHOUT_DATA();
  const RealFile files[] = {{"sentiment140/train_sample.tsv.gz", 39754, 4, true},
                            {"sentiment140/test_manual.tsv.gz", 498, 4, true},
                            {"sms_spam/sms.tsv.gz", 5574, 2, true},
                            {"sentence/sst2_train.tsv.gz", 6920, 2, true},
                            {"sentence/sst2_dev.tsv.gz", 872, 2, true},
                            {"sentence/sst2_test.tsv.gz", 1821, 2, true},
                            {"sentence/mr.tsv.gz", 10662, 2, true},
                            {"sentence/subj.tsv.gz", 10000, 2, true},
                            {"sentence/trec_train.tsv.gz", 5452, 2, true},
                            {"sentence/trec_test.tsv.gz", 500, 2, true},
                            {"ag_news/dev.tsv.gz", 10001, 2, true},
                            {"ag_news/test.tsv.gz", 7600, 2, true},
                            {"nli/snli_validation.tsv.gz", 9842, 3, true},
                            {"nli/snli_test.tsv.gz", 9824, 3, true},
                            {"nli/sick_train.tsv.gz", 4500, 3, true},
                            {"nli/sick_trial.tsv.gz", 500, 3, true},
                            {"nli/sick_test.tsv.gz", 4927, 3, true},
                            {"amazon_arsc/arsc_t2.tsv.gz", 32753, 4, true},
                            {"amazon_fdu_mtl/fdu_mtl.tsv.gz", 31780, 4, true},
                            {"fewshot_topic/huffpost.tsv.gz", 36900, 2, true},
                            {"tabular/phoneme.csv.gz", 5404, 6, false},
                            {"tabular/haberman.csv.gz", 306, 4, false},
                            {"tabular/pima-indians-diabetes.csv.gz", 768, 9, false},
                            {"tabular/german.csv.gz", 1000, 21, false},
                            {"tabular/ionosphere.csv.gz", 351, 35, false},
                            {"tabular/sonar.csv.gz", 208, 61, false},
                            {"tabular/magic04.csv.gz", 19020, 11, false}};
  for (const RealFile& file : files) {
    const Table table = read_table(data_folder() + "/" + file.name);
    EXPECT_EQ(table.rows(), file.rows) << file.name;
    EXPECT_EQ(table.columns(), file.columns) << file.name;
    EXPECT_EQ(table.names()[0] != "1", file.header) << file.name;
    EXPECT_EQ(table.position(file.rows - 1).line, static_cast<int64_t>(file.rows + (file.header ? 1 : 0)));
  }
}

}  // namespace
}  // namespace bilevel
