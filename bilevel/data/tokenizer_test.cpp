#include "bilevel/data/tokenizer.h"

#include <gtest/gtest.h>
#include <torch/types.h>

#include "bilevel/core/error.h"
#include "bilevel/data/glove.h"
#include "bilevel/data/table.h"
#include "bilevel/data/vocabulary.h"
#include "tests/files.h"

namespace bilevel {
namespace {

using Words = std::vector<std::string>;

TEST(Text, LowersLettersOfManyScripts) {
  EXPECT_EQ(lower_case("ABC xyz 1!"), "abc xyz 1!");
  EXPECT_EQ(lower_case("\u00C4\u00D6\u00DC\u00D7\u00DF"), "\u00E4\u00F6\u00FC\u00D7\u00DF");
  EXPECT_EQ(lower_case("\u0141\u00D3D\u0179"), "\u0142\u00F3d\u017A");
  EXPECT_EQ(lower_case("\u0178\u0130"), "\u00FFi");
  EXPECT_EQ(lower_case("\u0391\u03A9\u0386\u0388\u038F"), "\u03B1\u03C9\u03AC\u03AD\u03CE");
  EXPECT_EQ(lower_case("\u041F\u0401\u0490"), "\u043F\u0451\u0491");
  EXPECT_EQ(lower_case("\u1E9E\u1EA0"), "\u00DF\u1EA1");
  EXPECT_EQ(lower_case("\u4E2D\U0001F600\xFFz"), "\u4E2D\U0001F600\xFFz");
}

TEST(Text, SplitsWordsAndPunctuation) {
  EXPECT_EQ(tokenize("Hello, World!"), (Words{"hello", ",", "world", "!"}));
  EXPECT_EQ(tokenize("  \t\u00A0 "), Words{});
  EXPECT_EQ(tokenize("well-known 3.14 and 1,000. x_1"),
            (Words{"well", "-", "known", "3.14", "and", "1,000", ".", "x_1"}));
  EXPECT_EQ(tokenize("what?!?! no!!!!! yes.... or -- not"),
            (Words{"what", "?", "!", "?", "!", "no", "!", "!", "!", "yes", "...", "or", "--", "not"}));
  EXPECT_EQ(tokenize("na\u00EFve \u00ABcaf\u00E9\u00BB"),
            (Words{"na\u00EFve", "\u00AB", "caf\u00E9", "\u00BB"}));
  EXPECT_EQ(tokenize("\u4E2D\u6587 ok\U0001F600\U0001F600"),
            (Words{"\u4E2D", "\u6587", "ok", "\U0001F600", "\U0001F600"}));
  EXPECT_EQ(tokenize("@user #tag http://a.b"),
            (Words{"@", "user", "#", "tag", "http", ":", "/", "/", "a", ".", "b"}));
}

TEST(Text, PartsContractions) {
  EXPECT_EQ(tokenize("Don't can't it's we're I\u2019ll"),
            (Words{"do", "n't", "ca", "n't", "it", "'s", "we", "'re", "i", "'ll"}));
  EXPECT_EQ(tokenize("does n't it 's 'quoted' o'clock"),
            (Words{"does", "n't", "it", "'s", "'", "quoted", "'", "o'clock"}));
}

TEST(Text, KeepsEmoticons) {
  EXPECT_EQ(tokenize("good :) bad :-( love <3 :D xD x-D"),
            (Words{"good", ":)", "bad", ":-(", "love", "<3", ":d", "xd", "x-d"}));
  EXPECT_EQ(tokenize("at 10:30 (in 8) end:)"),
            (Words{"at", "10", ":", "30", "(", "in", "8", ")", "end", ":", ")"}));
  EXPECT_EQ(tokenize(":'( ok"), (Words{":'(", "ok"}));
}

TEST(Text, VocabularyGivesNumbersByFrequency) {
  const std::vector<Words> texts = {{"b", "a", "c"}, {"a", "b", "d"}, {"a", "c"}};
  const Vocabulary vocabulary = Vocabulary::fit(texts, {.min_count = 2, .max_size = 10});
  EXPECT_EQ(vocabulary.words(), (Words{"a", "b", "c"}));
  EXPECT_EQ(vocabulary.size(), 5);
  EXPECT_EQ(vocabulary.id("a"), 2);
  EXPECT_EQ(vocabulary.id("d"), Vocabulary::kUnknown);
  EXPECT_EQ(Vocabulary::fit(texts, {.min_count = 1, .max_size = 2}).words(), (Words{"a", "b"}));
  EXPECT_THROW(Vocabulary::fit(texts, {.min_count = 0}), InputError);
  EXPECT_THROW(Vocabulary::fit(texts, {.max_size = 0}), InputError);
  EXPECT_THROW(Vocabulary({"a", "a"}), InputError);
}

TEST(Text, VocabularyGoesThroughJson) {
  const Vocabulary vocabulary({"\u00E9", "b\"", "c"});
  const Vocabulary back = Vocabulary::from_json(nlohmann::json::parse(vocabulary.to_json().dump()));
  EXPECT_EQ(back.words(), vocabulary.words());
  EXPECT_EQ(back.id("c"), 4);
  EXPECT_THROW(Vocabulary::from_json(nlohmann::json::parse("{}")), FileError);
  EXPECT_THROW(Vocabulary::from_json(nlohmann::json::parse("{\"words\": [\"a\", \"a\"]}")), FileError);
}

TEST(Text, BatchesArePadded) {
  const Vocabulary vocabulary({"a", "b"});
  const TokenRows rows = encode({{"a", "b", "z", "a"}, {}, {"b"}}, vocabulary, 3);
  EXPECT_EQ(rows.rows(), 3);
  EXPECT_EQ(rows.length(0), 3);
  const PaddedBatch batch = collate(rows, {2, 0, 1});
  EXPECT_TRUE(batch.ids.equal(torch::tensor({{3, 0, 0}, {2, 3, 1}, {1, 0, 0}}, torch::kInt64)));
  EXPECT_TRUE(batch.lengths.equal(torch::tensor({1, 3, 1}, torch::kInt64)));
  EXPECT_EQ(collate(rows, {2}).ids.size(1), 1);
  EXPECT_THROW(collate(rows, {3}), std::out_of_range);
  EXPECT_THROW(encode({}, vocabulary, 0), InputError);
}

TEST(RealText, TokensAreMostlyKnownToGlove) {
  SKIP_WITHOUT_DATA();
  const Glove glove = read_glove(data_folder() + "/glove/glove.6B.50d.subset.txt.gz");
  EXPECT_EQ(glove.words.size(), 9186U);
  EXPECT_EQ(glove.dimension(), 50);
  const std::pair<const char*, double> files[] = {{"sentiment140/train_sample.tsv.gz", 0.8},
                                                  {"sms_spam/sms.tsv.gz", 0.7}};
  for (const auto& [name, least] : files) {
    const Table table = read_table(data_folder() + "/" + name);
    const size_t column = table.column("text");
    int64_t known = 0;
    int64_t all = 0;
    for (size_t row = 0; row < table.rows(); ++row) {
      for (const std::string& token : tokenize(table.cell(row, column))) {
        ++all;
        known += glove.contains(token) ? 1 : 0;
      }
    }
    EXPECT_GT(static_cast<double>(known) / static_cast<double>(all), least) << name;
  }
}

}  // namespace
}  // namespace bilevel
