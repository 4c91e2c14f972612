#include "bilevel/task/describe/describe.h"

#include <algorithm>

#include "tests/files.h"

namespace bilevel {
namespace describe_test {

const DescribedColumn& column(const DataDescription& d, const std::string& name) {
  return *std::find_if(d.columns.begin(), d.columns.end(), [&](const auto& c) { return c.name == name; });
}

/// Lines of a kind of doubt; empty when there is none.
std::vector<int64_t> doubtful(const DataDescription& d, const std::string& kind,
                              const std::string& column = "") {
  std::vector<int64_t> lines;
  for (const Doubt& doubt : d.doubts) {
    if (doubt.kind != kind || doubt.column != column) continue;
    for (const DoubtfulRow& row : doubt.rows) lines.push_back(row.line);
    EXPECT_EQ(doubt.count, static_cast<int64_t>(lines.size()));
  }
  return lines;
}

using Lines = std::vector<int64_t>;

class DescribeTest : public testing::Test {
 protected:
  DataDescription described(const std::string& name, const std::string& content,
                            const DescribeOptions& options = {}) const {
    return describe_data(folder_.write(name, content), options);
  }
  TemporaryFolder folder_;
};

/// 100 rows: id, size, kind, score, fixed, none, class.
std::string table() {
  std::string text = "id,size,kind,score,fixed,none,class\n";
  for (int i = 0; i < 100; ++i) {
    text += std::to_string(i + 1) + "," + std::to_string(20 + i % 10) + "." + std::to_string(i) + "," +
            std::string(1, static_cast<char>('a' + i % 3)) + "," + (i == 50 ? "" : std::to_string(i % 7)) +
            ",7,," + (i % 4 == 0 ? "yes" : "no") + "\n";
  }
  return text;
}

TEST_F(DescribeTest, TellsColumnsApart) {
  const DataDescription d = described("a.csv", table());
  EXPECT_EQ(d.format, "csv");
  EXPECT_FALSE(d.gzipped);
  EXPECT_EQ(d.bytes, static_cast<int64_t>(table().size()));
  EXPECT_EQ(d.rows, 100);
  EXPECT_EQ(column(d, "id").type, ColumnKind::identifier);
  EXPECT_EQ(column(d, "size").type, ColumnKind::number);
  EXPECT_EQ(column(d, "kind").type, ColumnKind::category);
  EXPECT_EQ(column(d, "kind").distinct, 3);
  EXPECT_EQ(column(d, "kind").values[0].value, "a");
  EXPECT_EQ(column(d, "kind").values[0].rows, 34);
  EXPECT_EQ(column(d, "score").type, ColumnKind::number);
  EXPECT_EQ(column(d, "score").missing, 1);
  EXPECT_EQ(column(d, "fixed").type, ColumnKind::constant);
  EXPECT_EQ(column(d, "none").type, ColumnKind::empty);
  EXPECT_EQ(d.label, "class");
  EXPECT_FALSE(d.label_given);
  ASSERT_EQ(d.classes.size(), 2U);
  EXPECT_EQ(d.classes[0].value, "no");
  EXPECT_EQ(d.classes[0].rows, 75);
  EXPECT_TRUE(d.doubts.empty()) << d.doubts[0].message;
  ASSERT_EQ(d.suggestions.size(), 3U);
  EXPECT_EQ(d.suggestions[0].command,
            "auc --train " + d.file + " --features size,kind,score --label class --positive yes");
  EXPECT_EQ(described("a.csv", table(), {.label = "kind"}).label, "kind");
  const DataDescription packed = describe_data(folder_.write_gzip("b.csv.gz", table()));
  EXPECT_TRUE(packed.gzipped);
  EXPECT_EQ(packed.rows, 100);
}

TEST_F(DescribeTest, QuantilesOfNumbers) {
  const DataDescription d = described("a.csv", "v,w\n1,a\n2,b\n4,a\n8,b\n-16,a\n");
  const Spread& s = *column(d, "v").numbers;
  EXPECT_EQ(s.least, -16);
  EXPECT_EQ(s.lower_quartile, 1);
  EXPECT_EQ(s.median, 2);
  EXPECT_EQ(s.upper_quartile, 4);
  EXPECT_EQ(s.most, 8);
  EXPECT_NEAR(s.mean, -0.2, 1e-12);
  EXPECT_EQ(s.deviation, 2);  // of 0, 1, 2, 6, 18
  EXPECT_TRUE(s.whole);
}

TEST_F(DescribeTest, FindsDoubtfulTexts) {
  std::string text = "label\ttext\n";
  for (int i = 0; i < 60; ++i) {
    text += (i % 2 == 0 ? "ham\tfirst words and number " : "spam\tother words have value ") +
            std::to_string(i) + " in " + std::string(static_cast<size_t>(i % 4), 'x') + "\n";
  }
  text += "ham\tfirst words and number 0 in \n";               // 62: a copy of line 2
  text += "ham\tother words have value 3 in xxx\n";            // 63: line 5, with another label
  text += "spam\t\n";                                          // 64
  text += "\tno label has this row here\n";                    // 65
  text += "SPAM\tthe name of the label is odd\n";              // 66
  text += "ham\tcaf\xC3\x83\xC2\xA9 is a broken word here\n";  // 67: UTF-8 read as Latin-1
  text += "ham\tsomething \xEF\xBF\xBD got lost here\n";       // 68
  text += "spam\t";                                            // 69
  for (int i = 0; i < 300; ++i) text += "many ";
  const DataDescription d = described("a.tsv", text + "\n");
  EXPECT_EQ(d.label, "label");
  EXPECT_EQ(d.texts, std::vector<std::string>{"text"});
  EXPECT_EQ(column(d, "text").type, ColumnKind::text);
  EXPECT_EQ(column(d, "text").words->most, 300);
  EXPECT_EQ(doubtful(d, "duplicate"), (Lines{62, 63}));
  EXPECT_EQ(doubtful(d, "conflict"), (Lines{63}));
  EXPECT_EQ(doubtful(d, "empty_text", "text"), (Lines{64}));
  EXPECT_EQ(doubtful(d, "missing_label", "label"), (Lines{65}));
  EXPECT_EQ(doubtful(d, "label_spelling", "label"), (Lines{66}));
  EXPECT_EQ(doubtful(d, "rare_class", "label"), (Lines{66}));
  EXPECT_EQ(doubtful(d, "encoding"), (Lines{67, 68}));
  EXPECT_EQ(doubtful(d, "long_text", "text"), (Lines{69}));
  EXPECT_EQ(doubtful(d, "cut_text", "text"), (Lines{69}));
  for (const Doubt& doubt : d.doubts) {
    if (doubt.kind != "conflict") continue;
    EXPECT_EQ(doubt.rows[0].earlier, 5);
    EXPECT_EQ(doubt.rows[0].value, "ham after spam");
    EXPECT_EQ(doubt.message, "1 row repeats the text of an earlier row with another label");
  }
  // A correct text with the same letters is no doubt.
  EXPECT_TRUE(
      doubtful(
          described(
              "b.tsv",
              "label\ttext\na\tS\xC3\x83O PAULO e \xC3\x82ngela caf\xC3\xA9\nb\tother words stand here\n"),
          "encoding")
          .empty());
}

TEST_F(DescribeTest, FindsDoubtfulCells) {
  std::string text = "a,b,class\n";
  for (int i = 0; i < 200; ++i)
    text += std::to_string(i % 13) + "," + std::to_string(i) + (i % 3 == 0 ? ",x\n" : ",y\n");
  text += "900,5.5,x\n";  // 202
  text += "3,inf,y\n";    // 203
  text += ",,x\n";        // 204
  text += "4,7,\n";       // 205: no label
  const DataDescription d = described("a.csv", text);
  EXPECT_EQ(doubtful(d, "far_out", "a"), (Lines{202}));
  EXPECT_EQ(doubtful(d, "infinite", "b"), (Lines{203}));
  EXPECT_EQ(doubtful(d, "empty_row"), (Lines{204}));
  EXPECT_EQ(d.label, "class");
  EXPECT_EQ(doubtful(d, "missing_label", "class"), (Lines{205}));
  const DataDescription mixed = described("b.csv", table() + "101,12,a,oops,7,,no\n");
  EXPECT_EQ(column(mixed, "score").type, ColumnKind::category);
  EXPECT_EQ(doubtful(mixed, "word_among_numbers", "score"), (Lines{102}));
  EXPECT_NE(mixed.suggestions[0].command.find("--categorical score"), std::string::npos);
}

TEST_F(DescribeTest, ALongTailIsNoDoubt) {
  std::string text = "v,class\n";
  for (int i = 0; i < 1000; ++i)
    text += std::to_string(i % 50 == 0 ? 5000 + i : i % 9) + (i % 2 == 0 ? ",x\n" : ",y\n");
  EXPECT_TRUE(doubtful(described("a.csv", text), "far_out", "v").empty());
}

TEST_F(DescribeTest, NumberedColumns) {
  std::string text;
  for (int i = 0; i < 40; ++i)
    text += (i % 2 == 0 ? "+1 1:1 2:" : "-1 2:") + std::to_string(i) + ".5 5:" + std::to_string(i % 3) + "\n";
  text += "+1 1:1 2:0.5 5:0\n-1\n";  // a copy of line 1, and a row without entries
  const DataDescription d = described("a.svm", text);
  EXPECT_EQ(d.format, "libsvm");
  EXPECT_EQ(d.rows, 42);
  ASSERT_TRUE(d.matrix.has_value());
  EXPECT_EQ(d.matrix->width, 5);
  EXPECT_EQ(d.matrix->unused, 2);
  EXPECT_EQ(d.matrix->binary, 1);
  EXPECT_EQ(d.matrix->whole, 1);
  EXPECT_EQ(d.matrix->real, 1);
  EXPECT_EQ(d.matrix->entries, 21 + 41 + 26);
  EXPECT_EQ(d.matrix->most, 39.5);
  EXPECT_EQ(d.label, "label");
  EXPECT_EQ(d.classes[0].rows, 21);
  EXPECT_EQ(doubtful(d, "duplicate"), (Lines{41}));
  EXPECT_EQ(doubtful(d, "empty_row"), (Lines{42}));
  EXPECT_EQ(d.suggestions[0].command.substr(0, 12), "auc --train ");
  const DataDescription unlabelled = described("b.svm", "1:2\n1:3 2:1\n");
  EXPECT_EQ(unlabelled.label, "");
  EXPECT_TRUE(unlabelled.classes.empty() && unlabelled.suggestions.empty());
}

TEST_F(DescribeTest, RefusesWhatItCannotDescribe) {
  EXPECT_EQ(input_error([&] { described("a.csv", "a,b\n1,2,3\n"); }).substr(0, 10), "a.csv:2:5:");
  EXPECT_NE(input_error([&] { described("a.csv", "a,b\n1,2\n", {.label = "c"}); }).find("has no column 'c'"),
            std::string::npos);
  EXPECT_NE(input_error([&] {
              described("a.csv", "a,b\n1,\n2,\n", {.label = "b"});
            }).find("every cell of the label column 'b' is missing"),
            std::string::npos);
  EXPECT_NE(input_error([&] { described("a.svm", "1 1:1\n", {.text = "t"}); }).find("has no text column"),
            std::string::npos);
  EXPECT_NE(input_error([&] { described("a.svm", "1 1:1\n", {.label = "t"}); }).find("leave --label out"),
            std::string::npos);
  EXPECT_NE(input_error([&] { described("a.csv", "a,b\n1,2\n", {.shown = 0}); }).find("rows = 0"),
            std::string::npos);
}

TEST_F(DescribeTest, ThePageHoldsIt) {
  const DataDescription d = described("a.csv", table() + "101,21.0,a,0,7,,no\n102,21.0,a,0,7,,yes\n");
  const std::string page = text_of(d);
  for (const char* part : {"csv, ", "102 rows, 7 columns", "column", "identifier", "constant", "20 to 29.99",
                           "2 classes of 'class'", "74.5 %", "doubtful rows", "with another label",
                           "what to try", "bilevel auc --train "}) {
    EXPECT_NE(page.find(part), std::string::npos) << part << " in\n" << page;
  }
  const auto json = d.to_json();
  EXPECT_EQ(json.at("rows"), 102);
  EXPECT_EQ(json.at("columns")[1].at("numbers").at("whole"), false);
  EXPECT_EQ(json.at("classes")[0].at("value"), "no");
  EXPECT_EQ(json.at("doubts")[0].at("kind"), "duplicate");
  EXPECT_EQ(json.at("doubts")[1].at("rows")[0].at("earlier_line"), 102);
}

TEST(RealDescription, OfTheDataAtHand) {
  SKIP_WITHOUT_DATA();
  const DataDescription sms = describe_data(data_folder() + "/sms_spam/sms.tsv.gz");
  EXPECT_EQ(sms.rows, 5574);
  EXPECT_EQ(sms.label, "label");
  EXPECT_EQ(sms.texts, std::vector<std::string>{"text"});
  EXPECT_EQ(sms.classes[1].rows, 747);
  const auto copies = std::find_if(sms.doubts.begin(), sms.doubts.end(),
                                   [](const Doubt& d) { return d.kind == "duplicate"; });
  EXPECT_EQ(copies->count, 414);
  const DataDescription a9a = describe_data(data_folder() + "/libsvm/a9a.gz", {.read = {.format = "libsvm"}});
  EXPECT_EQ(a9a.rows, 32561);
  EXPECT_EQ(a9a.matrix->binary, 123);
  const DataDescription snli = describe_data(data_folder() + "/nli/snli_test.tsv.gz");
  EXPECT_EQ(snli.texts, (std::vector<std::string>{"premise", "hypothesis"}));
  EXPECT_EQ(snli.label, "label");
}

}  // namespace describe_test
}  // namespace bilevel
