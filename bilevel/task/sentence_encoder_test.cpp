#include "bilevel/task/sentence_encoder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <optional>

#include "bilevel/core/error.h"
#include "bilevel/task/sentence_features.h"
#include "tests/support.h"
#include "tests/tiny_bert.h"

namespace bilevel {
namespace {

using torch::Tensor;

class Sentences : public testing::Test {
 protected:
  Sentences() : encoder_(write_tiny_encoder(folder_ / "tiny")) {}

  /// What a folder is refused for, when `name` holds `content` (nothing: is gone).
  std::string refusal(const std::string& name, const char* content) {
    write_tiny_encoder(folder_ / "other");
    const std::filesystem::path path = folder_ / "other" / name;
    if (content == nullptr)
      std::filesystem::remove(path);
    else
      write_file_atomically(path.string(), content);
    return message_of<Error>([&] { SentenceEncoder(folder_.path("other")); });
  }

  TemporaryFolder folder_;
  SentenceEncoder encoder_;
};

TEST_F(Sentences, VectorsAreMeansOverTheTokensOfLengthOne) {
  const BertConfig config = tiny_bert_config();
  const Bert bert(config, tiny_bert_tensors(config));
  const Tensor found = encoder_.encode({"Words of spam", "", "ham"});
  ASSERT_EQ(found.sizes(), (std::vector<int64_t>{3, 8}));
  const std::vector<std::vector<int64_t>> tokens{{2, 5, 6, 7, 3}, {2, 3}, {2, 8, 9, 3}};
  for (int64_t row = 0; row < 3; ++row) {
    const Tensor mean = bert.mean_vectors(torch::tensor(tokens[static_cast<size_t>(row)]).unsqueeze(0))[0][0];
    EXPECT_LT(distance(found[row], mean / mean.norm()), 1e-6) << row;
  }
}

TEST_F(Sentences, SeveralLayersStandBesideEachOther) {
  const BertConfig config = tiny_bert_config();
  const Bert bert(config, tiny_bert_tensors(config));
  SentenceEncoder two(folder_.path("tiny"), torch::kCPU, 2);
  const Tensor means = bert.mean_vectors(torch::tensor({{2, 8, 9, 3}}), 2)[0];
  EXPECT_LT(distance(two.encode({"ham"})[0], (means / means.norm(2, 1, true)).flatten()), 1e-6);
  const auto shared = std::make_shared<SentenceEncoder>(folder_.path("tiny"), torch::kCPU, 9);
  EXPECT_EQ(shared->layers(), 2) << "of an encoder with fewer layers all";
  const Tensor features = SentenceFeatures(shared, FeaturesFrom::encoder).dense({"ham", "spam"});
  EXPECT_LT(distance(features.norm(2, 1), torch::ones({2})), 1e-6);
  EXPECT_LT(distance(features[0] * std::sqrt(2), two.encode({"ham"})[0]), 1e-6);
}

TEST_F(Sentences, AVectorDoesNotDependOnTheTextsBesideIt) {
  std::vector<std::string> texts;
  for (int i = 0; i < 700; ++i)
    texts.push_back("words " + std::string(i % 2 == 0 ? "of " : "ham ") + std::to_string(i));
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  const Tensor together = encoder_.encode(views);  // 700 of one length are more than a batch
  SentenceEncoder alone(folder_.path("tiny"));
  for (const size_t i : {0U, 1U, 699U})
    EXPECT_LT(distance(alone.encode({views[i]})[0], together[static_cast<int64_t>(i)]), 1e-6) << i;
}

TEST_F(Sentences, ATextIsEncodedOnce) {
  std::vector<int64_t> told;
  encoder_.tell = [&](int64_t texts) { told.push_back(texts); };
  const Tensor first = encoder_.encode({"spam", "ham", "spam"});
  const Tensor second = encoder_.encode({"ham", "news", "spam"});
  encoder_.encode({"news"});
  EXPECT_EQ(told, (std::vector<int64_t>{2, 1}));
  EXPECT_TRUE(first[0].equal(first[2]));
  EXPECT_TRUE(first[1].equal(second[0]));
  EXPECT_TRUE(first[0].equal(second[2]));
  EXPECT_FALSE(first[0].equal(first[1]));
}

/// A value of an environment variable, for as long as this lives.
class EnvironmentScope {
 public:
  EnvironmentScope(const char* name, const std::string& value) : name_(name) {
    if (const char* before = std::getenv(name); before != nullptr) before_ = before;
    setenv(name, value.c_str(), 1);
  }
  ~EnvironmentScope() {
    if (before_)
      setenv(name_, before_->c_str(), 1);
    else
      unsetenv(name_);
  }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

TEST_F(Sentences, ATextIsEncodedOnceForSeveralRunsWhereThereIsACache) {
  const EnvironmentScope cache("BILEVEL_ENCODER_CACHE", folder_.path("cache"));
  int64_t encoded = 0;
  const auto encode = [&](const std::string& folder, const std::vector<std::string_view>& texts) {
    SentenceEncoder encoder(folder);
    encoder.tell = [&](int64_t count) { encoded += count; };
    return encoder.encode(texts);
  };
  const std::vector<std::string_view> texts{"spam", "ham", "news of work"};
  const Tensor first = encode(folder_.path("tiny"), {"spam", "ham"});
  const Tensor second = encode(folder_.path("tiny"), texts), third = encode(folder_.path("tiny"), texts);
  EXPECT_EQ(encoded, 3);
  EXPECT_TRUE(first.equal(second.slice(0, 0, 2)));
  EXPECT_TRUE(second.equal(third));
  EXPECT_LT(distance(third, encoder_.encode(texts)), 1e-6);
  encode(write_tiny_encoder(folder_ / "other", 1), texts);
  EXPECT_EQ(encoded, 6) << "another encoder has a cache of its own";
  for (const auto& [name, content] : files_in(folder_ / "cache"))
    save_safetensors(name, {{"keys", torch::zeros({1, 2}, torch::kInt64)}});
  EXPECT_CONTAINS(message_of<FileError>([&] { encode(folder_.path("tiny"), texts); }),
                  "does not hold the vectors of this sentence encoder");
}

TEST_F(Sentences, ReadNoMoreTokensThanTheFolderSays) {
  std::string text;
  for (int i = 0; i < 13; ++i) text += "spam ";
  EXPECT_EQ(encoder_.max_tokens(), 16);  // of the configuration
  EXPECT_FALSE(encoder_.encode({text})[0].equal(encoder_.encode({text + "spam"})[0]));
  EXPECT_TRUE(encoder_.encode({text + "spam"})[0].equal(encoder_.encode({text + "spam news"})[0]));
  write_file_atomically(folder_.path("tiny/sentence_bert_config.json"), R"({"max_seq_length": 4})");
  SentenceEncoder shorter(folder_.path("tiny"));
  EXPECT_EQ(shorter.max_tokens(), 4);
  EXPECT_TRUE(shorter.encode({"spam ham"})[0].equal(shorter.encode({"spam ha news"})[0]));
}

TEST_F(Sentences, TellWhatAFolderLacks) {
  EXPECT_CONTAINS(refusal("config.json", nullptr), "there is no config.json");
  EXPECT_CONTAINS(refusal("model.safetensors", nullptr), "there is no model.safetensors");
  EXPECT_CONTAINS(refusal("vocab.txt", nullptr), "there is neither vocab.txt nor tokenizer.json");
  EXPECT_CONTAINS(refusal("model.safetensors", "cut"), "model.safetensors");
  EXPECT_CONTAINS(refusal("vocab.txt", "[CLS]\n[SEP]\n[UNK]\n1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"),
                  "the vocabulary has 13 tokens, but config.json says 12");
  EXPECT_CONTAINS(refusal("1_Pooling/config.json", R"({"pooling_mode_cls_token": true})"),
                  "pooling_mode_cls_token = true; only mean pooling is read");
  EXPECT_CONTAINS(refusal("modules.json", R"([{"path": "3", "type": "a.Dense"}])"),
                  "the module a.Dense is not read");
  EXPECT_CONTAINS(refusal("modules.json", R"([{}])"), "is not the description of a sentence encoder");
}

TEST_F(Sentences, AreFoundByName) {
  EXPECT_CONTAINS(message_of<InputError>([] { sentence_encoder_folder("nowhere"); }),
                  "sentence_encoder = nowhere: there is no such folder, nor one of this name in ");
  const EnvironmentScope places("BILEVEL_ENCODERS", "/nowhere:" + folder_.path(""));
  EXPECT_EQ(std::filesystem::canonical(sentence_encoder_folder("tiny")),
            std::filesystem::canonical(folder_.path("tiny")));
}

TEST_F(Sentences, AFingerprintIsOfTheContent) {
  write_tiny_encoder(folder_ / "same");
  write_tiny_encoder(folder_ / "other", 1);
  EXPECT_EQ(SentenceEncoder(folder_.path("same")).fingerprint(), encoder_.fingerprint());
  EXPECT_NE(SentenceEncoder(folder_.path("other")).fingerprint(), encoder_.fingerprint());
}

TEST_F(Sentences, FeaturesStandBehindNgramsOrAlone) {
  const auto shared = std::make_shared<SentenceEncoder>(folder_.path("tiny"));
  const std::vector<std::string_view> texts{"spam", "ham news"};
  const SentenceFeatures alone(shared, FeaturesFrom::encoder);
  EXPECT_TRUE(alone.alone());
  EXPECT_LT(distance(alone.dense(texts), shared->encode(texts)), 1e-6);

  SparseRowsBuilder builder;
  builder.add_entry(4, 0.5F);
  builder.end_row();
  builder.end_row();
  const SparseRows rows =
      SentenceFeatures(shared, FeaturesFrom::ngrams_and_encoder).behind(builder.finish(5), texts);
  EXPECT_EQ(rows.width, 13);
  const Tensor joined = rows.to_dense();
  EXPECT_TRUE(
      joined.slice(1, 0, 5).equal(torch::tensor({{0.F, 0.F, 0.F, 0.F, 0.5F}, {0.F, 0.F, 0.F, 0.F, 0.F}})));
  const Tensor vectors = joined.slice(1, 5);
  EXPECT_LT(distance(vectors / vectors.norm(2, 1, true), shared->encode(texts)), 1e-6);
  EXPECT_EQ(alone.names().front(), "sentence 0");
  EXPECT_EQ(alone.names().back(), "sentence 7");
}

// The encoder that 'make encoder' fetches. Of the vectors of `transformers` 5.24 (mean pooling, length 1) four entries each.
TEST(MiniLm, VectorsAreThoseOfTheReference) {
  std::string folder;
  try {
    folder = sentence_encoder_folder("minilm");
  } catch (const InputError& error) {
    GTEST_SKIP() << error.what();
  }
  SentenceEncoder encoder(folder);
  EXPECT_EQ(encoder.width(), 384);
  EXPECT_EQ(encoder.max_tokens(), 256);
  std::string longest;
  for (int i = 0; i < 300; ++i) longest += "word ";
  const Tensor found =
      encoder.encode({"The quick brown fox jumps over the lazy dog.", "naïve café: 敏捷的狐狸", longest});
  const Tensor expected = torch::tensor({{0.043934, 0.013113, 0.035794, 0.102064},
                                         {0.010844, -0.034908, 0.002039, -0.027214},
                                         {-0.008124, -0.075985, -0.039012, 0.015241}});
  EXPECT_LT(distance(found.index_select(1, torch::tensor({0, 100, 200, 383})), expected), 1e-5);
}

}  // namespace
}  // namespace bilevel
