#include "bilevel/data/table_writer.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <stdexcept>

#include "bilevel/data/delimiter.h"
#include "bilevel/data/table.h"
#include "tests/files.h"

namespace bilevel {
namespace table_writer_test {

/// Writes and reads; what comes back is what was written.
void expect_back(const std::vector<Column>& columns) {
  const TemporaryFolder folder;
  write_tsv(folder.path("t.tsv"), columns);
  const Table table = read_table(folder.path("t.tsv"), {.header = true});
  ASSERT_EQ(table.columns(), columns.size());
  for (size_t c = 0; c < columns.size(); ++c) {
    EXPECT_EQ(table.names()[c], columns[c].name);
    ASSERT_EQ(table.rows(), columns[c].cells.size());
    for (size_t row = 0; row < table.rows(); ++row) EXPECT_EQ(table.cell(row, c), columns[c].cells[row]);
  }
}

TEST(TableWriter, OrdinaryCellsAreNotQuoted) {
  EXPECT_EQ(tsv_of({{"row", {"1", "2"}}, {"text", {"say \"hi\", you", "\"quoted\""}}}),
            "row\ttext\n1\tsay \"hi\", you\n2\t\"quoted\"\n");
}

TEST(TableWriter, NumbersHaveTheirDigits) {
  const Column column = number_column("x", torch::tensor({1.0 / 3, 1e-12, 2.0}, torch::kFloat64));
  EXPECT_EQ(column.cells, ColumnCells({"0.333333333", "1e-12", "2"}));
  EXPECT_EQ(number_column("x", torch::tensor({1.0 / 3}, torch::kFloat64), 2).cells[0], "0.33");
  EXPECT_EQ(number_column("x", torch::tensor({true, false})).cells, ColumnCells({"1", "0"}));
  EXPECT_EQ(row_column(3).cells, ColumnCells({"1", "2", "3"}));
}

TEST(TableWriter, EveryCellComesBack) {
  for (const char* text : {"plain", "a\tb", "a\nb", "a\r\nb", "\r", "\t", "\n", "\"", "\"\"", "\"a\"", "a\"b",
                           "\"a\tb\"", " a ", "\ta", "a,b", "\"\n\"", "\xc3\xa9\t", "a\n\nb"}) {
    SCOPED_TRACE(text);
    expect_back({{"a", {text, "x"}}, {"b", {"y", ""}}});
    expect_back({{"a", {"", "x"}}, {"b", {"y", text}}});
    expect_back(
        {{"a", {"1", "2"}}, {"p(" + std::string(text) + ")", {"", text}}});  // names lose outer blanks
  }
  expect_back({{"\"a\"", {"1"}}, {"\"b\"", {"\"x"}}});
}

TEST(TableWriter, WhatCannotBeWritten) {
  EXPECT_THROW(tsv_of({{"a", {"1"}}, {"b", {"1", "2"}}}), std::logic_error);
  EXPECT_THROW(tsv_of({{"a\nb", {"1"}}, {"c", {"1"}}}), std::logic_error)
      << "the first line must show its kind";
}

TEST(TableWriter, WhatMakesAFileQuoted) {
  for (const char* line : {"\"a\"", "\"a\"\t\"b\"", "\"a\tb\"\t\"c\"", "\"a\"\t\"b", "\"a\"\"\"\t\"\""})
    EXPECT_TRUE(is_quoted_tsv(line)) << line;
  for (const char* line : {"", "a", "a\t\"b\"", "\"a\"\tb", "\"a", "\"a\" b\t\"c\"", "\"a\"\t", "\"a\tb"})
    EXPECT_FALSE(is_quoted_tsv(line)) << line;
}

// Files of others: quotes that say nothing about the table stay what they were.
TEST(TableWriter, OrdinaryQuotesStayOrdinary) {
  const TemporaryFolder folder;
  const Table table = read_table(folder.write("t.tsv", "label\ttext\nham\t\"Hi\nspam\t\"a\"\n"));
  EXPECT_EQ(table.cell(0, 1), "\"Hi");
  EXPECT_EQ(table.cell(1, 1), "\"a\"");
}

}  // namespace table_writer_test
}  // namespace bilevel
