// The main function of a program with the tests of several sources. --source=NAME runs those of NAME.cpp alone; a source
// without tests is an error.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <string>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  const std::string flag = "--source=";
  if (argc == 2 && std::string(argv[1]).rfind(flag, 0) == 0) {
    const std::string wanted = std::string(argv[1]).substr(flag.size());
    std::string filter;
    const testing::UnitTest& all = *testing::UnitTest::GetInstance();
    for (int i = 0; i < all.total_test_suite_count(); ++i) {
      const testing::TestSuite& suite = *all.GetTestSuite(i);
      for (int j = 0; j < suite.total_test_count(); ++j) {
        const testing::TestInfo& test = *suite.GetTestInfo(j);
        if (std::filesystem::path(test.file()).stem() == wanted)
          filter += std::string(filter.empty() ? "" : ":") + test.test_suite_name() + "." + test.name();
      }
    }
    if (filter.empty()) {
      std::fprintf(stderr, "%s has no test\n", wanted.c_str());
      return 1;
    }
    GTEST_FLAG_SET(filter, filter);
  }
  return RUN_ALL_TESTS();
}
