#include "bilevel/data/lines.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>

namespace bilevel {

ByteReader::ByteReader(const std::string& path) : path_(path) {
  struct stat status = {};
  if (stat(path.c_str(), &status) != 0) {
    if (errno == ENOENT || errno == ENOTDIR) fail_at({path}, "there is no such file");
    throw FileError(describe({path}, fmt::format("cannot be read: {}", std::strerror(errno))));
  }
  if (S_ISDIR(status.st_mode)) fail_at({path}, "is a folder, not a file");
  errno = 0;
  const gzFile file = gzopen(path.c_str(), "rb");
  if (file == nullptr)
    throw FileError(describe({path}, fmt::format("cannot be opened: {}", std::strerror(errno))));
  file_ = {file, gzclose};
  gzbuffer(file, 1 << 17);
}

bool ByteReader::append_to(std::string& bytes, const std::function<void(const char*)>& fail) {
  constexpr size_t kChunk = size_t{1} << 18;
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

bool ByteReader::is_plain() const { return gzdirect(static_cast<gzFile>(file_.get())) != 0; }

LineReader::LineReader(const std::string& path) : path_(path), file_(path) {
  while (buffer_.size() < 3 && fill()) {
  }
  if (buffer_.empty()) fail_at({path}, "is empty");
  const std::string_view start(buffer_);
  if (start.starts_with("\xEF\xBB\xBF")) {
    begin_ = 3;
  } else if (start.starts_with("\xFF\xFE") || start.starts_with("\xFE\xFF")) {
    fail_at({path, 1, 1}, "looks like UTF-16; only UTF-8 is read");
  }
  if (begin_ == buffer_.size() && !fill()) fail_at({path}, "is empty");
}

bool LineReader::fill() {
  return file_.append_to(buffer_, [this](const char* message) {
    fail_at({path_, number_ + 1, static_cast<int64_t>(buffer_.size() - begin_) + 1}, message);
  });
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
    fail(static_cast<const char*>(found) - raw_.data() + 1, "a NUL byte; this is not a text file" + hint);
  }
  if (const size_t broken = find_broken_utf8(raw_); broken != std::string_view::npos) {
    fail(static_cast<int64_t>(broken) + 1,
         fmt::format("byte 0x{:02X} is not valid UTF-8{}", static_cast<unsigned char>(raw_[broken]), hint));
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
