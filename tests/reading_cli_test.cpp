// Files as people have them: one table in many forms gives one model, or a refusal that names the cause.
#include <fmt/format.h>
#include <zstd.h>

#include <cmath>
#include <cstdlib>
#include <functional>

#include "tests/process.h"

namespace bilevel {
namespace {

class ReadingCliTest : public ProgramTest {
 protected:
  Arguments job(const std::string& name, const std::string& file, const std::string& label) const {
    Arguments arguments{name, "--train",   file, "--label", label, "--steps",
                        "3",  "--threads", "1",  "--out",   out()};
    if (name == "auc") arguments = arguments + Arguments{"--positive", "yes"};
    if (name == "tune") arguments = arguments + Arguments{"--baseline-passes", "0"};
    if (name == "clean") arguments.push_back("--no-baselines");
    return arguments;
  }
  Arguments auc(const std::string& file) const { return job("auc", file, "y"); }
  /// The summary of a run.
  Json run(const Arguments& arguments) const {
    std::filesystem::remove_all(out());
    return succeeds(arguments);
  }
  /// What a person reads while it runs.
  std::string told(const Arguments& arguments) const {
    std::filesystem::remove_all(out());
    const Outcome run = bilevel_program(arguments);
    EXPECT_EQ(run.code, 0) << run.err;
    return run.err;
  }
  void is_refused(const Arguments& arguments, const std::vector<std::string>& parts) const {
    std::filesystem::remove_all(out());
    refuses(arguments, parts);
  }
};

using Cell = std::function<std::string(double)>;

std::string plain(double value) { return fmt::format("{:.3f}", value); }
std::string with(char point, double value) {
  std::string text = plain(value);
  std::replace(text.begin(), text.end(), '.', point);
  return text;
}

/// 120 rows of two columns of numbers and a class; columns, separator and cells in some form.
std::string table(const std::string& separator, const Cell& first, const Cell& second = plain,
                  const std::string& header = "x1,x2,y") {
  std::string text;
  for (const char c : header) text += c == ',' ? separator : std::string(1, c);
  text += "\n";
  for (int i = 0; i < 120; ++i) {
    const double x = std::sin(i * 1.7) * 3 + (i % 3 == 0 ? 2 : 0), z = std::cos(i * 2.3);
    text += first(x) + separator + second(z) + separator + (i % 3 == 0 ? "yes" : "no") + "\n";
  }
  return text;
}

TEST_F(ReadingCliTest, OneTableInManyForms) {
  const std::string csv = table(",", plain);
  const Json expected = run(auc(folder_.write("a.csv", csv))).at("metrics");
  const Cell comma = [](double v) { return with(',', v); };
  std::string utf16 = "\xFF\xFE", packed(ZSTD_compressBound(csv.size()), '\0'), crlf, jsonl;
  for (const char c : csv) utf16 += std::string{c, '\0'};
  packed.resize(ZSTD_compress(packed.data(), packed.size(), csv.data(), csv.size(), 3));
  for (const char c : csv) crlf += c == '\n' ? "\r\n" : std::string(1, c);
  const std::pair<std::string, std::string> forms[] = {
      {"b.csv", table(";", comma, comma)},
      {"c.tsv", table("\t", comma, comma)},
      {"d.csv", table("|", plain)},
      {"e.csv", "sep=;\n" + table(";", plain)},
      {"f.csv", utf16},
      {"g.csv.zst", packed},
      {"h.csv", "\xEF\xBB\xBF" + crlf},
      {"i.csv", table(",", [](double v) { return "\"$" + plain(v) + "\""; })},
      {"j.csv", table(",", [](double v) { return plain(v) + " %"; })},
      {"k.csv", table(",", [](double v) { return v < 0 ? "(" + plain(-v) + ")" : plain(v); })},
      {"l.csv", table(",", [](double v) { return "\u00A0" + plain(v) + "\u2009"; })},
      {"m.csv", table(",", [](double v) { return v < 0 ? "\u2212" + plain(-v) : plain(v); })}};
  for (const auto& [name, text] : forms) {
    SCOPED_TRACE(name);
    EXPECT_EQ(run(auc(folder_.write(name, text))).at("metrics"), expected);
  }
  EXPECT_CONTAINS(told(auc(path("b.csv"))), "b.csv: fields stand between semicolons");
  EXPECT_CONTAINS(told(auc(path("b.csv"))), "  2 numbers: x1 (decimal comma), x2 (decimal comma)\n");
  is_refused(auc(path("d.csv")) + Arguments{"--delimiter", "comma"},
             {"has no column 'y'", "--delimiter bar"});
  is_refused(auc(path("a.csv")) + Arguments{"--delimiter", "ab"}, {"delimiter = ab"});
  is_refused(auc(path("a.csv")) + Arguments{"--encoding", "ebcdic"}, {"encoding = ebcdic"});
  // Standard input, of the program itself.
  std::filesystem::remove_all(out());
  std::string command = "cat " + path("a.csv") + " | " BILEVEL_PROGRAM;
  for (const std::string& word : auc("-") + Arguments{"--format", "csv", "--json", "--quiet"})
    command += " " + word;
  ASSERT_EQ(std::system((command + " > " + path("stdin.json")).c_str()), 0);
  EXPECT_EQ(Json::parse(read_bytes(path("stdin.json"))).at("metrics"), expected);
}

TEST_F(ReadingCliTest, ThousandsAndDatesAreNumbers) {
  const Cell whole = [](double v) { return std::to_string(5000 + static_cast<int>(1000 * v)); };
  const Cell grouped = [&](double v) {
    std::string text = whole(v);
    if (text.size() > 3) text.insert(text.size() - 3, ",");
    return "\"" + text + "\"";
  };
  const Json expected = run(auc(folder_.write("a.csv", table(",", whole)))).at("metrics");
  EXPECT_EQ(run(auc(folder_.write("b.csv", table(",", grouped)))).at("metrics"), expected);
  const Cell date = [](double v) {
    const int day = 1 + static_cast<int>(4 * (v + 3));
    return fmt::format("2024-01-{:02}", std::clamp(day, 1, 31));
  };
  const Json summary = run(auc(folder_.write("c.csv", table(",", date))));
  EXPECT_EQ(summary.at("columns")[0].at("kind"), "date");
  EXPECT_GT(summary.at("metrics").at("train").at("auc").get<double>(), 0.6);
}

TEST_F(ReadingCliTest, ColumnsAreToldAndOverruled) {
  std::string text = ",x1,name,when,k,y\n";
  for (int i = 0; i < 90; ++i) {
    text += fmt::format("{},{},u{},{},7,{}\n", i,
                        i % 13 == 0   ? "N/A"
                        : i % 17 == 0 ? "-999"
                                      : plain(std::sin(i)),
                        i, i % 2 == 0 ? "a" : "b", std::sin(i) > 0.3 ? "yes" : "no");
  }
  const std::string file = folder_.write("a.csv", text);
  const std::string said = told(auc(file));
  for (const char* part :
       {"labels of ", "'no' (", "  1 number: x1 (7 missing: 'N/A' 7)\n", "  1 category: when (2 values)\n",
        "  left out: name (identifier: another word in every row); 1 (identifier: counts the rows); k (one "
        "value in every row)",
        "  look at x1: -999 stands in ", "give --missing=-999"})
    EXPECT_CONTAINS(said, part);
  const Json summary = run(auc(file));
  EXPECT_EQ(summary.at("columns")[0].at("use"), "left out");
  EXPECT_EQ(summary.at("columns")[1].at("missing"), 7);
  EXPECT_EQ(summary.at("labels").at("train").at("yes").get<int>() +
                summary.at("labels").at("train").at("no").get<int>(),
            90);
  const std::string page = read_bytes(path("out/report.html"));
  for (const char* part : {"counts the rows", "Labels", "7 missing"}) EXPECT_CONTAINS(page, part);
  const Json marked = run(auc(file) + Arguments{"--missing=-999", "--drop", "when,k", "--numeric", "1"});
  EXPECT_EQ(marked.at("columns")[1].at("missing"), 12);
  EXPECT_EQ(marked.at("columns")[0].at("use"), "feature");
  EXPECT_EQ(marked.at("columns")[3].at("why"), "dropped");
  is_refused(auc(file) + Arguments{"--features", "x1,y"},
             {"the label column 'y' is also listed as a feature"});
  is_refused(auc(file) + Arguments{"--text", "y"}, {"the label column 'y' is also named as the text"});
}

TEST_F(ReadingCliTest, AModelReadsLaterFilesAsItsOwn) {
  const Cell comma = [](double v) { return with(',', v); };
  run(auc(folder_.write("a.csv", table(";", comma))));
  const auto scores = [&](const std::string& file) {
    const Outcome made =
        bilevel_program({"predict", "--model", out(), "--input", file, "--out", path("p.tsv")});
    EXPECT_EQ(made.code, 0) << made.err;
    return read_bytes(path("p.tsv"));
  };
  const std::string expected = scores(path("a.csv"));
  EXPECT_EQ(scores(folder_.write("b.tsv", table("\t", comma))), expected);
  const Outcome other =
      bilevel_program({"predict", "--model", out(), "--input", folder_.write("c.csv", table(",", plain)),
                       "--out", path("q.tsv"), "--strict"});
  EXPECT_EQ(other.code, 2);
  EXPECT_CONTAINS(other.err, "is not a number (decimal comma)");
}

TEST_F(ReadingCliTest, LabelsOfEveryKind) {
  const auto labelled = [&](const std::string& name, const std::vector<std::string>& labels) {
    std::string text = "x,c\n";
    for (int i = 0; i < 90; ++i)
      text += plain(std::sin(i) + i % 3) + "," + labels[static_cast<size_t>(i) % labels.size()] + "\n";
    return folder_.write(name, text);
  };
  const auto tune = [&](const std::string& file) { return job("tune", file, "c"); };
  const Json versions =
      run(tune(labelled("a.csv", {"3.1", "3.10", "0110", "110", "110.0", "+110"}))).at("labels").at("train");
  EXPECT_EQ(versions, (Json{{"3.1", 15}, {"3.10", 15}, {"0110", 15}, {"110", 45}}));
  EXPECT_CONTAINS(told(tune(path("a.csv"))), "the labels '110', '+110', '110.0' are one class");
  EXPECT_EQ(run(tune(labelled("b.csv", {"ZA", "NA", "BW"}))).at("labels").at("train").size(), 3U);
  is_refused(tune(labelled("c.csv", {"a", "b", ""})),
             {"the label (column 'c') is missing; --drop-unlabelled"});
  EXPECT_CONTAINS(told(tune(path("c.csv")) + Arguments{"--drop-unlabelled"}),
                  "c.csv: 30 rows without a label are left out");
  is_refused(tune(path("b.csv")) + Arguments{"--missing", "NA"}, {"is missing"});
  std::vector<std::string> numbers;
  for (int i = 0; i < 90; ++i) numbers.push_back(plain(i * 0.37));
  is_refused(tune(labelled("d.csv", numbers)), {"90 different numbers in 90 rows", "regression"});
  labelled("e.csv", {"Yes", "yes", "no", "no"});
  const Arguments yes{"auc", "--train", path("e.csv"), "--label", "c",  "--positive",
                      "yes", "--steps", "3",           "--out",   out()};
  is_refused(yes, {"e.csv:3:", "the label 'yes' (23 rows) differs from 'Yes' of ", "--label-spelling merge"});
  const Json kept = run(yes + Arguments{"--label-spelling", "keep"});
  EXPECT_CONTAINS(kept.at("warnings").dump(), "differ in case, blanks or Unicode form alone");
  const Json merged = run({"auc", "--train", path("e.csv"), "--label", "c", "--positive", "Yes", "--steps",
                           "3", "--out", out(), "--label-spelling", "merge"});
  EXPECT_EQ(merged.at("labels").at("train"), (Json{{"Yes", 46}, {"no", 44}}));
  EXPECT_CONTAINS(merged.at("warnings").dump(), "23 labels are read in another spelling: 'yes' as 'Yes'");
  is_refused({"auc", "--train", path("e.csv"), "--label", "c", "--positive", "YES", "--out", out(),
              "--label-spelling", "keep"},
             {"did you mean 'Yes'?"});
  labelled("alike.csv", {"Yes", "no"});
  labelled("later.csv", {"yes", "no"});
  const Arguments later{
      "auc",        "--train", path("alike.csv"), "--test", path("later.csv"), "--label", "c",
      "--positive", "Yes",     "--steps",         "3",      "--out",           out()};
  is_refused(later, {"later.csv:2:", "the label 'yes' (45 rows) differs from 'Yes' of "});
  EXPECT_EQ(run(later + Arguments{"--label-spelling", "merge"}).at("labels").at("test"),
            (Json{{"Yes", 45}, {"no", 45}}));
  const Json scored =
      succeeds({"predict", "--model", out(), "--input", path("later.csv"), "--out", path("scored.tsv")});
  EXPECT_EQ(scored.at("labelled"), 90) << scored;
  labelled("wide.csv", {"no", "\uFF4E\uFF4F", "maybe"});  // letters of full width
  is_refused(tune(path("wide.csv")), {"Unicode form alone"});
  labelled("accent.csv", {"e\u0301te\u0301", "hiver"});
  run({"auc", "--train", path("accent.csv"), "--label", "c", "--positive", "\u00E9t\u00E9", "--steps", "3",
       "--out", out()});
  is_refused(tune(folder_.write("f.csv", "0.5,1,c\n1,2,a\n2,3,b\n")),
             {"the first row holds it: it is a header (--header)"});
  is_refused(job("tune", path("b.csv"), "C"), {"did you mean 'c'?"});
}

TEST_F(ReadingCliTest, CategoriesOfALaterFile) {
  const auto shops = [&](const std::string& name, const std::string& zeros, const std::string& other) {
    std::string text = "shop,y\n";
    for (int i = 0; i < 90; ++i)
      text += (i % 9 == 0 && !other.empty() ? other : std::to_string(i % 4)) + zeros + "," +
              ((i % 4 < 2) == (i % 5 > 0) ? "yes" : "no") + "\n";
    return folder_.write(name, text);
  };
  const Arguments data = auc(shops("train.csv", "", "")) + Arguments{"--categorical", "shop", "--test"};
  const Json same = run(data + Arguments{shops("same.csv", "", "")});
  EXPECT_EQ(run(data + Arguments{shops("float.csv", ".0", "")}).at("metrics"), same.at("metrics"));
  EXPECT_CONTAINS(run(data + Arguments{shops("new.csv", "", "7")}).at("warnings").dump(),
                  "10 of 90 cells of column 'shop' hold categories that no training row has");
}

TEST_F(ReadingCliTest, SmallClassesAreLeftOutWhereAsked) {
  std::string train = "x1,y\n", test = "x1,y\n";
  for (int i = 0; i < 90; ++i)
    (i % 3 == 2 ? test : train) += plain(std::sin(i * 1.7)) + (i < 4        ? ",rare\n"
                                                               : i % 2 == 0 ? ",yes\n"
                                                                            : ",no\n");
  const std::string file = folder_.write("train.csv", train), other = folder_.write("test.csv", test);
  const Json found = run(job("tune", file, "y") + Arguments{"--test", other, "--min-rows", "5"});
  EXPECT_EQ(found.at("labels").at("train"), (Json{{"no", 28}, {"yes", 29}}));
  EXPECT_EQ(found.at("labels").at("test"), (Json{{"no", 15}, {"yes", 14}}));
  EXPECT_NE(found.dump().find(
                "classes with fewer rows than --min-rows in the training file are left out: 'rare' (3)"),
            std::string::npos);
  is_refused(job("tune", file, "y") + Arguments{"--min-rows", "500"},
             {"min_rows = 500: every class has fewer rows"});
}

TEST_F(ReadingCliTest, FewRowsToJudgeByAreTold) {
  std::string few = "x1,y\n", many = few;
  for (int i = 0; i < 300; ++i) {
    const std::string x = plain(std::sin(i * 1.7));
    many += x + (i % 2 == 0 ? ",yes\n" : ",no\n");
    few += x + (i % 60 == 0 ? ",yes\n" : ",no\n");
  }
  const std::string said = told(auc(folder_.write("few.csv", few)));
  EXPECT_NE(
      said.find(
          "few rows to judge by: the 36 validation rows hold 1 of 'yes'; the 60 test rows hold 1 of 'yes'"),
      std::string::npos)
      << said;
  EXPECT_EQ(told(auc(folder_.write("many.csv", many))).find("few rows"), std::string::npos);
}

TEST_F(ReadingCliTest, JsonOfOthers) {
  std::string rows, text;
  for (int i = 0; i < 90; ++i) {
    rows += fmt::format("{{\"a\": {}, \"meta\": {{\"b\": [NaN]}}, \"y\": \"{}\"}}\n",
                        i % 9 == 0 ? "NaN" : plain(std::sin(i)), std::sin(i) > 0.3 ? "yes" : "no");
    text += fmt::format("{{\"t\": \"{} word and {}\", \"y\": \"{}\", \"tokens\": [1, 2]}}\n",
                        i % 3 == 0 ? "good" : "bad", i, i % 3 == 0 ? "yes" : "no");
  }
  const Json summary = run(auc(folder_.write("a.jsonl", rows)));
  EXPECT_EQ(summary.at("columns")[0].at("missing"), 10);
  EXPECT_EQ(summary.at("columns")[1].at("why"), "lists or objects");
  is_refused(auc(path("a.jsonl")) + Arguments{"--features", "meta"},
             {"a.jsonl:1:", "the value of \"meta\" is an object"});
  const Json words = run(auc(folder_.write("b.jsonl", text)));
  EXPECT_EQ(words.at("options").at("text"), "t");
  EXPECT_EQ(words.at("encoder"), "bag");
}

TEST_F(ReadingCliTest, AnAccentIsOneLetterHoweverItIsWritten) {
  const auto texts = [&](const std::string& name, bool apart) {
    std::string text = "t\ty\n";
    for (int i = 0; i < 90; ++i) {
      const std::string e = apart ? "e\u0301" : "\u00E9";
      text += (i % 3 == 0 ? "l" + e + "g" + e + "re r" + e + "ponse " : "th" + e + "atre m" + e + "re ") +
              std::to_string(i) + (i % 3 == 0 ? "\tyes\n" : "\tno\n");
    }
    return folder_.write(name, text);
  };
  EXPECT_EQ(run(auc(texts("a.tsv", false))).at("metrics"), run(auc(texts("b.tsv", true))).at("metrics"));
}

TEST_F(ReadingCliTest, EveryJobTellsColumnsAndRefusesTheLabelAmongThem) {
  std::string text = "x,copy,y\n";
  for (int i = 0; i < 120; ++i)
    text += plain(std::sin(i)) + "," + std::to_string(i % 8) + "," +
            std::string(1, static_cast<char>('a' + i % 8)) + "\n";
  const std::string file = folder_.write("a.csv", text);
  for (const char* name : {"auc", "clean", "tune", "meta"}) {
    SCOPED_TRACE(name);
    Arguments arguments = job(name, file, "y");
    if (std::string(name) == "auc") arguments.back() = "a";
    if (std::string(name) == "meta") {
      arguments =
          arguments + Arguments{"--ways", "2", "--shots", "2", "--queries", "2", "--baselines", "none"};
      arguments[1] = "--data";
    }
    is_refused(arguments, {"column 'copy' is the label in other words", "--drop 'copy'"});
    const Json summary = run(arguments + Arguments{"--drop", "copy"});
    EXPECT_EQ(summary.at("columns")[0].at("use"), "feature");
    EXPECT_EQ(summary.at("labels").at("train").size(), 8U);
  }
}

}  // namespace
}  // namespace bilevel
