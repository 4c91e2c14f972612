#include "bilevel/task/run_folder.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "tests/files.h"
#include "tests/support.h"

namespace bilevel {
namespace run_folder_test {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

class RunFolderTest : public testing::Test {
 protected:
  std::string out() const { return folder_.path("out"); }
  static Json content(const std::vector<std::string>& files = {}) {
    return {{"options", Json::object()}, {"files", fingerprints(files)}};
  }
  /// A run with some files.
  void make_run(const std::string& folder) const {
    { const FolderLock lock = new_run_folder(folder, "auc", "", content()); }
    fs::create_directory(folder + "/parts");
    for (const char* name : {"/summary.json", "/parts/old.cbor"}) std::ofstream(folder + name) << "old";
  }
  /// What --force says, and that it leaves everything.
  std::string refusal(const std::string& folder, const Json& given) const {
    const auto count = std::distance(fs::recursive_directory_iterator(folder), {});
    const std::string message =
        input_error([&] { new_run_folder(folder, "tune", "", given, /*force=*/true); });
    EXPECT_EQ(std::distance(fs::recursive_directory_iterator(folder), {}), count);
    return message;
  }
  TemporaryFolder folder_;
};

TEST_F(RunFolderTest, ForceReplacesARun) {
  make_run(out());
  EXPECT_CONTAINS(input_error([&] { new_run_folder(out(), "tune", "", content()); }),
                  "replace it with --force");
  const FolderLock lock = new_run_folder(out(), "tune", "", content(), /*force=*/true);
  EXPECT_EQ(read_run_options(out(), "tune").at("command"), "tune");
  for (const char* name : {"/summary.json", "/parts"}) EXPECT_FALSE(fs::exists(out() + name));
}

TEST_F(RunFolderTest, ForceKeepsWhatIsNoPartOfARun) {
  make_run(out());
  folder_.write("out/answers.tsv", "mine");
  EXPECT_CONTAINS(refusal(out(), content()), "the file answers.tsv in it belongs to no run");
  fs::remove(out() + "/answers.tsv");
  fs::create_directories(out() + "/parts");
  folder_.write("out/parts/mine.csv", "mine");
  EXPECT_CONTAINS(refusal(out(), content()), "the file parts/mine.csv in it belongs to no run");
}

TEST_F(RunFolderTest, ForceKeepsWhatIsNoPartOfTheRunsOfACrossValidation) {
  make_run(out());
  fs::create_directory(out() + "/folds");
  make_run(out() + "/folds/1-2");
  folder_.write("out/folds/1-2/answers.tsv", "mine");
  EXPECT_CONTAINS(refusal(out(), content()), "folds/1-2: the file answers.tsv in it belongs to no run");
  fs::remove(out() + "/folds/1-2/answers.tsv");
  const FolderLock lock = new_run_folder(out(), "tune", "", content(), /*force=*/true);
  EXPECT_FALSE(fs::exists(out() + "/folds"));
}

TEST_F(RunFolderTest, ForceNeedsNoRun) {
  const FolderLock lock = new_run_folder(out(), "tune", "", content(), /*force=*/true);
  EXPECT_TRUE(fs::exists(out() + "/options.json"));
}

TEST_F(RunFolderTest, ForceReplacesNothingElse) {
  fs::create_directory(out());
  folder_.write("out/letter.txt", "dear");
  EXPECT_CONTAINS(refusal(out(), content()), "holds no run of bilevel");
  folder_.write("out/options.json", "{\"colour\": \"red\"}");
  EXPECT_CONTAINS(refusal(out(), content()), "holds no run of bilevel");
  const std::string file = folder_.write("plain", "x");
  EXPECT_CONTAINS(input_error([&] { new_run_folder(file, "tune", "", content(), true); }), "holds no run");

  make_run(folder_.path("run"));
  fs::create_directory(folder_.path("run/photos"));
  EXPECT_CONTAINS(refusal(folder_.path("run"), content()), "the folder photos in it belongs to no run");
}

TEST_F(RunFolderTest, ForceKeepsWhatIsRead) {
  make_run(out());
  const std::string data = folder_.write("out/cleaned.csv", "a,b\n1,2\n");
  fs::create_symlink(data, folder_.path("link.csv"));
  for (const std::string& name : {data, folder_.path("out/../out/cleaned.csv"), folder_.path("link.csv")})
    EXPECT_CONTAINS(refusal(out(), content({name})), "is read from it");
  fs::create_directory_symlink(out(), folder_.path("other"));
  EXPECT_CONTAINS(refusal(folder_.path("other"), content()), "symbolic link");
}

TEST_F(RunFolderTest, ForceKeepsTheCurrentDirectory) {
  make_run(out());
  const fs::path before = fs::current_path();
  for (const char* below : {"", "/parts"}) {
    fs::current_path(out() + below);
    EXPECT_CONTAINS(refusal(out(), content()), "the current directory is in it");
  }
  fs::current_path(before);
}

TEST_F(RunFolderTest, ForceKeepsARunAtWork) {
  make_run(out());
  const FolderLock lock(out());
  EXPECT_CONTAINS(refusal(out(), content()), "another");
}

}  // namespace run_folder_test
}  // namespace bilevel
