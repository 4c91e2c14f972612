// `bilevel data` as a person runs it.
#include <algorithm>
#include <iterator>

#include "tests/process.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

class DataCliTest : public ProgramTest {
 protected:
  static Json described(const std::string& file, const Arguments& more = {}) {
    const Outcome run = bilevel_program(Arguments{"data", "describe", file, "--json"} + more);
    EXPECT_EQ(run.code, 0) << run.err;
    EXPECT_EQ(run.err, "");
    return run.code == 0 ? Json::parse(run.out) : Json();
  }
};

TEST_F(DataCliTest, DescribesEveryFormat) {
  std::string csv = "class,text,size\n", tsv = "class\ttext\tsize\n", jsonl, svm;
  for (int i = 0; i < 30; ++i) {
    const std::string label = i % 3 == 0 ? "spam" : "ham", text = "this is text number " + std::to_string(i);
    const std::string size = std::to_string(i % 5);
    csv += label + "," + text + "," + size + "\n";
    tsv += label + "\t" + text + "\t" + size + "\n";
    jsonl += Json{{"class", label}, {"size", i % 5}, {"text", text}}.dump() + "\n";
    svm += (i % 3 == 0 ? "+1 1:" : "-1 1:") + size + "\n";
  }
  const Json expected = described(folder_.write("a.csv", csv)).at("classes");
  ASSERT_EQ(expected.size(), 2U);
  EXPECT_EQ(expected[0].at("value"), "ham");
  EXPECT_EQ(expected[0].at("rows"), 20);
  EXPECT_EQ(described(folder_.write("a.tsv", tsv)).at("classes"), expected);
  EXPECT_EQ(described(folder_.write("a.jsonl", jsonl)).at("classes"), expected);
  const Json packed = described(folder_.write_gzip("a.csv.gz", csv));
  EXPECT_EQ(packed.at("classes"), expected);
  EXPECT_EQ(packed.at("gzipped"), true);
  EXPECT_EQ(described(folder_.write("a.dat", csv), {"--format", "csv"}).at("classes"), expected);
  EXPECT_EQ(described(folder_.write("a.svm", svm)).at("classes")[1].at("rows"), 10);
  const std::string images("\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x02\x01\0\x02\x03", 20),
      labels("\0\0\x08\x01\0\0\0\x02\x05\x06", 10);
  const Json idx = described(folder_.write("i.idx", images) + "," + folder_.write("l.idx", labels));
  EXPECT_EQ(idx.at("format"), "idx");
  EXPECT_EQ(idx.at("matrix").at("entries"), 3);
  EXPECT_EQ(idx.at("classes").size(), 2U);

  // The command that it suggests is one that runs.
  const Json d = described(path("a.csv"), {"--text", "text", "--label", "class"});
  EXPECT_EQ(d.at("suggestions")[0].at("command"),
            "bilevel auc --train " + path("a.csv") + " --text text --label class --positive spam");
  std::istringstream words(d.at("suggestions")[0].at("command").get<std::string>());
  Arguments arguments{std::istream_iterator<std::string>(words), {}};
  arguments.erase(arguments.begin());
  arguments.insert(arguments.end(), {"--steps", "5", "--quiet", "--out", path("run")});
  const Outcome suggested = bilevel_program(arguments);
  EXPECT_EQ(suggested.code, 0) << suggested.err;

  const Outcome page = bilevel_program({"data", "describe", path("a.csv")});
  EXPECT_EQ(page.code, 0);
  for (const char* part : {"30 rows, 3 columns", "2 classes of 'class'", "66.7 %", "no doubtful rows"})
    EXPECT_CONTAINS(page.out, part);
}

// Line ends, tabs and escapes of labels, column names and cells, on every way to the terminal.
TEST_F(DataCliTest, WhatAFileBringsIsShownPrintable) {
  const std::string label = "cla\tss", text = "te\rxt", positive = "sp\nam\x1b[1m";
  std::string rows;
  for (int i = 0; i < 60; ++i) {
    rows += Json{{label, i % 3 == 0 ? positive : " ham\t"},
                 {text,
                  std::string(i % 3 == 0 ? "buy\n\x07this" : "see you\nat") + " number " + std::to_string(i)},
                 {"pl\nace", i % 2 == 0 ? "ea\nst" : "we\nst"}}
                .dump() +
            "\n";
  }
  const std::string file = folder_.write("a.jsonl", rows);
  const auto printed = [&](const Arguments& arguments, int code, const std::vector<std::string>& parts) {
    const Outcome run = bilevel_program(arguments);
    EXPECT_EQ(run.code, code) << run.err;
    const std::string all = run.out + run.err;
    EXPECT_TRUE(std::ranges::all_of(all, [](unsigned char c) {
      return c == '\n' || (c >= 0x20 && c != 0x7F);
    })) << all;
    for (const std::string& part : parts) EXPECT_CONTAINS(all, part);
  };
  printed({"data", "describe", file, "--label", label, "--text", text}, 0,
          {"2 classes of 'cla\\tss'", "  sp\\nam\\x1b[1m  20", "ea\\nst 30",
           "# rank the rows by class sp\\nam\\x1b[1m (33.3 %",
           " --text $'te\\015xt' --label $'cla\\tss' --positive $'sp\\nam\\033[1m'\n"});
  const Arguments data{"--train", file, "--text", text, "--label", label};
  const Arguments quick{"--steps", "2", "--threads", "1", "--out"};
  const std::string trimmed = "a.jsonl: 40 labels had blanks around them, which are left out\n";
  printed(Arguments{"auc", "--positive", positive} + data + quick + Arguments{path("auc")}, 0,
          {trimmed, "% of the training rows are sp\\nam\\x1b[1m\n", "\\n\\x07this number"});
  printed(Arguments{"tune", "--baseline-passes", "0"} + data + quick + Arguments{path("tune")}, 0,
          {trimmed, "classes: 'ham' (40 rows), 'sp\\nam\\x1b[1m' (20 rows)\n"});
  printed(Arguments{"clean", "--no-baselines"} + data + quick + Arguments{path("clean")}, 0,
          {trimmed, "'ham' as 'sp\\nam\\x1b[1m'"});
  printed(Arguments{"auc", "--positive", "spam"} + data, 2,
          {"the labels are 'ham' (40 rows), 'sp\\nam\\x1b[1m' (20 rows)\n"});
  printed({"auc", "--train", file, "--label", "class", "--positive", "ham"}, 2, {"cla\\tss", "pl\\nace"});
}

TEST_F(DataCliTest, NamesDoubtfulRows) {
  std::string tsv = "class\ttext\n";
  for (int i = 0; i < 20; ++i) tsv += "ham\ttext with the number " + std::to_string(i) + "\n";
  for (int i = 0; i < 15; ++i) tsv += "spam\ttext with the number 7\n";
  const std::string file = folder_.write("a.tsv", tsv);
  const Json doubts = described(file, {"--rows", "4"}).at("doubts");
  EXPECT_EQ(doubts[0].at("kind"), "duplicate");
  EXPECT_EQ(doubts[0].at("count"), 15);
  EXPECT_EQ(doubts[0].at("rows").size(), 4U);
  EXPECT_EQ(doubts[0].at("rows")[0].at("line"), 22);
  EXPECT_EQ(doubts[0].at("rows")[0].at("earlier_line"), 9);
  EXPECT_EQ(doubts[1].at("kind"), "conflict");
  EXPECT_CONTAINS(bilevel_program({"data", "describe", file}).out, "22 (as 9)");
}

TEST_F(DataCliTest, RefusesBrokenFiles) {
  const auto refused_file = [&](const std::string& name, const std::string& content,
                                const std::vector<std::string>& parts) {
    refuses({"data", "describe", folder_.write(name, content)}, parts);
  };
  refuses({"data"}, {});
  refuses({"data", "describe"}, {"file"});
  refuses({"data", "describe", path("none.csv")}, {"none.csv: there is no such file"});
  refuses({"data", "describe", path("none-images-idx3-ubyte")}, {"there is no such file"});
  refused_file("a.csv", "", {"a.csv: is empty"});
  refused_file("a.csv", "a,b\n", {"a.csv:1: holds a header but no rows"});
  refused_file("a.csv", "a,b\n1,2,3\n", {"a.csv:2:5: the row has 3 fields"});
  refused_file("a.csv", "a,b\n1,caf\xE9\n", {"a.csv:2:6: byte 0xE9 is not valid UTF-8"});
  refused_file("a.jsonl", "{\"a\":1}\n{\"a\":", {"a.jsonl:2:", "broken JSON"});
  refused_file("a.svm", "1 2:x\n", {"a.svm:1:5: ", "'x'"});
  refused_file("a.idx", "abcdef", {"a.idx: byte 0: the magic number"});
  refused_file("a.dat", "a,b\n1,2\n", {"--format"});
  folder_.write("b.csv", "a,b\n1,2\n2,3\n");
  refuses({"data", "describe", path("b.csv"), "--label", "c"}, {"has no column 'c'"});
  refuses({"data", "describe", path("b.csv"), "--format", "xls"},
          {"format = xls: must be one of automatic, csv"});
  refuses({"data", "describe", path("b.csv"), "--header", "--no-header"}, {"header"});
  refuses({"data", "describe", path("b.csv"), "--rows", "0"}, {"rows = 0: must be >= 1"});
}

TEST_F(DataCliTest, GeneratesSets) {
  const Outcome page = bilevel_program({"data", "generate", "cleaning", "--rows", "100", "--out", path("a")});
  EXPECT_EQ(page.code, 0) << page.err;
  EXPECT_CONTAINS(page.out, "try:  bilevel clean --train " + path("a") + "/train.tsv");
  EXPECT_CONTAINS(page.out, "wrong labels: 30 of 100");
  for (const char* name : {"train.tsv", "trusted.tsv", "test.tsv", "truth.tsv"})
    EXPECT_TRUE(fs::is_regular_file(path("a/") + name)) << name;
  const Json d = described(path("a/train.tsv"));
  EXPECT_EQ(d.at("rows"), 100);
  EXPECT_EQ(d.at("label"), "label");
  EXPECT_EQ(d.at("texts"), Json::array({"text"}));

  const Outcome json = bilevel_program({"data", "generate", "imbalanced", "--columns", "4", "--rows", "200",
                                        "--seed", "3", "--json", "--out", path("b")});
  EXPECT_EQ(json.code, 0) << json.err;
  const Json summary = Json::parse(json.out);
  EXPECT_EQ(summary.at("files").size(), 3U);
  // What it says to try runs.
  std::istringstream words(summary.at("try").get<std::string>());
  Arguments arguments{std::istream_iterator<std::string>(words), {}};
  arguments.erase(arguments.begin());
  arguments.insert(arguments.end(), {"--steps", "20", "--quiet", "--out", path("run")});
  const Outcome run = bilevel_program(arguments);
  EXPECT_EQ(run.code, 0) << run.err;

  const std::string before = read_bytes(path("a/train.tsv"));
  refuses({"data", "generate", "cleaning", "--out", path("a")}, {"exists already"});
  EXPECT_EQ(read_bytes(path("a/train.tsv")), before);
  refuses({"data", "generate", "nonsense", "--out", path("c")}, {"unknown kind 'nonsense'"});
  refuses({"data", "generate", "tuning", "--noise", "1.5", "--out", path("c")}, {"noise = 1.5"});
  refuses({"data", "generate", "tuning"}, {"--out"});
  EXPECT_FALSE(fs::exists(path("c")));
}

}  // namespace
}  // namespace bilevel
