#include "bilevel/report/escape.h"

#include <gtest/gtest.h>

namespace bilevel {
namespace {

TEST(Escape, Markup) {
  EXPECT_EQ(escape_markup("<a href=\"x\">'&'</a>"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;");
  EXPECT_EQ(escape_markup("\xc3\xa9\t\n"), "\xc3\xa9\t\n");
}

TEST(Escape, BrokenTextBecomesValid) {
  EXPECT_EQ(clean_utf8("a\xff\xc3"), "a\xef\xbf\xbd\xef\xbf\xbd");
  EXPECT_EQ(clean_utf8(std::string("a\0b\x1b\r\x7f", 6)), "a b   ");
  EXPECT_EQ(clean_utf8("\xf0\x9f\x98\x80 \\ \" \xe2\x80\xa8"), "\xf0\x9f\x98\x80 \\ \" \xe2\x80\xa8");
  EXPECT_EQ(clean_utf8(""), "");
}

TEST(Escape, ShellWord) {
  EXPECT_EQ(shell_word("data/a-1.tsv"), "data/a-1.tsv");
  EXPECT_EQ(shell_word("caf\xc3\xa9"), "caf\xc3\xa9");
  EXPECT_EQ(shell_word(""), "''");
  EXPECT_EQ(shell_word("it's $5"), "'it'\\''s $5'");
  EXPECT_EQ(shell_word("a\nb\t\x1b[1m'\\1"), "$'a\\nb\\t\\033[1m\\'\\\\1'");
  EXPECT_EQ(shell_word("\xc2\x9b"), "$'\\302\\233'");
}

TEST(Escape, Base64) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
  EXPECT_EQ(base64("\xff\xfe\x00"), "//4=");
  EXPECT_EQ(base64(std::string("\xff\xfe\x00", 3)), "//4A");
}

}  // namespace
}  // namespace bilevel
