// What every job must refuse in the same way: a message that names what is wrong, and where, and not one file touched.
#include "tests/jobs.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Parts = std::vector<std::string>;

class Malformed : public AllJobs {
 protected:
  /// Training on the file must be refused with a message that has all parts.
  void refused(const std::string& file, const json& options, const Parts& parts) const {
    SCOPED_TRACE(file + " " + options.dump());
    const auto before = files_in(path("."));
    const std::string message = message_of<InputError>(
        [&] { start_job(GetParam(), *job_on(file.empty() ? file : path(file), options), path("out")); });
    for (const std::string& part : parts) EXPECT_CONTAINS(message, part);
    EXPECT_FALSE(fs::exists(path("out")));
    EXPECT_EQ(files_in(path(".")), before);
  }
  /// Writes the file first.
  void refused(const std::string& file, const std::string& content, const json& options,
               const Parts& parts) const {
    folder_.write(file, content);
    refused(file, options, parts);
  }

  static json text(const json& more = json::object()) {
    json options{{"text", "text"}, {"label", "class"}};
    options.update(more);
    return options;
  }
  static json columns(const std::string& names, const json& more = json::object()) {
    json options{{"features", names}, {"label", "class"}};
    options.update(more);
    return options;
  }

  const std::string good_ = rows_of_eight_classes(400);
};

TEST_P(Malformed, Tables) {
  refused("", text(), {"FILE is missing"});
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
  refused("a.dat", good_, text(), {"a.dat", "--format"});
  fs::create_directory(folder_ / "d.csv");
  refused("d.csv", text(), {"d.csv: is a folder"});
}

TEST_P(Malformed, LabelsAndColumns) {
  refused("a.csv", good_ + ",no label,1,1\n", text(), {"a.csv:402:1: the label", "is missing"});
  refused("a.csv", "class,text\nspam,x y\nspam,z\n", text(), {"a.csv", "'spam'"});
  refused("a.csv", "class,text\nspam,x y\nham,z w\n", text(), {});  // too few for anything
  refused("a.csv", good_, text({{"text", "words"}}),
          {"has no column 'words'; its columns are class, text, a, b"});
  refused("a.csv", text({{"label", "kind"}}), {"has no column 'kind'"});
  refused("a.csv", {{"text", "text"}}, {"--label"});
}

TEST_P(Malformed, NumbersInColumns) {
  refused("a.csv", good_ + "spam,x,1,word\n", columns("a,b"),
          {"a.csv:402:10: 'word' in column 'b' is not a number", "--categorical"});
  refused("a.csv", good_ + "spam,x,1,inf\n", columns("a,b"),
          {"a.csv:402:10: 'inf' in column 'b' is infinite"});
  refused("a.csv", good_ + "spam,x,1,-1e999\n", columns("b"),
          {"a.csv:402:10: '-1e999' in column 'b' is infinite"});
  refused("a.csv", good_, columns("a,w"), {"has no column 'w'"});
  refused("a.csv", columns("a,class"), {"the label column 'class' is also listed as a feature"});
  refused("a.csv", columns("a", {{"categorical", "w"}}), {"'w'"});
}

TEST_P(Malformed, Gzip) {
  const std::string whole = read_bytes(folder_.write_gzip("a.csv.gz", good_));
  refused("a.csv.gz", whole.substr(0, whole.size() / 2), text(), {"a.csv.gz"});
  refused("a.csv.gz", "\xFF no gzip at all", text(), {"a.csv.gz:1:1", "gzip"});
  std::string damaged = whole;
  for (size_t i = whole.size() / 2; i < whole.size() / 2 + 20; ++i)
    damaged[i] = static_cast<char>(~damaged[i]);
  refused("a.csv.gz", damaged, text(), {"a.csv.gz"});
}

TEST_P(Malformed, NumberedColumns) {
  const json none = json::object();
  refused("a.svm", "+1 1:1\n-1 1:nan\n", none, {"a.svm:2:6: the value 'nan' is not a finite number"});
  refused("a.svm", "+1 1:1\n-1 1:inf\n", none, {"a.svm:2:6: the value 'inf'"});
  refused("a.svm", "+1 1:1\n-1 3:1 2:1\n", none, {"a.svm:2:8: the feature index 2 follows 3"});
  refused("a.svm", "+1 1:1\n-1 0:1\n", none, {"a.svm:2:4: the feature index is 0"});
  refused("a.svm", "+1 1:1\n-1 x:1\n", none, {"a.svm:2:4: 'x' is not a feature index"});
  refused("a.svm", "+1 1:1\n1:1\n", none, {"a.svm:2:1: ", "label"});
  refused("a.svm", "spam 1:1\n-1 1:1\n", none, {"a.svm:1:1: the label 'spam' is not a finite number"});
  refused("a.idx", "\x01\x02\x03\x04\x05\x06", none, {"a.idx: byte 0: the magic number"});
}

TEST_P(Malformed, Options) {
  folder_.write("a.csv", good_);
  const auto option = [&](const json& more, const Parts& parts) { refused("a.csv", text(more), parts); };
  option({{"steps", 0}}, {"steps = 0: must be >= 1"});
  option({{"steps", 5}, {"epochs", 1}}, {"--epochs or --steps"});
  option({{"set", {"unknown=1"}}}, {"'unknown'", "upper_step_size"});
  option({{"set", {"upper_step_size"}}}, {"key=value"});
  for (const char* value : {"0", "-1", "abc", "nan", "inf", "1e+300"})
    option({{"set", {std::string("upper_step_size=") + value}}}, {"upper_step_size", value});
  option({{"set", {"lower_rule=newton"}}}, {"lower_rule = newton", "sgd"});
  option({{"set", {"neumann_terms=1.5"}}}, {"neumann_terms"});
  option({{"solver", "magic"}}, {"'magic'", "adambo"});
  option({{"encoder", "magic"}}, {"encoder = magic", "transformer"});
  option({{"encoder", "linear"}}, {"encoder = linear"});
  option({{"features", "a"}}, {"--text or --features"});
  option({{"encoder", "bag"}, {"embedding", path("a.csv")}},
         {"a.csv"});  // no word vectors, or an encoder without
  const auto embedding = [&](const std::string& glove, const Parts& parts) {
    option({{"encoder", "gru"}, {"embedding", folder_.write("g.txt", glove)}}, parts);
  };
  option({{"encoder", "gru"}, {"embedding", path("none.txt")}}, {"none.txt: there is no such file"});
  embedding("words 1 2\nof 1\n", {"g.txt:2:5: the line has 1 numbers, but the first has 2"});
  embedding("words 1 2\nof 1 2 3\n", {"g.txt:2:", "3 numbers"});
  embedding("words 1 2\nof 1 x\n", {"g.txt:2:6: 'x' is not a finite number"});
  embedding("", {"g.txt: is empty"});
  option({{"test", path("none.csv")}}, {"none.csv: there is no such file"});
  if (GetParam().name != "meta") {  // which looks at the sizes of the classes first
    option({{"test", folder_.write("t.csv", "class,other\nspam,x\nham,y\n")}},
           {"t.csv", "has no column 'text'"});
  }
}

TEST_P(Malformed, FoldersOfOthers) {
  folder_.write("a.csv", good_);
  fs::create_directory(path("mine"));
  folder_.write("mine/file", "x");
  const auto before = files_in(path("."));
  const auto start_in = [&](const std::string& out) {
    start_job(GetParam(), *job_on(path("a.csv"), text({{"steps", 1}})), path(out));
  };
  EXPECT_CONTAINS(message_of<InputError>([&] { start_in("mine"); }), "not an empty folder");
  EXPECT_CONTAINS(message_of<FileError>([&] { start_in("a.csv/out"); }), "a.csv/out");
  EXPECT_CONTAINS(message_of<InputError>([&] { resume_job(GetParam(), path("none")); }), "no run to resume");
  EXPECT_EQ(files_in(path(".")), before);
}

INSTANTIATE_TEST_SUITE_P(Registry, Malformed, testing::ValuesIn(job_registry()),
                         [](const auto& entry) { return entry.param.name; });

}  // namespace
}  // namespace bilevel
