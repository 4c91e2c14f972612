#include "bilevel/task/clean/edited_file.h"

#include <gtest/gtest.h>

#include "tests/files.h"

namespace bilevel {
namespace {

/// The text of a file with these edits.
std::string edited_text(const DataFile& file, const std::string& label, const TableOptions& read,
                        const std::vector<RowEdit>& edits) {
  std::string text;
  edit_file(
      file, label, read, [&](size_t row) { return edits.at(row); },
      [&](std::string_view part) { text += part; });
  return text;
}

std::string edited(const std::string& name, const std::string& content, const std::vector<RowEdit>& edits,
                   const std::string& label = "y") {
  const TemporaryFolder folder;
  const std::string path =
      name.ends_with(".gz") ? folder.write_gzip(name, content) : folder.write(name, content);
  return edited_text(read_data_file(path, {}), label, {}, edits);
}

const RowEdit kSame{}, kOut{.left_out = true};
RowEdit to(const std::string& label) { return {.left_out = false, .label = label}; }

TEST(EditedFile, CsvWithQuotesLineEndsAndBlanks) {
  const std::string file =
      "\xEF\xBB\xBFx,y,z\r\n1.50, no ,\"a\n, b\"\r\n\r\n\"2\nlines\",\"no\",\"q\"\"q\"\r\n3,yes,c";
  EXPECT_EQ(edited("a.csv", file, {kSame, kSame, kSame}), file.substr(3));
  EXPECT_EQ(edited("a.csv", file, {to("yes"), to("yes"), to("no, not")}),
            "x,y,z\r\n1.50, yes ,\"a\n, b\"\r\n\r\n\"2\nlines\",\"yes\",\"q\"\"q\"\r\n3,\"no, not\",c");
  EXPECT_EQ(edited("a.csv", file, {kOut, to("a\"b"), kOut}),
            "x,y,z\r\n\"2\nlines\",\"a\"\"b\",\"q\"\"q\"\r\n");
  EXPECT_EQ(edited("a.csv.gz", file, {kOut, kOut, kSame}), "x,y,z\r\n3,yes,c");
}

TEST(EditedFile, TsvWithAndWithoutQuotesAndHeader) {
  EXPECT_EQ(edited("a.tsv", "y\tx\n\"no\t1\nyes\t\"2\n", {to("yes"), to("\"no")}),
            "y\tx\nyes\t1\n\"no\t\"2\n");
  EXPECT_EQ(edited("a.tsv", "\"y\"\t\"x\"\n\"no\"\t\"1\"\n", {to("y\te")}),
            "\"y\"\t\"x\"\n\"y\te\"\t\"1\"\n");
  EXPECT_EQ(edited("a.tsv", "1\t2\n3\t4\n", {to("3"), kSame}, "1"), "3\t2\n3\t4\n");
}

TEST(EditedFile, LabelsThatWereReadInAnotherSpelling) {
  const TemporaryFolder folder;
  const std::string path = folder.write("a.csv", "y,x\nNew  York,1\n\"new york\",2\nRome,3\nnew york,4\n");
  DataFile file = read_data_file(path, {});
  Table& table = std::get<Table>(file);
  table.replace(0, {{"New  York", "new york"}});
  EXPECT_EQ(table.original(0, 0), "New  York");
  EXPECT_EQ(edited_text(file, "y", {}, {to("Rome"), to("Rome"), kSame, kSame}),
            "y,x\nRome,1\n\"Rome\",2\nRome,3\nnew york,4\n");
  EXPECT_EQ(edited_text(file, "y", {}, {kSame, kOut, kSame, kSame}),
            "y,x\nNew  York,1\nRome,3\nnew york,4\n");
  table.keep_rows({0, 2});
  EXPECT_EQ(table.original(0, 0), "New  York");
  EXPECT_EQ(table.original(1, 0), "Rome");
}

TEST(EditedFile, OtherDelimitersAndEncodings) {
  EXPECT_EQ(edited("a.csv", "y;x\nno;1,5\nyes;2,5\n", {to("yes"), to("a;b")}), "y;x\nyes;1,5\n\"a;b\";2,5\n");
  const TemporaryFolder folder;
  const std::string path = folder.write("a.csv", "y,x\nnein,\xE9\nja,2\n");
  const TableOptions latin{.encoding = Encoding::iso_8859_1};
  EXPECT_EQ(edited_text(read_data_file(path, latin), "y", latin, {to("ja"), kSame}),
            "y,x\nja,\xC3\xA9\nja,2\n");
}

TEST(EditedFile, JsonlKeepsTypes) {
  const std::string file = R"({"x": 1.50, "y": "n\"o", "z": null}
{"y":1,"x":"1"}
{"y" :true}
)";
  EXPECT_EQ(edited("a.jsonl", file, {kSame, kSame, kSame}), file);
  EXPECT_EQ(edited("a.jsonl", file, {to("1"), to("2"), to("n\"o")}), R"({"x": 1.50, "y": "1", "z": null}
{"y":2,"x":"1"}
{"y" :"n\"o"}
)");
  EXPECT_EQ(edited("a.jsonl", file, {kOut, to("no"), kOut}), "{\"y\":\"no\",\"x\":\"1\"}\n");
}

TEST(EditedFile, LibsvmKeepsCommentsAndValues) {
  const std::string file = "# rows\n+1 1:0.10 3:2 # first\n -1 2:1e3\n\n+1\n";
  EXPECT_EQ(edited("a.svm", file, {to("-1"), to("1"), kSame}),
            "# rows\n-1 1:0.10 3:2 # first\n 1 2:1e3\n\n+1\n");
  EXPECT_EQ(edited("a.svm", file, {kSame, kOut, to("-1")}), "# rows\n+1 1:0.10 3:2 # first\n-1\n");
}

}  // namespace
}  // namespace bilevel
