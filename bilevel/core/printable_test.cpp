#include "bilevel/core/printable.h"

#include <gtest/gtest.h>

namespace bilevel {

TEST(Printable, WritesControlCharactersAndKeepsAllOthers) {
  EXPECT_EQ(printable("a\nb\r\tc"), "a\\nb\\r\\tc");
  EXPECT_EQ(printable(std::string_view("\0\x1b[31m\x7f", 7)), "\\x00\\x1b[31m\\x7f");
  EXPECT_EQ(printable("\xC2\x9B"
                      "1m \xC2\x85|\xE2\x80\xA8|\xE2\x80\xA9"),
            "\\u009b1m \\u0085|\\u2028|\\u2029");
  // No-break space, an accent, a dash, an ideograph, an emoji; a backslash of the text; bytes that end too soon.
  for (const char* text : {"\xC2\xA0", "caf\xC3\xA9", "\xE2\x80\x93", "\xE5\xAD\x97", "\xF0\x9F\x98\x80",
                           "a\\n", "", "\xC2", "\xE2\x80"})
    EXPECT_EQ(printable(text), text);
}

}  // namespace bilevel
