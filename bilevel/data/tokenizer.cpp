#include "bilevel/data/tokenizer.h"

#include <algorithm>
#include <array>

namespace bilevel {
namespace {

// A code point with the bytes it came from.
struct Character {
  char32_t code;
  std::string_view bytes;
  CharacterKind kind;
};

bool is_decimal(char32_t c) { return c >= '0' && c <= '9'; }
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
    return std::ranges::count(std::array{"'s", "'re", "'ve", "'ll", "'d", "'m"}, token) > 0;
  }

  void word() {
    std::string token;
    while (at_ < characters_.size()) {
      if (is_word(at_)) {
        token += characters_[at_++].bytes;
      } else if (is_word(at_ + 1) && is_apostrophe(code(at_))) {
        token += '\'';
        ++at_;
      } else if ((code(at_) == '.' || code(at_) == ',') && is_decimal(code(at_ - 1)) &&
                 is_decimal(code(at_ + 1))) {
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
      const std::string tail = token.substr(apostrophe - 1);
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

std::vector<std::string> tokenize(std::string_view text) {
  const std::string lowered = lower_case(text);
  return Tokenizer(lowered).tokens();
}

}  // namespace bilevel
