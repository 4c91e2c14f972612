#include "bilevel/data/ngrams.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include <cmath>

#include "bilevel/core/error.h"
#include "bilevel/data/table.h"
#include "tests/files.h"

namespace bilevel {
namespace {

constexpr int64_t kBuckets = 1 << 18;

NgramOptions plain(int64_t word_max, int64_t char_max) {
  NgramOptions options;
  options.word_max = word_max;
  options.char_max = char_max;
  options.idf = false;
  options.normalize = false;
  options.sublinear_tf = false;
  return options;
}

float value_at(const SparseRows& rows, std::string_view gram) {
  return rows.to_dense()[0][static_cast<int64_t>(stable_hash(gram) % kBuckets)].item<float>();
}

TEST(Ngrams, HashIsTheSameEverywhere) {
  // FNV-1a of "" and of "a" are published; the finalizer was computed apart.
  EXPECT_EQ(stable_hash(""), 0xEFD01F60BA992926ULL);
  EXPECT_EQ(stable_hash("a"), 0x82A2A958A9BECE5BULL);
  EXPECT_EQ(stable_hash("foobar"), 0x2C22194922D1672BULL);
}

TEST(Ngrams, CountsWords) {
  const SparseRows rows = NgramHasher(plain(2, 0)).apply({"The cat, the Cat!"});
  EXPECT_EQ(rows.width, kBuckets);
  EXPECT_EQ(rows.entries(), 4);
  EXPECT_EQ(value_at(rows, "wthe"), 2.F);
  EXPECT_EQ(value_at(rows, "wcat"), 2.F);
  EXPECT_EQ(value_at(rows, "wthe cat"), 2.F);
  EXPECT_EQ(value_at(rows, "wcat the"), 1.F);
}

TEST(Ngrams, CountsCharactersWithinPieces) {
  NgramOptions options = plain(0, 3);
  const SparseRows rows = NgramHasher(options).apply({"ab \u00E9!"});
  // " ab ": 3 bigrams, 2 trigrams; " e! " with e acute as one character: the same.
  EXPECT_EQ(rows.entries(), 10);
  for (const char* gram :
       {"c a", "cab", "cb ", "c ab", "cab ", "c \u00E9", "c\u00E9!", "c! ", "c \u00E9!", "c\u00E9! "}) {
    EXPECT_EQ(value_at(rows, gram), 1.F) << gram;
  }
  options.within_words = false;
  const SparseRows across = NgramHasher(options).apply({" ab  c "});
  EXPECT_EQ(across.entries(), 5 + 4);  // " ab c "
  EXPECT_EQ(value_at(across, "cb c"), 1.F);
}

TEST(Ngrams, WeightsByIdfAndNormalizes) {
  NgramOptions options = plain(1, 0);
  options.sublinear_tf = true;
  options.idf = true;
  options.normalize = true;
  NgramHasher hasher(options);
  hasher.fit({"a b", "a c", "a a"});
  const SparseRows rows = hasher.apply({"a a b"});
  const double a = (1 + std::log(2.0)) * (std::log(4.0 / 4.0) + 1);
  const double b = std::log(4.0 / 2.0) + 1;
  const double length = std::sqrt(a * a + b * b);
  EXPECT_NEAR(value_at(rows, "wa"), a / length, 1e-6);
  EXPECT_NEAR(value_at(rows, "wb"), b / length, 1e-6);
}

TEST(Ngrams, BlocksAreWeighted) {
  NgramOptions options;
  options.word_weight = 3.0;
  options.char_weight = 4.0;
  NgramHasher hasher(options);
  hasher.fit({"some text", "other words"});
  const SparseRows rows = hasher.apply({"some words here", "", "!!!"});
  EXPECT_NEAR(rows.select({0}).values.norm().item<double>(), 1.0,
              1e-4);  // less where the blocks share a bucket
  EXPECT_EQ(rows.select({1}).entries(), 0);
  EXPECT_NEAR(rows.select({2}).values.norm().item<double>(), 0.8, 1e-4);  // characters only
  const auto* indices = rows.indices.const_data_ptr<int64_t>();
  const auto* offsets = rows.offsets.const_data_ptr<int64_t>();
  for (int64_t i = offsets[0] + 1; i < offsets[1]; ++i) EXPECT_LT(indices[i - 1], indices[i]);
}

TEST(Ngrams, FewBucketsCollide) {
  NgramOptions options = plain(2, 4);
  options.buckets = 4;
  const SparseRows rows = NgramHasher(options).apply({"many words make all buckets meet"});
  EXPECT_EQ(rows.entries(), 4);
  EXPECT_EQ(rows.width, 4);
  options.word_weight = options.char_weight = 1.0;
  const double all = rows.values.sum().item<double>() * std::sqrt(2.0);
  EXPECT_NEAR(all, std::round(all), 1e-4);
}

TEST(Ngrams, StateGoesThroughJson) {
  NgramOptions options;
  options.buckets = 1 << 10;
  options.char_max = 3;
  options.word_weight = 0.3;
  NgramHasher hasher(options);
  hasher.fit({"some text", "other text"});
  const NgramHasher back =
      NgramHasher::from_json(nlohmann::json::parse(hasher.to_json().dump()), hasher.idf().clone());
  const SparseRows a = hasher.apply({"a text of some words"});
  const SparseRows b = back.apply({"a text of some words"});
  EXPECT_TRUE(a.indices.equal(b.indices));
  EXPECT_TRUE(a.values.equal(b.values));
  EXPECT_THROW(NgramHasher::from_json(hasher.to_json(), torch::zeros({2, 3})), FileError);
  EXPECT_THROW(NgramHasher::from_json(nlohmann::json::object(), {}), FileError);
}

TEST(Ngrams, RefusesImpossibleOptions) {
  const auto refused = [](auto change) {
    NgramOptions options;
    change(options);
    return !input_error([&] { NgramHasher{options}; }).empty();
  };
  EXPECT_TRUE(refused([](NgramOptions& o) { o.buckets = 1000; }));
  EXPECT_TRUE(refused([](NgramOptions& o) { o.buckets = 0; }));
  EXPECT_TRUE(refused([](NgramOptions& o) { o.word_min = 0; }));
  EXPECT_TRUE(refused([](NgramOptions& o) { o.word_min = 3; }));
  EXPECT_TRUE(refused([](NgramOptions& o) { o.char_max = -1; }));
  EXPECT_TRUE(refused([](NgramOptions& o) { o.word_max = o.char_max = 0; }));
  EXPECT_TRUE(refused([](NgramOptions& o) { o.word_weight = 0; }));
  EXPECT_TRUE(refused([](NgramOptions& o) { o.char_weight = INFINITY; }));
  EXPECT_FALSE(refused([](NgramOptions&) {}));
}

TEST(RealNgrams, TweetsGiveAboutTwoHundredEntries) {
  SKIP_WITHOUT_DATA();
  const Table table = read_table(data_folder() + "/sms_spam/sms.tsv.gz");
  std::vector<std::string_view> texts;
  for (size_t row = 0; row < 4000; ++row) texts.push_back(table.cell(row, table.column("text")));
  NgramHasher hasher;
  hasher.fit(texts);
  const SparseRows rows = hasher.apply(texts);
  EXPECT_EQ(rows.rows(), 4000);
  EXPECT_NEAR(static_cast<double>(rows.entries()) / 4000, 194.4,
              2.0);  // measured once by an independent program
  EXPECT_TRUE(rows.values.isfinite().all().item<bool>());
}

}  // namespace
}  // namespace bilevel
