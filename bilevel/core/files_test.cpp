#include "bilevel/core/files.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <optional>

#include "bilevel/core/error.h"
#include "tests/support.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "bilevel_files_XXXXXX").string();
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  size_t entries() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }
  fs::path folder_;
};

TEST_F(Files, WritesAndReadsAnyBytes) {
  const std::string bytes("a\0\n\xff\r\n", 6);
  write_file_atomically(path("a"), bytes);
  EXPECT_EQ(read_file(path("a")), bytes);
  write_file_atomically(path("a"), "");
  EXPECT_EQ(read_file(path("a")), "");
  const std::string large(3'000'000, 'x');
  write_file_atomically(path("a"), std::vector<std::string_view>{"head", large, "", "tail"});
  EXPECT_EQ(read_file(path("a")), "head" + large + "tail");
  EXPECT_EQ(entries(), 1u) << "a temporary file was left";
}

TEST_F(Files, RefusesToOverwriteAnInput) {
  write_file_atomically(path("a"), "1");
  write_file_atomically(path("b"), "1");
  fs::create_symlink(path("a"), path("link"));
  fs::create_hard_link(path("a"), path("hard"));
  for (const char* name : {"a", "link", "hard", "./a"}) {
    EXPECT_THROW(refuse_to_overwrite(path(name), {path("b"), path("a")}), InputError) << name;
  }
  EXPECT_NO_THROW(refuse_to_overwrite(path("b"), {path("a"), path("link")}));
  EXPECT_NO_THROW(refuse_to_overwrite(path("new"), {path("a"), path("new")})) << "there is nothing to lose";
  EXPECT_NO_THROW(refuse_to_overwrite("/dev/null", {"/dev/null"}));
}

TEST_F(Files, KeepsTheModeAndFollowsALink) {
  write_file_atomically(path("a"), "1");
  fs::permissions(path("a"), fs::perms(0640));
  fs::create_symlink("a", path("link"));
  write_file_atomically(path("link"), "2");
  EXPECT_TRUE(fs::is_symlink(path("link")));
  EXPECT_EQ(read_file(path("a")), "2");
  EXPECT_EQ(fs::status(path("a")).permissions(), fs::perms(0640));
}

TEST_F(Files, AFailedWriteLeavesTheOldFileAndNoTemporary) {
  EXPECT_NE(message_of<FileError>([&] { write_file_atomically(path("no/a"), "x"); }).find("No such file"),
            std::string::npos);
  fs::create_directory(path("d"));
  EXPECT_NE(message_of<FileError>([&] { write_file_atomically(path("d"), "x"); }).find("directory"),
            std::string::npos);
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Files, AFullFileSystemLeavesTheOldFile) {
  write_file_atomically(path("a"), "old");
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {  // a file-size limit stands for a full disk
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) ::_exit(3);
    try {
      write_file_atomically(path("a"), std::string(5000, 'x'));
    } catch (const FileError& error) {
      ::_exit(std::string(error.what()).find("File too large") != std::string::npos ? 0 : 2);
    }
    ::_exit(1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(path("a")), "old");
  EXPECT_EQ(entries(), 1u);
}

TEST_F(Files, WritesIntoADeviceInsteadOfReplacingIt) {
  fs::create_symlink("/dev/null", path("null"));
  write_file_atomically(path("null"), "x");
  EXPECT_TRUE(fs::is_character_file(path("null")));
}

TEST_F(Files, ReadingWhatIsNotThere) {
  EXPECT_NE(message_of<InputError>([&] { read_file(path("a")); }).find("no such file"), std::string::npos);
  EXPECT_NE(message_of<InputError>([&] { read_file(folder_.string()); }).find("is a folder"),
            std::string::npos);
}

TEST_F(Files, CreatesFoldersOnce) {
  create_folder(path("x/y/z"));
  create_folder(path("x/y/z"));
  EXPECT_TRUE(fs::is_directory(path("x/y/z")));
  write_file_atomically(path("f"), "");
  EXPECT_THROW(create_folder(path("f")), FileError);
  EXPECT_THROW(create_folder(path("f/g")), FileError);
}

TEST_F(Files, ALockHasOneHolder) {
  std::optional<FolderLock> lock(std::in_place, folder_.string());
  const std::string message = message_of<InputError>([&] { FolderLock second(folder_.string()); });
  EXPECT_NE(message.find("another process (" + std::to_string(::getpid()) + ")"), std::string::npos)
      << message;
  FolderLock moved = std::move(*lock);
  lock.reset();
  EXPECT_THROW(FolderLock(folder_.string()), InputError) << "moving must not release";
  { const FolderLock last = std::move(moved); }
  EXPECT_NO_THROW(FolderLock(folder_.string()));
  EXPECT_THROW(FolderLock(path("missing")), FileError);
}

TEST_F(Files, ALockDiesWithItsProcessAndTheNextHolderCleansUp) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    FolderLock lock(folder_.string());
    std::ofstream(path(".model.json." + std::to_string(::getpid()) + ".0.tmp")) << "half";
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    for (;;) ::pause();
  }
  char byte;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  EXPECT_THROW(FolderLock(folder_.string()), InputError);
  write_file_atomically(path(".keep.1.x.tmp"), "not a temporary of ours");
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_NO_THROW(FolderLock(folder_.string()));
  EXPECT_EQ(entries(), 2u) << ".lock and .keep.1.x.tmp stay, the dead process's temporary goes";
  ::close(ready[0]);
  ::close(ready[1]);
}

}  // namespace
}  // namespace bilevel
