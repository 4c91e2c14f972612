#include "bilevel/data/libsvm.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <algorithm>

#include "tests/files.h"

namespace bilevel {
namespace {

class LibsvmTest : public testing::Test {
 protected:
  SparseTable read(std::string_view text, const LibsvmOptions& options = {}) const {
    return read_libsvm(folder_.write("a.svm", text), options);
  }
  std::string error(std::string_view text, const LibsvmOptions& options = {}) const {
    return input_error([&] { read(text, options); });
  }
  TemporaryFolder folder_;
};

TEST_F(LibsvmTest, ReadsRows) {
  const SparseTable table = read("+1 1:0.5 3:-2 # comment 9:9\n\n# all comment\n-1\r\n 2.5\t2:1e1 \n");
  EXPECT_EQ(table.labels, (std::vector<double>{1, -1, 2.5}));
  EXPECT_EQ(table.lines, (std::vector<int64_t>{1, 4, 5}));
  EXPECT_EQ(table.features.width, 3);
  EXPECT_EQ(table.features.rows(), 3);
  EXPECT_TRUE(
      table.features.to_dense().equal(torch::tensor({{0.5F, 0.F, -2.F}, {0.F, 0.F, 0.F}, {0.F, 10.F, 0.F}})));
  EXPECT_TRUE(table.features.select({2, 0, 2}).to_dense().equal(
      torch::tensor({{0.F, 10.F, 0.F}, {0.5F, 0.F, -2.F}, {0.F, 10.F, 0.F}})));
  EXPECT_EQ(table.features.select({}).rows(), 0);
  EXPECT_THROW(table.features.select({3}), std::out_of_range);
}

TEST_F(LibsvmTest, KeepsDoublesWhereAskedTo) {
  const std::string text = "1 1:0.1 3:-123456789.123\n-1\n1 2:1e39 3:1e-300\n";
  const SparseRows rows = read(text, {.double_precision = true}).features;
  EXPECT_TRUE(rows.to_dense().equal(
      torch::tensor({{0.1, 0., -123456789.123}, {0., 0., 0.}, {0., 1e39, 1e-300}}, torch::kFloat64)));
  EXPECT_TRUE(rows.select({2, 0}).to_dense().equal(
      torch::tensor({{0., 1e39, 1e-300}, {0.1, 0., -123456789.123}}, torch::kFloat64)));
  EXPECT_EQ(read("1 1:0.1\n").features.values.scalar_type(), torch::kFloat32);
}

TEST_F(LibsvmTest, ErrorsHaveAPosition) {
  EXPECT_EQ(error(""), "a.svm: is empty");
  EXPECT_EQ(error("# nothing\n"), "a.svm: holds no rows");
  EXPECT_EQ(error("1 1:1\n1 0:1\n"), "a.svm:2:3: the feature index is 0, but indices start at 1");
  EXPECT_EQ(error("1 -3:1\n"), "a.svm:1:3: the feature index is -3, but indices start at 1");
  EXPECT_EQ(error("1 3:1 2:1\n"), "a.svm:1:7: the feature index 2 follows 3, but indices must ascend");
  EXPECT_EQ(error("1 3:1 3:1\n"), "a.svm:1:7: the feature index 3 is repeated");
  EXPECT_EQ(error("1 3:nan\n"), "a.svm:1:5: the value 'nan' is not a finite number");
  EXPECT_EQ(error("1 3:-inf\n"), "a.svm:1:5: the value '-inf' is not a finite number");
  EXPECT_EQ(error("1 3:1e400\n"), "a.svm:1:5: the value '1e400' is not a finite number");
  EXPECT_EQ(error("1 3:1e39\n"), "a.svm:1:5: the value 1e39 is too large for float32");
  EXPECT_EQ(error("1 3:x\n"), "a.svm:1:5: the value 'x' is not a finite number");
  EXPECT_EQ(error("1 3:\n"), "a.svm:1:5: the value '' is not a finite number");
  EXPECT_EQ(error("1 x:3\n"), "a.svm:1:3: 'x' is not a feature index");
  EXPECT_EQ(error("1 :3\n"), "a.svm:1:3: '' is not a feature index");
  EXPECT_EQ(error("1 1.5:3\n"), "a.svm:1:3: '1.5' is not a feature index");
  EXPECT_EQ(error("1 99999999999:3\n"), "a.svm:1:3: the feature index 99999999999 is larger than 2147483647");
  EXPECT_EQ(error("1 99999999999999999999:3\n"),
            "a.svm:1:3: the feature index 99999999999999999999 is larger than 2147483647");
  EXPECT_EQ(error("1 2 3:1\n"), "a.svm:1:3: '2' is not of the form index:value");
  EXPECT_EQ(error("spam 3:1\n"), "a.svm:1:1: the label 'spam' is not a finite number");
  EXPECT_EQ(error("nan 3:1\n"), "a.svm:1:1: the label 'nan' is not a finite number");
  EXPECT_EQ(error("1 1:1\n  3:1\n"), "a.svm:2:3: the row starts with '3:1' where its label should stand");
  EXPECT_EQ(error("1 qid:7 3:1\n"),
            "a.svm:1:3: query numbers (qid) belong to ranking files, which are not supported");
}

TEST_F(LibsvmTest, MayLackLabelsWhenToldSo) {
  const SparseTable table = read("1:1\n2:1\n", {.labels_required = false});
  EXPECT_TRUE(table.labels.empty());
  EXPECT_EQ(table.rows(), 2);
  EXPECT_EQ(read("3 2:1\n", {.labels_required = false}).labels, (std::vector<double>{3}));
  EXPECT_NE(error("1:1\n1 2:1\n", {.labels_required = false}), "");
}

TEST(RealLibsvm, HasTheCountsOfItsSources) {
  SKIP_WITHOUT_DATA();
  struct File {
    const char* name;
    int64_t rows;
    int64_t width;
    int64_t positives;
  };
  const File files[] = {{"a9a", 32561, 123, 7841},
                        {"a9a.t", 16281, 122, 3846},
                        {"german.numer_scale", 1000, 24, 300},
                        {"heart_scale", 270, 13, 120},
                        {"agaricus.train", 6513, 126, 3140},
                        {"agaricus.test", 1611, 126, 776}};
  for (const File& file : files) {
    const SparseTable table = read_libsvm(data_folder() + "/libsvm/" + file.name + ".gz");
    EXPECT_EQ(table.rows(), file.rows) << file.name;
    EXPECT_EQ(table.features.width, file.width) << file.name;
    EXPECT_EQ(std::count(table.labels.begin(), table.labels.end(), 1.0), file.positives) << file.name;
  }
}

}  // namespace
}  // namespace bilevel
