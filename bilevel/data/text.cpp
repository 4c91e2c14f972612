#include "bilevel/data/text.h"

#include <fmt/format.h>
#include <torch/types.h>

#include <algorithm>
#include <array>

#include "bilevel/core/error.h"
#include "bilevel/data/sparse_rows.h"

namespace bilevel {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

struct Range {
  char32_t first;
  char32_t last;
};

template <size_t N>
bool within(const std::array<Range, N>& ranges, char32_t c) {
  return std::any_of(ranges.begin(), ranges.end(),
                     [c](const Range& r) { return c >= r.first && c <= r.last; });
}

constexpr std::array<Range, 8> kBlanks{{{0x80, 0xA0},  // controls and the no-break space
                                        {0xAD, 0xAD},  // soft hyphen
                                        {0x1680, 0x1680},
                                        {0x2000, 0x200F},  // spaces, joiners, direction marks
                                        {0x2028, 0x202F},
                                        {0x205F, 0x206F},
                                        {0xFE00, 0xFE0F},  // variation selectors
                                        {0xFEFF, 0xFEFF}}};

constexpr std::array<Range, 7> kIdeographs{{{0x3041, 0x30FA},
                                            {0x30FC, 0x30FF},
                                            {0x31F0, 0x31FF},
                                            {0x3400, 0x4DBF},
                                            {0x4E00, 0x9FFF},
                                            {0xF900, 0xFAFF},
                                            {0x20000, 0x323AF}}};

constexpr std::array<Range, 16> kPunctuation{{{0xA1, 0xA9},
                                              {0xAB, 0xB4},
                                              {0xB6, 0xB9},
                                              {0xBB, 0xBF},
                                              {0xD7, 0xD7},
                                              {0xF7, 0xF7},
                                              {0x2010, 0x2027},
                                              {0x2030, 0x205E},
                                              {0x20A0, 0x20CF},
                                              {0x2190, 0x2BFF},
                                              {0x2E00, 0x2E7F},
                                              {0x3001, 0x303F},
                                              {0xFE10, 0xFE6B},
                                              {0xFF01, 0xFF0F},
                                              {0xFF1A, 0xFF20},
                                              {0x1F000, 0x1FAFF}}};

bool is_ascii_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }

char32_t lower(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  if (c >= 0xC0 && c <= 0xDE) return c == 0xD7 ? c : c + 32;
  const auto even_upper = [c] { return c % 2 == 0 ? c + 1 : c; };
  const auto odd_upper = [c] { return c % 2 == 1 ? c + 1 : c; };
  if (c >= 0x100 && c <= 0x137) return c == 0x130 ? U'i' : (c == 0x131 ? c : even_upper());
  if (c >= 0x139 && c <= 0x148) return odd_upper();
  if (c >= 0x14A && c <= 0x177) return even_upper();
  if (c == 0x178) return 0xFF;
  if (c >= 0x179 && c <= 0x17E) return odd_upper();
  if (c == 0x386) return 0x3AC;
  if (c >= 0x388 && c <= 0x38A) return c + 37;
  if (c == 0x38C) return 0x3CC;
  if (c == 0x38E || c == 0x38F) return c + 63;
  if (c >= 0x391 && c <= 0x3AB && c != 0x3A2) return c + 32;
  if (c >= 0x400 && c <= 0x40F) return c + 80;
  if (c >= 0x410 && c <= 0x42F) return c + 32;
  if ((c >= 0x460 && c <= 0x481) || (c >= 0x48A && c <= 0x4BF) || (c >= 0x4D0 && c <= 0x52F))
    return even_upper();
  if (c == 0x4C0) return 0x4CF;
  if (c >= 0x4C1 && c <= 0x4CE) return odd_upper();
  if (c >= 0x531 && c <= 0x556) return c + 48;
  if ((c >= 0x1E00 && c <= 0x1E95) || (c >= 0x1EA0 && c <= 0x1EFF)) return even_upper();
  if (c == 0x1E9E) return 0xDF;
  if (c >= 0xFF21 && c <= 0xFF3A) return c + 32;
  return c;
}

void append_utf8(std::string& text, char32_t c) {
  const auto put = [&](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

}  // namespace

char32_t next_code_point(std::string_view text, size_t& at) {
  const auto lead = static_cast<unsigned char>(text[at++]);
  if (lead < 0x80) return lead;
  const size_t more = lead >= 0xF0 && lead <= 0xF4 ? 3 : (lead >= 0xE0 ? 2 : (lead >= 0xC2 ? 1 : 0));
  if (more == 0 || lead > 0xF4 || at + more > text.size()) return kReplacement;
  char32_t c = lead & (0x3FU >> more);
  for (size_t i = 0; i < more; ++i) {
    const auto byte = static_cast<unsigned char>(text[at + i]);
    if ((byte & 0xC0) != 0x80) return kReplacement;
    c = (c << 6) | (byte & 0x3FU);
  }
  at += more;
  return c;
}

CharacterKind kind_of(char32_t c) {
  if (c < 0x80) {
    if (c <= ' ' || c == 0x7F) return CharacterKind::blank;
    return is_ascii_letter(c) || is_digit(c) || c == '_' ? CharacterKind::word : CharacterKind::punctuation;
  }
  if (c == 0x3000 || within(kBlanks, c)) return CharacterKind::blank;
  if (within(kPunctuation, c) || c == kReplacement) return CharacterKind::punctuation;
  if (within(kIdeographs, c)) return CharacterKind::ideograph;
  return CharacterKind::word;
}

std::string lower_case(std::string_view text) {
  std::string lowered;
  lowered.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_code_point(text, at);
    const char32_t small = lower(c);
    if (small == c) {
      lowered.append(text.substr(begin, at - begin));
    } else {
      append_utf8(lowered, small);
    }
  }
  return lowered;
}

// ---- tokens ----

namespace {

// A code point with the bytes it came from.
struct Character {
  char32_t code;
  std::string_view bytes;
  CharacterKind kind;
};

bool is_apostrophe(char32_t c) { return c == '\'' || c == 0x2019; }

class Tokenizer {
 public:
  explicit Tokenizer(std::string_view text) {
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      const char32_t c = next_code_point(text, at);
      characters_.push_back({c, text.substr(begin, at - begin), kind_of(c)});
    }
  }

  std::vector<std::string> tokens() {
    while (at_ < characters_.size()) {
      switch (characters_[at_].kind) {
        case CharacterKind::blank:
          ++at_;
          break;
        case CharacterKind::ideograph:
          tokens_.emplace_back(characters_[at_++].bytes);
          break;
        case CharacterKind::word:
          if (!emoticon()) word();
          break;
        case CharacterKind::punctuation:
          if (!emoticon() && !clitic()) punctuation();
          break;
      }
    }
    return std::move(tokens_);
  }

 private:
  char32_t code(size_t i) const { return i < characters_.size() ? characters_[i].code : U' '; }
  bool is_word(size_t i) const {
    return i < characters_.size() && characters_[i].kind == CharacterKind::word;
  }
  bool is_blank(size_t i) const {
    return i >= characters_.size() || characters_[i].kind == CharacterKind::blank;
  }

  // [eyes][nose][mouth] or <3, with a blank or the end of the text on both sides (trailing punctuation is
  // allowed).
  bool emoticon() {
    if (at_ > 0 && !is_blank(at_ - 1)) return false;
    size_t end = at_;
    if (code(at_) == '<' && code(at_ + 1) == '3') {
      end = at_ + 2;
    } else {
      const auto one_of = [&](size_t i, std::u32string_view set) {
        return set.find(code(i)) != std::u32string_view::npos;
      };
      size_t i = at_;
      const bool sure_eyes = one_of(i, U":;=");
      if (!sure_eyes && !one_of(i, U"xX8")) return false;
      ++i;
      const bool tear = code(i) == '\'';
      if (tear) ++i;
      const bool nose = one_of(i, U"-o^");
      if (nose && one_of(i + 1, U")]([dDpP/\\|}{*3oO"))
        ++i;
      else if (!sure_eyes)
        return false;
      if (!one_of(i, U")]([dDpP/\\|}{*3oO@")) return false;
      while (code(i + 1) == code(i) && one_of(i, U")(]")) ++i;
      end = i + 1;
    }
    if (is_word(end)) return false;
    std::string token;
    for (size_t i = at_; i < end; ++i) {
      if (i > at_ + 3 && code(i) == code(i - 1)) continue;
      token += characters_[i].bytes;
    }
    tokens_.push_back(std::move(token));
    at_ = end;
    return true;
  }

  // A free-standing "'s" and the like, of a text that is tokenized already.
  bool clitic() {
    if (!is_apostrophe(code(at_)) || (at_ > 0 && !is_blank(at_ - 1))) return false;
    std::string token = "'";
    size_t end = at_ + 1;
    while (is_word(end) && token.size() < 4) token += characters_[end++].bytes;
    if (!is_clitic(token) || !is_blank(end)) return false;
    tokens_.push_back(std::move(token));
    at_ = end;
    return true;
  }

  static bool is_clitic(const std::string& token) {
    const std::string small = lower_case(token);
    for (const char* known : {"'s", "'re", "'ve", "'ll", "'d", "'m"}) {
      if (small == known) return true;
    }
    return false;
  }

  void word() {
    std::string token;
    while (at_ < characters_.size()) {
      if (is_word(at_)) {
        token += characters_[at_++].bytes;
      } else if (is_word(at_ + 1) && is_apostrophe(code(at_))) {
        token += '\'';
        ++at_;
      } else if ((code(at_) == '.' || code(at_) == ',') && is_digit(code(at_ - 1)) &&
                 is_digit(code(at_ + 1))) {
        token += characters_[at_++].bytes;
      } else {
        break;
      }
    }
    part_contraction(token);
  }

  void part_contraction(const std::string& token) {
    const size_t apostrophe = token.rfind('\'');
    size_t cut = 0;
    if (apostrophe != std::string::npos && apostrophe > 0) {
      const std::string tail = lower_case(std::string_view(token).substr(apostrophe - 1));
      if (tail == "n't") {
        cut = apostrophe - 1;
      } else if (is_clitic(token.substr(apostrophe))) {
        cut = apostrophe;
      }
    }
    if (cut > 0) tokens_.push_back(token.substr(0, cut));
    tokens_.push_back(token.substr(cut));
  }

  void punctuation() {
    const char32_t c = code(at_);
    size_t end = at_ + 1;
    while (end < characters_.size() && characters_[end].code == c) ++end;
    const size_t run = end - at_;
    if (c == '.' && run > 1) {
      tokens_.emplace_back("...");
    } else if (c == '-' && run > 1) {
      tokens_.emplace_back("--");
    } else if (is_apostrophe(c)) {
      tokens_.insert(tokens_.end(), std::min<size_t>(run, 3), "'");
    } else {
      tokens_.insert(tokens_.end(), std::min<size_t>(run, 3), std::string(characters_[at_].bytes));
    }
    at_ = end;
  }

  std::vector<Character> characters_;
  size_t at_ = 0;
  std::vector<std::string> tokens_;
};

}  // namespace

std::vector<std::string> tokenize(std::string_view text, const TokenizerOptions& options) {
  if (options.lower_case) {
    const std::string lowered = lower_case(text);
    return Tokenizer(lowered).tokens();
  }
  return Tokenizer(text).tokens();
}

// ---- Vocabulary ----

Vocabulary::Vocabulary(std::vector<std::string> words) : words_(std::move(words)) {
  ids_.reserve(words_.size());
  for (size_t i = 0; i < words_.size(); ++i) {
    if (!ids_.try_emplace(words_[i], static_cast<int64_t>(i) + 2).second) {
      throw InputError(fmt::format("the word '{}' is in the vocabulary twice", words_[i]));
    }
  }
}

Vocabulary Vocabulary::fit(const std::vector<std::vector<std::string>>& texts,
                           const VocabularyOptions& options) {
  if (options.min_count < 1) {
    throw InputError(fmt::format("min_count is {}; it must be at least 1", options.min_count));
  }
  if (options.max_size < 1)
    throw InputError(fmt::format("max_size is {}; it must be at least 1", options.max_size));
  std::unordered_map<std::string, int64_t> counts;
  for (const auto& text : texts) {
    for (const std::string& word : text) ++counts[word];
  }
  std::vector<std::pair<std::string, int64_t>> ordered;
  for (auto& entry : counts) {
    if (entry.second >= options.min_count) ordered.emplace_back(entry.first, entry.second);
  }
  std::sort(ordered.begin(), ordered.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  std::vector<std::string> words;
  for (auto& [word, count] : ordered) {
    if (static_cast<int64_t>(words.size()) == options.max_size) break;
    words.push_back(std::move(word));
  }
  return Vocabulary(std::move(words));
}

int64_t Vocabulary::id(const std::string& word) const {
  const auto found = ids_.find(word);
  return found == ids_.end() ? kUnknown : found->second;
}

Vocabulary Vocabulary::filtered(const std::function<bool(const std::string&)>& keep) const {
  std::vector<std::string> kept;
  std::copy_if(words_.begin(), words_.end(), std::back_inserter(kept), keep);
  return Vocabulary(std::move(kept));
}

nlohmann::json Vocabulary::to_json() const { return {{"words", words_}}; }

Vocabulary Vocabulary::from_json(const nlohmann::json& state) {
  try {
    return Vocabulary(state.at("words").get<std::vector<std::string>>());
  } catch (const std::exception& error) {
    throw FileError(fmt::format("the saved vocabulary is broken: {}", error.what()));
  }
}

// ---- rows and batches ----

TokenRows encode(const std::vector<std::vector<std::string>>& texts, const Vocabulary& vocabulary,
                 int64_t max_length) {
  if (max_length < 1) throw InputError(fmt::format("max_length is {}; it must be at least 1", max_length));
  std::vector<int64_t> ids;
  TokenRows rows;
  rows.offsets.push_back(0);
  for (const auto& text : texts) {
    const size_t length = std::min(text.size(), static_cast<size_t>(max_length));
    for (size_t i = 0; i < length; ++i) ids.push_back(vocabulary.id(text[i]));
    if (length == 0) ids.push_back(Vocabulary::kUnknown);
    rows.offsets.push_back(static_cast<int64_t>(ids.size()));
  }
  rows.ids = adopt(std::move(ids));
  return rows;
}

PaddedBatch collate(const TokenRows& texts, const std::vector<int64_t>& rows) {
  const auto count = static_cast<int64_t>(rows.size());
  PaddedBatch batch{{}, torch::empty({count}, torch::kInt64)};
  auto* lengths = batch.lengths.mutable_data_ptr<int64_t>();
  int64_t longest = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    lengths[i] = texts.length(rows[i]);
    longest = std::max(longest, lengths[i]);
  }
  batch.ids = torch::zeros({count, longest}, torch::kInt64);
  const auto* from = texts.ids.const_data_ptr<int64_t>();
  auto* to = batch.ids.mutable_data_ptr<int64_t>();
  for (size_t i = 0; i < rows.size(); ++i, to += longest) {
    std::copy_n(from + texts.offsets[static_cast<size_t>(rows[i])], lengths[i], to);
  }
  return batch;
}

}  // namespace bilevel
