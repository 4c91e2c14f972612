#include "bilevel/data/lines.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "bilevel/data/characters.h"

namespace bilevel {

namespace {

constexpr size_t kChunk = size_t{1} << 18;
constexpr std::string_view kZstdMagic = "\x28\xB5\x2F\xFD";

/// What stood on standard input, in a file without a name.
std::string spooled_input() {
  std::FILE* file = std::tmpfile();
  if (file == nullptr) throw FileError("standard input: there is no room for a temporary file");
  std::string chunk(kChunk, '\0');
  for (size_t got = 0; (got = std::fread(chunk.data(), 1, chunk.size(), stdin)) > 0;) {
    if (std::fwrite(chunk.data(), 1, got, file) != got)
      throw FileError("standard input: there is no room for a temporary file");
  }
  std::fflush(file);
  return fmt::format("/proc/self/fd/{}", fileno(file));
}

}  // namespace

std::string real_path(const std::string& path) {
  if (path != "-") return path;
  static const std::string spooled = spooled_input();
  return spooled;
}

ByteReader::ByteReader(const std::string& path) : path_(path) {
  const std::string real = real_path(path);
  struct stat status = {};
  if (stat(real.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) fail_at({path}, "there is no such file");
    throw FileError(describe({path}, fmt::format("cannot be read: {}", std::strerror(errno))));
  }
  if (S_ISDIR(status.st_mode)) fail_at({path}, "is a folder, not a file");
  errno = 0;
  const gzFile file = gzopen(real.c_str(), "rb");
  if (file == nullptr)
    throw FileError(describe({path}, fmt::format("cannot be opened: {}", std::strerror(errno))));
  file_ = {file, gzclose};
  gzbuffer(file, 1 << 17);
}

bool ByteReader::append_raw(std::string& bytes, const std::function<void(const char*)>& fail) {
  const auto file = static_cast<gzFile>(file_.get());
  const size_t size = bytes.size();
  bytes.resize(size + kChunk);
  const int got = gzread(file, bytes.data() + size, kChunk);
  bytes.resize(size + static_cast<size_t>(got > 0 ? got : 0));
  if (got > 0) return true;
  int code = Z_OK;
  gzerror(file, &code);
  if (code == Z_OK || code == Z_STREAM_END) return false;
  if (code == Z_ERRNO)
    throw FileError(describe({path_}, fmt::format("cannot be read: {}", std::strerror(errno))));
  fail(code == Z_BUF_ERROR ? "the gzip data end here too early; the file is cut"
                           : "the gzip data are broken from about here on");
  return false;
}

bool ByteReader::append_to(std::string& bytes, const std::function<void(const char*)>& fail) {
  if (!begun_) {
    begun_ = true;
    while (packed_.size() < kZstdMagic.size() && append_raw(packed_, fail)) {
    }
    if (packed_.starts_with(kZstdMagic)) zstd_ = {ZSTD_createDStream(), ZSTD_freeDStream};
    if (!zstd_) {
      bytes += packed_;
      return !std::exchange(packed_, {}).empty();
    }
  }
  if (!zstd_) return append_raw(bytes, fail);
  const size_t before = bytes.size();
  while (bytes.size() == before) {
    if (packed_.empty() && !append_raw(packed_, fail)) {
      if (frame_open_) fail("the zstd data end here too early; the file is cut");
      return false;
    }
    bytes.resize(before + kChunk);
    ZSTD_inBuffer in{packed_.data(), packed_.size(), 0};
    ZSTD_outBuffer out{bytes.data() + before, kChunk, 0};
    const size_t left = ZSTD_decompressStream(static_cast<ZSTD_DStream*>(zstd_.get()), &out, &in);
    bytes.resize(before + out.pos);
    packed_.erase(0, in.pos);
    if (ZSTD_isError(left) != 0) fail("the zstd data are broken from about here on");
    frame_open_ = left > 0;
  }
  return true;
}

bool ByteReader::is_plain() const { return !zstd_ && gzdirect(static_cast<gzFile>(file_.get())) != 0; }

Encoding encoding_named(const std::string& name) {
  std::string key;
  for (const char c : name) {
    if (c != '-' && c != '_' && c != ' ') key += c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  }
  constexpr std::pair<std::string_view, Encoding> kNames[] = {
      {"utf8", Encoding::utf_8},          {"utf8sig", Encoding::utf_8},
      {"ascii", Encoding::utf_8},         {"windows1252", Encoding::windows_1252},
      {"cp1252", Encoding::windows_1252}, {"iso88591", Encoding::iso_8859_1},
      {"latin1", Encoding::iso_8859_1},   {"utf16", Encoding::utf_16},
      {"utf16le", Encoding::utf_16}};
  for (const auto& [known, encoding] : kNames) {
    if (key == known) return encoding;
  }
  throw InputError(fmt::format("encoding = {}: must be utf-8, windows-1252, iso-8859-1 or utf-16", name));
}

LineReader::LineReader(const std::string& path, Encoding encoding)
    : path_(path), file_(path), encoding_(encoding) {
  constexpr size_t kMagic = 8;
  while (undecoded_.size() < kMagic && file_.append_to(undecoded_, [this](const char* message) {
    fail_at({path_, 1, static_cast<int64_t>(undecoded_.size()) + 1}, message);
  })) {
  }
  if (undecoded_.empty()) fail_at({path}, "is empty");
  const std::string_view start(undecoded_);
  refuse_foreign();
  if (start.starts_with("\xFF\xFE") || start.starts_with("\xFE\xFF")) {
    encoding_ = Encoding::utf_16;
    big_endian_ = start[0] == '\xFE';
    undecoded_.erase(0, 2);
  } else if (start.starts_with("\xEF\xBB\xBF")) {
    encoding_ = Encoding::utf_8;
    undecoded_.erase(0, 3);
  }
  decode(/*last=*/false);
  if (begin_ == buffer_.size() && !fill()) fail_at({path}, "is empty");
  only_cr_ = buffer_.find('\n') == std::string::npos && buffer_.find('\r') + 1 < buffer_.size();
  if (only_cr_) std::ranges::replace(buffer_, '\r', '\n');
}

void LineReader::refuse_foreign() const {
  constexpr std::pair<std::string_view, const char*> kForeign[] = {
      {"PK\x03\x04",
       "is a zip file or an Excel workbook (xlsx); unpack the one, save the other as csv (UTF-8)"},
      {"\xD0\xCF\x11\xE0", "is an Excel workbook (xls); save it as csv (UTF-8)"},
      {"PAR1",
       "is a parquet file; convert it, as by python3 -c \"import pandas; "
       "pandas.read_parquet('FILE').to_csv('FILE.csv', index=False)\""},
      {"ARROW1", "is an Arrow (feather) file; convert it, as by pandas.read_feather and to_csv"},
      {"SQLite f",
       "is an SQLite database; export a table, as by sqlite3 -header -csv FILE 'select * from TABLE'"},
      {"\x89HDF", "is an HDF5 file; convert it to csv, as by pandas.read_hdf and to_csv"},
      {"\x93NUMPY", "is a numpy file; convert it to csv, as by numpy.savetxt"},
      {"BZh", "is packed by bzip2; unpack it (bunzip2), or pack it by gzip or zstd"},
      {"\xFD"
       "7zXZ",
       "is packed by xz; unpack it (unxz), or pack it by gzip or zstd"},
      {"7z\xBC\xAF", "is a 7z archive; unpack it"}};
  for (const auto& [magic, message] : kForeign) {
    if (undecoded_.starts_with(magic)) fail_at({path_}, message);
  }
}

bool LineReader::fill() {
  const size_t before = buffer_.size();
  const bool more = fill_decoded();
  if (only_cr_)
    std::replace(buffer_.begin() + static_cast<std::ptrdiff_t>(before), buffer_.end(), '\r', '\n');
  return more;
}

bool LineReader::fill_decoded() {
  const auto fail = [this](const char* message) {
    fail_at({path_, number_ + 1, static_cast<int64_t>(buffer_.size() - begin_) + 1}, message);
  };
  if (encoding_ == Encoding::utf_8) return file_.append_to(buffer_, fail);
  const size_t before = buffer_.size();
  while (buffer_.size() == before) {
    const bool more = file_.append_to(undecoded_, fail);
    decode(!more);
    if (!more) return buffer_.size() > before;
  }
  return true;
}

void LineReader::decode(bool last) {
  // 0x80 to 0x9F of Windows-1252; 0: nothing.
  constexpr char32_t kWindows[] = {0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                   0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0,      0x017D, 0,
                                   0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                   0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178};
  const auto byte = [this](size_t i) { return static_cast<unsigned char>(undecoded_[i]); };
  if (encoding_ == Encoding::utf_8) {
    buffer_.swap(undecoded_);  // the beginning of the file; `fill` reads the rest
    return;
  }
  if (encoding_ != Encoding::utf_16) {
    for (size_t i = 0; i < undecoded_.size(); ++i) {
      char32_t c = byte(i);
      if (encoding_ == Encoding::windows_1252 && c >= 0x80 && c < 0xA0) c = kWindows[c - 0x80];
      append_utf8(buffer_, c == 0 && byte(i) != 0 ? 0xFFFD : c);
    }
    undecoded_.clear();
    return;
  }
  const auto unit = [&](size_t i) -> char32_t {
    return big_endian_ ? byte(i) << 8 | byte(i + 1) : byte(i + 1) << 8 | byte(i);
  };
  size_t at = 0;
  while (at + 1 < undecoded_.size()) {
    char32_t c = unit(at);
    size_t size = 2;
    if (c >= 0xD800 && c < 0xDC00) {
      if (at + 3 >= undecoded_.size() && !last) break;
      const char32_t low = at + 3 < undecoded_.size() ? unit(at + 2) : 0;
      const bool pair = low >= 0xDC00 && low < 0xE000;
      c = pair ? 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00) : 0xFFFD;
      size = pair ? 4 : 2;
    } else if (c >= 0xDC00 && c < 0xE000) {
      c = 0xFFFD;
    }
    append_utf8(buffer_, c);
    at += size;
  }
  undecoded_.erase(0, at);
}

std::string_view LineReader::peek(size_t bytes) {
  while (buffer_.size() - begin_ < bytes && fill()) {
  }
  return std::string_view(buffer_).substr(begin_, bytes);
}

bool LineReader::next() {
  size_t searched = begin_;
  size_t end = std::string::npos;
  while ((end = buffer_.find('\n', searched)) == std::string::npos) {
    if (begin_ > 0) {
      buffer_.erase(0, begin_);
      begin_ = 0;
    }
    searched = buffer_.size();
    if (!fill()) break;
  }
  if (end == std::string::npos && begin_ == buffer_.size()) return false;
  const size_t stop = end == std::string::npos ? buffer_.size() : end + 1;
  raw_ = std::string_view(buffer_).substr(begin_, stop - begin_);
  begin_ = stop;
  ++number_;
  check();
  return true;
}

std::string_view LineReader::text() const {
  std::string_view line = raw_;
  if (line.ends_with('\n')) line.remove_suffix(1);
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

void LineReader::fail(int64_t column, const std::string& message) const {
  fail_at({path_, number_, column}, message);
}

void LineReader::check() const {
  const std::string hint = path_.ends_with(".gz") && file_.is_plain()
                               ? " (the file's name says gzip, but its content is not gzip)"
                               : "";
  if (const void* found = std::memchr(raw_.data(), 0, raw_.size()); found != nullptr) {
    fail(static_cast<const char*>(found) - raw_.data() + 1,
         "a NUL byte; this is not a text file, or one in UTF-16 (--encoding utf-16)" + hint);
  }
  if (const size_t broken = find_broken_utf8(raw_); broken != std::string_view::npos) {
    // In languages of the Latin alphabet few bytes of a line are not ASCII, and Windows-1252 lacks five.
    const auto foreign = std::ranges::count_if(raw_, [](unsigned char c) { return c >= 0x80; });
    const auto letters = std::ranges::count_if(raw_, [](unsigned char c) { return c >= 'A' && c < 0x80; });
    const bool lacks = raw_.find_first_of("\x81\x8D\x8F\x90\x9D") != std::string_view::npos;
    const char* remedy = foreign > letters || lacks
                             ? "; the file seems to be in another encoding (Windows-1251, Shift-JIS, GBK, "
                               "...): convert it to UTF-8, as "
                               "by iconv -f ENCODING -t UTF-8 FILE"
                             : "; if the file is in another encoding, name it (--encoding windows-1252)";
    fail(static_cast<int64_t>(broken) + 1,
         fmt::format("byte 0x{:02X} is not valid UTF-8{}", static_cast<unsigned char>(raw_[broken]),
                     hint.empty() ? remedy : hint));
  }
}

size_t find_broken_utf8(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  size_t i = 0;
  while (i < text.size()) {
    uint64_t eight = 0;
    if (i + 8 <= text.size() &&
        (std::memcpy(&eight, text.data() + i, 8), (eight & 0x8080808080808080ULL) == 0)) {
      i += 8;
      continue;
    }
    const unsigned char lead = byte(i);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    size_t length = 0;
    unsigned char low =
        0x80;  // bounds of the second byte, which rule out overlong forms, surrogates, > U+10FFFF
    unsigned char high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF) {
      length = 2;
    } else if (lead >= 0xE0 && lead <= 0xEF) {
      length = 3;
      if (lead == 0xE0) low = 0xA0;
      if (lead == 0xED) high = 0x9F;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      length = 4;
      if (lead == 0xF0) low = 0x90;
      if (lead == 0xF4) high = 0x8F;
    } else {
      return i;
    }
    if (i + length > text.size() || byte(i + 1) < low || byte(i + 1) > high) return i;
    for (size_t k = 2; k < length; ++k) {
      if ((byte(i + k) & 0xC0) != 0x80) return i;
    }
    i += length;
  }
  return std::string_view::npos;
}

}  // namespace bilevel
