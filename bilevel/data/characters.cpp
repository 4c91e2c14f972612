#include "bilevel/data/characters.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

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

constexpr std::array<Range, 7> kIdeographs{{{0x3041, 0x30FA},
                                            {0x30FC, 0x30FF},
                                            {0x31F0, 0x31FF},
                                            {0x3400, 0x4DBF},
                                            {0x4E00, 0x9FFF},
                                            {0xF900, 0xFAFF},
                                            {0x20000, 0x323AF}}};

bool is_ascii_letter(char32_t c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool is_digit(char32_t c) { return c >= '0' && c <= '9'; }

char32_t lower(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

}  // namespace

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
  if (within(kIdeographs, c)) return CharacterKind::ideograph;
  const bool selects_variant = (c >= 0xFE00 && c <= 0xFE0F) || (c >= 0xE0100 && c <= 0xE01EF);
  if (selects_variant) return CharacterKind::blank;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
      return CharacterKind::blank;
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
      return CharacterKind::word;
    case UTF8PROC_CATEGORY_CN:  // a letter or an emoji newer than the library
    case UTF8PROC_CATEGORY_CO:
      return c >= 0x1F000 && c <= 0x1FAFF ? CharacterKind::punctuation : CharacterKind::word;
    default:
      return CharacterKind::punctuation;
  }
}

namespace {

/// The digit that a character is, in any script; -1 for no digit.
int digit_value(char32_t c) {
  constexpr std::array<char32_t, 20> kZeros{0x660, 0x6F0,  0x7C0,  0x966,  0x9E6, 0xA66, 0xAE6,
                                            0xB66, 0xBE6,  0xC66,  0xCE6,  0xD66, 0xE50, 0xED0,
                                            0xF20, 0x1040, 0x17E0, 0x1810, '0',   0xFF10};
  for (const char32_t zero : kZeros) {
    if (c >= zero && c <= zero + 9) return static_cast<int>(c - zero);
  }
  return -1;
}

constexpr std::array<std::pair<char32_t, char>, 12> kTyped{{{0x2212, '-'},
                                                            {0xFF0D, '-'},
                                                            {0xFF0B, '+'},
                                                            {0x2019, '\''},
                                                            {0xFF0C, ','},
                                                            {0x066C, ','},
                                                            {0xFF0E, '.'},
                                                            {0x066B, '.'},
                                                            {0xFF05, '%'},
                                                            {0x066A, '%'},
                                                            {0xFF0F, '/'},
                                                            {0xFF1A, ':'}}};

}  // namespace

std::string typed_characters(std::string_view cell) {
  std::string text;
  for (size_t at = 0; at < cell.size();) {
    const size_t begin = at;
    const char32_t c = next_code_point(cell, at);
    if (kind_of(c) == CharacterKind::blank) {
      if (!text.empty() && text.back() != ' ') text += ' ';
    } else if (c < 0x80) {
      text += static_cast<char>(c);
    } else if (const int digit = digit_value(c); digit >= 0) {
      text += static_cast<char>('0' + digit);
    } else if (const auto typed = std::ranges::find(kTyped, c, &std::pair<char32_t, char>::first);
               typed != kTyped.end()) {
      text += typed->second;
    } else {
      text += cell.substr(begin, at - begin);
    }
  }
  if (text.ends_with(' ')) text.pop_back();
  return text;
}

namespace {

/// By utf8proc's options, beside stability and composition.
std::string mapped(std::string_view text, int further) {
  const bool ascii = std::ranges::all_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  if (ascii) return std::string(text);
  utf8proc_uint8_t* made = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(
      reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
      &made, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | further));
  if (size < 0) return std::string(text);  // broken UTF-8
  const std::string normal(reinterpret_cast<const char*>(made), static_cast<size_t>(size));
  std::free(made);
  return normal;
}

}  // namespace

std::string composed(std::string_view text) { return mapped(text, 0); }
std::string compatible(std::string_view text) { return mapped(text, UTF8PROC_COMPAT); }

std::string lower_case(std::string_view given) {
  const std::string text = composed(given);
  std::string lowered;
  lowered.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t begin = at;
    const char32_t c = next_code_point(text, at);
    const char32_t small = lower(c);
    if (small == c) {
      lowered.append(text, begin, at - begin);
    } else {
      append_utf8(lowered, small);
    }
  }
  return lowered;
}

}  // namespace bilevel
