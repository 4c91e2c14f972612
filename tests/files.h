// Files for tests: a folder that vanishes, and the real data sets.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "bilevel/core/error.h"

namespace bilevel {

/// A fresh folder, removed with all it holds at the end of the scope.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "bilevel_test_XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = pattern;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  std::string path(const std::string& name) const { return (*this / name).string(); }

  std::string write(const std::string& name, std::string_view content) const {
    std::ofstream(path(name), std::ios::binary) << content;
    return path(name);
  }

  std::string write_gzip(const std::string& name, std::string_view content) const {
    const gzFile file = gzopen(path(name).c_str(), "wb");
    gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
    gzclose(file);
    return path(name);
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_bytes(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The folder of the real data sets, from the environment variable BILEVEL_DATA or beside the source; may not
/// exist.
inline std::string data_folder() {
  const char* given = std::getenv("BILEVEL_DATA");
  return given != nullptr ? given : BILEVEL_SOURCE_DIR "/../shared/data";
}

#define SKIP_WITHOUT_DATA()                                       \
  if (!std::filesystem::is_directory(bilevel::data_folder())) {   \
    GTEST_SKIP() << "no data sets in " << bilevel::data_folder(); \
  }

/// The message of the InputError that `call` throws, less the folder of the file it names; "" when it throws
/// none.
template <typename Call>
std::string input_error(Call call) {
  try {
    call();
  } catch (const InputError& error) {
    const std::string text = error.what();
    const size_t colon = text.find(": ");
    const size_t slash = text.rfind('/', colon == std::string::npos ? 0 : colon);
    return slash == std::string::npos || text[0] != '/' ? text : text.substr(slash + 1);
  }
  return "";
}

}  // namespace bilevel
