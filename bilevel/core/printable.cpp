#include "bilevel/core/printable.h"

#include <fmt/format.h>

namespace bilevel {

std::string printable(std::string_view text) {
  std::string shown;
  for (size_t at = 0; at < text.size(); ++at) {
    const auto byte = [&](size_t ahead) -> unsigned {
      return at + ahead < text.size() ? static_cast<unsigned char>(text[at + ahead]) : 0U;
    };
    if (text[at] == '\n' || text[at] == '\r' || text[at] == '\t') {
      shown += text[at] == '\n' ? "\\n" : text[at] == '\r' ? "\\r" : "\\t";
    } else if (byte(0) < 0x20 || byte(0) == 0x7F) {
      shown += fmt::format("\\x{:02x}", byte(0));
    } else if (byte(0) == 0xC2 && byte(1) >= 0x80 && byte(1) < 0xA0) {
      shown += fmt::format("\\u00{:02x}", byte(1));
      at += 1;
    } else if (byte(0) == 0xE2 && byte(1) == 0x80 && (byte(2) == 0xA8 || byte(2) == 0xA9)) {
      shown += fmt::format("\\u20{:02x}", byte(2) - 0x80);
      at += 2;
    } else {
      shown += text[at];
    }
  }
  return shown;
}

}  // namespace bilevel
