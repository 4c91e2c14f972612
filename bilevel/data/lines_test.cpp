#include "bilevel/data/lines.h"

#include <gtest/gtest.h>

#include "tests/files.h"

namespace bilevel {
namespace {

std::vector<std::string> all_lines(const std::string& path) {
  LineReader lines(path);
  std::vector<std::string> found;
  while (lines.next()) found.emplace_back(lines.text());
  return found;
}

std::string read_error(const std::string& path) {
  return input_error([&] { all_lines(path); });
}

using Lines = std::vector<std::string>;

TEST(Lines, ReadsPlainAndGzipAlikeWhateverTheName) {
  const TemporaryFolder folder;
  const std::string text = "one\r\ntwo\n\nfour";
  const Lines expected = {"one", "two", "", "four"};
  EXPECT_EQ(all_lines(folder.write("a.txt", text)), expected);
  EXPECT_EQ(all_lines(folder.write("plain.gz", text)), expected);
  EXPECT_EQ(all_lines(folder.write_gzip("zipped.gz", text)), expected);
  EXPECT_EQ(all_lines(folder.write_gzip("zipped.txt", text)), expected);
}

TEST(Lines, ReadsTwoGzipPartsAsOne) {
  const TemporaryFolder folder;
  const std::string first = read_bytes(folder.write_gzip("1", "a\n"));
  const std::string second = read_bytes(folder.write_gzip("2", "b\n"));
  EXPECT_EQ(all_lines(folder.write("both.gz", first + second)), (Lines{"a", "b"}));
}

TEST(Lines, SkipsTheByteOrderMark) {
  const TemporaryFolder folder;
  EXPECT_EQ(all_lines(folder.write("a", "\xEF\xBB\xBFx\ny")), (Lines{"x", "y"}));
  EXPECT_EQ(read_error(folder.write("b", "\xEF\xBB\xBFx\xFF")),
            "b:1:2: byte 0xFF is not valid UTF-8; if the file is in another encoding, name it (--encoding "
            "windows-1252)");
}

TEST(Lines, EndWithCrWhereNothingElseEndsThem) {
  const TemporaryFolder folder;
  EXPECT_EQ(all_lines(folder.write("mac", "a\tb\r1\t2\r3\t4\r")), (Lines{"a\tb", "1\t2", "3\t4"}));
  EXPECT_EQ(all_lines(folder.write("one", "a\r\n")), (Lines{"a"}));
  EXPECT_EQ(all_lines(folder.write("end", "a\r")), (Lines{"a"}));
}

TEST(Lines, KeepsLinesLongerThanItsBuffer) {
  const TemporaryFolder folder;
  const std::string longest(1000000, 'x');
  EXPECT_EQ(all_lines(folder.write("a", "b\n" + longest + "\nc\n")), (Lines{"b", longest, "c"}));
}

TEST(Lines, NamesMissingFolderAndEmptyFiles) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_error(folder.path("none.csv")), "none.csv: there is no such file");
  EXPECT_NE(read_error(folder.path("")).find("is a folder, not a file"), std::string::npos);
  EXPECT_EQ(read_error(folder.write("e.csv", "")), "e.csv: is empty");
  EXPECT_EQ(read_error(folder.write("m.csv", "\xEF\xBB\xBF")), "m.csv: is empty");
  EXPECT_EQ(read_error(folder.write_gzip("e.gz", "")), "e.gz: is empty");
}

TEST(Lines, UnreadableFileIsAFileError) {
  if (!std::filesystem::exists("/proc/self/mem")) GTEST_SKIP() << "no /proc";
  EXPECT_THROW(all_lines("/proc/self/mem"), FileError);
}

TEST(Lines, NamesBrokenUtf8AndNulBytes) {
  const TemporaryFolder folder;
  EXPECT_EQ(read_error(folder.write("u", "ok\nab\xC3(d\n")),
            "u:2:3: byte 0xC3 is not valid UTF-8; if the file is in another encoding, name it (--encoding "
            "windows-1252)");
  const std::string japanese = read_error(folder.write("s", "a,\x93\xFA\x96\x7B\x8C\xEA\n"));  // Shift-JIS
  EXPECT_NE(japanese.find("convert it to UTF-8, as by iconv"), std::string::npos) << japanese;
  EXPECT_EQ(read_error(folder.write("n", std::string_view("ok\nabc\0d\n", 9))),
            "n:2:4: a NUL byte; this is not a text file, or one in UTF-16 (--encoding utf-16)");
  EXPECT_EQ(
      read_error(folder.write("x.gz", "a\xFF")),
      "x.gz:1:2: byte 0xFF is not valid UTF-8 (the file's name says gzip, but its content is not gzip)");
}

TEST(Lines, NamesCutAndBrokenGzip) {
  const TemporaryFolder folder;
  std::string text;
  for (int i = 0; i < 5000; ++i) text += std::to_string(i * 7919 % 10007) + "\n";
  const std::string bytes = read_bytes(folder.write_gzip("good.gz", text));
  const std::string cut = read_error(folder.write("cut.gz", bytes.substr(0, bytes.size() / 2)));
  EXPECT_EQ(cut.rfind("cut.gz:", 0), 0U) << cut;
  EXPECT_NE(cut.find("the gzip data end here too early; the file is cut"), std::string::npos) << cut;
  // The position is that behind the last byte that could be unpacked.
  const int64_t line = std::stoll(cut.substr(7));
  EXPECT_GT(line, 1000);
  EXPECT_LT(line, 4900);
  EXPECT_NE(read_error(folder.write("tail.gz", bytes.substr(0, bytes.size() - 4))).find("the file is cut"),
            std::string::npos);
  std::string broken = bytes;
  for (size_t i = broken.size() / 2; i < broken.size() / 2 + 20; ++i) broken[i] = '\x55';
  EXPECT_NE(read_error(folder.write("broken.gz", broken)).find("the gzip data are broken"),
            std::string::npos);
}

TEST(Utf8, FindsTheFirstBrokenByte) {
  constexpr size_t kNone = std::string_view::npos;
  EXPECT_EQ(find_broken_utf8("plain text, longer than eight bytes"), kNone);
  EXPECT_EQ(find_broken_utf8("\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x98\x80"), kNone);
  EXPECT_EQ(find_broken_utf8("12345678\x80"), 8U);
  EXPECT_EQ(find_broken_utf8("a\xC3"), 1U);             // cut
  EXPECT_EQ(find_broken_utf8("a\xC0\xAF"), 1U);         // overlong, two bytes
  EXPECT_EQ(find_broken_utf8("\xE0\x9F\xBF"), 0U);      // overlong, three bytes
  EXPECT_EQ(find_broken_utf8("\xED\xA0\x80"), 0U);      // surrogate
  EXPECT_EQ(find_broken_utf8("\xF0\x8F\xBF\xBF"), 0U);  // overlong, four bytes
  EXPECT_EQ(find_broken_utf8("\xF4\x90\x80\x80"), 0U);  // above U+10FFFF
  EXPECT_EQ(find_broken_utf8("\xF5\x80\x80\x80"), 0U);
  EXPECT_EQ(find_broken_utf8("\xE2\x82("), 0U);  // broken third byte
}

}  // namespace
}  // namespace bilevel
