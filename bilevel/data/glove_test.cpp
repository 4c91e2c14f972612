#include "bilevel/data/glove.h"

#include <ATen/CPUGeneratorImpl.h>
#include <gtest/gtest.h>
#include <torch/types.h>

#include "tests/files.h"

namespace bilevel {
namespace {

class GloveTest : public testing::Test {
 protected:
  Glove read(std::string_view text, const Vocabulary* wanted = nullptr) const {
    return read_glove(folder_.write("g.txt", text), wanted);
  }
  std::string error(std::string_view text) const {
    return input_error([&] { read(text); });
  }
  TemporaryFolder folder_;
};

TEST_F(GloveTest, ReadsWordsAndNumbers) {
  const Glove glove = read("the 0.5 -1\n, 1e-2 +2 \n\nthe 9 9\n");
  EXPECT_EQ(glove.words, (std::vector<std::string>{"the", ","}));
  EXPECT_TRUE(glove.vectors.equal(torch::tensor({{0.5F, -1.F}, {0.01F, 2.F}})));
  EXPECT_TRUE(glove.contains(","));
  EXPECT_FALSE(glove.contains("a"));
  const std::string zipped = folder_.write_gzip("g.gz", "2 3\na 1 2 3\nb 4 5 6\n");
  EXPECT_EQ(read_glove(zipped).words, (std::vector<std::string>{"a", "b"}));
}

TEST_F(GloveTest, KeepsWantedWordsOnly) {
  const Vocabulary wanted({"b", "x"});
  const Glove glove = read("a 1 2\nb 3 4\n", &wanted);
  EXPECT_EQ(glove.words, (std::vector<std::string>{"b"}));
  EXPECT_TRUE(glove.vectors.equal(torch::tensor({{3.F, 4.F}})));
  EXPECT_NE(input_error([&] { read("a 1 2\n", &wanted); }), "");
}

TEST_F(GloveTest, ErrorsHaveAPosition) {
  EXPECT_EQ(error(""), "g.txt: is empty");
  EXPECT_EQ(error("\n\n"), "g.txt: holds no word vectors");
  EXPECT_EQ(error("a 1 2\nbc 1\n"), "g.txt:2:5: the line has 1 numbers, but the first has 2");
  EXPECT_EQ(error("a 1 2\nbc 1 2 3\n"), "g.txt:2:8: the line has 3 numbers, but the first has 2");
  EXPECT_EQ(error("a 1 2\nb 1 x\n"), "g.txt:2:5: 'x' is not a finite number");
  EXPECT_EQ(error("a 1 2\nb nan 2\n"), "g.txt:2:3: 'nan' is not a finite number");
  EXPECT_EQ(error("a 1 1e39\n"), "g.txt:1:5: '1e39' is not a finite number");
  EXPECT_EQ(error("a 1 2\nb  2\n"), "g.txt:2:3: '' is not a finite number");
  EXPECT_EQ(error("word\n"), "g.txt:1:5: the line has a word, but no numbers");
  EXPECT_EQ(error(" 1 2\n"), "g.txt:1:1: the line starts with a blank where its word should stand");
}

TEST_F(GloveTest, FillsAnEmbedding) {
  const Glove glove = read("a 1 2\nb 3 5\nc 7 1\n");
  const Vocabulary vocabulary({"c", "new", "a"});
  at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(3);
  const torch::Tensor matrix = embedding_matrix(vocabulary, glove, generator);
  ASSERT_EQ(matrix.sizes(), (std::vector<int64_t>{5, 2}));
  EXPECT_TRUE(matrix[0].equal(torch::zeros({2})));
  EXPECT_TRUE(matrix[2].equal(torch::tensor({7.F, 1.F})));
  EXPECT_TRUE(matrix[4].equal(torch::tensor({1.F, 2.F})));
  EXPECT_GT(matrix[1].norm().item<float>(), 0.F);
  EXPECT_FALSE(matrix[1].equal(matrix[3]));
  at::Generator same = at::make_generator<at::CPUGeneratorImpl>(3);
  EXPECT_TRUE(embedding_matrix(vocabulary, glove, same).equal(matrix));
}

}  // namespace
}  // namespace bilevel
