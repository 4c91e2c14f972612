// What `bilevel data describe` suggests for files of all kinds runs, as it stands, over all their rows.
#include <cmath>
#include <map>

#include "tests/process.h"

namespace bilevel {
namespace suggestions_test {

/// Numbers that look random, the same in every run.
double noise(int i, int k) { return std::fmod(std::abs(std::sin(12.9898 * i + 78.233 * k)) * 43758.5453, 1); }

std::string number(int i, int k, double shift = 0) {
  std::string text = std::to_string(noise(i, k) + shift);
  return text.substr(0, 5);
}

std::string words(int i, bool good) {
  static const char* const kWords[] = {"film", "actor", "scene",  "story", "plot",
                                       "long", "short", "bright", "dull"};
  std::string text = good ? "wonderful" : "terrible";
  for (int k = 0; k < 8; ++k) text += std::string(" ") + kWords[static_cast<size_t>(9 * noise(i, k))];
  return text;
}

std::string lines(int rows, const std::function<std::string(int)>& line) {
  std::string text;
  for (int i = 0; i < rows; ++i) text += line(i) + "\n";
  return text;
}

/// A file, how it is described, and the jobs that fit.
struct Kind {
  std::string name, content;
  Arguments more;
  std::vector<std::string> jobs;
};

std::vector<Kind> kinds() {
  const std::vector<std::string> two{"auc", "clean", "tune"}, several{"clean", "tune"};
  const auto yes = [](int i) { return i % 2 == 0 ? "yes" : "no"; };
  const auto spot = [](int i) { return number(i, 1, i % 2) + "," + number(i, 2); };
  return {
      {"numbers.csv", "x,y,class\n" + lines(80, [&](int i) { return spot(i) + "," + yes(i); }), {}, two},
      {"mixed.csv",
       "id,when,city,size,class\n" + lines(90,
                                           [&](int i) {
                                             return std::to_string(i + 1) + ",2024-0" +
                                                    std::to_string(1 + i % 9) + "-1" + std::to_string(i % 7) +
                                                    "," +
                                                    (noise(i, 3) < 0.3   ? "Rome"
                                                     : noise(i, 3) < 0.7 ? "Oslo"
                                                                         : "Bern") +
                                                    "," + (i % 11 == 0 ? "" : number(i, 4, i % 3)) + "," +
                                                    "abc"[i % 3];
                                           }),
       {},
       several},
      {"texts.tsv",
       "text\tlabel\n" + lines(80, [&](int i) { return words(i, i % 2 == 0) + "\t" + yes(i); }),
       {},
       two},
      {"rows.svm",
       lines(80,
             [](int i) {
               return std::string(i % 2 == 0 ? "+1" : "-1") + " 1:" + number(i, 1, i % 2) + " 3:1";
             }),
       {},
       two},
      {"rows.jsonl",
       lines(80,
             [&](int i) {
               return Json{{"body", words(i, i % 2 == 0)}, {"topic", yes(i)}, {"n", i % 5}}.dump();
             }),
       {},
       two},
      {"many classes.csv",
       "a,b,the kind\n" + lines(150,
                                [&](int i) {
                                  return number(i, 1, i % 10) + "," + number(i, 2) + ",k" +
                                         std::to_string(i % 10);
                                }),
       {},
       several},
      {"rare.csv",
       "a,b,flag\n" + lines(150,
                            [&](int i) {
                              return number(i, 1, i % 30 == 0 ? 2 : 0) + "," + number(i, 2) +
                                     (i % 30 == 0 ? ",1" : ",0");
                            }),
       {},
       two},
      {"two rows of a class.csv",
       "a,b,class\n" +
           lines(80, [&](int i) { return spot(i) + "," + (i == 5 || i == 44 ? "once more" : yes(i)); }),
       {},
       {"clean"}},
      {"one row of a class.csv",
       "a,b,class\n" + lines(80, [&](int i) { return spot(i) + "," + (i == 5 ? "once" : yes(i)); }),
       {},
       {}},
      {"domains.tsv",
       "text\tlabel\tshop\n" + lines(150,
                                     [&](int i) {
                                       return words(i, i % 2 == 0) + "\t" + yes(i) + "\ts" +
                                              std::to_string(i / 2 % 4);
                                     }),
       {},
       {"auc", "clean", "meta", "tune"}},
      {"topics.tsv",
       "text\ttopic\n" + lines(180,
                               [&](int i) {
                                 return words(i, i % 2 == 0) + " t" + std::to_string(i % 10) + "\tt" +
                                        std::to_string(i % 10);
                               }),
       {},
       {"clean", "meta", "tune"}},
      {"small domains.tsv",
       "text\tlabel\tshop\n" + lines(80,
                                     [&](int i) {
                                       return words(i, i % 2 == 0) + "\t" + yes(i) + "\ts" +
                                              std::to_string(i / 2 % 4);
                                     }),
       {},
       two},
      {"semicolons.csv",
       "a;b;class\n" + lines(80,
                             [&](int i) {
                               std::string row = number(i, 1, i % 2) + ";" + number(i, 2) + ";" + yes(i);
                               std::replace(row.begin(), row.end(), '.', ',');
                               return row;
                             }),
       {},
       two},
      {"slashes.txt",
       "a/b/class\n" +
           lines(80, [&](int i) { return number(i, 1, i % 2) + "/" + number(i, 2) + "/" + yes(i); }),
       {"--format", "csv", "--delimiter", "/"},
       two},
      {"latin.csv",
       "a,b,klasse\n" + lines(80, [&](int i) { return spot(i) + (i % 2 == 0 ? ",f\xFCr" : ",nein"); }),
       {"--encoding", "windows-1252"},
       two},
      {"unlabelled.csv",
       "a,b,class\n" + lines(80, [&](int i) { return spot(i) + "," + (i % 13 == 0 ? "" : yes(i)); }),
       {"--label", "class"},
       two},
      {"infinite.csv",
       "a,b,class\n" +
           lines(80, [&](int i) { return (i == 7 ? "inf," + number(i, 2) : spot(i)) + "," + yes(i); }),
       {},
       two},
      {"copy.csv",
       "a,b,again,class\n" +
           lines(80, [&](int i) { return spot(i) + (i % 2 == 0 ? ",u," : ",w,") + yes(i); }),
       {},
       two},
      {"words among numbers.csv",
       "a,b,class\n" +
           lines(80, [&](int i) { return (i % 19 == 0 ? "oops," + number(i, 2) : spot(i)) + "," + yes(i); }),
       {},
       two},
      {"names.csv",
       "\"my, a\",it's b,c,class\n" +
           lines(80, [&](int i) { return spot(i) + "," + number(i, 5) + "," + yes(i); }),
       {},
       two},
      {"headerless.csv", lines(80, [&](int i) { return spot(i) + "," + yes(i); }), {}, two},
  };
}

/// The words that a shell makes of a command.
Arguments words_of(const std::string& command) {
  Arguments found(1);
  bool quoted = false;
  for (size_t i = 0; i < command.size(); ++i) {
    if (command[i] == '\'')
      quoted = !quoted;
    else if (command[i] == '\\' && !quoted)
      found.back() += command[++i];
    else if (command[i] == ' ' && !quoted)
      found.emplace_back();
    else
      found.back() += command[i];
  }
  return found;
}

class SuggestionsTest : public ProgramTest {
 protected:
  /// The first rows of a file, as one that somebody has checked.
  std::string trusted(const Kind& kind) const {
    size_t end = 0;
    for (int line = 0; line < 45; ++line) end = kind.content.find('\n', end) + 1;
    return folder_.write("trusted of " + kind.name, kind.content.substr(0, end));
  }
};

TEST_F(SuggestionsTest, EveryOneRuns) {
  for (const Kind& kind : kinds()) {
    const std::string file = folder_.write(kind.name, kind.content);
    const Outcome described = bilevel_program(Arguments{"data", "describe", file, "--json"} + kind.more);
    ASSERT_EQ(described.code, 0) << described.err;
    std::vector<std::string> jobs;
    const Json page = Json::parse(described.out);
    for (const Json& suggestion : page.at("suggestions")) {
      const std::string command = suggestion.at("command");
      Arguments arguments = words_of(command);
      arguments.erase(arguments.begin());
      jobs.push_back(arguments.front());
      for (std::string& word : arguments) {
        if (word == "TRUSTED") word = trusted(kind);
      }
      const std::string out = path(kind.name + "-" + jobs.back());
      const std::map<std::string, Arguments> quick{
          {"clean", {"--no-baselines"}},
          {"tune", {"--baseline-passes", "0"}},
          {"meta", {"--baselines", "none", "--test-episodes", "5", "--valid-episodes", "5"}}};
      Arguments few{"--steps", "2", "--out", out, "--quiet"};
      if (quick.contains(jobs.back())) few = few + quick.at(jobs.back());
      const Outcome run = bilevel_program(arguments + few);
      EXPECT_EQ(run.code, 0) << command << "\n" << run.err;
      EXPECT_TRUE(std::filesystem::exists(out + "/report.html")) << command;
    }
    EXPECT_EQ(jobs, kind.jobs) << kind.name;
  }
}

}  // namespace suggestions_test
}  // namespace bilevel
