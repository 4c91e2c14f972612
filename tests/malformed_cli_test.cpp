// What every job on data must refuse in the same way: exit code 2, a message that names what is wrong, nothing on
// standard output, and not one file touched.
#include <filesystem>
#include <map>

#include "tests/process.h"
#include "tests/support.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

struct JobCommand {
  const char* name;
  const char* data;  // the flag that names the training file
  Arguments more;    // what it cannot do without
};

const JobCommand kJobs[] = {{"auc", "--train", {"--positive", "spam"}},
                            {"clean", "--train", {}},
                            {"tune", "--train", {}},
                            {"meta", "--data", {"--ways", "2", "--shots", "1", "--queries", "2"}}};

class Malformed : public testing::TestWithParam<JobCommand> {
 protected:
  Arguments command(const std::string& file, const Arguments& more) const {
    Arguments all{GetParam().name, GetParam().data, file};
    all.insert(all.end(), GetParam().more.begin(), GetParam().more.end());
    all.insert(all.end(), more.begin(), more.end());
    all.insert(all.end(), {"--out", folder_.path("out")});
    return all;
  }

  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> found;
    for (const auto& entry : fs::recursive_directory_iterator(folder_ / ".")) {
      if (entry.is_regular_file()) found[entry.path().string()] = read_bytes(entry.path().string());
    }
    return found;
  }

  /// Trains on a file with this content.
  void refused(const std::string& name, const std::string& content, const Arguments& more,
               const std::vector<std::string>& parts) const {
    folder_.write(name, content);
    refused(name, more, parts);
  }
  void refused(const std::string& name, const Arguments& more, const std::vector<std::string>& parts) const {
    const auto before = files();
    const Arguments arguments = command(folder_.path(name), more);
    const Outcome run = bilevel_program(arguments);
    SCOPED_TRACE(testing::PrintToString(arguments));
    EXPECT_EQ(run.code, 2) << run.err;
    EXPECT_EQ(run.out, "");
    EXPECT_NE(run.err, "");
    for (const std::string& part : parts) EXPECT_CONTAINS(run.err, part);
    EXPECT_FALSE(fs::exists(folder_.path("out")));
    EXPECT_EQ(files(), before);
  }

  static Arguments text() { return {"--text", "text", "--label", "class"}; }
  static Arguments with(Arguments first, const Arguments& second) {
    first.insert(first.end(), second.begin(), second.end());
    return first;
  }
  /// A file that is all right: 400 rows of a text with eight classes, in columns class, text, v.
  std::string good() const {
    const char* const classes[] = {"spam", "ham", "news", "chat", "work", "home", "food", "sport"};
    std::string rows = "class,text,v\n";
    for (int i = 0; i < 400; ++i) {
      const std::string name = classes[i % 8];
      rows += name + ",free " + name + " words " + std::to_string(i) + "," + std::to_string(i % 7) + ".5\n";
    }
    return rows;
  }

  TemporaryFolder folder_;
};

TEST_P(Malformed, Tables) {
  refused("none.csv", text(), {"none.csv: there is no such file"});
  refused("a.csv", "", text(), {"a.csv: is empty"});
  refused("a.csv", "class,text\n", text(), {"a.csv:1: holds a header but no rows"});
  refused("a.csv", "class,text\nspam,x\nham,y,z\n", text(), {"a.csv:3:7: the row has 3 fields"});
  refused("a.csv", "class,text\nspam,x\nham\n", text(), {"a.csv:3:4: the row has 1 field"});
  refused("a.csv", "class,text\nspam,\"x\nham,y\n", text(), {"a.csv:2:6: the quote that opens here"});
  refused("a.csv", "class,text\nspam,x\nham,caf\xE9\n", text(), {"a.csv:3:8: byte 0xE9 is not valid UTF-8"});
  refused("a.csv", std::string("class,text\nspam,x\nham,\0\n", 23), text(), {"a.csv:3:5: a NUL byte"});
  refused("a.tsv", "class\ttext\nspam\tx\nham\n", text(), {"a.tsv:3:4: the row has 1 field"});
  refused("a.jsonl", "{\"class\":\"spam\",\"text\":\"x\"}\n{\"class\":\"ham\",\"te", text(),
          {"a.jsonl:2:", "broken JSON"});
  refused("a.dat", good(), text(), {"a.dat", "--format"});
  fs::create_directory(folder_ / "d.csv");
  refused("d.csv", text(), {"d.csv: is a folder"});
}

TEST_P(Malformed, LabelsAndColumns) {
  refused("a.csv", good() + ",no label,1\n", text(), {"a.csv:402:1: the label", "is missing"});
  refused("a.csv", "class,text\nspam,x y\nspam,z\n", text(), {"a.csv", "'spam'"});
  refused("a.csv", "class,text\nspam,x y\nham,z w\n", text(), {});  // too few for anything
  folder_.write("a.csv", good());
  refused("a.csv", {"--text", "words", "--label", "class"},
          {"has no column 'words'; its columns are class, text, v"});
  refused("a.csv", {"--text", "text", "--label", "kind"}, {"has no column 'kind'"});
  refused("a.csv", {"--text", "text"}, {"--label"});
}

TEST_P(Malformed, NumbersInColumns) {
  const Arguments numbers{"--features", "v", "--label", "class"};
  refused("a.csv", good() + "spam,x,word\n", numbers,
          {"a.csv:402:8: 'word' in column 'v' is not a number", "--categorical"});
  refused("a.csv", good() + "spam,x,inf\n", numbers, {"a.csv:402:8: 'inf' in column 'v' is infinite"});
  refused("a.csv", good() + "spam,x,-1e999\n", numbers, {"a.csv:402:8: '-1e999' in column 'v' is infinite"});
  refused("a.csv", good(), {"--features", "v,w", "--label", "class"}, {"has no column 'w'"});
  refused("a.csv", good(), {"--features", "v,class", "--label", "class"},
          {"the label column 'class' is also listed as a feature"});
  refused("a.csv", good(), with(numbers, {"--categorical", "w"}), {"'w'"});
}

TEST_P(Malformed, Gzip) {
  const std::string whole = read_bytes(folder_.write_gzip("a.csv.gz", good()));
  refused("a.csv.gz", whole.substr(0, whole.size() / 2), text(), {"a.csv.gz"});
  refused("a.csv.gz", "\xFF no gzip at all", text(), {"a.csv.gz:1:1", "gzip"});
}

TEST_P(Malformed, NumberedColumns) {
  refused("a.svm", "+1 1:1\n-1 1:nan\n", {}, {"a.svm:2:6: the value 'nan' is not a finite number"});
  refused("a.svm", "+1 1:1\n-1 1:inf\n", {}, {"a.svm:2:6: the value 'inf'"});
  refused("a.svm", "+1 1:1\n-1 3:1 2:1\n", {}, {"a.svm:2:8: the feature index 2 follows 3"});
  refused("a.svm", "+1 1:1\n-1 0:1\n", {}, {"a.svm:2:4: the feature index is 0"});
  refused("a.svm", "+1 1:1\n1:1\n", {}, {"a.svm:2:1: ", "label"});
  refused("a.svm", "spam 1:1\n-1 1:1\n", {}, {"a.svm:1:1: the label 'spam' is not a finite number"});
  refused("a.idx", "\x01\x02\x03\x04\x05\x06", {}, {"a.idx: byte 0: the magic number"});
}

TEST_P(Malformed, Options) {
  folder_.write("a.csv", good());
  const auto option = [&](const Arguments& more, const std::vector<std::string>& parts) {
    refused("a.csv", with(text(), more), parts);
  };
  option({"--steps", "0"}, {"steps = 0: must be >= 1"});
  option({"--steps", "5", "--epochs", "1"}, {"--epochs or --steps"});
  option({"--set", "unknown=1"}, {"'unknown'", "upper_step_size"});
  option({"--set", "upper_step_size"}, {"key=value"});
  for (const char* value : {"0", "nan", "1e+300"})
    option({"--set", std::string("upper_step_size=") + value}, {"upper_step_size", value});
  option({"--solver", "magic"}, {"'magic'", "adambo"});
  option({"--encoder", "magic"}, {"magic", "transformer"});
  option({"--features", "v"}, {"--text or --features"});
  option({"--header", "--no-header"}, {"--header or --no-header"});
  option({"--encoder", "gru", "--embedding", folder_.path("none.txt")}, {"none.txt: there is no such file"});
  option({"--encoder", "gru", "--embedding", folder_.write("g.txt", "free 1 2\ncash 1\n")},
         {"g.txt:2:7: the line has 1 numbers, but the first has 2"});
  option({"--test", folder_.path("none.csv")}, {"none.csv: there is no such file"});
  if (std::string(GetParam().name) != "meta") {  // which looks at the sizes of the classes first
    option({"--test", folder_.write("t.csv", "class,other\nspam,x\nham,y\n")},
           {"t.csv", "has no column 'text'"});
  }
  option({"--nonsense"}, {"--nonsense"});
}

TEST_P(Malformed, FoldersOfOthers) {
  folder_.write("a.csv", good());
  const std::string out = folder_.path("mine");
  fs::create_directory(out);
  folder_.write("mine/file", "x");
  Arguments arguments = command(folder_.path("a.csv"), text());
  arguments.back() = out;
  const auto before = files();
  const Outcome run = bilevel_program(arguments);
  EXPECT_EQ(run.code, 2);
  EXPECT_CONTAINS(run.err, "not an empty folder");
  EXPECT_EQ(files(), before);
  arguments.back() = folder_.path("a.csv") + "/out";
  EXPECT_EQ(bilevel_program(arguments).code, 4);
  const Outcome resumed = bilevel_program({GetParam().name, "--resume", folder_.path("none")});
  EXPECT_EQ(resumed.code, 2);
  EXPECT_CONTAINS(resumed.err, "no run to resume");
}

INSTANTIATE_TEST_SUITE_P(Jobs, Malformed, testing::ValuesIn(kJobs),
                         [](const auto& job) { return job.param.name; });

}  // namespace
}  // namespace bilevel
