#include "bilevel/data/word_piece.h"

#include <fmt/format.h>
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "bilevel/core/error.h"
#include "bilevel/core/files.h"
#include "bilevel/core/json_file.h"
#include "bilevel/data/characters.h"

namespace bilevel {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLongestWord = 100;  // characters
constexpr std::array<std::string_view, 5> kOwnTokens{"[CLS]", "[MASK]", "[PAD]", "[SEP]", "[UNK]"};

utf8proc_category_t category_of(char32_t c) { return utf8proc_category(static_cast<utf8proc_int32_t>(c)); }

char32_t lower_case_of(char32_t c) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

bool is_white_space(char32_t c) {
  const utf8proc_category_t category = category_of(c);
  return (c >= 0x09 && c <= 0x0D) || c == 0x85 || category == UTF8PROC_CATEGORY_ZS ||
         category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

/// What cleaning leaves out: control, format and private characters, surrogates and the mark of broken UTF-8.
bool is_noise(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  const utf8proc_category_t category = category_of(c);
  return c == 0xFFFD || category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF ||
         category == UTF8PROC_CATEGORY_CO || category == UTF8PROC_CATEGORY_CS;
}

bool is_chinese(char32_t c) {
  constexpr std::array<std::pair<char32_t, char32_t>, 8> kRanges{{{0x3400, 0x4DBF},
                                                                  {0x4E00, 0x9FFF},
                                                                  {0xF900, 0xFAFF},
                                                                  {0x20000, 0x2A6DF},
                                                                  {0x2A700, 0x2B73F},
                                                                  {0x2B740, 0x2B81F},
                                                                  {0x2B820, 0x2CEAF},
                                                                  {0x2F800, 0x2FA1F}}};
  return std::ranges::any_of(kRanges, [c](const auto& r) { return c >= r.first && c <= r.second; });
}

/// Of ASCII also the symbols, such as $ and +.
bool parts_words(char32_t c) {
  if (c < 0x80) return std::ispunct(static_cast<int>(c)) != 0;
  const utf8proc_category_t category = category_of(c);
  return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool is_ascii(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

/// Valid UTF-8 in form NFD, without the marks.
std::string without_accents(const std::string& text) {
  utf8proc_uint8_t* made = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
      &made, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE));
  if (size < 0) return text;
  const std::string_view apart(reinterpret_cast<const char*>(made), static_cast<size_t>(size));
  std::string result;
  for (size_t at = 0; at < apart.size();) {
    const size_t begin = at;
    if (category_of(next_code_point(apart, at)) != UTF8PROC_CATEGORY_MN)
      result += apart.substr(begin, at - begin);
  }
  std::free(made);
  return result;
}

std::vector<std::string> lines_of(const std::string& bytes) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    lines.push_back(bytes.substr(begin, end - begin));
    if (lines.back().ends_with('\r')) lines.back().pop_back();
    begin = end + 1;
  }
  return lines;
}

std::vector<std::string> tokens_by_number(const nlohmann::json& vocabulary, const fs::path& path) {
  std::vector<std::string> tokens(vocabulary.size());
  for (const auto& [token, number] : vocabulary.items()) {
    const auto at = number.get<size_t>();
    if (at >= tokens.size())
      throw InputError(
          fmt::format("{}: the token '{}' has the number {} of {}", path.string(), token, at, tokens.size()));
    tokens[at] = token;
  }
  return tokens;
}

}  // namespace

WordPiece::WordPiece(const std::vector<std::string>& vocabulary, const WordPieceOptions& options)
    : options_(options), size_(static_cast<int64_t>(vocabulary.size())) {
  for (int64_t number = 0; number < size_; ++number) {
    const std::string& token = vocabulary[static_cast<size_t>(number)];
    if (std::ranges::count(kOwnTokens, token) > 0) own_.insert_or_assign(token, number);
    const bool inside = token.starts_with("##") && token.size() > 2;
    (inside ? goes_on_ : begins_).insert_or_assign(inside ? token.substr(2) : token, number);
    longest_ = std::max(longest_, token.size());
  }
  const auto number_of = [&](std::string_view token) {
    const auto found = own_.find(token);
    if (found == own_.end())
      throw InputError(fmt::format("the vocabulary of {} tokens lacks {}", size_, token));
    return found->second;
  };
  first_ = number_of("[CLS]");
  last_ = number_of("[SEP]");
  unknown_ = number_of("[UNK]");
}

WordPiece WordPiece::of_folder(const std::string& folder) {
  const fs::path words = fs::path(folder) / "vocab.txt", tokenizer = fs::path(folder) / "tokenizer.json",
                 config = fs::path(folder) / "tokenizer_config.json";
  if (!fs::exists(words) && !fs::exists(tokenizer))
    throw InputError(fmt::format("{}: there is neither vocab.txt nor tokenizer.json", folder));
  const nlohmann::json whole =
      fs::exists(tokenizer) ? parse_json_file(tokenizer.string()) : nlohmann::json::object();
  WordPieceOptions options;
  try {
    const nlohmann::json normalizer = whole.value("normalizer", nlohmann::json());
    const auto flag = [](const nlohmann::json& from, const char* name, bool otherwise) {
      const auto found = from.find(name);
      return found == from.end() || found->is_null() ? otherwise : found->get<bool>();
    };
    if (normalizer.is_object()) {
      if (const std::string type = normalizer.value("type", ""); type != "BertNormalizer")
        throw InputError(
            fmt::format("{}: the normalizer is {}, not BertNormalizer", tokenizer.string(), type));
      options.clean = flag(normalizer, "clean_text", true);
      options.part_ideographs = flag(normalizer, "handle_chinese_chars", true);
      options.lower_case = flag(normalizer, "lowercase", true);
      options.strip_accents = flag(normalizer, "strip_accents", options.lower_case);
    } else if (fs::exists(config)) {
      const nlohmann::json given = parse_json_file(config.string());
      options.part_ideographs = flag(given, "tokenize_chinese_chars", true);
      options.lower_case = flag(given, "do_lower_case", true);
      options.strip_accents = flag(given, "strip_accents", options.lower_case);
    }
    if (fs::exists(words))
      return in_context(words.string(),
                        [&] { return WordPiece(lines_of(read_file(words.string())), options); });
    const nlohmann::json& model = whole.at("model");
    if (const std::string type = model.value("type", ""); type != "WordPiece")
      throw InputError(fmt::format("{}: the model is {}, not WordPiece", tokenizer.string(), type));
    return in_context(tokenizer.string(),
                      [&] { return WordPiece(tokens_by_number(model.at("vocab"), tokenizer), options); });
  } catch (const nlohmann::json::exception& error) {
    throw InputError(fmt::format("{}: is not the description of a tokenizer: {}", folder, error.what()));
  }
}

std::vector<int64_t> WordPiece::encode(std::string_view text, size_t most) const {
  std::vector<int64_t> tokens{first_};
  size_t begin = 0;
  for (size_t at = 0; tokens.size() + 1 < most && (at = text.find('[', at)) < text.size();) {
    const auto found =
        std::ranges::find_if(own_, [&](const auto& own) { return text.substr(at).starts_with(own.first); });
    if (found == own_.end()) {
      ++at;
      continue;
    }
    add_words(text.substr(begin, at - begin), most - 1, tokens);
    tokens.push_back(found->second);
    begin = at += found->first.size();
  }
  add_words(text.substr(begin), most - 1, tokens);
  tokens.resize(std::min(tokens.size(), most - 1));
  tokens.push_back(last_);
  return tokens;
}

std::string WordPiece::cleaned(std::string_view text) const {
  std::string result;
  result.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const char32_t c = next_code_point(text, at);
    if (options_.clean && is_noise(c)) continue;
    if (options_.clean && is_white_space(c)) {
      result += ' ';
    } else if (options_.part_ideographs && is_chinese(c)) {
      result += ' ';
      append_utf8(result, c);
      result += ' ';
    } else {
      append_utf8(result, c);
    }
  }
  return options_.strip_accents && !is_ascii(result) ? without_accents(result) : result;
}

void WordPiece::add_words(std::string_view given, size_t most, std::vector<int64_t>& tokens) const {
  const std::string text = cleaned(given);
  std::string word;
  const auto close = [&] {
    if (!word.empty()) add_pieces(word, tokens);
    word.clear();
  };
  for (size_t at = 0; at < text.size() && tokens.size() < most;) {
    char32_t c = next_code_point(text, at);
    if (is_white_space(c)) {
      close();
      continue;
    }
    const bool dotted =
        options_.lower_case && c == 0x130;  // the one letter whose lower case is two characters
    if (options_.lower_case) c = dotted ? U'i' : lower_case_of(c);
    const bool alone = parts_words(c);
    if (alone) close();
    append_utf8(word, c);
    if (dotted) append_utf8(word, 0x307);
    if (alone) close();
  }
  close();
}

void WordPiece::add_pieces(std::string_view word, std::vector<int64_t>& tokens) const {
  const auto inside = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; };  // a character
  const size_t before = tokens.size();
  bool known = std::ranges::count_if(word, [&](char c) { return !inside(c); }) <= kLongestWord;
  for (size_t begin = 0; known && begin < word.size();) {
    const Numbers& numbers = begin == 0 ? begins_ : goes_on_;
    size_t end = std::min(word.size(), begin + longest_);
    auto found = numbers.end();
    for (; end > begin; --end) {
      if (end < word.size() && inside(word[end])) continue;
      found = numbers.find(word.substr(begin, end - begin));
      if (found != numbers.end()) break;
    }
    known = found != numbers.end();
    if (known) tokens.push_back(found->second);
    begin = end;
  }
  if (known) return;
  tokens.resize(before);
  tokens.push_back(unknown_);
}

}  // namespace bilevel
