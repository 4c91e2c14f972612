#include "bilevel/data/characters.h"

#include <algorithm>
#include <array>

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

}  // namespace bilevel
