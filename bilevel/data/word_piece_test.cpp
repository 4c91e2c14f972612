#include "bilevel/data/word_piece.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "bilevel/core/error.h"
#include "tests/support.h"

namespace bilevel::word_piece_test {
namespace {

constexpr const char* kVocabulary =
    "[PAD] [UNK] [CLS] [SEP] [MASK] ! $ + , . : ? ' ( ) [ ] # - 5 ##0 ##5 un ##believ ##able the fox ##es "
    "jump naive cafe i ##stan ##bul w ##e ##l ##t a b ##b c ##c e ##i strasse stra ##ß η αλεπου ##δες "
    "γρηγορη лис ##ица еж ##ик быстр ##ая الثعلب ال ##بني سريع שועל ה ##מהיר लोमड ##ी तज भर ต ##น ##้ น ჩქარი "
    "მე ##ლა აღ 敏 捷 的 狐 狸 す ##は ##やい きつね ᄈ ##ᅡ ##ᄅ ##ᅳ ##ᆫ ա ##ղ ##վես և 。 ، ؟";

std::vector<std::string> words_of(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::string tokens_of(const WordPiece& tokenizer, const std::string& text, size_t most = 256) {
  static const std::vector<std::string> vocabulary = words_of(kVocabulary);
  std::string shown;
  for (const int64_t token : tokenizer.encode(text, most))
    shown += (shown.empty() ? "" : " ") + vocabulary.at(static_cast<size_t>(token));
  return shown;
}

// What BertWordPieceTokenizer of the Python package `tokenizers` 0.23 makes of them: in lower case without accents, and as they are.
struct Expected {
  std::string text, lowered, as_they_are;
};
const Expected kExpected[] = {
    {"Unbelievable, the FOXES jump!", "[CLS] un ##believ ##able , the fox ##es jump ! [SEP]",
     "[CLS] [UNK] , the [UNK] jump ! [SEP]"},
    {"naïve Café: $5.05 (50)", "[CLS] naive cafe : $ 5 . [UNK] ( 5 ##0 ) [SEP]",
     "[CLS] [UNK] [UNK] : $ 5 . [UNK] ( 5 ##0 ) [SEP]"},
    {"İstanbul'un  welt", "[CLS] i ##stan ##bul ' un w ##e ##l ##t [SEP]",
     "[CLS] [UNK] ' un w ##e ##l ##t [SEP]"},
    {"Straße STRASSE", "[CLS] stra ##ß ##e strasse [SEP]", "[CLS] [UNK] [UNK] [SEP]"},
    {"Η γρήγορη αλεπού, αλεπούδες", "[CLS] η γρηγορη αλεπου , αλεπου ##δες [SEP]",
     "[CLS] [UNK] [UNK] [UNK] , [UNK] [SEP]"},
    {"Быстрая лисица; ёжик", "[CLS] быстр ##ая лис ##ица [UNK] еж ##ик [SEP]",
     "[CLS] [UNK] лис ##ица [UNK] [UNK] [SEP]"},
    {"الثعلب البني، السريع؟", "[CLS] الثعلب ال ##بني ، [UNK] ؟ [SEP]",
     "[CLS] الثعلب ال ##بني ، [UNK] ؟ [SEP]"},
    {"השועל המהיר", "[CLS] [UNK] ה ##מהיר [SEP]", "[CLS] [UNK] ה ##מהיר [SEP]"},
    {"तेज़ भूरी लोमड़ी", "[CLS] तज भर ##ी लोमड ##ी [SEP]", "[CLS] [UNK] [UNK] [UNK] [SEP]"},
    {"สุนัข ต้น", "[CLS] [UNK] ต ##น [SEP]", "[CLS] [UNK] ต ##้ ##น [SEP]"},
    {"ჩქარი მელა აღ", "[CLS] ჩქარი მე ##ლა აღ [SEP]", "[CLS] ჩქარი მე ##ლა აღ [SEP]"},
    {"敏捷的狐狸。a的b", "[CLS] 敏 捷 的 狐 狸 。 a 的 b [SEP]", "[CLS] 敏 捷 的 狐 狸 。 a 的 b [SEP]"},
    {"すばやい きつね、ずば", "[CLS] す ##は ##やい きつね [UNK] す ##は [SEP]",
     "[CLS] [UNK] きつね [UNK] [UNK] [SEP]"},
    {"빠른", "[CLS] ᄈ ##ᅡ ##ᄅ ##ᅳ ##ᆫ [SEP]", "[CLS] [UNK] [SEP]"},
    {"Աղվես և աղ", "[CLS] ա ##ղ ##վես և ա ##ղ [SEP]", "[CLS] [UNK] և ա ##ղ [SEP]"},
    {"a\u200bb a\u00adb a\u00a0b a\u2028b\007c", "[CLS] a ##b a ##b a b a b ##c [SEP]",
     "[CLS] a ##b a ##b a b a b ##c [SEP]"},
    {"e\u0301i Ei", "[CLS] e ##i e ##i [SEP]", "[CLS] [UNK] [UNK] [SEP]"},
    {"[MASK] b[SEP]a [mask] [[CLS]", "[CLS] [MASK] b [SEP] a [ [UNK] ] [ [CLS] [SEP]",
     "[CLS] [MASK] b [SEP] a [ [UNK] ] [ [CLS] [SEP]"},
    {"b\ufffdb 🦊 [", "[CLS] b ##b [UNK] [ [SEP]", "[CLS] b ##b [UNK] [ [SEP]"},
    {" \t\n ", "[CLS] [SEP]", "[CLS] [SEP]"},
    {"", "[CLS] [SEP]", "[CLS] [SEP]"},
};

TEST(WordPiece, MakesTheTokensOfTheReferenceInTenScripts) {
  const WordPiece lowered(words_of(kVocabulary));
  const WordPiece as_they_are(words_of(kVocabulary), {.strip_accents = false, .lower_case = false});
  for (const Expected& expected : kExpected) {
    EXPECT_EQ(tokens_of(lowered, expected.text), expected.lowered) << expected.text;
    EXPECT_EQ(tokens_of(as_they_are, expected.text), expected.as_they_are) << expected.text;
  }
}

TEST(WordPiece, AWordOfMoreThanAHundredCharactersIsUnknown) {
  const WordPiece tokenizer(words_of(kVocabulary));
  EXPECT_EQ(tokenizer.encode(std::string(100, 'b'), 256).size(), 102U);
  EXPECT_EQ(tokens_of(tokenizer, std::string(101, 'b')), "[CLS] [UNK] [SEP]");
  std::string greek;  // two bytes a character
  for (int i = 0; i < 100; ++i) greek += "\u03b7";
  EXPECT_EQ(tokens_of(tokenizer, greek + " a"), "[CLS] [UNK] a [SEP]");  // no piece \u03b7 inside a word
}

TEST(WordPiece, LeavesOutTheLastTokensOfALongText) {
  const WordPiece tokenizer(words_of(kVocabulary));
  EXPECT_EQ(tokens_of(tokenizer, "the unbelievable fox", 5), "[CLS] the un ##believ [SEP]");
  EXPECT_EQ(tokens_of(tokenizer, "the [MASK] fox", 4), "[CLS] the [MASK] [SEP]");
  EXPECT_EQ(tokens_of(tokenizer, "the fox", 2), "[CLS] [SEP]");
}

TEST(WordPiece, BrokenUtf8IsLeftOut) {
  const WordPiece tokenizer(words_of(kVocabulary));
  EXPECT_EQ(tokens_of(tokenizer, "the f\xffox \xc3"), "[CLS] the fox [SEP]");
  EXPECT_EQ(tokens_of(tokenizer, "\xed\xa0\x80 naïve"), "[CLS] naive [SEP]");  // a surrogate
}

class Folders : public testing::Test {
 protected:
  std::string tokens(const std::string& text) const {
    std::string shown;
    for (const int64_t token : WordPiece::of_folder(folder_.path("")).encode(text, 256))
      shown += (shown.empty() ? "" : " ") + std::to_string(token);
    return shown;
  }
  std::string refusal() const {
    return message_of<Error>([&] { WordPiece::of_folder(folder_.path("")); });
  }

  TemporaryFolder folder_;
};

TEST_F(Folders, ReadVocabularyAndOptions) {
  folder_.write("vocab.txt", "[UNK]\r\n[CLS]\r\n[SEP]\r\nfox\r\nFox\r\n");
  EXPECT_EQ(tokens("Fox"), "1 3 2");
  folder_.write("tokenizer_config.json", R"({"do_lower_case": false, "strip_accents": null})");
  EXPECT_EQ(tokens("Fox F\u00f3x"), "1 4 0 2");
  folder_.write("tokenizer.json",
                R"({"normalizer": {"type": "BertNormalizer", "lowercase": true, "strip_accents": null}})");
  EXPECT_EQ(tokens("Fox F\u00f3x"), "1 3 3 2");
}

TEST_F(Folders, ReadTheVocabularyOfTokenizerJson) {
  folder_.write(
      "tokenizer.json",
      R"({"model": {"type": "WordPiece", "vocab": {"fox": 3, "[SEP]": 0, "[UNK]": 1, "[CLS]": 2}}})");
  EXPECT_EQ(tokens("Fox dog"), "2 3 1 0");
}

TEST_F(Folders, TellWhatTheyLack) {
  EXPECT_CONTAINS(refusal(), "there is neither vocab.txt nor tokenizer.json");
  folder_.write("vocab.txt", "[UNK]\n[SEP]\n");
  EXPECT_CONTAINS(refusal(), "vocab.txt: the vocabulary of 2 tokens lacks [CLS]");
  std::filesystem::remove(folder_.path("vocab.txt"));
  folder_.write("tokenizer.json", R"({"model": {"type": "BPE", "vocab": {}}})");
  EXPECT_CONTAINS(refusal(), "tokenizer.json: the model is BPE, not WordPiece");
  folder_.write("tokenizer.json",
                R"({"normalizer": {"type": "Lowercase"}, "model": {"type": "WordPiece", "vocab": {}}})");
  EXPECT_CONTAINS(refusal(), "the normalizer is Lowercase, not BertNormalizer");
  folder_.write("tokenizer.json", "{");
  EXPECT_CONTAINS(refusal(), "tokenizer.json: ");
  folder_.write("tokenizer.json", R"({"model": {"type": "WordPiece", "vocab": {"[CLS]": 7}}})");
  EXPECT_CONTAINS(refusal(), "the token '[CLS]' has the number 7 of 1");
}

}  // namespace
}  // namespace bilevel::word_piece_test
